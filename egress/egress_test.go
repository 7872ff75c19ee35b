package egress

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

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

func TestGuard(t *testing.T) {
	loopback := Guard{Loopback: true, Hosts: []string{"cams.example", "fd00::1"}}
	for _, c := range []struct {
		name   string
		guard  Guard
		method string
		host   string
		header map[string]string
		code   int // 0: let through
	}{
		{"curl", loopback, "PUT", "127.0.0.1:8080", nil, 0},
		{"own page", loopback, "PUT", "localhost:8080", map[string]string{"Origin": "http://localhost:8080", "Sec-Fetch-Site": "same-origin"}, 0},
		{"own page, older browser", loopback, "PUT", "localhost:8080", map[string]string{"Origin": "http://localhost:8080"}, 0},
		{"page of another site", loopback, "PUT", "localhost:8080", map[string]string{"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}, 403},
		{"page of another site, older browser", loopback, "DELETE", "localhost:8080", map[string]string{"Origin": "https://evil.example"}, 403},
		{"page of another port", loopback, "DELETE", "localhost:8080", map[string]string{"Sec-Fetch-Site": "same-site", "Origin": "http://localhost:3000"}, 403},
		{"other site reads", loopback, "GET", "localhost:8080", map[string]string{"Sec-Fetch-Site": "cross-site"}, 0},
		{"rebound name", loopback, "GET", "evil.example:8080", nil, 421},
		{"rebound name writes", loopback, "PUT", "evil.example:8080", map[string]string{"Sec-Fetch-Site": "same-origin"}, 421},
		{"name like an address", loopback, "GET", "127.0.0.1.evil.example", nil, 421},
		{"ipv6", loopback, "GET", "[::1]:8080", nil, 0},
		{"ipv6 without port", loopback, "GET", "[::1]", nil, 0},
		{"rest of 127/8", loopback, "GET", "127.8.9.10", nil, 0},
		{"localhost in capitals", loopback, "GET", "LocalHost.", nil, 0},
		{"no host", loopback, "GET", "", nil, 421},
		{"the proxy's name", loopback, "GET", "cams.example:443", nil, 0},
		{"the proxy's address", loopback, "GET", "[FD00::1]", nil, 0},
		{"not on the loopback", Guard{}, "GET", "cams.example", nil, 0},
		{"not on the loopback, other site writes", Guard{}, "PUT", "cams.example", map[string]string{"Origin": "https://evil.example"}, 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newServer(t, c.guard, nil)
			r := httptest.NewRequest(c.method, "/v1/cameras/yard", strings.NewReader(`{}`))
			r.Host = c.host
			for k, v := range c.header {
				r.Header.Set(k, v)
			}
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			if refused := w.Code == 403 || w.Code == 421; refused != (c.code != 0) || refused && w.Code != c.code {
				t.Errorf("%d %s", w.Code, w.Body)
			}
			if c.code != 0 && !strings.Contains(w.Body.String(), `"remedy"`) {
				t.Errorf("no remedy: %s", w.Body)
			}
		})
	}
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
	s, err := New(Config{}, Deps{Registry: late})
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
