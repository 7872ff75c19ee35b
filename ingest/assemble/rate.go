package assemble

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/framelog/framelog/schemas"
)

// defaultFrame is the frame time if it is not known: 25 per second.
const defaultFrame = schemas.MediaTimescale / 25

// rateWindow is the number of pictures over which the frame time is measured.
const rateWindow = 64

// rate is the frame time of a camera and the part target that follows from it.
// A part target is in a playlist for the playlist's whole life, so it changes
// only if chunks would not fit into it.
type rate struct {
	frame uint32 // ticks of schemas.MediaTimescale
	part  uint32 // PART-TARGET, in the same
	count int    // pictures of a full chunk
	chunk int64  // Config.ChunkDuration in ticks

	deltas []int64 // the latest differences of DTS, a ring
	at     int
	buf    []int64
}

// announced returns the frame time that the camera states, in ticks: that of the
// SPS, else that of the SDP, else 0.
func announced(sps uint32, sdp time.Duration) uint32 {
	if sps == 0 && sdp > 0 {
		return uint32(min(max(schemas.Ticks(sdp), 90), 10*schemas.MediaTimescale))
	}
	return sps
}

// nominal returns the frame time as far as it is known; said is the announced
// one.
func (r *rate) nominal(said uint32) uint32 {
	return cmp.Or(r.frame, said, defaultFrame)
}

// probe finds the frame time from a session's first units. The value of the SPS
// or the SDP counts only if the units agree: cameras often state one rate and
// send another.
//
// said is the announced frame time. depth is the depth of reordering: between as
// many of the latest pictures others may still be missing, so these are not used.
func (r *rate) probe(lead []unit, depth int, said uint32) {
	r.buf = r.buf[:0]
	for _, v := range lead {
		r.buf = append(r.buf, v.pts)
	}
	slices.Sort(r.buf)
	if n := len(r.buf) - depth; n >= 2 {
		r.buf = r.buf[:n]
	}
	for i := len(r.buf) - 1; i > 0; i-- {
		r.buf[i] -= r.buf[i-1]
	}
	frame, mean := uint32(0), uint32(0)
	if n := len(r.buf) - 1; n > 0 {
		for _, d := range r.buf[1:] {
			mean += uint32(min(d, math.MaxUint32/leadMax)) / uint32(n)
		}
		frame, _ = typical(r.buf[1:])
	}
	if frame == 0 && r.frame != 0 {
		said = r.frame // too few units: the same as before
	}
	if said != 0 && (frame == 0 || near(frame, said, 15) || near(mean, said, 15)) {
		frame = said
	}
	r.use(cmp.Or(frame, defaultFrame))
}

// see adds the difference of two decode times.
func (r *rate) see(d int64) {
	if len(r.deltas) < rateWindow {
		r.deltas = append(r.deltas, d)
		return
	}
	r.deltas[r.at] = d
	r.at = (r.at + 1) % rateWindow
}

// renew changes the frame time if three quarters of the latest pictures agree
// on another one: a rate that goes up and down all the time would make a new
// layout each time. It is called between fragments, since a fragment has one
// part target.
func (r *rate) renew() {
	// Below a rate of 2 a second a fragment has too few pictures to judge by.
	if len(r.deltas) < 2 || (len(r.deltas) < rateWindow/4 && r.frame < schemas.MediaTimescale/4) {
		return
	}
	r.buf = append(r.buf[:0], r.deltas...)
	if f, agree := typical(r.buf); f != 0 && agree*4 >= len(r.buf)*3 && !near(f, r.frame, 2) {
		r.use(f)
	}
}

// use sets the frame time, and another part target if chunks would not fit into
// the present one.
func (r *rate) use(frame uint32) {
	r.frame = frame
	if r.part != 0 {
		// Whole pictures that fit must fill at least 85 per cent.
		if k := r.part / frame; k > 0 && uint64(k)*uint64(frame)*100 >= uint64(r.part)*85 {
			r.count = int(max(1, (uint64(r.part)*10/11+uint64(frame)/2)/uint64(frame)))
			return
		}
	}
	r.count = int(max(1, r.chunk/int64(frame)))
	r.part = schemas.PartTarget(r.count, frame)
}

// typical returns the frame time of differences: the mean of those near the
// median, or the usual frame time if the mean is near one. agree is how many are
// near the median. It sorts d. It returns 0 if there is no typical frame time.
func typical(d []int64) (frame uint32, agree int) {
	slices.Sort(d)
	m := d[len(d)/2]
	if m < 90 { // above 1000 a second
		return 0, 0
	}
	sum := int64(0)
	for _, x := range d {
		if x >= m-m*2/5 && x <= m+m*2/5 {
			sum, agree = sum+x, agree+1
		}
	}
	mean := min((sum+int64(agree)/2)/int64(agree), 10*schemas.MediaTimescale)
	best, off := mean, mean/64
	for _, usual := range usualFrames {
		if x := max(usual-mean, mean-usual); x <= off {
			best, off = usual, x
		}
	}
	return uint32(best), agree
}

// usualFrames is the frame times of usual rates: 1, 2, 3, 4, 5, 6, 8, 10, 12,
// 12.5, 15, 18, 20, 24, 25, 29.97, 30, 50, 59.94 and 60 a second. A frame time
// near one of these is rounded to it, so that jitter makes no new layout.
var usualFrames = [...]int64{90000, 45000, 30000, 22500, 18000, 15000, 11250, 9000, 7500, 7200, 6000, 5000, 4500, 3750, 3600, 3003, 3000, 1800, 1502, 1500}

// near reports whether a and b differ by at most percent of b.
func near(a, b uint32, percent int64) bool {
	d := int64(a) - int64(b)
	return max(d, -d)*100 <= int64(b)*percent
}
