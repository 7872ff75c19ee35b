package egress

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/framelog/framelog/egress/access"
	"github.com/framelog/framelog/internal/registry"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

type emptyRegistry struct{}

func (emptyRegistry) Put(context.Context, schemas.Camera) error { return nil }
func (emptyRegistry) Delete(context.Context, string) error      { return nil }
func (emptyRegistry) End(context.Context) (map[int32]int64, error) {
	return nil, nil //nolint:nilnil // no partition has a record
}

func (emptyRegistry) Follow(ctx context.Context, f func(registry.Snapshot)) error {
	f(registry.Snapshot{})
	<-ctx.Done()
	return ctx.Err()
}

func newServer(t *testing.T, g Guard, r prometheus.Registerer) *Server {
	t.Helper()
	g.Policy = access.Policy{Authorize: access.Everyone}
	s, err := New(Config{Guard: g}, Deps{
		Registry: emptyRegistry{}, Registerer: r,
		HLS: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	testenv.Wait(t, testenv.Patience, "the cameras", func() bool {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest("GET", "http://localhost/v1/cameras", nil))
		return w.Code == http.StatusOK
	})
	return s
}

// lateRegistry tells its first snapshot when it is let.
type lateRegistry struct {
	emptyRegistry
	let chan registry.Snapshot
}

func (l lateRegistry) Follow(ctx context.Context, f func(registry.Snapshot)) error {
	for {
		select {
		case s := <-l.let:
			f(s)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// TestReady: the server is ready when its lists are, and knows by then which
// cameras there are; before it takes any for one.
func TestReady(t *testing.T) {
	late := lateRegistry{let: make(chan registry.Snapshot)}
	s, err := New(Config{Guard: Guard{Policy: access.Policy{Authorize: access.Everyone}}}, Deps{Registry: late})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Run(ctx) }()
	list := func() int {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest("GET", "http://localhost/v1/cameras", nil))
		return w.Code
	}
	if err := s.Ready(); err == nil || !s.Known("yard") || list() != http.StatusServiceUnavailable {
		t.Errorf("before the registry was read: %v, known %v, list %d", err, s.Known("yard"), list())
	}
	cams := map[string]schemas.Camera{"yard": {ID: "yard"}}
	late.let <- registry.Snapshot{Cameras: cams}
	late.let <- registry.Snapshot{Cameras: cams} // the first has been taken
	if err := s.Ready(); err != nil || !s.Known("yard") || s.Known("shed") || list() != http.StatusOK {
		t.Errorf("after: %v, list %d", err, list())
	}
	cancel()
	<-done
	if err := s.Ready(); err != nil {
		t.Errorf("once ready, and not any more: %v", err)
	}
}

func TestRoutes(t *testing.T) {
	reg := prometheus.NewRegistry()
	s := newServer(t, Guard{}, reg)
	for path, code := range map[string]int{
		"/": 200, "/nothing": 404, "/v1/cameras": 200, "/v1/nothing": 404, "/hls/a/index.m3u8": http.StatusTeapot,
	} {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code != code {
			t.Errorf("%s: %d, want %d", path, w.Code, code)
		}
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("metrics: %v %v", problems, err)
	}
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "framelog_egress_http_") {
			t.Errorf("metric %s", f.GetName())
		}
	}
}
