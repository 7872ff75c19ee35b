package medialog

import (
	"bytes"
	"fmt"
	"time"

	"github.com/framelog/framelog/schemas"
)

// check compares what stands in the rendition with the source. newest is the source's
// newest entry.
func (s *simFollow) check(newest *schemas.Entry) error {
	truth, err := s.derivedTruth()
	if err != nil {
		return err
	}
	if err := s.out.checkStrings(truth); err != nil {
		return err
	}
	source := map[uint64]schemas.Entry{}
	for e := range s.src.valid(0, s.src.index.end()) {
		if e.Footage() {
			source[e.Seq] = e
		}
	}
	for i := range truth {
		src, ok := source[truth[i].Seq]
		if !ok {
			return fmt.Errorf("entry %d: the source has none", truth[i].Seq)
		}
		if err := s.checkEntry(&truth[i], &src); err != nil {
			return fmt.Errorf("entry %d: %w", truth[i].Seq, err)
		}
	}
	if newest != nil && (len(truth) == 0 || truth[len(truth)-1].Seq != newest.Seq) {
		return fmt.Errorf("the source has entries up to %d, the rendition has %d of them, and they end before", newest.Seq, len(truth))
	}
	for seq, n := range s.deaths {
		// For each seq with which a process may begin: one that went on there without an
		// `open`, one whose `open` named a seq before it that got its entry meanwhile, and
		// MaxStarts that have told it.
		if most := simAhead*(2+MaxStarts) + simAttempts; n > most {
			return fmt.Errorf("seq %d has killed %d processes, at most %d may die", seq, n, most)
		}
	}
	if err := s.out.checkReaders(truth); err != nil {
		return fmt.Errorf("the rendition: %w", err)
	}
	s.stats.Readers += s.out.stats.Readers
	return nil
}

// derivedTruth reads the whole index of the rendition, also the part that retention has
// removed: one valid entry a seq, dense but for declared holes.
func (s *simFollow) derivedTruth() (out []schemas.Entry, err error) {
	var (
		j    schemas.Judge
		from = map[uint64]bool{} // declared since the entry before
		told = simTold{known: map[string]uint32{}}
	)
	visible := s.sourceState(0).oldest
	for _, e := range s.out.index.records {
		if j.Feed(&e) != schemas.Valid {
			s.stats.Void++
			continue
		}
		if !e.Footage() && e.Life != s.src.life {
			continue // a follower of the life before has written no entry
		}
		if e.Life != s.src.life {
			return nil, fmt.Errorf("%s %d has the life %q, the source %q", e.Kind, e.Seq, e.Life, s.src.life)
		}
		if e.Kind == schemas.KindOpen {
			if err := told.take(&e); err != nil {
				return nil, err
			}
			from[e.From] = e.From != 0
			continue
		}
		if told.alone != nil && e.Playable() {
			s.stats.Spared++
		}
		told.add(e)
		if e.Kind == schemas.KindLeft {
			continue
		}
		clear(told.known)
		if e.Run != nil {
			s.stats.Runs++
		}
		for one := range e.Expand() {
			if n := len(out); n > 0 {
				p := out[n-1]
				if one.Seq <= p.Seq {
					if !sameEntry(out[n-1-int(p.Seq-one.Seq)], one) {
						return nil, fmt.Errorf("seq %d has a second valid entry, at %d", one.Seq, one.Offset)
					}
					continue
				}
				if one.Seq != p.Seq+1 {
					s.stats.Holes++
					if !from[one.Seq] {
						return nil, fmt.Errorf("seq %d follows %d, and no `open` between declares it", one.Seq, p.Seq)
					}
					// The newest seq in the hole that should have had an entry.
					if w := (one.Seq - 1) / s.every * s.every; w > p.Seq && visible != nil && w >= visible.Seq {
						return nil, fmt.Errorf("a hole from %d to %d, and the source has entries from %d on", p.Seq+1, one.Seq-1, visible.Seq)
					}
				}
			} else if !from[one.Seq] {
				return nil, fmt.Errorf("the rendition begins with %d, and no `open` declares it", one.Seq)
			}
			out = append(out, one)
		}
		clear(from)
	}
	return out, nil
}

// simTold is what the `open`s behind the newest entry tell, and what each process has known
// of a seq.
type simTold struct {
	checkpoint
	known map[string]uint32
}

