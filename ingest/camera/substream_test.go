package camera

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/framelog/framelog/ingest"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/internal/share"
	"github.com/framelog/framelog/schemas"
)

// withSub is a camera with two streams.
func withSub(id string) schemas.Camera {
	cam := testCamera(id)
	cam.NoAudio = true
	cam.Substream, cam.SubstreamUser, cam.SubstreamPassword = "rtsp://g/"+id+"/small", "viewer", "${file:"+id+"}"
	return cam
}

// bySub sets what the main streams and the second streams of all cameras do.
func (w *world) bySub(main, sub sourceFunc) {
	w.source = func(_ string, cam schemas.Camera) ingest.Source {
		if strings.HasSuffix(cam.URL, "/small") {
			return sub
		}
		return main
	}
}

func alwaysFails(context.Context, ingest.Sink) error {
	return fmt.Errorf("%w: no route to rtsp://viewer:%s@g/small", ingest.ErrAway, canary)
}

// A second stream is recorded into a log of its own, by the settings of the camera, and its
// state is told beside that of the main one.
func TestSubstream(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		connected := make(chan schemas.Camera, 8)
		w.source = func(_ string, cam schemas.Camera) ingest.Source {
			connected <- cam
			return steady(0)
		}
		s := w.service(t, Config{})
		cam := withSub("a")
		take(s, cam)
		after(time.Second)
		main, sub := w.logs.of("a"), w.logs.of("a/sub")
		if main == nil || sub == nil || main.state().chunks == 0 || sub.state().chunks == 0 {
			t.Fatalf("recorded: %v, %v", main, sub)
		}
		want, _ := cam.Sub()
		if x, y := <-connected, <-connected; (x != cam.Main() || y != want) && (y != cam.Main() || x != want) {
			t.Errorf("connected to %+v and %+v", x, y)
		}
		if st := w.registry.of("a"); st.State != schemas.StateLive || st.Substream == nil || st.Substream.State != schemas.StateLive || st.Substream.Width != 640 {
			t.Errorf("status %+v, substream %+v", st, st.Substream)
		}
		if n := s.count(); n[schemas.StateLive] != 1 {
			t.Errorf("cameras by state: %v", n)
		}

		s.cameras.Desired(1, cameraMap(cam.Main()))
		after(time.Second)
		if !sub.isClosed() {
			t.Error("the second stream goes on without its URL")
		}
		if st := w.registry.of("a"); st.State != schemas.StateLive || st.Substream != nil {
			t.Errorf("status %+v, substream %+v", st, st.Substream)
		}
		finish(t, s)
	})
}

// A second stream comes, changes and goes while the main one is recorded: nothing of that
// one's log and connection changes.
func TestSubstreamChanges(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		connected := map[string]int{}
		w.source = func(_ string, cam schemas.Camera) ingest.Source {
			w.logs.mu.Lock()
			defer w.logs.mu.Unlock()
			connected[cam.URL]++
			return steady(0)
		}
		s := w.service(t, Config{})
		cam := withSub("a")
		other, label := cam, cam
		other.Substream = "rtsp://g/a/smaller"
		label.Label = "Yard"
		take(s, cam.Main())
		after(time.Second)
		main := w.logs.of("a")
		next := schemas.Standing{Life: "5f3a91c2", Seq: 90, Session: 4}
		for _, step := range []struct {
			record schemas.Camera
			url    string // of the second stream
		}{{cam, cam.Substream}, {label, cam.Substream}, {other, other.Substream}, {cam.Main(), ""}, {other, other.Substream}} {
			before := w.logs.of("a/sub")
			s.cameras.Desired(1, cameraMap(step.record))
			after(11 * time.Second)
			sub, st := w.logs.of("a/sub"), w.registry.of("a")
			switch {
			case step.url == "":
				if !sub.isClosed() || st.Substream == nil || *st.Substream != (schemas.StreamStatus{Stands: next}) {
					t.Errorf("without a second stream: closed %v, %+v", sub.isClosed(), st.Substream)
				}
			case step.record == label:
				if sub != before || sub.isClosed() {
					t.Error("a label ends the second stream")
				}
			default:
				if sub == before || sub.isClosed() || sub.state().chunks == 0 || st.Substream == nil || st.Substream.State != schemas.StateLive {
					t.Errorf("%s: status %+v", step.url, st.Substream)
				}
				if before == nil { // its log says where its numbers stand
					w.logs.options("a/sub").Session(next, 0, "")
				} else if got, err := w.logs.options("a/sub").Remember(t.Context()); got != next || err != nil {
					t.Errorf("%s: remembered %+v, %v", step.url, got, err)
				}
			}
			if st.State != schemas.StateLive || w.logs.of("a") != main || main.isClosed() || main.state().sessions != 1 {
				t.Fatalf("%s: the main stream was disturbed: %+v", step.url, st)
			}
		}
		if got := main.state().longest; got > 100*time.Millisecond {
			t.Errorf("nothing was written for %v", got)
		}
		if n := connected[cam.URL]; n != 1 {
			t.Errorf("connected to the main stream %d times", n)
		}

		// What concerns both streams begins both anew.
		cam.NoAudio = false
		s.cameras.Desired(1, cameraMap(cam))
		after(time.Second)
		if !main.isClosed() || w.logs.of("a").state().chunks == 0 || w.registry.of("a").Substream.State != schemas.StateLive {
			t.Errorf("after another change: %+v", w.registry.of("a"))
		}
		finish(t, s)
	})
}

