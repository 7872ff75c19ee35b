package camera

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/framelog/framelog/ingest"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/internal/share"
	"github.com/framelog/framelog/schemas"
)

// take gives a service partition 1 with cameras, as the group would.
func take(s *Service, cams ...schemas.Camera) {
	s.cameras.Assigned([]int32{1})
	s.cameras.Desired(1, cameraMap(cams...))
}

// recordedBy checks that this process records camera a.
func recordedBy(t *testing.T, w *world, owner string) {
	t.Helper()
	if wr := w.logs.of("a"); wr.owner != owner || time.Since(wr.state().last) > time.Second {
		t.Errorf("%s has the log, last written %v ago; want %s", wr.owner, time.Since(wr.state().last), owner)
	}
}

// finish ends a service as Run does.
func finish(t *testing.T, s *Service) {
	t.Helper()
	s.cameras.Close()
	if n := len(s.runs); n != 0 {
		t.Errorf("%d cameras are left", n)
	}
}

func TestCamerasFollowTheRegistry(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		s := w.service(t, Config{})
		if s.Ready() == nil {
			t.Error("ready before the group is joined")
		}
		s.cameras.Assigned([]int32{1})
		if s.Ready() == nil {
			t.Error("ready before the cameras are read")
		}
		a, b := testCamera("a"), testCamera("b")
		s.cameras.Desired(1, cameraMap(a, b))
		after(time.Second)
		if err := s.Ready(); err != nil {
			t.Error(err)
		}
		first, other := w.logs.of("a"), w.logs.of("b")
		if first == nil || other == nil {
			t.Fatal("cameras do not run")
		}
		if n := s.count(); n[schemas.StateLive] != 2 {
			t.Errorf("states %v", n)
		}

		a.Label = "Gate" // nothing to do
		s.cameras.Desired(1, cameraMap(a, b))
		after(time.Second)
		if w.logs.of("a") != first {
			t.Error("another label began the camera anew")
		}

		a.URL += "/2"
		s.cameras.Desired(1, cameraMap(a, b))
		after(time.Second)
		second := w.logs.of("a")
		if second == first || !first.isClosed() || w.logs.of("b") != other {
			t.Error("another URL did not begin this camera anew, and no other")
		}
		if _, got := w.logs.opens(); got != share.ReasonChanged {
			t.Errorf("opened because %q", got)
		}

		a.Disabled = true
		s.cameras.Desired(1, cameraMap(a, b))
		after(time.Millisecond)
		if !second.isClosed() || w.registry.of("a").State != schemas.StateDisabled {
			t.Errorf("disabled: %+v", w.registry.of("a"))
		}

		s.cameras.Desired(1, cameraMap(a))
		after(time.Millisecond)
		if !other.isClosed() || w.registry.removed() != "b" || w.registry.of("b").Camera != "" {
			t.Errorf("removed: closed %v, deleted %v", other.isClosed(), w.registry.removed())
		}
		finish(t, s)
	})
}

func TestRevoked(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		s := w.service(t, Config{})
		take(s, testCamera("a"), testCamera("b"))
		after(time.Second)
		a, b := w.logs.of("a"), w.logs.of("b")
		s.cameras.Revoked([]int32{1})
		after(time.Second)
		before := w.registry.of("a").Updated
		after(15 * time.Second)
		if w.registry.of("a").Updated != before {
			t.Error("a status was written by who is owner no more")
		}
		b.fence() // the new owner has it
		after(time.Second)
		if a.isClosed() || !b.isClosed() {
			t.Errorf("closed: %v, %v", a.isClosed(), b.isClosed())
		}
		if n := s.count(); n[schemas.StateLive] != 1 {
			t.Errorf("states %v", n)
		}
		after(15 * time.Second)
		if !a.isClosed() {
			t.Error("runs for more than 30 s after it was revoked")
		}
		if got := w.registry.removed(); got != "" {
			t.Errorf("deleted the status of %s, which others keep now", got)
		}
		finish(t, s)
	})
}

