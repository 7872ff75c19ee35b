package sizing

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/internal/registry"
	"github.com/framelog/framelog/internal/share"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// TestFailover kills one of several ingest processes, and counts what the brokers are asked
// until the others record its cameras. The processes run Framelog's own code for the group,
// the log and the registry; the brokers are in memory and take 2 ms for a request; cameras take
// up to a second to connect and send one picture. Time is virtual.
//
// With -update it does so for the sizes of docs/sizing.md, and writes failover.json.
func TestFailover(t *testing.T) {
	sizes := [][2]int{{60, 3}}
	switch {
	case *update:
		sizes = [][2]int{{100, 4}, {1000, 10}, {10_000, 40}}
	case testenv.IsLong():
		sizes = [][2]int{{1000, 10}}
	}
	var all []Failover
	for _, size := range sizes {
		synctest.Test(t, func(t *testing.T) { all = append(all, simulate(t, size[0], size[1])) })
		f := all[len(all)-1]
		t.Logf("%+v", f)
		if f.Moved < f.Cameras/f.Processes/2 || f.All > 15 {
			t.Errorf("%d of %d cameras were recorded again after %.1f s", f.Moved, f.Cameras, f.All)
		}
		if f.Controller > 0 {
			t.Errorf("a failover made %d requests to the controller; the topics exist and are right", f.Controller)
		}
		if f.StartController > f.Cameras {
			t.Errorf("a start made %d requests to the controller; both topics of a camera are in one, and cameras share some", f.StartController)
		}
		if *update && !t.Failed() {
			keep(t, all)
		}
	}
}

