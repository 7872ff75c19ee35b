// Package answer holds what the APIs of egress answer alike: JSON, errors with a
// remedy, and streams of server-sent events.
package answer

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/framelog/framelog/egress/access"
)

// Error is the body of every answer with a status of 400 or more.
type Error struct {
	Error  string `json:"error"`
	Remedy string `json:"remedy,omitempty"`
}

// JSON answers with a value.
func JSON(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // the client has gone
}

// Fail answers with an [Error]. With 503 the client is asked to try again in a second,
// unless the header Retry-After is set already.
func Fail(w http.ResponseWriter, code int, what, remedy string) {
	if h := w.Header(); code == http.StatusServiceUnavailable && h.Get("Retry-After") == "" {
		h.Set("Retry-After", "1")
	}
	JSON(w, code, Error{Error: what, Remedy: remedy})
}

// NoCamera answers that a camera does not exist.
func NoCamera(w http.ResponseWriter, id string) {
	Fail(w, http.StatusNotFound, "there is no camera "+strconv.Quote(id), "GET /v1/cameras lists those that there are")
}

// Denied answers a sender that may not know of a camera, as if it did not exist. It is for
// [access.Route.Denied].
func Denied(w http.ResponseWriter, _ *http.Request, camera string) { NoCamera(w, camera) }

// Plain sets the headers of answers that no cache keeps, before the handler of each route
// runs.
func Plain(routes []access.Route) []access.Route {
	plain := func(w http.ResponseWriter) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
	}
	for i := range routes {
		rt := &routes[i]
		handle := rt.Handler
		rt.Handler = func(w http.ResponseWriter, r *http.Request) {
			plain(w)
			handle(w, r)
		}
		if refuse := rt.Denied; refuse != nil {
			rt.Denied = func(w http.ResponseWriter, r *http.Request, camera string) {
				plain(w)
				refuse(w, r, camera)
			}
		}
	}
	return routes
}

// Beat is how often a reader of a stream gets something, so that it and the proxies in
// between see that the stream is alive.
const Beat = 5 * time.Second

// Stream is an answer of server-sent events (HTML standard, section 9.2).
type Stream struct {
	w       http.ResponseWriter
	rc      *http.ResponseController
	timeout time.Duration
}

// StreamHeaders sets the headers of a stream.
func StreamHeaders(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // or Nginx keeps the events to itself
}

// NewStream begins a stream. A reader that takes longer than timeout for one write is cut
// off.
func NewStream(w http.ResponseWriter, timeout time.Duration) *Stream {
	return &Stream{w: w, rc: http.NewResponseController(w), timeout: timeout}
}

// Send sends events. It returns false if the reader has gone.
func (s *Stream) Send(b []byte) bool {
	// Not every writer has deadlines; without one the server's own time-outs are the
	// bound.
	_ = s.rc.SetWriteDeadline(time.Now().Add(s.timeout))
	if _, err := s.w.Write(b); err != nil {
		return false
	}
	return s.rc.Flush() == nil
}
