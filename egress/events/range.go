package events

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"iter"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/framelog/framelog/egress/access"
	"github.com/framelog/framelog/egress/answer"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/internal/when"
	"github.com/framelog/framelog/schemas"
)

// Limits of the parameter limit.
const (
	defaultLimit = 1000
	maxLimit     = 10_000
)

// Range is the answer of GET /v1/events/<camera>.
type Range struct {
	Camera string    `json:"camera"`
	Start  time.Time `json:"start"`
	End    time.Time `json:"end"`
	Events []*Event  `json:"events"` // by their start
	// Next is the parameter next of the request for the rest; "" if this is all. An event
	// that goes on there is another event there.
	Next string `json:"next,omitempty"`
}

// query is what a request asks for.
type query struct {
	camera     string
	start, end time.Time
	types      []string // empty: all
	processors []string // empty: all
	rendition  string   // "": all
	joined     bool
	limit      int
	next       map[string]uint64 // nil: from the start
}

// getRange answers GET /v1/events/<camera> with the events of a range:
//
//	start, end   as package when reads them; default: the last hour
//	type         some types alone
//	processor    some processors alone
//	rendition    one rendition alone
//	joined       false: one event a fragment, as they stand in the log. Default: an event that
//	             goes on in the next fragment is one event
//	limit        the most events, default 1000
//	next         goes on where the answer before ended, with the same other parameters
//
// Besides what processors found it gives gaps of raw (type gap), times in which nothing was
// recorded (absence), and fragments at which a processor failed (dead-letter).
func (s *Server) getRange(w http.ResponseWriter, r *http.Request) {
	q, err := parseQuery(r, time.Now())
	switch {
	case err != nil:
		answer.Fail(w, http.StatusBadRequest, err.Error(), "see docs/operating.md, Events")
		return
	case !s.deps.Known(q.camera):
		answer.NoCamera(w, q.camera)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.cfg.ReadTimeout)
	defer cancel()
	if s.reads.Acquire(ctx, 1) != nil {
		answer.Fail(w, http.StatusServiceUnavailable, "too many ranges are being read", "try again")
		return
	}
	defer s.reads.Release(1)
	a, err := s.read(ctx, q, func(rendition string) bool { return access.MayWatch(r, q.camera, rendition) })
	if err != nil {
		if r.Context().Err() == nil {
			s.deps.Logger.Warn("cannot read events", "camera", q.camera, "err", err)
		}
		answer.Away(w, err)
		return
	}
	answer.JSON(w, http.StatusOK, a)
}

func parseQuery(r *http.Request, now time.Time) (q query, err error) {
	v := r.URL.Query()
	q = query{
		camera: r.PathValue("camera"), types: list(r, "type"), processors: list(r, "processor"), rendition: v.Get("rendition"),
		joined: true, limit: defaultLimit, start: now.Add(-time.Hour), end: now,
	}
	for name, at := range map[string]*time.Time{"start": &q.start, "end": &q.end} {
		if s := v.Get(name); s != "" {
			var ok bool
			if *at, ok = when.Parse(s, now); !ok {
				return q, errors.New(name + ": want " + when.Forms)
			}
		}
	}
	if !q.start.Before(q.end) {
		return q, errors.New("start: it is not before end")
	}
	if s := v.Get("joined"); s != "" {
		if q.joined, err = strconv.ParseBool(s); err != nil {
			return q, errors.New("joined: want true or false")
		}
	}
	if s := v.Get("limit"); s != "" {
		if q.limit, err = strconv.Atoi(s); err != nil || q.limit < 1 || q.limit > maxLimit {
			return q, errors.New("limit: want 1 to " + strconv.Itoa(maxLimit))
		}
	}
	if s := v.Get("next"); s != "" {
		q.next = map[string]uint64{}
		for one := range strings.SplitSeq(s, ",") {
			rendition, seq, _ := strings.Cut(one, ":")
			if q.next[rendition], err = strconv.ParseUint(seq, 10, 64); err != nil {
				return q, errors.New("next: it is none of an answer")
			}
		}
	}
	return q, nil
}

// source is one rendition of a range, which is read in order of its seqs.
type source struct {
	topic schemas.Topic
	role  schemas.Role
	next  func() (schemas.Entry, error, bool)
	stop  func()
	head  schemas.Entry // the next one
	from  uint64        // the seq to read next
	done  bool
}

