package medialog

import (
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/framelog/framelog/schemas"
)

// The simulation drives the protocol through random schedules: writers that
// crash, hang and come back as zombies, two owners at once, partitions that
// lag behind each other, requests that are applied long before their answer
// arrives or after their sender is dead, retention, readers that start
// anywhere. The cluster is slices; every decision is the code that runs in
// production (core, judge, sequence, settle, provisional, lastValid).

var (
	simSeed  = flag.Uint64("sim.seed", 0, "run only this schedule of the simulation")
	simCount = flag.Int("sim.count", 2000, "schedules that the simulation runs")
)

func TestSimulation(t *testing.T) {
	first, n := uint64(1), uint64(*simCount)
	if testing.Short() {
		n = min(n, 500)
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
			"provisional chunks": total.Shown, "copies of one seq": total.Copies, "refused chunks": total.Refused,
		} {
			if n == 0 {
				t.Errorf("no schedule had any %s: the simulation misses what it is for", what)
			}
		}
	}
}

type simStats struct {
	Void, Fenced, Crashes, Settled, Truncated, Gaps, Expired, Unknown, Shown, Copies, Refused, Entries, Readers int
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

func (s *sim) start() *simWriter {
	w := &simWriter{
		id: len(s.writers) + 1, core: newCore("sim", int64(60+s.rng.IntN(200)), 2+s.rng.IntN(8)),
		opening: true, lanes: map[int32][]*simRequest{}, media: s.clock,
	}
	w.open = &simRequest{entry: &schemas.Entry{Kind: schemas.KindOpen, Prev: -1, Writer: fmt.Sprint(w.id)}}
	s.writers = append(s.writers, w)
	return w
}

// camera hands the writer's next chunk over: the assembler's part.
func (s *sim) camera(w *simWriter) {
	if w.fenced || w.closing {
		return
	}
	const frame = schemas.MediaTimescale / 25
	if w.left == 0 {
		w.left, w.index = 1+s.rng.IntN(8), 0
		if s.chance(0.01) {
			w.left = 80 // a fragment that outgrows its layout
		}
		if s.chance(0.05) { // reconnect
			w.media += int64(s.rng.IntN(5 * schemas.MediaTimescale))
			s.do(w, 0, func() { w.core.newSession = true })
		}
		if s.chance(0.03) { // a cap, then no keyframe
			d := int64(1+s.rng.IntN(100)) * frame
			m := w.media
			s.do(w, d, func() { w.core.addGap(publicTime(m), m, d, schemas.ReasonKeyframe) })
			w.media += d
		}
	}
	n := 1 + s.rng.IntN(5)
	c := &schemas.Chunk{
		Index: w.index, Start: publicTime(w.media), Last: w.left == 1 && !s.chance(0.05),
		Layout: schemas.Layout{Part: 19800, Video: schemas.H264},
	}
	if w.index == 0 {
		c.Tracks = []schemas.Track{{ID: schemas.VideoTrack, Codec: schemas.H264, Timescale: schemas.MediaTimescale}}
	}
	run := schemas.Run{Track: schemas.VideoTrack}
	for i := range n {
		w.counter++
		data := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, uint32(w.id)), w.counter)
		run.Samples = append(run.Samples, schemas.Sample{DTS: w.media, Duration: frame, Sync: w.index == 0 && i == 0, Data: data})
		w.media += frame
	}
	c.Runs = []schemas.Run{run}
	w.index++
	w.left--
	admit := ""
	if s.chance(0.01) {
		admit = schemas.ReasonStorage
	}
	s.do(w, int64(n)*frame, func() {
		o, err := w.core.write(c, admit)
		if err != nil {
			s.stats.Refused++
			return
		}
		p := o.item.entry.Partition
		w.lanes[p] = append(w.lanes[p], &simRequest{chunk: o, refused: s.chance(0.003)})
	})
}

// do runs an operation of the camera now, or once the writer is open.
func (s *sim) do(w *simWriter, ticks int64, op func()) {
	if w.opening {
		w.ops = append(w.ops, op)
		return
	}
	w.received += ticks
	op()
}

func publicTime(media int64) time.Time {
	return time.Unix(0, 0).Add(schemas.FromTicks(media)).UTC().Truncate(time.Microsecond)
}

