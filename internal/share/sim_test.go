package share

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/framelog/framelog/schemas"
)

var (
	simSeed  = flag.Uint64("sim.seed", 0, "run only this schedule of the simulation")
	simCount = flag.Int("sim.count", 300, "schedules that the simulation runs")
)

// TestSimulation has a group move partitions about between three processes in
// every way that it does: revoked, lost and given back, lost and given to
// another, heard late; with processes that end, die and come back, records that
// change, cameras that are removed and come back, logs that are deleted, openings
// that take their time, and cameras that do too or take one client only. What
// happens at the same moment has no order, so a seed does not replay exactly.
//
// It drives the table of machine.go through Cameras, and reaches each row.
func TestSimulation(t *testing.T) {
	first, n := uint64(1), uint64(*simCount)
	if *simSeed != 0 {
		first, n = *simSeed, 1
	}
	reached := make(map[at]int)
	for seed := first; seed < first+n; seed++ {
		synctest.Test(t, func(t *testing.T) { simulate(t, seed, reached) })
		if t.Failed() {
			t.Fatalf("schedule %d; again: go test ./internal/share -run TestSimulation -sim.seed=%d", seed, seed)
		}
	}
	if n < 300 {
		return // too few to reach all
	}
	for a := range table {
		if reached[a] == 0 {
			t.Errorf("%v: no schedule has reached this row: it cannot happen, or is not tested", a)
		}
	}
	rarest := slices.SortedFunc(maps.Keys(reached), func(a, b at) int { return reached[a] - reached[b] })
	for _, a := range rarest[:5] {
		t.Logf("%v: %d times", a, reached[a])
	}
}

// sim is one schedule. The test's goroutine is the group and the registry: what
// it writes here others read under mu.
type sim struct {
	t       *testing.T
	r       *rand.Rand
	logs    *fakeLogs
	reached map[at]int

	mu        sync.Mutex
	calm      bool // cameras answer at once
	owner     []*simProcess
	processes []*simProcess
	cams      []map[string]schemas.Camera // by partition
	seats     map[string]chan struct{}    // of cameras that take one client only
	did       []string
}

type simProcess struct {
	sim     *sim
	name    string
	role    *fakeRole
	cameras *Cameras

	// Guarded by sim.mu.
	told   map[int32]bool  // partitions that it was last told to have
	missed map[string]bool // cameras that the registry did not have at its last word
	fenced map[string]bool // cameras whose log was taken, and which the group has not confirmed since
}

const simPartitions = 3

func simulate(t *testing.T, seed uint64, reached map[at]int) {
	s := &sim{
		t: t, r: rand.New(rand.NewPCG(seed, 0)), logs: newFakeLogs(), reached: reached,
		owner: make([]*simProcess, simPartitions), seats: make(map[string]chan struct{}),
	}
	for p := range simPartitions {
		a, b := testCamera(fmt.Sprintf("p%d-a", p)), testCamera(fmt.Sprintf("p%d-single", p))
		s.cams = append(s.cams, cameraMap(a, b))
		s.seats[b.ID] = make(chan struct{}, 1)
	}
	for _, name := range []string{"one", "two", "three"} {
		s.processes = append(s.processes, s.start(name))
	}
	for p := range simPartitions {
		s.give(p, s.processes[s.r.IntN(len(s.processes))])
	}
	for range 5 + s.r.IntN(25) {
		s.step()
		s.check()
	}

	s.mu.Lock()
	s.calm = true
	s.mu.Unlock()
	after(6 * time.Minute)
	before := s.logs.opens()
	after(10 * time.Minute)
	if now := s.logs.opens(); len(now) != len(before) {
		t.Errorf("logs change hands for ever: %v", now[len(before):])
	}
	s.checkEnd()
	for _, p := range s.processes {
		p.end()
	}
	if t.Failed() {
		t.Logf("schedule:\n%s\nopenings:\n%s", strings.Join(s.did, "\n"), strings.Join(s.logs.opens(), "\n"))
	}
}

// upTo is of what runs beside: its order is nobody's.
func upTo(d time.Duration) time.Duration { return rand.N(d) + 1 }

// pause is mostly short, so that much happens at a time.
func (s *sim) pause(d time.Duration) {
	if s.r.IntN(3) == 0 {
		d = min(d, 500*time.Millisecond)
	}
	after(time.Duration(s.r.Int64N(int64(d)) + 1))
}

func (s *sim) start(name string) *simProcess {
	p := &simProcess{
		sim: s, name: name, role: newFakeRole(s.t, name, s.logs),
		told: make(map[int32]bool), fenced: make(map[string]bool), missed: make(map[string]bool),
	}
	p.role.connect, p.role.lag, p.role.again = s.connect, upTo, func() bool { return !s.isCalm() }
	p.role.fails = func() bool { return !s.isCalm() && rand.N(4) == 0 }
	p.cameras = New(Config{Doing: "recorded"}, p.role, slog.New(slog.DiscardHandler))
	p.cameras.confirm = p.confirm
	p.cameras.observe = p.observe
	p.assigned()
	return p
}

// end ends a process, as Run does.
func (p *simProcess) end() {
	p.cameras.Close()
	if n := len(p.cameras.cameras); n != 0 {
		p.sim.t.Errorf("%s: %d cameras are left", p.name, n)
	}
}

func (s *sim) isCalm() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calm
}

