package motion

import (
	"slices"

	"github.com/framelog/framelog/processors/video"
)

// Changes finds which parts of the picture are not always as in the fragment's first
// picture. Other than a Detector it takes what changes in place too, and prefers to find
// too much: it is for hiding. It should see all pictures of the fragment, [Width] wide.
type Changes struct {
	pictures   int
	first, now structure
	cells      *cells
	changed    []bool // by cell
}

// forHiding are the limits of Changes.
var forHiding = limits{factor: 2.5, least: 0.75 * unit, noise: 3 * unit}

// Add takes the next picture, which must be as large as the first one.
func (c *Changes) Add(p *video.Picture) error {
	if err := check(p, c.first.w, c.first.h); err != nil {
		return err
	}
	if c.pictures++; c.pictures == 1 {
		c.first.set(p, 1./16, nil)
		c.cells = newCells(p.Width, p.Height, nil)
		c.changed = make([]bool, len(c.cells.change))
		return nil
	}
	c.now.set(p, 1./16, nil)
	c.cells.compare(&c.first, &c.now, forHiding)
	for i, a := range c.cells.active {
		c.changed[i] = c.changed[i] || a
	}
	return nil
}

// Areas returns rectangles around all that changed, each larger by margin at all sides, a
// part of the picture's width. Of less than two pictures nothing is known: then it is the
// whole picture.
func (c *Changes) Areas(margin float64) []Area {
	if c.pictures < 2 {
		return []Area{{W: 1, H: 1}}
	}
	var all []Area
	w, h := float64(c.first.w), float64(c.first.h)
	m := margin * w // in pixels
	c.cells.groups(slices.Clone(c.changed), func(int, int) bool { return true }, func(members []int) {
		b := c.cells.around(members)
		x0, y0 := max(0, float64(b.x0*cell)-m), max(0, float64(b.y0*cell)-m)
		x1, y1 := min(w, float64(b.x1*cell)+m), min(h, float64(b.y1*cell)+m)
		all = append(all, Area{X: x0 / w, Y: y0 / h, W: (x1 - x0) / w, H: (y1 - y0) / h})
	})
	return all
}
