package ingest

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/framelog/framelog/ingest/assemble"
	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/internal/registry"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// network is a process's connections, which can be cut.
type network struct {
	mu    sync.Mutex
	cut   bool
	conns []net.Conn
}

func (n *network) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cut {
		c.Close()
		return nil, net.ErrClosed
	}
	n.conns = append(n.conns, c)
	return c, nil
}

func (n *network) kill() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut = true
	for _, c := range n.conns {
		c.Close()
	}
}

// cluster is a world with a broker that can be stopped and started again.
type cluster struct {
	*world
	kafka       kafka.Config
	registry    *registry.Client
	pauses      *testenv.Pauses
	stop, start func()
}

func newCluster(t *testing.T, brokers []string) *cluster {
	c := &cluster{world: newWorld(t), pauses: testenv.WatchPauses(t)}
	c.kafka = kafka.Config{Brokers: brokers, Prefix: fmt.Sprintf("ingest-%d.", rand.N(1<<30))}
	var err error
	if c.registry, err = registry.Connect(c.kafka, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.registry.Close)
	return c
}

// onFake is a cluster on the fake broker.
func onFake(t *testing.T) *cluster {
	dir, port := t.TempDir(), testenv.FreePort(t)
	var fake *kfake.Cluster
	start := func() {
		var err error
		if fake, err = kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(port), kfake.DataDir(dir)); err != nil {
			t.Fatal(err)
		}
	}
	start()
	t.Cleanup(func() { fake.Close() })
	c := newCluster(t, fake.ListenAddrs())
	c.start, c.stop = start, func() { fake.Close() }
	return c
}

// onKafka is a cluster on Apache Kafka.
func onKafka(t *testing.T) *cluster {
	if testing.Short() {
		t.Skip("starts Apache Kafka")
	}
	k := testenv.OwnKafka(t)
	c := newCluster(t, k.Brokers)
	c.start, c.stop = func() { k.Start(t) }, func() { k.Kill(t) }
	return c
}

// onBoth runs f on the fake broker and on Apache Kafka.
func onBoth(t *testing.T, f func(t *testing.T, c *cluster)) {
	t.Run("fake", func(t *testing.T) { f(t, onFake(t)) })
	t.Run("kafka", func(t *testing.T) { f(t, onKafka(t)) })
}

// process is a running service.
type process struct {
	*Service
	net  network
	stop func()
}

func (c *cluster) process(t *testing.T, instance string, reg prometheus.Registerer) *process {
	t.Helper()
	return c.named(t, "", instance, shortSession, reg)
}

// Processes that are to be killed have the shortest session that there is;
// those that come back, or end properly, the longest: that it was not waited
// for shows on slow machines too.
const shortSession, longSession = 6 * time.Second, 10 * time.Second

// named is process with a name in the group, and with a session.
func (c *cluster) named(t *testing.T, static, instance string, session time.Duration, reg prometheus.Registerer) *process {
	t.Helper()
	p := &process{}
	cfg := Config{Kafka: c.kafka, Static: static, Instance: instance, SessionTimeout: session, kafkaOpts: []kgo.Opt{kgo.Dialer(p.net.dial)}}
	s, err := New(cfg, Deps{
		Registry:     c.registry,
		NewSource:    func(cam schemas.Camera) Source { return c.source(instance, cam) },
		Open:         c.logs.Open,
		IndexEnd:     c.logs.IndexEnd,
		Forget:       c.logs.forget,
		newAssembler: func(_ assemble.Config, rec assemble.Recorder) assembler { return &passAssembler{rec: rec} },
	}, slog.New(slog.NewTextHandler(c.log, nil)).With("instance", instance), reg)
	if err != nil {
		t.Fatal(err)
	}
	p.Service = s
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	p.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("%s ended with %v", instance, err)
		}
	})
	t.Cleanup(p.stop)
	return p
}

// put makes n cameras.
func (c *cluster) put(t *testing.T, n int) (ids []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testenv.Patience)
	defer cancel()
	if err := c.registry.Ensure(ctx); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		cam := testCamera(fmt.Sprintf("cam-%d", i))
		if err := c.registry.Put(ctx, cam); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, cam.ID)
	}
	return ids
}

