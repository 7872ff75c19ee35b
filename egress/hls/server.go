package hls

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"

	"github.com/framelog/framelog/schemas"
)

// Server answers HLS requests from a log: see [Server.ServeHTTP] for its URLs.
// Its responses depend on the log only, so any number of servers can run in
// parallel.
type Server struct {
	*common
	loader     *loader
	renditions *renditions
	ranges     *cache[*ranged]

	unfollowed int // cameras beyond MaxTails, in mode Always; of Run's goroutine

	mu      sync.Mutex
	streams map[schemas.Topic]*stream
}

// New makes a server. It serves at once, but [Server.Run] must run too.
func New(cfg Config, log Log, logger *slog.Logger, reg prometheus.Registerer) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	c := &common{
		cfg: cfg, log: log, slog: cmp.Or(logger, slog.New(slog.DiscardHandler)), metrics: newMetrics(reg),
		waiters: semaphore.NewWeighted(int64(cfg.MaxWaiters)),
	}
	c.cache = newCache[*segment](cfg.CacheBytes, c.metrics.evicted)
	if reg != nil {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "framelog_egress_hls_cache_bytes", Help: "Bytes of the segments in memory.",
		}, func() float64 { return float64(c.cache.size()) }))
	}
	if cfg.Mode == Always {
		if c.files, err = newFiles(cfg, c.slog, c.metrics.files); err != nil {
			return nil, err
		}
	}
	c.tasks.ctx, c.tasks.cancel = context.WithCancel(context.Background())
	l := newLoader(c)
	s := &Server{common: c, loader: l, renditions: newRenditions(l), ranges: newCache[*ranged](cfg.RangeCache, c.metrics.unranged), streams: map[schemas.Topic]*stream{}}
	if reg != nil {
		reg.MustRegister(shownMetric{s}, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "framelog_egress_hls_range_cache_bytes", Help: "Bytes of the playlists of ranges in memory.",
		}, func() float64 { return float64(s.ranges.size()) }))
	}
	return s, nil
}

// Run begins and ends tails, and removes old files, until ctx ends. When it
// returns, everything that the server began has ended, and requests get 503.
func (s *Server) Run(ctx context.Context) error {
	defer s.tasks.close()
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

// followAll begins a tail of every camera that has a topic, and ends the tails of
// cameras that no longer have one. Renditions are followed on demand in any mode.
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
	exist := map[schemas.Topic]bool{}
	beyond := 0
	for _, t := range topics {
		if !t.IsRaw() || (s.cfg.Known != nil && !s.cfg.Known(t.Camera)) {
			continue
		}
		t = t.Source()
		exist[t] = true
		st, err := s.stream(t)
		if errors.Is(err, errBusy) {
			beyond++
		}
		if err == nil {
			st.leave()
		}
	}
	if beyond != s.unfollowed {
		s.unfollowed = beyond
		s.slog.Warn("cameras beyond max_tails have no files", "cameras", len(exist), "beyond", beyond, "max_tails", s.cfg.MaxTails)
	}
	s.end(func(st *stream) bool { return !exist[st.topic] && st.idle(s.cfg.Linger) })
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
		if t.IsRaw() {
			s.metrics.cameraDelay.DeleteLabelValues(t.Camera)
		}
	}
}

// stream returns the stream of a topic, and begins one if there is none. The
// caller calls its leave.
func (s *Server) stream(t schemas.Topic) (*stream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st, ok := s.streams[t]
	if !ok {
		if len(s.streams) >= s.cfg.MaxTails {
			s.metrics.refused.WithLabelValues("tails").Inc()
			return nil, errBusy
		}
		if err := s.tasks.begin(); err != nil {
			return nil, err
		}
		var ctx context.Context
		ctx, st = newStream(s.common, t)
		s.streams[t] = st
		s.metrics.tails.Inc()
		go func() {
			defer s.tasks.running.Done()
			st.run(ctx)
		}()
	}
	st.enter()
	return st, nil
}

// lookup returns the stream of a topic, nil if there is none. It does not
// extend the stream's life.
func (s *Server) lookup(t schemas.Topic) *stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.streams[t]
}

// delayHolds is how long a measured delay is valid.
const delayHolds = 10 * time.Second

// Delay returns the time from the capture of a camera's latest chunk until its
// part was listed. It is 0 for a camera that is not followed or has sent nothing
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
