package medialog

import (
	"encoding/binary"
	"fmt"

	"github.com/framelog/framelog/schemas"
)

// truth reads the whole index from its beginning, also the part that retention has
// removed for all readers. It checks what must hold of the entries.
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

// checkSafe: entries that were safe for their writer are in the truth, unchanged.
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

// checkMedia: the copy of each entry is there, complete, and holds what its writer
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

// checkCoverage: within a session of the last writer, each entry begins where the one
// before ends. There is one exception: the end of a fragment of which Kafka refused a
// chunk, and which its entry counts as lost. Between two sessions no time is missing
// that should be a gap.
func (s *sim) checkCoverage(truth []schemas.Entry, w *simWriter) error {
	for i := 1; i < len(truth); i++ {
		p, e := truth[i-1], truth[i]
		if p.Seq < w.firstSeq || e.Media == p.MediaEnd() {
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