// owners counts the cameras that each process records now. recording is false
// where one has no writer that goes on.
func (c *cluster) owners(ids []string) (n map[string]int, recording bool) {
	c.logs.mu.Lock()
	defer c.logs.mu.Unlock()
	n, recording = make(map[string]int), true
	for _, id := range ids {
		w := c.logs.writers[id]
		if w == nil || w.closed || time.Since(w.last) > time.Second {
			recording = false
			continue
		}
		n[w.owner]++
	}
	return n, recording
}

func TestTwoProcessesShareCameras(t *testing.T) {
	onBoth(t, shareCameras)
}

func shareCameras(t *testing.T, c *cluster) {
	ids := c.put(t, 24)
	one := c.process(t, "one", nil)
	testenv.Wait(t, testenv.Patience, "one has all", func() bool {
		n, ok := c.owners(ids)
		return ok && n["one"] == 24
	})
	if err := one.Ready(); err != nil {
		t.Error(err)
	}
	two := c.named(t, "", "two", longSession, nil)
	testenv.Wait(t, testenv.Patience, "two has its share", func() bool { return c.shared(ids, one, two) })
	c.noHoles(t, ids)
	moved := c.openings() - len(ids)
	if n := c.owned(ids)["two"]; moved != n {
		t.Errorf("%d logs were opened anew, want one for each of the %d cameras that moved", moved, n)
	}

	// Killed, it says nothing to anybody, and its cameras move within 15 s.
	began := time.Now()
	one.net.kill()
	testenv.Wait(t, testenv.Patience, "two has all", func() bool {
		n, ok := c.owners(ids)
		return ok && n["two"] == 24
	})
	c.within(t, "cameras of a killed process moved", began, 2*15*time.Second)
	one.stop()

	// One that ends properly hands over at once.
	three := c.process(t, "three", nil)
	testenv.Wait(t, testenv.Patience, "three has its share", func() bool { return c.shared(ids, two, three) })
	began = time.Now()
	two.stop()
	testenv.Wait(t, testenv.Patience, "three has all", func() bool {
		n, ok := c.owners(ids)
		return ok && n["three"] == 24
	})
	c.within(t, "cameras of a process that ended moved", began, longSession)
	three.stop()
}

// A process with a name in the group that is started again has its cameras
// back at once; one that does not come back, or ends properly, loses them as
// any other does.
func TestNamedProcess(t *testing.T) {
	onBoth(t, func(t *testing.T, c *cluster) {
		ids := c.put(t, 12)
		all := func(instance string) func() bool {
			return func() bool {
				n, ok := c.owners(ids)
				return ok && n[instance] == len(ids)
			}
		}
		one := c.named(t, "static-1", "one", longSession, nil)
		testenv.Wait(t, testenv.Patience, "one has all", all("one"))
		one.net.kill()
		began := time.Now()
		again := c.named(t, "static-1", "one again", shortSession, nil)
		testenv.Wait(t, testenv.Patience, "one has all again", all("one again"))
		c.within(t, "a restarted process had its cameras back", began, longSession)
		one.stop()

		two := c.named(t, "static-2", "two", longSession, nil)
		testenv.Wait(t, testenv.Patience, "both have a share", func() bool { return c.shared(ids, again, two) })
		// Restarted where there are two, each has what it had.
		before := c.owned(ids)
		two.net.kill()
		began = time.Now()
		third := c.named(t, "static-2", "two again", longSession, nil)
		testenv.Wait(t, testenv.Patience, "its share is back", func() bool {
			n, ok := c.owners(ids)
			return ok && n["one again"] == before["one again"] && n["two again"] == before["two"]
		})
		c.within(t, "and of two, one had its share back", began, longSession)
		two.stop()

		again.net.kill()
		began = time.Now()
		testenv.Wait(t, testenv.Patience, "the other has all", all("two again"))
		c.within(t, "cameras of a killed process moved", began, 2*15*time.Second)
		again.stop()

		last := c.named(t, "static-1", "last", longSession, nil)
		testenv.Wait(t, testenv.Patience, "both have a share", func() bool { return c.shared(ids, third, last) })
		began = time.Now()
		third.stop()
		testenv.Wait(t, testenv.Patience, "the last has all", all("last"))
		c.within(t, "cameras of a process that ended moved", began, longSession)
		last.stop()
	})
}

