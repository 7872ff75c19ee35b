package monitor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/internal/registry"
	"github.com/framelog/framelog/monitor/lag"
)

// Config is the settings of a Monitor.
type Config struct {
	Kafka kafka.Config
	// Retention is how long topics keep their media (topics.retention). Default: not known.
	Retention time.Duration
	// Interval is the time from one reading to the next. Default 5 s.
	Interval time.Duration
	// Shown tells up to which public time playlists show cameras, of those that an egress
	// follows. Default: it is not known.
	Shown func(ctx context.Context) (map[string]time.Time, error)
	// Reported is called with each report, from one goroutine. Default: nobody is told.
	Reported func(lag.Report)
}

// readLimit bounds one reading of the log. One broker that stands still takes less (see step).
const readLimit = 30 * time.Second

// Monitor reads the log again and again.
type Monitor struct {
	cfg Config
	log *slog.Logger

	mu       sync.Mutex
	snapshot registry.Snapshot // its maps are not changed
	report   lag.Report
	read     bool // there is a report
}

// New makes a Monitor. Its metrics go to reg (nil: nowhere), messages to log.
func New(cfg Config, log *slog.Logger, reg prometheus.Registerer) *Monitor {
	cfg.Interval = cmp.Or(cfg.Interval, 5*time.Second)
	m := &Monitor{cfg: cfg, log: log}
	if reg != nil {
		reg.MustRegister(&collector{m})
	}
	return m
}

// Run reads the log every interval, until ctx ends. It waits for brokers. Errors: the
// configuration of Kafka is wrong.
func (m *Monitor) Run(ctx context.Context) error {
	cams, err := registry.Connect(m.cfg.Kafka, m.log)
	if err != nil {
		return fmt.Errorf("monitor: %w", err)
	}
	defer cams.Close()
	r, err := newReader(m.cfg, m.log)
	if err != nil {
		return err
	}
	defer r.close()
	ctx, cancel := context.WithCancel(ctx)
	first := make(chan struct{}) // closed when the registry has been read
	known := sync.OnceFunc(func() { close(first) })
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() {
		_ = cams.Follow(ctx, func(s registry.Snapshot) { // it ends with ctx
			m.mu.Lock()
			m.snapshot = s
			m.mu.Unlock()
			known()
		})
	})
	select {
	case <-first:
	case <-ctx.Done():
		return nil
	}
	ticker := time.NewTicker(m.cfg.Interval)
	defer ticker.Stop()
	for {
		m.once(ctx, r)
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// once reads the log once, and keeps the report.
func (m *Monitor) once(ctx context.Context, r *reader) {
	limited, cancel := context.WithTimeout(ctx, readLimit)
	defer cancel()
	view, err := r.read(limited)
	if ctx.Err() != nil {
		return
	}
	if err == nil && m.cfg.Shown != nil {
		if view.Shown, err = m.cfg.Shown(limited); err != nil {
			m.log.Debug("egress does not tell what its playlists show", "err", err)
			err = nil
		}
	}
	m.mu.Lock()
	if err == nil {
		view.Cameras, view.Status = m.snapshot.Cameras, m.snapshot.Status
		m.report, m.read = lag.Compute(&view), true
	}
	was := m.report.Up
	m.report.Up = err == nil
	report := m.report
	m.mu.Unlock()
	if err != nil && was {
		m.log.Warn("the log cannot be read: what the monitor shows gets old", "err", err)
	}
	if m.cfg.Reported != nil {
		m.cfg.Reported(report)
	}
}

// Report returns the newest report. Errors: there is none yet.
func (m *Monitor) Report() (lag.Report, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.read {
		return lag.Report{}, errors.New("monitor: the log has not been read yet")
	}
	return m.report, nil
}
