package camera

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/internal/share"
	"github.com/framelog/framelog/schemas"
)

var (
	// errFenced: another ingest has opened the camera's log.
	errFenced = errors.New("another ingest process has taken over this camera's log")
	// errLogEnded: the log's topics were deleted, or the writer gave up.
	errLogEnded = errors.New("the camera's log has ended, and is opened again")
)

// stream records one stream of a camera: it connects again and again, and writes the
// footage into a log of its own.
type stream struct {
	cfg       *Config
	deps      *Deps
	log       *slog.Logger
	m         *metrics
	reserve   *reserve
	topic     schemas.Topic
	cam       schemas.Camera // with this stream alone
	status    *status
	guard     guard
	connector *connector
	intake    *intake
	ran       bool // it has recorded before

	// Of a second stream.
	life  func(context.Context) (string, error) // of the camera's footage
	taken chan struct{}                         // capacity 1: another process has opened the log
}

// of returns a stream with the parts that all streams have in common.
func (c stream) of(t schemas.Topic, cam schemas.Camera, st *status, log *slog.Logger) *stream {
	trouble, g := newTroubleLog(log), guard{panics: c.m.panics, log: log}
	c.topic, c.cam, c.status, c.log, c.guard = t, cam, st, log, g
	c.connector = &connector{
		cfg: c.cfg, deps: c.deps, cam: cam, name: t.String(), m: c.m, status: st, trouble: trouble, guard: g,
		sink: &sink{id: t.String(), noAudio: cam.NoAudio, log: log, m: c.m, status: st, trouble: trouble, guard: g},
	}
	c.intake = &intake{status: st, trouble: trouble}
	c.taken = make(chan struct{}, 1)
	return &c
}

// role is that of the stream's topic. A second stream has the same content, but its
// fragments do not begin where those of raw do: no player can change between them.
func (c *stream) role() schemas.Role {
	if c.topic.IsRaw() {
		return ""
	}
	return schemas.RoleAlternative
}

// keep records a second stream until ctx ends. Whatever becomes of it, the main stream
// goes on.
func (c *stream) keep(ctx context.Context, reason string, mayOpen func() bool) {
	for ctx.Err() == nil {
		select {
		case <-c.taken:
		default:
		}
		err := c.guard.run(func() error {
			ctx, end := context.WithCancelCause(ctx)
			return c.run(ctx, end, reason, mayOpen)
		})
		c.ran = true
		wait := c.cfg.ReconnectMin
		if errors.Is(err, errFenced) {
			// Usually the main stream goes to the other process too. If it does not, nobody
			// else should have this one.
			c.m.fenced.WithLabelValues(c.topic.String()).Inc()
			c.taken <- struct{}{}
			reason, wait = share.ReasonDeserted, c.cfg.ReleaseWait
		}
		if err != nil {
			c.status.state(schemas.StateAway, err)
			c.log.Warn("the camera's second stream is not recorded; it begins again", "err", clean(err), "in", wait)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

// run records until ctx ends, another owner has the log (errFenced), or the log has ended
// (errLogEnded). end ends ctx with a cause. When run returns, everything of the stream has
// ended.
func (c *stream) run(ctx context.Context, end context.CancelCauseFunc, reason string, mayOpen func() bool) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	defer end(nil)
	for _, v := range []*prometheus.CounterVec{c.m.reconnects, c.m.dropped, c.m.unreleased} {
		v.WithLabelValues(c.topic.String()) // so that the metric is there from the start, at 0
	}
	c.m.noSound.WithLabelValues(c.topic.String())
	began := time.Now()
	rec := &lateRecorder{wrote: c.intake.wrote, firstAbsence: func() string { return c.absence(reason, time.Since(began)) }}
	rec.open = func(unit, absent string) Writer {
		if ctx.Err() != nil || !mayOpen() {
			return nil // by now another process has the camera
		}
		w := c.deps.Open(context.WithoutCancel(ctx), c.topic, medialog.OpenOptions{
			Writer: c.cfg.Instance, Host: c.cfg.Host, Reason: reason, Admit: c.reserve.Admit,
			Unit: unit, Redo: schemas.IsReplay(c.cam.URL), Absent: absent, Remember: c.status.standing, Session: c.status.session,
			Purged: c.deps.purges()[c.cam.ID].Lives, Role: c.role(), Life: c.life,
			Create: func(ctx context.Context) (bool, error) { return c.deps.Registry.Live(ctx, c.cam.ID) },
		})
		wg.Go(func() { c.watch(ctx, w, end) })
		return w
	}
	// A camera that accepts only one client accepts no connection while the former
	// owner has one. So the log is opened without a connection, which ends the other
	// one. A deserted log has no such owner. A second stream ends with the main one.
	takeOver := time.AfterFunc(c.cfg.OpenWait, func() {
		if reason != share.ReasonDeserted && c.topic.IsRaw() {
			rec.openNow(nil)
		}
	})
	defer takeOver.Stop()

	c.connector.run(ctx, rec, takeOver)

	closing, stop := context.WithTimeout(context.WithoutCancel(ctx), c.cfg.CloseWait)
	defer stop()
	cause := context.Cause(ctx)
	if !errors.Is(cause, errFenced) && !errors.Is(cause, errLogEnded) {
		cause = nil
	}
	if err := rec.close(closing); err != nil && cause == nil {
		c.log.Warn("log was not closed cleanly; the next owner settles it", "err", clean(err))
	}
	return cause
}

// longAway is how long a run waits for its first footage before the camera counts as the
// reason of the absence, and not what began the run.
const longAway = time.Minute

// absence returns why nothing was recorded before the first session of a run. reason is
// why share began the run (share.ReasonAdded, …). passed is how long the run has waited
// for its first footage.
func (c *stream) absence(reason string, passed time.Duration) string {
	before := c.status.before()
	switch {
	case passed >= longAway:
		return schemas.AbsentCamera
	case reason == share.ReasonDeserted, c.ran:
		return schemas.AbsentRestart
	case before == schemas.StateAway, before == schemas.StateRefused, before == schemas.StateUnusable:
		return schemas.AbsentCamera
	case before == schemas.StateDisabled, before == schemas.StateRemoved, reason == share.ReasonAdded, reason == share.ReasonChanged:
		return schemas.AbsentDisabled
	case reason == share.ReasonMoved && before != schemas.StateConnecting: // a former owner that was connecting recorded nothing
		return schemas.AbsentHandover
	}
	return schemas.AbsentRestart
}

// watch waits until w is fenced or the log has ended, and then ends the run.
func (c *stream) watch(ctx context.Context, w Writer, end context.CancelCauseFunc) {
	wait := c.cfg.OpenWait
	if !c.topic.IsRaw() {
		wait *= 3 // first the main stream opens its log
	}
	slow := time.NewTimer(wait)
	defer slow.Stop()
	ready := w.Ready()
	for {
		select {
		case <-ready:
			ready = nil
			slow.Stop()
			c.status.problem(problemLog, "")
		case <-slow.C:
			c.status.problem(problemLog, "Kafka does not answer, and footage waits in memory: look at the brokers")
		case <-w.Fenced():
			switch err := w.Err(); {
			case ctx.Err() != nil: // the writer was closed
			case errors.Is(err, medialog.ErrFenced):
				end(errFenced)
			default:
				end(fmt.Errorf("%w: %w", errLogEnded, err))
			}
			return
		case <-ctx.Done():
			return
		}
	}
}
