package medialog

import (
	"encoding/binary"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/framelog/framelog/schemas"
)

// truth reads the whole index from its beginning, also the part that retention has
// removed for all readers, and expands runs. It checks what must hold of the entries.
func (s *sim) truth() (out []schemas.Entry, err error) {
	var (
		j        schemas.Judge
		by       = map[uint64]schemas.Entry{}
		declared = map[uint64]bool{} // From of the `open`s since the entry before
		layouts  = map[uint32]schemas.Layout{}
	)
	for i := range s.index.records {
		e := s.index.records[i]
		if j.Feed(&e) != schemas.Valid {
			s.stats.Void++
			continue
		}
		if e.Kind == schemas.KindOpen {
			declared[e.From] = e.From != 0
			continue
		}
		if e.Run != nil {
			s.stats.Runs++
		}
		for one := range e.Expand() {
			if first, ok := by[one.Seq]; ok {
				if !sameEntry(first, one) {
					return nil, fmt.Errorf("seq %d has two valid entries:\n%+v\n%+v", one.Seq, first, one)
				}
				continue
			}
			var p *schemas.Entry
			if n := len(out); n > 0 {
				p = &out[n-1]
			}
			if err := s.checkNext(p, &one, declared[one.Seq]); err != nil {
				return nil, fmt.Errorf("seq %d: %w", one.Seq, err)
			}
			if l, ok := layouts[one.Layout.ID]; ok && l != one.Layout {
				return nil, fmt.Errorf("seq %d: layout %+v was %+v", one.Seq, one.Layout, l)
			}
			by[one.Seq], layouts[one.Layout.ID] = one, one.Layout
			out = append(out, one)
			clear(declared)
		}
	}
	s.stats.Entries += len(out)
	return out, nil
}

// checkNext compares an entry with the one before, p. declared: an `open` between the
// two begins with e's seq.
func (s *sim) checkNext(p, e *schemas.Entry, declared bool) error {
	switch {
	case e.Life != s.life:
		return fmt.Errorf("life %q, want %q", e.Life, s.life)
	case e.Role != s.role:
		return fmt.Errorf("role %q, want %q", e.Role, s.role)
	case p == nil && !declared:
		return fmt.Errorf("no `open` declares the first seq")
	case p == nil && e.Session != 1 && s.index.records[e.Epoch].From == e.Seq && !s.archived.Footage() && !s.recordedBefore(e.Epoch):
		return fmt.Errorf("a new camera's first session is %d", e.Session)
	case p == nil:
		s.stats.Froms++
	case e.Seq <= p.Seq:
		return fmt.Errorf("goes back behind %d", p.Seq)
	case e.Seq != p.Seq+1 && !declared:
		return fmt.Errorf("follows %d, and no `open` between declares it", p.Seq)
	case e.Session < p.Session || (!declared && e.Session > p.Session+1):
		return fmt.Errorf("session %d follows %d", e.Session, p.Session)
	case e.Media < p.MediaEnd():
		return fmt.Errorf("media time %d goes back behind %d", e.Media, p.MediaEnd())
	case p.Reason == schemas.ReasonHandover && e.Playable() && e.Epoch == p.Epoch:
		return fmt.Errorf("the writer before goes on behind a hand-over")
	case e.Layout.ID < p.Layout.ID || (!declared && e.Layout.ID > p.Layout.ID+2):
		return fmt.Errorf("layout %d follows %d", e.Layout.ID, p.Layout.ID)
	}
	if e.Kind != schemas.KindWhole && e.Reason == "" {
		return fmt.Errorf("%s without a reason", e.Kind)
	}
	if e.Kind == schemas.KindGap {
		s.stats.Gaps++
		if e.Duration > int64(e.Layout.Target)*schemas.MediaTimescale {
			return fmt.Errorf("gap of %d ticks, target %d s", e.Duration, e.Layout.Target)
		}
	}
	return nil
}

