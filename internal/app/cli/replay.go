package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/framelog/framelog/ingest"
	"github.com/framelog/framelog/ingest/replay"
	"github.com/framelog/framelog/internal/app/config"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/internal/when"
	"github.com/framelog/framelog/schemas"
)

// ReplayEnv holds what ReplayCmd needs; kong passes it to its Run.
type ReplayEnv struct {
	// Connect is as in [Env].
	Connect func(ctx context.Context) (r Registry, brokers string, err error)
	// Store makes a client of the log; the command closes it.
	Store func() (store medialog.Store, closeStore func(), err error)
	// RTSP serves a replay at an address until the replay has ended, or ctx. started is
	// called with its URL, and problem with what is left out.
	RTSP func(ctx context.Context, addr string, r schemas.Replay, store medialog.Store, started func(url string) error, problem func(text string)) error
	Out  io.Writer
	// Terminal: Out is one, so that a line of progress may be replaced.
	Terminal bool
	// Timeout bounds each question to the brokers. Default 8 s.
	Timeout time.Duration
	// Every is the time between two looks at how far the replay is. Default 1 s.
	Every time.Duration
	// Now is the clock. Default time.Now.
	Now func() time.Time
}

// Time is a flag with a time in one of the forms of package when. Its value may begin with
// a dash.
type Time string

// Decode implements kong.MapperValue.
func (t *Time) Decode(ctx *kong.DecodeContext) error {
	next := ctx.Scan.Pop()
	text := next.String()
	if next.IsEOL() || text == "" || strings.HasPrefix(text, "--") {
		return errors.New("want a time: " + when.Forms)
	}
	*t = Time(text)
	return nil
}

// Parse returns the time. The error names the flag.
func (t Time) Parse(flag string, now time.Time) (time.Time, error) {
	at, ok := when.Parse(string(t), now)
	if !ok {
		return at, &UsageError{What: fmt.Sprintf("%s: %q is no time", flag, string(t)), Remedy: "give " + when.Forms}
	}
	return at, nil
}

// past is Parse, and refuses times that have not passed.
func (t Time) past(flag string, now time.Time) (time.Time, error) {
	at, err := t.Parse(flag, now)
	if err == nil && at.After(now) {
		err = &UsageError{What: fmt.Sprintf("%s: %s is in the future", flag, shownTime(at)), Remedy: "choose a range that has passed"}
	}
	return at, err
}

func shownTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// ReplayCmd is "framelog replay".
type ReplayCmd struct {
	Camera    string   `arg:"" optional:"" help:"Camera whose footage is repeated."`
	Rendition string   `help:"A rendition of the camera, with pictures." placeholder:"NAME" default:"raw"`
	From      Time     `help:"Begin with the fragment at this time: 2026-01-31T08:00:00Z, seconds since 1970, or -30m." placeholder:"TIME"`
	To        Time     `help:"End here. Default: now." placeholder:"TIME"`
	Speed     *float64 `help:"How many times as fast as it was recorded. Default: 1." placeholder:"N" xor:"speed"`
	Fast      bool     `help:"As fast as the log takes it." xor:"speed"`
	Loop      bool     `help:"Begin again at the end, until it is stopped."`
	ToCamera  string   `help:"Camera that the footage becomes. It is added, or is a replay already." placeholder:"ID" xor:"target"`
	RTSP      string   `name:"rtsp" help:"Serve the footage at this address instead, as a camera for other software. Without a host only this machine reaches it." placeholder:"HOST:PORT" xor:"target"`
	Insecure  bool     `help:"Let other machines reach --rtsp, without a password."`
	Replace   bool     `help:"End another replay that still runs into this camera."`
	Resume    bool     `help:"Go on with the replay of --to-camera, and show how far it is."`
}

// Run adds the replay to the registry, and shows how far it is until it is complete. When ctx
// ends, it stops the replay.
func (c *ReplayCmd) Run(ctx context.Context, env *ReplayEnv) error {
	if err := c.check(); err != nil {
		return err
	}
	reg, _, err := env.Connect(ctx)
	if err != nil {
		return err
	}
	defer reg.Close()
	store, closeStore, err := env.Store()
	if err != nil {
		return err
	}
	defer closeStore()
	if c.RTSP != "" {
		return c.serve(ctx, env, store)
	}
	f := &follower{env: env, store: store, reg: reg, id: c.ToCamera}
	if err := env.limit(ctx, func(ctx context.Context) error {
		if c.Resume {
			return f.resume(ctx)
		}
		return c.begin(ctx, f)
	}); err != nil {
		return err
	}
	err = f.follow(ctx)
	if ctx.Err() == nil {
		return err
	}
	return env.limit(context.WithoutCancel(ctx), f.stop)
}