func (c *cluster) openings() int {
	c.logs.mu.Lock()
	defer c.logs.mu.Unlock()
	return len(c.logs.opened)
}

// shared says whether processes have the same number of partitions each, all
// of them together, and all cameras are where their partitions are.
func (c *cluster) shared(ids []string, all ...*process) bool {
	for _, p := range all {
		p.mu.Lock()
		n, settled := len(p.parts), true
		for _, part := range p.parts {
			settled = settled && part.known && !part.lost
		}
		for _, r := range p.runners {
			settled = settled && r.release == nil
		}
		p.mu.Unlock()
		if n != registry.Partitions/len(all) || !settled {
			return false
		}
	}
	n, recording := c.owners(ids)
	sum := 0
	for _, p := range all {
		sum += n[p.cfg.Instance]
		recording = recording && n[p.cfg.Instance] > 0
	}
	return recording && sum == len(ids)
}

// owned counts the cameras whose newest writer each process has.
func (c *cluster) owned(ids []string) map[string]int {
	c.logs.mu.Lock()
	defer c.logs.mu.Unlock()
	n := make(map[string]int)
	for _, id := range ids {
		n[c.logs.writers[id].owner]++
	}
	return n
}

// within tells how long something took, and judges it by a limit beyond which
// it was not done as it is meant to be, but where the machine stood still.
func (c *cluster) within(t *testing.T, what string, began time.Time, limit time.Duration) {
	t.Helper()
	took := time.Since(began).Round(time.Millisecond)
	limit += c.pauses.Sum(began, time.Now())
	t.Logf("%s within %v", what, took)
	if took > limit {
		t.Errorf("%s only after %v, want less than %v", what, took, limit)
	}
}

// noHoles checks that no writer that records now has paused, but where the
// machine has, nor had its camera connected anew.
func (c *cluster) noHoles(t *testing.T, ids []string) {
	t.Helper()
	c.logs.mu.Lock()
	defer c.logs.mu.Unlock()
	for _, id := range ids {
		w := c.logs.writers[id]
		limit := 800*time.Millisecond + c.pauses.Sum(w.until.Add(-w.longest), w.until)
		if w.longest > limit || w.sessions != 1 {
			t.Errorf("%s was not recorded for %v (limit %v), in %d sessions", id, w.longest, limit, w.sessions)
		}
	}
}

// A broker that goes away and comes back makes every member lose its
// partitions: no camera may stop for it, nor be connected anew.
func TestBrokerRestartInterruptsNoCamera(t *testing.T) {
	onBoth(t, restartBroker)
}

func restartBroker(t *testing.T, c *cluster) {
	ids := c.put(t, 8)
	connected := make(map[string]int)
	var mu sync.Mutex
	c.source = func(_ string, cam schemas.Camera) Source {
		mu.Lock()
		defer mu.Unlock()
		connected[cam.ID]++
		return steady(0)
	}
	p := c.process(t, "one", nil)
	testenv.Wait(t, testenv.Patience, "it has all", func() bool {
		n, ok := c.owners(ids)
		return ok && n["one"] == 8
	})
	c.stop()
	testenv.Wait(t, testenv.Patience, "the group is lost", func() bool { return strings.Contains(c.log.String(), "group has lost") })
	c.start()
	testenv.Wait(t, testenv.Patience, "the group is joined again", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		n := 0
		for _, part := range p.parts {
			if part.known && !part.lost {
				n++
			}
		}
		return n == registry.Partitions
	})
	testenv.Wait(t, testenv.Patience, "it records all", func() bool {
		n, ok := c.owners(ids)
		return ok && n["one"] == 8
	})
	c.noHoles(t, ids)
	if n := c.openings(); n != 8 {
		t.Errorf("opened %d logs, want 8", n)
	}
	mu.Lock()
	for id, n := range connected {
		if n != 1 {
			t.Errorf("%s was connected %d times", id, n)
		}
	}
	mu.Unlock()
	// It follows changes still.
	if err := c.registry.Delete(t.Context(), ids[0]); err != nil {
		t.Fatal(err)
	}
	testenv.Wait(t, testenv.Patience, "the camera ends", c.logs.of(ids[0]).isClosed)
}

