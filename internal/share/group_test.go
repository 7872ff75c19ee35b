package share

import (
	"context"
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

func newMemberLog() *memberLog { return &memberLog{now: make(map[int32][]string)} }

func (m *memberLog) Assigned([]int32) {}
func (m *memberLog) Revoked([]int32)  {}
func (m *memberLog) Lost([]int32)     {}

func (m *memberLog) Desired(p int32, cams map[string]schemas.Camera) {
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

// camerasTopic is a broker with a cameras topic.
func camerasTopic(t *testing.T, partitions int32) (fake *kfake.Cluster, cfg kafka.Config, topic string) {
	t.Helper()
	fake, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fake.Close)
	cfg = kafka.Config{Brokers: fake.ListenAddrs()}
	topic = cfg.Names().Cameras()
	if err := fake.CreateTopic(topic, partitions, nil); err != nil {
		t.Fatal(err)
	}
	return fake, cfg, topic
}

func runGroup(t *testing.T, cfg Config, m member, log *slog.Logger) *group {
	t.Helper()
	cfg.SessionTimeout, cfg.Group, cfg.Doing = shortSession, "framelog-test", "recorded"
	g, err := newGroup(cfg, m, log)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	run, stop := context.WithCancel(t.Context())
	wg.Go(func() { _ = g.run(run) })
	t.Cleanup(func() {
		stop()
		wg.Wait()
		g.leave(time.Second)
	})
	return g
}

// connect returns a client that changes the registry.
func connect(t *testing.T, cfg kafka.Config) *registry.Client {
	t.Helper()
	reg, err := registry.Connect(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(reg.Close)
	return reg
}

// A log that was cut back is read from its start: cameras that stand before
// the cut are not taken for removed, whatever comes after it.
func TestCamerasStayIfTheLogIsCutBack(t *testing.T) {
	fake, cfg, topic := camerasTopic(t, 1)
	log := &testenv.Log{}
	reg := connect(t, cfg)
	ctx, cancel := context.WithTimeout(t.Context(), testenv.Patience)
	defer cancel()
	put := func(id string) {
		if err := reg.Put(ctx, testCamera(id)); err != nil {
			t.Fatal(err)
		}
	}
	put("a")
	put("b")

	m := newMemberLog()
	runGroup(t, Config{Kafka: cfg}, m, textLog(log))
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

// The client has partitions assigned, and says so, before its constructor has
// returned.
func TestAssignedWhileTheClientIsMade(t *testing.T) {
	_, cfg, topic := camerasTopic(t, 1)
	log := slog.New(slog.DiscardHandler)
	client, err := kgo.NewClient(cfg.Options(log)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	m := newMemberLog()
	g := &group{log: log, topic: topic, member: m, quit: make(chan struct{}), parts: make(map[int32]*reading)}
	t.Cleanup(func() { close(g.quit); g.wg.Wait() })
	g.onAssigned(t.Context(), client, map[string][]int32{topic: {0}})
	testenv.Wait(t, testenv.Patience, "word of its cameras, of which there are none", func() bool { _, n := m.all(); return n == 1 })
}

// Taking up the cameras costs as many requests with 128 partitions as with one.
func TestPartitionsShareTheirRequests(t *testing.T) {
	const partitions = 128
	fake, cfg, _ := camerasTopic(t, partitions)
	var mu sync.Mutex
	asked := make(map[string]int)
	for _, key := range []kmsg.Key{kmsg.ListOffsets, kmsg.OffsetFetch, kmsg.OffsetForLeaderEpoch, kmsg.Metadata} {
		fake.ControlKey(int16(key), func(kmsg.Request) (kmsg.Response, error, bool) {
			mu.Lock()
			defer mu.Unlock()
			asked[key.Name()]++
			fake.KeepControl()
			return nil, nil, false
		})
	}
	m := newMemberLog()
	runGroup(t, Config{Kafka: cfg}, m, slog.New(slog.DiscardHandler))
	testenv.Wait(t, testenv.Patience, "all partitions", func() bool { _, n := m.all(); return n == partitions })
	mu.Lock()
	defer mu.Unlock()
	total := 0
	for _, n := range asked {
		total += n
	}
	t.Logf("asked %v", asked)
	if total == 0 || total > 16 {
		t.Errorf("asked %v, want few", asked)
	}
}

// The name of a process is in the group, and the group confirms its members.
func TestInstanceIsInTheGroup(t *testing.T) {
	_, cfg, _ := camerasTopic(t, 1)
	client, err := kgo.NewClient(cfg.Options(slog.New(slog.DiscardHandler))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	adm := kadm.NewClient(client)
	m := newMemberLog()
	g := runGroup(t, Config{Kafka: cfg, Instance: "north-1"}, m, slog.New(slog.DiscardHandler))
	testenv.Wait(t, testenv.Patience, "its partition", func() bool { _, n := m.all(); return n == 1 })
	if err := g.confirm(t.Context()); err != nil {
		t.Errorf("a member is not confirmed: %v", err)
	}
	all, err := adm.DescribeGroups(t.Context(), g.name)
	if err != nil {
		t.Fatal(err)
	}
	members := all[g.name].Members
	if len(members) != 1 || members[0].InstanceID == nil || *members[0].InstanceID != "north-1" {
		t.Errorf("members %+v", members)
	}
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group = g.name
	lm := kmsg.NewLeaveGroupRequestMember()
	lm.MemberID, lm.InstanceID = members[0].MemberID, members[0].InstanceID
	req.Members = append(req.Members, lm)
	if _, err := req.RequestWith(t.Context(), client); err != nil {
		t.Fatal(err)
	}
	if err := g.confirm(t.Context()); err == nil {
		t.Error("one that is no member is confirmed")
	}
}

// A partition may end with what is no record, as after compaction: it has been
// read when nothing comes before its end.
func TestEndIsNoRecord(t *testing.T) {
	_, cfg, topic := camerasTopic(t, 2)
	log := slog.New(slog.DiscardHandler)
	client, err := kgo.NewClient(append(cfg.Options(log), kgo.TransactionalID("test"), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	cam := testCamera("a")
	value, err := schemas.EncodeCamera(&cam)
	if err != nil {
		t.Fatal(err)
	}
	if err := client.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Partition: 1, Key: []byte("a"), Value: value}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if err := client.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	m := newMemberLog()
	runGroup(t, Config{Kafka: cfg}, m, log)
	testenv.Wait(t, testenv.Patience, "the camera", func() bool { ids, n := m.all(); return ids == "a" && n == 2 })
}

// Purges are told beside the cameras, and no camera comes of them.
func TestPurges(t *testing.T) {
	_, cfg, _ := camerasTopic(t, 4)
	reg := connect(t, cfg)
	ctx, cancel := context.WithTimeout(t.Context(), testenv.Patience)
	defer cancel()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(reg.Put(ctx, testCamera("a")))
	for _, id := range []string{"a", "b"} {
		must(reg.PutPurge(ctx, schemas.Purge{Camera: id}.With(time.Now(), "life-"+id)))
	}
	m := newMemberLog()
	g := runGroup(t, Config{Kafka: cfg}, m, slog.New(slog.DiscardHandler))
	until := func(cameras string, a, b bool) {
		t.Helper()
		testenv.Wait(t, testenv.Patience, "the purges beside "+cameras, func() bool {
			all := g.purges()
			ids, _ := m.all()
			return ids == cameras && len(all) == 2 && all["a"].Wanted == a && all["b"].Wanted == b && slices.Equal(all["b"].Lives, []string{"life-b"})
		})
	}
	until("a", true, false)
	must(reg.Put(ctx, testCamera("b")))
	until("a b", true, true)
	must(reg.Delete(ctx, "a"))
	until("b", false, true)
}

// What the brokers answer for each partition again and again is logged once, and the
// cameras are read when it is over.
func TestTopicCannotBeRead(t *testing.T) {
	const partitions = 16
	fake, cfg, topic := camerasTopic(t, partitions)
	log := &testenv.Log{}
	refused := fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: topic, Err: kerr.TopicAuthorizationFailed, Count: -1})
	m := newMemberLog()
	runGroup(t, Config{Kafka: cfg}, m, textLog(log))
	testenv.Wait(t, testenv.Patience, "some answers", func() bool { return refused.Hits() >= 3 })
	if lines := log.Lines("cameras topic cannot be read"); len(lines) != 1 {
		t.Errorf("%d log lines, want 1: %q", len(lines), lines)
	}
	refused.Remove()
	if err := connect(t, cfg).Put(t.Context(), testCamera("a")); err != nil {
		t.Fatal(err)
	}
	testenv.Wait(t, testenv.Patience, "the camera", func() bool { ids, _ := m.all(); return ids == "a" })
}
