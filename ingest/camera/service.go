package camera

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/framelog/framelog/ingest"
	"github.com/framelog/framelog/ingest/assemble"
	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/internal/share"
	"github.com/framelog/framelog/schemas"
)

// groupName is the consumer group in which ingest processes share the cameras.
const groupName = "framelog-ingest"

// Config is an ingest process's settings. The zero value of each field but
// Kafka means its default.
type Config struct {
	Kafka kafka.Config

	// Instance names this process in statuses, in the log and in the consumer
	// group: one that is started again under it within SessionTimeout has its
	// cameras back at once. It must differ between processes. Default: host,
	// process id and a random number, and no name in the group, so that a
	// process that died comes back as another.
	Instance string
	// Host is where it runs. Default: the host's name.
	Host string

	// SessionTimeout is how long after the death of an ingest process the
	// others take its cameras. 6s to 10s, which Kafka's brokers allow by
	// default; default 8s.
	SessionTimeout time.Duration
	// ReconnectMin and ReconnectMax bound the wait before a camera is
	// connected again, which doubles each time and is taken at random between
	// its half and its whole. Default 500ms and 15s.
	ReconnectMin, ReconnectMax time.Duration
	// OpenWait is how long a camera may give no connection before its log is
	// opened all the same, which ends the connection of an owner before.
	// Default 5s.
	OpenWait time.Duration
	// ReleaseWait is how long a camera that went to another process is
	// recorded here if that one does not begin. Default 30s.
	ReleaseWait time.Duration
	// CloseWait is how long the end of a camera waits for Kafka to take what
	// was recorded. Default 5s.
	CloseWait time.Duration
	// StatusEvery is the most time between two statuses of a camera. Default
	// 10s; readers take a status to be stale after 30s.
	StatusEvery time.Duration

	// Assembler is how chunks and fragments are made; its Camera and Problem
	// are set here, its FrameTime at each connection.
	Assembler assemble.Config

	// ReservePath and ReserveBytes: recording stops, with gaps of reason
	// "storage", while fewer bytes are free on the path's file system.
	// Default: no reserve, for a broker that is elsewhere.
	ReservePath  string
	ReserveBytes int64

	member string // Instance as it was configured
}

func (c Config) withDefaults() (Config, error) {
	if c.Host == "" {
		host, err := os.Hostname()
		if err != nil {
			return c, fmt.Errorf("find host name: %w", err)
		}
		c.Host = host
	}
	c.member = c.Instance
	if c.Instance == "" {
		c.Instance = fmt.Sprintf("%s-%d-%04x", c.Host, os.Getpid(), rand.N(1<<16))
	}
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&c.SessionTimeout, 8*time.Second)
	set(&c.ReconnectMin, 500*time.Millisecond)
	set(&c.ReconnectMax, 15*time.Second)
	set(&c.OpenWait, 5*time.Second)
	set(&c.ReleaseWait, 30*time.Second)
	set(&c.CloseWait, 5*time.Second)
	set(&c.StatusEvery, 10*time.Second)
	switch {
	case c.SessionTimeout < 6*time.Second || c.SessionTimeout > 10*time.Second:
		return c, fmt.Errorf("session timeout %v: want 6s to 10s", c.SessionTimeout)
	case c.ReconnectMin < 0 || c.ReconnectMax < c.ReconnectMin:
		return c, fmt.Errorf("reconnect wait %v to %v: want a range", c.ReconnectMin, c.ReconnectMax)
	case c.OpenWait < 0 || c.ReleaseWait < 0 || c.CloseWait < 0 || c.StatusEvery < 0:
		return c, errors.New("a wait is negative")
	case c.ReserveBytes > 0 && c.ReservePath == "":
		return c, errors.New("a disk reserve needs a path")
	}
	return c, c.Kafka.Validate()
}

// Registry is what a Service needs of *registry.Client.
type Registry interface {
	Ensure(ctx context.Context) error
	PutStatus(s schemas.Status)
	DeleteStatus(id string)
}

