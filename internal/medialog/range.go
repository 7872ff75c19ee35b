package medialog

import (
	"context"
	"time"

	"github.com/framelog/framelog/schemas"
)

// MaxStepBack is the most by which public time steps back from one entry to a later
// one. Public time is the clock of the host that records. Kafka refuses records that are
// more than 1 h ahead of its own clock (message.timestamp.after.max.ms), so no host can
// record with a clock further ahead. The rest is for a clock that drifts within a session,
// and for the time until an entry is appended. A host whose clock is more than 1 h behind
// the others' breaks this rule: ranges by time may miss its footage, ranges by seq do not.
const MaxStepBack = time.Hour + timeMargin

// empty reports whether no entry can be in r.
func (r *Range) empty() bool {
	return !r.From.IsZero() && !r.To.IsZero() && !r.From.Before(r.To) || r.ToSeq != 0 && r.FromSeq > r.ToSeq
}

// Has reports whether e is in r.
func (r *Range) Has(e *schemas.Entry) bool {
	switch {
	case e.Seq < r.FromSeq, r.ToSeq != 0 && e.Seq > r.ToSeq:
		return false
	case !r.To.IsZero() && !e.Start.Before(r.To):
		return false
	case r.From.IsZero() || !e.Start.Before(r.From):
		return true
	}
	return e.End().After(r.From)
}

// Passed reports whether no entry behind e can be in r.
func (r *Range) Passed(e *schemas.Entry) bool {
	return r.ToSeq != 0 && e.Seq >= r.ToSeq || !r.To.IsZero() && !e.Start.Before(r.To.Add(MaxStepBack))
}

// within picks the visible entries of a range from all valid ones.
type within struct {
	r      Range
	edge   *edge
	passed bool
}

// take takes the next entry, and returns the entries that are certainly visible, which are good
// until the next call. done: no later entry is in the range.
func (w *within) take(e *schemas.Entry) (visible []schemas.Entry, done bool) {
	visible = w.edge.pass(e, w.r.Has(e))
	w.passed = w.passed || w.r.Passed(e)
	return visible, w.passed && w.edge.certain()
}

// rest returns the remaining entries. It is called when no further entry follows.
func (w *within) rest() []schemas.Entry { return w.edge.rest() }

// edge hides expired entries. Each partition loses its oldest records at another
// time, so everything up to the newest entry whose media are gone counts as expired.
type edge struct {
	media []span
	seen  map[int32]bool  // partitions in which no later entry has expired
	held  []schemas.Entry // visible unless a later entry has expired
	one   [1]schemas.Entry
}

func newEdge(media []span) *edge {
	x := &edge{media: media, seen: map[int32]bool{}}
	for p, s := range media {
		if s.start == 0 { // nothing has expired there
			x.seen[int32(p)] = true
		}
	}
	return x
}

// expired reports whether the media of e are gone.
func (x *edge) expired(e *schemas.Entry) bool {
	return e.Playable() && int(e.Partition) < len(x.media) && e.First < x.media[e.Partition].start
}

// certain reports whether it is known that no later entry has expired.
func (x *edge) certain() bool { return len(x.seen) >= len(x.media) }

// pass takes the next entry, and returns the entries that are certainly visible: those
// that were passed with wanted. They are good until the next call.
func (x *edge) pass(e *schemas.Entry, wanted bool) []schemas.Entry {
	if x.expired(e) {
		x.held = nil
		return nil
	}
	if e.Playable() {
		x.seen[e.Partition] = true
	}
	if x.certain() && len(x.held) == 0 { // most often
		if !wanted {
			return nil
		}
		x.one[0] = *e
		return x.one[:]
	}
	if wanted {
		x.held = append(x.held, *e)
	}
	if !x.certain() {
		return nil
	}
	return x.rest()
}

// rest returns the entries that are held. It is called when no further entry
// follows.
func (x *edge) rest() []schemas.Entry {
	out := x.held
	x.held = nil
	return out
}

// rangeStart returns an offset of the index at or before the first entry of r.
func (l *Log) rangeStart(ctx context.Context, index string, s span, r Range) (int64, error) {
	at := s.start
	if !r.From.IsZero() {
		var err error
		if at, err = l.timeStart(ctx, index, s, r.From); err != nil {
			return 0, err
		}
	}
	if r.FromSeq == 0 {
		return at, nil
	}
	_, first, err := search(l.footage(ctx, index, nil), span{at, s.end}, r.FromSeq, (*schemas.Entry).LastSeq)
	if err != nil || first == nil {
		return s.end, err
	}
	return first.Offset, nil
}

// timeStart returns an offset of the index before which all footage ends before t. The
// record of an entry has the time at which it was appended, by the clock of the host
// that appended it. This may be another host than the one that recorded.
func (l *Log) timeStart(ctx context.Context, index string, s span, t time.Time) (int64, error) {
	o, err := l.offsetsAt(ctx, index, t.Add(-MaxStepBack))
	if err != nil {
		return 0, err
	}
	if v, ok := o.Lookup(index, 0); ok && v.Offset >= 0 {
		return min(max(v.Offset, s.start), s.end), nil
	}
	return s.end, nil
}

// seek returns where a tail begins: its first seq, and an offset of the index at or
// before the entry of it. newest is the newest entry, and is in the index.
func (l *Log) seek(ctx context.Context, index string, s span, pos Position, newest *schemas.Entry) (seq uint64, at int64, err error) {
	var first *schemas.Entry
	switch {
	case pos.Seq != 0:
		at, err := l.rangeStart(ctx, index, s, Range{FromSeq: pos.Seq})
		return pos.Seq, min(at, newest.Offset), err
	case !pos.Time.IsZero():
		first, err = l.lastStart(ctx, index, s, pos.Time)
	case pos.Back <= 0:
		first = newest
	default:
		// Media time does not go back, as public time may.
		behind := newest.MediaEnd() - schemas.Ticks(pos.Back) + 1
		first, _, err = search(l.footage(ctx, index, nil), s, behind, func(e *schemas.Entry) int64 { return e.Media })
		if first != nil {
			first = lastOf(first, func(e *schemas.Entry) bool { return e.Media < behind })
		}
	}
	if err != nil || first == nil {
		return 0, s.start, err
	}
	return first.Seq, first.Offset, nil
}

// lastStart returns the last fragment that starts at or before t, nil if there is none.
// Where public time steps back, this is the one with the highest seq.
func (l *Log) lastStart(ctx context.Context, index string, s span, t time.Time) (*schemas.Entry, error) {
	from, err := l.timeStart(ctx, index, s, t)
	if err != nil {
		return nil, err
	}
	var last *schemas.Entry
	for e, err := range l.walk(ctx, index, from, s.end) {
		if err != nil {
			return nil, err
		}
		if e.Footage() && !e.Start.After(t) {
			last = &e
		}
		if !e.Start.Before(t.Add(MaxStepBack)) {
			break
		}
	}
	if last != nil || from <= s.start {
		return last, nil
	}
	before, err := l.newestBefore(ctx, index, from)
	return before.entry, err
}

// lastOf returns the last fragment that e stands for and that ok accepts. It accepts the
// first one; nil accepts all.
func lastOf(e *schemas.Entry, ok func(*schemas.Entry) bool) *schemas.Entry {
	last := *e
	for one := range e.Expand() {
		if ok != nil && !ok(&one) {
			break
		}
		last = one
	}
	return &last
}
