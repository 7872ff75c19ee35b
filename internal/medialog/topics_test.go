package medialog

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/framelog/framelog/schemas"
)

// TestManyCamerasAtOnce: a process that takes over 500 cameras sends few requests,
// and none that creates or changes topics.
func TestManyCamerasAtOnce(t *testing.T) {
	virtual(t, 3, func(t *testing.T, c *kfake.Cluster, e *env) {
		dial := e.dial
		e.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dial(ctx, network, address)
			return distant{conn}, err
		}
		const cameras = 500
		openAll := func(l *Log, footage bool) {
			var wg sync.WaitGroup
			for i := range cameras {
				wg.Go(func() {
					w := l.Open(t.Context(), schemas.Topic{Camera: fmt.Sprint("camera-", i)}, OpenOptions{Writer: "w"})
					ready(t, w)
					if footage {
						if err := newFeed(w, 1).fragment(2); err != nil {
							t.Error(err)
						}
						closeWriter(t, w)
					}
				})
			}
			wg.Wait()
		}
		openAll(e.log(), true)
		limits := map[kmsg.Key]int{
			kmsg.Metadata: 40, kmsg.DescribeConfigs: 12, kmsg.CreateTopics: 0, kmsg.IncrementalAlterConfigs: 0, kmsg.CreatePartitions: 0,
			kmsg.ListOffsets: 100, kmsg.Fetch: cameras, kmsg.Produce: 100, kmsg.InitProducerID: 3,
		}
		sent := map[kmsg.Key]*kfake.FaultHandle{}
		for key := range limits {
			sent[key] = c.Fault(kfake.Fault{Keys: []kmsg.Key{key}, Observe: true, Count: -1})
		}
		openAll(e.log(), false)
		for key, limit := range limits {
			n := sent[key].Hits()
			t.Logf("%s: %d", kmsg.NameForKey(int16(key)), n)
			if n > limit {
				t.Errorf("%s: %d requests for %d cameras, want at most %d", kmsg.NameForKey(int16(key)), n, cameras, limit)
			}
		}
	})
}

// distant is a connection on which a request takes a millisecond. Without that, it depends on
// the machine how many calls come while a request is on its way. A request for a producer id
// takes no time: the client holds a lock until the answer, and the clock of the bubble stands
// still while other goroutines wait for a lock.
type distant struct{ net.Conn }

func (d distant) Write(p []byte) (int, error) {
	if len(p) < 6 || kmsg.Key(binary.BigEndian.Uint16(p[4:])) != kmsg.InitProducerID {
		time.Sleep(time.Millisecond)
	}
	return d.Conn.Write(p)
}

