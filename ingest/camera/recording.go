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

// desertedAfter is how long a camera's index must not grow before a fenced
// owner opens the log again: twice the longest fragment, since an entry comes
// at the end of its fragment.
const desertedAfter = 2 * time.Minute

// recording records one camera: it connects again and again, and writes the
// footage. Its faults, including panics, do not affect other cameras.
type recording struct {
	cfg       *Config
	deps      *Deps
	log       *slog.Logger
	m         *metrics
	reserve   *reserve
	cam       schemas.Camera
	status    *status
	guard     guard
	connector *connector
	intake    *intake
	ran       bool // Run was called before
}

func newRecording(cfg *Config, deps *Deps, m *metrics, res *reserve, log *slog.Logger, cam schemas.Camera) *recording {
	state := schemas.StateConnecting
	if cam.Disabled {
		state = schemas.StateDisabled
	}
	log = log.With("camera", cam.ID)
	st := newStatus(schemas.Status{Camera: cam.ID, Owner: cfg.Instance, Host: cfg.Host, State: state}, cfg.StatusEvery, deps.Registry)
	trouble, g := newTroubleLog(log), guard{panics: m.panics, log: log}
	return &recording{
		cfg: cfg, deps: deps, log: log, m: m, reserve: res, cam: cam, status: st, guard: g,
		connector: &connector{
			cfg: cfg, deps: deps, cam: cam, m: m, status: st, trouble: trouble, guard: g,
			sink: &sink{id: cam.ID, noAudio: cam.NoAudio, log: log, m: m, status: st, trouble: trouble, guard: g},
		},
		intake: &intake{status: st, trouble: trouble},
	}
}

// Run implements share.Work: it records until ctx ends, another owner has the
// log (errFenced), or the log has ended (errLogEnded).
func (c *recording) Run(ctx context.Context, reason string, mayOpen func() bool) error {
	err := c.guard.run(func() error { return c.run(ctx, reason, mayOpen) })
	c.ran = true
	switch {
	case errors.Is(err, errFenced):
		c.m.fenced.WithLabelValues(c.cam.ID).Inc()
		c.status.state(schemas.StateAway, err)
		return share.ErrFenced
	case errors.Is(err, errLogEnded):
		c.status.state(schemas.StateAway, err)
	case err != nil:
		// run itself has panicked; panics in connections do not reach it.
		c.status.state(schemas.StateAway, err)
		c.status.run(ctx)
	}
	return err
}

// Mute implements share.Work: it stops writing the status, or begins again.
func (c *recording) Mute(on bool) { c.status.mute(on) }

// run is one attempt of Run. When it returns, everything of the camera has
// ended.
func (c *recording) run(ctx context.Context, reason string, mayOpen func() bool) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	wg.Go(func() { c.status.run(ctx) })
	if c.cam.Disabled {
		<-ctx.Done()
		return nil
	}

	for _, v := range []*prometheus.CounterVec{c.m.reconnects, c.m.dropped, c.m.unreleased} {
		v.WithLabelValues(c.cam.ID) // so that the metric is there from the start, at 0
	}
	c.m.noSound.WithLabelValues(c.cam.ID)
	began := time.Now()
	rec := &lateRecorder{wrote: c.intake.wrote, firstAbsence: func() string { return c.absence(reason, time.Since(began)) }}
	rec.open = func(unit, absent string) Writer {
		if ctx.Err() != nil || !mayOpen() {
			return nil // by now another process has the camera
		}
		w := c.deps.Open(context.WithoutCancel(ctx), schemas.Topic{Camera: c.cam.ID}, medialog.OpenOptions{
			Writer: c.cfg.Instance, Host: c.cfg.Host, Reason: reason, Admit: c.reserve.Admit,
			Unit: unit, Absent: absent, Remember: c.status.standing, Session: c.status.session,
			Purged: c.deps.purges()[c.cam.ID].Lives,
			Create: func(ctx context.Context) (bool, error) { return c.deps.Registry.Live(ctx, c.cam.ID) },
		})
		wg.Go(func() { c.watch(ctx, w, cancel) })
		return w
	}
	// A camera that accepts only one client accepts no connection while the former
	// owner has one. So the log is opened without a connection, which ends the other
	// one. A deserted log has no such owner.
	takeOver := time.AfterFunc(c.cfg.OpenWait, func() {
		if reason != share.ReasonDeserted {
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

// WaitReclaim implements share.Work. It shows in the status that another process
// records this camera, and returns nil when the index has not grown for desertedAfter.
// It waits a while first: usually the group is about to report that the camera has
// moved, and then only the new owner may write the status.
func (c *recording) WaitReclaim(ctx context.Context) error {
	select {
	case <-time.After(2 * c.cfg.SessionTimeout):
	case <-ctx.Done():
		return ctx.Err()
	}
	c.log.Error("another ingest process still records the camera although the group assigned it to this one: "+
		"do two groups use one log? This process records it again when no other does", "err", errFenced)
	var wg sync.WaitGroup
	defer wg.Wait()
	showing, stop := context.WithCancel(ctx)
	defer stop()
	wg.Go(func() { c.status.run(showing) })
	look := time.NewTicker(desertedAfter / 8)
	defer look.Stop()
	end := int64(-1)
	var since time.Time // since when the index ends at end
	for {
		now, err := c.deps.IndexEnd(ctx, schemas.Topic{Camera: c.cam.ID})
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			end = -1 // if we cannot read, others cannot write either
		case now != end:
			end, since = now, time.Now()
		case time.Since(since) >= desertedAfter:
			return nil
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// longAway is how long a run waits for its first footage before the camera counts as the
// reason of the absence, and not what began the run.
const longAway = time.Minute

// absence returns why nothing was recorded before the first session of a run. reason is
// why share began the run (share.ReasonAdded, …). passed is how long the run has waited
// for its first footage.
func (c *recording) absence(reason string, passed time.Duration) string {
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
func (c *recording) watch(ctx context.Context, w Writer, end context.CancelCauseFunc) {
	slow := time.NewTimer(c.cfg.OpenWait)
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
