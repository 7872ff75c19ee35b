package api

import (
	"cmp"
	"encoding/json"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/framelog/framelog/internal/registry"
	"github.com/framelog/framelog/schemas"
)

// feed holds the cameras for the readers of /v1/cameras/events. Each camera has
// the version at which it changed. A reader remembers the version that it has
// seen and takes all newer changes, so nothing is queued for it.
type feed struct {
	mu      sync.Mutex
	latest  *edition      // nil until the registry has been read
	changed chan struct{} // closed and replaced with each edition
}

// edition is the feed at one version. It never changes.
type edition struct {
	version int64
	cameras []*told // by id
	removed int64   // version at which a camera was last removed
}

// told is a camera in the form that readers get. It never changes.
type told struct {
	raw    schemas.Camera // as in the registry
	status *Status        // nil: none. Its Updated, FPS and Bitrate are not compared
	m      Measures
	at     time.Time // when m was taken

	changed  int64  // version at which anything but m changed
	measured int64  // version at which m changed
	camera   []byte // JSON of the Camera
	measures []byte // JSON of m
}

// Measures are the numbers of a camera that change all the time.
type Measures struct {
	DelayMS *int64  `json:"delay_ms"` // as in Camera
	FPS     float64 `json:"fps"`      // as in schemas.Status
	Bitrate uint64  `json:"bitrate"`  // as in schemas.Status
}

// remeasure is the age of measures from which half of the usual difference is
// enough.
const remeasure = time.Minute

// differ reports whether readers that got a this long ago should get b: at once if a
// value differs by a fifth (FPS: a tenth), after a minute if it differs by half of
// that.
func (a Measures) differ(b Measures, age time.Duration) bool {
	part := 1.0
	if age >= remeasure {
		part = 0.5
	}
	apart := func(x, y, least, share float64) bool {
		return (x == 0) != (y == 0) || math.Abs(x-y) >= part*max(least, share*x)
	}
	if (a.DelayMS == nil) != (b.DelayMS == nil) {
		return true
	}
	if a.DelayMS != nil && apart(float64(*a.DelayMS), float64(*b.DelayMS), 200, 0.2) {
		return true
	}
	return apart(a.FPS, b.FPS, 0.5, 0.1) || apart(float64(a.Bitrate), float64(b.Bitrate), 10_000, 0.2)
}

// same reports whether two statuses are equal except for their time and measures.
func same(a, b *Status) bool {
	if a == nil || b == nil {
		return a == b
	}
	x, y := *a, *b
	x.Updated, y.Updated = time.Time{}, time.Time{}
	x.FPS, y.FPS, x.Bitrate, y.Bitrate = 0, 0, 0, 0
	x.Substream, y.Substream = nil, nil
	return x == y && sameSubstream(a.Substream, b.Substream)
}

// sameSubstream is same for the status of a second stream.
func sameSubstream(a, b *schemas.StreamStatus) bool {
	if a == nil || b == nil {
		return a == b
	}
	x, y := *a, *b
	x.FPS, y.FPS, x.Bitrate, y.Bitrate = 0, 0, 0, 0
	return x == y
}

func (e *edition) find(id string) *told {
	i, ok := slices.BinarySearchFunc(e.cameras, id, func(c *told, id string) int { return cmp.Compare(c.raw.ID, id) })
	if !ok {
		return nil
	}
	return e.cameras[i]
}

// read returns the latest edition, nil before the first, and a channel that is
// closed when there is a newer one.
func (f *feed) read() (*edition, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.latest, f.changed
}

func (f *feed) publish(e *edition) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.latest = e
	close(f.changed)
	f.changed = make(chan struct{})
}

// refresh makes the next edition of the feed if anything has changed for readers.
// Only Run calls it.
func (a *API) refresh() {
	a.mu.Lock()
	s, ready := a.snap, a.ready
	a.mu.Unlock()
	if !ready {
		return
	}
	old, _ := a.feed.read()
	first := old == nil
	if first {
		old = &edition{}
	}
	next := &edition{version: old.version + 1, cameras: make([]*told, 0, len(s.Cameras)), removed: old.removed}
	news := first
	kept := 0
	for id := range s.Cameras {
		was := old.find(id)
		c, err := a.tell(s, id, was, next.version)
		if err != nil {
			a.deps.Log.Error("cannot write a camera for the event stream", "camera", id, "err", err)
			c = was
		}
		if was != nil {
			kept++
		}
		news = news || c != was
		if c != nil {
			next.cameras = append(next.cameras, c)
		}
	}
	if kept < len(old.cameras) {
		next.removed, news = next.version, true
	}
	if !news {
		return
	}
	slices.SortFunc(next.cameras, func(x, y *told) int { return cmp.Compare(x.raw.ID, y.raw.ID) })
	a.feed.publish(next)
}

// tell returns what readers get for a camera at a version. If nothing relevant has
// changed, it returns was, which they have got already.
func (a *API) tell(s registry.Snapshot, id string, was *told, version int64) (*told, error) {
	now := time.Now()
	c := &told{raw: s.Cameras[id], status: statusOf(s, id, now), at: now, changed: version, measured: version}
	c.raw.ID = id // the registry's key
	c.m.DelayMS = a.delay(id)
	if c.status != nil {
		c.m.FPS, c.m.Bitrate = c.status.FPS, c.status.Bitrate
	}
	if was != nil && was.raw == c.raw && same(was.status, c.status) {
		if !was.m.differ(c.m, now.Sub(was.at)) {
			return was, nil
		}
		c.changed = was.changed
	}
	var err error
	if c.camera, err = json.Marshal(a.view(s, id)); err != nil {
		return nil, err
	}
	c.measures, err = json.Marshal(c.m)
	return c, err
}
