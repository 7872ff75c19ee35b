package registry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// broker is a broker that can be stopped and started again with its data.
type broker struct {
	t    *testing.T
	dir  string
	port int
	c    *kfake.Cluster
}

func newBroker(t *testing.T) *broker {
	b := &broker{t: t, dir: t.TempDir(), port: testenv.FreePort(t)}
	b.start()
	t.Cleanup(func() { b.c.Close() })
	return b
}

func (b *broker) start() {
	b.t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(b.port), kfake.DataDir(b.dir))
	if err != nil {
		b.t.Fatal(err)
	}
	b.c = c
}

func connect(t *testing.T, b *broker) *Client {
	t.Helper()
	c, err := Connect(kafka.Config{Brokers: b.c.ListenAddrs(), Prefix: "t."}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func limit(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func apiCamera(id string) schemas.Camera {
	return schemas.Camera{ID: id, URL: "rtsp://10.0.0.5/" + id, Source: schemas.SourceAPI}
}

func ids(s Snapshot) string {
	return strings.Join(slices.Sorted(maps.Keys(s.Cameras)), " ")
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestPutLoadDelete(t *testing.T) {
	b := newBroker(t)
	c := connect(t, b)
	ctx := limit(t, 2*testenv.Patience)
	if s, err := c.Load(ctx); err != nil || len(s.Cameras)+len(s.Status) != 0 {
		t.Fatalf("before the topics are made: %v, %v", s, err)
	}
	must(t, c.Ensure(ctx))
	must(t, c.Ensure(ctx)) // again
	if s, err := c.Load(ctx); err != nil || len(s.Cameras)+len(s.Status) != 0 {
		t.Fatalf("with empty topics: %v, %v", s, err)
	}
	for i := range 50 {
		must(t, c.Put(ctx, apiCamera(fmt.Sprintf("cam-%02d", i))))
	}
	for i := range 48 {
		must(t, c.Delete(ctx, fmt.Sprintf("cam-%02d", i)))
	}
	must(t, c.Put(ctx, schemas.Camera{ID: "cam-48", URL: "rtsp://h/", User: "u", Password: "${file:cam-48}", Label: "Gate", Source: schemas.SourceAPI}))
	b.c.Compact()
	s, err := c.Load(ctx)
	must(t, err)
	if got := ids(s); got != "cam-48 cam-49" || s.Cameras["cam-48"].Label != "Gate" || s.Cameras["cam-48"].Updated.IsZero() {
		t.Errorf("loaded %v", s.Cameras)
	}

	for _, bad := range []schemas.Camera{
		{ID: "Bad Id", URL: "rtsp://h/", Source: schemas.SourceAPI},
		{ID: "x", URL: "rtsp://u:c4n4ry@h/", Source: schemas.SourceAPI},
		{ID: "x", URL: "rtsp://h/", User: "u", Password: "c4n4ry", Source: schemas.SourceAPI},
		{ID: "x", URL: "rtsp://h/", User: "u", Password: "${file:cam-48}", Source: schemas.SourceAPI},
		{ID: "x", URL: "http://h/", Source: schemas.SourceFile},
		{ID: "x", URL: "rtsp://h/", Source: "me"},
		{ID: "x", URL: "rtsp://h/", Source: schemas.SourceAPI, Transport: "pigeon"},
	} {
		if err := c.Put(ctx, bad); err == nil || strings.Contains(err.Error(), "c4n4ry") {
			t.Errorf("Put(%v) = %v", bad, err)
		}
	}
}

// The first camera may be put before any process has made the topics.
func TestPutMakesTheTopics(t *testing.T) {
	c := connect(t, newBroker(t))
	if err := c.Put(limit(t, 2*testenv.Patience), apiCamera("a")); err != nil {
		t.Fatal(err)
	}
	if err := c.Put(limit(t, 2*testenv.Patience), apiCamera("b")); err != nil {
		t.Fatal(err)
	}
	s, err := c.Load(limit(t, 2*testenv.Patience))
	if err != nil || ids(s) != "a b" {
		t.Errorf("%q, %v", ids(s), err)
	}
}

func TestTopicSettings(t *testing.T) {
	b := newBroker(t)
	c := connect(t, b)
	ctx := limit(t, 2*testenv.Patience)
	must(t, c.Ensure(ctx))
	adm := kadm.NewClient(c.client)
	topics, err := adm.ListTopics(ctx, "t.cameras", "t.cameras.status")
	must(t, err)
	for name, parts := range map[string]int{"t.cameras": 128, "t.cameras.status": 1} {
		if n := len(topics[name].Partitions); n != parts {
			t.Errorf("%s has %d partitions, want %d", name, n, parts)
		}
		configs, err := adm.DescribeTopicConfigs(ctx, name)
		must(t, err)
		got := map[string]string{}
		for _, c := range configs[0].Configs {
			got[c.Key] = c.MaybeValue()
		}
		if got["cleanup.policy"] != "compact" || got["retention.ms"] != "-1" {
			t.Errorf("%s: %v", name, got)
		}
	}
	// The key decides the partition as franz-go has it for keyed records.
	must(t, c.Put(ctx, apiCamera("front-door")))
	want := int32(kgo.KafkaHasher(func([]byte) uint32 { return murmur2([]byte("front-door")) })(nil, 128))
	ends, err := EndOffsets(ctx, adm, "t.cameras")
	must(t, err)
	if len(ends) != 1 || ends[want] != 1 {
		t.Errorf("records in %v, want partition %d", ends, want)
	}
}

// A topic keeps its number of partitions: with another one the records of a camera
// would go to another partition, and old ones would stay where no tombstone comes.
func TestTopicWithFewerPartitions(t *testing.T) {
	b := newBroker(t)
	c := connect(t, b)
	ctx := limit(t, 2*testenv.Patience)
	adm := kadm.NewClient(c.client)
	_, err := adm.CreateTopic(ctx, 3, 1, nil, "t.cameras")
	must(t, err)
	must(t, c.Put(ctx, apiCamera("a")))
	must(t, c.Ensure(ctx))
	topics, err := adm.ListTopics(ctx, "t.cameras")
	must(t, err)
	configs, err := adm.DescribeTopicConfigs(ctx, "t.cameras")
	must(t, err)
	compacted := slices.ContainsFunc(configs[0].Configs, func(c kadm.Config) bool { return c.Key == "cleanup.policy" && c.MaybeValue() == "compact" })
	if n := len(topics["t.cameras"].Partitions); n != 3 || !compacted {
		t.Errorf("%d partitions, compacted %v", n, compacted)
	}
	must(t, c.Delete(ctx, "a"))
	must(t, c.Put(ctx, apiCamera("b")))
	if s, err := c.Load(ctx); err != nil || ids(s) != "b" {
		t.Errorf("loaded %v, %v", s.Cameras, err)
	}
}

// murmur2 is the hash of Kafka's default partitioner, by its published
// definition (seed 0x9747b28c).
func murmur2(b []byte) uint32 {
	const m = 0x5bd1e995
	h := 0x9747b28c ^ uint32(len(b))
	for len(b) >= 4 {
		k := uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
		k *= m
		k ^= k >> 24
		h = h*m ^ k*m
		b = b[4:]
	}
	for i := len(b) - 1; i >= 0; i-- {
		h ^= uint32(b[i]) << (8 * i)
	}
	if len(b) > 0 {
		h *= m
	}
	h ^= h >> 13
	h *= m
	return h ^ h>>15
}

func TestLoadEndsWithItsContext(t *testing.T) {
	c, err := Connect(kafka.Config{Brokers: []string{"127.0.0.1:1"}}, slog.New(slog.DiscardHandler))
	must(t, err)
	defer c.Close()
	ctx := limit(t, 300*time.Millisecond)
	if _, err := c.Load(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Load: %v", err)
	}
	if err := c.Put(ctx, apiCamera("x")); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrUncertain) {
		t.Errorf("Put: %v", err) // it was never sent
	}
}

// TestUncertainPut: a record that was sent may be written, although nobody has said
// so in time.
func TestUncertainPut(t *testing.T) {
	b := newBroker(t)
	c := connect(t, b)
	must(t, c.Ensure(limit(t, testenv.Patience)))
	must(t, c.Put(limit(t, testenv.Patience), apiCamera("a")))
	release := make(chan struct{})
	b.c.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		b.c.SleepControl(func() { <-release })
		return nil, nil, false
	})
	err := c.Put(limit(t, 100*time.Millisecond), apiCamera("b"))
	if !errors.Is(err, ErrUncertain) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Put: %v", err)
	}
	close(release)
	f := follow(t, c)
	f.until(t, "the camera", func(s Snapshot) bool { return ids(s) == "a b" })
}

