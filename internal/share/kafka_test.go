package share

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

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/internal/registry"
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

// cluster is a log and a registry with a broker that can be stopped and started again.
type cluster struct {
	logs        *fakeLogs
	log         *testenv.Log
	kafka       kafka.Config
	registry    *registry.Client
	pauses      *testenv.Pauses
	stop, start func()
}

func newCluster(t *testing.T, brokers []string) *cluster {
	c := &cluster{logs: newFakeLogs(), log: &testenv.Log{}, pauses: testenv.WatchPauses(t)}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log:\n%s", c.log)
		}
	})
	c.kafka = kafka.Config{Brokers: brokers, Prefix: fmt.Sprintf("share-%d.", rand.N(1<<30))}
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
	k := testenv.OwnKafka(t)
	c := newCluster(t, k.Brokers)
	c.start, c.stop = func() { k.Start(t) }, func() { k.Kill(t) }
	return c
}

// onBoth runs f on the fake broker and on Apache Kafka.
func onBoth(t *testing.T, f func(t *testing.T, c *cluster)) {
	t.Parallel()
	for name, on := range map[string]func(t *testing.T) *cluster{"fake": onFake, "kafka": onKafka} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t, on(t))
		})
	}
}

// running is a process that is a member of the group.
type running struct {
	*process
	net  network
	stop func()
}

func (c *cluster) process(t *testing.T, name string) *running {
	t.Helper()
	return c.named(t, "", name, shortSession)
}

// Processes that are to be killed have the shortest session that there is;
// those that come back, or end properly, the longest: that it was not waited
// for shows on slow machines too.
const shortSession, longSession = 6 * time.Second, 10 * time.Second

// named is process with a name in the group, and with a session.
func (c *cluster) named(t *testing.T, instance, name string, session time.Duration) *running {
	t.Helper()
	p := &running{process: newProcess(t, name, c.logs)}
	p.cfg = Config{
		Kafka: c.kafka, Group: "framelog-test", Instance: instance, Doing: "recorded",
		SessionTimeout: session,
	}.withDefaults()
	p.cfg.Kafka.Dial = p.net.dial
	p.log = textLog(c.log).With("process", name)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	p.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("%s ended with %v", name, err)
		}
	})
	t.Cleanup(p.stop)
	return p
}