// recordedBefore reports whether a writer before the one of this epoch began. Its
// sessions may have left nothing. (So may a writer's own, if its first entry is not what
// its `open` declares: what came before has expired and was never settled.)
func (s *sim) recordedBefore(epoch int64) bool {
	return slices.ContainsFunc(s.writers, func(w *simWriter) bool { return w.opened && w.epoch < epoch })
}

// sameEntry compares all but where the entries stand: one append may be repeated.
func sameEntry(a, b schemas.Entry) bool {
	a.Offset, b.Offset = 0, 0
	return a == b
}

// checkSafe: entries that were safe for their writer are in the truth, unchanged.
func (s *sim) checkSafe(truth []schemas.Entry) error {
	by := map[uint64]schemas.Entry{}
	for _, e := range truth {
		by[e.Seq] = e
	}
	for i := range s.safe {
		for e := range s.safe[i].Expand() {
			if by[e.Seq] != e {
				return fmt.Errorf("safe entry %+v is %+v for readers", e, by[e.Seq])
			}
		}
	}
	return nil
}

// checkStrings: seq, epoch and index name one string of bytes for ever.
func (s *sim) checkStrings([]schemas.Entry) error {
	named := map[heldKey]*schemas.Chunk{}
	maps.Copy(named, s.named)
	for _, l := range s.media {
		for _, c := range l.records {
			k := heldKey{c.Epoch, c.Seq, c.Index}
			if before := named[k]; before != nil && !reflect.DeepEqual(before, c) {
				return fmt.Errorf("chunk %d.%d of epoch %d has two contents", c.Seq, c.Index, c.Epoch)
			}
			named[k] = c
		}
	}
	return nil
}

// copyOf returns the chunks that an entry names. They have its session.
func (s *sim) copyOf(e *schemas.Entry) (chunks []*schemas.Chunk, err error) {
	var sel selection
	for _, c := range s.media[e.Partition].records[e.First : e.Last+1] {
		if !sel.take(e, c) {
			continue
		}
		if c.Session != e.Session {
			return nil, fmt.Errorf("seq %d of session %d has a chunk of session %d", e.Seq, e.Session, c.Session)
		}
		chunks = append(chunks, c)
	}
	return chunks, sel.complete(e)
}

// framesOf returns the numbers of the frames of an entry, with the index of the chunk
// that holds each.
func (s *sim) framesOf(e *schemas.Entry) (frames []int64, chunks []uint32) {
	named, _ := s.copyOf(e) // checkMedia has taken the error
	for _, c := range named {
		for _, sm := range c.Video() {
			frames, chunks = append(frames, int64(binary.BigEndian.Uint64(sm.Data))), append(chunks, c.Index)
		}
	}
	return frames, chunks
}

// checkMedia: the copy of each entry is there, complete, and holds the frames of its
// writer, once and in order, also over the fragments of a session.
func (s *sim) checkMedia(truth []schemas.Entry) error {
	epochs := map[uint64]int64{}
	for _, l := range s.media {
		for _, c := range l.records {
			if e, ok := epochs[c.Seq]; ok && e != c.Epoch {
				s.stats.Copies++
			}
			epochs[c.Seq] = c.Epoch
		}
	}
	newest, session := int64(-1), uint64(0)
	for i := range truth {
		e := &truth[i]
		if !e.Playable() {
			continue
		}
		chunks, err := s.copyOf(e)
		if err != nil {
			return err
		}
		at := e.Media
		for _, c := range chunks {
			if c.MediaStart() != at {
				return fmt.Errorf("seq %d chunk %d begins at %d, the one before ends at %d", e.Seq, c.Index, c.MediaStart(), at)
			}
			at = c.MediaEnd()
		}
		if at != e.MediaEnd() {
			return fmt.Errorf("seq %d ends at %d, its entry says %d", e.Seq, at, e.MediaEnd())
		}
		if s.static {
			continue
		}
		if e.Session != session {
			newest, session = -1, e.Session
		}
		frames, _ := s.framesOf(e)
		for _, f := range frames {
			if f <= newest {
				return fmt.Errorf("seq %d: frame %d after %d", e.Seq, f, newest)
			}
			newest = f
		}
	}
	return nil
}

