package service

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// serve runs a server on a socket and returns a client of it.
func serve(t *testing.T, s Server) (*http.Client, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "role.sock")
	ln, err := Listen(t.Context(), "unix:"+path)
	if err != nil {
		t.Fatal(err)
	}
	if s.Registry == nil {
		s.Registry = prometheus.NewRegistry()
	}
	s.Log = slog.New(slog.DiscardHandler)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return Client(path), path
}

func TestServer(t *testing.T) {
	notReady := errors.New("the log is being loaded")
	why := notReady
	c, path := serve(t, Server{
		Ready:   func(context.Context) error { return why },
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.URL.Path) }),
	})
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket: %v %v", info, err)
	}
	if err, ok := errors.AsType[*NotReadyError](AskReady(t.Context(), c)); !ok || err.Why != notReady.Error() {
		t.Errorf("not ready: %v", err)
	}
	why = nil
	if err := AskReady(t.Context(), c); err != nil {
		t.Error(err)
	}
	for path, want := range map[string]string{"/healthz": "ok\n", "/x/y": "/x/y"} {
		if b, code, err := get(t.Context(), c, path, 100); err != nil || code != http.StatusOK || string(b) != want {
			t.Errorf("%s: %d %q %v", path, code, b, err)
		}
	}
}

// TestGuard: the guard wraps the metrics, and not health and readiness.
func TestGuard(t *testing.T) {
	c, _ := serve(t, Server{Guard: func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusMisdirectedRequest) })
	}})
	for path, want := range map[string]int{"/metrics": http.StatusMisdirectedRequest, "/healthz": http.StatusOK, "/readyz": http.StatusOK} {
		if _, code, err := get(t.Context(), c, path, 100); err != nil || code != want {
			t.Errorf("%s: %d %v, want %d", path, code, err, want)
		}
	}
}

func TestListen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	if err := os.WriteFile(path, nil, 0o600); err != nil { // as a process that was killed leaves it
		t.Fatal(err)
	}
	ln, err := Listen(t.Context(), "unix:"+path)
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	a, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if _, err := Listen(t.Context(), a.Addr().String()); !errors.Is(err, ErrListen) {
		t.Errorf("%v, want ErrListen", err)
	}
}

// TestDrain: after ctx has ended, a request under way ends when drain has passed.
func TestDrain(t *testing.T) {
	ln, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	started := make(chan struct{})
	go func() {
		done <- ServeHTTP(ctx, ln, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			close(started)
			<-r.Context().Done() // until the server ends the request
		}), slog.New(slog.DiscardHandler), 20*time.Millisecond)
	}()
	go func() {
		<-started
		cancel()
	}()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+ln.Addr().String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := http.DefaultClient.Do(req); err == nil {
		resp.Body.Close()
		t.Error("an answer came")
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestJoinedMetrics(t *testing.T) {
	registry := func(n float64) *prometheus.Registry {
		reg := prometheus.NewRegistry()
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "framelog_x_y_bytes", Help: "X."})
		g.Set(n)
		h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "framelog_x_z_seconds", Help: "Z.", Buckets: []float64{1}})
		h.Observe(n)
		reg.MustRegister(g, h)
		return reg
	}
	own := registry(1)
	kept := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "framelog_up_restarts_total", Help: "R."}, []string{"role"})
	kept.WithLabelValues("egress").Inc()
	own.MustRegister(kept)
	egress, _ := serve(t, Server{Registry: registry(2)})
	w := httptest.NewRecorder()
	JoinedMetrics(own, "up", map[string]*http.Client{"egress": egress, "away": Client(filepath.Join(t.TempDir(), "none"))}).
		ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	body := w.Body.String()
	for _, want := range []string{
		`framelog_x_y_bytes{role="egress"} 2`, `framelog_x_y_bytes{role="up"} 1`,
		`framelog_x_z_seconds_bucket{role="egress",le="1"} 0`, `framelog_up_restarts_total{role="egress"} 1`,
	} {
		if !strings.Contains(body, want+"\n") {
			t.Errorf("%s is missing in\n%s", want, body)
		}
	}
	if strings.Count(body, "# TYPE framelog_x_y_bytes ") != 1 {
		t.Errorf("a family stands there more than once:\n%s", body)
	}
}

func TestAll(t *testing.T) {
	boom := errors.New("boom")
	waits := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	if err := All(t.Context(), waits, func(context.Context) error { return boom }, waits); !errors.Is(err, boom) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := All(ctx, waits, waits); err != nil {
		t.Error(err)
	}
}

func TestLogger(t *testing.T) {
	for format, want := range map[string]string{"text": "role=egress", "json": `"role":"egress"`} {
		var b strings.Builder
		log := NewLogger(&b, "warn", format, "egress")
		log.Info("hidden")
		log.Warn("shown")
		if !strings.Contains(b.String(), want) || strings.Contains(b.String(), "hidden") {
			t.Errorf("%s: %s", format, b.String())
		}
	}
}
