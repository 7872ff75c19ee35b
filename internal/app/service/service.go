// Package service gives every role its log, and serves its metrics, health and
// readiness over HTTP, on a Unix socket or an address.
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
	"strconv"
	"strings"
	"syscall"
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

// NewRegistry makes a registry with the metrics of Go and of the process.
func NewRegistry() *prometheus.Registry {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return reg
}

// ErrListen means that the process cannot listen on an address.
var ErrListen = errors.New("cannot listen")

// Listen listens on "unix:PATH" or host:port. It removes a socket that an earlier
// process left behind. Only this user can connect to a socket. Errors: ErrListen.
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

// ListenProblem says for people why the process cannot listen on addr, and what to do.
func ListenProblem(addr string, err error) (what, remedy string) {
	what = "cannot listen on " + strconv.Quote(addr) + ": "
	var errno syscall.Errno
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return what + "the port is in use", "stop the program that has it, or choose another port"
	case errors.As(err, &errno):
		what += errno.Error()
	default:
		what += err.Error()
	}
	return what, "choose another address"
}

// Server serves a role over HTTP.
type Server struct {
	// Ready reports why the role is not ready; nil if it is. A nil Ready means always.
	Ready func(ctx context.Context) error
	// Handler answers everything but /metrics, /healthz and /readyz. nil: 404.
	Handler http.Handler
	// Guard wraps the handler of /metrics, which names every camera. /healthz and
	// /readyz name none and are not wrapped. nil: no guard, as on a socket.
	Guard    func(http.Handler) http.Handler
	Registry *prometheus.Registry
	Log      *slog.Logger
	// Drain is how long Serve waits for requests after ctx has ended. Default 3 s.
	Drain time.Duration
}

// handler makes the routes.
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

// Serve answers requests on ln until ctx ends.
func (s Server) Serve(ctx context.Context, ln net.Listener) error {
	return ServeHTTP(ctx, ln, s.handler(), s.Log, s.Drain)
}

// ServeHTTP answers requests on ln with h until ctx ends. Then it waits up to drain
// (default 3 s) for those under way. An answer may take any time, since playlist
// requests block and event streams stay open. Clients may speak HTTP/2 without TLS too, if
// they know that (RFC 9113, 3.3): a proxy in front, or a wall of many playlists.
func ServeHTTP(ctx context.Context, ln net.Listener, h http.Handler, log *slog.Logger, drain time.Duration) error {
	return serveHTTP(ctx, ln, newServer(h, log), drain)
}

func newServer(h http.Handler, log *slog.Logger) *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{
		Protocols: protocols,
		Handler:   h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

func serveHTTP(ctx context.Context, ln net.Listener, srv *http.Server, drain time.Duration) error {
	if drain == 0 {
		drain = 3 * time.Second
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