// checkAbsence: the first entry of a session tells the time since the end of what was
// recorded before it, and whose reason it is. No other entry tells any.
func (s *sim) checkAbsence(truth []schemas.Entry) error {
	var recorded time.Time
	writer, lost := int64(-1), false
	for i := range truth {
		e := &truth[i]
		want := int64(0)
		if i > 0 && e.Seq != truth[i-1].Seq+1 {
			recorded = time.Time{} // nothing is known of the time before a hole
		}
		if a, ok := s.above[e.Seq]; ok && (e.Absent > 0 || !e.Playable()) { // but to the writer that asked the archive
			recorded = a.End()
		}
		if (i == 0 || e.Session != truth[i-1].Session) && !recorded.IsZero() {
			want = max(0, schemas.Ticks(e.Start.Sub(recorded)))
		}
		// The end of a fragment that Kafka refused is lost, and no absence.
		if e.Absent != want && (!lost || e.Absent > want) {
			return fmt.Errorf("seq %d tells an absence of %d ticks, and %d are missing", e.Seq, e.Absent, want)
		}
		if e.Absent > 0 {
			s.stats.Absences++
			prefix := schemas.AbsentCamera
			if e.Epoch != writer {
				prefix = "start"
			}
			if !strings.HasPrefix(e.AbsentReason, prefix) {
				return fmt.Errorf("seq %d tells an absence with the reason %q, want %q", e.Seq, e.AbsentReason, prefix)
			}
		}
		if e.Kind == schemas.KindGap && e.Reason == schemas.ReasonAbsent {
			continue
		}
		recorded, writer, lost = e.End(), e.Epoch, e.Lost.Units > 0
	}
	return nil
}

// checkHandover: a writer that found its first access unit begins exactly where that
// stands, in public and in media time. If the footage before ends there, the next frame
// follows. If the unit stood inside a chunk, the frames of that chunk from there on are
// there twice.
func (s *sim) checkHandover(truth []schemas.Entry) error {
	continued := map[int64]*simWriter{}
	for _, w := range s.writers {
		if w.opened && w.planned.resume.unit != nil {
			continued[w.epoch] = w
		}
	}
	for i := 1; i < len(truth); i++ {
		p, e := &truth[i-1], &truth[i]
		w := continued[e.Epoch]
		if w == nil || e.Seq != w.firstSeq || !e.Playable() {
			continue
		}
		u := w.planned.resume.unit
		if e.Media != u.media || !e.Start.Equal(u.start) {
			return fmt.Errorf("seq %d begins at %d (%v), its first access unit stood at %d (%v)", e.Seq, e.Media, e.Start, u.media, u.start)
		}
		if !p.Playable() || p.Epoch != u.epoch || p.Session != u.session || p.MediaEnd() != u.media {
			continue
		}
		if e.Absent != 0 {
			return fmt.Errorf("seq %d follows at once and tells an absence of %d", e.Seq, e.Absent)
		}
		// A third writer may have settled the end before it could see the chunks of this one.
		if s.cutOff(p) && p.Offset > e.Epoch && !s.openedBetween(e.Epoch, p.Offset) && p.Reason != schemas.ReasonHandover {
			return fmt.Errorf("seq %d is cut off for a hand-over with the reason %q", p.Seq, p.Reason)
		}
		s.stats.Handovers++
		if s.static {
			continue
		}
		before, chunks := s.framesOf(p)
		after, _ := s.framesOf(e)
		n := len(before) - 1
		if after[0] == before[n]+1 {
			continue
		}
		s.stats.CutInside++
		for n > 0 && before[n] != after[0] {
			n--
		}
		if before[n] != after[0] || chunks[n] != chunks[len(chunks)-1] || n == 0 || chunks[n-1] != chunks[n] {
			return fmt.Errorf("seq %d begins with frame %d, the one before holds %d", e.Seq, after[0], before)
		}
	}
	return nil
}

