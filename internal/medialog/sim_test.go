package medialog

import (
	"errors"
	"flag"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// The simulation drives the protocol through random schedules: writers that crash,
// writers that hang and go on when they are fenced, two owners at once, planned
// hand-overs, partitions that lag behind each other, requests that are applied long
// before their answer arrives or after their sender has crashed, retention, a camera
// that is away for longer than its retention, brokers that lose what is archived, purges, readers that start anywhere. The
// cluster is slices. Every decision is made by the code that runs in production (core,
// schemas.Judge, sequence, settle, plan, provisional).

var (
	simSeed  = flag.Uint64("sim.seed", 0, "run only this schedule of the simulation")
	simFirst = flag.Uint64("sim.first", 1, "the first schedule of the simulation")
	simCount = flag.Int("sim.count", 1000, "schedules that the simulation runs, from sim.first on")
	simAll   = flag.Bool("sim.all", false, "go on behind a schedule that fails")
)

// simulate runs the schedules that the flags ask for, or a part of them: one of each part.
// run returns a struct of counters. Each of them must be above 0 over all schedules.
func simulate[S any](t *testing.T, part int, run func(seed uint64) (S, error)) {
	t.Helper()
	var total S
	sum := reflect.ValueOf(&total).Elem()
	first, n := *simFirst, max(*simCount/part, 1)
	if testing.Short() {
		n = min(n, 300)
	}
	if *simSeed != 0 {
		first, n = *simSeed, 1
	}
	for i := range n {
		seed := first + uint64(i)
		stats, err := run(seed)
		for i, x := 0, reflect.ValueOf(stats); i < x.NumField(); i++ {
			sum.Field(i).SetInt(sum.Field(i).Int() + x.Field(i).Int())
		}
		if err != nil {
			t.Errorf("schedule %d: %v\nreplay: go test ./internal/medialog -run '^%s$' -args -sim.seed=%d", seed, err, t.Name(), seed)
			if !*simAll {
				t.FailNow()
			}
		}
	}
	t.Logf("%d schedules: %+v", n, total)
	if *simSeed != 0 {
		return
	}
	for i := range sum.NumField() {
		if sum.Field(i).Int() == 0 {
			t.Errorf("no schedule had any %s: the simulation misses what it is for", sum.Type().Field(i).Name)
		}
	}
}

func TestSimulation(t *testing.T) {
	testenv.SkipRace(t)
	simulate(t, 1, func(seed uint64) (simStats, error) {
		s := newSim(seed)
		err := s.run()
		return s.stats, err
	})
}

// simStats counts what happened. Every field must be seen.
type simStats struct {
	Void, Fenced, Crashes, Settled, Truncated, Gaps, Runs, Expired, Unknown, Shown, Copies, Refused, Entries, Readers, Began, Begun, Early int
	Froms, Twice, Continued, CutInside, Handovers, Absences, Emptied, Purged, Waited, Later, Kept, Behind, Cut, Above                      int
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

// sim is a camera: its log, its writers and readers.
type sim struct {
	rng     *rand.Rand
	index   simLog[schemas.Entry]
	media   []simLog[*schemas.Chunk]
	writers []*simWriter
	readers []*simReader
	clock   int64 // media time of the world, ticks
	safe    []schemas.Entry
	stats   simStats

	life     string           // of new footage
	role     schemas.Role     // of the topic: raw has none, a rendition with numbers of its own has one
	static   bool             // keyframes repeat: the picture does not change
	keyEvery int64            // frames from one keyframe to the next, about
	stood    schemas.Standing // what is remembered
	beside   func() error     // another step after each; nil: none

	archived schemas.Entry              // the newest archived entry; none: the archive is not asked
	gone     map[uint64]schemas.Entry   // what a broker has lost, and the archive has
	named    map[heldKey]*schemas.Chunk // chunks that a broker has lost
	above    map[uint64]schemas.Entry   // what was archived when a writer went on above it, by the seq that it declared
}

// simAppend is what became of a request to append something.
type simAppend struct {
	applied bool
	offset  int64
	refused bool
}

// appendChunk may append a chunk now, if that has not been done. It returns false while
// the chunk is on its way: those behind it in the same partition have to wait.
func (s *sim) appendChunk(r *simAppend, partition int, c *schemas.Chunk) bool {
	if r.applied || r.refused {
		return true
	}
	if !s.chance(0.4) {
		return false
	}
	r.offset, r.applied = s.media[partition].append(c), true
	if s.chance(0.01) { // the same again: a retry that was not recognised
		s.media[partition].append(c)
	}
	return true
}

func (s *sim) appendEntry(e schemas.Entry) (offset int64) {
	e.Offset = s.index.end()
	return s.index.append(e)
}

func newSim(seed uint64) *sim {
	rng := rand.New(rand.NewPCG(seed, 0x5eed))
	s := &sim{rng: rng, media: make([]simLog[*schemas.Chunk], 1+rng.IntN(4)), clock: 1 << 40, life: "a"}
	s.forget()
	if seed%2 == 0 {
		s.role = schemas.RoleAlternative
	}
	s.static, s.keyEvery = s.chance(0.05), 2+rng.Int64N(12)
	return s
}

// forget forgets the archive.
func (s *sim) forget() {
	s.archived, s.gone, s.named, s.above = schemas.Entry{}, map[uint64]schemas.Entry{}, map[heldKey]*schemas.Chunk{}, map[uint64]schemas.Entry{}
}

func (s *sim) chance(p float64) bool { return s.rng.Float64() < p }

func (s *sim) run() error {
	crash, hang := s.rng.Float64()*0.004, s.rng.Float64()*0.01
	retain, owners := s.rng.Float64()*0.01, 0.002+s.rng.Float64()*0.008
	for range 250 + s.rng.IntN(500) {
		s.clock += s.rng.Int64N(5) * frame
		if err := s.away(); err != nil {
			return err
		}
		if len(s.alive()) == 0 || (len(s.alive()) < 3 && s.chance(owners)) {
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
		if s.chance(0.012) {
			s.readers = append(s.readers, s.newReader())
		}
		if err := s.stepReaders(); err != nil {
			return err
		}
		if s.chance(retain) {
			s.retain()
		}
		if s.beside != nil {
			if err := s.beside(); err != nil {
				return err
			}
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

// unixNow is Unix time in seconds, which no camera's seqs overtake.
func (s *sim) unixNow() uint64 { return 1_000_000 + uint64((s.clock-1<<40)/frame)*3 }

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

// away lets time pass in which nobody records the camera: retention removes all its
// footage, or somebody purges it. What writers had on its way has arrived, or is lost.
func (s *sim) away() error {
	if len(s.alive()) != 0 || len(s.writers) == 0 || !s.chance(0.1) {
		return nil
	}
	for _, w := range s.writers {
		w.lost = true
	}
	s.clock += 300 * schemas.MediaTimescale
	if s.beside == nil && s.chance(0.3) {
		s.cut()
		return nil
	}
	if s.beside != nil || s.chance(0.5) { // a purge with followers is another camera: see simFollow.run
		s.stats.Emptied++
		s.index.start = s.index.end()
		for p := range s.media {
			s.media[p].start = s.media[p].end()
		}
		return nil
	}
	s.stats.Purged++
	if err := s.checkLife(); err != nil {
		return err
	}
	s.index, s.media = simLog[schemas.Entry]{}, make([]simLog[*schemas.Chunk], len(s.media))
	s.writers, s.readers, s.safe, s.stood = nil, nil, nil, schemas.Standing{}
	s.forget()
	s.life += "'"
	return nil
}

// cut lets the brokers lose the end of the log. The archive has all entries.
func (s *sim) cut() {
	all, newest := map[uint64]schemas.Entry{}, int64(0)
	for e := range s.valid(s.index.start, s.index.end()) {
		if !e.Footage() {
			continue
		}
		all[e.Seq], newest = e, e.Offset
		if e.Seq > s.archived.Seq {
			s.archived = e
		}
	}
	if len(all) == 0 {
		return
	}
	s.stats.Cut++
	at := newest - s.rng.Int64N(min(30, newest-s.index.start+1)) // it loses an entry at least
	s.index.records = s.index.records[:at]
	ends := make([]int64, len(s.media))
	for e := range s.valid(s.index.start, at) {
		if delete(all, e.Seq); e.Playable() {
			ends[e.Partition] = max(ends[e.Partition], e.Last+1)
		}
	}
	maps.Copy(s.gone, all)
	for p := range s.media {
		l := &s.media[p]
		end := max(ends[p], l.start)
		end += s.rng.Int64N(l.end() - end + 1)
		for _, c := range l.records[end:] {
			s.named[heldKey{c.Epoch, c.Seq, c.Index}] = c
		}
		l.records = l.records[:end]
	}
	s.safe = slices.DeleteFunc(s.safe, func(e schemas.Entry) bool { return e.Offset >= at })
	s.readers = nil
	for _, w := range s.writers {
		w.old = nil
	}
}

// finish lets the surviving writers come to an end and compares everything.
func (s *sim) finish() error {
	last := s.start() // somebody has to settle what the dead left behind
	for _, w := range s.writers {
		w.hung = false
	}
	for round := 0; ; round++ {
		s.clock += 3 * frame
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
			if !w.dead && !w.fenced && ((w.opening && len(w.opens) > 0) || len(w.core.pending) > 0) {
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
	return s.checkLife()
}

// checkLife compares all that one life of the camera has left.
func (s *sim) checkLife() error {
	truth, err := s.truth()
	if err != nil {
		return err
	}
	for _, check := range []func([]schemas.Entry) error{s.checkSafe, s.checkStrings, s.checkMedia, s.checkAbsence, s.checkHandover, s.checkShown, s.checkAbove, s.checkOpens, s.checkCoverage} {
		if err := check(truth); err != nil {
			return err
		}
	}
	return s.checkReaders(truth)
}
