package motion

import (
	"fmt"
	"math"
	"testing"

	"github.com/framelog/framelog/processors/video"
	"github.com/framelog/framelog/tests/testenv"
)

// clock is the time of day that a camera writes into the picture.
func clock(x, y, h float64, format func(ms int) string) text {
	return text{x, y, h, func(t float64) string { return format(int(math.Round((t + 45296) * 1000))) }}
}

func hms(ms int) string {
	return fmt.Sprintf("2026 11 28 %02d %02d %02d", ms/3600000%24, ms/60000%60, ms/1000%60)
}

func millis(ms int) string {
	return fmt.Sprintf("%02d %02d %02d %03d", ms/3600000%24, ms/60000%60, ms/1000%60, ms%1000)
}

func frames(ms int) string { return fmt.Sprintf("%07d", ms/40) }

// lamp lights a part of the wall, and throws a shadow. on is 0 to 1.
func lamp(x, y, on float64) float64 {
	s := 0.5 + on*0.8*math.Exp(-4*((x-0.3)*(x-0.3)+(y-0.2)*(y-0.2)))
	if y > 0.5+0.6*(x-0.4) && y < 0.8+0.3*(x-0.4) {
		s *= 1 - 0.4*on
	}
	return s
}

func after(t, at float64) float64 {
	if t < at {
		return 0
	}
	return 1
}

// stills are scenes in which nothing moves.
var stills = map[string]scene{
	"no noise":             {},
	"noise":                {noise: 4},
	"strong noise":         {noise: 20},
	"a light, all at once": {noise: 3, light: func(t float64) float64 { return 0.4 + 0.7*after(math.Mod(t, 4), 1.7) }},
	"a lamp with a shadow": {noise: 3, shine: func(x, y, t float64) float64 { return lamp(x, y, after(math.Mod(t, 4), 1.7)) }},
	"a lamp that warms up": {noise: 3, shine: func(x, y, t float64) float64 { return lamp(x, y, max(0, min(1, (math.Mod(t, 4)-1)/2))) }},
	"clouds":               {noise: 3, light: func(t float64) float64 { return 0.75 + 0.35*math.Sin(t/2) }},
	"mains flicker":        {noise: 3, light: func(t float64) float64 { return 1 + 0.04*math.Sin(17*t) }},
	"a blinking light": {noise: 3, shine: func(x, y, t float64) float64 {
		return 1 + 0.8*after(0.05, math.Hypot(x-0.5, y-0.5))*after(math.Mod(t, 1), 0.5)
	}},
	"a clock":               {noise: 3, texts: []text{clock(0.02, 0.02, 0.05, hms)}},
	"a large clock":         {noise: 3, texts: []text{clock(0.02, 0.02, 0.12, hms)}},
	"a clock of ms":         {noise: 3, texts: []text{clock(0.6, 0.9, 0.05, millis)}},
	"a large clock of ms":   {noise: 3, texts: []text{clock(0.3, 0.4, 0.12, millis), clock(0.3, 0.6, 0.08, frames)}},
	"a keyframe a second":   {noise: 2, sharp: func(t float64) float64 { return 1 - 0.8*math.Mod(t, 1) }},
	"keyframes are coarser": {noise: 2, sharp: func(t float64) float64 { return 0.3 + 0.35*math.Mod(t, 2) }},
}

func TestNothingMoves(t *testing.T) {
	testenv.SkipRace(t)
	seconds, seeds := 4., uint64(1)
	if testenv.IsLong() {
		seconds, seeds = 120, 5
	}
	for name, s := range stills {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for s.seed = range seeds {
				film := s.film(0, seconds)
				for _, length := range lengths() {
					for i, f := range found(t, Camera{}, film, length) {
						if len(f.Spans) > 0 || len(f.Pictures) > 0 {
							t.Errorf("fragment %d of %g s: %+v", i, length, f.Spans)
						}
					}
				}
			}
		})
	}
}

// lengths are those of the fragments into which a film is cut, in seconds.
func lengths() []float64 {
	if testenv.IsLong() {
		return []float64{1, 4}
	}
	return []float64{4}
}

// along moves from the left to the right.
func along(from, speed, y float64) func(t float64) (float64, float64) {
	return func(t float64) (float64, float64) { return from + speed*t, y }
}

var person = thing{w: 0.07, h: 0.3, grey: 60, dots: 40, at: along(-0.1, 0.15, 0.5)}