// keep writes failover.json.
func keep(t *testing.T, all []Failover) {
	t.Helper()
	b, err := json.MarshalIndent(all, "", "  ")
	if err == nil {
		err = os.WriteFile("failover.json", append(b, '\n'), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// simulation is a cluster with its ingest processes.
type simulation struct {
	t       *testing.T
	kafka   kafka.Config
	counter *counter

	mu     sync.Mutex
	opened map[string]opening // the newest of each camera
}

// opening is that a process has opened a camera's log and has written to it.
type opening struct {
	by *process
	at time.Time
}

// process is an ingest process with simulated cameras.
type process struct {
	sim      *simulation
	name     string
	registry *registry.Client
	log      *medialog.Log
	stop     context.CancelFunc
	done     chan error

	mu    sync.Mutex
	dead  bool
	conns []net.Conn
}

// simulate runs a start of everything, and the death of one process.
func simulate(t *testing.T, cameras, processes int) Failover {
	cluster, dial := testenv.VirtualKafka(t, 3)
	s := &simulation{
		t: t, kafka: kafka.Config{Brokers: cluster.ListenAddrs(), Dial: dial}, counter: count(cluster), opened: map[string]opening{},
	}
	s.addCameras(cameras)
	f := Failover{Cameras: cameras, Processes: processes}

	began := time.Now()
	s.counter.begin()
	var all []*process
	for i := range processes {
		all = append(all, s.start(fmt.Sprintf("ingest-%d", i)))
	}
	s.wait("all cameras are recorded", func() bool { return len(s.openings()) == cameras })
	f.StartAll = s.after(began, s.openings())
	_, _, f.StartController, f.StartControllerPeak = s.counter.end()
	time.Sleep(time.Minute) // until the group has settled

	victim := all[0]
	lost := map[string]bool{}
	for id, o := range s.openings() {
		if o.by == victim {
			lost[id] = true
		}
	}
	f.Moved = len(lost)
	began = time.Now()
	s.counter.begin()
	victim.kill()
	again := func() map[string]opening {
		got := s.openings()
		maps.DeleteFunc(got, func(id string, o opening) bool { return !lost[id] || o.by == victim })
		return got
	}
	s.wait("the dead process's cameras are recorded again", func() bool { return len(again()) == len(lost) })
	f.Requests, f.Peak, f.Controller, f.ControllerPeak = s.counter.end()
	f.All = s.after(began, again())
	var times []float64
	for _, o := range again() {
		times = append(times, o.at.Sub(began).Seconds())
	}
	slices.Sort(times)
	f.Detected, f.Half = times[0], times[len(times)/2]
	for _, p := range all { // at the same time, so that none takes the cameras of another
		p.kill()
	}
	for _, p := range all {
		p.end()
	}
	return f
}

// addCameras fills the registry.
func (s *simulation) addCameras(n int) {
	r, err := registry.Connect(s.kafka, slog.New(slog.DiscardHandler))
	s.check(err)
	defer r.Close()
	s.check(r.Ensure(s.t.Context()))
	for i := range n {
		s.check(r.Put(s.t.Context(), schemas.Camera{ID: fmt.Sprintf("cam-%d", i), URL: "rtsp://10.0.0.5/", Source: schemas.SourceAPI}))
	}
}

func (s *simulation) check(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// wait waits in virtual time.
func (s *simulation) wait(what string, done func() bool) {
	s.t.Helper()
	for end := time.Now().Add(10 * time.Minute); !done(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("waited 10 minutes for: %s", what)
		}
	}
}

func (s *simulation) openings() map[string]opening {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.opened)
}

// after returns the seconds from began to the last opening.
func (s *simulation) after(began time.Time, all map[string]opening) (seconds float64) {
	for _, o := range all {
		seconds = max(seconds, o.at.Sub(began).Seconds())
	}
	return seconds
}

// start starts a process.
func (s *simulation) start(name string) *process {
	p := &process{sim: s, name: name, done: make(chan error, 1)}
	k := s.kafka
	k.ClientID = name
	k.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		return p.dial(ctx, network, address)
	}
	quiet := slog.New(slog.DiscardHandler)
	var err error
	p.registry, err = registry.Connect(k, quiet)
	s.check(err)
	p.log, err = medialog.Connect(medialog.Config{Kafka: k, Partitions: 2, Retention: 24 * time.Hour}, quiet, nil)
	s.check(err)
	ctx, cancel := context.WithCancel(s.t.Context())
	p.stop = cancel
	cameras := share.New(share.Config{Kafka: k, Group: "framelog-ingest", Doing: "recorded"}, p, quiet)
	go func() { p.done <- cameras.Run(ctx) }()
	return p
}

// dial connects, unless the process is dead.
func (p *process) dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := p.sim.kafka.Dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead {
		c.Close()
		return nil, net.ErrClosed
	}
	c = slow{c}
	p.conns = append(p.conns, c)
	return c, nil
}

// answerTime is how long a broker takes for a request; the next one on the connection waits.
const answerTime = 2 * time.Millisecond

// slow is a connection to a broker that takes its time.
type slow struct{ net.Conn }

// Write implements net.Conn. A client writes each request at once.
func (c slow) Write(b []byte) (int, error) {
	time.Sleep(answerTime)
	return c.Conn.Write(b)
}

// kill cuts the process off, so that it leaves no group and says nothing, and ends it.
func (p *process) kill() {
	p.mu.Lock()
	p.dead = true
	for _, c := range p.conns {
		c.Close()
	}
	p.mu.Unlock()
	p.stop()
}

// end waits until the process has ended, and frees its clients.
func (p *process) end() {
	if err := <-p.done; err != nil && !errors.Is(err, context.Canceled) {
		p.sim.t.Errorf("%s: %v", p.name, err)
	}
	p.log.Close()
	p.registry.Close()
}

// NewWork implements share.Role.
func (p *process) NewWork(cam schemas.Camera) share.Work { return &work{p, cam.ID} }

// Forget implements share.Role.
func (p *process) Forget(string, bool) {}

// work records one camera: it connects, opens the log as ingest does, and writes one fragment.
type work struct {
	p  *process
	id string
}

