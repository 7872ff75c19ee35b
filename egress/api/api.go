// Package api is the HTTP API of cameras under /v1: the cameras of the registry,
// what ingest reports of each, and the delay that egress measures. It keeps no
// state: every answer comes from the last snapshot of the registry.
package api

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"

	"github.com/framelog/framelog/egress/access"
	"github.com/framelog/framelog/egress/answer"
	"github.com/framelog/framelog/internal/registry"
	"github.com/framelog/framelog/internal/secrets"
	"github.com/framelog/framelog/schemas"
)

// Registry is the part of the registry that the API uses; *registry.Client
// implements it.
type Registry interface {
	Put(ctx context.Context, cam schemas.Camera) error
	Delete(ctx context.Context, id string) error
	Follow(ctx context.Context, changed func(registry.Snapshot)) error
	End(ctx context.Context) (map[int32]int64, error)
}

// Config is the API's settings.
type Config struct {
	// SecretsDir is the directory for passwords of URLs, which the ingest of this
	// machine reads. Empty: a URL with a password is refused, with a remedy.
	SecretsDir string
	// MaxSubscribers bounds the readers of /v1/cameras/events. Default 128;
	// further ones get 503 and are counted.
	MaxSubscribers int
	// Refresh is the interval at which delays and the age of statuses are checked.
	// These change without a change in the registry. Default 2 s.
	Refresh time.Duration
	// WriteTimeout bounds one write to a subscriber that does not read.
	// Default 10 s.
	WriteTimeout time.Duration
	// Visible is the longest wait of an answer for the registry: a change waits
	// until it can be read back, and a list until it holds the changes that any
	// process made before the request. Default 2 s.
	Visible time.Duration
}

func (c *Config) setDefaults() {
	c.MaxSubscribers = cmp.Or(c.MaxSubscribers, 128)
	c.Refresh = cmp.Or(c.Refresh, 2*time.Second)
	c.WriteTimeout = cmp.Or(c.WriteTimeout, 10*time.Second)
	c.Visible = cmp.Or(c.Visible, 2*time.Second)
}

// Deps is what the API works with. Only Registry is needed.
type Deps struct {
	Registry Registry
	// Delay is the end-to-end delay of a camera from capture to playlist, as
	// egress measures it; false if it is not known. nil: never known.
	Delay func(camera string) (time.Duration, bool)
	// Renditions returns what processors make of a camera. nil: nothing is known of it.
	Renditions func(ctx context.Context, camera string) ([]Rendition, error)
	// Events follows the messages of /v1/events that the sender of r may see, until ctx
	// ends. The channel is closed if it cannot go on. nil: there are none.
	Events     func(ctx context.Context, r *http.Request) <-chan []byte
	Log        *slog.Logger
	Registerer prometheus.Registerer // nil: no metrics
}

// API serves /v1. Run follows the registry. Until it has been read once, lists
// get 503.
type API struct {
	cfg  Config
	deps Deps
	m    *metrics
	feed feed

	readers *semaphore.Weighted // places of readers of /v1/cameras/events
	writing chan struct{}       // holds one token while a camera is changed: its record and its password go together
	asking  chan struct{}       // holds one token while ends is used
	ends    ends

	mu      sync.Mutex // guards what follows; nothing is called under it
	ready   bool
	snap    registry.Snapshot
	changed chan struct{} // closed and replaced at each change of snap
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
		cfg: cfg, deps: deps, m: newMetrics(deps.Registerer), feed: feed{changed: make(chan struct{})},
		readers: semaphore.NewWeighted(int64(cfg.MaxSubscribers)),
		writing: make(chan struct{}, 1), asking: make(chan struct{}, 1),
		changed: make(chan struct{}), ended: make(chan struct{}),
	}
	return a
}