// Deps is what a Service works with.
type Deps struct {
	Registry Registry
	// NewSource makes what connects to a camera: one for all connections, so
	// that it can remember what it learnt of the camera, until the camera's
	// record changes.
	NewSource func(cam schemas.Camera) ingest.Source
	// Open opens a camera's log; it returns at once (medialog.Log.Open). ctx
	// does not end while the writer is in use.
	Open func(ctx context.Context, t schemas.Topic, o medialog.OpenOptions) Writer
	// IndexEnd is the offset at which a camera's index ends
	// (medialog.Log.IndexEnd).
	IndexEnd func(ctx context.Context, t schemas.Topic) (int64, error)
	// Forget is told of a camera that is no longer recorded here
	// (medialog.Log.Forget). nil: nobody is told.
	Forget func(camera string)

	newAssembler func(assemble.Config, assemble.Recorder) assembler // tests have their own
}

// Service records the cameras that the consumer group gives to this process.
// [share.Cameras] decides which camera runs when.
type Service struct {
	cfg     Config
	deps    Deps
	log     *slog.Logger
	metrics *metrics
	reserve *reserve
	cameras *share.Cameras

	mu   sync.Mutex
	runs map[string]*camera // the newest of each camera, until it is forgotten
}

// New makes a Service; Run runs it. reg may be nil.
func New(cfg Config, deps Deps, log *slog.Logger, reg prometheus.Registerer) (*Service, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("ingest: configure: %w", err)
	}
	s := &Service{
		cfg: cfg, log: log, metrics: newMetrics(reg),
		reserve: &reserve{path: cfg.ReservePath, bytes: cfg.ReserveBytes, log: log, free: freeBytes},
		runs:    make(map[string]*camera),
	}
	s.cameras = share.New(share.Config{
		Kafka: cfg.Kafka, Group: groupName, Instance: cfg.member, Doing: "recorded",
		SessionTimeout: cfg.SessionTimeout, ReleaseWait: cfg.ReleaseWait, RetryWait: cfg.ReconnectMin,
	}, role{s}, log)
	if deps.newAssembler == nil {
		deps.newAssembler = func(c assemble.Config, rec assemble.Recorder) assembler {
			return assemble.New(c, rec, s.metrics.assembler)
		}
	}
	s.deps = deps
	if reg != nil {
		if err := s.metrics.register(reg, newCensus(s.count), s.cameras.Partitions); err != nil {
			return nil, fmt.Errorf("ingest: register metrics: %w", err)
		}
	}
	return s, nil
}

// Run records until ctx ends, then closes all cameras and leaves the group.
// It waits for brokers that are away.
func (s *Service) Run(ctx context.Context) error {
	s.log.Info("ingest starts", "instance", s.cfg.Instance)
	if err := s.ensure(ctx); err != nil {
		return nil // ctx has ended
	}
	err := s.cameras.Run(ctx)
	if err != nil {
		return fmt.Errorf("ingest: share cameras: %w", err)
	}
	s.log.Info("ingest has ended")
	return nil
}

// ensure makes the registry's topics, as soon as brokers are there.
func (s *Service) ensure(ctx context.Context) error {
	for {
		try, cancel := context.WithTimeout(ctx, 10*time.Second)
		err := s.deps.Registry.Ensure(try)
		cancel()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			return nil
		case errors.Is(err, kerr.TopicAuthorizationFailed), errors.Is(err, kerr.ClusterAuthorizationFailed):
			s.log.Warn("registry topics may not be made or changed; they must be there", "err", err)
			return nil
		}
		s.log.Warn("registry topics are not there yet", "err", err)
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Ready returns an error until this process has taken up its cameras. Brokers
// that go away later change nothing: it goes on recording.
func (s *Service) Ready() error {
	if err := s.cameras.Ready(); err != nil {
		return fmt.Errorf("ingest: %w", err)
	}
	return nil
}

func (s *Service) count() map[schemas.State]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := make(map[schemas.State]int)
	for _, c := range s.runs {
		n[c.board.current()]++
	}
	return n
}

// role is what share.Cameras sees of a Service.
type role struct{ s *Service }

func (r role) NewWork(cam schemas.Camera) share.Work {
	s := r.s
	c := newCamera(&s.cfg, &s.deps, s.metrics, s.reserve, s.log, cam)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runs[cam.ID] = c
	return c
}

func (r role) Forget(id string, removed bool) {
	s := r.s
	s.mu.Lock()
	delete(s.runs, id)
	s.mu.Unlock()
	s.metrics.forget(id)
	if s.deps.Forget != nil {
		s.deps.Forget(id)
	}
	if removed {
		s.deps.Registry.DeleteStatus(id)
	}
}
