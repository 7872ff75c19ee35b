package exec

import (
	"context"
	"errors"
	"fmt"
	"iter"
	osexec "os/exec"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/framelog/framelog/processors"
	"github.com/framelog/framelog/processors/video"
	"github.com/framelog/framelog/schemas"
)

// The wait before a program is started again. It doubles with each failure until a fragment
// is done.
const (
	firstBackoff   = 250 * time.Millisecond
	longestBackoff = 30 * time.Second
)

// errClosed is Process's error after Close.
var errClosed = errors.New("exec: the processor is closed")

// pool holds the children. Each works on one fragment at a time.
type pool struct {
	*options
	env func() []string // of the children

	// idle are the slots with a child that runs, empty the others.
	idle, empty chan *slot
	closing     chan struct{} // closed by close
	closeOnce   sync.Once
	starter     starter

	restarts, dropped prometheus.Counter

	// Tests have shorter ones.
	endTimeout, cancelTimeout time.Duration
	// Of package video; tests have others.
	pictures func(context.Context, *processors.Fragment, video.Options) iter.Seq2[*video.Picture, error]
	encode   func(context.Context, *processors.Fragment, iter.Seq2[*video.Picture, error], video.Encoding) iter.Seq2[*schemas.Chunk, error]
}

// slot is the place of one child.
type slot struct {
	child    *child // nil if none has been started
	failures int    // in succession
	failed   time.Time
}

func newPool(o *options) *pool {
	p := &pool{
		options: o, env: sync.OnceValue(o.environment), closing: make(chan struct{}),
		idle: make(chan *slot, o.Children), empty: make(chan *slot, o.Children),
		endTimeout: endTimeout, cancelTimeout: cancelTimeout,
		pictures: video.Pictures, encode: video.Encode,
	}
	metrics := promauto.With(prometheus.WrapRegistererWith(prometheus.Labels{"processor": o.name}, o.Registerer))
	p.restarts = metrics.NewCounter(prometheus.CounterOpts{
		Name: "framelog_processor_exec_restarts_total", Help: "Processes of the program that ended, were killed or did not start.",
	})
	p.dropped = metrics.NewCounter(prometheus.CounterOpts{
		Name: "framelog_processor_exec_lines_dropped_total", Help: "Lines that the program printed and that were too many for the log.",
	})
	for range o.Children {
		p.empty <- &slot{}
	}
	return p
}

// take returns a slot, rather one with a child that runs. It waits until one is free.
func (p *pool) take(ctx context.Context) (*slot, error) {
	select {
	case s := <-p.idle:
		return s, nil
	default:
	}
	select {
	case s := <-p.idle:
		return s, nil
	case s := <-p.empty:
		return s, nil
	case <-p.closing:
		return nil, errClosed
	case <-ctx.Done():
		return nil, fmt.Errorf("exec: %w: each of the %d children works on another fragment (%w); more children help", processors.ErrUnavailable, p.Children, context.Cause(ctx))
	}
}

// give returns a slot. A child that has ended leaves it.
func (p *pool) give(s *slot) {
	if s.child != nil && s.child.ended() {
		p.drop(s)
	}
	if s.child == nil {
		p.empty <- s
	} else {
		p.idle <- s
	}
}

// drop ends the child of a slot, which counts as a failure.
func (p *pool) drop(s *slot) {
	s.child.close(p.endTimeout)
	s.child = nil
	p.failed(s)
}

func (p *pool) failed(s *slot) {
	s.failures++
	s.failed = time.Now()
	p.restarts.Inc()
}

// prepare makes sure that a slot has a child that is ready. Its errors are
// processors.ErrUnavailable, except after close.
func (p *pool) prepare(ctx context.Context, s *slot) error {
	if s.child != nil && s.child.ended() {
		p.Log.Warn("the program ended while it had no work; it is started again", "processor", p.name, "why", s.child.death())
		p.drop(s)
	}
	if s.child == nil {
		if err := p.backoff(ctx, s); err != nil {
			return err
		}
		c, err := p.start()
		if err != nil {
			p.failed(s)
			return p.unavailable(err)
		}
		s.child = c
	}
	if s.child.ready {
		return nil
	}
	err := s.child.handshake(ctx, p.hello(), p.StartTimeout)
	if err != nil && ctx.Err() == nil {
		s.child.kill(err)
		err = s.child.death()
		p.Log.Error("the program does not start", "processor", p.name, "why", err, "failures", s.failures+1)
	}
	if err != nil {
		return p.unavailable(err)
	}
	return nil
}

func (p *pool) unavailable(err error) error {
	select {
	case <-p.closing:
		return errClosed
	default:
	}
	return fmt.Errorf("exec: %w: the program does not start: %w", processors.ErrUnavailable, err)
}

// backoff waits as long as the failures of a slot demand.
func (p *pool) backoff(ctx context.Context, s *slot) error {
	if s.failures == 0 {
		return nil
	}
	wait := min(firstBackoff<<min(s.failures-1, 16), longestBackoff)
	t := time.NewTimer(time.Until(s.failed.Add(wait)))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-p.closing:
		return errClosed
	case <-ctx.Done():
		return p.unavailable(fmt.Errorf("it failed %d times, and is started again after %v: %w", s.failures, wait, context.Cause(ctx)))
	}
}

func (p *pool) hello() helloHeader {
	h := helloHeader{Version: version, Processor: p.name, Mode: p.Mode, Output: p.rendition.Name}
	if p.Output == outputNone {
		h.Output = ""
	}
	if p.Mode == modePictures {
		h.Format, h.Width, h.Height, h.FPS = p.Format, p.width, p.height, p.FPS
	}
	return h
}

// close ends the children when their fragments are done. It may be called again.
func (p *pool) close() error {
	p.closeOnce.Do(func() {
		close(p.closing)
		var all sync.WaitGroup
		for range p.Children {
			var s *slot
			select {
			case s = <-p.idle:
			case s = <-p.empty:
			}
			if s.child != nil {
				all.Go(func() { s.child.close(p.endTimeout) })
			}
		}
		all.Wait()
		p.starter.close()
	})
	return nil
}

// starter starts children from one thread, which lives as long as they do. The kernel
// sends a child the parent-death signal when the thread that started it ends, not the
// process.
type starter struct {
	once sync.Once
	jobs chan func()
	done chan struct{}
}

func (s *starter) start(cmd *osexec.Cmd) error {
	s.once.Do(func() {
		s.jobs, s.done = make(chan func()), make(chan struct{})
		go func() {
			defer close(s.done)
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			for f := range s.jobs {
				f()
			}
		}()
	})
	err := make(chan error)
	s.jobs <- func() { err <- cmd.Start() }
	return <-err
}

func (s *starter) close() {
	s.once.Do(func() {}) // none has been started
	if s.jobs != nil {
		close(s.jobs)
		<-s.done
	}
}
