package events

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/framelog/framelog/egress/access"
	"github.com/framelog/framelog/egress/answer"
)

// stream answers GET /v1/events with server-sent events. Each message is an [Event], and its
// id is where to go on behind it: a reader that sends it back as Last-Event-ID gets all
// events after it. The event "missed" tells that some of those have expired.
func (s *Server) stream(w http.ResponseWriter, r *http.Request) {
	answer.StreamHeaders(w)
	if r.Method == http.MethodHead {
		return
	}
	if !s.readers.TryAcquire(1) {
		s.m.refused.Inc()
		w.Header().Set("Retry-After", "10")
		answer.Fail(w, http.StatusServiceUnavailable, "too many subscribers", "the limit is "+strconv.Itoa(s.cfg.MaxSubscribers)+"; a program can read the topic of events itself")
		return
	}
	defer s.readers.Release(1)
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	events := s.Follow(ctx, r)
	to := answer.NewStream(w, s.cfg.WriteTimeout)
	if !to.Send([]byte("retry: 2000\n\n")) {
		return
	}
	tick := time.NewTicker(answer.Beat)
	defer tick.Stop()
	for {
		select {
		case b, ok := <-events:
			if !ok || !to.Send(b) {
				return
			}
		case <-tick.C:
			if !to.Send([]byte(":\n\n")) {
				return
			}
		case <-s.ended:
			return
		case <-ctx.Done():
			return
		}
	}
}

// Follow gives the server-sent events for the sender of r, until ctx ends: those that r's
// query asks for (camera, type), and that the sender may watch. It goes on behind r's
// Last-Event-ID. The channel is closed if the reader was too slow or the topic cannot be
// read; the reader can go on with another request. Follow's goroutine ends with ctx.
func (s *Server) Follow(ctx context.Context, r *http.Request) <-chan []byte {
	out := make(chan []byte)
	f := following{
		Server: s, cameras: list(r, "camera"), types: list(r, "type"),
		may: func(camera, rendition string) bool { return access.MayWatch(r, camera, rendition) },
		send: func(b []byte) bool {
			select {
			case out <- b:
				return true
			case <-ctx.Done():
				return false
			}
		},
	}
	id := r.Header.Get("Last-Event-ID")
	go func() {
		defer close(out)
		s.hub.enter()
		defer s.hub.leave()
		f.run(ctx, id)
	}()
	return out
}

// list returns the values of a parameter: it may be given several times, and hold several
// values between commas.
func list(r *http.Request, name string) (all []string) {
	for _, v := range r.URL.Query()[name] {
		all = append(all, strings.FieldsFunc(v, func(c rune) bool { return c == ',' })...)
	}
	return all
}

// following is one reader of the stream.
type following struct {
	*Server
	cameras, types []string // empty: all
	may            func(camera, rendition string) bool
	send           func([]byte) bool
}

func (f *following) wants(e *Event) bool {
	return (len(f.cameras) == 0 || slices.Contains(f.cameras, e.Camera)) &&
		(len(f.types) == 0 || slices.Contains(f.types, e.Type)) && f.may(e.Camera, e.Rendition)
}

func (f *following) run(ctx context.Context, id string) {
	from := parsePosition(id)
	if id != "" {
		// Only with the hub's position is it known what the id leaves out.
		select {
		case <-f.hub.whenKnown():
		case <-ctx.Done():
			return
		}
		if n := f.hub.partitions(); len(from) != n {
			from = nil
			if !f.missed() {
				return
			}
		}
	}
	for {
		sub, kept, at := f.hub.subscribe(from)
		if sub != nil {
			f.live(ctx, sub, kept, at)
			return
		}
		if at == nil {
			return // the session has ended
		}
		if err := f.history(ctx, from, at); err != nil {
			if ctx.Err() == nil && !errors.Is(err, errGone) {
				f.deps.Logger.Warn("cannot read older events", "err", err)
			}
			return
		}
	}
}

// errGone: the reader has gone.
var errGone = errors.New("events: the reader has gone")

func (f *following) missed() bool { return f.send([]byte("event: missed\ndata: {}\n\n")) }

// live sends what was kept and what comes. Every some seconds it sends the position, so
// that a reader that wants few events does not go on far behind.
func (f *following) live(ctx context.Context, sub *subscriber, kept []*item, at position) {
	defer f.hub.unsubscribe(sub)
	var passed string // the position to tell, "": none
	known := f.hub.whenKnown()
	if at != nil {
		passed, known = at.String(), nil
	}
	take := func(it *item) bool {
		known = nil
		if !f.wants(&it.Event) {
			passed = it.id
			return true
		}
		passed = ""
		return f.send(it.message(it.id))
	}
	for _, it := range kept {
		if !take(it) {
			return
		}
	}
	tell := func() bool {
		id := passed
		passed = ""
		return id == "" || f.send([]byte("id: "+id+"\n\n"))
	}
	if !tell() {
		return
	}
	tick := time.NewTicker(answer.Beat)
	defer tick.Stop()
	for {
		select {
		case it, ok := <-sub.queue:
			if !ok || !take(it) {
				return
			}
		case <-known: // it has been a reader since before the session began
			known, passed = nil, f.hub.began().String()
			if !tell() {
				return
			}
		case <-tick.C:
			if !tell() {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// history sends the events from a position to another, which it reads from Kafka, and
// moves from there.
func (f *following) history(ctx context.Context, from, to position) error {
	if err := f.histories.Acquire(ctx, 1); err != nil {
		return err
	}
	defer f.histories.Release(1)
	f.m.histories.Inc()
	begin, end, err := f.deps.Source.Bounds(ctx)
	switch {
	case err != nil:
		return err
	case len(end) != len(from):
		return errors.New("the topic has another number of partitions by now")
	}
	if from.clamp(begin, end) && !f.missed() {
		return errGone
	}
	if from.reaches(to) {
		return nil
	}
	for r, err := range f.deps.Source.Read(ctx, from.clone()) {
		if err != nil {
			return err
		}
		it := itemOf(r)
		// Read gives the records of a partition in order: with one from there on, all
		// before it have come. The hub has kept those from there on.
		if it.offset >= to[it.partition] {
			from[it.partition] = max(from[it.partition], to[it.partition])
		} else if from.pass(it.partition, it.offset) && it.json != nil && f.wants(&it.Event) && !f.send(it.message(from.String())) {
			return errGone
		}
		if from.reaches(to) {
			return nil
		}
	}
	return ctx.Err()
}