// kill ends a process without a word to anybody.
func (p *running) kill() {
	p.net.kill()
	p.role.kill()
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

// owners counts the cameras that each process records now. recording reports
// whether all are recorded.
func (c *cluster) owners(ids []string) (n map[string]int, recording bool) {
	n, recording = make(map[string]int), true
	for _, id := range ids {
		by := c.logs.recordedBy(id)
		if by == "" {
			recording = false
			continue
		}
		n[by]++
	}
	return n, recording
}

func TestTwoProcessesShareCameras(t *testing.T) {
	testenv.SkipShort(t, "seconds of real time")
	onBoth(t, shareCameras)
}

func shareCameras(t *testing.T, c *cluster) {
	ids := c.put(t, 24)
	one := c.process(t, "one")
	testenv.Wait(t, testenv.Patience, "one has all", func() bool {
		n, ok := c.owners(ids)
		return ok && n["one"] == 24
	})
	if err := one.Ready(); err != nil {
		t.Error(err)
	}
	two := c.named(t, "", "two", longSession)
	testenv.Wait(t, testenv.Patience, "two has its share", func() bool { return c.shared(ids, one, two) })
	c.noHoles(t, ids)
	moved := len(c.logs.opens()) - len(ids)
	if n, _ := c.owners(ids); moved != n["two"] {
		t.Errorf("%d logs were opened anew, want one for each of the %d cameras that moved", moved, n["two"])
	}

	// Killed, it says nothing to anybody, and its cameras move within 15 s.
	began := time.Now()
	one.kill()
	testenv.Wait(t, testenv.Patience, "two has all", func() bool {
		n, ok := c.owners(ids)
		return ok && n["two"] == 24
	})
	c.within(t, "cameras of a killed process moved", began, 2*15*time.Second)
	one.stop()

	// One that ends properly hands over at once.
	three := c.process(t, "three")
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

// The cameras of a process that ends properly go to the others without a hole, and
// the last process of a group waits for nobody.
func TestProcessEndsWithoutHole(t *testing.T) {
	onBoth(t, func(t *testing.T, c *cluster) {
		ids := c.put(t, 12)
		one, two := c.process(t, "one"), c.named(t, "static", "two", longSession)
		testenv.Wait(t, testenv.Patience, "both have a share", func() bool { return c.shared(ids, one, two) })
		three := c.process(t, "three")
		testenv.Wait(t, testenv.Patience, "all have a share", func() bool {
			n, ok := c.owners(ids)
			return ok && n["three"] > 0 && one.settled() && two.settled() && three.settled()
		})
		one.stop()
		two.stop() // has a name in the group
		if n, _ := c.owners(ids); n["three"] != len(ids) {
			t.Errorf("when the others have ended, three records %d of %d cameras", n["three"], len(ids))
		}
		c.noHoles(t, ids)
		began := time.Now()
		three.stop()
		c.within(t, "the last process ended", began, Config{}.withDefaults().HandOverWait/2)
	})
}

// A process with a name in the group that is started again has its cameras
// back at once; one that does not come back, or ends properly, loses them as
// any other does.
func TestNamedProcess(t *testing.T) {
	testenv.SkipShort(t, "seconds of real time")
	onBoth(t, func(t *testing.T, c *cluster) {
		ids := c.put(t, 12)
		all := func(instance string) func() bool {
			return func() bool {
				n, ok := c.owners(ids)
				return ok && n[instance] == len(ids)
			}
		}
		one := c.named(t, "static-1", "one", longSession)
		testenv.Wait(t, testenv.Patience, "one has all", all("one"))
		one.kill()
		began := time.Now()
		again := c.named(t, "static-1", "one again", shortSession)
		testenv.Wait(t, testenv.Patience, "one has all again", all("one again"))
		c.within(t, "a restarted process had its cameras back", began, longSession)
		one.stop()

		two := c.named(t, "static-2", "two", longSession)
		testenv.Wait(t, testenv.Patience, "both have a share", func() bool { return c.shared(ids, again, two) })
		// Restarted where there are two, each has what it had.
		before, _ := c.owners(ids)
		two.kill()
		began = time.Now()
		third := c.named(t, "static-2", "two again", longSession)
		testenv.Wait(t, testenv.Patience, "its share is back", func() bool {
			n, ok := c.owners(ids)
			return ok && n["one again"] == before["one again"] && n["two again"] == before["two"]
		})
		c.within(t, "and of two, one had its share back", began, longSession)
		two.stop()

		again.kill()
		began = time.Now()
		testenv.Wait(t, testenv.Patience, "the other has all", all("two again"))
		c.within(t, "cameras of a killed process moved", began, 2*15*time.Second)
		again.stop()

		last := c.named(t, "static-1", "last", longSession)
		testenv.Wait(t, testenv.Patience, "both have a share", func() bool { return c.shared(ids, third, last) })
		began = time.Now()
		third.stop()
		testenv.Wait(t, testenv.Patience, "the last has all", all("last"))
		c.within(t, "cameras of a process that ended moved", began, longSession)
		last.stop()
	})
}

// shared reports whether processes have the same number of partitions each, all
// of them together, and all cameras are where their partitions are.
func (c *cluster) shared(ids []string, all ...*running) bool {
	for _, p := range all {
		if p.Partitions() != registry.Partitions/len(all) || !p.settled() {
			return false
		}
	}
	n, recording := c.owners(ids)
	sum := 0
	for _, p := range all {
		sum += n[p.role.process]
		recording = recording && n[p.role.process] > 0
	}
	return recording && sum == len(ids)
}

// settled reports whether a process has read what it has, and gives nothing away.
func (p *running) settled() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, part := range p.partitions {
		if !part.known || part.unconfirmed {
			return false
		}
	}
	for _, c := range p.cameras {
		if c.state != recording {
			return false
		}
	}
	return true
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

// noHoles checks that each camera was always recorded by somebody.
func (c *cluster) noHoles(t *testing.T, ids []string) {
	t.Helper()
	for _, id := range ids {
		if hole := c.logs.longestHole(id); hole != 0 {
			t.Errorf("%s was not recorded for %v", id, hole)
		}
	}
}

// A broker that goes away and comes back makes every member lose its
// partitions: no camera may stop for it. It is one line of the log, which says so,
// and another when it is over.
func TestBrokerRestartInterruptsNoCamera(t *testing.T) {
	testenv.SkipShort(t, "seconds of real time")
	onBoth(t, restartBroker)
}

func restartBroker(t *testing.T, c *cluster) {
	ids := c.put(t, 8)
	p := c.process(t, "one")
	all := func() bool {
		n, ok := c.owners(ids)
		return ok && n["one"] == 8 && p.Partitions() == registry.Partitions && p.settled()
	}
	testenv.Wait(t, testenv.Patience, "it has all", all)
	const trouble = "msg=\"the brokers do not keep this process in its group; its cameras go on being recorded\""
	c.stop()
	testenv.Wait(t, testenv.Patience, "the group is lost", func() bool { return len(c.log.Lines(trouble)) > 0 && !p.settled() })
	time.Sleep(2 * time.Second) // the client tries again and again
	if _, ok := c.owners(ids); !ok {
		t.Error("a camera is not recorded while the broker is away")
	}
	c.start()
	testenv.Wait(t, testenv.Patience, "the group is joined again", all)
	c.noHoles(t, ids)
	if n := len(c.logs.opens()); n != 8 || p.role.runs != 8 {
		t.Errorf("opened %d logs in %d runs, want 8", n, p.role.runs)
	}
	said := c.log.Lines(trouble)
	if len(said) != 1 || !strings.Contains(said[0], "level=WARN") || !strings.Contains(said[0], c.kafka.Brokers[0]) {
		t.Errorf("said %q, want one warning that names the brokers", said)
	}
	if n := len(c.log.Lines("the group is joined again")); n != 1 {
		t.Errorf("said %d times that it is over", n)
	}
	if errs := c.log.Lines("level=ERROR"); len(errs) != 0 {
		t.Errorf("errors in the log: %q", errs)
	}
	// It follows changes still.
	if err := c.registry.Delete(t.Context(), ids[0]); err != nil {
		t.Fatal(err)
	}
	testenv.Wait(t, testenv.Patience, "the camera ends", func() bool { return c.logs.recordedBy(ids[0]) == "" })
}
