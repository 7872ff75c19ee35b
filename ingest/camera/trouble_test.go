package camera

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/ingest"
	"github.com/framelog/framelog/schemas"
)

// lines is the log's lines of a camera that hold one of the texts, by when they
// were written, since began.
func lines(w *world, began time.Time, texts ...string) (out []string) {
	for line := range strings.Lines(w.log.String()) {
		i := slices.IndexFunc(texts, func(text string) bool { return strings.Contains(line, text) })
		if i < 0 {
			continue
		}
		at, _, _ := strings.Cut(strings.TrimPrefix(line, "time="), " ")
		when, err := time.Parse(time.RFC3339Nano, at)
		if err != nil {
			out = append(out, err.Error())
			continue
		}
		out = append(out, fmt.Sprintf("%v %s", when.Sub(began).Round(time.Minute), texts[i]))
	}
	return out
}

func failing(err func(n int) error) func(string, schemas.Camera) ingest.Source {
	n := 0
	return func(string, schemas.Camera) ingest.Source {
		return sourceFunc(func(context.Context, ingest.Sink) error {
			n++
			return err(n)
		})
	}
}

// A trouble is logged at once, then after pauses that grow to an hour; with how
// often it was seen, and within what time.
func TestPausesOfTrouble(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		began := time.Now()
		l := newTroubleLog(slog.New(slog.NewTextHandler(w.log, nil)))
		for range 4 * 360 { // every 10 s for four hours
			l.tell(slog.LevelWarn, noConnection, slog.String("err", "video is vp8"))
			after(10 * time.Second)
		}
		want := "[0s vp8 1m0s vp8 3m0s vp8 7m0s vp8 15m0s vp8 31m0s vp8 1h3m0s vp8 2h3m0s vp8 3h3m0s vp8]"
		if got := fmt.Sprint(lines(w, began, "vp8")); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		if last := " times=1099 within=3h3m0s\n"; !strings.HasSuffix(w.log.String(), last) {
			t.Errorf("the last line does not end with %q", last)
		}
	})
}

// What a camera cannot be connected for is logged seldom, however its texts
// change.
func TestTroubleIsLoggedSeldom(t *testing.T) {
	for name, tt := range map[string]struct {
		err   func(n int) error
		texts []string
		most  int // lines in 6 h
	}{
		"one text":      {func(int) error { return fmt.Errorf("%w: video is vp8", ingest.ErrUnsupported) }, []string{"vp8"}, 12},
		"two by turns":  {func(n int) error { return []error{errors.New("broke off"), errors.New("no answer")}[n%2] }, []string{"broke off", "no answer"}, 24},
		"with a number": {func(n int) error { return fmt.Errorf("clock jumped by %ds", n) }, []string{"clock jumped"}, 12},
		"always new":    {func(n int) error { return errors.New("odd " + strings.Repeat("x", n%5)) }, []string{"odd"}, 60},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				w.source = failing(tt.err)
				began := time.Now()
				_, end := runCamera(t, w, testCamera("a"))
				after(6 * time.Hour)
				got := lines(w, began, tt.texts...)
				if err := end(); err != nil {
					t.Error(err)
				}
				if len(got) > tt.most || len(got) < 8 {
					t.Errorf("%d lines in six hours, want 8 to %d:\n%s", len(got), tt.most, strings.Join(got, "\n"))
				}
			})
		})
	}
}

// once sends one picture, and ends after d.
func once(d time.Duration) sourceFunc {
	return func(ctx context.Context, s ingest.Sink) error {
		if err := s.Tracks([]schemas.Track{{ID: schemas.VideoTrack, Codec: schemas.H264}}); err != nil {
			return err
		}
		if err := s.Unit(ingest.Unit{Track: schemas.VideoTrack, Captured: time.Now(), Data: make([]byte, 10)}); err != nil {
			return err
		}
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// A camera that was live and goes is logged as gone, and one that comes and goes
// for ever is not logged each time, and the log's last word is right.
func TestTroubleAfterLive(t *testing.T) {
	for name, tt := range map[string]struct {
		live, away time.Duration
		most       int // lines in 6 h
	}{
		"seldom": {2 * time.Hour, time.Hour, 40},
		"flaps":  {20 * time.Second, 20 * time.Second, 100},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				began := time.Now()
				const day = 6 * time.Hour // and then it is away for good
				w.source = func(string, schemas.Camera) ingest.Source {
					return sourceFunc(func(ctx context.Context, s ingest.Sink) error {
						if time.Since(began) < day && time.Since(began)%(tt.live+tt.away) < tt.live {
							return once(tt.live-time.Since(began)%(tt.live+tt.away))(ctx, s)
						}
						return errors.New("no answer")
					})
				}
				_, end := runCamera(t, w, testCamera("a"))
				after(day)
				got := lines(w, began, noConnection, "camera is live")
				if len(got) > tt.most || len(got) < 6 {
					t.Errorf("%d lines in six hours, want 6 to %d:\n%s", len(got), tt.most, strings.Join(got, "\n"))
				}
				after(liveHolds + time.Minute)
				got = lines(w, began, noConnection, "camera is live")
				if last := got[len(got)-1]; !strings.HasSuffix(last, noConnection) {
					t.Errorf("the last line of a camera that is away is %q", last)
				}
				if err := end(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// Of a problem of a live camera the end is logged too.
func TestProblemsAreLoggedAtTheirChange(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		began := time.Now()
		l := newTroubleLog(slog.New(slog.NewTextHandler(w.log, nil)))
		for range 6 { // a problem every 30 s, for a while
			l.tell(slog.LevelWarn, cameraProblem, slog.String("problem", "packets are lost"))
			after(15 * time.Second)
			l.over(cameraProblem, "camera problem is over")
			after(15 * time.Second)
		}
		want := "[0s packets are lost 0s is over 1m0s packets are lost 1m0s is over]"
		if got := fmt.Sprint(lines(w, began, "packets are lost", "is over")); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	})
}

// Of a camera's start the log has one line here: medialog's own tells of the opening.
// A camera that refuses has no time of the next attempt in its line, since what was
// refused waits by itself.
func TestLinesOfAStart(t *testing.T) {
	for want, source := range map[string]func(string, schemas.Camera) ingest.Source{
		"level=INFO msg=\"camera is live\" instance=one camera=a\n": func(string, schemas.Camera) ingest.Source {
			return sourceFunc(once(time.Hour))
		},
		"level=WARN msg=\"camera has no connection\" instance=one camera=a err=\"camera refuses\" state=refused\n": func(string, schemas.Camera) ingest.Source {
			return sourceFunc(func(context.Context, ingest.Sink) error { return ingest.ErrRefused })
		},
	} {
		inBubble(t, func(t *testing.T, w *world) {
			w.source = source
			_, end := runCamera(t, w, testCamera("a"))
			after(20 * time.Second)
			var got string
			for line := range strings.Lines(w.log.String()) {
				_, line, _ = strings.Cut(line, " ")
				got += line
			}
			if got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			if err := end(); err != nil {
				t.Error(err)
			}
		})
	}
}
