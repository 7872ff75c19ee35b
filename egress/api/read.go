package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"
)

// List is the answer of GET /v1/cameras and the data of every event.
type List struct {
	// Now is the server's clock in milliseconds since the Unix epoch, so that
	// a browser can tell how old a picture is although its clock is off.
	Now     int64    `json:"now"`
	Cameras []Camera `json:"cameras"`
}

func (a *API) getAll(w http.ResponseWriter, r *http.Request) {
	a.catchUp(r.Context())
	cameras, ok := a.cameras()
	if !ok {
		notReady(w)
		return
	}
	reply(w, http.StatusOK, List{Now: time.Now().UnixMilli(), Cameras: cameras})
}

func (a *API) getOne(w http.ResponseWriter, r *http.Request) {
	a.catchUp(r.Context())
	a.mu.Lock()
	s, ready := a.snap, a.ready
	a.mu.Unlock()
	if !ready {
		notReady(w)
		return
	}
	id := r.PathValue("id")
	if _, ok := s.Cameras[id]; !ok {
		unknown(w, id)
		return
	}
	reply(w, http.StatusOK, a.view(s, id))
}

// ends is where the registry ended when it was asked last.
type ends struct {
	asked  time.Time
	at     map[int32]int64
	failed time.Time
}

// failedFor is how long the brokers are not asked again after they did not
// answer: what is known is served without a wait meanwhile.
const failedFor = 5 * time.Second

// catchUp waits until all changes are seen that were made before it was called,
// by whatever process: a camera that "framelog cameras add", or another egress
// behind the same proxy, has added is in the answer. It asks the brokers where the
// registry ends; calls at the same time share one question. It waits for
// Config.Visible at most; while the brokers are away, callers wait at most once every
// five seconds (failedFor).
func (a *API) catchUp(ctx context.Context) {
	called := time.Now()
	ctx, cancel := context.WithTimeout(ctx, a.cfg.Visible)
	defer cancel()
	select {
	case a.asking <- struct{}{}:
	case <-ctx.Done():
		return
	}
	if now := time.Now(); a.ends.asked.Before(called) && now.Sub(a.ends.failed) >= failedFor {
		at, err := a.deps.Registry.End(ctx)
		switch {
		case err == nil:
			a.ends = ends{asked: now, at: at}
		case !errors.Is(ctx.Err(), context.Canceled):
			a.ends.failed = time.Now()
		}
	}
	at := a.ends.at
	<-a.asking
	a.await(ctx, func() bool { return a.snap.Holds(at) })
}

// events sends the list at once and again whenever it changes, as server-sent
// events (HTML standard, section 9.2). A slow reader gets the newest list when
// it reads again: nothing is queued for it.
func (a *API) events(w http.ResponseWriter, r *http.Request) {
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

	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // or Nginx keeps the events to itself
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
	if !send([]byte("retry: 2000\n\n")) {
		return
	}
	beat := time.NewTicker(15 * time.Second)
	defer beat.Stop()
	var sent []byte
	for {
		a.mu.Lock()
		list, listed := a.list, a.listed
		a.mu.Unlock()
		if list != nil && (sent == nil || &list[0] != &sent[0]) {
			sent = list
			if !send(event(list)) {
				return
			}
		}
		select {
		case <-listed:
		case <-beat.C:
			if !send([]byte(":\n\n")) {
				return
			}
		case <-a.ended:
			return
		case <-r.Context().Done():
			return
		}
	}
}

func event(cameras []byte) []byte {
	b := append([]byte(`event: cameras`+"\n"+`data: {"now":`), strconv.FormatInt(time.Now().UnixMilli(), 10)...)
	b = append(append(b, `,"cameras":`...), cameras...)
	return append(b, "}\n\n"...)
}

// Error is the body of every answer that is no success.
type Error struct {
	Error  string `json:"error"`
	Remedy string `json:"remedy,omitempty"`
}

func reply(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // the client has gone
}

func fail(w http.ResponseWriter, code int, what, remedy string) {
	reply(w, code, Error{Error: what, Remedy: remedy})
}

func notReady(w http.ResponseWriter) {
	w.Header().Set("Retry-After", "1")
	fail(w, http.StatusServiceUnavailable, "the registry has not been read yet", "try again in a second; if it goes on, look at the brokers")
}

func unknown(w http.ResponseWriter, id string) {
	fail(w, http.StatusNotFound, "there is no camera "+strconv.Quote(id), "GET /v1/cameras lists those that there are")
}

func methodNotAllowed(allow string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", allow)
		fail(w, http.StatusMethodNotAllowed, "method "+r.Method+" is not for "+r.URL.Path, "use "+allow)
	}
}
