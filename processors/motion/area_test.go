package motion

import (
	"math"
	"strings"
	"testing"
)

func TestAreaPaintsWhatItTouches(t *testing.T) {
	const w, h, fine = 25, 17, 6
	for name, a := range map[string]Area{
		"rectangle":     {X: 0.1, Y: 0.2, W: 0.33, H: 0.4},
		"all":           {W: 1, H: 1},
		"thin":          {X: 0.5, Y: 0.5, W: 0.001, H: 0.001},
		"triangle":      {Polygon: [][]float64{{0.1, 0.1}, {0.9, 0.3}, {0.2, 0.95}}},
		"with a notch":  {Polygon: [][]float64{{0, 0}, {1, 0}, {1, 1}, {0.5, 0.15}, {0, 1}}},
		"thin triangle": {Polygon: [][]float64{{0.05, 0.5}, {0.95, 0.52}, {0.95, 0.53}}},
	} {
		mask := make([]bool, w*h)
		a.Paint(mask, w, h)
		for y := range h {
			for x := range w {
				// A pixel that has a point of the area must be painted; one that is more than
				// a pixel away from each must not.
				var inside, near bool
				for i := range 3 * fine {
					for j := range 3 * fine {
						px := (float64(x) - 1 + (float64(i)+0.5)/fine) / w
						py := (float64(y) - 1 + (float64(j)+0.5)/fine) / h
						if contains(&a, px, py) {
							near = true
							inside = inside || i/fine == 1 && j/fine == 1
						}
					}
				}
				painted := mask[y*w+x]
				if inside && !painted || painted && !near && name != "thin" && name != "thin triangle" {
					t.Fatalf("%s: pixel %d,%d: painted %v, inside %v, near %v", name, x, y, painted, inside, near)
				}
			}
		}
	}
}

// contains tells whether the point is in the area, by the angles under which it sees the
// corners.
//
//go:norace
func contains(a *Area, x, y float64) bool {
	if len(a.Polygon) == 0 {
		return x >= a.X && x < a.X+a.W && y >= a.Y && y < a.Y+a.H
	}
	sum := 0.0
	for i, q := range a.Polygon {
		p := a.Polygon[(i+len(a.Polygon)-1)%len(a.Polygon)]
		d := math.Atan2(q[1]-y, q[0]-x) - math.Atan2(p[1]-y, p[0]-x)
		sum += math.Remainder(d, 2*math.Pi)
	}
	return math.Abs(sum) > math.Pi
}

func TestAreasThatAreWrong(t *testing.T) {
	for want, a := range map[string]Area{
		"a rectangle of 0 by 0":             {},
		"leaves the picture":                {X: 0.6, W: 0.5, H: 1},
		"a rectangle of 0.5 by NaN":         {W: 0.5, H: math.NaN()},
		"make two areas":                    {W: 0.5, H: 0.5, Polygon: [][]float64{{0, 0}, {1, 0}, {1, 1}}},
		"a polygon of 2 corners":            {Polygon: [][]float64{{0, 0}, {1, 0}}},
		"the corner [0.5 1.2] of a polygon": {Polygon: [][]float64{{0, 0}, {0.5, 1.2}, {1, 1}}},
		"the corner [0.5] of a polygon":     {Polygon: [][]float64{{0, 0}, {0.5}, {1, 1}}},
	} {
		if err := a.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", a, err, want)
		}
	}
	for _, a := range []Area{{X: 0.7, Y: 0.1, W: 0.3, H: 0.9}, {Polygon: [][]float64{{0, 0}, {1, 0}, {1, 1}}}} {
		if err := a.Check(); err != nil {
			t.Errorf("%+v: %v", a, err)
		}
	}
}
