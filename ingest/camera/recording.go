package camera

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/internal/share"
	"github.com/framelog/framelog/schemas"
)

// desertedAfter is how long a camera's index must not grow before a fenced
// owner opens the log again: twice the longest fragment, since an entry comes
// at the end of its fragment.
const desertedAfter = 2 * time.Minute

// recording records one camera: its main stream, and its second one if it has one. Its
// faults, including panics, do not affect other cameras.
type recording struct {
	*stream // the main one
	sub     *second
}

func newRecording(cfg *Config, deps *Deps, m *metrics, res *reserve, log *slog.Logger, cam schemas.Camera) *recording {
	state := schemas.StateConnecting
	if cam.Disabled {
		state = schemas.StateDisabled
	}
	st := newStatus(schemas.Status{Camera: cam.ID, Owner: cfg.Instance, Host: cfg.Host, State: state}, cfg.StatusEvery, deps.Registry)
	common := stream{cfg: cfg, deps: deps, m: m, reserve: res}
	c := &recording{stream: common.of(schemas.Topic{Camera: cam.ID}, cam.Main(), st, log.With("camera", cam.ID))}
	t := schemas.Topic{Camera: cam.ID, Rendition: schemas.Sub}
	c.sub = &second{topic: t, status: st, m: m, changed: make(chan struct{}, 1), record: cam, make: func(sub schemas.Camera, st *status) *stream {
		s := common.of(t, sub, st, log.With("camera", cam.ID, "rendition", schemas.Sub))
		s.life = c.footageLife
		return s
	}}
	c.sub.renew()
	return c
}

// Change implements share.Changer: another second stream, or none any more, does not
// concern the main one.
func (c *recording) Change(cam schemas.Camera) bool {
	if !cam.Main().Equal(c.cam) {
		return false
	}
	c.sub.set(cam)
	return true
}

// Run implements share.Work: it records until ctx ends, another owner has the
// log (errFenced), or the log has ended (errLogEnded).
func (c *recording) Run(ctx context.Context, reason string, mayOpen func() bool) error {
	err := c.guard.run(func() error { return c.run(ctx, reason, mayOpen) })
	c.ran = true
	switch {
	case errors.Is(err, errFenced):
		c.m.fenced.WithLabelValues(c.topic.String()).Inc()
		c.ended(err)
		return share.ErrFenced
	case errors.Is(err, errLogEnded):
		c.ended(err)
	case err != nil:
		// run itself has panicked; panics in connections do not reach it.
		c.ended(err)
		c.status.run(ctx)
	}
	return err
}

// ended notes that nothing of the camera is recorded.
func (c *recording) ended(err error) {
	c.status.state(schemas.StateAway, err)
	if sub := c.sub.current(); sub != nil {
		sub.status.state(schemas.StateAway, err)
	}
}

// Mute implements share.Work: it stops writing the status, or begins again.
func (c *recording) Mute(on bool) { c.status.mute(on) }

// run is one attempt of Run. When it returns, everything of the camera has
// ended.
func (c *recording) run(ctx context.Context, reason string, mayOpen func() bool) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	subCtx, stopSub := context.WithCancel(ctx)
	defer stopSub()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	wg.Go(func() { c.status.run(ctx) })
	if c.cam.Disabled {
		<-ctx.Done()
		return nil
	}
	wg.Go(func() { c.sub.run(subCtx, reason, mayOpen) })
	err := c.stream.run(ctx, cancel, reason, mayOpen)
	if sub := c.sub.current(); sub != nil && errors.Is(err, errFenced) {
		// The new owner takes the second stream with that one's first keyframe.
		select {
		case <-sub.taken:
		case <-time.After(c.cfg.OpenWait):
		case <-subCtx.Done():
		}
	}
	return err
}

// errNoLife: the log of the main stream has not been opened yet.
var errNoLife = errors.New("the camera's footage has no life yet")

// footageLife returns the life of the camera's footage, that of its main stream.
func (c *recording) footageLife(ctx context.Context) (string, error) {
	life, err := c.deps.Life(ctx, c.topic)
	if err != nil && !errors.Is(err, medialog.ErrNoTopic) {
		return "", err
	}
	if life == "" { // nothing is in its log: the writer that opens it takes the life from the status
		stood, err := c.status.standing(ctx)
		if err != nil {
			return "", err
		}
		life = stood.Life
	}
	if life == "" || slices.Contains(c.deps.purges()[c.cam.ID].Lives, life) {
		return "", errNoLife
	}
	return life, nil
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
		now, err := c.deps.IndexEnd(ctx, c.topic)
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