// follower keeps what Follow tells.
type follower struct {
	mu    sync.Mutex
	got   Snapshot
	calls []time.Time
	wake  chan struct{}
}

func follow(t *testing.T, c *Client) *follower {
	t.Helper()
	f := &follower{wake: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- c.Follow(ctx, func(s Snapshot) {
			f.mu.Lock()
			f.got = s
			f.calls = append(f.calls, time.Now())
			f.mu.Unlock()
			select {
			case f.wake <- struct{}{}:
			default:
			}
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Follow ended with %v", err)
		}
	})
	return f
}

// until waits for ok to be true of what was told.
func (f *follower) until(t *testing.T, what string, ok func(Snapshot) bool) {
	t.Helper()
	deadline := time.After(testenv.Patience)
	for {
		f.mu.Lock()
		got := f.got
		f.mu.Unlock()
		if got.Cameras != nil && ok(got) {
			return
		}
		select {
		case <-f.wake:
		case <-deadline:
			t.Fatalf("not told: %s; told %v", what, got)
		}
	}
}

func TestFollow(t *testing.T) {
	b := newBroker(t)
	c := connect(t, b)
	early := follow(t, c) // before there are topics
	early.until(t, "nothing", func(s Snapshot) bool { return len(s.Cameras) == 0 })
	ctx := limit(t, 2*testenv.Patience)
	must(t, c.Ensure(ctx))
	for i := range 20 {
		must(t, c.Put(ctx, apiCamera(fmt.Sprintf("cam-%02d", i))))
	}
	early.until(t, "20 cameras", func(s Snapshot) bool { return len(s.Cameras) == 20 })
	late := follow(t, c)
	late.until(t, "20 cameras", func(s Snapshot) bool { return len(s.Cameras) == 20 })
	late.mu.Lock()
	if len(late.calls) != 1 {
		t.Errorf("told %d times, want once, when all is read", len(late.calls))
	}
	late.mu.Unlock()

	for i := range 19 {
		must(t, c.Delete(ctx, fmt.Sprintf("cam-%02d", i)))
	}
	late.until(t, "one camera", func(s Snapshot) bool { return ids(s) == "cam-19" })

	// The newest status wins, however many there are at once.
	for i := range 1000 {
		c.PutStatus(schemas.Status{Camera: "cam-19", State: schemas.StateLive, FPS: float64(i)})
	}
	late.until(t, "the status", func(s Snapshot) bool { return s.Status["cam-19"].FPS == 999 })

	// The brokers go, and come again: what is known stays, what is new comes.
	b.c.Close()
	c.PutStatus(schemas.Status{Camera: "cam-19", State: schemas.StateAway, Error: "away"})
	late.mu.Lock()
	before := late.got
	late.mu.Unlock()
	b.start()
	late.until(t, "the status from when no broker was there", func(s Snapshot) bool { return s.Status["cam-19"].Error == "away" })
	if ids(before) != "cam-19" {
		t.Errorf("with no broker there the cameras were %q", ids(before))
	}
	must(t, c.Put(ctx, apiCamera("new")))
	early.until(t, "a new camera", func(s Snapshot) bool { return ids(s) == "cam-19 new" })
	must(t, c.Delete(ctx, "cam-19"))
	c.DeleteStatus("cam-19")
	late.until(t, "no status", func(s Snapshot) bool { return ids(s) == "new" && len(s.Status) == 0 })

	for _, f := range []*follower{early, late} {
		f.mu.Lock()
		for i := 1; i < len(f.calls); i++ {
			if d := f.calls[i].Sub(f.calls[i-1]); d < coalesce {
				t.Errorf("told %v after the time before", d)
			}
		}
		f.mu.Unlock()
	}
}

