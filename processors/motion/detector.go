package motion

import (
	"fmt"
	"math"
	"slices"

	"github.com/framelog/framelog/processors/video"
	"github.com/framelog/framelog/schemas"
)

// Detector finds what moves in the pictures of one fragment. Something moves if it is
// found at one place in a picture and at another place in the next one, and goes on so.
// What changes in place does not move: noise, a light, a clock, the flicker of a
// keyframe.
type Detector struct {
	camera Camera
	limits limits

	times       []int64 // PTS of each picture
	now, before structure
	cells       *cells
	masked      []bool // by pixel
	tracker     tracker
}

// Width is how wide the pictures of a Detector should be, in pixels.
const Width = 160

// Found is what moved in a fragment. Times are media time in ticks of
// schemas.MediaTimescale.
type Found struct {
	Pictures []Seen // in which something moves, in their order
	Spans    []Span
}

// Seen is a picture in which something moves, and where.
type Seen struct {
	Start, End int64   // when it is shown
	Score      float64 // how much of the picture the boxes cover, 0 to 1
	Boxes      []schemas.Box
}

// Span is a time in which something moves.
type Span struct {
	Start, End int64
	Peak       float64       // the highest score
	Boxes      []schemas.Box // where, over the whole time
}

// NewDetector returns a Detector for one fragment of a camera with these settings.
func NewDetector(c Camera) *Detector {
	c = c.over(Camera{})
	return &Detector{camera: c, limits: limits{
		factor: 5 - 3*c.Sensitivity, least: (3 - 2.5*c.Sensitivity) * unit, noise: math.Inf(1),
	}}
}

// Add takes the next picture, which must be as large as the first one.
func (d *Detector) Add(p *video.Picture) error {
	if err := check(p, d.now.w, d.now.h); err != nil {
		return err
	}
	if d.cells == nil {
		d.cells = newCells(p.Width, p.Height, d.camera.Masks)
		d.masked = make([]bool, p.Width*p.Height)
		for i := range d.camera.Masks {
			d.camera.Masks[i].Paint(d.masked, p.Width, p.Height)
		}
	}
	d.times = append(d.times, p.PTS)
	d.now, d.before = d.before, d.now
	d.now.set(p, 1./8, d.masked)
	if len(d.times) > 1 {
		d.tracker.add(len(d.times)-1, d.sightings(), d.counts)
	}
	return nil
}

// leastWay is how far something must move to count, as a part of the picture's width.
const leastWay = 0.015

func (d *Detector) counts(t *track) bool { return t.moved(leastWay * float64(d.now.w)) }

// check refuses a picture that has another size than those before it, w by h, or cannot be
// used.
func check(p *video.Picture, w, h int) error {
	if p.Format != video.Gray8 || len(p.Data) != p.Width*p.Height || p.Width < 2*window || p.Height < 2*window {
		return fmt.Errorf("motion: a picture of %dx%d in %q, %d bytes; it takes %s of at least %dx%[6]d",
			p.Width, p.Height, p.Format, len(p.Data), video.Gray8, 2*window)
	}
	if w != 0 && (p.Width != w || p.Height != h) {
		return fmt.Errorf("motion: a picture of %dx%d after one of %dx%d", p.Width, p.Height, w, h)
	}
	return nil
}

// everywhere is the part of a picture's cells above which not things have changed but the
// light or the view.
const everywhere = 0.6

// sightings finds what moved from the picture before to this one.
func (d *Detector) sightings() []sighting {
	c := d.cells
	noise, part := c.compare(&d.before, &d.now, d.limits)
	if part > everywhere {
		return nil
	}
	moved, by := make([]bool, len(c.active)), make([]vector, len(c.active))
	for i, active := range c.active {
		if !active {
			continue
		}
		var gain float64
		by[i], gain = c.match(&d.before, &d.now, i, noise, by)
		moved[i] = gain >= d.leastGain() && by[i] != (vector{})
	}
	return d.group(moved, by)
}

// leastGain: see match.
func (d *Detector) leastGain() float64 { return 0.6 - 0.2*d.camera.Sensitivity }

// group joins neighbours that moved alike. What is too small is left out.
func (d *Detector) group(moved []bool, by []vector) (all []sighting) {
	alike := func(a, b int) bool { return by[a].near(by[b]) }
	d.cells.groups(moved, alike, func(members []int) {
		n := float64(len(members))
		if n < d.camera.MinArea*float64(len(d.cells.change)) {
			return
		}
		s := sighting{picture: len(d.times) - 1, box: d.cells.around(members), cells: len(members)}
		var xs, ys []int
		for _, i := range members {
			s.x += (float64(i%d.cells.cols)*cell + cell/2) / n
			s.y += (float64(i/d.cells.cols)*cell + cell/2) / n
			xs, ys = append(xs, by[i].x), append(ys, by[i].y)
		}
		slices.Sort(xs)
		slices.Sort(ys)
		s.dx, s.dy = float64(xs[len(xs)/2]), float64(ys[len(ys)/2])
		all = append(all, s)
	})
	return all
}
