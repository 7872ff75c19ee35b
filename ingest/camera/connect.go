package camera

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/framelog/framelog/ingest"
	"github.com/framelog/framelog/ingest/assemble"
	"github.com/framelog/framelog/schemas"
)

// connector makes the connections to one camera.
type connector struct {
	cfg     *Config
	deps    *Deps
	cam     schemas.Camera // with the stream that is connected alone
	name    string         // of the stream, in metrics
	m       *metrics
	status  *status
	trouble *troubleLog
	guard   guard
	sink    *sink
	source  ingest.Source // from the first connection on; nil again once it panicked
}

// soon is how long the pauses between attempts stay short after a good connection has
// ended: usually the camera is back within seconds, and footage is missing until
// then.
const soon = 10 * time.Second

// run connects again and again until ctx ends. Units go to rec. The timer
// takeOver is stopped while there is a connection. A source that has ended is not
// connected again.
func (c *connector) run(ctx context.Context, rec *lateRecorder, takeOver *time.Timer) {
	wait := c.cfg.ReconnectMin
	var ended time.Time // when a good connection ended
	c.sink.asm, c.sink.rec = nil, rec
	for {
		c.sink.begin(takeOver)
		began := time.Now()
		err := c.connect(ctx, rec)
		if !c.sink.flush() {
			c.sink.asm = nil // it panicked, so its state may be wrong
			rec.Truncate(schemas.ReasonSource)
		}
		if errors.Is(err, ingest.ErrEnded) {
			takeOver.Stop()
			c.status.state(schemas.StateEnded, nil)
			c.sink.log.Info("the camera's source has ended; all of it is recorded")
			<-ctx.Done()
		}
		if ctx.Err() != nil {
			return
		}
		if c.sink.connected {
			takeOver.Reset(c.cfg.OpenWait)
		}
		if err == nil {
			err = errEnded
		}
		if c.sink.connected && time.Since(began) > c.cfg.ReconnectMax {
			wait, ended = c.cfg.ReconnectMin, time.Now()
		}
		if time.Since(ended) < soon {
			wait = min(wait, 2*c.cfg.ReconnectMin)
		}
		c.status.state(stateOf(err), err)
		pause := wait/2 + rand.N(wait/2+1)
		c.trouble.tell(slog.LevelWarn, noConnection, slog.String("err", clean(err)), "state", stateOf(err))
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		wait = min(2*wait, c.cfg.ReconnectMax)
		c.m.reconnects.WithLabelValues(c.name).Inc()
	}
}

// connect makes one connection and delivers to the sink until it ends.
func (c *connector) connect(ctx context.Context, rec assemble.Recorder) error {
	return c.guard.run(func() error {
		src := c.source
		if c.source = nil; src == nil {
			src = c.deps.NewSource(c.cam)
		}
		if c.sink.asm == nil {
			c.sink.asm = c.deps.newAssembler(c.assemblerConfig(src.Live()), rec)
		}
		err := src.Run(ctx, c.sink)
		c.source = src // it did not panic, so its state is usable
		return err
	})
}

// assemblerConfig returns the settings of an assembler of this camera.
func (c *connector) assemblerConfig(live bool) assemble.Config {
	a := c.cfg.Assembler
	a.Camera, a.Live = c.name, live
	a.ChunkDuration = cmp.Or(c.cam.ChunkDuration(), a.ChunkDuration)
	a.Problem = func(p string) {
		if p != "" {
			c.trouble.tell(slog.LevelWarn, cameraProblem, slog.String("problem", p))
		} else {
			c.trouble.over(cameraProblem, "camera problem is over")
		}
		c.status.problem(problemSource, p)
	}
	return a
}