// A snapshot that holds what End gave has what any client had put by then.
func TestEndIsHeldOnceRead(t *testing.T) {
	b := newBroker(t)
	reader, other := connect(t, b), connect(t, b)
	if ends, err := other.End(limit(t, testenv.Patience)); err != nil || len(ends) != 0 {
		t.Errorf("before there is a topic: %v, %v", ends, err)
	}
	must(t, other.Put(limit(t, testenv.Patience), apiCamera("a")))
	f := follow(t, reader)
	f.until(t, "the first camera", func(s Snapshot) bool { return len(s.Cameras) == 1 })
	f.mu.Lock()
	before := f.got
	f.mu.Unlock()
	for _, change := range []func(ctx context.Context) error{
		func(ctx context.Context) error { return other.Put(ctx, apiCamera("b")) },
		func(ctx context.Context) error { return other.Delete(ctx, "a") },
	} {
		must(t, change(limit(t, testenv.Patience)))
		ends, err := other.End(limit(t, testenv.Patience))
		must(t, err)
		if before.Holds(ends) {
			t.Error("a snapshot from before the change holds its end")
		}
		f.until(t, "the end", func(s Snapshot) bool { return s.Holds(ends) })
		f.mu.Lock()
		before = f.got
		f.mu.Unlock()
		if _, ok := before.Cameras["b"]; !ok {
			t.Errorf("what is read to its end has %s", ids(before))
		}
	}
	if got := ids(before); got != "b" {
		t.Errorf("cameras %s", got)
	}
}

