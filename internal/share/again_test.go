package share

import (
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/framelog/framelog/tests/testenv"
)

// TestCamerasTopicMadeAgain: processes go on with their cameras while the topic is away, and then
// with what the new topic has. The work on a camera
// that it has too is not interrupted, if one process has all cameras.
func TestCamerasTopicMadeAgain(t *testing.T) {
	testenv.SkipShort(t, "seconds of real time")
	t.Run("two processes", func(t *testing.T) {
		t.Parallel()
		topicMadeAgain(t, onFake(t), "one", "two")
	})
	onBoth(t, func(t *testing.T, c *cluster) { topicMadeAgain(t, c, "one") })
}

func topicMadeAgain(t *testing.T, c *cluster, names ...string) {
	ids := c.put(t, 8)
	kept, gone := ids[0], ids[1:]
	var all []*running
	for _, name := range names {
		all = append(all, c.process(t, name))
	}
	testenv.Wait(t, testenv.Patience, "all cameras", func() bool { _, ok := c.owners(ids); return ok && c.shared(ids, all...) })
	var mu sync.Mutex
	var events []event // of kept
	for _, p := range all {
		p.mu.Lock()
		p.observe = func(cam *camera, e event, _ string) {
			mu.Lock()
			defer mu.Unlock()
			if cam.record.ID == kept {
				events = append(events, e)
			}
		}
		p.mu.Unlock()
	}

	client, err := kgo.NewClient(c.kafka.Options(slog.New(slog.DiscardHandler))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	adm, topic := kadm.NewClient(client), c.kafka.Names().Cameras()
	if _, err := adm.DeleteTopics(t.Context(), topic); err != nil {
		t.Fatal(err)
	}
	testenv.Wait(t, testenv.Patience, "the topic to be deleted", func() bool {
		topics, err := adm.ListTopics(t.Context(), topic)
		return err == nil && errors.Is(topics[topic].Err, kerr.UnknownTopicOrPartition)
	})
	const told = "the cameras topic was deleted, or made again"
	testenv.Wait(t, testenv.Patience, "the processes to see it", func() bool { return len(c.log.Lines(told)) >= len(all) })
	if _, recording := c.owners(ids); !recording {
		t.Error("a camera is not recorded while there is no topic")
	}
	for _, id := range []string{kept, "new"} {
		if err := c.registry.Put(t.Context(), testCamera(id)); err != nil {
			t.Fatal(err)
		}
	}
	testenv.Wait(t, 2*testenv.Patience, "the cameras of the new topic", func() bool {
		_, recording := c.owners([]string{kept, "new"})
		return recording && !slices.ContainsFunc(gone, func(id string) bool { return c.logs.recordedBy(id) != "" })
	})
	mu.Lock()
	if !slices.Contains(events, evGroupLost) || len(all) == 1 && slices.Contains(events, evRevoked) {
		t.Errorf("events of a camera of both topics: %v", events)
	}
	mu.Unlock()
	said := c.log.Lines(told)
	if n := len(said); n < len(all) || n > 4*len(all) || !strings.Contains(said[0], "level=WARN") {
		t.Errorf("said %q", said)
	}
	if lines := c.log.Lines("cannot be read"); len(lines) > 0 {
		t.Errorf("said %q", lines)
	}
	if err := c.registry.Delete(t.Context(), "new"); err != nil {
		t.Fatal(err)
	}
	testenv.Wait(t, testenv.Patience, "a change", func() bool { return c.logs.recordedBy("new") == "" })
}
