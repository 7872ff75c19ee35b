package ingest

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/internal/registry"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// memberLog is a member that notes the cameras that it was told of, by partition.
type memberLog struct {
	mu   sync.Mutex
	told []string // "partition: ids"
	now  map[int32][]string
}

func (m *memberLog) assigned([]int32) {}
func (m *memberLog) revoked([]int32)  {}
func (m *memberLog) lost([]int32)     {}

func (m *memberLog) desired(p int32, cams map[string]schemas.Camera) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now[p] = slices.Sorted(maps.Keys(cams))
	m.told = append(m.told, strings.Join(m.now[p], " "))
}

// all is all cameras, and how often there was news.
func (m *memberLog) all() (ids string, times int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []string
	for _, c := range m.now {
		out = append(out, c...)
	}
	slices.Sort(out)
	return strings.Join(out, " "), len(m.told)
}

// camerasTopic is a broker with a cameras topic of one partition.
func camerasTopic(t *testing.T) (fake *kfake.Cluster, cfg kafka.Config, topic string) {
	t.Helper()
	fake, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fake.Close)
	cfg = kafka.Config{Brokers: fake.ListenAddrs()}
	topic = cfg.Names().Cameras()
	if err := fake.CreateTopic(topic, 1, nil); err != nil {
		t.Fatal(err)
	}
	return fake, cfg, topic
}

// A log that was cut back is read from its start: cameras that stand before
// the cut are not taken for removed, whatever comes after it.
func TestCamerasStayWhereTheLogIsCutBack(t *testing.T) {
	fake, cfg, topic := camerasTopic(t)
	log := &lockedBuffer{}
	reg, err := registry.Connect(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(reg.Close)
	ctx, cancel := context.WithTimeout(t.Context(), testenv.Patience)
	defer cancel()
	put := func(id string) {
		if err := reg.Put(ctx, testCamera(id)); err != nil {
			t.Fatal(err)
		}
	}
	put("a")
	put("b")

	m := &memberLog{now: make(map[int32][]string)}
	g, err := newGroup(cfg, "", shortSession, m, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	run, stop := context.WithCancel(t.Context())
	wg.Go(func() { g.run(run) })
	t.Cleanup(func() {
		stop()
		wg.Wait()
		g.leave(time.Second)
	})
	testenv.Wait(t, testenv.Patience, "both cameras", func() bool { ids, _ := m.all(); return ids == "a b" })
	_, before := m.all()

	// A new leader says that the epoch that was read ended after one record.
	fake.ControlKey(int16(kmsg.OffsetForLeaderEpoch), func(r kmsg.Request) (kmsg.Response, error, bool) {
		req := r.(*kmsg.OffsetForLeaderEpochRequest)
		resp := req.ResponseKind().(*kmsg.OffsetForLeaderEpochResponse)
		for _, rt := range req.Topics {
			st := kmsg.NewOffsetForLeaderEpochResponseTopic()
			st.Topic = rt.Topic
			for _, rp := range rt.Partitions {
				sp := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
				sp.Partition, sp.LeaderEpoch, sp.EndOffset = rp.Partition, rp.LeaderEpoch, 1
				st.Partitions = append(st.Partitions, sp)
			}
			resp.Topics = append(resp.Topics, st)
		}
		return resp, nil, true
	})
	if err := fake.MoveTopicPartition(topic, 0, 0); err != nil {
		t.Fatal(err)
	}
	testenv.Wait(t, testenv.Patience, "the loss to be seen", func() bool {
		return strings.Contains(log.String(), "lost")
	})
	put("b")
	testenv.Wait(t, testenv.Patience, "news", func() bool { _, n := m.all(); return n > before })
	put("c")
	testenv.Wait(t, testenv.Patience, "the new camera", func() bool { ids, _ := m.all(); return strings.Contains(ids, "c") })
	if ids, _ := m.all(); ids != "a b c" {
		t.Errorf("cameras %q", ids)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, ids := range m.told[before:] {
		if !strings.HasPrefix(ids, "a b") {
			t.Errorf("told of %q, want no camera less than before: %q", ids, m.told)
			break
		}
	}
}

// The client has partitions assigned, and says so, before whoever made it has
// it in hand.
func TestAssignedWhileTheClientIsMade(t *testing.T) {
	_, cfg, topic := camerasTopic(t)
	log := slog.New(slog.DiscardHandler)
	client, err := kgo.NewClient(cfg.Options(log)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	m := &memberLog{now: make(map[int32][]string)}
	g := &group{log: log, topic: topic, member: m, quit: make(chan struct{}), parts: make(map[int32]*reading)}
	t.Cleanup(func() { close(g.quit); g.wg.Wait() })
	g.onAssigned(t.Context(), client, map[string][]int32{topic: {0}})
	testenv.Wait(t, testenv.Patience, "word of its cameras, of which there are none", func() bool { _, n := m.all(); return n == 1 })
}