// Whatever becomes of one stream, the other one goes on.
func TestStreamsFailAlone(t *testing.T) {
	panics := func(_ context.Context, s ingest.Sink) error {
		_ = s.Tracks([]schemas.Track{{ID: schemas.VideoTrack, Codec: schemas.H264}})
		return s.Unit(ingest.Unit{Track: schemas.VideoTrack})
	}
	for name, tt := range map[string]struct {
		main, sub           sourceFunc
		mainState, subState schemas.State
		subError            string
	}{
		"the second is away":    {steady(0), alwaysFails, schemas.StateLive, schemas.StateAway, "no route to rtsp://***@g/small"},
		"the main one is away":  {alwaysFails, steady(0), schemas.StateAway, schemas.StateLive, ""},
		"the second panics":     {steady(0), panics, schemas.StateLive, schemas.StateAway, "camera: run: panic: rtsp://***@host/ broke the assembler"},
		"the second comes back": {steady(0), steady(5 * time.Second), schemas.StateLive, schemas.StateLive, ""},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				w.bySub(tt.main, tt.sub)
				c, end := runCamera(t, w, withSub("a"))
				after(9 * time.Second)
				st := w.registry.of("a")
				if st.State != tt.mainState || st.Substream.State != tt.subState || !strings.HasPrefix(st.Substream.Error, tt.subError) || tt.subError == "" && st.Substream.Error != "" {
					t.Errorf("status %+v, substream %+v", st, st.Substream)
				}
				for topic, state := range map[string]schemas.State{"a": tt.mainState, "a/sub": tt.subState} {
					log := w.logs.of(topic)
					if state == schemas.StateLive && (log == nil || log.isClosed() || log.state().chunks < 40) {
						t.Errorf("%s is not recorded: %+v", topic, log)
					}
				}
				if name == "the second is away" && w.logs.of("a/sub") != nil {
					t.Error("the log of a second stream was opened without footage")
				}
				if name == "the second comes back" && testutil.ToFloat64(c.m.reconnects.WithLabelValues("a/sub")) < 1 {
					t.Error("its reconnects are not counted")
				}
				if err := end(); err != nil {
					t.Error(err)
				}
				if strings.Contains(w.log.String()+w.registry.text(), canary) {
					t.Error("a password was told")
				}
			})
		})
	}
}

// A second stream has the life of the camera's footage, which is known when the main
// stream's log is open, or from the status where that log is empty.
func TestSubstreamLife(t *testing.T) {
	away := errors.New("no broker answers")
	for name, tt := range map[string]struct {
		life   string
		err    error
		stands string
		purged []string
		want   string
		fails  error
	}{
		"in the log":                 {life: "new", stands: "old", want: "new"},
		"the log is empty":           {stands: "old", want: "old"},
		"there is no log":            {err: medialog.ErrNoTopic, stands: "old", want: "old"},
		"nothing is known":           {fails: errNoLife},
		"it was purged":              {life: "old", purged: []string{"older", "old"}, fails: errNoLife},
		"it is remembered, purged":   {stands: "old", purged: []string{"old"}, fails: errNoLife},
		"the brokers do not answer":  {err: away, stands: "old", fails: away},
		"another life was purged":    {life: "new", purged: []string{"old"}, want: "new"},
		"the log is of a newer life": {life: "new", stands: "old", purged: []string{"old"}, want: "new"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				w.registry.status["a"] = schemas.Status{Camera: "a", Stands: schemas.Standing{Life: tt.stands}}
				c := newTestRecording(t, w, withSub("a"))
				c.deps.Life = func(_ context.Context, topic schemas.Topic) (string, error) {
					if !topic.IsRaw() {
						t.Errorf("asked for the life of %s", topic)
					}
					return tt.life, tt.err
				}
				c.deps.purges = func() map[string]share.Purge {
					return map[string]share.Purge{"a": {Purge: schemas.Purge{Lives: tt.purged}}}
				}
				ctx, end := context.WithCancel(t.Context())
				go c.status.run(ctx)
				if life, err := c.footageLife(t.Context()); life != tt.want || !errors.Is(err, tt.fails) {
					t.Errorf("life %q, %v, want %q, %v", life, err, tt.want, tt.fails)
				}
				end()
			})
		})
	}
}

