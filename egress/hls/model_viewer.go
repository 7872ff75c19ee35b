package hls

import (
	"github.com/framelog/framelog/egress/parts"
	"github.com/framelog/framelog/schemas"
)

// cursor is where a viewer is: Position names the part that it gets next. While Part is 0,
// Epoch is 0: the viewer gets the copy that counts.
type cursor struct {
	parts.Position
	resumes bool // the viewer has the parts before Position
	begun   bool
}

// took moves a cursor behind the part at which it is, of the copy with this epoch.
func (c *cursor) took(epoch int64) {
	c.Epoch = epoch
	c.Part++
}

// to moves a cursor to the begin of a fragment.
func (c *cursor) to(seq uint64) { c.Position = parts.Position{Seq: seq} }

// step returns what a viewer gets next, and moves its cursor behind it. found is false if
// there is nothing yet. If stored is not nil, that is the next part of this complete
// fragment: the caller reads it, and moves the cursor. The error is parts.ErrUnplayable.
//
// A viewer is at the newest complete fragment or later, so that its parts are in memory. If
// it is further behind, it goes on with the newest keyframe.
func (m *model) step(c *cursor) (s parts.Step, stored *schemas.Entry, found bool, err error) {
	start, ok := m.newestStart()
	if !ok {
		return s, nil, false, nil
	}
	if !c.begun {
		c.begun = true
		if !c.resumes {
			c.to(start)
		} else if !m.near(c.Position) {
			return c.leave(parts.Behind, start), nil, true, nil
		}
	}
	for {
		next, _ := m.next()
		e := m.entryOf(c.Seq)
		switch {
		case e == nil && c.Seq < next:
			// Entries follow each other, so those before the first have expired, or lie in a
			// hole.
			first := next
			if len(m.entries) > 0 {
				first = m.entries[0].Seq
			}
			return c.leave(parts.Hole, first), nil, true, nil
		case e == nil && c.Seq > next+maxPending: // the index began again
			return c.leave(parts.Behind, start), nil, true, nil
		case e == nil:
			f, data := m.pendingPart(c)
			if data != nil {
				s = parts.Step{Fragment: f.facts(), Part: c.Part, Data: data}
				c.took(f.epoch)
				return s, nil, true, nil
			}
			if f == nil || !f.last || int(c.Part) < len(f.detail.parts) {
				return s, nil, false, nil
			}
			c.to(c.Seq + 1)
		case !e.Playable():
			s = c.leave(parts.Gap, c.Seq+1)
			s.LeftOut.Cause = e.Reason
			return s, nil, true, nil
		case partTicks(e.Layout) == 0:
			return s, nil, false, parts.ErrUnplayable
		case c.Part > 0 && c.Epoch != e.Epoch:
			return c.leave(parts.Replaced, c.Seq+1), nil, true, nil
		case c.Part >= e.Chunks:
			c.to(c.Seq + 1)
		case c.Seq < m.newestPlayable().Seq:
			return c.leave(parts.Behind, start), nil, true, nil
		default:
			return s, e, true, nil
		}
	}
}

// leave moves a cursor to the begin of a fragment, and tells what it leaves out.
func (c *cursor) leave(why parts.Reason, to uint64) parts.Step {
	from := c.Position
	c.to(to)
	return parts.Step{LeftOut: &parts.LeftOut{Reason: why, From: from, To: to}}
}

// newestStart returns the newest fragment with which a viewer can begin: the unfinished one
// of the latest writer, else the newest complete one. ok is false if there is none.
func (m *model) newestStart() (seq uint64, ok bool) {
	if seq, ok = m.next(); !ok {
		return 0, false
	}
	if f := m.fragment(seq); f != nil && len(f.data) > 0 {
		return seq, true
	}
	if e := m.newestPlayable(); e != nil {
		return e.Seq, true
	}
	return 0, false
}

// newestPlayable returns the newest entry that is no gap, nil if there is none.
func (m *model) newestPlayable() *schemas.Entry {
	for i := len(m.entries) - 1; i >= 0; i-- {
		if m.entries[i].Playable() {
			return &m.entries[i]
		}
	}
	return nil
}

// near reports whether a viewer may go on at a part: it is one of the newest complete
// fragment, or of one without an entry, and the copy is the one that the viewer has.
func (m *model) near(p parts.Position) bool {
	if e := m.newestPlayable(); e != nil && e.Seq == p.Seq {
		return e.Epoch == p.Epoch
	}
	return m.copyOf(p.Seq, p.Epoch) != nil
}

// entryOf returns the entry of a seq, nil if the window has none.
func (m *model) entryOf(seq uint64) *schemas.Entry {
	if len(m.entries) == 0 || seq < m.entries[0].Seq || seq > m.newest().Seq {
		return nil
	}
	return &m.entries[seq-m.entries[0].Seq]
}

// pendingPart returns the fragment without an entry at which a cursor is, nil if there is
// none, and the part at the cursor, nil if that is not there.
func (m *model) pendingPart(c *cursor) (f *fragment, data []byte) {
	if c.Part == 0 {
		f = m.fragment(c.Seq)
	} else {
		f = m.copyOf(c.Seq, c.Epoch)
	}
	if f != nil && int(c.Part) < len(f.data) {
		data = f.data[c.Part]
	}
	return f, data
}

func (f *fragment) facts() parts.Fragment {
	return parts.Fragment{Seq: f.seq, Epoch: f.epoch, Session: f.session, Config: f.config, Media: f.media, Start: f.start}
}

func entryFacts(e *schemas.Entry) parts.Fragment {
	return parts.Fragment{Seq: e.Seq, Epoch: e.Epoch, Session: e.Session, Config: e.Config, Media: e.Media, Start: e.Start}
}