// step lets requests of w arrive and answers return, each after any delay. A
// dead writer's requests may still arrive; its answers interest nobody.
func (s *sim) step(w *simWriter) error {
	if w.opening {
		s.stepOpen(w)
		return nil
	}
	for p, lane := range w.lanes {
		for i, r := range lane {
			if !r.applied && !r.refused {
				if !s.chance(0.4) {
					break // in order
				}
				r.offset = s.media[p].append(r.chunk.chunk)
				r.applied = true
				if s.chance(0.01) { // the same again: a retry that was not recognised
					s.media[p].append(r.chunk.chunk)
				}
			}
			if i == 0 && !w.dead && !w.hung && s.chance(0.5) {
				failure := ""
				if r.refused {
					failure = schemas.ReasonTooLarge
				}
				w.core.resolved(r.chunk, r.offset, failure)
				w.lanes[p] = lane[1:]
			}
		}
	}
	if w.entry == nil {
		if w.dead || w.hung || w.fenced {
			return nil
		}
		if e, ok := w.core.append(); ok {
			w.entry = &simRequest{entry: &e}
		}
		return s.bounds(w)
	}
	if !w.entry.applied && s.chance(0.3) {
		e := *w.entry.entry
		e.Offset = s.index.end()
		w.entry.offset = s.index.append(e)
		w.entry.applied = true
		if s.chance(0.01) {
			e.Offset = s.index.end()
			s.index.append(e)
		}
	}
	if w.entry.applied && !w.dead && !w.hung && s.chance(0.4) {
		e := *w.entry.entry
		e.Offset = w.entry.offset
		fenced := false
		for o := e.Prev + 1; o < e.Offset; o++ {
			fenced = fenced || s.index.records[o].Kind == schemas.KindOpen
		}
		w.entry = nil
		if fenced {
			w.fenced = true
			s.stats.Fenced++
			return nil
		}
		w.core.committed(e.Offset)
		s.safe = append(s.safe, e)
		return s.bounds(w)
	}
	return nil
}

func (s *sim) bounds(w *simWriter) error {
	c := w.core
	if c.buffered > c.budget+64 {
		return fmt.Errorf("writer %d buffers %d bytes of %d", w.id, c.buffered, c.budget)
	}
	if len(c.pending) > 4*c.limit+64 {
		return fmt.Errorf("writer %d has %d items pending", w.id, len(c.pending))
	}
	return nil
}

func (s *sim) stepOpen(w *simWriter) {
	if w.dead {
		if !w.open.applied && s.chance(0.1) { // the open of a writer that died at once
			e := *w.open.entry
			e.Offset = s.index.end()
			s.index.append(e)
			w.open.applied = true
		}
		return
	}
	if w.hung || !s.chance(0.3) {
		return
	}
	if !w.open.applied {
		e := *w.open.entry
		e.Offset = s.index.end()
		w.open.offset = s.index.append(e)
		w.open.applied = true
		return
	}
	// Settle: read the index up to the own open, then the media to their ends.
	epoch := w.open.offset
	last, _ := lastValid(s.index.records[s.index.start:epoch], s.openBetween)
	var chunks []chunkMeta
	for p := range s.media {
		l := &s.media[p]
		for o := l.start; o < l.end(); o++ {
			if c := l.records[o]; last == nil || c.Seq > last.Seq {
				chunks = append(chunks, metaOf(c, int32(p), o))
			}
		}
	}
	settled := settle(epoch, last, chunks)
	s.stats.Settled += len(settled)
	for _, e := range settled {
		if e.Kind == schemas.KindTruncated {
			s.stats.Truncated++
		}
	}
	w.core.opened(epoch, last, settled, int32(len(s.media)), uint64(1_000_000+w.id*10_000))
	w.firstSeq = w.core.next
	w.opening, w.opened = false, true
	for _, op := range w.ops {
		op()
	}
	w.ops = nil
}