func TestThingsMove(t *testing.T) {
	testenv.SkipRace(t)
	animal := thing{w: 0.06, h: 0.08, grey: 40, dots: 20, at: along(0.2, 0.08, 0.8)}
	stop := person
	stop.at = func(t float64) (float64, float64) { return 0.2 + 0.15*(min(t, 2.6)+max(0, t-6)), 0.5 }
	approach := person
	approach.at = func(t float64) (float64, float64) { return 0.5 + 0.01*t, 0.45 + 0.03*t }
	approach.grow = func(t float64) float64 { return 0.6 * math.Exp(t/5) }
	for _, tt := range []struct {
		name  string
		scene scene
		moves [][2]float64 // when, in seconds
		late  float64      // how long it may take until it is found
	}{
		{"person", scene{noise: 3, things: []thing{person}}, [][2]float64{{0.6, 7.5}}, 0.6},
		{"in strong noise", scene{noise: 12, things: []thing{person}}, [][2]float64{{0.6, 7.5}}, 0.6},
		{"person and light", scene{noise: 3, things: []thing{person}, light: stills["a light, all at once"].light}, [][2]float64{{0.6, 7.5}}, 0.8},
		{"person and clock", scene{noise: 3, things: []thing{person}, texts: stills["a clock of ms"].texts}, [][2]float64{{0.6, 7.5}}, 0.6},
		{"small animal", scene{noise: 3, things: []thing{animal}}, [][2]float64{{0, 8}}, 0.6},
		{"fast car", scene{noise: 3, things: []thing{{w: 0.3, h: 0.3, grey: 200, dots: 40, at: along(-1.4, 0.6, 0.6)}}}, [][2]float64{{2.2, 4.1}}, 0.6},
		{"stops and goes", scene{noise: 3, things: []thing{stop}}, [][2]float64{{0, 2.6}, {6, 8}}, 0.6},
		{"comes nearer", scene{noise: 3, things: []thing{approach}}, [][2]float64{{0, 8}}, 1},
		{"flat and dark", scene{noise: 3, things: []thing{{w: 0.1, h: 0.3, grey: 30, at: along(-0.1, 0.15, 0.5)}}}, [][2]float64{{0.6, 7.5}}, 0.6},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			film := tt.scene.film(0, 8)
			for _, length := range lengths() {
				t.Logf("in fragments of %g s", length)
				all := found(t, Camera{}, film, length)
				checkTimes(t, all, tt.moves, tt.late)
				checkPlaces(t, all, tt.scene.things[0])
			}
		})
	}
}

// checkTimes checks the times of what was found, picture by picture.
func checkTimes(t *testing.T, all []Found, moves [][2]float64, late float64) {
	t.Helper()
	in := func(x float64, slack float64) bool {
		for _, m := range moves {
			if x >= m[0]-slack && x < m[1]+slack {
				return true
			}
		}
		return false
	}
	var missed, wrong, total float64
	for x := 0.0; x < 8; x += 1. / sceneFPS {
		seen := false
		for _, f := range all {
			for _, s := range f.Spans {
				seen = seen || ticks(x) >= s.Start && ticks(x) < s.End
			}
		}
		if in(x, 0) {
			total++
		}
		if in(x, -late) && !seen {
			missed++
		}
		if !in(x, late) && seen {
			wrong++
		}
	}
	if missed > total/8 || wrong > 0 {
		t.Errorf("of %g pictures with motion %g are missed; %g without are taken; found %+v", total, missed, wrong, spansOf(all))
	}
}

func spansOf(all []Found) (s []string) {
	for _, f := range all {
		for _, x := range f.Spans {
			s = append(s, fmt.Sprintf("%.1f-%.1f", float64(x.Start)/90000, float64(x.End)/90000))
		}
	}
	return s
}

// checkPlaces checks that the boxes are where the thing is, picture by picture.
func checkPlaces(t *testing.T, all []Found, o thing) {
	t.Helper()
	pictures, off, large := 0, 0, 0
	for _, f := range all {
		for _, p := range f.Pictures {
			at := float64(p.Start) / 90000
			x, y := o.at(at)
			now := o.now(at)
			if x < 0 || x > 1 {
				continue // little of it is seen
			}
			pictures++
			hit, area := false, 0.
			for _, b := range p.Boxes {
				hit = hit || math.Abs(b.X+b.W/2-x) < (b.W+now.w)/2 && math.Abs(b.Y+b.H/2-y) < (b.H+now.h)/2
				area += b.W * b.H
			}
			if !hit {
				off++
			}
			if area > 4*now.w*now.h+0.02 {
				large++
			}
		}
	}
	if off > pictures/10 || large > pictures/5 || pictures == 0 {
		t.Errorf("of %d pictures the boxes are elsewhere in %d, and too large in %d", pictures, off, large)
	}
}

