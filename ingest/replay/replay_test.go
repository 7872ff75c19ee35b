package replay

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/ingest"
	"github.com/framelog/framelog/schemas"
)

// TestCopies: at any speed the copies are the footage that was asked for, sample by sample,
// with its gaps, losses and sessions, in the time that the speed says. Public time is never
// ahead of the wall clock, and is the wall clock at the end.
func TestCopies(t *testing.T) {
	for _, speed := range []float64{1, 4, 0.5, 0} {
		t.Run(fmt.Sprint(speed), func(t *testing.T) {
			virtual(t, func(t *testing.T, e *env) {
				r := e.film()
				r.Speed = speed
				source, want := e.told(yard, r.From, false)
				length := source[len(source)-1].End().Sub(source[0].Start)

				var began, ended time.Time
				e.must(r, func(c *schemas.Chunk) {
					ended = time.Now()
					if began.IsZero() {
						began = ended
						if speed > 0 { // it comes when its last sample is due
							began = ended.Add(-time.Duration(float64(200*time.Millisecond) / speed))
						}
					}
					if ahead := time.Until(c.Start.Add(schemas.FromTicks(c.MediaEnd() - c.MediaStart()))); ahead > time.Millisecond {
						t.Errorf("public time is %v ahead", ahead)
					}
				})
				took, due := ended.Sub(began), time.Duration(0)
				if speed > 0 {
					due = time.Duration(float64(length) / speed)
				}
				if (took - due).Abs() > 10*time.Millisecond {
					t.Errorf("it took %v, want %v", took, due)
				}

				copies := e.checkCopy(copied, r, source, want)
				if t.Failed() {
					return
				}
				ends := began.Add(due)
				if speed > 0 && speed < 1 {
					ends = began.Add(length)
				}
				if d := copies[len(copies)-1].End().Sub(ends); d.Abs() > 10*time.Millisecond {
					t.Errorf("its public time ends %v away from %v", d, ends)
				}
			})
		})
	}
}

// TestRange: the fragments that overlap the range are repeated, whole.
func TestRange(t *testing.T) {
	virtual(t, func(t *testing.T, e *env) {
		r := e.film()
		source, _ := e.told(yard, r.From, false)
		r.From, r.To = source[1].Start.Add(300*time.Millisecond), source[2].Start.Add(time.Millisecond)
		e.must(r, nil)
		copies, got := e.told(copied, time.Time{}, false)
		_, want := e.told(yard, r.From, false)
		want = want[:2]
		want[1] = strings.Replace(want[1], "ended false", "ended true", 1) // nothing follows
		same(t, got, want)
		for i, x := range copies {
			for c, err := range e.log.Chunks(t.Context(), copied, x) {
				if n, ok := r.Round(c.Lineage); err != nil || c.Index == 0 && (!ok || n != 0 || c.Lineage.Seq != source[i+1].Seq || c.Lineage.Source != "cam.yard") {
					t.Errorf("fragment %d: lineage %+v, %v", i, c.Lineage, err)
				}
			}
		}
	})
}

func TestRefused(t *testing.T) {
	virtual(t, func(t *testing.T, e *env) {
		r := e.film()
		for _, c := range []struct {
			name   string
			change func(r *schemas.Replay)
			kind   error
			text   string
		}{
			{"nothing there", func(r *schemas.Replay) { r.From, r.To = r.From.Add(-time.Hour), r.From.Add(-time.Minute) }, ingest.ErrRefused, "yard has footage from " + clock(r.From) + " to " + clock(r.To)},
			{"unknown camera", func(r *schemas.Replay) { r.Of.Camera = "gate" }, ingest.ErrRefused, "nothing of gate is there"},
			{"future", func(r *schemas.Replay) { r.To = time.Now().Add(time.Minute) }, ingest.ErrRefused, "in the future"},
		} {
			x := r
			c.change(&x)
			if err := e.run(t.Context(), x, nil); !errors.Is(err, c.kind) || !contains(err, c.text) {
				t.Errorf("%s: %v, want %s", c.name, err, c.text)
			}
		}
		if _, _, err := e.log.Bounds(t.Context(), copied); err == nil {
			t.Error("a replay that is refused has opened the log")
		}

		// Its public time would step back by more than what ranges by time allow.
		r.Speed = 0
		e.must(r, nil)
		if err := (&player{replay: r, all: Footage{Length: schemas.Ticks(2 * time.Hour)}, from: Position{newest: time.Now()}}).start(t.Context()); !errors.Is(err, ingest.ErrRefused) {
			t.Errorf("a replay of two hours at once into a camera with footage: %v", err)
		}
		if err := (&player{replay: r, all: Footage{Length: schemas.Ticks(2 * time.Hour)}}).start(t.Context()); err != nil {
			t.Errorf("a replay of two hours at once into a new camera: %v", err)
		}
	})
}

func contains(err error, text string) bool { return err != nil && strings.Contains(err.Error(), text) }
