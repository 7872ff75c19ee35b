package assemble

import "slices"

// maxDepth is the deepest reordering that is allowed (ITU-T H.264 annex A.3.1).
const maxDepth = 16

// order derives decode times from presentation times, since RTP carries only
// these. The n-th picture in decoding order is decoded when the picture number
// n minus depth in display order is shown. So decode times are the sorted
// presentation times, delayed by the depth of reordering. A lost picture
// removes only its own time and changes no other.
type order struct {
	depth int
	frame int64 // nominal duration
	first int64 // the PTS that is shown first
	move  int64 // from PTS to media time
	extra int64 // added to DTS if depth was set too low

	shown []int64 // the latest presentation times in rising order
	last  int64   // the latest DTS, less move
	begun bool    // next was called
}

// peek returns what next would return, in media time, for a unit that is shown
// after all others.
func (o *order) peek(pts int64) int64 {
	return max(pts+o.extra-int64(o.depth)*o.frame, o.last) + o.move
}

// next returns the DTS, in media time, of the next unit in decoding order: always
// above the one before. deeper reports that pts came too late for the depth: then
// decode times go on evenly, and some are after their presentation time.
func (o *order) next(pts int64) (dts int64, deeper bool) {
	at, _ := slices.BinarySearch(o.shown, pts+1)
	o.shown = slices.Insert(o.shown, at, pts)
	if len(o.shown) > 3*maxDepth {
		o.shown = o.shown[:copy(o.shown, o.shown[maxDepth:])]
		at = max(at-maxDepth, 0)
	}
	d := o.slot() + o.extra
	if o.begun && d <= o.last {
		if late := len(o.shown) - 1 - at; late > o.depth && o.depth < maxDepth {
			o.depth, deeper = min(late, maxDepth), true
			d = o.last + o.frame
			o.extra = d - o.slot()
		} else {
			d = o.last + 1 // the same time twice
		}
	}
	o.last, o.begun = d, true
	return d + o.move, deeper
}

// slot returns the presentation time that is the next decode time; the first
// few pictures are decoded before any is shown.
func (o *order) slot() int64 {
	k := len(o.shown) - 1 - o.depth
	if k < 0 {
		return o.first + int64(k)*o.frame
	}
	return o.shown[k]
}