// Routes are the paths under /v1.
func (a *API) Routes() []access.Route {
	routes := []access.Route{
		{Pattern: "GET /v1/cameras", Action: access.List, Handler: a.getAll},
		{Pattern: "GET /v1/cameras/events", Action: access.List, Label: "events", Handler: a.stream},
		{Pattern: "GET /v1/cameras/{camera}", Action: access.List, Denied: answer.Denied, Handler: a.getOne},
		{Pattern: "PUT /v1/cameras/{camera}", Action: access.Change, Denied: unchangeable, Handler: a.put},
		{Pattern: "DELETE /v1/cameras/{camera}", Action: access.Change, Denied: unchangeable, Handler: a.remove},
		{Pattern: "/v1/cameras", Action: access.Public, Handler: notAllowed},
		{Pattern: "/v1/cameras/", Action: access.Public, Handler: notAllowed},
		{Pattern: "/v1/", Action: access.Public, Handler: nothing},
	}
	for i := range routes {
		routes[i].Label = cmp.Or(routes[i].Label, "api")
	}
	return answer.Plain(routes)
}

// Run follows the registry until ctx ends, and then ends the streams of
// /v1/cameras/events. It is called once.
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

// Ready reports whether the registry has been read once. After that the API
// serves the last snapshot, also if the registry cannot be read any more.
func (a *API) Ready() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.ready
}

// Known reports whether the registry has a camera. It returns true until the
// registry has been read.
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

// Camera is one camera as the API shows it.
type Camera struct {
	schemas.Camera
	// Status is the newest report of its owner; nil if there is none.
	Status *Status `json:"status"`
	// DelayMS is the end-to-end delay from capture to playlist; null if egress
	// does not follow the camera.
	DelayMS *int64 `json:"delay_ms"`
	// Playlist is the path of the multivariant playlist.
	Playlist string `json:"playlist"`
	// Renditions is what processors make of the camera, as far as the sender may watch
	// it. Only the answer about one camera has it.
	Renditions []Rendition `json:"renditions,omitempty"`
}

// Rendition is what a processor makes of a camera.
type Rendition struct {
	Name      string       `json:"name"`
	Role      schemas.Role `json:"role"`
	Processor string       `json:"processor"`       // "" of what only the archive has, and if it is not known
	Width     uint16       `json:"width,omitempty"` // of the picture, in pixels
	// BehindS is how many seconds of footage raw has that the rendition does not have
	// yet; null if one of them has no footage in the log. Of what only the archive has it is null.
	BehindS *float64 `json:"behind_s"`
}

// Status is what ingest reports of a camera.
type Status struct {
	schemas.Status
	// Stale: the owner has not written a status for longer than a running owner
	// ever waits.
	Stale bool `json:"stale"`
}

// cameras returns the cameras for which may returns true, by id; false before
// the registry has been read.
func (a *API) cameras(may func(camera string) bool) ([]Camera, bool) {
	a.mu.Lock()
	s, ready := a.snap, a.ready
	a.mu.Unlock()
	if !ready {
		return nil, false
	}
	all := make([]Camera, 0, len(s.Cameras))
	for id := range s.Cameras {
		if may(id) {
			all = append(all, a.view(s, id))
		}
	}
	slices.SortFunc(all, func(x, y Camera) int { return cmp.Compare(x.ID, y.ID) })
	return all, true
}

// view returns one camera of a snapshot; its id is the registry's key.
func (a *API) view(s registry.Snapshot, id string) Camera {
	return Camera{Camera: secrets.Public(s.Cameras[id]), Status: statusOf(s, id, time.Now()), DelayMS: a.delay(id), Playlist: "/hls/" + id + "/index.m3u8"}
}

func statusOf(s registry.Snapshot, id string, now time.Time) *Status {
	st, ok := s.Status[id]
	if !ok {
		return nil
	}
	st.Stands = schemas.Standing{} // only writers of the log need it
	if sub := st.Substream; sub != nil {
		st.Substream = nil
		if sub.State != "" { // else it had one, and only writers of the log need to know
			shown := *sub
			shown.Stands = schemas.Standing{}
			st.Substream = &shown
		}
	}
	return &Status{Status: st, Stale: st.Stale(now)}
}

func (a *API) delay(camera string) *int64 {
	d, ok := a.deps.Delay(camera)
	if !ok {
		return nil
	}
	ms := d.Milliseconds()
	return &ms
}
