package hls

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/framelog/framelog/schemas"
)

var (
	errBusy    = errors.New("hls: too many requests wait")
	errTimeout = errors.New("hls: nothing new came in time")
	errClosed  = errors.New("hls: server is closing")
)

// Server answers HLS requests out of a log: see [Server.ServeHTTP] for its
// URLs. Everything it serves depends on the log alone, so any number of
// servers can stand side by side.
type Server struct {
	cfg     Config
	log     Log
	slog    *slog.Logger
	metrics *metrics
	cache   *cache
	files   *files
	gzip    gzipper

	ctx     context.Context //nolint:containedctx // of the streams' goroutines; ends with Run
	cancel  context.CancelFunc
	waiters atomic.Int64
	rebuild chan struct{} // a place each for those who read segments from the log

	unfollowed int // cameras beyond MaxTails, in mode always; of Run's goroutine

	mu      sync.Mutex
	streams map[schemas.Topic]*stream
	calls   map[cacheKey]*call
	closed  bool
	running sync.WaitGroup // streams
}

// New makes a server; it serves at once, and [Server.Run] must run beside it.
func New(cfg Config, log Log, logger *slog.Logger, reg prometheus.Registerer) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{
		cfg: cfg, log: log, slog: logger,
		rebuild: make(chan struct{}, cfg.MaxRebuilds),
		streams: map[schemas.Topic]*stream{}, calls: map[cacheKey]*call{},
	}
	s.metrics = newMetrics(reg, func() float64 { return float64(s.cache.size()) })
	s.cache = newCache(cfg.CacheBytes, s.metrics.evicted)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if cfg.Mode == Always {
		if s.files, err = newFiles(cfg, logger, s.metrics.files); err != nil {
			s.cancel()
			return nil, err
		}
	}
	return s, nil
}

// Run keeps the server's house until ctx ends: it begins and ends tails and
// removes old files. When it returns, everything that the server began has
// ended, and requests get 503.
func (s *Server) Run(ctx context.Context) error {
	defer func() {
		s.mu.Lock()
		s.closed = true
		s.mu.Unlock()
		s.cancel()
		s.running.Wait()
	}()
	tick := time.NewTicker(min(s.cfg.Linger, 5*time.Second))
	defer tick.Stop()
	for {
		if s.cfg.Mode == Always {
			s.followAll(ctx)
			s.files.sweep(time.Now())
		} else {
			s.endIdle()
		}
		s.cache.expire(time.Now().Add(-s.cfg.Linger))
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// followAll begins a tail of every camera there is and ends those of cameras
// that are there no more.
func (s *Server) followAll(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.LoadTimeout)
	defer cancel()
	topics, err := s.log.Topics(ctx)
	if err != nil {
		if ctx.Err() == nil {
			s.slog.Warn("cannot list cameras", "error", err)
		}
		return
	}
	there := map[schemas.Topic]bool{}
	left := 0
	for _, t := range topics {
		if !t.IsRaw() || (s.cfg.Known != nil && !s.cfg.Known(t.Camera)) {
			continue
		}
		t = t.Source()
		there[t] = true
		st, err := s.stream(t)
		if errors.Is(err, errBusy) {
			left++
		}
		if err == nil {
			st.leave()
		}
	}
	if left != s.unfollowed {
		s.unfollowed = left
		s.slog.Warn("cameras beyond max_tails have no files", "cameras", len(there), "beyond", left, "max_tails", s.cfg.MaxTails)
	}
	s.end(func(st *stream) bool { return !there[st.topic] && st.idle(s.cfg.Linger) })
}

func (s *Server) endIdle() {
	s.end(func(st *stream) bool { return st.idle(s.cfg.Linger) })
}

func (s *Server) end(which func(st *stream) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for t, st := range s.streams {
		if !which(st) {
			continue
		}
		st.cancel()
		delete(s.streams, t)
		s.metrics.tails.Dec()
		s.metrics.cameraDelay.DeleteLabelValues(t.Camera)
	}
}

// stream is the tail of a topic, begun where there is none. The caller calls
// its leave.
func (s *Server) stream(t schemas.Topic) (*stream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st, ok := s.streams[t]
	switch {
	case ok:
	case s.closed:
		return nil, errClosed
	case len(s.streams) >= s.cfg.MaxTails:
		s.metrics.refused.WithLabelValues("tails").Inc()
		return nil, errBusy
	default:
		ctx, cancel := context.WithCancel(s.ctx)
		st = &stream{
			server: s, topic: t, cancel: cancel, done: make(chan struct{}),
			model:   newModel(s.cfg.Window, s.cfg.ProvisionalBytes),
			changed: make(chan struct{}), rendered: map[renderKey][]byte{}, used: time.Now(),
		}
		s.streams[t] = st
		s.metrics.tails.Inc()
		s.running.Go(func() { st.run(ctx) })
	}
	st.enter()
	return st, nil
}

// followed is the tail of a topic where there is one, else nil. The caller
// calls its leave.
func (s *Server) followed(t schemas.Topic) *stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.streams[t]
	if st != nil {
		st.enter()
	}
	return st
}

// lookup is followed for who does not use the tail: it ends all the same.
func (s *Server) lookup(t schemas.Topic) *stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.streams[t]
}

// delayHolds is how long a measured delay says something of a camera.
const delayHolds = 10 * time.Second

// Delay is the latest delay from a camera's capture of a chunk to that chunk's
// part being listed; 0 where the camera is not followed or has sent nothing
// for 10 s.
func (s *Server) Delay(camera string) time.Duration {
	st := s.lookup(schemas.Topic{Camera: camera})
	if st == nil {
		return 0
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if time.Since(st.measured) > delayHolds {
		return 0
	}
	return st.delay
}

// waiter takes a place among those who wait; waited gives it back.
func (s *Server) waiter() bool {
	if s.waiters.Add(1) > int64(s.cfg.MaxWaiters) {
		s.waiters.Add(-1)
		s.metrics.refused.WithLabelValues("waiters").Inc()
		return false
	}
	s.metrics.waiters.Inc()
	return true
}

func (s *Server) waited() {
	s.waiters.Add(-1)
	s.metrics.waiters.Dec()
}
