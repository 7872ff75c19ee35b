package api

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

// List is the answer of GET /v1/cameras.
type List struct {
	// Now is the server's clock in milliseconds since the Unix epoch, so that a
	// browser can compute the age of a picture although its clock is wrong.
	Now     int64    `json:"now"`
	Cameras []Camera `json:"cameras"`
}

func (a *API) getAll(w http.ResponseWriter, r *http.Request) {
	a.catchUp(r.Context())
	cameras, ok := a.cameras(func(camera string) bool { return access.May(r, camera) })
	if !ok {
		notReady(w)
		return
	}
	answer.JSON(w, http.StatusOK, List{Now: time.Now().UnixMilli(), Cameras: cameras})
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
	id := r.PathValue("camera")
	if _, ok := s.Cameras[id]; !ok {
		answer.NoCamera(w, id)
		return
	}
	c := a.view(s, id)
	if a.deps.Renditions != nil {
		var err error
		if c.Renditions, err = a.deps.Renditions(r.Context(), id); err != nil && r.Context().Err() == nil {
			a.deps.Log.Warn("cannot read the renditions of a camera", "camera", id, "err", err)
		}
		c.Renditions = slices.DeleteFunc(c.Renditions, func(x Rendition) bool { return !access.MayWatch(r, id, x.Name) })
	}
	answer.JSON(w, http.StatusOK, c)
}

// ends holds the end offsets of the registry at the last request to the
// brokers.
type ends struct {
	asked  time.Time
	at     map[int32]int64
	failed time.Time
}

// failedFor is how long the API sends the brokers no further request after one
// without an answer. In that time it serves the last snapshot without a wait.
const failedFor = 5 * time.Second

// catchUp waits until the snapshot has all changes that any process made before the
// call. So the answer has a camera that "framelog cameras add", or another egress
// behind the same proxy, has just added. It asks the brokers where the registry ends;
// calls at the same time share one request. It waits for Config.Visible at most.
// While the brokers are away, callers wait only once every five seconds (failedFor).
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

func notReady(w http.ResponseWriter) {
	answer.Fail(w, http.StatusServiceUnavailable, "the registry has not been read yet", "try again in a second; if it goes on, look at the brokers")
}

// unchangeable answers senders that may not change a camera.
func unchangeable(w http.ResponseWriter, _ *http.Request, camera string) {
	answer.Fail(w, http.StatusForbidden, "you may not change camera "+strconv.Quote(camera), "ask whoever runs this server")
}

func nothing(w http.ResponseWriter, r *http.Request) {
	answer.Fail(w, http.StatusNotFound, "there is nothing at "+r.URL.Path, "see /v1/cameras, /v1/cameras/events and /v1/events")
}

// notAllowed answers methods that no route under /v1/cameras has.
func notAllowed(w http.ResponseWriter, r *http.Request) {
	allow := ""
	switch rest := strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, "/v1/cameras"), "/"); {
	case rest == "":
		allow = "GET, HEAD"
	case !strings.Contains(rest, "/"):
		allow = "GET, HEAD, PUT, DELETE"
	default:
		nothing(w, r)
		return
	}
	w.Header().Set("Allow", allow)
	answer.Fail(w, http.StatusMethodNotAllowed, "method "+r.Method+" is not for "+r.URL.Path, "use "+allow)
}
