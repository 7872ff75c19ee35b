package kafka

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// topics are Topics with the default settings.
func topics(cl *kgo.Client) *Topics {
	return NewTopics(Config{}, cl, slog.New(slog.DiscardHandler))
}

// hideBroker makes the brokers 1 and 2 answer as Kafka does while broker 0 is away: they
// do not name it, and of all topics there is only "old", which has a replica there.
func hideBroker(t *testing.T, c *kfake.Cluster) (show func()) {
	t.Helper()
	var running []kmsg.MetadataResponseBroker
	for id, addr := range c.ListenAddrs()[1:] {
		host, port, err := net.SplitHostPort(addr)
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(port)
		if err != nil {
			t.Fatal(err)
		}
		running = append(running, kmsg.MetadataResponseBroker{NodeID: int32(1 + id), Host: host, Port: int32(n)})
	}
	var shown atomic.Bool
	c.ControlKey(int16(kmsg.Metadata), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if shown.Load() {
			return nil, nil, false
		}
		req := r.(*kmsg.MetadataRequest)
		resp := req.ResponseKind().(*kmsg.MetadataResponse)
		resp.Brokers, resp.ControllerID = running, 2 // kfake's controller is the last broker
		for _, rt := range req.Topics {
			one := kmsg.NewMetadataResponseTopic()
			one.Topic, one.ErrorCode = rt.Topic, kerr.UnknownTopicOrPartition.Code
			resp.Topics = append(resp.Topics, one)
		}
		if req.Topics == nil {
			old, p := kmsg.NewMetadataResponseTopic(), kmsg.NewMetadataResponseTopicPartition()
			p.Replicas, p.ISR = []int32{1, 2, 0}, []int32{1, 2}
			old.Topic, old.Partitions = kmsg.StringPtr("old"), append(old.Partitions, p)
			resp.Topics = append(resp.Topics, old)
		}
		return resp, nil, true
	})
	return func() { shown.Store(true) }
}

// TestReplicas: a topic gets three replicas in a cluster of three brokers, also while one
// is away, or as many as the configuration tells.
func TestReplicas(t *testing.T) {
	for _, x := range []struct {
		name              string
		brokers, replicas int
		away              bool
		want              int
		minInsync         string
		atFirst           error
		withoutThatBroker bool // the cluster does not count it any more
		remedy            string
	}{
		{name: "one broker", brokers: 1, want: 1},
		{name: "two brokers", brokers: 2, want: 1},
		{name: "a broker of three is away", brokers: 3, away: true, want: 3, minInsync: "2"},
		{
			name: "a cluster that refuses three replicas meanwhile", brokers: 3, away: true, withoutThatBroker: true,
			atFirst: kerr.InvalidReplicationFactor, remedy: "start the brokers that are away, or set topics.replicas", want: 3, minInsync: "2",
		},
		{name: "two replicas are configured", brokers: 3, replicas: 2, want: 2},
		{name: "three replicas are configured", brokers: 3, replicas: 3, away: true, want: 3, minInsync: "2"},
	} {
		t.Run(x.name, func(t *testing.T) {
			c, cl := newCluster(t, x.brokers)
			show := func() {}
			if x.away {
				show = hideBroker(t, c)
			}
			if x.withoutThatBroker {
				if err := c.RemoveNode(0); err != nil {
					t.Fatal(err)
				}
			}
			made := NewTopics(Config{Replicas: x.replicas}, cl, slog.New(slog.DiscardHandler))
			ensure := func() error { return made.Ensure(t.Context(), Spec{Name: "new", Partitions: 2})["new"] }
			err := ensure()
			if !errors.Is(err, x.atFirst) || err != nil && !strings.Contains(err.Error(), x.remedy) {
				t.Fatalf("got %v, want %v", err, x.atFirst)
			}
			show()
			if x.withoutThatBroker {
				if _, _, err := c.AddNode(0, 0); err != nil {
					t.Fatal(err)
				}
				if err := ensure(); err != nil {
					t.Fatalf("with all brokers: %v", err)
				}
			}
			info := c.TopicInfo("new")
			minInsync := ""
			if v := info.Configs["min.insync.replicas"]; v != nil {
				minInsync = *v
			}
			if info.NumReplicas != x.want || minInsync != x.minInsync {
				t.Errorf("%d replicas, min.insync.replicas %q; want %d, %q", info.NumReplicas, minInsync, x.want, x.minInsync)
			}
		})
	}
}

// TestTooFewReplicas: topics with too few replicas are logged, in few lines, and not if
// the configuration wants no more.
func TestTooFewReplicas(t *testing.T) {
	_, cl := newCluster(t, 3)
	var lines bytes.Buffer
	log := slog.New(slog.NewTextHandler(&lines, nil))
	one, three := NewTopics(Config{Replicas: 1}, cl, log), NewTopics(Config{}, cl, log)
	ensure := func(t *testing.T, made *Topics, i int) {
		t.Helper()
		if errs := made.Ensure(t.Context(), Spec{Name: fmt.Sprint("topic-", i), Partitions: 1}); len(errs) > 0 {
			t.Fatal(errs)
		}
	}
	const n = 9
	for range 2 { // they are made, then found
		for i := range n {
			ensure(t, one, i)
		}
	}
	if lines.Len() > 0 {
		t.Errorf("one replica is wanted, and the log has %s", &lines)
	}
	for range 2 {
		for i := range n {
			ensure(t, three, i)
		}
	}
	ensure(t, three, n) // it is made with three
	var counts []string
	for line := range strings.Lines(lines.String()) {
		if !strings.Contains(line, "level=WARN") || !strings.Contains(line, "replicas=1 want=3") || !strings.Contains(line, "docs/operating.md#topics-with-too-few-replicas") {
			t.Errorf("log line %s", line)
		}
		_, rest, _ := strings.Cut(line, " topics=")
		counts = append(counts, strings.Fields(rest)[0])
	}
	if got := strings.Join(counts, " "); got != "1 2 4 8" {
		t.Errorf("logged at %s topics, want at 1 2 4 8", got)
	}
}