// Two owners at once must not fight: the one that is fenced waits for an assignment, or
// for the other to end.
func TestFencedByAnotherOwner(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		s := w.service(t, Config{})
		take(s, testCamera("a"))
		after(time.Second)
		w.logs.elsewhere("a", true)
		w.logs.of("a").fence()
		after(10 * time.Second)
		if got, _ := w.logs.opens(); got != "a" {
			t.Errorf("opened %s", got)
		}
		after(20 * time.Second)
		if st := w.registry.of("a"); st.State != schemas.StateAway || !strings.Contains(st.Error, "another ingest") {
			t.Errorf("status %+v", st)
		}
		s.cameras.Desired(1, cameraMap(testCamera("a"), testCamera("b"))) // something else has changed
		after(time.Minute)
		if got, _ := w.logs.opens(); got != "a b" {
			t.Errorf("opened %s", got)
		}
		s.cameras.Lost([]int32{1})
		take(s, testCamera("a"), testCamera("b"))
		after(time.Second)
		if got, _ := w.logs.opens(); got != "a b a" || w.logs.of("a").state().chunks == 0 {
			t.Errorf("after an assignment: opened %s", got)
		}

		w.logs.of("a").fence()
		after(time.Hour)
		s.cameras.Lost([]int32{1})
		w.logs.elsewhere("a", false)
		after(time.Hour)
		if got, _ := w.logs.opens(); got != "a b a" {
			t.Errorf("taken back by who may be owner no more: opened %s", got)
		}
		s.cameras.Assigned([]int32{1})
		s.cameras.Desired(1, cameraMap(testCamera("b")))
		after(time.Second)

		w.logs.elsewhere("b", true)
		w.logs.of("b").fence()
		after(time.Hour)
		w.logs.elsewhere("b", false)
		after(desertedAfter + time.Minute)
		got, why := w.logs.opens()
		if got != "a b a b" || why != share.ReasonDeserted || w.logs.of("b").state().chunks == 0 || w.registry.of("b").State != schemas.StateLive {
			t.Errorf("nobody else records: opened %s (%s), %+v", got, why, w.registry.of("b"))
		}
		finish(t, s)
	})
}

// The new owner is quicker than the old one, which had no log yet and must not
// take it any more: with its first picture, or because it gets none.
func TestReleasedBeforeItHasALog(t *testing.T) {
	for name, old := range map[string]ingest.Source{
		"late": slow(3*time.Second, steady(0)),
		"away": sourceFunc(func(context.Context, ingest.Sink) error { return ingest.ErrAway }),
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				w.source = func(instance string, _ schemas.Camera) ingest.Source {
					if instance == "one" {
						return old
					}
					return sourceFunc(steady(0))
				}
				one, two := w.service(t, Config{Instance: "one"}), w.service(t, Config{Instance: "two"})
				take(one, testCamera("a"))
				after(2 * time.Second)
				one.cameras.Revoked([]int32{1})
				take(two, testCamera("a"))
				after(time.Minute)
				if got, _ := w.logs.opens(); got != "a" {
					t.Errorf("opened %s", got)
				}
				recordedBy(t, w, "two")
				finish(t, one)
				finish(t, two)
			})
		})
	}
}

// The old owner opens its log just before it is told to release the camera, and the log
// takes its opening after the new owner's: no process would record once it ends.
func TestOpenedAcrossAHandover(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		one, two := w.service(t, Config{Instance: "one"}), w.service(t, Config{Instance: "two"})
		take(two, testCamera("a"))
		after(time.Second)
		take(one, testCamera("a"))
		after(time.Second) // the newest opening is the old owner's
		one.cameras.Revoked([]int32{1})
		after(time.Minute)
		if wr := w.logs.of("a"); wr.owner != "one" || !wr.isClosed() {
			t.Fatalf("%s has the log", wr.owner)
		}
		after(2 * desertedAfter)
		recordedBy(t, w, "two")
		finish(t, one)
		finish(t, two)
	})
}

