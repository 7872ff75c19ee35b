package camera

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/framelog/framelog/ingest"
	"github.com/framelog/framelog/ingest/assemble"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/internal/share"
	"github.com/framelog/framelog/schemas"
)

var (
	// errFenced: another ingest has opened the camera's log.
	errFenced = errors.New("another ingest process has taken over this camera's log")
	// errLogEnded: the log's topics were deleted, or the writer gave up.
	errLogEnded = errors.New("the camera's log has ended, and is opened again")
	errEnded    = errors.New("connection ended")
)

// desertedAfter is how long a camera's index must not grow until the owner from
// whom the log was taken takes it back: twice the longest fragment, since the
// index tells of a fragment when it has ended.
const desertedAfter = 2 * time.Minute

// assembler is what a camera needs of an [assemble.Assembler].
type assembler interface {
	ingest.Sink
	Flush()
	Stats() assemble.Stats
	FrameTime(d time.Duration)
}

// camera runs one camera: it connects again and again, and records what comes.
// A fault of it, panics included, stays in here.
type camera struct {
	cfg     *Config
	deps    *Deps
	log     *slog.Logger
	trouble *troubleLog
	m       *metrics
	reserve *reserve
	cam     schemas.Camera
	board   *board
	source  ingest.Source // from the first connection on; nil again once it panicked
	asm     assembler     // of this run's recorder; made and trusted as the source is
	drops   drops         // of the source's goroutine
	noSound string        // the problem of the sound; of the source's goroutine
	// Of the recorder's goroutine: a chunk of this fragment or the one before was not
	// taken; and how much was not, since that was logged.
	refused    bool
	refusedFor time.Duration
}

func newCamera(cfg *Config, deps *Deps, m *metrics, res *reserve, log *slog.Logger, cam schemas.Camera) *camera {
	state := schemas.StateConnecting
	if cam.Disabled {
		state = schemas.StateDisabled
	}
	log = log.With("camera", cam.ID)
	return &camera{
		cfg: cfg, deps: deps, m: m, reserve: res, cam: cam,
		log: log, trouble: newTroubleLog(log),
		board: newBoard(schemas.Status{Camera: cam.ID, Owner: cfg.Instance, Host: cfg.Host, State: state},
			cfg.StatusEvery, deps.Registry.PutStatus),
	}
}

// Run is share.Work's: it records until ctx ends, another owner has the log
// (errFenced), or the log ends under it (errLogEnded).
func (c *camera) Run(ctx context.Context, reason string, mayOpen func() bool) error {
	err := c.protect(func() error { return c.run(ctx, reason, mayOpen) })
	switch {
	case errors.Is(err, errFenced):
		c.m.fenced.WithLabelValues(c.cam.ID).Inc()
		c.board.state(schemas.StateAway, err)
		return share.ErrFenced
	case errors.Is(err, errLogEnded):
		c.board.state(schemas.StateAway, err)
	case err != nil:
		// run itself has panicked, which connections cannot make it do.
		c.board.state(schemas.StateAway, err)
		c.board.run(ctx)
	}
	return err
}

// Mute is share.Work's: it stops the status from being written, or lets it go on.
func (c *camera) Mute(on bool) { c.board.mute(on) }

// run is Run for once. Nothing of the camera is left when it returns.
func (c *camera) run(ctx context.Context, reason string, mayOpen func() bool) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	wg.Go(func() { c.board.run(ctx) })
	if c.cam.Disabled {
		<-ctx.Done()
		return nil
	}

	for _, v := range []*prometheus.CounterVec{c.m.reconnects, c.m.dropped, c.m.unreleased} {
		v.WithLabelValues(c.cam.ID) // there from the start, at 0
	}
	c.m.noSound.WithLabelValues(c.cam.ID)
	rec := &lateRecorder{wrote: c.wrote}
	rec.open = func() Writer {
		if ctx.Err() != nil || !mayOpen() {
			return nil // it is another's to open by now
		}
		c.log.Info("log is opened", "reason", reason)
		w := c.deps.Open(context.WithoutCancel(ctx), schemas.Topic{Camera: c.cam.ID}, c.openOptions(reason))
		wg.Go(func() { c.watch(ctx, w, cancel) })
		return w
	}
	// A camera that takes one client only gives no connection as long as the
	// owner before has one: so the log is opened without, which ends that. A log
	// that is deserted has no such owner.
	force := reason != share.ReasonDeserted
	takeOver := time.AfterFunc(c.cfg.OpenWait, func() { rec.writer(force) })
	defer takeOver.Stop()

	c.connectOn(ctx, rec, takeOver)

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

