// Package service is what every role is wrapped in: its log, its metrics,
// health and readiness over HTTP, on a Unix socket or an address.
package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// NewLogger writes lines of a role to w: format "json" or "text", level
// "debug", "info", "warn" or "error".
func NewLogger(w io.Writer, level, format, role string) *slog.Logger {
	var at slog.Level
	if err := at.UnmarshalText([]byte(level)); err != nil {
		at = slog.LevelInfo
	}
	opts := &slog.HandlerOptions{Level: at}
	var h slog.Handler = slog.NewTextHandler(w, opts)
	if format == "json" {
		h = slog.NewJSONHandler(w, opts)
	}
	return slog.New(h).With("role", role)
}

// NewRegistry is a registry with what every process tells of itself.
func NewRegistry() *prometheus.Registry {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return reg
}

// ErrListen says that an address cannot be listened on.
var ErrListen = errors.New("cannot listen")

// Listen listens on "unix:PATH" or host:port. A socket that a process left
// behind is removed; only this user can reach a socket.
func Listen(ctx context.Context, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	path, ok := strings.CutPrefix(addr, "unix:")
	if !ok {
		ln, err := lc.Listen(ctx, "tcp", addr)
		if err != nil {
			return nil, fmt.Errorf("service: %w: %w", ErrListen, err)
		}
		return ln, nil
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("service: remove stale socket: %w", err)
	}
	ln, err := lc.Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("service: %w: %w", ErrListen, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		_ = ln.Close()
		return nil, fmt.Errorf("service: close socket to others: %w", err)
	}
	return ln, nil
}

// Server is a role's HTTP surface.
type Server struct {
	// Ready says why the role cannot serve what it has; nil: it can.
	Ready func(ctx context.Context) error
	// Handler answers everything but /metrics, /healthz and /readyz. nil: 404.
	Handler http.Handler
	// Guard stands before /metrics, which names every camera. /healthz and
	// /readyz tell nothing of them. nil: nothing does, as on a socket.
	Guard    func(http.Handler) http.Handler
	Registry *prometheus.Registry
	Log      *slog.Logger
	// Drain is how long requests may take to end when ctx has. Default 3 s.
	Drain time.Duration
}

// handler is the routes.
func (s Server) handler() http.Handler {
	mux := http.NewServeMux()
	metrics := promhttp.HandlerFor(s.Registry, promhttp.HandlerOpts{})
	if s.Guard != nil {
		metrics = s.Guard(metrics)
	}
	mux.Handle("GET /metrics", metrics)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { plain(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if s.Ready != nil {
			if err := s.Ready(r.Context()); err != nil {
				plain(w, http.StatusServiceUnavailable, err.Error())
				return
			}
		}
		plain(w, http.StatusOK, "ready")
	})
	if s.Handler != nil {
		mux.Handle("/", s.Handler)
	}
	return mux
}

func plain(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_, _ = io.WriteString(w, text+"\n") // the client has gone
}

// Serve answers on ln until ctx ends.
func (s Server) Serve(ctx context.Context, ln net.Listener) error {
	return ServeHTTP(ctx, ln, s.handler(), s.Log, s.Drain)
}

// ServeHTTP answers h on ln until ctx ends, then waits up to drain (default
// 3 s) for requests. There is no limit on how long an answer takes: blocking
// playlist requests and event streams are long.
func ServeHTTP(ctx context.Context, ln net.Listener, h http.Handler, log *slog.Logger, drain time.Duration) error {
	if drain == 0 {
		drain = 3 * time.Second
	}
	srv := &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		wait, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
		defer cancel()
		if srv.Shutdown(wait) != nil {
			_ = srv.Close()
		}
	})
	err := srv.Serve(ln)
	if !stop() {
		<-stopped
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("service: serve: %w", err)
}
