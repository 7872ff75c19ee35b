package camera

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/framelog/framelog/ingest"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/internal/share"
	"github.com/framelog/framelog/schemas"
)

// newest returns the options of the newest opening.
func (l *fakeLogs) newest() medialog.OpenOptions {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.opened[len(l.opened)-1]
}

// runFor runs camera a for d, as share does with a reason.
func runFor(t *testing.T, w *world, reason string, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	if err := newTestRecording(t, w, testCamera("a")).Run(ctx, reason, always); err != nil {
		t.Error(err)
	}
}

func TestAbsenceBeforeTheFirstSession(t *testing.T) {
	for name, tt := range map[string]struct {
		reason string
		before schemas.State // in the newest status of the camera
		wait   time.Duration // until the camera gives footage
		want   string
	}{
		"this process started":                      {reason: share.ReasonAssigned, before: schemas.StateLive, want: schemas.AbsentRestart},
		"nothing is known":                          {reason: share.ReasonAssigned, want: schemas.AbsentRestart},
		"another process had it":                    {reason: share.ReasonMoved, before: schemas.StateLive, want: schemas.AbsentHandover},
		"another process had it, and it is away":    {reason: share.ReasonMoved, before: schemas.StateAway, want: schemas.AbsentCamera},
		"another process had it, and did not begin": {reason: share.ReasonMoved, before: schemas.StateConnecting, want: schemas.AbsentRestart},
		"it was away before the restart":            {reason: share.ReasonAssigned, before: schemas.StateRefused, want: schemas.AbsentCamera},
		"it is away after the restart":              {reason: share.ReasonAssigned, before: schemas.StateLive, wait: 61 * time.Second, want: schemas.AbsentCamera},
		"it was slow after the restart":             {reason: share.ReasonAssigned, before: schemas.StateLive, wait: 10 * time.Second, want: schemas.AbsentRestart},
		"it was disabled":                           {reason: share.ReasonChanged, before: schemas.StateDisabled, want: schemas.AbsentDisabled},
		"its address was corrected":                 {reason: share.ReasonChanged, before: schemas.StateUnusable, want: schemas.AbsentCamera},
		"its record was changed":                    {reason: share.ReasonChanged, before: schemas.StateLive, want: schemas.AbsentDisabled},
		"it was removed":                            {reason: share.ReasonAdded, before: schemas.StateRemoved, want: schemas.AbsentDisabled},
		"no process wrote its log any more":         {reason: share.ReasonDeserted, before: schemas.StateAway, want: schemas.AbsentRestart},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				if tt.before != "" {
					w.registry.status["a"] = schemas.Status{Camera: "a", State: tt.before}
				}
				w.source = func(string, schemas.Camera) ingest.Source {
					return slow(tt.wait, func(ctx context.Context, s ingest.Sink) error {
						if err := steady(time.Second)(ctx, s); err != nil {
							return err
						}
						return steady(0)(ctx, s)
					})
				}
				runFor(t, w, tt.reason, tt.wait+5*time.Second)
				got := w.logs.of("a").absent
				// What comes later is the assembler's.
				if len(got) != 2 || got[0] != tt.want || got[1] != "" {
					t.Errorf("sessions after %q, want %q", got, tt.want)
				}
				if open := w.logs.newest(); tt.wait == 0 && open.Absent != tt.want {
					t.Errorf("opened after %q, want %q", open.Absent, tt.want)
				}
			})
		})
	}
}

// An opening names the first access unit that is recorded, if it has come.
func TestOpenNamesTheFirstUnit(t *testing.T) {
	for name, tt := range map[string]struct {
		wait time.Duration
		want string
	}{
		"with the first chunk": {0, schemas.UnitHash(make([]byte, 1000))},
		"without a connection": {6 * time.Second, ""},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				w.source = func(string, schemas.Camera) ingest.Source { return slow(tt.wait, steady(0)) }
				runFor(t, w, share.ReasonAssigned, 10*time.Second)
				if got := w.logs.newest().Unit; got != tt.want {
					t.Errorf("unit %q, want %q", got, tt.want)
				}
			})
		})
	}
}

// Where a camera's numbers stand survives the statuses of the processes that follow, also
// those that record nothing, and the camera's removal.
func TestNumbersAreRemembered(t *testing.T) {
	stands := schemas.Standing{Life: "5f3a91c2", Seq: 70, Session: 3}
	inBubble(t, func(t *testing.T, w *world) {
		w.registry.status["a"] = schemas.Status{Camera: "a", Stands: stands, Absent: 2, AbsentReason: schemas.AbsentCamera}
		w.registry.away(errors.New("no broker answers"))
		s := w.service(t, Config{})
		disabled := testCamera("a")
		disabled.Disabled = true
		take(s, disabled)
		after(10 * time.Second)
		if got := w.registry.of("a"); got.Owner != "" {
			t.Fatalf("a status is written before the one that knows the numbers is read: %+v", got)
		}
		w.registry.away(nil)
		after(2 * time.Second)
		if got := w.registry.of("a"); got.State != schemas.StateDisabled || got.Stands != stands || got.Absent != 2 {
			t.Errorf("status of a disabled camera: %+v", got)
		}

		take(s, testCamera("a"))
		after(time.Second)
		open := w.logs.newest()
		if got, err := open.Remember(t.Context()); got != stands || err != nil {
			t.Errorf("remembered %+v, %v", got, err)
		}
		next := schemas.Standing{Life: "5f3a91c2", Seq: 90, Session: 4}
		open.Session(next, 1500*time.Millisecond, schemas.AbsentDisabled)
		after(time.Millisecond)
		if got := w.registry.of("a"); got.Stands != next || got.Absent != 1.5 || got.AbsentReason != schemas.AbsentDisabled {
			t.Errorf("status after a session began: %+v", got)
		}

		s.cameras.Desired(1, nil)
		after(time.Second)
		if got := w.registry.of("a"); got.State != schemas.StateRemoved || got.Stands != next {
			t.Errorf("status of a removed camera: %+v", got)
		}
		finish(t, s)
	})
}

// A writer that opens before the brokers have told where the numbers stand waits for it,
// and recording goes on.
func TestRememberWaits(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.registry.away(errors.New("no broker answers"))
		_, end := runCamera(t, w, testCamera("a"))
		after(time.Second)
		open := w.logs.newest()
		soon, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := open.Remember(soon); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("remembered without brokers: %v", err)
		}
		w.registry.away(nil)
		if got, err := open.Remember(t.Context()); got != (schemas.Standing{}) || err != nil {
			t.Errorf("remembered %+v, %v of a new camera", got, err)
		}
		if n := w.logs.of("a").state().chunks; n < 10 {
			t.Errorf("%d chunks were recorded meanwhile", n)
		}
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}
