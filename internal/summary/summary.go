// Package summary adds up index entries: how much footage there is of each minute or hour, and
// what is missing and why.
package summary

import (
	"slices"
	"time"

	"github.com/framelog/framelog/internal/when"
	"github.com/framelog/framelog/schemas"
)

// Amount is how much there is of a time.
type Amount struct {
	Footage time.Duration
	Missing time.Duration // that is not in a list of Missing
	Bytes   int64
	Notes   int // fragments with a note of a processor
}

// Add adds b.
func (a *Amount) Add(b Amount) {
	a.Footage += b.Footage
	a.Missing += b.Missing
	a.Bytes += b.Bytes
	a.Notes += b.Notes
}

// Empty reports whether there is nothing.
func (a Amount) Empty() bool { return a == Amount{} }

// Missing is a time without footage. Reason is that of a gap (footage that came and could not be
// kept) or of an absence (nothing came): see schemas.ReasonX and schemas.AbsentX.
type Missing struct {
	Start  time.Time `json:"start"`
	End    time.Time `json:"end"`
	Kind   string    `json:"kind"` // Gap or Absence
	Reason string    `json:"reason,omitempty"`
}

// Kinds of Missing.
const (
	Gap     = "gap"
	Absence = "absence"
)

// Hour is what there is of an hour of public time.
type Hour struct {
	Amounts []Amount  // of each minute, or one of the whole hour
	Missing []Missing // in order of seqs; absences may begin before the hour
}

// Step is the time of one of the amounts.
func (h *Hour) Step() time.Duration { return time.Hour / time.Duration(len(h.Amounts)) }

// Empty reports whether nothing is known of the hour.
func (h *Hour) Empty() bool {
	return len(h.Missing) == 0 && !slices.ContainsFunc(h.Amounts, func(a Amount) bool { return !a.Empty() })
}

// Run is hours one after another.
type Run struct {
	From  time.Time // a whole hour
	Hours []*Hour
}

// NewRun makes a run of n hours of minutes, without footage.
func NewRun(from time.Time, n int) *Run {
	r := &Run{From: from}
	for range n {
		r.Hours = append(r.Hours, &Hour{Amounts: make([]Amount, 60)})
	}
	return r
}

// Add adds an entry, which takes a seq. Entries come in order of their seqs.
func (r *Run) Add(e *schemas.Entry) {
	first := max(0, int(e.Start.Sub(r.From)/time.Hour))
	for i := first; i < len(r.Hours); i++ {
		at := r.From.Add(time.Duration(i) * time.Hour)
		if i > first && !at.Before(e.End()) {
			break
		}
		r.Hours[i].Missing = MissingOf(r.Hours[i].Missing, e, at, at.Add(time.Hour))
	}
	Spread(e, time.Minute, func(minute time.Time, a Amount) {
		if d := minute.Sub(r.From); d >= 0 && int(d/time.Hour) < len(r.Hours) {
			r.Hours[d/time.Hour].Amounts[d%time.Hour/time.Minute].Add(a)
		}
	})
}

// MissingOf appends what an entry tells to be missing of a range. What goes on with the same
// reason is one. An absence belongs to the range in which it ends, as it was.
func MissingOf(all []Missing, e *schemas.Entry, from, to time.Time) []Missing {
	if e.Absent > 0 && !e.Start.Before(from) && e.Start.Before(to) {
		all = join(all, AbsenceBefore(e))
	}
	if e.Kind == schemas.KindGap {
		all = join(all, Missing{Start: when.Later(e.Start, from), End: when.Earlier(e.End(), to), Kind: Gap, Reason: e.Reason})
	}
	return all
}

// AbsenceBefore is the absence that an entry tells.
func AbsenceBefore(e *schemas.Entry) Missing {
	return Missing{Start: e.Start.Add(-schemas.FromTicks(e.Absent)), End: e.Start, Kind: Absence, Reason: e.AbsentReason}
}

// rounding is how far times of neighbours may differ.
const rounding = 10 * time.Microsecond

func join(all []Missing, m Missing) []Missing {
	if n := len(all) - 1; n >= 0 {
		last := &all[n]
		if last.Kind == m.Kind && last.Reason == m.Reason && m.Start.Sub(last.End).Abs() <= rounding {
			last.End = m.End
			return all
		}
	}
	return append(all, m)
}

// Joined makes one of neighbours that go on with the same reason.
func Joined(all []Missing) []Missing {
	var out []Missing
	for _, m := range all {
		out = join(out, m)
	}
	return out
}

// Spread calls f with the parts of an entry's footage in each step. A note counts in the first.
func Spread(e *schemas.Entry, step time.Duration, f func(step time.Time, a Amount)) {
	if !e.Playable() {
		return
	}
	total, left := e.End().Sub(e.Start), e.Bytes
	for at := e.Start.Truncate(step); at.Before(e.End()) || total == 0; at = at.Add(step) {
		a := Amount{Footage: when.Earlier(at.Add(step), e.End()).Sub(when.Later(at, e.Start)), Bytes: left}
		if at.Add(step).Before(e.End()) { // the last step gets the rest
			a.Bytes = int64(float64(e.Bytes) * float64(a.Footage) / float64(total))
		}
		if e.Note != "" && !at.After(e.Start) {
			a.Notes = 1
		}
		left -= a.Bytes
		f(at, a)
		if total == 0 {
			return
		}
	}
}

// Coarse returns the hour, which begins at start, with amounts of a longer step. What is missing
// within one step, apart from all else that is missing, goes from the list into its amount: no
// list of times that last a step or longer changes by that, nor the sum of any.
func (h *Hour) Coarse(start time.Time, step time.Duration) *Hour {
	c := &Hour{Amounts: make([]Amount, time.Hour/step)}
	for i, a := range h.Amounts {
		c.Amounts[time.Duration(i)*h.Step()/step].Add(a)
	}
	for i, m := range h.Missing {
		n := m.Start.Sub(start) / step
		from := start.Add(n * step)
		if m.Start.Before(start) || int(n) >= len(c.Amounts) || m.Start.Sub(from) <= rounding || from.Add(step).Sub(m.End) <= rounding || !alone(h.Missing, i) {
			c.Missing = append(c.Missing, m)
			continue
		}
		c.Amounts[n].Missing += m.End.Sub(m.Start)
	}
	return c
}

// alone reports whether element i neither overlaps another one nor touches one.
func alone(all []Missing, i int) bool {
	from, to := all[i].Start.Add(-rounding), all[i].End.Add(rounding)
	return !slices.ContainsFunc(all[:i], func(m Missing) bool { return !m.Start.After(to) && !m.End.Before(from) }) &&
		!slices.ContainsFunc(all[i+1:], func(m Missing) bool { return !m.Start.After(to) && !m.End.Before(from) })
}
