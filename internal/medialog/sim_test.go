package medialog

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/framelog/framelog/schemas"
)

// The simulation drives the protocol through random schedules: writers that crash,
// writers that hang and go on when they are fenced, two owners at once, partitions that
// lag behind each other, requests that are applied long before their answer arrives or
// after their sender has crashed, retention, readers that start anywhere. The cluster is
// slices. Every decision is made by the code that runs in production (core, judge,
// sequence, settle, resumeAt, provisional).

var (
	simSeed  = flag.Uint64("sim.seed", 0, "run only this schedule of the simulation")
	simCount = flag.Int("sim.count", 2000, "schedules that the simulation runs")
)

func TestSimulation(t *testing.T) {
	first, n := uint64(1), uint64(*simCount)
	if testing.Short() {
		n = min(n, 300)
	}
	if *simSeed != 0 {
		first, n = *simSeed, 1
	}
	var total simStats
	for seed := first; seed < first+n; seed++ {
		s := newSim(seed)
		if err := s.run(); err != nil {
			t.Fatalf("schedule %d: %v\nreplay: go test ./internal/medialog -run TestSimulation -sim.seed=%d -v", seed, err, seed)
		}
		total.add(s.stats)
	}
	t.Logf("%d schedules: %+v", n, total)
	if *simSeed == 0 {
		for what, n := range map[string]int{
			"void entries": total.Void, "fenced writers": total.Fenced, "crashes": total.Crashes, "settled entries": total.Settled,
			"settled as truncated": total.Truncated, "gaps": total.Gaps, "entries whose prev had expired": total.Expired, "unknown verdicts": total.Unknown,
			"provisional chunks": total.Shown, "copies of one seq": total.Copies, "readers that began without an entry": total.Began, "refused chunks": total.Refused,
		} {
			if n == 0 {
				t.Errorf("no schedule had any %s: the simulation misses what it is for", what)
			}
		}
	}
}

type simStats struct {
	Void, Fenced, Crashes, Settled, Truncated, Gaps, Expired, Unknown, Shown, Copies, Refused, Entries, Readers, Began int
}

func (a *simStats) add(b simStats) {
	a.Void += b.Void
	a.Fenced += b.Fenced
	a.Crashes += b.Crashes
	a.Settled += b.Settled
	a.Truncated += b.Truncated
	a.Gaps += b.Gaps
	a.Expired += b.Expired
	a.Unknown += b.Unknown
	a.Shown += b.Shown
	a.Copies += b.Copies
	a.Refused += b.Refused
	a.Entries += b.Entries
	a.Readers += b.Readers
	a.Began += b.Began
}

// simLog is one partition: records and the offset of the first one left.
type simLog[T any] struct {
	records []T
	start   int64
}

func (l *simLog[T]) append(v T) int64 {
	l.records = append(l.records, v)
	return int64(len(l.records) - 1)
}
func (l *simLog[T]) end() int64 { return int64(len(l.records)) }

type sim struct {
	rng     *rand.Rand
	index   simLog[schemas.Entry]
	media   []simLog[*schemas.Chunk]
	writers []*simWriter
	readers []*simReader
	clock   int64 // media time of the world, ticks
	safe    []schemas.Entry
	stats   simStats
}

type simRequest struct {
	chunk   out
	entry   *schemas.Entry
	applied bool
	offset  int64
	refused bool
}

type simWriter struct {
	id      int
	core    *core
	opening bool // the open is on its way
	open    *simRequest
	opened  bool
	dead    bool // crashed: takes no part, but its requests may still arrive
	hung    bool
	fenced  bool
	closing bool
	lanes   map[int32][]*simRequest // requests to a media partition, in order
	entry   *simRequest
	ops     []func() // what came while it was opening

	// The camera that it records.
	media    int64
	left     int // chunks left in the fragment
	index    uint32
	counter  uint32
	received int64 // ticks of footage handed over, after opening
	firstSeq uint64
}

func newSim(seed uint64) *sim {
	rng := rand.New(rand.NewPCG(seed, 0x5eed))
	s := &sim{rng: rng, media: make([]simLog[*schemas.Chunk], 1+rng.IntN(4)), clock: 1 << 40}
	return s
}

func (s *sim) chance(p float64) bool { return s.rng.Float64() < p }

func (s *sim) run() error {
	crash, hang := s.rng.Float64()*0.004, s.rng.Float64()*0.01
	retain := s.rng.Float64() * 0.01
	for range 600 + s.rng.IntN(600) {
		s.clock += schemas.MediaTimescale / 25
		if len(s.alive()) == 0 || (len(s.alive()) < 3 && s.chance(0.004)) {
			s.start()
		}
		for _, w := range s.writers {
			if !w.dead && !w.hung {
				if s.chance(crash) {
					w.dead = true
					s.stats.Crashes++
				}
				if s.chance(hang) {
					w.hung = true
				}
				if s.chance(0.7) {
					s.camera(w)
				}
			} else if w.hung && s.chance(0.02) {
				w.hung = false
			}
			if err := s.step(w); err != nil {
				return err
			}
		}
		if s.chance(0.02) {
			s.readers = append(s.readers, s.newReader())
		}
		for _, r := range s.readers {
			for range s.rng.IntN(4) {
				if err := r.step(); err != nil {
					return err
				}
			}
		}
		if s.chance(retain) {
			s.retain()
		}
	}
	return s.finish()
}

func (s *sim) alive() (n []*simWriter) {
	for _, w := range s.writers {
		if !w.dead && !w.fenced {
			n = append(n, w)
		}
	}
	return n
}

// retain removes the oldest records: media first, the index keeps more.
func (s *sim) retain() {
	for p := range s.media {
		l := &s.media[p]
		l.start += int64(s.rng.IntN(int(l.end()-l.start)/2 + 1))
	}
	// The index outlives its media, and what is not settled yet is young: the
	// newest valid entries stay.
	if n := s.index.end() - s.index.start; n > 60 {
		s.index.start += s.rng.Int64N(n - 50)
	}
}

// finish lets the surviving writers come to an end and compares everything.
func (s *sim) finish() error {
	last := s.start() // somebody has to settle what the dead left behind
	for _, w := range s.writers {
		w.hung = false
	}
	for round := 0; ; round++ {
		busy := false
		for _, w := range s.writers {
			if w == last && round < 200 {
				s.camera(w)
				busy = true
			}
			if round >= 200 && !w.dead && !w.fenced && w.opened && !w.closing {
				w.closing = true
				w.core.finish(schemas.ReasonSource)
			}
			if err := s.step(w); err != nil {
				return err
			}
			if !w.dead && !w.fenced && (w.opening || len(w.core.pending) > 0) {
				busy = true
			}
		}
		if !busy {
			break
		}
		if round > 100_000 {
			return errors.New("writers do not come to an end")
		}
	}
	truth, err := s.truth()
	if err != nil {
		return err
	}
	if err := s.checkSafe(truth); err != nil {
		return err
	}
	if err := s.checkMedia(truth); err != nil {
		return err
	}
	for _, w := range s.alive() { // a late open may have fenced the one started last
		if w.open.offset > last.open.offset {
			last = w
		}
	}
	if err := s.checkCoverage(truth, last); err != nil {
		return err
	}
	s.readers = append(s.readers, s.newReader())
	for _, r := range s.readers {
		for !r.caughtUp() {
			if err := r.step(); err != nil {
				return err
			}
		}
		if err := r.check(truth); err != nil {
			return fmt.Errorf("reader from %d: %w", r.from, err)
		}
		s.stats.Readers++
	}
	return nil
}