// connect is a camera's: it takes its time, or is away for a while.
func (s *sim) connect(ctx context.Context, cam schemas.Camera) func() {
	for {
		wait, away := time.Millisecond, false
		if !s.isCalm() {
			wait, away = upTo(6*time.Second), rand.N(5) == 0
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil
		}
		seat := s.seats[cam.ID]
		switch {
		case away:
		case seat == nil:
			return func() {}
		default:
			select {
			case seat <- struct{}{}:
				return func() { <-seat }
			default:
			}
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return nil
		}
	}
}

// confirm is the group's word.
func (p *simProcess) confirm(context.Context) error {
	s := p.sim
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range p.told {
		if s.owner[id] != p {
			return errors.New("not a member of this generation")
		}
	}
	return nil
}

// observe sees each event of a process's cameras, and judges it.
func (p *simProcess) observe(c *camera, e event, _ string) {
	s := p.sim
	s.mu.Lock()
	defer s.mu.Unlock()
	id := c.record.ID
	r, ok := next(c.state, e)
	if !ok {
		s.t.Errorf("%s: %s: %v: the table does not have it", p.name, id, at{c.state, e})
		return
	}
	s.reached[at{c.state, e}]++
	switch {
	case slices.Contains(r.actions, permit):
		if !p.told[c.partition] {
			s.t.Errorf("%s: %s is opened, and was given away", p.name, id)
		}
		if p.fenced[id] {
			s.t.Errorf("%s: %s is opened; its log was taken, and the group has not confirmed since that it is ours", p.name, id)
		}
	case e == evLogTaken:
		p.fenced[id] = true
	case e == evReclaimed:
		if s.owner[c.partition] != p {
			s.t.Errorf("%s: %s is taken back from its owner", p.name, id)
		}
		delete(p.fenced, id)
	case e == evRemoved: // what has its name later is another camera
		delete(p.fenced, id)
		p.missed[id] = true
	case e == evWanted || e == evChanged:
		delete(p.missed, id)
	case r.next == absent && slices.Contains(r.actions, forgetRemoved) != p.missed[id]:
		s.t.Errorf("%s: %s has ended, and its status stays or goes wrongly: %v", p.name, id, c.state)
	}
}

// The group's calls. What a process was told counts when the call returns.

func (p *simProcess) assigned(ids ...int32) {
	s := p.sim
	s.mu.Lock()
	for _, id := range ids {
		p.told[id] = true
		for cam := range s.cams[id] {
			delete(p.fenced, cam)
		}
	}
	s.mu.Unlock()
	p.cameras.Assigned(ids)
	p.forget()
}

// forget notes which partitions a process does not think to have any more.
func (p *simProcess) forget() {
	p.cameras.mu.Lock()
	have := slices.Collect(maps.Keys(p.cameras.partitions))
	p.cameras.mu.Unlock()
	p.sim.mu.Lock()
	defer p.sim.mu.Unlock()
	maps.DeleteFunc(p.told, func(id int32, _ bool) bool { return !slices.Contains(have, id) })
}

func (p *simProcess) revoked(id int) {
	p.cameras.Revoked([]int32{int32(id)})
	p.forget()
}

func (p *simProcess) lost(id int) { p.cameras.Lost([]int32{int32(id)}) }

func (s *sim) setOwner(id int, p *simProcess) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.owner[id] = p
}

// give gives a partition to a process, which reads it.
func (s *sim) give(id int, to *simProcess) {
	s.setOwner(id, to)
	to.assigned(int32(id))
	if s.r.IntN(4) == 0 {
		s.pause(3 * time.Second)
	}
	s.news(id)
}

// news tells a partition's owner its cameras.
func (s *sim) news(id int) { s.owner[id].cameras.Desired(int32(id), maps.Clone(s.cams[id])) }

func (s *sim) set(id int, cams map[string]schemas.Camera) {
	s.mu.Lock()
	s.cams[id] = cams
	s.mu.Unlock()
	s.news(id)
}

// check is of any moment: nobody thinks for long that it records, whose log
// another process has taken.
func (s *sim) check() {
	for _, p := range s.processes {
		p.cameras.mu.Lock()
		for id, c := range p.cameras.cameras {
			p.role.mu.Lock()
			w := p.role.works[id].writer
			p.role.mu.Unlock()
			if w == nil || c.state != recording && c.state != recordingUnconfirmed && c.state != releasing {
				continue
			}
			select {
			case <-w.fenced:
				if time.Since(w.fencedAt()) > 3*time.Second {
					s.t.Errorf("%s: %s is %v; its log was taken %v ago", p.name, id, c.state, time.Since(w.fencedAt()))
				}
			default:
			}
		}
		p.cameras.mu.Unlock()
	}
}

// checkEnd is of the time when all has settled: each camera is recorded by the
// process that has its partition, with the newest record, and by no other.
func (s *sim) checkEnd() {
	for id, o := range s.owner {
		for cam, record := range s.cams[id] {
			if by := s.logs.recordedBy(cam); by != o.name {
				s.t.Errorf("%s is %s's, and is recorded by %q", cam, o.name, by)
				continue
			}
			if w := s.logs.newest(cam); !w.record.Equal(record) {
				s.t.Errorf("%s is recorded with an old record", cam)
			}
		}
	}
	for _, p := range s.processes {
		for cam, c := range p.cameras.cameras {
			w := p.role.works[cam]
			switch _, wanted := s.cams[c.partition][cam]; {
			case s.owner[c.partition] != p || !wanted:
				s.t.Errorf("%s: %s is still here, %v", p.name, cam, c.state)
			case c.state != recording || w.isMuted():
				s.t.Errorf("%s: %s is %v, muted: %v", p.name, cam, c.state, w.isMuted())
			}
		}
	}
}
