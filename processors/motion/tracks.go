package motion

import (
	"math"
	"slices"

	"github.com/framelog/framelog/schemas"
)

// box is a rectangle in cells; x1 and y1 are behind it.
type box struct{ x0, y0, x1, y1 int }

func (b box) union(o box) box {
	return box{min(b.x0, o.x0), min(b.y0, o.y0), max(b.x1, o.x1), max(b.y1, o.y1)}
}

func (b box) grow(n int) box { return box{b.x0 - n, b.y0 - n, b.x1 + n, b.y1 + n} }

func (b box) moved(x, y int) box { return box{b.x0 + x, b.y0 + y, b.x1 + x, b.y1 + y} }

func (b box) overlaps(o box) bool {
	return b.x0 < o.x1 && o.x0 < b.x1 && b.y0 < o.y1 && o.y0 < b.y1
}

func (b box) diagonal() float64 { return math.Hypot(float64(b.x1-b.x0), float64(b.y1-b.y0)) }

func (b box) area() int { return (b.x1 - b.x0) * (b.y1 - b.y0) }

// sighting is cells that moved together from one picture to the next.
type sighting struct {
	picture int // the later one
	box     box
	cells   int
	x, y    float64 // their middle, in pixels
	dx, dy  float64 // how they moved, in pixels
}

// track is one thing that moves.
type track struct {
	seen []sighting
}

func (t *track) last() *sighting { return &t.seen[len(t.seen)-1] }

// memory is for how many pictures a thing may be hidden or still within its track.
const memory = 2

// follows tells whether s may be the next sighting of the track.
func (t *track) follows(s *sighting) bool {
	l := t.last()
	return s.picture-l.picture <= 1+memory && l.box.grow(reach(l)).overlaps(s.box.grow(1))
}

// reach is how many cells a thing may be away from where it was seen.
func reach(s *sighting) int { return 1 + int(math.Hypot(s.dx, s.dy))/cell }

// moved tells whether the track went from one place to another: over some sightings its
// steps lead at least least pixels away, without much to and fro, and its middle has moved
// as they say. Digits that change in place seem to step, but their middle stays.
func (t *track) moved(least float64) bool {
	for i := range t.seen {
		from := &t.seen[i]
		px, py, path := from.dx, from.dy, rough(from)
		for j := i + 1; j < len(t.seen); j++ {
			s := &t.seen[j]
			px, py, path = px+s.dx, py+s.dy, path+rough(s)
			way := math.Hypot(px, py)
			if way < least || way < 0.6*path {
				continue
			}
			since := math.Hypot(px-from.dx, py-from.dy)
			along := ((s.x-from.x)*px + (s.y-from.y)*py) / way
			// The middle of something large that moves slowly is not exact. Its steps must be
			// all the more alike.
			slow := since < s.box.diagonal()*cell/4 && j >= i+2 && way >= 0.85*path
			if slow || along >= since/3 {
				return true
			}
		}
	}
	return false
}

// rough is the length of a step that is exact to a pixel.
func rough(s *sighting) float64 { return max(0, math.Hypot(s.dx, s.dy)-1) }

// tracker joins the sightings of a fragment to tracks.
type tracker struct {
	live []*track // that may go on
	done []*track // that count, and do not go on
}

// maxTracks bounds the work on pictures in which everything moves.
const maxTracks = 128

// add takes all sightings of one picture. counts tells whether a track that ended is kept.
func (t *tracker) add(picture int, all []sighting, counts func(*track) bool) {
	joined := map[*track]*sighting{}
	var fresh []*track
	for i := range all {
		s := &all[i]
		if best := t.nearest(s); best == nil {
			fresh = append(fresh, &track{seen: []sighting{*s}})
		} else if j := joined[best]; j == nil {
			joined[best] = s
		} else {
			*j = j.with(s)
		}
	}
	live := t.live[:0]
	for _, k := range t.live {
		switch s := joined[k]; {
		case s != nil:
			k.seen = append(k.seen, *s)
			live = append(live, k)
		case picture-k.last().picture <= memory:
			live = append(live, k)
		case counts(k):
			t.done = append(t.done, k)
		}
	}
	t.live = append(live, fresh[:min(len(fresh), maxTracks-len(live))]...)
}

// all returns the tracks that count.
func (t *tracker) all(counts func(*track) bool) []*track {
	all := slices.Clone(t.done)
	for _, k := range t.live {
		if counts(k) {
			all = append(all, k)
		}
	}
	return all
}

// nearest returns the track that s goes on, nil if there is none.
func (t *tracker) nearest(s *sighting) (best *track) {
	nearest := math.Inf(1)
	for _, k := range t.live {
		if !k.follows(s) {
			continue
		}
		l := k.last()
		if d := math.Hypot(l.x+l.dx-s.x, l.y+l.dy-s.y); d < nearest {
			best, nearest = k, d
		}
	}
	return best
}

// with joins two parts of one thing.
func (s *sighting) with(o *sighting) sighting {
	a, b := float64(s.cells), float64(o.cells)
	mean := func(v, w float64) float64 { return (v*a + w*b) / (a + b) }
	return sighting{
		picture: s.picture, box: s.box.union(o.box), cells: s.cells + o.cells,
		x: mean(s.x, o.x), y: mean(s.y, o.y), dx: mean(s.dx, o.dx), dy: mean(s.dy, o.dy),
	}
}

// inPicture returns the box as parts of a picture of w by h pixels. What is outside of
// the picture is cut off.
func (b box) inPicture(w, h int) schemas.Box {
	part := func(v, n int) float64 { return max(0, min(1, float64(v*cell)/float64(n))) }
	x, y := part(b.x0, w), part(b.y0, h)
	return schemas.Box{X: digits(x), Y: digits(y), W: digits(part(b.x1, w) - x), H: digits(part(b.y1, h) - y)}
}

// digits rounds a part of the picture, since JSON has all digits of a number.
func digits(v float64) float64 { return math.Round(1e4*v) / 1e4 }