// A record that cannot be read hides no other, and changes nothing.
func TestPoisonRecord(t *testing.T) {
	b := newBroker(t)
	c := connect(t, b)
	ctx := limit(t, 2*testenv.Patience)
	must(t, c.Ensure(ctx))
	must(t, c.Put(ctx, apiCamera("good")))
	mallory := apiCamera("mallory")
	other, err := schemas.EncodeCamera(&mallory)
	must(t, err)
	must(t, c.produce(ctx, "t.cameras", "good", []byte("no record")))
	must(t, c.produce(ctx, "t.cameras", "eve", other))
	must(t, c.produce(ctx, "t.cameras.status", "good", []byte{0xc1}))
	s, err := c.Load(ctx)
	must(t, err)
	if ids(s) != "good" || len(s.Status) != 0 {
		t.Errorf("loaded %v", s)
	}
}

// What waits behind a status in flight leaves before Close returns; what comes
// after it does no harm.
func TestCloseWaitsForStatuses(t *testing.T) {
	b := newBroker(t)
	ctx := limit(t, testenv.Patience)
	other := connect(t, b)
	must(t, other.Ensure(ctx))
	c, err := Connect(other.cfg, slog.New(slog.DiscardHandler))
	must(t, err)
	c.leave = testenv.Patience
	b.c.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		b.c.KeepControl()
		b.c.SleepControl(func() { time.Sleep(20 * time.Millisecond) }) // a broker that takes its time
		return nil, nil, false
	})
	c.PutStatus(schemas.Status{Camera: "a", State: schemas.StateLive})
	c.PutStatus(schemas.Status{Camera: "b", State: schemas.StateLive})
	c.DeleteStatus("a")
	c.Close()
	s, err := other.Load(ctx)
	must(t, err)
	if _, ok := s.Status["a"]; ok || s.Status["b"].State != schemas.StateLive {
		t.Errorf("statuses %+v", s.Status)
	}
	c.DeleteStatus("b")
	c.Close()
}

// A broker that says for a moment that it knows no topics makes no registry
// empty.
func TestUnknownForAMoment(t *testing.T) {
	b := newBroker(t)
	c := connect(t, b)
	ctx := limit(t, testenv.Patience)
	must(t, c.Ensure(ctx))
	must(t, c.Put(ctx, apiCamera("front")))
	left := 2 // one look: where topics begin, and where they end
	b.c.ControlKey(int16(kmsg.ListOffsets), func(r kmsg.Request) (kmsg.Response, error, bool) {
		b.c.KeepControl()
		if left--; left < 0 {
			return nil, nil, false
		}
		req := r.(*kmsg.ListOffsetsRequest)
		resp := req.ResponseKind().(*kmsg.ListOffsetsResponse)
		for _, rt := range req.Topics {
			st := kmsg.NewListOffsetsResponseTopic()
			st.Topic = rt.Topic
			for _, rp := range rt.Partitions {
				sp := kmsg.NewListOffsetsResponseTopicPartition()
				sp.Partition, sp.ErrorCode = rp.Partition, kerr.UnknownTopicOrPartition.Code
				st.Partitions = append(st.Partitions, sp)
			}
			resp.Topics = append(resp.Topics, st)
		}
		return resp, nil, true
	})
	s, err := c.Load(ctx)
	must(t, err)
	if _, ok := s.Cameras["front"]; !ok {
		t.Errorf("cameras %v", s.Cameras)
	}
}