// openBetween answers an unknown verdict by looking; void where prev expired.
func (s *sim) openBetween(prev, before int64) bool {
	s.stats.Unknown++
	if prev < s.index.start {
		s.stats.Expired++
		return true
	}
	for o := prev + 1; o < before; o++ {
		if s.index.records[o].Kind == schemas.KindOpen {
			return true
		}
	}
	return false
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

// truth reads the whole index from its very beginning, which no real reader
// can once it has been trimmed, and checks what must hold of it.
func (s *sim) truth() ([]schemas.Entry, error) {
	var (
		j   judge
		seq sequence
		out []schemas.Entry
	)
	for i := range s.index.records {
		e := s.index.records[i]
		if j.feed(&e) != valid {
			s.stats.Void++
			continue
		}
		if !seq.pass(&e) {
			continue
		}
		if n := len(out); n > 0 {
			p := out[n-1]
			switch {
			case e.Seq != p.Seq+1:
				return nil, fmt.Errorf("seq %d follows %d", e.Seq, p.Seq)
			case e.Session != p.Session && e.Session != p.Session+1:
				return nil, fmt.Errorf("seq %d: session %d follows %d", e.Seq, e.Session, p.Session)
			case e.Media < p.MediaEnd():
				return nil, fmt.Errorf("seq %d: media time %d goes back behind %d", e.Seq, e.Media, p.MediaEnd())
			case e.Layout.ID != p.Layout.ID && e.Layout.ID != p.Layout.ID+1 && e.Layout.ID != p.Layout.ID+2:
				return nil, fmt.Errorf("seq %d: layout %d follows %d", e.Seq, e.Layout.ID, p.Layout.ID)
			}
		}
		if e.Kind != schemas.KindWhole && e.Reason == "" {
			return nil, fmt.Errorf("seq %d: %s without a reason", e.Seq, e.Kind)
		}
		if e.Kind == schemas.KindGap {
			s.stats.Gaps++
			if e.Duration > int64(e.Layout.Target)*schemas.MediaTimescale {
				return nil, fmt.Errorf("seq %d: gap of %d ticks, target %d s", e.Seq, e.Duration, e.Layout.Target)
			}
		}
		out = append(out, e)
	}
	s.stats.Entries += len(out)
	return out, nil
}

// checkSafe: what a writer was told is safe is in the truth, as it was.
func (s *sim) checkSafe(truth []schemas.Entry) error {
	by := map[uint64]schemas.Entry{}
	for _, e := range truth {
		by[e.Seq] = e
	}
	for _, e := range s.safe {
		if by[e.Seq] != e {
			return fmt.Errorf("safe entry %+v is %+v for readers", e, by[e.Seq])
		}
	}
	return nil
}

// checkMedia: every entry's copy is there, complete, and holds what its writer
// wrote, once and in order.
func (s *sim) checkMedia(truth []schemas.Entry) error {
	epochs := map[uint64]map[int64]bool{}
	for _, l := range s.media {
		for _, c := range l.records {
			if epochs[c.Seq] == nil {
				epochs[c.Seq] = map[int64]bool{}
			}
			epochs[c.Seq][c.Epoch] = true
		}
	}
	for _, n := range epochs {
		if len(n) > 1 {
			s.stats.Copies++
		}
	}
	counters := map[uint32]uint32{}
	for _, e := range truth {
		if !e.Playable() {
			continue
		}
		l := s.media[e.Partition]
		var sel selection
		at := e.Media
		for o := e.First; o <= e.Last; o++ {
			c := l.records[o]
			if !sel.take(&e, c) {
				continue
			}
			if c.MediaStart() != at {
				return fmt.Errorf("seq %d chunk %d begins at %d, the one before ends at %d", e.Seq, c.Index, c.MediaStart(), at)
			}
			at = c.MediaEnd()
			for _, sm := range c.Video() {
				id, n := binary.BigEndian.Uint32(sm.Data), binary.BigEndian.Uint32(sm.Data[4:])
				if n <= counters[id] {
					return fmt.Errorf("seq %d: sample %d of writer %d after %d", e.Seq, n, id, counters[id])
				}
				counters[id] = n
			}
		}
		if err := sel.complete(&e); err != nil {
			return err
		}
		if at != e.MediaEnd() {
			return fmt.Errorf("seq %d ends at %d, its entry says %d", e.Seq, at, e.MediaEnd())
		}
	}
	return nil
}

// checkCoverage: within a session of the last writer no footage is missing
// without a word: each entry begins where the one before ends, but for the
// tail of a fragment of which Kafka refused a chunk, which its entry counts.
func (s *sim) checkCoverage(truth []schemas.Entry, w *simWriter) error {
	for i := 1; i < len(truth); i++ {
		p, e := truth[i-1], truth[i]
		if p.Seq < w.firstSeq || e.Session != p.Session || e.Media == p.MediaEnd() {
			continue
		}
		if p.Kind == schemas.KindTruncated && p.Lost.Units > 0 {
			continue
		}
		return fmt.Errorf("seq %d begins at %d, %s %d ends at %d, and nothing says why", e.Seq, e.Media, p.Kind, p.Seq, p.MediaEnd())
	}
	return nil
}

// simReader is a tail: it reads the index and each partition, each at its own
// pace.
type simReader struct {
	s        *sim
	from     int64
	at       int64
	media    []int64
	judge    judge
	seq      sequence
	prov     provisional
	entries  []schemas.Entry
	shown    map[uint64][]*schemas.Chunk
	lastSeen heldKey
}

func (s *sim) newReader() *simReader {
	r := &simReader{s: s, media: make([]int64, len(s.media)), shown: map[uint64][]*schemas.Chunk{}, prov: provisional{limit: 1 << 20}}
	r.from = s.index.start
	if n := s.index.end() - s.index.start; n > 0 {
		r.from += s.rng.Int64N(n)
	}
	r.at = r.from
	for p := range r.media {
		r.media[p] = s.media[p].start
	}
	// Like the tail: the epoch in force where it starts is unknown unless it
	// is looked up; the newest open before is what counts.
	for o := r.from - 1; o >= s.index.start; o-- {
		if s.index.records[o].Kind == schemas.KindOpen {
			r.prov.open(o, 0, false)
			break
		}
	}
	return r
}

func (r *simReader) caughtUp() bool {
	if r.at < r.s.index.end() {
		return false
	}
	for p, o := range r.media {
		if o < r.s.media[p].end() {
			return false
		}
	}
	return true
}

func (r *simReader) step() error {
	p := r.s.rng.IntN(len(r.media) + 1)
	if p == len(r.media) {
		if r.at < r.s.index.end() {
			e := r.s.index.records[r.at]
			r.at++
			r.take(&e)
		}
	} else if r.media[p] < r.s.media[p].end() {
		if c := r.s.media[p].records[r.media[p]]; r.media[p] >= r.s.media[p].start {
			r.prov.chunk(c)
		}
		r.media[p]++
	}
	for c := r.prov.next(); c != nil; c = r.prov.next() {
		r.s.stats.Shown++
		if c.Epoch != r.prov.epoch {
			return fmt.Errorf("shows chunk %d.%d of epoch %d, the latest is %d", c.Seq, c.Index, c.Epoch, r.prov.epoch)
		}
		if r.seq.any && c.Seq <= r.seq.last {
			return fmt.Errorf("shows chunk %d.%d behind entry %d", c.Seq, c.Index, r.seq.last)
		}
		k := heldKey{c.Epoch, c.Seq, c.Index}
		if k.epoch == r.lastSeen.epoch && (k.seq < r.lastSeen.seq || (k.seq == r.lastSeen.seq && k.index != r.lastSeen.index+1)) {
			return fmt.Errorf("shows chunk %d.%d after %d.%d", c.Seq, c.Index, r.lastSeen.seq, r.lastSeen.index)
		}
		r.lastSeen = k
		r.shown[c.Seq] = append(r.shown[c.Seq], c)
	}
	return nil
}

func (r *simReader) take(e *schemas.Entry) {
	v := r.judge.feed(e)
	if v == unknown {
		v = valid
		if r.s.openBetween(e.Prev, r.judge.start) {
			v = void
		}
	}
	if v != valid {
		return
	}
	if e.Kind == schemas.KindOpen {
		r.prov.open(e.Offset, r.seq.last, r.seq.any)
		return
	}
	if r.seq.pass(e) {
		r.entries = append(r.entries, *e)
		r.prov.entry(e.Seq)
	}
}

// check: the reader has told the truth from where it began, and each chunk
// that it showed of the copy that counts is that copy's.
func (r *simReader) check(truth []schemas.Entry) error {
	if len(r.entries) == 0 {
		return nil
	}
	i := 0
	for i < len(truth) && truth[i].Seq < r.entries[0].Seq {
		i++
	}
	if len(truth)-i != len(r.entries) {
		return fmt.Errorf("told %d entries from seq %d, %d are true", len(r.entries), r.entries[0].Seq, len(truth)-i)
	}
	for k, e := range r.entries {
		if truth[i+k] != e {
			// A repetition of one append may be where this reader began.
			a, b := truth[i+k], e
			a.Offset, b.Offset = 0, 0
			if k != 0 || a != b {
				return fmt.Errorf("told %+v, true is %+v", e, truth[i+k])
			}
		}
		for _, c := range r.shown[e.Seq] {
			if !e.Playable() || c.Epoch != e.Epoch || c.Index >= e.Chunks {
				continue
			}
			same := false
			for o := e.First; o <= e.Last; o++ {
				same = same || r.s.media[e.Partition].records[o] == c
			}
			if !same {
				return fmt.Errorf("showed a chunk %d.%d that is not the copy's", c.Seq, c.Index)
			}
		}
	}
	return nil
}
