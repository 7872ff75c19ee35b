package timeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/internal/summary"
	"github.com/framelog/framelog/internal/when"
	"github.com/framelog/framelog/schemas"
)

// skew is how far public time may step back: see medialog.Range. An hour is settled when the
// newest entry begins that much behind its end.
const skew = time.Hour

// sum adds up what entries tell about the steps of a query.
type sum struct {
	q       query
	steps   []summary.Amount
	missing []Missing
	read    time.Time // all that begins before it was read
}

// read makes the answer.
func (s *Server) read(ctx context.Context, q query) (*Timeline, error) {
	a := &Timeline{
		Camera: q.topic.Camera, Rendition: q.topic.Name(), Start: q.start, End: q.end, Step: q.step.Seconds(),
		Steps: []Step{}, Missing: []Missing{},
	}
	oldest, newest, err := s.deps.Log.Bounds(ctx, q.topic)
	switch {
	case errors.Is(err, medialog.ErrNoTopic), errors.Is(err, medialog.ErrNotFound):
		return a, nil
	case err != nil:
		return nil, fmt.Errorf("timeline: %w", err)
	}
	begin, end := oldest.Start.UTC(), newest.End().UTC()
	a.Oldest, a.Newest = &begin, &end

	// Other sessions may have earlier times than the oldest entry.
	c := &sum{q: q, steps: make([]summary.Amount, int(q.last.Sub(q.first)/q.step))}
	from, to := when.Later(q.first, begin.Add(-skew)), when.Earlier(q.last, end.Add(skew))
	if q.step < time.Minute {
		err = s.readEntries(ctx, c, from, to)
	} else {
		err = s.readHours(ctx, c, &oldest, &newest, from, to)
	}
	if err == nil {
		err = s.readNext(ctx, c)
	}
	if err != nil {
		return nil, fmt.Errorf("timeline: %w", err)
	}
	c.answer(a)
	return a, nil
}

// readEntries adds up entries themselves.
func (s *Server) readEntries(ctx context.Context, c *sum, from, to time.Time) error {
	c.read = to
	return s.entries(ctx, c.q.topic, from, to, func(e *schemas.Entry) {
		c.missing = summary.MissingOf(c.missing, e, from, to)
		summary.Spread(e, c.q.step, c.add)
	})
}

// maxRun is the most hours that are read at once. What was read is kept even if the time of the
// request is over then.
const maxRun = 24

// readHours adds up hours: those that have a summary, those in memory, and the others. Neighbours
// of these are read at once.
func (s *Server) readHours(ctx context.Context, c *sum, oldest, newest *schemas.Entry, from, to time.Time) error {
	stored, err := s.summaries(ctx, c.q, from, to)
	if err != nil {
		return err
	}
	key := func(at time.Time) hourKey { return hourKey{topic: c.q.topic, life: newest.Life, start: at.Unix()} }
	// Retention takes of an hour until the oldest entry is behind it.
	stays := func(at time.Time) bool { return at.After(oldest.Start.Add(skew)) }
	settled := func(at time.Time) bool {
		return stays(at) && at.Add(time.Hour+skew).Before(newest.Start)
	}
	kept := func(at time.Time) *summary.Hour {
		if h := stored[at.Unix()]; h != nil && stays(at) {
			return h
		}
		if !settled(at) {
			return nil
		}
		return s.hours.get(key(at))
	}
	at := from.Truncate(time.Hour)
	for at.Before(to) {
		if h := kept(at); h != nil {
			c.addHour(at, h)
			at = at.Add(time.Hour)
			continue
		}
		n := 1
		for next := at.Add(time.Hour); next.Before(to) && n < maxRun && kept(next) == nil; next = next.Add(time.Hour) {
			n++
		}
		s.hours.misses.Add(float64(n))
		run := summary.NewRun(at, n)
		if err := s.entries(ctx, c.q.topic, at, at.Add(time.Duration(n)*time.Hour), run.Add); err != nil {
			return err
		}
		for _, h := range run.Hours {
			if settled(at) && len(h.Missing) <= keptMissing {
				s.hours.put(key(at), h)
			}
			c.addHour(at, h)
			at = at.Add(time.Hour)
		}
	}
	c.read = at
	return nil
}

// summaries returns the hours that need not be read.
func (s *Server) summaries(ctx context.Context, q query, from, to time.Time) (map[int64]*summary.Hour, error) {
	if log, ok := s.deps.Log.(summaries); ok {
		return log.Summaries(ctx, q.topic, from, to, q.step)
	}
	return nil, nil
}

func (c *sum) addHour(at time.Time, h *summary.Hour) {
	for i, a := range h.Amounts {
		if !a.Empty() {
			c.add(at.Add(time.Duration(i)*h.Step()), a)
		}
	}
	c.missing = append(c.missing, h.Missing...)
}

// readNext looks at the entry behind what was read: it tells why nothing was recorded before it.
func (s *Server) readNext(ctx context.Context, c *sum) error {
	for e, err := range s.deps.Log.Entries(ctx, c.q.topic, medialog.Range{From: c.read}) {
		if errors.Is(err, medialog.ErrNoTopic) {
			return nil
		}
		if err != nil {
			return err
		}
		if e.Absent > 0 && !e.Start.Before(c.read) {
			c.missing = append(c.missing, summary.AbsenceBefore(&e))
		}
		return nil
	}
	return nil
}

// entries calls f with the entries of a range that take a seq.
func (s *Server) entries(ctx context.Context, t schemas.Topic, from, to time.Time, f func(e *schemas.Entry)) error {
	for e, err := range s.deps.Log.Entries(ctx, t, medialog.Range{From: from, To: to}) {
		if errors.Is(err, medialog.ErrNoTopic) {
			return nil
		}
		if err != nil {
			return err
		}
		if e.Footage() {
			f(&e)
		}
	}
	return nil
}

// add adds to the step that has a time.
func (c *sum) add(at time.Time, a summary.Amount) {
	if d := at.Sub(c.q.first); d >= 0 && int(d/c.q.step) < len(c.steps) {
		c.steps[d/c.q.step].Add(a)
	}
}

// answer writes the sums into an answer.
func (c *sum) answer(a *Timeline) {
	slices.SortStableFunc(c.missing, func(x, y Missing) int { return x.Start.Compare(y.Start) })
	for _, m := range summary.Joined(c.missing) { // a gap over several hours is told by each
		m.Start, m.End = when.Later(m.Start, c.q.first), when.Earlier(m.End, c.q.last)
		for at := m.Start.Truncate(c.q.step); at.Before(m.End); at = at.Add(c.q.step) {
			c.add(at, summary.Amount{Missing: when.Earlier(at.Add(c.q.step), m.End).Sub(when.Later(at, m.Start))})
		}
		if m.End.Sub(m.Start) >= c.q.step {
			a.Missing = append(a.Missing, m)
		}
	}
	if len(a.Missing) > MaxMissing {
		slices.SortStableFunc(a.Missing, func(x, y Missing) int { return cmp.Compare(y.End.Sub(y.Start), x.End.Sub(x.Start)) })
		a.Missing = a.Missing[:MaxMissing]
		slices.SortStableFunc(a.Missing, func(x, y Missing) int { return x.Start.Compare(y.Start) })
	}
	for i, x := range c.steps {
		if !x.Empty() {
			a.Steps = append(a.Steps, Step{
				Start: c.q.first.Add(time.Duration(i) * c.q.step), Footage: x.Footage.Seconds(), Missing: x.Missing.Seconds(), Bytes: x.Bytes, Notes: x.Notes,
			})
		}
	}
}
