package api

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/framelog/framelog/egress/access"
	"github.com/framelog/framelog/egress/answer"
)

// stream answers GET /v1/cameras/events with server-sent events. The data of each named
// event has the server's clock, as List has:
//
//	now       {"now":…}                                         at once and every 5 s
//	cameras   {"now":…,"cameras":[Camera, …]}                   all cameras, once, at the start
//	camera    {"now":…,"camera":Camera}                         a camera that was added or changed
//	removed   {"now":…,"id":"…"}                                a camera that was removed
//	measures  {"now":…,"measures":{"<camera>":Measures, …}}     those that differ enough
//
// A slow reader gets the newest state of each camera when it reads again.
//
// With ?events=true the stream has the messages of /v1/events too, so that a browser needs
// one connection. A browser has six to a server over HTTP/1.1.
func (a *API) stream(w http.ResponseWriter, r *http.Request) {
	answer.StreamHeaders(w)
	if r.Method == http.MethodHead {
		return // a proxy takes the answer as complete, and sends the next request on this connection
	}
	if !a.readers.TryAcquire(1) {
		a.m.refused.Inc()
		w.Header().Set("Retry-After", "10")
		answer.Fail(w, http.StatusServiceUnavailable, "too many subscribers", "poll /v1/cameras, or raise the limit of "+strconv.Itoa(a.cfg.MaxSubscribers))
		return
	}
	defer a.readers.Release(1)
	a.m.subscribers.Inc()
	defer a.m.subscribers.Dec()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	var events <-chan []byte // nil: none
	if a.deps.Events != nil && r.URL.Query().Get("events") == "true" {
		events = a.deps.Events(ctx, r)
	}
	s := answer.NewStream(w, a.cfg.WriteTimeout)
	// A first byte at once, so that proxies and browsers see the stream open.
	if !s.Send(append([]byte("retry: 2000\n\n"), event("now", "", nil)...)) {
		return
	}
	tick := time.NewTicker(answer.Beat)
	defer tick.Stop()
	rd := reader{may: func(camera string) bool { return access.May(r, camera) }, sent: map[string]bool{}}
	for {
		e, changed := a.feed.read()
		if e != nil && e.version != rd.seen {
			if b := rd.catchUp(e); len(b) > 0 && !s.Send(b) {
				return
			}
		}
		select {
		case <-changed:
		case b, ok := <-events:
			if !ok || !s.Send(b) {
				return
			}
		case <-tick.C:
			if !s.Send(event("now", "", nil)) {
				return
			}
		case <-a.ended:
			return
		case <-r.Context().Done():
			return
		}
	}
}

// reader is the state of one reader of the stream.
type reader struct {
	may  func(camera string) bool
	seen int64           // version of the edition; 0: none yet
	sent map[string]bool // cameras that it has got
}

// catchUp returns the events that bring the reader to e. It checks the rights for
// each camera. If a reader may no longer list a camera, it gets the event removed
// when the camera next changes.
func (rd *reader) catchUp(e *edition) []byte {
	seen := rd.seen
	rd.seen = e.version
	if seen == 0 {
		var all [][]byte
		for _, c := range e.cameras {
			if rd.may(c.raw.ID) {
				rd.sent[c.raw.ID] = true
				all = append(all, c.camera)
			}
		}
		return event("cameras", "cameras", list('[', all, ']'))
	}
	var out []byte
	if e.removed > seen {
		for id := range rd.sent {
			if e.find(id) == nil {
				out = append(out, rd.forget(id)...)
			}
		}
	}
	var measures [][]byte
	for _, c := range e.cameras {
		id := c.raw.ID
		switch {
		case max(c.changed, c.measured) <= seen:
		case !rd.may(id):
			if rd.sent[id] {
				out = append(out, rd.forget(id)...)
			}
		case c.changed > seen || !rd.sent[id]:
			rd.sent[id] = true
			out = append(out, event("camera", "camera", c.camera)...)
		default:
			measures = append(measures, append(append(quote(id), ':'), c.measures...))
		}
	}
	if len(measures) > 0 {
		out = append(out, event("measures", "measures", list('{', measures, '}'))...)
	}
	return out
}

func (rd *reader) forget(id string) []byte {
	delete(rd.sent, id)
	return event("removed", "id", quote(id))
}

// quote returns an id as JSON; an id needs no escapes.
func quote(id string) []byte { return append(append([]byte{'"'}, id...), '"') }

// list joins JSON values with commas, between begin and end.
func list(begin byte, values [][]byte, end byte) []byte {
	b := []byte{begin}
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, v...)
	}
	return append(b, end)
}

// event is one server-sent event: the server's clock, and value under key unless
// that is "".
func event(name, key string, value []byte) []byte {
	b := append([]byte("event: "+name+"\n"+`data: {"now":`), strconv.FormatInt(time.Now().UnixMilli(), 10)...)
	if key != "" {
		b = append(append(b, `,"`+key+`":`...), value...)
	}
	return append(b, "}\n\n"...)
}