// limit runs f, for at most Timeout.
func (e *ReplayEnv) limit(ctx context.Context, f func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(e.Timeout, 8*time.Second))
	defer cancel()
	err := f(ctx)
	if errors.Is(ctx.Err(), context.DeadlineExceeded) && errors.Is(err, context.DeadlineExceeded) {
		return &UsageError{What: "the brokers did not answer in time", Remedy: "look at the brokers, and at --brokers"}
	}
	return err
}

func (e *ReplayEnv) now() time.Time {
	if e.Now != nil {
		return e.Now()
	}
	return time.Now()
}

// check checks the arguments.
func (c *ReplayCmd) check() error {
	switch {
	case c.ToCamera == "" && c.RTSP == "":
		return &UsageError{What: "--to-camera or --rtsp is missing", Remedy: "the one makes a camera of the footage, the other serves it to other software"}
	case c.RTSP != "":
		if err := c.checkRTSP(); err != nil {
			return err
		}
	case schemas.ValidateCameraID(c.ToCamera) != nil:
		return &UsageError{What: "--to-camera: " + schemas.ValidateCameraID(c.ToCamera).Error()}
	case c.Resume && (c.Camera != "" || c.From != "" || c.To != ""):
		return &UsageError{What: "--resume goes on with the range that the replay has", Remedy: "leave camera, --from and --to out"}
	case c.Resume:
		return nil
	}
	switch {
	case c.Camera == "":
		return &UsageError{What: "the camera is missing whose footage is to be repeated"}
	case c.From == "":
		return &UsageError{What: "--from is missing", Remedy: "give " + when.Forms}
	case c.Speed != nil && (*c.Speed < schemas.MinReplaySpeed || *c.Speed > schemas.MaxReplaySpeed):
		return &UsageError{What: fmt.Sprintf("--speed: want %v to %v", schemas.MinReplaySpeed, schemas.MaxReplaySpeed), Remedy: "--fast has no limit"}
	case c.Fast && c.Loop:
		return &UsageError{What: "--fast and --loop together would fill the disk without end", Remedy: "leave one out, or give --speed"}
	case c.ToCamera == c.Camera:
		return &UsageError{What: "a camera cannot repeat its own footage", Remedy: "give another --to-camera"}
	}
	for _, err := range []error{schemas.ValidateCameraID(c.Camera), schemas.ValidateRendition(c.Rendition)} {
		if err != nil {
			return &UsageError{What: err.Error()}
		}
	}
	return nil
}

// checkRTSP checks the arguments of --rtsp.
func (c *ReplayCmd) checkRTSP() error {
	host, port, err := net.SplitHostPort(c.RTSP)
	switch {
	case err != nil || port == "":
		return &UsageError{What: fmt.Sprintf("--rtsp: %q is no address", c.RTSP), Remedy: "give host:port, or :port"}
	case c.Resume || c.Replace:
		return &UsageError{What: "--resume and --replace belong to --to-camera"}
	case c.Fast:
		return &UsageError{What: "an RTSP client cannot slow a camera down, so --fast has no limit there", Remedy: "give --speed"}
	}
	if host == "" && !c.Insecure {
		c.RTSP = "127.0.0.1" + c.RTSP
	}
	if !config.Loopback(c.RTSP) && !c.Insecure {
		return &UsageError{What: "--rtsp: other machines could watch the footage without a password", Remedy: "leave the host out, or allow it with --insecure"}
	}
	return nil
}

