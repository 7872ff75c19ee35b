// Package copier is a processor for tests: it copies each camera into a rendition. Its
// processes share the cameras by a consumer group, as all processors do.
package copier

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/internal/share"
	"github.com/framelog/framelog/schemas"
)

// Variable is the environment variable that makes a test binary a copier: Config as
// JSON. See Main.
const Variable = "FRAMELOG_TEST_COPIER"

// Rendition is the rendition that a copier writes.
const Rendition = "copy"

// Config is the settings of a copier.
type Config struct {
	Brokers        []string
	Name           string        // of this process, in its `open`s
	SessionTimeout time.Duration // share.Config.SessionTimeout
}

// Main runs a copier, and ends the process, if Variable is set in its environment. A
// test calls it in TestMain, so that it can start its own binary as a copier.
func Main() {
	v, ok := os.LookupEnv(Variable)
	if !ok {
		return
	}
	var cfg Config
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	err := json.Unmarshal([]byte(v), &cfg)
	if err == nil {
		err = Run(ctx, cfg, log)
	}
	if err != nil {
		log.Error("the copier has ended", "err", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Run copies cameras until ctx ends.
func Run(ctx context.Context, cfg Config, log *slog.Logger) error {
	k := kafka.Config{Brokers: cfg.Brokers, ClientID: "copier"}
	l, err := medialog.Connect(medialog.Config{Kafka: k}, log, nil)
	if err != nil {
		return err
	}
	defer l.Close()
	cameras := share.New(share.Config{Kafka: k, Group: "copier", Doing: "copied", SessionTimeout: cfg.SessionTimeout}, role{cfg.Name, l}, log)
	return cameras.Run(ctx)
}

type role struct {
	writer string // this process's name in its `open`s
	log    *medialog.Log
}

// NewWork implements share.Role.
func (r role) NewWork(cam schemas.Camera) share.Work { return work{r, cam.ID} }

// Forget implements share.Role.
func (r role) Forget(string, bool) {}

// work copies one camera.
type work struct {
	role
	camera string
}

// WaitReclaim implements share.Work. It waits for nothing: the group's confirmation is
// enough.
func (w work) WaitReclaim(context.Context) error { return nil }

// Mute implements share.Work.
func (w work) Mute(bool) {}

// Run implements share.Work.
func (w work) Run(ctx context.Context, _ string, mayOpen func() bool) error {
	f, err := w.log.Follow(ctx, schemas.Topic{Camera: w.camera, Rendition: Rendition}, medialog.FollowOptions{
		Processor: "copier", Role: schemas.RoleVariant, Writer: w.writer, MayOpen: mayOpen,
	})
	if err == nil {
		c := &copying{work: w, follower: f, source: schemas.Topic{Camera: w.camera}}
		err = c.run(ctx)
		f.Close()
	}
	if errors.Is(err, medialog.ErrFenced) {
		return share.ErrFenced
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// copying copies one camera, one fragment after the other. It begins with a fragment's
// provisional chunks, and ends with its entry.
type copying struct {
	work
	follower *medialog.Follower
	source   schemas.Topic

	now   *medialog.Work // the unfinished fragment; nil: none is begun
	epoch int64          // of the source's copy that it uses
	used  uint32         // chunks of that
}

func (c *copying) run(ctx context.Context) error {
	next, _ := c.follower.Next()
	for e, err := range c.log.Tail(ctx, c.source, medialog.Position{Seq: max(next, 1)}) {
		switch {
		case err != nil:
		case e.Chunk != nil:
			err = c.early(ctx, e.Chunk)
		case e.Entry != nil:
			err = c.entry(ctx, *e.Entry)
		}
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// early copies a provisional chunk.
func (c *copying) early(ctx context.Context, chunk *schemas.Chunk) error {
	if next, _ := c.follower.Next(); chunk.Seq != next {
		return nil
	}
	if chunk.Index == 0 {
		switch err := c.begin(ctx, chunk); {
		case errors.Is(err, medialog.ErrDone):
			return nil
		case err != nil:
			return err
		}
	}
	if c.now == nil || chunk.Epoch != c.epoch || chunk.Index != c.used {
		return nil
	}
	return c.copy(ctx, chunk)
}

func (c *copying) begin(ctx context.Context, first *schemas.Chunk) error {
	c.drop()
	w, err := c.follower.Begin(ctx, first)
	if err != nil {
		return err
	}
	c.now, c.epoch, c.used = w, first.Epoch, 0
	return nil
}

func (c *copying) copy(ctx context.Context, chunk *schemas.Chunk) error {
	d := *chunk // Write changes it
	c.used++
	return c.now.Write(ctx, &d)
}

// entry ends a fragment.
func (c *copying) entry(ctx context.Context, e schemas.Entry) error {
	switch next, _ := c.follower.Next(); {
	case e.Seq < next:
		return nil
	case e.Seq > next:
		c.drop()
		// The tail has left out what has expired.
		if err := c.follower.SkipTo(ctx, schemas.ReasonExpired, e.Seq); err != nil {
			return err
		}
	}
	if e.Kind == schemas.KindGap {
		c.drop()
		return c.follower.Gaps(ctx, "", e)
	}
	err := c.fragment(ctx, e)
	switch {
	case errors.Is(err, medialog.ErrSourceChanged):
		return c.entry(ctx, e)
	case errors.Is(err, medialog.ErrExpired):
		c.drop()
		return c.follower.Gaps(ctx, schemas.ReasonExpired, e)
	case errors.Is(err, medialog.ErrDone):
		return nil
	}
	return err
}

func (c *copying) drop() {
	if c.now != nil {
		c.now.Drop()
		c.now = nil
	}
}

// fragment copies what is not copied yet of a fragment, and commits it.
func (c *copying) fragment(ctx context.Context, e schemas.Entry) error {
	if c.now == nil || c.epoch != e.Epoch || c.used < e.Chunks {
		for chunk, err := range c.log.Chunks(ctx, c.source, e) {
			if err != nil {
				return err
			}
			if chunk.Index == 0 && (c.now == nil || c.epoch != e.Epoch) {
				err = c.begin(ctx, chunk)
			}
			if err == nil && chunk.Index == c.used {
				err = c.copy(ctx, chunk)
			}
			if err != nil {
				return err
			}
		}
	}
	now := c.now
	c.now = nil
	_, err := now.Commit(ctx, e, medialog.Output{Used: c.used})
	return err
}
