package camera

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/framelog/framelog/ingest"
	"github.com/framelog/framelog/ingest/assemble"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
)

// inBubble runs f with a world whose time is made: waiting costs nothing.
func inBubble(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, newWorld(t)) })
}

// after lets d pass, and everything settle that happens meanwhile.
func after(d time.Duration) {
	time.Sleep(d) // of the bubble's clock
	synctest.Wait()
}

// always lets a camera open its log.
func always() bool { return true }

// newTestRecording makes the recording of a camera in a service of its own.
func newTestRecording(t *testing.T, w *world, cam schemas.Camera) *recording {
	t.Helper()
	s := w.service(t, Config{})
	return newRecording(&s.cfg, &s.deps, s.metrics, s.reserve, s.log, cam)
}

// runCamera runs a camera beside the test; the function ends it.
func runCamera(t *testing.T, w *world, cam schemas.Camera) (c *recording, end func() error) {
	t.Helper()
	c = newTestRecording(t, w, cam)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() { result <- c.run(ctx, "test", always) }()
	return c, func() error {
		cancel()
		return <-result
	}
}

func TestLogIsOpenedWithTheFirstChunk(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.source = func(string, schemas.Camera) ingest.Source { return slow(3*time.Second, steady(0)) }
		_, end := runCamera(t, w, testCamera("a"))
		after(3050 * time.Millisecond)
		if w.logs.of("a") != nil {
			t.Error("the log is open before there is a chunk")
		}
		if s := w.registry.of("a"); s.State != schemas.StateConnecting || s.Owner != "one" {
			t.Errorf("status %+v", s)
		}
		after(100 * time.Millisecond)
		log := w.logs.of("a")
		if log == nil {
			t.Fatal("the log is not open after the first chunk")
		}
		if got := log.state(); got.chunks != 1 || got.sessions != 1 {
			t.Errorf("after the first chunk: %+v", got)
		}
		if s := w.registry.of("a"); s.State != schemas.StateLive || s.Video != schemas.H264 || s.Width != 640 || s.Height != 360 {
			t.Errorf("status %+v", s)
		}
		after(20 * time.Second)
		if s := w.registry.of("a"); s.FPS != 10 || s.Bitrate != 80_000 {
			t.Errorf("status %+v", s)
		}
		if age := time.Since(w.registry.of("a").Updated); age > 10*time.Second {
			t.Errorf("status is %v old", age)
		}
		if err := end(); err != nil || !log.isClosed() {
			t.Errorf("ended with %v, log closed: %v", err, log.isClosed())
		}
	})
}

