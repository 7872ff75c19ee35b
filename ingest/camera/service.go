// Package camera records cameras: [Service] records those that the consumer group
// assigns to this process. A recording is the work on one camera: it connects to the
// camera, passes units to an assembler and chunks to the log, and publishes the
// camera's status.
package camera

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/framelog/framelog/ingest/assemble"
	"github.com/framelog/framelog/internal/share"
	"github.com/framelog/framelog/schemas"
)

// groupName is the consumer group in which ingest processes share the cameras.
const groupName = "framelog-ingest"

// Service records the cameras that the consumer group assigns to this process.
// [share.Cameras] decides which camera runs when.
type Service struct {
	cfg     Config
	deps    Deps
	log     *slog.Logger
	metrics *metrics
	reserve *reserve
	cameras *share.Cameras

	mu   sync.Mutex
	runs map[string]*recording // the newest of each camera, until it is forgotten
}

// New makes a Service. Call Run. reg may be nil.
func New(cfg Config, deps Deps, log *slog.Logger, reg prometheus.Registerer) (*Service, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("camera: configure: %w", err)
	}
	s := &Service{
		cfg: cfg, log: log, metrics: newMetrics(reg),
		reserve: &reserve{path: cfg.ReservePath, bytes: cfg.ReserveBytes, log: log, free: freeBytes},
		runs:    make(map[string]*recording),
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
	if deps.purges == nil {
		deps.purges = s.cameras.Purges
	}
	s.deps = deps
	if reg != nil {
		if err := s.metrics.register(reg, newCensus(s.count), s.cameras.Partitions); err != nil {
			return nil, fmt.Errorf("camera: register metrics: %w", err)
		}
	}
	return s, nil
}

// Run records until ctx ends, then leaves the group, hands its cameras over to other
// processes and closes them.
// It waits for brokers that are away.
func (s *Service) Run(ctx context.Context) error {
	s.log.Info("ingest starts", "instance", s.cfg.Instance)
	if err := s.ensure(ctx); err != nil {
		return nil // ctx has ended
	}
	var wg sync.WaitGroup
	wg.Go(func() { s.sweep(ctx) })
	err := s.cameras.Run(ctx)
	wg.Wait()
	if err != nil {
		return fmt.Errorf("camera: share cameras: %w", err)
	}
	s.log.Info("ingest has ended")
	return nil
}

// ensure makes the registry's topics as soon as the brokers answer.
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
			s.log.Warn("this process may not create or change the topics of the registry; it needs existing ones", "err", err)
			return nil
		}
		s.log.Warn("the topics of the registry do not exist yet", "err", err)
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Ready returns an error until this process has read its cameras. If brokers go
// away later, it stays ready and goes on recording.
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
		n[c.status.current()]++
	}
	return n
}

// role implements share.Role for a Service.
type role struct{ s *Service }

func (r role) NewWork(cam schemas.Camera) share.Work {
	s := r.s
	c := newRecording(&s.cfg, &s.deps, s.metrics, s.reserve, s.log, cam)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runs[cam.ID] = c
	return c
}

func (r role) Forget(id string, removed bool) {
	s := r.s
	s.mu.Lock()
	c := s.runs[id]
	delete(s.runs, id)
	s.mu.Unlock()
	s.metrics.forget(id)
	if s.deps.Forget != nil {
		s.deps.Forget(id)
	}
	if removed {
		c.status.removed()
	}
}