// TestMissingRights: a writer that lacks a right waits for it, with long pauses. The
// log names the right once, however many cameras lack it. A writer that could open its
// topics does so.
func TestMissingRights(t *testing.T) {
	for _, x := range []struct {
		name   string
		exists bool // the topics
		fault  kfake.Fault
		right  string
		opens  bool                                      // without the right
		of     func(schemas.Names, schemas.Topic) string // the topic of each camera that lacks it; nil: all
	}{
		{"to create topics", false, kfake.Fault{Keys: []kmsg.Key{kmsg.CreateTopics}, Err: kerr.TopicAuthorizationFailed}, "CREATE", false, nil},
		{"to create topics in the cluster", false, kfake.Fault{Keys: []kmsg.Key{kmsg.CreateTopics}, Err: kerr.ClusterAuthorizationFailed}, "CREATE", false, nil},
		{"to see topics", true, kfake.Fault{Keys: []kmsg.Key{kmsg.Metadata}, Err: kerr.TopicAuthorizationFailed}, "DESCRIBE", false, nil},
		{"to see offsets", true, kfake.Fault{Keys: []kmsg.Key{kmsg.ListOffsets}, Err: kerr.TopicAuthorizationFailed}, "DESCRIBE", false, nil},
		{"to read settings", true, kfake.Fault{Keys: []kmsg.Key{kmsg.DescribeConfigs}, Err: kerr.TopicAuthorizationFailed}, "DESCRIBE_CONFIGS", true, nil},
		{"to append entries", true, kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.TopicAuthorizationFailed}, "WRITE", false, schemas.Names.Index},
		{"to write chunks", true, kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.TopicAuthorizationFailed}, "WRITE", true, schemas.Names.Media},
		{"to read an index", true, kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Err: kerr.TopicAuthorizationFailed}, "READ", false, nil},
	} {
		t.Run(x.name, func(t *testing.T) {
			virtual(t, 1, func(t *testing.T, c *kfake.Cluster, e *env) {
				const cameras = 5
				camera := func(i int) schemas.Topic { return schemas.Topic{Camera: fmt.Sprint("camera-", i)} }
				if x.exists {
					l := e.log()
					for i := range cameras {
						w := l.Open(t.Context(), camera(i), OpenOptions{Writer: "before"})
						if err := newFeed(w, 1).fragment(1); err != nil {
							t.Fatal(err)
						}
						closeWriter(t, w)
					}
					l.Close()
				}
				l := e.log()
				var denied []*kfake.FaultHandle
				x.fault.Count = -1
				for i := range cameras {
					if x.of != nil {
						x.fault.Topic = x.of(l.names, camera(i))
					}
					if x.of != nil || i == 0 {
						denied = append(denied, c.Fault(x.fault))
					}
				}
				var writers []*Writer
				var feeds []*feed
				for i := range cameras {
					writers = append(writers, l.Open(t.Context(), camera(i), OpenOptions{Writer: "w"}))
					feeds = append(feeds, newFeed(writers[i], 2))
				}
				const minutes = 10
				for range minutes {
					for _, f := range feeds {
						_ = f.fragment(1)
					}
					time.Sleep(time.Minute)
				}
				for i, w := range writers {
					select {
					case <-w.Ready():
						if !x.opens {
							t.Errorf("camera %d: the writer is ready", i)
						}
					case <-w.Fenced():
						t.Fatalf("camera %d: the writer ended: %v", i, w.Err())
					default:
						if x.opens {
							t.Errorf("camera %d: the writer is not ready", i)
						}
					}
				}
				// At most one try in each pause, and one for each fragment.
				n := 0
				for _, d := range denied {
					n += d.Hits()
				}
				if most := cameras * minutes * (1 + 2*int(time.Minute/missingRightPause)); n == 0 || n > most {
					t.Errorf("%d requests were denied, want 1 to %d", n, most)
				}
				var lines []string
				for _, line := range e.lines.Lines("") {
					if !strings.Contains(line, "level=INFO") {
						lines = append(lines, line)
					}
				}
				if len(lines) != 1 || !strings.Contains(lines[0], "grant this process the right "+x.right+" on the topic") {
					t.Errorf("log lines %q, want one about %s", lines, x.right)
				}
				for _, d := range denied {
					d.Remove()
				}
				for i, w := range writers {
					select {
					case <-w.Ready():
					case <-time.After(missingRightPause + time.Second):
						t.Fatalf("camera %d: the writer is not ready after the right was granted", i)
					}
					closeWriter(t, w)
				}
			})
		})
	}
}

// TestTopicSettings: an index lives longer than its media, by IndexOutlives.
func TestTopicSettings(t *testing.T) {
	virtual(t, 1, func(t *testing.T, _ *kfake.Cluster, e *env) {
		l := e.log(func(c *Config) { c.Retention = 3 * time.Hour })
		if err := l.Ensure(t.Context(), cam); err != nil {
			t.Fatal(err)
		}
		media, index := l.names.Media(cam), l.names.Index(cam)
		retention := func(topic string) time.Duration {
			ms, err := strconv.Atoi(setting(t, l, topic, "retention.ms"))
			if err != nil {
				t.Fatal(err)
			}
			return time.Duration(ms) * time.Millisecond
		}
		if m, i := retention(media), retention(index); m != 3*time.Hour || i != m+IndexOutlives || IndexOutlives != 2*time.Hour {
			t.Errorf("media live for %v, their index for %v", m, i)
		}
	})
}

func setting(t *testing.T, l *Log, topic, key string) string {
	t.Helper()
	configs, err := l.admin.DescribeTopicConfigs(context.Background(), topic)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(configs[0].Configs, func(c kadm.Config) bool { return c.Key == key })
	if i < 0 {
		t.Fatalf("%s has no setting %s", topic, key)
	}
	return configs[0].Configs[i].MaybeValue()
}