// checkShown: a fragment whose first chunk readers may have shown keeps its session: no writer
// takes its seq. That holds as long as the writer before records on.
func (s *sim) checkShown([]schemas.Entry) error {
	for _, w := range s.writers {
		u := w.planned.resume.unit
		if !w.opened || w.tired || u == nil || u.seq != w.firstSeq {
			continue
		}
		for n, seen := range w.old {
			for _, c := range s.media[n].records[min(seen.start, seen.end):seen.end] {
				if c.Epoch == u.epoch && c.Seq == u.seq && c.Index == 0 {
					return fmt.Errorf("writer %d begins with seq %d, which the one before had begun already", w.id, u.seq)
				}
			}
		}
		s.stats.Kept++
	}
	return nil
}

// checkAbove: what the brokers have lost stays what it is in the archive. A writer goes on above
// its numbers and times.
func (s *sim) checkAbove(truth []schemas.Entry) error {
	for i := range truth {
		e := &truth[i]
		if lost, ok := s.gone[e.Seq]; ok {
			return fmt.Errorf("seq %d is written anew, and the archive has it: %+v", e.Seq, lost)
		}
		a, ok := s.above[e.Seq]
		if !ok {
			continue
		}
		s.stats.Above++
		if e.Seq <= a.LastSeq() || e.Session < a.Session || e.Media < a.MediaEnd() || e.Layout.ID <= a.Layout.ID {
			return fmt.Errorf("behind the archived %+v follows %+v", a, *e)
		}
	}
	return nil
}

// cutOff reports whether the log has the chunk behind the last one that e names.
func (s *sim) cutOff(e *schemas.Entry) bool {
	for _, c := range s.media[e.Partition].records {
		if c.Epoch == e.Epoch && c.Seq == e.Seq && c.Index == e.Chunks {
			return true
		}
	}
	return false
}

// openedBetween reports whether a writer has opened between two offsets of the index.
func (s *sim) openedBetween(after, before int64) bool {
	for o := after + 1; o < before; o++ {
		if s.index.records[o].Kind == schemas.KindOpen {
			return true
		}
	}
	return false
}

// checkOpens: a writer opens again only if another one has declared its first seq meanwhile.
// Two writers that have lost this race may lose it to each other again. Each further time is
// improbable, so two are allowed.
func (s *sim) checkOpens([]schemas.Entry) error {
	for _, w := range s.writers {
		if n := len(w.opens); n > 2*len(s.writers)+4 {
			return fmt.Errorf("writer %d of %d opens %d times", w.id, len(s.writers), n)
		}
	}
	return nil
}

// checkCoverage: within a session of the last writer, each entry begins where the one
// before ends. There is one exception: the end of a fragment of which Kafka refused a
// chunk, and which its entry counts as lost. Between two sessions no time is missing
// that should be a gap.
func (s *sim) checkCoverage(truth []schemas.Entry) error {
	alive := s.alive()
	if len(alive) == 0 {
		return nil
	}
	last := alive[0]
	for _, w := range alive { // a late open may have fenced the one started last
		if w.epoch > last.epoch {
			last = w
		}
	}
	for i := 1; i < len(truth); i++ {
		p, e := truth[i-1], truth[i]
		if p.Seq < last.firstSeq || e.Media == p.MediaEnd() {
			continue
		}
		if hole := e.Media - p.MediaEnd(); e.Session != p.Session && (hole < minAbsence || hole > maxAbsence) {
			continue
		}
		if p.Kind == schemas.KindTruncated && p.Lost.Units > 0 {
			continue
		}
		return fmt.Errorf("seq %d begins at %d, %s %d ends at %d, and no gap is between", e.Seq, e.Media, p.Kind, p.Seq, p.MediaEnd())
	}
	return nil
}