// Run implements share.Work.
func (w *work) Run(ctx context.Context, reason string, mayOpen func() bool) error {
	select {
	case <-time.After(100*time.Millisecond + rand.N(900*time.Millisecond)): // the camera answers
	case <-ctx.Done():
		return nil
	}
	if !mayOpen() {
		<-ctx.Done()
		return nil
	}
	// Ingest reads the newest status before it writes its own.
	status, err := w.p.registry.LastStatus(ctx, w.id)
	if err != nil {
		return err
	}
	writer := w.p.log.Open(ctx, schemas.Topic{Camera: w.id}, medialog.OpenOptions{
		Writer: w.p.name, Host: w.p.name, Reason: reason, Absent: schemas.AbsentRestart,
		Remember: func(context.Context) (schemas.Standing, error) { return status.Stands, nil },
		Create:   func(ctx context.Context) (bool, error) { return w.p.registry.Live(ctx, w.id) },
	})
	defer func() {
		over, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = writer.Close(over) // of a dead process it cannot
	}()
	select {
	case <-writer.Ready():
	case <-writer.Fenced():
		return share.ErrFenced
	case <-ctx.Done():
		return nil
	}
	if err := writer.Write(picture()); err != nil {
		return err
	}
	now := time.Now()
	w.p.registry.PutStatus(schemas.Status{Camera: w.id, Owner: w.p.name, State: schemas.StateLive, Since: now, Updated: now})
	w.p.sim.mu.Lock()
	w.p.sim.opened[w.id] = opening{w.p, now}
	w.p.sim.mu.Unlock()
	select {
	case <-writer.Fenced():
		return share.ErrFenced
	case <-ctx.Done():
		return nil
	}
}

// WaitReclaim implements share.Work.
func (w *work) WaitReclaim(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

// Mute implements share.Work.
func (w *work) Mute(bool) {}

// picture is a fragment of one picture.
func picture() *schemas.Chunk {
	now := time.Now()
	media := schemas.Ticks(time.Duration(now.UnixNano()))
	return &schemas.Chunk{
		Last: true, Start: now.Truncate(time.Microsecond), Captured: now,
		Layout: schemas.Layout{Part: schemas.PartTarget(5, 3600), Video: schemas.H264},
		Tracks: []schemas.Track{{ID: schemas.VideoTrack, Codec: schemas.H264, Timescale: schemas.MediaTimescale, Config: []byte{1, 2, 3}, Width: 640, Height: 360}},
		Runs:   []schemas.Run{{Track: schemas.VideoTrack, Samples: []schemas.Sample{{DTS: media, Duration: schemas.MediaTimescale, Sync: true, Data: []byte("picture")}}}},
	}
}

// ofController are the requests that only the controller answers. In KRaft it also hands out
// producer ids, to brokers and a thousand at a time.
var ofController = []kmsg.Key{kmsg.CreateTopics, kmsg.DeleteTopics, kmsg.CreatePartitions, kmsg.AlterConfigs, kmsg.IncrementalAlterConfigs}

// counter counts requests by second.
type counter struct {
	mu              sync.Mutex
	counting        bool
	all, controller map[int64]int
}

// count counts the requests that brokers get.
func count(c *kfake.Cluster) *counter {
	n := &counter{}
	c.Control(func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.counting {
			second := time.Now().Unix()
			n.all[second]++
			if slices.Contains(ofController, kmsg.Key(r.Key())) {
				n.controller[second]++
			}
		}
		return nil, nil, false
	})
	return n
}

func (n *counter) begin() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.counting, n.all, n.controller = true, map[int64]int{}, map[int64]int{}
}

// end returns how many requests came since begin, and how many in one second at most.
func (n *counter) end() (all, peak, controller, controllerPeak int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.counting = false
	for _, k := range n.all {
		all, peak = all+k, max(peak, k)
	}
	for _, k := range n.controller {
		controller, controllerPeak = controller+k, max(controllerPeak, k)
	}
	return all, peak, controller, controllerPeak
}
