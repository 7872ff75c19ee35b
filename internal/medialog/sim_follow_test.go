package medialog

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// The simulation of followers: beside the writers of a camera (sim_test.go), processes
// follow it and write a rendition. They crash, hang, lose their camera without knowing
// it, fail, filter, are overtaken by retention; two may own the camera at once. Some
// fragments kill each process that works on them, and so do those of other cameras. In some
// schedules only some fragments get an entry, as dead letters do. What they write is decided by the code that runs in production (followCore, resumptionOf).
// A schedule takes as long as five of a camera alone, so a fifth as many run.

func TestSimulationFollowers(t *testing.T) {
	testenv.SkipRace(t)
	simulate(t, 5, func(seed uint64) (simFollowStats, error) {
		s := newSimFollow(seed)
		err := s.run()
		return s.stats, err
	})
}

// simFollowStats counts what happened. Every field must be seen.
type simFollowStats struct {
	Outputs, SourceGaps, Filtered, Dead, Skipped, Runs, Expired, Holes, Failures, Changed, Fenced, Crashes, Done, Anew, Waited, Early, Readers, Refused, Opens, Void int
	Deaths, Alone, DiedAlone, CutOff, Left, Spared, Meanwhile, Letters                                                                                               int
}

// simFollow is a camera with its followers. When the camera is purged, src and out are
// those of the new life.
type simFollow struct {
	rng   *rand.Rand
	src   *sim // the camera's own topic
	out   *sim // the rendition's topic: its logs and readers
	procs []*simProc
	owner *simProc // to whom the group gives the camera; processes learn it late, or never
	calm  bool     // no new faults, and one owner
	steps int      // left until calm
	opens int      // that there were when calm began

	crash, hang, fail, drop, move, retain float64
	neighbour                             float64 // how often a fragment of another camera kills the process
	end                                   float64 // how often a process ends in an orderly way
	poison                                uint64  // every poison-th seq fails at each attempt
	deadly                                uint64  // every deadly-th seq kills its process
	every                                 uint64  // every every-th seq gets an entry

	failed map[uint64]int     // of each seq: its failures
	killed map[uint64]int     // of each seq: processes that it has killed while they worked on it alone
	deaths map[uint64]int     // of each seq: processes that it has killed
	alones map[int64]*simProc // who has written an `open` with the cause "alone"
	alone  int64              // offset of the newest one, if nothing that counts stands behind it; -1: there is none
	events int                // since calm began: what may need an `open`
	stats  simFollowStats
}

func newSimFollow(seed uint64) *simFollow {
	s := &simFollow{
		failed: map[uint64]int{}, killed: map[uint64]int{}, deaths: map[uint64]int{}, every: 1, rng: rand.New(rand.NewPCG(seed, 0xf0110)),
	}
	s.src = newSim(seed)
	s.newOutput()
	s.steps = 300 + s.rng.IntN(1200)
	s.crash, s.hang, s.fail, s.drop = s.rng.Float64()*0.003, s.rng.Float64()*0.01, s.rng.Float64()*0.01, s.rng.Float64()*0.005
	s.move, s.retain, s.poison = s.rng.Float64()*0.02, s.rng.Float64()*0.01, uint64(5+s.rng.IntN(40))
	s.neighbour, s.end, s.deadly = s.rng.Float64()*0.03, s.rng.Float64()*0.004, uint64(5+s.rng.IntN(60))
	if s.chance(0.2) {
		s.every = uint64(2 + s.rng.IntN(6))
	}
	return s
}

func (s *simFollow) newOutput() {
	s.out, s.alones, s.alone = &sim{rng: s.rng, media: make([]simLog[*schemas.Chunk], 1+s.rng.IntN(3))}, map[int64]*simProc{}, -1
}

func (s *simFollow) chance(p float64) bool { return s.rng.Float64() < p }

// run runs the camera with its followers, sometimes a second life of it.
func (s *simFollow) run() error {
	s.src.beside = s.step
	if err := s.src.run(); err != nil {
		return fmt.Errorf("the camera: %w", err)
	}
	if s.chance(0.2) {
		clock := s.src.clock
		s.src = newSim(s.rng.Uint64())
		s.src.life = "b"
		s.src.clock, s.src.beside = clock+1000*schemas.MediaTimescale, s.step
		if err := s.src.run(); err != nil {
			return fmt.Errorf("the camera's second life: %w", err)
		}
	}
	return s.finish()
}

