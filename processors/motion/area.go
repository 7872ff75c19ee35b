package motion

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// Area is a part of the picture: a rectangle or a polygon. The picture is 1 wide and 1
// high, and (0, 0) is its top left corner.
type Area struct {
	X       float64     `yaml:"x" default:"0" doc:"Left edge of a rectangle, 0 to 1."`
	Y       float64     `yaml:"y" default:"0" doc:"Top edge of a rectangle, 0 to 1."`
	W       float64     `yaml:"w" default:"0" doc:"Width of a rectangle, up to 1."`
	H       float64     `yaml:"h" default:"0" doc:"Height of a rectangle, up to 1."`
	Polygon [][]float64 `yaml:"polygon" doc:"Instead of a rectangle: the corners [x, y] of a polygon, three or more."`
}

// Check returns an error that says what is wrong with the area.
func (a *Area) Check() error {
	if len(a.Polygon) > 0 {
		return a.checkPolygon()
	}
	const slack = 1e-6 // 0.7 + 0.3 may be more than 1
	switch {
	case !(a.W > 0 && a.H > 0): // NaN is refused too
		return fmt.Errorf("a rectangle of %g by %g; give x, y, w and h as parts of the picture, or a polygon", a.W, a.H)
	case !(a.X >= 0 && a.Y >= 0 && a.X+a.W <= 1+slack && a.Y+a.H <= 1+slack):
		return fmt.Errorf("the rectangle x %g, y %g, w %g, h %g leaves the picture; give parts of the picture, 0 to 1", a.X, a.Y, a.W, a.H)
	}
	return nil
}

func (a *Area) checkPolygon() error {
	if a.X != 0 || a.Y != 0 || a.W != 0 || a.H != 0 {
		return errors.New("a rectangle and a polygon in one area; make two areas")
	}
	if len(a.Polygon) < 3 {
		return fmt.Errorf("a polygon of %d corners; give three or more", len(a.Polygon))
	}
	for _, p := range a.Polygon {
		if len(p) != 2 || !(p[0] >= 0 && p[0] <= 1 && p[1] >= 0 && p[1] <= 1) {
			return fmt.Errorf("the corner %v of a polygon; give [x, y] as parts of the picture, 0 to 1", p)
		}
	}
	return nil
}

// Paint sets the pixels of a picture of w by h pixels that the area touches. mask has one
// value a pixel, row by row.
func (a *Area) Paint(mask []bool, w, h int) {
	for y := range h {
		for _, s := range a.spans(float64(y)/float64(h), float64(y+1)/float64(h)) {
			const slack = 1e-9 // an edge between two pixels touches one of them
			x0, x1 := int(s[0]*float64(w)+slack), int(math.Ceil(s[1]*float64(w)-slack))
			for x := max(0, x0); x < min(w, x1); x++ {
				mask[y*w+x] = true
			}
		}
	}
}

// spans returns the ranges of x that the area touches between top and bottom.
func (a *Area) spans(top, bottom float64) (all [][2]float64) {
	if len(a.Polygon) == 0 {
		const slack = 1e-9
		if a.Y < bottom-slack && a.Y+a.H > top+slack {
			all = append(all, [2]float64{a.X, a.X + a.W})
		}
		return all
	}
	// Where no side of the polygon passes, the middle of the row decides.
	middle := (top + bottom) / 2
	var crossings []float64
	for i, q := range a.Polygon {
		p := a.Polygon[(i+len(a.Polygon)-1)%len(a.Polygon)]
		at := func(y float64) float64 { return p[0] + (q[0]-p[0])*(y-p[1])/(q[1]-p[1]) }
		if (p[1] <= middle) != (q[1] <= middle) {
			crossings = append(crossings, at(middle))
		}
		from, to := max(top, min(p[1], q[1])), min(bottom, max(p[1], q[1]))
		switch {
		case from > to: // this side is elsewhere
		case p[1] == q[1]:
			all = append(all, [2]float64{min(p[0], q[0]), max(p[0], q[0])})
		default:
			all = append(all, [2]float64{min(at(from), at(to)), max(at(from), at(to))})
		}
	}
	slices.Sort(crossings)
	for i := 0; i+1 < len(crossings); i += 2 {
		all = append(all, [2]float64{crossings[i], crossings[i+1]})
	}
	return all
}
