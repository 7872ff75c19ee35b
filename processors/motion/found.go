package motion

import (
	"cmp"
	"math"
	"slices"

	"github.com/framelog/framelog/schemas"
)

// Found returns what moved. start and end are when the fragment begins and ends: what
// moves in its first picture moves from its start on, and so it is with the last one.
func (d *Detector) Found(start, end int64) Found {
	boxes := make([][]box, len(d.times)) // by picture
	for _, t := range d.tracker.all(d.counts) {
		t.mark(boxes)
	}
	var f Found
	for i, b := range boxes {
		if len(b) > 0 {
			from, until := d.shown(i, start, end)
			boxes[i] = join(b)
			f.Pictures = append(f.Pictures, Seen{Start: from, End: until, Score: d.score(boxes[i]), Boxes: d.boxes(boxes[i])})
		}
	}
	f.Spans = d.spans(f.Pictures, boxes)
	return f
}

// mark adds the boxes of the track to the pictures. Where it was not seen for a moment,
// it has its box from before. The first step begins in the picture before it.
func (t *track) mark(at [][]box) {
	first := &t.seen[0]
	before := first.box.moved(-int(math.Round(first.dx/cell)), -int(math.Round(first.dy/cell)))
	at[first.picture-1] = append(at[first.picture-1], before)
	for i := range t.seen {
		s := &t.seen[i]
		until := s.picture + 1
		if i+1 < len(t.seen) {
			until = t.seen[i+1].picture
		}
		for n := s.picture; n < until; n++ {
			at[n] = append(at[n], s.box)
		}
	}
}

// score is the part of the picture that boxes cover.
func (d *Detector) score(boxes []box) float64 {
	covered := 0
	for y := range d.cells.rows {
		for x := range d.cells.cols {
			if slices.ContainsFunc(boxes, func(b box) bool { return b.overlaps(box{x, y, x + 1, y + 1}) }) {
				covered++
			}
		}
	}
	return digits(float64(covered) / float64(len(d.cells.change)))
}

// maxBoxes bounds the boxes of a picture and of an event.
const maxBoxes = 16

// join makes one of boxes that overlap or touch.
func join(all []box) []box {
	for i := 0; i < len(all); {
		j := slices.IndexFunc(all[i+1:], all[i].grow(1).overlaps)
		if j < 0 {
			i++
			continue
		}
		all[i] = all[i].union(all[i+1+j])
		all = slices.Delete(all, i+1+j, i+2+j)
		i = 0 // it may overlap those before
	}
	return all
}

// boxes returns the largest.
func (d *Detector) boxes(all []box) (out []schemas.Box) {
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b box) int { return cmp.Compare(b.area(), a.area()) })
	for _, b := range all[:min(len(all), maxBoxes)] {
		if p := b.inPicture(d.now.w, d.now.h); p.W > 0 && p.H > 0 {
			out = append(out, p)
		}
	}
	return out
}

// pause is how long nothing may move within an event.
const pause = schemas.MediaTimescale

// spans joins pictures in which something moves to events. boxes are those of all
// pictures.
func (d *Detector) spans(pictures []Seen, boxes [][]box) (all []Span) {
	boxes = slices.DeleteFunc(boxes, func(b []box) bool { return len(b) == 0 }) // as pictures
	var where []box
	for i, p := range pictures {
		if n := len(all); n == 0 || p.Start-all[n-1].End > pause {
			all, where = append(all, Span{Start: p.Start}), nil
		}
		s := &all[len(all)-1]
		where = join(append(where, boxes[i]...))
		s.End, s.Peak, s.Boxes = p.End, max(s.Peak, p.Score), d.boxes(where)
	}
	return all
}

// shown returns when a picture is shown within the fragment.
func (d *Detector) shown(picture int, start, end int64) (from, until int64) {
	from, until = start, end
	if picture > 0 {
		from = min(d.times[picture], end)
	}
	if picture+1 < len(d.times) {
		until = min(d.times[picture+1], end)
	}
	return from, until
}
