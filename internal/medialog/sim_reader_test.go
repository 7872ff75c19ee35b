package medialog

import (
	"fmt"
	"iter"
	"math"
	"slices"

	"github.com/framelog/framelog/schemas"
)

// simReader is a tail. It reads the index and each partition, each at a speed of its
// own.
type simReader struct {
	s        *sim
	from     int64
	at       int64
	media    []int64
	judge    schemas.Judge
	seq      sequence
	prov     provisional
	entries  []schemas.Entry
	shown    map[uint64][]*schemas.Chunk
	lastSeen heldKey
	began    uint64 // the seq that it began with, before any entry and since the newest open; else 0
	declared uint64 // From of the newest open
	opens    []*schemas.Entry
	liveAt   []int64
	early    []*schemas.Entry // as in the tail
	begun    bool
	first    int64 // epoch of the writer that it began with; -1: there was none
}

func (s *sim) newReader() *simReader {
	r := &simReader{s: s, media: make([]int64, len(s.media)), shown: map[uint64][]*schemas.Chunk{}, prov: provisional{limit: 1 << 20, epoch: -1}, first: -1}
	r.from = s.index.start
	if n := s.index.end() - s.index.start; n > 0 {
		r.from += s.rng.Int64N(n)
	}
	r.at = r.from
	for p := range r.media {
		r.media[p] = s.media[p].start
	}
	// As in the tail: it knows the newest entry, the newest open before, and those behind it.
	n := newest{epoch: -1, offsets: map[int32]int64{}}
	for e := range s.valid(s.index.start, r.from) {
		if n.add(&e); e.Footage() {
			r.seq.last, r.seq.any = e.Seq, true
		}
	}
	var open *schemas.Entry
	if open, r.opens = n.writers(); open != nil {
		r.open(open)
		r.first = open.Offset
	}
	for p := range r.media {
		r.liveAt = append(r.liveAt, s.media[p].end())
	}
	return r
}

// isLive reports whether it has read the chunks that stood in the log when it began.
func (r *simReader) isLive() bool {
	for p, end := range r.liveAt {
		if r.media[p] < end {
			return false
		}
	}
	return true
}