// serve serves the footage by RTSP.
func (c *ReplayCmd) serve(ctx context.Context, env *ReplayEnv, store medialog.Store) error {
	r, err := c.asked(env.now())
	if err != nil {
		return err
	}
	all, err := survey(ctx, store, r)
	if err != nil {
		return err
	}
	err = env.RTSP(ctx, c.RTSP, r, store, func(url string) error {
		_, err := fmt.Fprintf(env.Out, "%s has %s to %s of %s. It begins when the first client plays. Ctrl-C stops it.\n",
			url, shownTime(all.Start), shownTime(all.End), r.Of)
		return err
	}, func(problem string) { _, _ = fmt.Fprintln(env.Out, problem+".") })
	switch {
	case ctx.Err() != nil:
		return nil
	case errors.Is(err, ingest.ErrEnded):
		_, err = fmt.Fprintln(env.Out, "complete.")
	}
	return err
}

// asked returns the replay that the arguments ask for.
func (c *ReplayCmd) asked(now time.Time) (r schemas.Replay, err error) {
	r = schemas.Replay{Of: schemas.Topic{Camera: c.Camera, Rendition: c.Rendition}, To: now, Speed: 1, Loop: c.Loop, Run: fmt.Sprintf("%08x", rand.Uint32())}
	switch {
	case c.Fast:
		r.Speed = 0
	case c.Speed != nil:
		r.Speed = *c.Speed
	}
	if r.From, err = c.From.past("--from", now); err != nil {
		return r, err
	}
	if c.To != "" {
		if r.To, err = c.To.past("--to", now); err != nil {
			return r, err
		}
	}
	if !r.From.Before(r.To) {
		return r, &UsageError{What: "--from is not before --to"}
	}
	return r, nil
}

// begin writes the replay into the registry.
func (c *ReplayCmd) begin(ctx context.Context, f *follower) error {
	now := f.env.now()
	r, err := c.asked(now)
	if err != nil {
		return err
	}
	if f.all, err = survey(ctx, f.store, r); err != nil {
		return err
	}
	if f.all.End.Before(r.To) {
		r.To = f.all.End // what is recorded from now on does not belong to it
	}
	if err := c.free(ctx, f.reg); err != nil {
		return err
	}
	f.replay, f.since = r, now
	return f.reg.Put(ctx, schemas.Camera{
		ID: c.ToCamera, Label: "Replay of " + r.Of.String(), URL: r.URL(), Source: schemas.SourceAPI, Updated: now,
	})
}

// survey reads what there is of the range.
func survey(ctx context.Context, store medialog.Store, r schemas.Replay) (replay.Footage, error) {
	all, err := replay.Survey(ctx, store, r)
	for _, kind := range []error{ingest.ErrRefused, ingest.ErrUnsupported} {
		if errors.Is(err, kind) {
			_, text, _ := strings.Cut(err.Error(), kind.Error()+": ")
			return all, &UsageError{What: text}
		}
	}
	return all, err
}

// free returns an error if the replay may not become the camera.
func (c *ReplayCmd) free(ctx context.Context, reg Registry) error {
	have, err := reg.Load(ctx)
	if err != nil {
		return err
	}
	old, exists := have.Cameras[c.ToCamera]
	if !exists {
		return nil
	}
	if err := writable(old); err != nil {
		return err
	}
	state := have.Status[c.ToCamera].State
	switch {
	case !schemas.IsReplay(old.URL):
		return &UsageError{What: fmt.Sprintf("there is a camera %q already, which is no replay", c.ToCamera), Remedy: "give another --to-camera"}
	case old.Disabled || state == schemas.StateEnded || c.Replace:
		return nil
	}
	return &UsageError{
		What:   fmt.Sprintf("another replay into %q is not complete", c.ToCamera),
		Remedy: "--replace ends it; --resume shows how far it is",
	}
}

// follower shows how far a replay is.
type follower struct {
	env    *ReplayEnv
	store  medialog.Store
	reg    Registry
	id     string
	replay schemas.Replay
	all    replay.Footage
	since  time.Time // when the record was written

	shown bool   // a line of progress stands on the terminal
	told  string // the newest problem that was printed
}

// resume finds the replay in the registry, and starts it if it was stopped.
func (f *follower) resume(ctx context.Context) error {
	have, err := f.reg.Load(ctx)
	if err != nil {
		return err
	}
	cam, exists := have.Cameras[f.id]
	if !exists || !schemas.IsReplay(cam.URL) {
		return &UsageError{What: fmt.Sprintf("there is no replay %q", f.id), Remedy: "\"framelog cameras list\" shows all cameras"}
	}
	if f.replay, err = schemas.ParseReplay(cam.URL); err != nil {
		return &UsageError{What: err.Error()}
	}
	if f.all, err = survey(ctx, f.store, f.replay); err != nil {
		return err
	}
	if !cam.Disabled {
		return nil
	}
	if err := writable(cam); err != nil {
		return err
	}
	f.since = f.env.now()
	cam.Disabled, cam.Updated = false, f.since
	return f.reg.Put(ctx, cam)
}