func TestChangesAreFollowed(t *testing.T) {
	c := onFake(t)
	reg := prometheus.NewRegistry()
	p := c.process(t, "one", reg) // makes the topics
	testenv.Wait(t, testenv.Patience, "it is ready", func() bool { return p.Ready() == nil })
	ids := c.put(t, 2)
	running := func() bool {
		n, ok := c.owners(ids)
		return ok && n["one"] == 2
	}
	testenv.Wait(t, testenv.Patience, "new cameras run", running)
	status := func() registry.Snapshot {
		ctx, cancel := context.WithTimeout(t.Context(), testenv.Patience)
		defer cancel()
		s, err := c.registry.Load(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	testenv.Wait(t, testenv.Patience, "their status is there", func() bool {
		s := status().Status
		return s[ids[0]].State == schemas.StateLive && s[ids[1]].Owner == "one"
	})
	problems, err := testutil.GatherAndLint(reg)
	if err != nil || len(problems) > 0 {
		t.Errorf("metrics: %v, %v", problems, err)
	}
	if n, err := testutil.GatherAndCount(reg, "framelog_ingest_cameras"); err != nil || n != len(states) {
		t.Errorf("cameras by state: %d, %v", n, err)
	}

	perCamera := func() int {
		n, err := testutil.GatherAndCount(reg, "framelog_ingest_reconnects_total")
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := perCamera(); n != 2 {
		t.Errorf("metrics of %d cameras", n)
	}

	first := c.logs.of(ids[0])
	cam := testCamera(ids[0])
	cam.Disabled = true
	if err := c.registry.Put(t.Context(), cam); err != nil {
		t.Fatal(err)
	}
	testenv.Wait(t, testenv.Patience, "it stops", first.isClosed)
	testenv.Wait(t, testenv.Patience, "its status says so", func() bool { return status().Status[ids[0]].State == schemas.StateDisabled })
	if err := c.registry.Delete(t.Context(), ids[1]); err != nil {
		t.Fatal(err)
	}
	testenv.Wait(t, testenv.Patience, "the other stops", c.logs.of(ids[1]).isClosed)
	testenv.Wait(t, testenv.Patience, "its status is gone", func() bool {
		_, ok := status().Status[ids[1]]
		return !ok
	})
	testenv.Wait(t, testenv.Patience, "the metrics of one camera alone", func() bool { return perCamera() == 1 })
	testenv.Wait(t, testenv.Patience, "the log forgets it", func() bool { return c.logs.isForgotten(ids[1]) })
}

func TestConfig(t *testing.T) {
	good := Config{Kafka: kafka.Config{Brokers: []string{"h:9092"}}}
	c, err := good.withDefaults()
	if err != nil || c.Instance == "" || c.Host == "" || c.SessionTimeout != 8*time.Second {
		t.Errorf("defaults: %+v, %v", c, err)
	}
	for name, f := range map[string]func(*Config){
		"no brokers":         func(c *Config) { c.Kafka.Brokers = nil },
		"short session":      func(c *Config) { c.SessionTimeout = time.Second },
		"long session":       func(c *Config) { c.SessionTimeout = time.Minute },
		"reversed reconnect": func(c *Config) { c.ReconnectMin = time.Hour },
		"negative":           func(c *Config) { c.OpenWait = -1 },
		"reserve of nothing": func(c *Config) { c.ReserveBytes = 1 },
	} {
		bad := good
		f(&bad)
		if _, err := bad.withDefaults(); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// The log's writer is what a Service records to.
var _ CameraWriter = (*medialog.Writer)(nil)