// open takes a new writer's `open`.
func (r *simReader) open(e *schemas.Entry) {
	r.prov.opened(e, r.seq.last, r.seq.any)
	r.began, r.declared = 0, e.From
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

// stepReaders lets each reader take some steps.
func (s *sim) stepReaders() error {
	for _, r := range s.readers {
		for range s.rng.IntN(4) {
			if err := r.step(); err != nil {
				return fmt.Errorf("reader from %d: %w", r.from, err)
			}
		}
	}
	return nil
}

// checkReaders: readers, from wherever they began, have what stands in the index.
func (s *sim) checkReaders(truth []schemas.Entry) error {
	s.readers = append(s.readers, s.newReader())
	for _, r := range s.readers {
		for !r.caughtUp() {
			if err := r.step(); err != nil {
				return fmt.Errorf("reader from %d: %w", r.from, err)
			}
		}
		if err := r.check(truth); err != nil {
			return fmt.Errorf("reader from %d: %w", r.from, err)
		}
		s.stats.Readers++
	}
	return nil
}

func (r *simReader) step() error {
	p := r.s.rng.IntN(len(r.media) + 1)
	if p == len(r.media) {
		if r.at < r.s.index.end() {
			e := r.s.index.records[r.at]
			r.at++
			if err := r.takeIndex(&e); err != nil {
				return err
			}
		}
	} else if r.media[p] < r.s.media[p].end() {
		if c := r.s.media[p].records[r.media[p]]; r.media[p] >= r.s.media[p].start {
			r.prov.chunk(c)
		}
		r.media[p]++
	}
	if err := r.show(); err != nil {
		return err
	}
	if r.begun || !r.isLive() {
		return nil
	}
	return r.end()
}

// simMostEarly is small, so that a reader begins before it has read all chunks too.
const simMostEarly = 6

// takeIndex takes the next record of the index, as the tail does.
func (r *simReader) takeIndex(e *schemas.Entry) error {
	if !r.begun && (len(r.early) > 0 || len(r.opens) > 0 && e.Kind != schemas.KindOpen) {
		if r.early = append(r.early, e); len(r.early) < simMostEarly {
			return nil
		}
		r.s.stats.Early++
		r.first = -1 // it shows less
		return r.end()
	}
	return r.take(e)
}

// end ends the beginning, as that of the tail.
func (r *simReader) end() error {
	r.begun = true
	opens, early := r.opens, r.early
	r.opens, r.early = nil, nil
	for _, o := range opens {
		r.prov.giveWay(o.Offset)
		if err := r.show(); err != nil {
			return err
		}
		r.open(o)
	}
	if err := r.checkBegun(); err != nil {
		return err
	}
	for _, e := range early {
		if err := r.show(); err != nil {
			return err
		}
		if err := r.take(e); err != nil {
			return err
		}
	}
	return r.show()
}

// checkBegun: a reader that has just read what stood in the log when it began shows of the
// unfinished fragments of the newest entry's writer what readers show that ran before: all but the
// fragments that a later writer has begun too, and those behind them.
func (r *simReader) checkBegun() error {
	if !r.seq.any || r.first < 0 {
		return nil
	}
	there, taken := map[heldKey]bool{}, uint64(math.MaxUint64)
	for p, end := range r.liveAt {
		for o, c := range r.s.media[p].records {
			if int64(o) >= r.s.media[p].start && int64(o) < end && c.Epoch == r.first {
				there[heldKey{c.Epoch, c.Seq, c.Index}] = c.Last
			}
			if c.Epoch > r.first {
				taken = min(taken, c.Seq)
			}
		}
	}
	k := heldKey{epoch: r.first, seq: r.seq.last + 1}
	for k.seq < taken {
		last, ok := there[k]
		if !ok {
			return nil
		}
		if !slices.ContainsFunc(r.shown[k.seq], func(c *schemas.Chunk) bool { return c.Epoch == k.epoch && c.Index == k.index }) {
			return fmt.Errorf("does not show chunk %d.%d of epoch %d, which stood there when it began behind entry %d", k.seq, k.index, k.epoch, r.seq.last)
		}
		r.s.stats.Begun++
		if k.index++; last {
			k.seq, k.index = k.seq+1, 0
		}
	}
	return nil
}

// show shows the chunks whose turn has come.
func (r *simReader) show() error {
	if len(r.opens) > 0 {
		return nil
	}
	for c := r.prov.next(); c != nil; c = r.prov.next() {
		r.s.stats.Shown++
		if c.Epoch != r.prov.epoch {
			return fmt.Errorf("shows chunk %d.%d of epoch %d, the latest is %d", c.Seq, c.Index, c.Epoch, r.prov.epoch)
		}
		if len(r.entries) == 0 && !r.seq.any && r.began == 0 {
			r.s.stats.Began++
			if c.Index != 0 || c.Seq != r.declared {
				return fmt.Errorf("begins with chunk %d.%d, and its writer with %d", c.Seq, c.Index, r.declared)
			}
			r.began = c.Seq
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

func (r *simReader) take(e *schemas.Entry) error {
	if !r.s.isValid(&r.judge, e) {
		return nil
	}
	if e.Kind == schemas.KindOpen {
		if r.begun {
			r.open(e)
		} else {
			r.opens = append(r.opens, e)
		}
		return nil
	}
	for one := range e.Expand() {
		if !r.seq.pass(&one) {
			continue
		}
		if len(r.entries) == 0 && r.began != 0 && one.Seq != r.began {
			return fmt.Errorf("began with chunks of seq %d, and the first entry is %d", r.began, one.Seq)
		}
		r.entries = append(r.entries, one)
		r.prov.committed(one.Seq, one.Epoch)
	}
	return nil
}

// check: from where it began, the reader has all entries of the truth. Each chunk that
// it showed with the epoch of an entry is one of those that the entry names.
func (r *simReader) check(truth []schemas.Entry) error {
	if len(r.entries) == 0 {
		return nil
	}
	i := slices.IndexFunc(truth, func(e schemas.Entry) bool { return e.Seq == r.entries[0].Seq })
	if i < 0 {
		return fmt.Errorf("begins with seq %d, which has no valid entry", r.entries[0].Seq)
	}
	if len(truth)-i != len(r.entries) {
		return fmt.Errorf("has %d entries from seq %d, want %d", len(r.entries), r.entries[0].Seq, len(truth)-i)
	}
	for k, e := range r.entries {
		// A repetition of one append may be where this reader began.
		if want := truth[i+k]; want != e && (k != 0 || !sameEntry(want, e)) {
			return fmt.Errorf("has %+v, want %+v", e, want)
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

// valid yields the valid entries, runs expanded, the `open`s and `left`s in [from, to) of
// the index, as walk does.
func (s *sim) valid(from, to int64) iter.Seq[schemas.Entry] {
	return func(yield func(schemas.Entry) bool) {
		var (
			j   schemas.Judge
			seq sequence
		)
		for o := from; o < to; o++ {
			e := s.index.records[o]
			if !s.isValid(&j, &e) {
				continue
			}
			for one := range e.Expand() {
				if (one.Kind == schemas.KindOpen || one.Kind == schemas.KindLeft || seq.pass(&one)) && !yield(one) {
					return
				}
			}
		}
	}
}

// isValid feeds an index record to j. A reader that j cannot answer looks itself.
func (s *sim) isValid(j *schemas.Judge, e *schemas.Entry) bool {
	v := j.Feed(e)
	return v == schemas.Valid || (v == schemas.Unknown && !s.openBetween(e.Prev, j.Start()))
}
