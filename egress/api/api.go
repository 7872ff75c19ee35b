// Package api is the HTTP API of cameras under /v1: what the registry wants,
// what ingest reports, and the delay that egress itself measures. It holds no
// state: every answer is made of the registry as last followed.
package api

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/framelog/framelog/internal/registry"
	"github.com/framelog/framelog/internal/secrets"
	"github.com/framelog/framelog/schemas"
)

// Registry is what the API needs of the registry; *registry.Client is one.
type Registry interface {
	Put(ctx context.Context, cam schemas.Camera) error
	Delete(ctx context.Context, id string) error
	Follow(ctx context.Context, changed func(registry.Snapshot)) error
	End(ctx context.Context) (map[int32]int64, error)
}

// Config is the API's settings.
type Config struct {
	// SecretsDir is where a password that stands in a URL is kept, for the
	// ingest of this machine to read. Empty: such a URL is refused, with what
	// to do instead.
	SecretsDir string
	// MaxSubscribers bounds the readers of /v1/events. Default 128; one more
	// is answered 503 and counted.
	MaxSubscribers int
	// Refresh is how often the list is made anew without a change in the
	// registry, since delays change all the time. Default 2 s.
	Refresh time.Duration
	// WriteTimeout bounds one write to a subscriber that does not read.
	// Default 10 s.
	WriteTimeout time.Duration
	// Visible is how long a change waits to be seen in the registry before it
	// is answered anyway, and how long a list waits for changes that were made
	// before it was asked for, by whatever process. Default 2 s.
	Visible time.Duration
}

func (c *Config) setDefaults() {
	c.MaxSubscribers = cmp.Or(c.MaxSubscribers, 128)
	c.Refresh = cmp.Or(c.Refresh, 2*time.Second)
	c.WriteTimeout = cmp.Or(c.WriteTimeout, 10*time.Second)
	c.Visible = cmp.Or(c.Visible, 2*time.Second)
}

// Deps is what the API works with. The registry is needed.
type Deps struct {
	Registry Registry
	// Delay is the end-to-end delay of a camera from capture to playlist, as
	// egress measures it; false where it is not known. nil: never known.
	Delay      func(camera string) (time.Duration, bool)
	Log        *slog.Logger
	Registerer prometheus.Registerer // nil: no metrics
}

// API serves /v1. Run follows the registry; until it has been read once,
// lists are answered 503.
type API struct {
	cfg  Config
	deps Deps
	mux  *http.ServeMux
	m    *metrics

	writing chan struct{} // holds one token while a camera is changed: its record and its password go together
	asking  chan struct{} // holds one token while ends is used
	ends    ends

	mu      sync.Mutex // guards what follows; nothing is called under it
	ready   bool
	snap    registry.Snapshot
	changed chan struct{} // closed and replaced at each change of snap
	list    []byte        // the list as last broadcast
	listed  chan struct{} // closed and replaced at each change of list
	readers int           // of /v1/events
	ended   chan struct{} // closed when Run ends
}

// New makes the API.
func New(cfg Config, deps Deps) *API {
	cfg.setDefaults()
	if deps.Delay == nil {
		deps.Delay = func(string) (time.Duration, bool) { return 0, false }
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	a := &API{
		cfg: cfg, deps: deps, mux: http.NewServeMux(), m: newMetrics(deps.Registerer),
		writing: make(chan struct{}, 1), asking: make(chan struct{}, 1),
		changed: make(chan struct{}), listed: make(chan struct{}), ended: make(chan struct{}),
	}
	a.mux.HandleFunc("GET /v1/cameras", a.getAll)
	a.mux.HandleFunc("GET /v1/cameras/{id}", a.getOne)
	a.mux.HandleFunc("PUT /v1/cameras/{id}", a.put)
	a.mux.HandleFunc("DELETE /v1/cameras/{id}", a.remove)
	a.mux.HandleFunc("GET /v1/events", a.events)
	a.mux.HandleFunc("/v1/cameras", methodNotAllowed("GET"))
	a.mux.HandleFunc("/v1/cameras/{id}", methodNotAllowed("GET, PUT, DELETE"))
	a.mux.HandleFunc("/v1/events", methodNotAllowed("GET"))
	a.mux.HandleFunc("/v1/", func(w http.ResponseWriter, r *http.Request) {
		fail(w, http.StatusNotFound, "there is nothing at "+r.URL.Path, "see /v1/cameras and /v1/events")
	})
	return a
}

// ServeHTTP answers requests under /v1.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	a.mux.ServeHTTP(w, r)
}

// Run follows the registry until ctx ends, and then ends what reads
// /v1/events. It is called once.
func (a *API) Run(ctx context.Context) error {
	defer close(a.ended)
	followed := make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { followed <- a.deps.Registry.Follow(ctx, a.setSnapshot) }()
	tick := time.NewTicker(a.cfg.Refresh)
	defer tick.Stop()
	for {
		a.mu.Lock()
		changed := a.changed
		a.mu.Unlock()
		a.refresh()
		select {
		case <-changed:
		case <-tick.C:
		case err := <-followed:
			return err
		}
	}
}

// Ready says whether the registry has been read once. That it cannot be read
// any more changes nothing: what is known is served.
func (a *API) Ready() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.ready
}

// Known says whether there is such a camera; true as long as that is not known.
func (a *API) Known(camera string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, ok := a.snap.Cameras[camera]
	return ok || !a.ready
}

func (a *API) setSnapshot(s registry.Snapshot) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.snap, a.ready = s, true
	close(a.changed)
	a.changed = make(chan struct{})
}

// refresh makes the list anew and wakes the subscribers where it differs.
func (a *API) refresh() {
	cameras, ok := a.cameras()
	if !ok {
		return
	}
	b, err := json.Marshal(cameras)
	if err != nil {
		a.deps.Log.Error("cannot write the list of cameras", "err", err)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if bytes.Equal(b, a.list) {
		return
	}
	a.list = b
	close(a.listed)
	a.listed = make(chan struct{})
}

// Camera is one camera as the API shows it.
type Camera struct {
	schemas.Camera
	// Status is what its owner last said; nil before any word of it.
	Status *Status `json:"status"`
	// DelayMS is the end-to-end delay from capture to playlist; null where
	// egress does not follow the camera.
	DelayMS *int64 `json:"delay_ms"`
	// Playlist is the path of the multivariant playlist.
	Playlist string `json:"playlist"`
}

// Status is what ingest reports of a camera.
type Status struct {
	schemas.Status
	// Stale says that the owner has been silent for longer than it ever is
	// when it is well.
	Stale bool `json:"stale"`
}

func (a *API) cameras() ([]Camera, bool) {
	a.mu.Lock()
	s, ready := a.snap, a.ready
	a.mu.Unlock()
	if !ready {
		return nil, false
	}
	all := make([]Camera, 0, len(s.Cameras))
	for id := range s.Cameras {
		all = append(all, a.view(s, id))
	}
	slices.SortFunc(all, func(x, y Camera) int { return cmp.Compare(x.ID, y.ID) })
	return all, true
}

// view is one camera of a snapshot; its id is the registry's key.
func (a *API) view(s registry.Snapshot, id string) Camera {
	c := Camera{Camera: s.Cameras[id], Playlist: "/hls/" + id + "/index.m3u8"}
	c.URL = secrets.Public(c.URL)
	if st, ok := s.Status[id]; ok {
		c.Status = &Status{Status: st, Stale: registry.Stale(st, time.Now())}
	}
	if d, ok := a.deps.Delay(id); ok {
		ms := d.Milliseconds()
		c.DelayMS = &ms
	}
	return c
}