// take: a follower knows the failures that stood in the index before its `open`. A first
// `open` makes the end of a process that worked alone a failure, and does not tell it yet.
func (t *simTold) take(e *schemas.Entry) error {
	k := fmt.Sprint(e.Writer, " ", e.Seq)
	n := e.Attempt
	if e.Reason == CauseStart && t.alone != nil && t.alone.Seq == e.Seq {
		n++
	}
	if n < t.known[k] {
		return fmt.Errorf("process %s opens %d with %d failures, and knew of %d", e.Writer, e.Seq, e.Attempt, t.known[k])
	}
	t.add(*e)
	t.known[k] = t.tries[e.Seq].failures
	return nil
}

// checkEntry compares an entry with the source's.
func (s *simFollow) checkEntry(e, src *schemas.Entry) error {
	if e.Session != src.Session || e.Media != src.Media || e.Duration != src.Duration || e.Layout.ID != src.Layout.ID ||
		e.Layout.Target != src.Layout.Target || e.Layout.Part != src.Layout.Part || e.Ended != src.Ended || e.Start.Sub(src.Start).Abs() > 2*time.Microsecond {
		return fmt.Errorf("%+v, its source is %+v", *e, *src)
	}
	if e.Role != schemas.RoleVariant || e.Source.Epoch != src.Epoch {
		return fmt.Errorf("role %q, made of a copy of epoch %d, the source's has %d", e.Role, e.Source.Epoch, src.Epoch)
	}
	want := ""
	switch {
	case !s.wants(e.Seq):
		return fmt.Errorf("nothing asks for it")
	case e.Playable():
		s.stats.Outputs++
		if s.kills(e.Seq) {
			return fmt.Errorf("it was made, and it kills its process")
		}
		if s.every > 1 {
			s.stats.Letters++
		}
		if e.Kind != src.Kind || e.Reason != src.Reason || e.Source != (schemas.Copy{Epoch: src.Epoch, First: src.First, Chunks: src.Chunks}) {
			return fmt.Errorf("%s (%s) made of %+v, its source is %+v", e.Kind, e.Reason, e.Source, *src)
		}
		return s.checkBytes(e, src)
	case src.Kind == schemas.KindGap:
		s.stats.SourceGaps++
		want = src.Reason
		if e.Reason == schemas.ReasonSkipped {
			want = e.Reason
		}
	case e.Reason == schemas.ReasonFiltered && s.filters(e.Seq):
		s.stats.Filtered++
		return nil
	case e.Reason == schemas.ReasonDeadLetter:
		s.stats.Dead++
		if n := s.failed[e.Seq]; n < simAttempts {
			return fmt.Errorf("a dead letter after %d failures", n)
		}
		return nil
	case e.Reason == schemas.ReasonSkipped:
		s.stats.Skipped++
		return nil
	case e.Reason == schemas.ReasonExpired:
		s.stats.Expired++
		if src.First >= s.src.media[src.Partition].start {
			return fmt.Errorf("expired, and its source is there")
		}
		return nil
	}
	if e.Reason != want {
		return fmt.Errorf("a gap with reason %q, want %q", e.Reason, want)
	}
	return nil
}

// checkBytes: the chunks that an entry names hold what the processor makes of the copy
// that the source's entry names.
func (s *simFollow) checkBytes(e, src *schemas.Entry) error {
	want, err := copyBytes(s.src, src, derive)
	if err != nil {
		return nil // the sources of old fragments are checked by the source's simulation
	}
	got, err := copyBytes(s.out, e, func(c *schemas.Chunk) *schemas.Chunk { return c })
	if err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("its chunks hold other bytes than the processor makes of the source's")
	}
	return nil
}

// copyBytes returns the samples of the copy that an entry names, with their times.
func copyBytes(s *sim, e *schemas.Entry, f func(*schemas.Chunk) *schemas.Chunk) (out []byte, err error) {
	chunks, err := s.copyOf(e)
	for _, c := range chunks {
		for _, r := range f(c).Runs {
			for _, sm := range r.Samples {
				out = fmt.Appendf(out, "%d+%d %t %q\n", sm.DTS, sm.Duration, sm.Sync, sm.Data)
			}
		}
	}
	return out, err
}

// bounds: what a follower holds in memory is bounded.
func (p *simProc) bounds() error {
	c := p.core
	const chunk = 5 * 16 // the bytes of the largest one
	switch {
	case c.held > c.aheadBytes+chunk:
		return fmt.Errorf("%d bytes wait for their turn, %d may", c.held, c.aheadBytes)
	case c.sent > c.budget+chunk:
		return fmt.Errorf("%d bytes wait for their acknowledgement, %d may", c.sent, c.budget)
	case len(c.works) > c.ahead:
		return fmt.Errorf("%d works, %d may be", len(c.works), c.ahead)
	case len(c.tries) > c.ahead+2+len(c.found):
		return fmt.Errorf("what became of %d seqs is remembered, the index told it of %d", len(c.tries), len(c.found))
	}
	return nil
}