// One that was taken back has no log until its first picture, and leaves like
// one that never had; so does one whose log has ended.
func TestReleasedBeforeItHasALogAgain(t *testing.T) {
	for name, end := range map[string]func(*fakeLogs){
		"taken back": func(l *fakeLogs) {
			l.of("a").fence()
			after(20*time.Second + desertedAfter + time.Minute)
		},
		"ended": func(l *fakeLogs) {
			l.of("a").end(medialog.ErrNoTopic)
			after(2 * time.Second)
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				var mu sync.Mutex
				away := false
				w.source = func(instance string, _ schemas.Camera) ingest.Source {
					return sourceFunc(func(ctx context.Context, s ingest.Sink) error {
						mu.Lock()
						defer mu.Unlock()
						if instance == "one" && away {
							return ingest.ErrAway
						}
						mu.Unlock()
						defer mu.Lock()
						return steady(0)(ctx, s)
					})
				}
				one, two := w.service(t, Config{Instance: "one", SessionTimeout: 10 * time.Second}), w.service(t, Config{Instance: "two"})
				take(one, testCamera("a"))
				after(time.Second)
				mu.Lock()
				away = true
				mu.Unlock()
				end(w.logs)
				one.cameras.Revoked([]int32{1})
				take(two, testCamera("a"))
				after(time.Second)
				mu.Lock()
				away = false
				mu.Unlock()
				after(time.Minute)
				if got, _ := w.logs.opens(); got != "a a" {
					t.Errorf("opened %s", got)
				}
				recordedBy(t, w, "two")
				finish(t, one)
				finish(t, two)
			})
		})
	}
}

// Two that both own a camera do not fight for its log while it is away, and its
// status says that it is.
func TestTwoOwnersOfACameraThatIsAway(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.source = func(string, schemas.Camera) ingest.Source {
			return sourceFunc(func(context.Context, ingest.Sink) error { return ingest.ErrAway })
		}
		one, two := w.service(t, Config{Instance: "one"}), w.service(t, Config{Instance: "two"})
		take(one, testCamera("a"))
		after(10 * time.Second)
		take(two, testCamera("a"))
		after(2 * time.Hour)
		if got, _ := w.logs.opens(); got != "a a" {
			t.Errorf("opened %s", got)
		}
		if st := w.registry.of("a"); st.State != schemas.StateAway || strings.Contains(st.Error, "another ingest") {
			t.Errorf("status %+v", st)
		}
		finish(t, one)
		finish(t, two)
	})
}

// A process that the group has given up and that has lost a camera's log too
// says nothing more of it: the new owner does.
func TestLostOwnerIsSilent(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		one, two := w.service(t, Config{Instance: "one"}), w.service(t, Config{Instance: "two"})
		take(one, testCamera("a"))
		after(time.Second)
		one.cameras.Lost([]int32{1})
		take(two, testCamera("a"))
		after(time.Second)
		for range 60 {
			after(time.Second)
			if st := w.registry.of("a"); st.Owner != "two" || st.State != schemas.StateLive {
				t.Fatalf("status %+v", st)
			}
		}
		two.cameras.Desired(1, nil)
		after(time.Hour)
		if st := w.registry.of("a"); st.Camera != "" {
			t.Errorf("removed, and has the status %+v", st)
		}
		one.cameras.Assigned([]int32{1})
		one.cameras.Desired(1, cameraMap(testCamera("a")))
		after(time.Second)
		recordedBy(t, w, "one")
		finish(t, one)
		finish(t, two)
	})
}

// A camera that takes one client only changes hands too: the new owner opens
// its log without a connection, which ends the old one's connection.
func TestCameraWithOneClient(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		seat := make(chan struct{}, 1)
		w.source = func(string, schemas.Camera) ingest.Source {
			return sourceFunc(func(ctx context.Context, s ingest.Sink) error {
				select {
				case seat <- struct{}{}:
				default:
					return ingest.ErrRefused
				}
				defer func() { <-seat }()
				return steady(0)(ctx, s)
			})
		}
		one, two := w.service(t, Config{Instance: "one"}), w.service(t, Config{Instance: "two"})
		take(one, testCamera("a"))
		after(time.Minute)
		first := w.logs.of("a")
		one.cameras.Revoked([]int32{1})
		take(two, testCamera("a"))
		after(4 * time.Second)
		if w.logs.of("a") != first || time.Since(first.state().last) > time.Second {
			t.Error("the old owner does not go on until the new one is there")
		}
		after(11 * time.Second)
		second := w.logs.of("a")
		if second == first || second.owner != "two" || time.Since(second.state().last) > time.Second {
			t.Errorf("the new owner does not record: %+v", second.state())
		}
		if st := w.registry.of("a"); st.Owner != "two" || st.State != schemas.StateLive {
			t.Errorf("status %+v", st)
		}
		finish(t, one)
		finish(t, two)
	})
}