// WaitReclaim is share.Work's. It shows in the status that another process
// records this camera, and returns nil when the index has not grown for
// desertedAfter. It waits a while before: mostly we are about to hear that the
// camera has moved, and its new owner's status must stand.
func (c *camera) WaitReclaim(ctx context.Context) error {
	select {
	case <-time.After(2 * c.cfg.SessionTimeout):
	case <-ctx.Done():
		return ctx.Err()
	}
	c.log.Error("camera stays with another ingest process although the group gave it to this one: "+
		"are there two groups on one log? It is taken back once nobody records it", "err", errFenced)
	var wg sync.WaitGroup
	defer wg.Wait()
	showing, stop := context.WithCancel(ctx)
	defer stop()
	wg.Go(func() { c.board.run(showing) })
	look := time.NewTicker(desertedAfter / 8)
	defer look.Stop()
	end := int64(-1)
	var since time.Time // of which end is known
	for {
		now, err := c.deps.IndexEnd(ctx, schemas.Topic{Camera: c.cam.ID})
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			end = -1 // others cannot write either if we cannot read
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

func (c *camera) openOptions(reason string) medialog.OpenOptions {
	return medialog.OpenOptions{
		Writer: c.cfg.Instance, Host: c.cfg.Host, Reason: reason, Admit: c.reserve.Admit,
	}
}

func (c *camera) assemblerConfig(live bool) assemble.Config {
	a := c.cfg.Assembler
	a.Camera, a.Live = c.cam.ID, live
	a.Problem = func(p string) {
		if p != "" {
			c.trouble.tell(slog.LevelWarn, cameraProblem, slog.String("problem", p))
		} else {
			c.trouble.over(cameraProblem, "camera problem is over")
		}
		c.board.problem(problemSource, p)
	}
	return a
}

// watch waits for the end of w's hold of the log, and ends the camera then.
func (c *camera) watch(ctx context.Context, w Writer, end context.CancelCauseFunc) {
	slow := time.NewTimer(c.cfg.OpenWait)
	defer slow.Stop()
	ready := w.Ready()
	for {
		select {
		case <-ready:
			ready = nil
			slow.Stop()
			c.board.problem(problemLog, "")
		case <-slow.C:
			c.board.problem(problemLog, "Kafka does not answer, and footage waits in memory: look at the brokers")
		case <-w.Fenced():
			switch err := w.Err(); {
			case ctx.Err() != nil: // it was closed
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

// wrote is told how the log took a chunk that lasts d, and whether it begins a
// fragment. A camera whose footage is refused is live too, with that as its problem.
func (c *camera) wrote(begins bool, d time.Duration, err error) {
	switch {
	case err != nil:
		c.refused = true
		text := cleanText(refusal(err))
		c.board.problem(problemRecord, notRecorded+": "+text)
		if errors.Is(err, medialog.ErrRefused) {
			c.refusedFor += d
			c.trouble.tell(slog.LevelWarn, notRecorded, slog.String("reason", text))
		}
	case begins && c.refused:
		// That a chunk is taken means little: Kafka may refuse it later, which
		// the chunks after it are told. So a fragment must be taken whole.
		c.refused = false
	case begins:
		c.board.problem(problemRecord, "")
		if c.trouble.over(notRecorded, "footage is recorded again", "not_recorded", c.refusedFor.Round(100*time.Millisecond)) {
			c.refusedFor = 0
		}
	}
	if err != nil && !errors.Is(err, medialog.ErrRefused) {
		return
	}
	if c.board.current() != schemas.StateLive {
		c.trouble.isLive()
		c.board.state(schemas.StateLive, nil)
	}
}

// refusal is why the log does not take a chunk, in words for a status.
func refusal(err error) string {
	_, reason, ok := strings.Cut(err.Error(), medialog.ErrRefused.Error()+": ")
	if !ok {
		return err.Error()
	}
	switch reason {
	case schemas.ReasonStorage:
		return "the disk has no room left for it, free some (storage)"
	case schemas.ReasonBudget, schemas.ReasonIndexBehind:
		return "Kafka does not take it fast enough, look at the brokers and their disks (" + reason + ")"
	case schemas.ReasonProduce:
		return "Kafka refuses it, the log of ingest says why (produce)"
	case schemas.ReasonTooLarge:
		return "Kafka takes no chunks of this size, lower the camera's bit rate (too-large)"
	}
	return reason
}

// soon is how long a camera whose good connection has ended is tried again
// without longer and longer pauses: mostly it is back within seconds, and each
// second of waiting is footage.
const soon = 10 * time.Second

// connectOn connects, and connects again, until ctx ends.
func (c *camera) connectOn(ctx context.Context, rec assemble.Recorder, takeOver *time.Timer) {
	c.asm = nil
	wait := c.cfg.ReconnectMin
	var lost time.Time // when a good connection ended
	for {
		t := &tap{c: c, takeOver: takeOver}
		began := time.Now()
		err := c.connect(ctx, t, rec)
		if !t.flush() {
			c.asm = nil // it panicked: what it holds cannot be trusted
			rec.Truncate(schemas.ReasonSource)
		}
		if ctx.Err() != nil {
			return
		}
		if t.connected {
			takeOver.Reset(c.cfg.OpenWait)
		}
		if err == nil {
			err = errEnded
		}
		if t.connected && time.Since(began) > c.cfg.ReconnectMax {
			wait, lost = c.cfg.ReconnectMin, time.Now()
		}
		if time.Since(lost) < soon {
			wait = min(wait, 2*c.cfg.ReconnectMin)
		}
		c.board.state(stateOf(err), err)
		pause := wait/2 + rand.N(wait/2+1)
		c.trouble.tell(slog.LevelWarn, noConnection, slog.String("err", clean(err)), "state", stateOf(err), "retry_in", pause.Round(time.Millisecond))
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		wait = min(2*wait, c.cfg.ReconnectMax)
		c.m.reconnects.WithLabelValues(c.cam.ID).Inc()
	}
}

// connect makes one connection and delivers to t until it ends.
func (c *camera) connect(ctx context.Context, t *tap, rec assemble.Recorder) error {
	return c.protect(func() error {
		src := c.source
		if c.source = nil; src == nil {
			src = c.deps.NewSource(c.cam)
		}
		if c.asm == nil {
			c.asm = c.deps.newAssembler(c.assemblerConfig(src.Live()), rec)
		}
		err := src.Run(ctx, t)
		c.source = src // it did not panic, so what it holds can be trusted
		return err
	})
}

// protect turns a panic of f into an error.
func (c *camera) protect(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			c.m.panics.Inc()
			err = fmt.Errorf("ingest: run camera: panic: %v", v)
			c.log.Error("camera panicked", "err", clean(err), "stack", string(debug.Stack()))
		}
	}()
	return f()
}

// tap is the sink of one connection. It stands between the source and the
// assembler and keeps the status.
type tap struct {
	c         *camera
	takeOver  *time.Timer
	connected bool // tracks were told
	broken    bool // the assembler panicked
}

// withAssembler runs f, unless the assembler has panicked before.
func (t *tap) withAssembler(f func(asm assembler) error) error {
	if t.broken {
		return errEnded
	}
	t.broken = true
	err := t.c.protect(func() error {
		err := f(t.c.asm)
		t.broken = false
		return err
	})
	return err
}

func (t *tap) Tracks(tracks []schemas.Track) error {
	t.takeOver.Stop()
	if t.c.cam.NoAudio {
		tracks = slices.DeleteFunc(slices.Clone(tracks), func(tr schemas.Track) bool { return !tr.Codec.Video() })
	}
	t.c.board.tracks(tracks)
	return t.withAssembler(func(asm assembler) error {
		t.connected = true
		err := asm.Tracks(tracks)
		if err != nil && !errors.Is(err, ingest.ErrUnsupported) {
			err = fmt.Errorf("%w: %w", ingest.ErrUnsupported, err)
		}
		return err
	})
}

func (t *tap) Unit(u ingest.Unit) error {
	if t.c.cam.NoAudio && u.Track != schemas.VideoTrack {
		return nil
	}
	t.c.board.unit(time.Now(), u.Track == schemas.VideoTrack, len(u.Data))
	return t.withAssembler(func(asm assembler) error { return asm.Unit(u) })
}

// dropsEvery is how often at most a camera's drops are logged.
const dropsEvery = 10 * time.Second

// drops is what was dropped and not logged yet.
type drops struct {
	units  uint64
	logged time.Time
}

// Observe counts what a connection lost, and logs it.
func (t *tap) Observe(e ingest.Event) {
	c := t.c
	switch e.Kind {
	case ingest.EventDropped:
		c.m.dropped.WithLabelValues(c.cam.ID).Add(float64(e.Units))
		c.drops.units += e.Units
		if time.Since(c.drops.logged) >= dropsEvery {
			c.logDrops()
		}
	case ingest.EventUnreleased:
		c.m.unreleased.WithLabelValues(c.cam.ID).Inc()
		c.log.Error("GStreamer has not released a connection to the camera; its memory is held until it does", "transport", e.Transport)
	case ingest.EventFrameTime:
		// An error is a panic, which the source's next call finds.
		_ = t.withAssembler(func(asm assembler) error { asm.FrameTime(e.FrameTime); return nil })
	case ingest.EventSound:
		c.sound(e.Problem)
	case ingest.EventFallback:
		c.trouble.tell(slog.LevelInfo, fallbackToUDP, slog.String("err", clean(e.Err)))
	default:
		if e.Kind == ingest.EventEnded && c.drops.units > 0 {
			c.logDrops()
		}
		c.log.Debug("connection", "step", e.Kind, "transport", e.Transport)
	}
}

// sound takes what is wrong with the camera's sound. It is logged when it
// changes: most cameras say the same at each connection.
func (c *camera) sound(problem string) {
	if c.cam.NoAudio {
		return
	}
	lost := c.m.noSound.WithLabelValues(c.cam.ID)
	lost.Set(0)
	if problem != "" {
		lost.Set(1)
		if problem != c.noSound {
			c.trouble.tell(slog.LevelWarn, noSoundRecorded, slog.String("problem", problem))
		}
	}
	c.noSound = problem
	c.board.problem(problemSound, problem)
}

func (c *camera) logDrops() {
	c.log.Warn("this machine does not keep up with the camera: units are dropped, pictures up to the next keyframe", "units", c.drops.units)
	c.drops = drops{logged: time.Now()}
}

// Tick tells the assembler the time, and the status what it has found out.
func (t *tap) Tick(now time.Time) error {
	return t.withAssembler(func(asm assembler) error {
		if err := asm.Tick(now); err != nil {
			return err
		}
		s := asm.Stats()
		if s.Width != 0 {
			t.c.board.size(s.Width, s.Height)
		}
		if s.Blocked != "" && t.c.board.current() != schemas.StateLive {
			t.c.board.state(schemas.StateUnusable, errors.New(s.Blocked))
		}
		return nil
	})
}

// flush ends the connection for the assembler, and reports whether that can be
// used again.
func (t *tap) flush() bool {
	if t.c.asm == nil {
		return true // the source was never made
	}
	return t.withAssembler(func(asm assembler) error { asm.Flush(); return nil }) == nil && !t.broken
}
