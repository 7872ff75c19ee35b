// Package supervise runs the roles of one machine as child processes. It starts
// them in order and waits for those that must be ready first. It restarts them
// with backoff and stops them in the reverse order. When it ends, or is killed,
// all children end.
package supervise

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// ExitConfig is the exit code of a child whose configuration is wrong, so that a
// restart would not help. It is EX_CONFIG of sysexits.h. It is not 2, since Go
// ends a process that panics with 2.
const ExitConfig = 78

// ConfigError is Run's error after a child has ended with ExitConfig. Said is the
// last line that the child wrote.
type ConfigError struct{ Role, Said string }

func (e *ConfigError) Error() string {
	return fmt.Sprintf("supervise: %s refuses its configuration: %s", e.Role, e.Said)
}

// Child is one role.
type Child struct {
	Role string
	// Command makes the command of a new process. The supervisor sets its output
	// and its process attributes.
	Command func() *exec.Cmd
	// WaitReady delays the start of later children until this one is ready.
	WaitReady bool
	// Ready returns nil when the process is ready. After each start it is called
	// every 50 ms until then. A nil Ready means ready at once.
	Ready func(ctx context.Context) error
	// StopTimeout is the time from SIGTERM until the process group is killed, if
	// the process has not ended. Default 10 s.
	StopTimeout time.Duration
}

// Config holds the settings of Run.
type Config struct {
	Children []Child // in the order of their start
	// BackoffMin and BackoffMax bound the wait before a restart. It doubles with
	// each restart, and is BackoffMin again after a run of HealthyAfter. Defaults
	// 250 ms, 15 s and 20 s.
	BackoffMin, BackoffMax, HealthyAfter time.Duration
	// Output gets the children's lines. Default os.Stderr.
	Output io.Writer
	// AllReady is called once, when every child has been ready once. May be nil.
	AllReady func()
}

// supervisor is the state of one Run.
type supervisor struct {
	cfg      Config
	log      *slog.Logger
	out      *lines
	restarts *prometheus.CounterVec
	up       *prometheus.GaugeVec
	start    chan startRequest
	failed   chan error // ConfigErrors; it has room for one of each child
}

type startRequest struct {
	cmd  *exec.Cmd
	done chan error
}

// Run starts the children and keeps them running until ctx ends or one ends with
// ExitConfig. Then it stops all, in the reverse order, and returns when they have
// ended. Errors: *ConfigError.
func Run(ctx context.Context, cfg Config, log *slog.Logger, reg prometheus.Registerer) error {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&cfg.BackoffMin, 250*time.Millisecond)
	set(&cfg.BackoffMax, 15*time.Second)
	set(&cfg.HealthyAfter, 20*time.Second)
	if cfg.Output == nil {
		cfg.Output = os.Stderr
	}
	s := &supervisor{
		cfg: cfg, log: log, out: &lines{w: cfg.Output, log: log, said: map[string]string{}},
		restarts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "framelog_up_restarts_total", Help: "Children that ended by themselves and were started again.",
		}, []string{"role"}),
		up: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "framelog_up_child_running", Help: "1 while the child runs.",
		}, []string{"role"}),
		start:  make(chan startRequest),
		failed: make(chan error, len(cfg.Children)),
	}
	if reg != nil {
		for _, c := range []prometheus.Collector{s.restarts, s.up} {
			if err := reg.Register(c); err != nil {
				return fmt.Errorf("supervise: register metrics: %w", err)
			}
		}
	}
	end := make(chan struct{})
	var starter sync.WaitGroup
	starter.Go(func() { s.starter(end) })
	defer func() { close(end); starter.Wait() }()

	type running struct {
		role        string
		stop        context.CancelFunc
		ready, done chan struct{}
	}
	var all []running
	var err error
	comes := func(r running) bool {
		select {
		case <-r.ready:
			return true
		case err = <-s.failed:
		case <-ctx.Done():
		}
		return false
	}
	good := true
	for _, c := range cfg.Children {
		s.restarts.WithLabelValues(c.Role)
		// Not ctx, since a child is stopped only after the later ones have ended.
		own, stop := context.WithCancel(context.WithoutCancel(ctx))
		ready, done := make(chan struct{}), make(chan struct{})
		go func() { defer close(done); s.keep(own, c, ready) }()
		r := running{c.Role, stop, ready, done}
		all = append(all, r)
		if good = !c.WaitReady || comes(r); !good {
			break
		}
	}
	for i := 0; good && i < len(all); i++ {
		good = comes(all[i])
	}
	if good {
		if cfg.AllReady != nil {
			cfg.AllReady()
		}
		select {
		case err = <-s.failed:
		case <-ctx.Done():
		}
	}
	for i := len(all) - 1; i >= 0; i-- {
		s.log.Debug("stopping", "child", all[i].role)
		all[i].stop()
		<-all[i].done
	}
	return err
}