// step is one step of all processes and readers.
func (s *simFollow) step() error {
	if s.steps--; s.steps == 0 {
		s.calmDown()
	}
	if s.owner == nil || s.owner.dead || (!s.calm && s.chance(s.move)) {
		s.assign()
	}
	if !s.calm {
		if s.chance(s.retain) {
			s.out.retain()
		}
		if s.chance(0.01) {
			s.out.readers = append(s.out.readers, s.out.newReader())
		}
	}
	for _, p := range s.procs {
		if err := p.step(); err != nil {
			return fmt.Errorf("process %d: %w", p.id, err)
		}
	}
	if err := s.out.stepReaders(); err != nil {
		return fmt.Errorf("the rendition: %w", err)
	}
	return nil
}

// assign gives the camera to another process, or a new one. The one before may learn it
// late.
func (s *simFollow) assign() {
	var alive []*simProc
	for _, p := range s.procs {
		if !p.dead && p != s.owner {
			alive = append(alive, p)
		}
	}
	if len(alive) == 0 || (len(alive) < 3 && s.chance(0.2)) {
		p := &simProc{s: s, id: len(s.procs) + 1, concurrency: 1 + s.rng.IntN(simAhead)}
		s.procs = append(s.procs, p)
		alive = []*simProc{p}
	}
	s.owner = alive[s.rng.IntN(len(alive))]
	s.events++
}

// calmDown: from now on one owner lives. Others that believe that they own the camera may
// live too. The camera may go on.
func (s *simFollow) calmDown() {
	if s.calm {
		return
	}
	s.calm = true
	s.assign()
	for _, p := range s.procs {
		p.hung = false
	}
	s.opens, s.events = s.stats.Opens, 0
}

// finish: one owner lives, and the source is at rest. It ends what there is to do.
func (s *simFollow) finish() error {
	s.calmDown()
	newest := s.newestWanted()
	for round := 0; ; round++ {
		if err := s.step(); err != nil {
			return err
		}
		if c := s.owner.core; c != nil && newest != nil && c.next == newest.Seq+1 && c.writing == nil {
			break
		}
		if newest == nil {
			break
		}
		if round > 50_000 {
			return fmt.Errorf("the owner does not come to the end: %s, newest of the source %d", s.owner.state(), newest.Seq)
		}
	}
	for range 400 { // zombies learn that they are fenced
		if err := s.step(); err != nil {
			return err
		}
	}
	if n, most := s.stats.Opens-s.opens, 4*len(s.procs)+3*s.events+4; n > most {
		return fmt.Errorf("%d opens with one owner and %d events: they fence each other for ever", n, s.events)
	}
	return s.check(newest)
}

// The function of the processor: a prefix before the bytes of each sample. It filters
// some fragments, and fails at others always.
func derive(c *schemas.Chunk) *schemas.Chunk {
	d := &schemas.Chunk{
		Last: c.Last, Ended: c.Ended, Start: c.Start, Captured: c.Captured, Tracks: c.Tracks, OpenGOP: c.OpenGOP,
	}
	for _, r := range c.Runs {
		run := schemas.Run{Track: r.Track}
		for _, sm := range r.Samples {
			sm.Data = append([]byte("derived "), sm.Data...)
			run.Samples = append(run.Samples, sm)
		}
		d.Runs = append(d.Runs, run)
	}
	return d
}

func (s *simFollow) filters(seq uint64) bool  { return seq%11 == 3 }
func (s *simFollow) poisoned(seq uint64) bool { return seq%s.poison == 1 }
func (s *simFollow) kills(seq uint64) bool    { return seq%s.deadly == 2 }
func (s *simFollow) wants(seq uint64) bool    { return seq%s.every == 0 }

const (
	simAttempts = 3 // failures after which a fragment is a dead letter
	simAhead    = 3 // fragments that a process works on at once, at most
)

// newestWanted is the source's newest entry that the output gets one for.
func (s *simFollow) newestWanted() (newest *schemas.Entry) {
	for e := range s.src.valid(s.src.index.start, s.src.index.end()) {
		if e.Footage() && s.wants(e.Seq) {
			newest = &e
		}
	}
	return newest
}

// sourceState is what a follower reads of the source when it resumes.
func (s *simFollow) sourceState(seq uint64) sourceState {
	st := sourceState{life: s.src.life}
	for e := range s.src.valid(s.src.index.start, s.src.index.end()) {
		switch {
		case e.Kind == schemas.KindOpen:
			continue
		case st.oldest == nil:
			st.oldest = &e
		}
		if st.newest = &e; e.Seq == seq {
			st.same = &e
		}
	}
	return st
}

// checkpointOf is what a follower reads of an output.
func checkpointOf(out *sim, end int64) (c checkpoint) {
	for e := range out.valid(min(out.index.start, end), end) {
		c.add(e)
	}
	return c
}

var errSim = errors.New("the processor has failed")