func TestLogIsOpenedWithoutConnection(t *testing.T) {
	for name, tt := range map[string]struct {
		source ingest.Source
		opens  bool
	}{
		"no connection": {sourceFunc(func(ctx context.Context, _ ingest.Sink) error { <-ctx.Done(); return ctx.Err() }), true},
		"refused":       {sourceFunc(func(context.Context, ingest.Sink) error { return ingest.ErrRefused }), true},
		"no keyframe":   {sourceFunc(mute), false},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				w.source = func(string, schemas.Camera) ingest.Source { return tt.source }
				_, end := runCamera(t, w, testCamera("a"))
				after(4900 * time.Millisecond)
				if w.logs.of("a") != nil {
					t.Error("open too early")
				}
				after(200 * time.Millisecond)
				if open := w.logs.of("a") != nil; open != tt.opens {
					t.Errorf("open: %v, want %v", open, tt.opens)
				}
				if err := end(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestStates(t *testing.T) {
	for name, tt := range map[string]struct {
		err  error
		want schemas.State
	}{
		"refused":     {fmt.Errorf("rtsp: connect: 401: %w", ingest.ErrRefused), schemas.StateRefused},
		"away":        {fmt.Errorf("rtsp: connect: %w", ingest.ErrAway), schemas.StateAway},
		"stalled":     {ingest.ErrStalled, schemas.StateAway},
		"unsupported": {fmt.Errorf("rtsp: vp8: %w", ingest.ErrUnsupported), schemas.StateUnusable},
		"unknown":     {errors.New("something"), schemas.StateAway},
		"ended":       {nil, schemas.StateAway},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				w.source = func(string, schemas.Camera) ingest.Source {
					return sourceFunc(func(context.Context, ingest.Sink) error {
						if tt.err == nil {
							return nil
						}
						return fmt.Errorf("rtsp://viewer:%s@host/:\n %w", canary, tt.err)
					})
				}
				_, end := runCamera(t, w, testCamera("a"))
				after(time.Second)
				s := w.registry.of("a")
				if s.State != tt.want || s.Error == "" {
					t.Errorf("status %+v, want state %s", s, tt.want)
				}
				if text := w.registry.text() + w.log.String(); strings.Contains(text, canary) {
					t.Errorf("the password is in %s", text)
				}
				if err := end(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// shortError knows what is wrong beside the chain that it stands in.
type shortError struct{}

func (shortError) Error() string { return "rtsp: camera is away: h/c: nothing listens at h:554" }
func (shortError) Short() string { return "nothing listens at h:554" }

// A status begins with what is wrong; the state says the kind.
func TestStatusSaysWhatIsWrong(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string
	}{
		{fmt.Errorf("connect: %w", shortError{}), "nothing listens at h:554"},
		{fmt.Errorf("ingest: begin video: %w: no SPS", ingest.ErrUnsupported), "no SPS"},
		{fmt.Errorf("connect: %w", ingest.ErrAway), "connect: camera is away"},
		{errors.New("secret ${file:a}: not there"), "secret ${file:a}: not there"},
		{fmt.Errorf("%w: at rtsp://viewer:%s@h/", ingest.ErrRefused, canary), "at rtsp://***@h/"},
	} {
		r := newFakeRegistry()
		b := newStatus(schemas.Status{Camera: "a"}, time.Second, r)
		b.state(schemas.StateAway, tt.err)
		b.write()
		if got := r.of("a").Error; got != tt.want {
			t.Errorf("%v is shown as %q, want %q", tt.err, got, tt.want)
		}
	}
}

func TestReconnects(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		var began []time.Time
		var ended time.Time
		w.source = func(string, schemas.Camera) ingest.Source {
			return sourceFunc(func(ctx context.Context, s ingest.Sink) error {
				began = append(began, time.Now())
				if len(began) == 12 { // long enough to be trusted again
					err := steady(time.Minute)(ctx, s)
					ended = time.Now()
					return err
				}
				return ingest.ErrAway
			})
		}
		_, end := runCamera(t, w, testCamera("a"))
		after(10 * time.Minute)
		want := 500 * time.Millisecond
		for i := 1; i < 12; i++ {
			if d := began[i].Sub(began[i-1]); d < want/2 || d > want {
				t.Errorf("attempt %d came after %v, want %v to %v", i, d, want/2, want)
			}
			want = min(2*want, 15*time.Second)
		}
		if d := began[12].Sub(began[11]) - time.Minute; d > 500*time.Millisecond {
			t.Errorf("after a good connection the next came after %v", d)
		}
		// It may be back within seconds: until then no pause is longer than 1 s.
		for i := 13; i < len(began); i++ {
			d := began[i].Sub(began[i-1])
			if early := began[i-1].Sub(ended) < soon; early && d > time.Second {
				t.Errorf("%v after a good connection the next attempt came after %v", began[i-1].Sub(ended), d)
			}
			if late := began[i].Sub(ended) > time.Minute; late && d < 7*time.Second {
				t.Errorf("%v after a good connection the next attempt came after %v", began[i].Sub(ended), d)
			}
		}
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}

// A source is used again, so that it can keep what it learnt of its camera.
func TestOneSourceForAllConnections(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		made, runs := 0, 0
		w.source = func(string, schemas.Camera) ingest.Source {
			made++
			return sourceFunc(func(context.Context, ingest.Sink) error { runs++; return ingest.ErrAway })
		}
		_, end := runCamera(t, w, testCamera("a"))
		after(time.Minute)
		if made != 1 || runs < 4 {
			t.Errorf("%d sources for %d connections", made, runs)
		}
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}

// What a connection loses on its way is counted, and logged with the camera's
// name, but not each time.
func TestDropsAreCountedAndLogged(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.source = func(string, schemas.Camera) ingest.Source {
			return sourceFunc(func(ctx context.Context, s ingest.Sink) error {
				o := s.(ingest.Observer)
				for range 100 {
					o.Observe(ingest.Event{Kind: ingest.EventDropped, Units: 3})
					time.Sleep(200 * time.Millisecond)
				}
				o.Observe(ingest.Event{Kind: ingest.EventUnreleased})
				o.Observe(ingest.Event{Kind: ingest.EventEnded})
				<-ctx.Done()
				return ctx.Err()
			})
		}
		c, end := runCamera(t, w, testCamera("a"))
		after(time.Minute)
		if n := testutil.ToFloat64(c.m.dropped.WithLabelValues("a")); n != 300 {
			t.Errorf("%v units are counted", n)
		}
		if n := testutil.ToFloat64(c.m.unreleased.WithLabelValues("a")); n != 1 {
			t.Errorf("%v unreleased connections are counted", n)
		}
		units, lines := 0, 0
		for line := range strings.Lines(w.log.String()) {
			if _, n, ok := strings.Cut(line, "units="); ok && strings.Contains(line, "camera=a") {
				var x int
				fmt.Sscan(n, &x)
				units, lines = units+x, lines+1
			}
		}
		if units != 300 || lines != 3 { // at once, after ten seconds, at the end
			t.Errorf("%d units in %d lines", units, lines)
		}
		if n := strings.Count(w.log.String(), "has not been released"); n != 1 {
			t.Errorf("%d lines about the unreleased connection", n)
		}
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}

// What a camera's SDP says of its frame time reaches the assembler before the
// tracks.
func TestFrameTimeReachesTheAssembler(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.source = func(string, schemas.Camera) ingest.Source {
			return sourceFunc(func(ctx context.Context, s ingest.Sink) error {
				s.(ingest.Observer).Observe(ingest.Event{Kind: ingest.EventFrameTime, FrameTime: 500 * time.Millisecond})
				<-ctx.Done()
				return ctx.Err()
			})
		}
		s := w.service(t, Config{})
		asm := &passAssembler{}
		s.deps.newAssembler = func(assemble.Config, assemble.Recorder) assembler { return asm }
		c := newRecording(&s.cfg, &s.deps, s.metrics, s.reserve, s.log, testCamera("a"))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- c.run(ctx, "test", always) }()
		after(time.Second)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if asm.frameTime != 500*time.Millisecond {
			t.Errorf("frame time is %v", asm.frameTime)
		}
	})
}

func TestPanicsHarmOneConnection(t *testing.T) {
	for name, bad := range map[string]sourceFunc{
		"source": func(context.Context, ingest.Sink) error { panic("rtsp://viewer:" + canary + "@host/ broke") },
		"assembler": func(_ context.Context, s ingest.Sink) error {
			if err := s.Tracks(nil); err != nil {
				return err
			}
			if err := s.Unit(ingest.Unit{}); err == nil {
				return errors.New("a panic gave no error")
			}
			return s.Unit(ingest.Unit{}) // once more
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				attempts := 0
				w.source = func(string, schemas.Camera) ingest.Source {
					return sourceFunc(func(ctx context.Context, s ingest.Sink) error {
						if attempts++; attempts == 1 {
							return bad(ctx, s)
						}
						return steady(0)(ctx, s)
					})
				}
				c, end := runCamera(t, w, testCamera("a"))
				after(5 * time.Second)
				if s := w.registry.of("a"); s.State != schemas.StateLive || s.Error != "" {
					t.Errorf("status %+v", s)
				}
				if text := w.registry.text() + w.log.String(); strings.Contains(text, canary) || !strings.Contains(text, "recording_test.go") {
					t.Errorf("want the stack and not the password in %s", text)
				}
				if c.status.current() != schemas.StateLive {
					t.Error("camera is not live")
				}
				if err := end(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestFencedCameraEnds(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		s := w.service(t, Config{})
		c := newRecording(&s.cfg, &s.deps, s.metrics, s.reserve, s.log, testCamera("a"))
		result := make(chan error, 1)
		go func() { result <- c.run(t.Context(), "test", always) }()
		after(time.Second)
		w.logs.of("a").fence()
		if err := <-result; !errors.Is(err, errFenced) {
			t.Errorf("ended with %v", err)
		}
	})
}

// TestLogEndedIsOpenedAgain: a topic that is deleted under its camera is no
// other owner; the camera records into a new one.
func TestLogEndedIsOpenedAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		s := w.service(t, Config{})
		take(s, testCamera("a"))
		after(time.Second)
		first := w.logs.of("a")
		first.end(medialog.ErrNoTopic)
		after(3 * time.Second)
		again := w.logs.of("a")
		if again == first || again.state().chunks == 0 {
			t.Error("the log was not opened again")
		}
		if st := w.registry.of("a"); st.State != schemas.StateLive {
			t.Errorf("status %+v", st)
		}
		finish(t, s)
	})
}

func TestDisabledCamera(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.source = func(string, schemas.Camera) ingest.Source { t.Error("connected"); return steady(0) }
		cam := testCamera("a")
		cam.Disabled = true
		_, end := runCamera(t, w, cam)
		after(time.Minute)
		if s := w.registry.of("a"); s.State != schemas.StateDisabled || time.Since(s.Updated) > 10*time.Second {
			t.Errorf("status %+v", s)
		}
		if err := end(); err != nil || w.logs.of("a") != nil {
			t.Errorf("ended with %v, log %v", err, w.logs.of("a"))
		}
	})
}

