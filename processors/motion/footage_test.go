package motion

import (
	"testing"
	"time"

	"github.com/framelog/framelog/processors"
	"github.com/framelog/framelog/tests/testenv"
	"github.com/framelog/framelog/tests/testmedia"
)

// Real footage, and what a person sees in it: when something moves across the picture, and
// when nothing moves at all, in seconds. Of the rest nothing is asked: people stand and
// move their hands, shadows come before them.
var footage = []struct {
	file   string
	moves  [][2]float64
	stills [][2]float64
}{
	{"car-detection.mp4", [][2]float64{{5.2, 8.8}, {15, 19.2}, {25.6, 28}}, [][2]float64{{0, 4}, {10, 14}, {20, 24.6}, {28.6, 30}}},
	{
		"one-by-one-person-detection.mp4",
		[][2]float64{{6.2, 7.6}, {18.4, 19.6}, {23.2, 24.4}, {43.4, 44.8}, {50.6, 52}, {68.4, 69.6}, {75.2, 76.6}, {84.8, 86.4}, {92.6, 94}, {118.2, 119.6}, {124.2, 125.6}, {134.2, 135.6}},
		[][2]float64{{0, 5.6}, {20.6, 22.4}, {46, 50}, {71, 74.4}, {88, 92}, {121, 123}, {137.2, 139}},
	},
}

func TestFootage(t *testing.T) {
	testenv.SkipRace(t)
	need(t)
	p := newMotion(t, Settings{})
	for _, tt := range footage {
		t.Run(tt.file, func(t *testing.T) {
			clip := testmedia.Footage(t, tt.file, 0, 0)
			var spans [][2]float64
			until := 0.
			for _, f := range clip.Fragments(place, 5) {
				if until > 30 && !testenv.IsLong() {
					break
				}
				in := processors.NewFragment("cam", f.Entry, f.Chunks...)
				r, err := p.Collect(t.Context(), in)
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range r.Events {
					spans = append(spans, [2]float64{since(e.Start), since(e.End)})
				}
				until = since(f.Entry.End())
			}
			missed, moving := 0., 0.
			for _, m := range tt.moves {
				if m[1] <= until {
					moving += m[1] - m[0]
					missed += m[1] - m[0] - overlap(spans, m)
				}
			}
			wrong, still := 0., 0.
			for _, s := range tt.stills {
				if s[1] <= until {
					still += s[1] - s[0]
					wrong += overlap(spans, s)
				}
			}
			t.Logf("of %.1f s with motion %.1f s are missed, of %.1f s without %.1f s are taken; events at %.1f", moving, missed, still, wrong, spans)
			if missed > 0.05*moving || wrong > 0 {
				t.Error("that is too much")
			}
		})
	}
}

func since(at time.Time) float64 { return at.Sub(place.Start).Seconds() }

// overlap returns how much of a time is in spans, which do not overlap.
func overlap(spans [][2]float64, of [2]float64) (sum float64) {
	for _, s := range spans {
		sum += max(0, min(s[1], of[1])-max(s[0], of[0]))
	}
	return sum
}