// starter starts all children from one thread, which lives as long as they do. The
// kernel sends a child the parent-death signal when the thread that started it
// ends, not the process.
func (s *supervisor) starter(end <-chan struct{}) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for {
		select {
		case r := <-s.start:
			r.done <- r.cmd.Start()
		case <-end:
			return
		}
	}
}

// keep runs one child, again and again, until ctx ends. It closes ready when the
// child is ready for the first time.
func (s *supervisor) keep(ctx context.Context, c Child, ready chan struct{}) {
	var once sync.Once
	backoff := s.cfg.BackoffMin
	for {
		began := time.Now()
		err := s.once(ctx, c, func() { once.Do(func() { close(ready) }) })
		if ctx.Err() != nil {
			return
		}
		if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == ExitConfig {
			s.failed <- &ConfigError{Role: c.Role, Said: s.out.last(c.Role)}
			return
		}
		if time.Since(began) >= s.cfg.HealthyAfter {
			backoff = s.cfg.BackoffMin
		}
		reason := "exit status 0"
		if err != nil {
			reason = err.Error()
		}
		s.log.Error("child ended; it is started again", "child", c.Role, "why", reason, "in", backoff.String())
		s.restarts.WithLabelValues(c.Role).Inc()
		wait := time.NewTimer(backoff + rand.N(backoff/8+1))
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return
		}
		backoff = min(2*backoff, s.cfg.BackoffMax)
	}
}

// once starts one process of the child and waits for its end.
func (s *supervisor) once(ctx context.Context, c Child, ready func()) error {
	cmd := c.Command()
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("supervise: make pipe: %w", err)
	}
	defer r.Close()
	cmd.Stdout, cmd.Stderr = w, w
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	req := startRequest{cmd: cmd, done: make(chan error, 1)}
	s.start <- req
	err = <-req.done
	_ = w.Close()
	if err != nil {
		return fmt.Errorf("supervise: start %s: %w", c.Role, err)
	}
	s.up.WithLabelValues(c.Role).Set(1)
	defer s.up.WithLabelValues(c.Role).Set(0)

	var wg sync.WaitGroup
	wg.Go(func() { s.out.copy(c.Role, r) })
	gone := make(chan error, 1)
	wg.Go(func() {
		err := cmd.Wait()
		// This kills the processes that it started, and so ends the pipe.
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		gone <- err
	})
	asking, cancel := context.WithCancel(ctx)
	wg.Go(func() { s.await(asking, c, ready) })
	defer wg.Wait()
	defer cancel()

	select {
	case err := <-gone:
		return err
	case <-ctx.Done():
	}
	timeout := c.StopTimeout
	if timeout == 0 {
		timeout = 10 * time.Second
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	t := time.NewTimer(timeout)
	defer t.Stop()
	select {
	case err := <-gone:
		return err
	case <-t.C:
		s.log.Warn("child does not stop; it is killed", "child", c.Role, "after", timeout.String())
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		return <-gone
	}
}

// await calls ready when the child is ready.
func (s *supervisor) await(ctx context.Context, c Child, ready func()) {
	if c.Ready == nil {
		ready()
		return
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		try, cancel := context.WithTimeout(ctx, 5*time.Second)
		err := c.Ready(try)
		cancel()
		if err == nil {
			ready()
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