func TestReserve(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		free, fails := int64(100), error(nil)
		s := w.service(t, Config{ReservePath: "/data", ReserveBytes: 50})
		s.reserve.free = func(string) (int64, error) { return free, fails }
		for _, tt := range []struct {
			free int64
			err  error
			want string
		}{{100, nil, ""}, {49, nil, schemas.ReasonStorage}, {50, nil, ""}, {1, errors.New("gone"), ""}} {
			free, fails = tt.free, tt.err
			after(2 * time.Second)
			if got := s.reserve.Admit(); got != tt.want {
				t.Errorf("with %d free: %q, want %q", tt.free, got, tt.want)
			}
		}
	})
	if n, err := freeBytes(t.TempDir()); err != nil || n <= 0 {
		t.Errorf("freeBytes: %d, %v", n, err)
	}
}

func TestNoAudio(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.source = func(string, schemas.Camera) ingest.Source {
			return sourceFunc(func(ctx context.Context, s ingest.Sink) error {
				err := s.Tracks([]schemas.Track{{ID: schemas.VideoTrack, Codec: schemas.H264}, {ID: schemas.AudioTrack, Codec: schemas.AAC}})
				for range 3 {
					err = errors.Join(err, s.Unit(ingest.Unit{Track: schemas.AudioTrack, Captured: time.Now(), Data: []byte{1}}))
				}
				err = errors.Join(err, s.Unit(ingest.Unit{Track: schemas.VideoTrack, Captured: time.Now(), Data: []byte{1}}))
				if err != nil {
					return err
				}
				<-ctx.Done()
				return ctx.Err()
			})
		}
		cam := testCamera("a")
		cam.NoAudio = true
		_, end := runCamera(t, w, cam)
		after(time.Second)
		if n, st := w.logs.of("a").state().chunks, w.registry.of("a"); n != 1 || st.Audio != "" || st.Video != schemas.H264 {
			t.Errorf("%d chunks, status %+v", n, st)
		}
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}
