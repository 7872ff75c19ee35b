package assemble

import "slices"

// maxDepth is the deepest reordering there is (ITU-T H.264 annex A.3.1).
const maxDepth = 16

// order derives decode times from presentation times, which are all that RTP
// carries: the n-th picture in decoding order is decoded when the n-th in
// display order, less the depth of reordering, is shown. So decode times are
// the presentation times themselves, sorted and later by the depth; a lost
// picture takes its own time away and disturbs no other.
type order struct {
	depth int
	frame int64 // nominal duration
	first int64 // the PTS that is shown first
	move  int64 // from PTS to media time
	extra int64 // added to DTS if depth was set too low

	shown []int64 // the latest presentation times in rising order
	last  int64   // the latest DTS, less move
	begun bool    // there was one
}

// peek is what next would give, in media time, for a unit that is shown after
// all others.
func (o *order) peek(pts int64) int64 {
	return max(pts+o.extra-int64(o.depth)*o.frame, o.last) + o.move
}

// next is the DTS, in media time, of the next unit in decoding order: always
// above the one before. deeper reports that pts came too late for the depth: then
// decode times go on evenly, some of them after their presentation time.
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

// slot is the presentation time whose turn it is; the first few pictures come
// before any is shown.
func (o *order) slot() int64 {
	k := len(o.shown) - 1 - o.depth
	if k < 0 {
		return o.first + int64(k)*o.frame
	}
	return o.shown[k]
}