// The options of the two logs.
func TestSubstreamOpens(t *testing.T) {
	stands := schemas.Standing{Life: "5f3a91c2", Seq: 70, Session: 3}
	next := schemas.Standing{Life: "5f3a91c2", Seq: 90, Session: 4}
	inBubble(t, func(t *testing.T, w *world) {
		w.registry.status["a"] = schemas.Status{Camera: "a", Stands: schemas.Standing{Life: "5f3a91c2", Seq: 7}, Substream: &schemas.StreamStatus{State: schemas.StateAway, Stands: stands}}
		s := w.service(t, Config{})
		take(s, withSub("a"))
		after(time.Second)
		main, sub := w.logs.options("a"), w.logs.options("a/sub")
		if main.Role != "" || main.Life != nil || sub.Role != schemas.RoleAlternative || sub.Life == nil {
			t.Errorf("opened with %+v and %+v", main, sub)
		}
		if sub.Absent != schemas.AbsentCamera {
			t.Errorf("nothing was recorded for %q, its stream was away before", sub.Absent)
		}
		if got, err := sub.Remember(t.Context()); got != stands || err != nil {
			t.Errorf("remembered %+v, %v", got, err)
		}
		sub.Session(next, 0, "")
		after(time.Millisecond)
		if st := w.registry.of("a"); st.Substream.Stands != next || st.Stands.Seq != 7 {
			t.Errorf("status after a session began: %+v, %+v", st, st.Substream)
		}

		// The numbers outlive the second stream, and the camera.
		s.cameras.Desired(1, cameraMap(testCamera("a")))
		after(11 * time.Second)
		if st := w.registry.of("a"); st.Substream == nil || *st.Substream != (schemas.StreamStatus{Stands: next}) {
			t.Errorf("substream of a camera that has none any more: %+v", st.Substream)
		}
		s.cameras.Desired(1, cameraMap(withSub("a")))
		after(time.Second)
		if got, err := w.logs.options("a/sub").Remember(t.Context()); got != next || err != nil {
			t.Errorf("remembered %+v, %v", got, err)
		}
		s.cameras.Desired(1, nil)
		after(time.Second)
		if st := w.registry.of("a"); st.State != schemas.StateRemoved || st.Substream == nil || st.Substream.Stands != next || st.Substream.State != "" {
			t.Errorf("status of a removed camera: %+v, %+v", st, st.Substream)
		}
		finish(t, s)
	})
}

// A camera goes to another process with both streams: the former owner records each until
// the new one has it.
func TestSubstreamIsHandedOver(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		s := w.service(t, Config{})
		take(s, withSub("a"))
		after(time.Second)
		main, sub := w.logs.of("a"), w.logs.of("a/sub")
		s.cameras.Revoked([]int32{1})
		main.fence()
		after(3 * time.Second)
		if !main.isClosed() || sub.isClosed() {
			t.Errorf("3 s after the main stream was taken: closed %v, %v", main.isClosed(), sub.isClosed())
		}
		before := sub.state().chunks
		after(time.Second)
		if sub.state().chunks == before {
			t.Error("the second stream is not recorded until the new owner has it")
		}
		sub.fence()
		after(time.Millisecond)
		if !sub.isClosed() || len(s.count()) != 0 {
			t.Errorf("goes on: closed %v, %v", sub.isClosed(), s.count())
		}
		finish(t, s)
	})
}

// If another process takes the camera, whose second stream it may not have, both count as
// away in the end.
func TestSubstreamEndsWithTheMainStream(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		c := newTestRecording(t, w, withSub("a"))
		ended := make(chan error, 1)
		go func() { ended <- c.Run(t.Context(), "test", always) }()
		after(time.Second)
		w.logs.of("a").fence()
		after(10 * time.Second)
		if err := <-ended; !errors.Is(err, share.ErrFenced) || c.status.current() != schemas.StateAway || c.sub.status.current() != schemas.StateAway {
			t.Errorf("%v, main %s, second %s", err, c.status.current(), c.sub.status.current())
		}
		if !w.logs.of("a/sub").isClosed() {
			t.Error("the second stream goes on")
		}
	})
}

// If another process takes the second stream alone, this one waits before it takes it back,
// and the main stream goes on.
func TestSubstreamIsTakenAlone(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		c, end := runCamera(t, w, withSub("a"))
		after(time.Second)
		main, sub := w.logs.of("a"), w.logs.of("a/sub")
		sub.fence()
		after(20 * time.Second)
		if main.isClosed() || w.logs.of("a/sub") != sub {
			t.Error("the main stream has ended, or the second was taken back at once")
		}
		if st := w.registry.of("a"); st.State != schemas.StateLive || st.Substream.State != schemas.StateAway {
			t.Errorf("status %+v, substream %+v", st, st.Substream)
		}
		after(15 * time.Second)
		if now := w.logs.of("a/sub"); now == sub || now.state().chunks == 0 {
			t.Error("the second stream is not recorded again")
		}
		if n := testutil.ToFloat64(c.m.fenced.WithLabelValues("a/sub")); n != 1 {
			t.Errorf("fenced %v times", n)
		}
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}
