package motion

// vector is a displacement in pixels.
type vector struct{ x, y int }

// near tells whether two cells with these displacements may belong to one thing.
func (v vector) near(o vector) bool {
	slack := 3 + max(v.x, -v.x, v.y, -v.y)/4
	dx, dy := v.x-o.x, v.y-o.y
	return max(dx, -dx, dy, -dy) <= slack
}

// window is the side of the square of pixels that is looked for.
const window = 12

// search looks for the place in the picture before of what is in a window of this one.
type search struct {
	before, now *structure
	cells       *cells
	x, y        int   // the window's left upper corner
	pixels      []int // of the window: indices of those that have changed
	best        int
	at          vector
}

// goodGain is a gain for which no better place is looked for.
const goodGain = 0.8

// match looks for the place in the picture before of what is around the middle of a cell.
// gain is how much better than the same place it fits: 0 not at all, 1 is perfect. What
// changed without moving (a light, a digit of a clock, noise) has a small gain. by has the
// result for the cells before i: neighbours mostly move alike.
func (c *cells) match(before, now *structure, i int, noise float64, by []vector) (v vector, gain float64) {
	col, row := i%c.cols, i/c.cols
	s := search{
		before: before, now: now, cells: c,
		x: clamp(col*cell+cell/2-window/2, now.w-window), y: clamp(row*cell+cell/2-window/2, now.h-window),
	}
	s.changed(int(2 * noise))
	still := s.distance(vector{}, 1<<30)
	floor := int(noise * float64(len(s.pixels)))
	if still <= floor {
		return vector{}, 0
	}
	s.best = still
	found := func() float64 { return float64(still-s.best) / float64(still-min(floor, s.best)) }
	s.around(vector{}, 2)
	for _, n := range []int{i - 1, i - c.cols, i - c.cols + 1} {
		if n >= 0 && by[n] != (vector{}) {
			s.around(by[n], 1)
		}
	}
	if found() < goodGain {
		s.wide()
	}
	return s.at, found()
}

func clamp(v, most int) int { return max(0, min(v, most)) }

// around tries all places that are at most r pixels away from v.
func (s *search) around(v vector, r int) {
	for y := -r; y <= r; y++ {
		for x := -r; x <= r; x++ {
			s.try(vector{v.x + x, v.y + y})
		}
	}
}

// wide tries all places up to a quarter of the picture's width away in which something
// has changed: what has moved has left its place.
func (s *search) wide() {
	const step = 2 // structures are smooth enough
	rx, ry := s.now.w/4, min(s.now.w/4, s.now.h/3)
	mx, my := s.x+window/2, s.y+window/2
	for y := -ry; y <= ry; y += step {
		for x := -rx; x <= rx; x += step {
			if s.cells.activeAt(mx-x, my-y) {
				s.try(vector{x, y})
			}
		}
	}
	s.around(s.at, step-1)
}

// try takes v if it fits better than what was tried before. A longer way must fit
// clearly better.
func (s *search) try(v vector) {
	if x, y := s.x-v.x, s.y-v.y; x < 0 || y < 0 || x > s.now.w-window || y > s.now.h-window {
		return
	}
	limit := s.best
	if v.x*v.x+v.y*v.y > s.at.x*s.at.x+s.at.y*s.at.y {
		limit -= limit / 32
	}
	if d := s.distance(v, limit); d < limit {
		s.best, s.at = d, v
	}
}

// changed fills in pixels.
func (s *search) changed(noise int) {
	s.pixels = s.pixels[:0]
	w := s.now.w
	for y := s.y; y < s.y+window; y++ {
		for i := y*w + s.x; i < y*w+s.x+window; i++ {
			if e := int(s.now.v[i]) - int(s.before.v[i]); e > noise || e < -noise {
				s.pixels = append(s.pixels, i)
			}
		}
	}
}

// distance is the sum of the absolute differences between the pixels of the window that
// have changed and those before that are displaced by v. It stops at limit.
func (s *search) distance(v vector, limit int) int {
	sum, d := 0, v.y*s.now.w+v.x
	for _, i := range s.pixels {
		e := int(s.now.v[i]) - int(s.before.v[i-d])
		if sum += max(e, -e); sum >= limit {
			break
		}
	}
	return sum
}