// stop switches the replay off.
func (f *follower) stop(ctx context.Context) error {
	have, err := f.reg.Load(ctx)
	if err != nil {
		return err
	}
	cam, exists := have.Cameras[f.id]
	if !exists || cam.Source != schemas.SourceAPI || cam.URL != f.replay.URL() {
		return f.say("%s is another camera now, and goes on.", f.id)
	}
	cam.Disabled, cam.Updated = true, f.env.now()
	if err := f.reg.Put(ctx, cam); err != nil {
		return err
	}
	return f.say("stopped. Go on:  framelog replay --resume --to-camera %[1]s\n         remove: framelog cameras remove %[1]s --purge", f.id)
}

// untaken is after how long a replay that no process has begun is told.
const untaken = 15 * time.Second

// follow shows how far the replay is, until it is complete, ingest refuses it, or ctx ends.
func (f *follower) follow(ctx context.Context) error {
	if err := f.say("%s to %s of %s, %s in %s, becomes camera %s. Ctrl-C stops it.",
		shownTime(f.all.Start), shownTime(f.all.End), f.replay.Of, count(f.all.Fragments, "fragment"),
		schemas.FromTicks(f.all.Length).Round(time.Second), f.id); err != nil {
		return err
	}
	tick := time.NewTicker(cmp.Or(f.env.Every, time.Second))
	defer tick.Stop()
	for {
		done, err := f.look(ctx)
		if done || err != nil && ctx.Err() == nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// look looks once how far the replay is.
func (f *follower) look(ctx context.Context) (done bool, err error) {
	at, err := replay.Find(ctx, f.store, schemas.Topic{Camera: f.id}, f.replay)
	if err != nil {
		return false, err
	}
	status, err := f.reg.LastStatus(ctx, f.id)
	if err != nil {
		return false, err
	}
	fresh := !status.Updated.Before(f.since)
	if at.Ended(f.replay, f.all) || fresh && status.State == schemas.StateEnded {
		return true, f.say("complete. The footage stays in camera %[1]s; remove: framelog cameras remove %[1]s --purge", f.id)
	}
	switch problem := cmp.Or(status.Error, status.Problem); {
	case fresh && (status.State == schemas.StateRefused || status.State == schemas.StateUnusable):
		return true, &UsageError{What: fmt.Sprintf("%s: %s", f.id, oneLine(status.Error))}
	case fresh && problem != f.told && problem != "":
		f.told = problem
		return false, f.say("%s: %s", f.id, oneLine(problem))
	case !fresh && f.told == "" && !f.since.IsZero() && f.env.now().Sub(f.since) > untaken:
		f.told = "untaken"
		return false, f.say("no ingest process has taken it yet; is ingest running?")
	}
	return false, f.progress(ctx, at)
}

// progress prints how far the replay is, in place of the line before.
func (f *follower) progress(ctx context.Context, at replay.Position) error {
	if !f.env.Terminal || !at.Found || at.Seq == 0 {
		return nil
	}
	e, err := f.store.Entry(ctx, f.replay.Of, at.Seq)
	if err != nil {
		return nil //nolint:nilerr // it has expired meanwhile; the next one may be there
	}
	round := ""
	if f.replay.Loop {
		round = fmt.Sprintf(", round %d", at.Round+1)
	}
	part := float64(at.Seq-f.all.First+1) / float64(f.all.Last-f.all.First+1)
	f.shown = true
	_, err = fmt.Fprintf(f.env.Out, "\r%s: %s, %.0f %%%s\x1b[K", f.id, shownTime(e.End()), 100*part, round)
	return err
}

// say prints a line, below the progress.
func (f *follower) say(format string, args ...any) error {
	if f.shown {
		format, f.shown = "\n"+format, false
	}
	_, err := fmt.Fprintf(f.env.Out, format+"\n", args...)
	return err
}
