package api

import (
	"net/http"
	"strconv"
	"time"

	"github.com/framelog/framelog/egress/access"
)

// beat is the interval at which a reader gets the server's clock, so that it
// and the proxies in between see that the stream is alive.
const beat = 5 * time.Second

// stream answers GET /v1/cameras/events with server-sent events (HTML standard,
// section 9.2). Each event's data has the server's clock, as List has:
//
//	now       {"now":…}                                         at once and every 5 s
//	cameras   {"now":…,"cameras":[Camera, …]}                   all cameras, once, at the start
//	camera    {"now":…,"camera":Camera}                         a camera that was added or changed
//	removed   {"now":…,"id":"…"}                                a camera that was removed
//	measures  {"now":…,"measures":{"<camera>":Measures, …}}     those that differ enough
//
// A slow reader gets the newest state of each camera when it reads again.
func (a *API) stream(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // or Nginx keeps the events to itself
	if r.Method == http.MethodHead {
		return // a proxy takes the answer as complete, and sends the next request on this connection
	}
	a.mu.Lock()
	full := a.readers >= a.cfg.MaxSubscribers
	if !full {
		a.readers++
	}
	a.mu.Unlock()
	if full {
		a.m.refused.Inc()
		w.Header().Set("Retry-After", "10")
		fail(w, http.StatusServiceUnavailable, "too many subscribers", "poll /v1/cameras, or raise the limit of "+strconv.Itoa(a.cfg.MaxSubscribers))
		return
	}
	a.m.subscribers.Inc()
	defer func() {
		a.m.subscribers.Dec()
		a.mu.Lock()
		a.readers--
		a.mu.Unlock()
	}()

	rc := http.NewResponseController(w)
	send := func(b []byte) bool {
		// Not every writer has deadlines; without one the server's own
		// time-outs are the bound.
		_ = rc.SetWriteDeadline(time.Now().Add(a.cfg.WriteTimeout))
		if _, err := w.Write(b); err != nil {
			return false
		}
		return rc.Flush() == nil
	}
	// A first byte at once, so that proxies and browsers see the stream open.
	if !send(append([]byte("retry: 2000\n\n"), event("now", "", nil)...)) {
		return
	}
	tick := time.NewTicker(beat)
	defer tick.Stop()
	rd := reader{may: func(camera string) bool { return access.May(r, camera) }, sent: map[string]bool{}}
	for {
		e, changed := a.feed.read()
		if e != nil && e.version != rd.seen {
			if b := rd.catchUp(e); len(b) > 0 && !send(b) {
				return
			}
		}
		select {
		case <-changed:
		case <-tick.C:
			if !send(event("now", "", nil)) {
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
