package motion

import "slices"

// cell is the side of a cell in pixels. What moves is found in cells.
const cell = 4

// cells says for each cell of a picture how much it changed.
type cells struct {
	cols, rows int
	masked     []bool
	change     []float64 // mean absolute difference, in the unit of structure
	active     []bool    // it changed by more than noise
	sorted     []float64
}

func newCells(w, h int, masks []Area) *cells {
	c := &cells{cols: (w + cell - 1) / cell, rows: (h + cell - 1) / cell}
	n := c.cols * c.rows
	c.masked, c.change, c.active = make([]bool, n), make([]float64, n), make([]bool, n)
	for i := range masks {
		masks[i].Paint(c.masked, c.cols, c.rows)
	}
	return c
}

// limits decide which cells are active, in the unit of structure: those that change by
// more than factor times the noise, and by more than least. The noise is taken to be at
// most noise.
type limits struct{ factor, least, noise float64 }

// leastNoise is the rounding of pixels.
const leastNoise = unit / 8

// compare fills in the changes from a to b. It returns how much an unchanged cell changes
// by noise, and which part of the picture is active.
func (c *cells) compare(a, b *structure, l limits) (noise, part float64) {
	c.sorted = c.sorted[:0]
	for i := range c.change {
		c.change[i] = meanDifference(a, b, i%c.cols*cell, i/c.cols*cell)
		if !c.masked[i] {
			c.sorted = append(c.sorted, c.change[i])
		}
	}
	if len(c.sorted) == 0 {
		clear(c.active)
		return 0, 0
	}
	// The calm part of the picture tells the noise, so that something large may move.
	slices.Sort(c.sorted)
	noise = min(l.noise, max(leastNoise, 1.2*c.sorted[len(c.sorted)*3/10]))
	n := 0
	for i, v := range c.change {
		c.active[i] = !c.masked[i] && v > max(l.least, l.factor*noise)
		if c.active[i] {
			n++
		}
	}
	return noise, float64(n) / float64(len(c.sorted))
}

func meanDifference(a, b *structure, x0, y0 int) float64 {
	x1, y1 := min(x0+cell, a.w), min(y0+cell, a.h)
	sum := 0
	for y := y0; y < y1; y++ {
		for x := x0; x < x1; x++ {
			d := int(a.v[y*a.w+x]) - int(b.v[y*a.w+x])
			sum += max(d, -d)
		}
	}
	return float64(sum) / float64((x1-x0)*(y1-y0))
}

// activeAt tells whether the pixel is in the picture, in an active cell.
func (c *cells) activeAt(x, y int) bool {
	return x >= 0 && y >= 0 && x < c.cols*cell && y < c.rows*cell && c.active[y/cell*c.cols+x/cell]
}

// groups yields the cells for which in is true, those together that are alike and are
// neighbours or have one cell between them. in has one value a cell, and is false
// afterwards. The order is always the same.
func (c *cells) groups(in []bool, alike func(a, b int) bool, yield func(members []int)) {
	for start := range in {
		if !in[start] {
			continue
		}
		in[start] = false
		members := []int{start}
		for i := 0; i < len(members); i++ {
			x, y := members[i]%c.cols, members[i]/c.cols
			for ny := max(0, y-2); ny <= min(c.rows-1, y+2); ny++ {
				for nx := max(0, x-2); nx <= min(c.cols-1, x+2); nx++ {
					if n := ny*c.cols + nx; in[n] && alike(members[i], n) {
						in[n] = false
						members = append(members, n)
					}
				}
			}
		}
		yield(members)
	}
}

// around returns the smallest box around cells.
func (c *cells) around(members []int) box {
	b := box{c.cols, c.rows, 0, 0}
	for _, i := range members {
		x, y := i%c.cols, i/c.cols
		b = b.union(box{x, y, x + 1, y + 1})
	}
	return b
}