// read reads the range. All renditions are read side by side, in order of time, until the
// limit or the time-out of ctx.
func (s *Server) read(ctx context.Context, q query, may func(rendition string) bool) (*Range, error) {
	sources, err := s.sources(ctx, q, may)
	if err != nil {
		return nil, err
	}
	defer func() {
		for _, src := range sources {
			src.stop()
		}
	}()
	for _, src := range sources {
		if err := src.advance(); err != nil {
			return nil, err
		}
	}
	c := collector{query: q, open: map[string][]*Event{}}
	for len(c.events) < q.limit {
		src := earliest(sources)
		if src == nil {
			return c.answer(nil), nil
		}
		err := s.fragment(ctx, &c, src)
		if err == nil {
			src.from++
			err = src.advance()
		}
		if ctx.Err() != nil && c.fragments > 0 {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	return c.answer(sources), nil
}

// sources returns the renditions that may have events of a query.
func (s *Server) sources(ctx context.Context, q query, may func(rendition string) bool) (all []*source, err error) {
	roles, err := s.deps.Renditions(ctx, q.camera)
	if err != nil {
		return nil, err
	}
	add := func(name string, role schemas.Role) {
		from, goesOn := q.next[name]
		if (q.next != nil && !goesOn) || (q.rendition != "" && q.rendition != name) || !may(name) {
			return
		}
		src := &source{topic: schemas.Topic{Camera: q.camera, Rendition: name}, role: role}
		if name == schemas.Raw {
			src.topic = src.topic.Source()
		}
		src.next, src.stop = iter.Pull2(s.deps.Log.Entries(ctx, src.topic, medialog.Range{FromSeq: from, From: q.start, To: q.end}))
		all = append(all, src)
	}
	if q.wants(typeGap) || q.wants(typeAbsence) {
		add(schemas.Raw, "")
	}
	for name, role := range roles {
		if role == schemas.RoleData || role == schemas.RoleDeadLetter && q.wants(typeDeadLetter) {
			add(name, role)
		}
	}
	slices.SortFunc(all, func(a, b *source) int { return cmp.Compare(a.topic.Name(), b.topic.Name()) })
	return all, nil
}

func (q *query) wants(kind string) bool { return len(q.types) == 0 || slices.Contains(q.types, kind) }

func (q *query) wantsOf(processor string) bool {
	return len(q.processors) == 0 || slices.Contains(q.processors, processor)
}

// advance moves head to the next entry.
func (s *source) advance() error {
	e, err, ok := s.next()
	switch {
	case !ok, errors.Is(err, medialog.ErrNoTopic):
		s.done = true
		return nil
	case err != nil:
		return err
	}
	s.head, s.from = e, e.Seq
	return nil
}

// earliest returns the source whose next fragment starts first, nil if all are read.
func earliest(sources []*source) (first *source) {
	for _, s := range sources {
		if !s.done && (first == nil || s.head.Start.Before(first.head.Start)) {
			first = s
		}
	}
	return first
}

// Types of events that the log itself tells.
const (
	typeGap        = "gap"
	typeAbsence    = "absence"
	typeDeadLetter = "dead-letter"
)

// fragment adds the events of a source's next fragment.
func (s *Server) fragment(ctx context.Context, c *collector, src *source) error {
	e := &src.head
	ev := Event{Camera: c.camera, Rendition: src.topic.Name(), Seq: e.Seq, Start: e.Start, End: e.End()}
	var found []*Event
	switch src.role {
	case schemas.RoleData:
		var err error
		if found, err = s.data(ctx, &c.query, src.topic, e, ev); err != nil {
			return err
		}
	case schemas.RoleDeadLetter:
		if e.Playable() {
			ev.Type, ev.Processor = typeDeadLetter, strings.TrimPrefix(ev.Rendition, schemas.DeadLetterPrefix)
			if json.Valid([]byte(e.Note)) {
				ev.Data = json.RawMessage(e.Note)
			}
			found = append(found, &ev)
		}
	default:
		if e.Absent > 0 {
			before := ev
			before.Type, before.Data = typeAbsence, map[string]string{"reason": e.AbsentReason}
			before.Start, before.End = e.Start.Add(-schemas.FromTicks(e.Absent)), e.Start
			found = append(found, &before)
		}
		if e.Kind == schemas.KindGap {
			ev.Type, ev.Data = typeGap, map[string]string{"reason": e.Reason}
			found = append(found, &ev)
		}
	}
	c.add(src.topic.Name(), found)
	return nil
}

// data returns the events of a fragment of a data rendition. A fragment with events has a
// note, so that others need not be read.
func (s *Server) data(ctx context.Context, q *query, t schemas.Topic, e *schemas.Entry, ev Event) (found []*Event, err error) {
	if !e.Playable() || e.Note == "" || !q.mayHave(e.Note) {
		return nil, nil
	}
	for chunk, err := range s.deps.Log.Chunks(ctx, t, *e) {
		switch {
		case errors.Is(err, medialog.ErrExpired):
			return nil, nil
		case err != nil:
			return nil, err
		}
		if l := chunk.Lineage; l != nil {
			ev.Processor = l.Processor
		}
		for _, r := range chunk.Runs {
			for _, x := range r.Samples {
				var d schemas.Data
				if json.Unmarshal(x.Data, &d) != nil {
					s.m.unreadable.Inc()
					continue
				}
				if d.Event == nil || !q.wants(d.Event.Type) || !q.wantsOf(ev.Processor) {
					continue
				}
				one := ev
				one.of(d.Event)
				found = append(found, &one)
			}
		}
	}
	return found, nil
}

// mayHave reports whether a fragment with a note may have events of the query.
func (q *query) mayHave(note string) bool {
	var n schemas.Note
	if json.Unmarshal([]byte(note), &n) != nil || len(n.Events) == 0 || n.More > 0 {
		return true // a note of the processor's own, or one that does not tell all
	}
	return slices.ContainsFunc(n.Events, func(e schemas.NoteEvent) bool { return q.wants(e.Type) })
}

// collector gathers and joins events.
type collector struct {
	query
	events    []*Event
	open      map[string][]*Event // by rendition: those of its newest fragment, which may go on
	fragments int                 // how many were read
}

// add takes the events of the next fragment of a rendition.
func (c *collector) add(rendition string, found []*Event) {
	c.fragments++
	before := c.open[rendition]
	c.open[rendition] = nil
	for _, e := range found {
		// The entries of a range overlap it; an event in them need not.
		ended := !e.End.After(c.start) && e.Start.Before(c.start)
		if ended || !e.Start.Before(c.end) || !c.wants(e.Type) || !c.wantsOf(e.Processor) {
			continue
		}
		if i := slices.IndexFunc(before, func(b *Event) bool { return c.joined && b.goesOn(e) }); i >= 0 {
			b := before[i]
			before = slices.Delete(before, i, i+1)
			b.join(e)
			e = b
		} else {
			c.events = append(c.events, e)
		}
		c.open[rendition] = append(c.open[rendition], e)
	}
}

// touching is how far two events may be apart to be one: processors see some pictures a
// second.
const touching = 500 * time.Millisecond

// goesOn reports whether next, of the next fragment, is the same event.
func (e *Event) goesOn(next *Event) bool {
	return e.Type == next.Type && e.Processor == next.Processor && next.Start.Sub(e.End) <= touching &&
		(e.Type != typeGap || e.reason() == next.reason())
}

func (e *Event) reason() string {
	m, _ := e.Data.(map[string]string)
	return m["reason"]
}

func (e *Event) join(next *Event) {
	e.LastSeq = next.Seq
	if next.End.After(e.End) {
		e.End = next.End
	}
	if next.Value > e.Value {
		e.Value, e.Boxes, e.Data = next.Value, next.Boxes, next.Data
	}
}

// answer makes the answer. sources are those that are not read to their end.
func (c *collector) answer(sources []*source) *Range {
	slices.SortStableFunc(c.events, func(a, b *Event) int { return a.Start.Compare(b.Start) })
	a := &Range{Camera: c.camera, Start: c.start.UTC(), End: c.end.UTC(), Events: c.events}
	if a.Events == nil {
		a.Events = []*Event{}
	}
	var next []string
	for _, s := range sources {
		if !s.done {
			next = append(next, s.topic.Name()+":"+strconv.FormatUint(s.from, 10))
		}
	}
	a.Next = strings.Join(next, ",")
	return a
}
