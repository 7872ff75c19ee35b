// Package live sends the CMAF chunks of many cameras over one WebSocket as they come: the
// very parts of low-latency HLS. docs/live-protocol.md describes the protocol.
//
// A connection has one goroutine that reads (conn.go) and one for each camera that the client
// has subscribed to (subscription.go). Nothing is queued for a client: each subscription
// asks for what comes next when it may send. It may send while the bytes that the client has
// not acknowledged are few, and not old (window.go). So who is slow finds that there is a newer
// keyframe, and goes on there. A camera whose log is slow holds up no other.
//
// Package egress checks the Origin of a connection, and package access the rights: before
// each part, since they may change while a connection is open.
package live

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"

	"github.com/framelog/framelog/egress/access"
	"github.com/framelog/framelog/egress/answer"
	"github.com/framelog/framelog/egress/parts"
	"github.com/framelog/framelog/schemas"
)

// Source is where footage comes from; *hls.Server implements it.
type Source interface {
	// View begins to follow a camera's rendition for one client: behind the part after if that
	// is near, else with the newest fragment. Errors: those of package parts, ctx's.
	View(ctx context.Context, t schemas.Topic, after *parts.Position) (parts.Viewer, error)
}

// Config is the settings. The zero value of a field means its default.
type Config struct {
	MaxConnections   int           // at a time; default 1024
	MaxSubscriptions int           // of one connection; default 64
	MaxInFlight      int64         // bytes of media sent on one connection and not acknowledged. One message may go beyond; default 4 MiB
	MaxLate          time.Duration // for which sent media may be without an acknowledgement before no more is sent; default 2s
	WriteTimeout     time.Duration // a connection ends whose client has media to take and takes nothing for so long; default 30s
}

func (c Config) withDefaults() Config {
	c.MaxConnections = cmp.Or(c.MaxConnections, 1024)
	c.MaxSubscriptions = cmp.Or(c.MaxSubscriptions, 64)
	c.MaxInFlight = cmp.Or(c.MaxInFlight, 4<<20)
	c.MaxLate = cmp.Or(c.MaxLate, 2*time.Second)
	c.WriteTimeout = cmp.Or(c.WriteTimeout, 30*time.Second)
	return c
}

// Deps is what a Server works with.
type Deps struct {
	Source     Source                   // needed
	Known      func(camera string) bool // whether a camera exists; needed
	Log        *slog.Logger             // nil: silent
	Registerer prometheus.Registerer    // nil: no metrics
}

// Server answers /live.
type Server struct {
	cfg    Config
	deps   Deps
	m      *metrics
	places *semaphore.Weighted // one for each connection

	ctx     context.Context //nolint:containedctx // of all connections, ended by Run
	cancel  context.CancelFunc
	mu      sync.Mutex
	closed  bool
	running sync.WaitGroup // connections
}

// New makes the server. [Server.Run] must run while it serves.
func New(cfg Config, deps Deps) *Server {
	cfg = cfg.withDefaults()
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{cfg: cfg, deps: deps, m: newMetrics(deps.Registerer), places: semaphore.NewWeighted(int64(cfg.MaxConnections))}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Run waits until ctx ends. Then it ends all connections.
func (s *Server) Run(ctx context.Context) {
	<-ctx.Done()
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.running.Wait()
}

// Routes is the path of the socket. The rights are asked for each camera.
func (s *Server) Routes() []access.Route {
	return answer.Plain([]access.Route{{Pattern: "GET /live", Action: access.Watch, Label: "live", Handler: s.serve}})
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	if !s.begin() {
		answer.Fail(w, http.StatusServiceUnavailable, "the server is closing", "connect again")
		return
	}
	defer s.running.Done()
	if !s.places.TryAcquire(1) {
		s.m.refused.WithLabelValues("connections").Inc()
		w.Header().Set("Retry-After", "10")
		answer.Fail(w, http.StatusServiceUnavailable, "too many connections", fmt.Sprintf("the limit is %d (egress.live_connections); HLS has none", s.cfg.MaxConnections))
		return
	}
	defer s.places.Release(1)
	// Package egress has checked the Origin: it knows the sites that may read. Media does not
	// get smaller by compression, which is off by default.
	out := newBatch()
	socket, err := websocket.Accept(taking{w, out}, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return // it has answered
	}
	s.m.connections.Inc()
	defer s.m.connections.Dec()
	c := newConn(s, socket, out, r)
	s.deps.Log.Debug("a live connection has ended", "reason", c.run(s.ctx))
	_ = socket.CloseNow() // the client may have gone
	out.flushes.Wait()
}

// begin counts a connection. It returns false if the server is closing.
func (s *Server) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.running.Add(1)
	return true
}