// What is masked is not seen. What is beside it is.
func TestMasks(t *testing.T) {
	s := scene{noise: 3, things: []thing{person}}
	film := s.film(0, 8)
	left := Camera{Masks: []Area{{W: 0.5, H: 1}}}
	for _, f := range found(t, left, film, 4) {
		for _, p := range f.Pictures {
			for _, b := range p.Boxes {
				if b.X < 0.5-2*cell/160. {
					t.Errorf("at %d a box at %g, left of it all is masked", p.Start, b.X)
				}
			}
		}
	}
	if n := len(found(t, left, film, 8)[0].Spans); n == 0 {
		t.Error("nothing is found right of the mask")
	}
	for _, f := range found(t, Camera{Masks: []Area{{Polygon: [][]float64{{0, 0.2}, {1, 0.2}, {1, 0.8}, {0, 0.8}}}}}, film, 4) {
		if len(f.Spans) > 0 {
			t.Errorf("behind a mask: %+v", f.Spans)
		}
	}
}

func TestSensitivity(t *testing.T) {
	faint := person
	faint.thin = 0.7
	s := scene{noise: 3, things: []thing{faint}}
	film := s.film(0, 8)
	seen := func(c Camera) (n int) {
		for _, f := range found(t, c, film, 4) {
			n += len(f.Pictures)
		}
		return n
	}
	if low, high := seen(Camera{Sensitivity: 0.05}), seen(Camera{Sensitivity: 1}); high < 20 || low > high/4 {
		t.Errorf("something faint is seen in %d pictures with sensitivity 1, in %d with 0.05", high, low)
	}
	film = (&scene{noise: 3, things: []thing{person}}).film(0, 8)
	if n := seen(Camera{MinArea: 0.2}); n > 0 {
		t.Errorf("something small is seen in %d pictures, only what is large should be", n)
	}
}

func TestPicturesThatCannotBeUsed(t *testing.T) {
	ok := &video.Picture{Width: 160, Height: 90, Format: video.Gray8, Data: make([]byte, 160*90)}
	for name, p := range map[string]*video.Picture{
		"another format": {Width: 160, Height: 90, Format: video.RGB, Data: make([]byte, 3*160*90)},
		"another size":   {Width: 160, Height: 120, Format: video.Gray8, Data: make([]byte, 160*120)},
		"cut off":        {Width: 160, Height: 90, Format: video.Gray8, Data: make([]byte, 160)},
		"tiny":           {Width: 16, Height: 9, Format: video.Gray8, Data: make([]byte, 16*9)},
	} {
		d, c := NewDetector(Camera{}), new(Changes)
		if err := d.Add(ok); err != nil {
			t.Fatal(err)
		}
		if err := c.Add(ok); err != nil {
			t.Fatal(err)
		}
		if d.Add(p) == nil || c.Add(p) == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if f := NewDetector(Camera{}).Found(0, 90000); len(f.Spans) > 0 {
		t.Errorf("of no pictures: %+v", f)
	}
}

// All that a thing touches is in the areas, at any time; the rest of the picture is not.
func TestChanges(t *testing.T) {
	s := scene{noise: 3, things: []thing{person}}
	for _, length := range []float64{1, 8} {
		var c Changes
		film := s.film(2, length)
		for _, p := range film {
			if err := c.Add(p); err != nil {
				t.Fatal(err)
			}
		}
		mask := make([]bool, 160*90)
		for _, a := range c.Areas(0.03) {
			a.Paint(mask, 160, 90)
		}
		n := 0
		for i, hidden := range mask {
			x, y := float64(i%160)/160, float64(i/160)/90
			x0, _ := person.at(2)
			x1, _ := person.at(2 + length - 0.2)
			inside := x > x0-person.w/2 && x < x1+person.w/2-1./160 && math.Abs(y-0.5) < person.h/2-1./90
			if inside && !hidden {
				t.Fatalf("%g s: pixel %g,%g is not hidden", length, x, y)
			}
			if hidden {
				n++
			}
		}
		if most := (min(1, 0.15*length) + 0.25) * (person.h + 0.5) * 160 * 90; float64(n) > most {
			t.Errorf("%g s: %d pixels are hidden, at most %g should be", length, n, most)
		}
	}
	var one Changes
	if err := one.Add(s.picture(0)); err != nil {
		t.Fatal(err)
	}
	if a := one.Areas(0.03); len(a) != 1 || a[0].W != 1 || a[0].H != 1 {
		t.Errorf("of one picture: %+v, want all of it", a)
	}
}
