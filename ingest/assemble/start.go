package assemble

import (
	"time"

	"github.com/framelog/framelog/internal/codec"
	"github.com/framelog/framelog/schemas"
)

// usableInterval is how far apart pictures that always decode alone (IDR, BLA)
// may come for fragments to start at them only.
const usableInterval = 5 * time.Second

// starts knows which pictures of a connection a fragment may start at, and what
// the camera sends where there are none.
//
// An IDR or a BLA always decodes alone. So does a CRA or a recovery point, the
// first picture of a GOP that need not be closed, where no leading pictures
// follow it: those come after it and are shown before it, and may need the GOP
// before. Whether some follow is known with the unit behind it, for which the
// picture waits.
//
// Where leading pictures follow, a fragment starts there only if the stream
// brings nothing better: while the latest two IDRs came within usableInterval,
// and the latest is no older than that, it is no start. So a stream of CRAs
// waits for nothing, and one that mixes both is cut at its IDRs from the second
// on.
type starts struct {
	waits *unit     // a CRA or a recovery point whose follower has not come
	idr   time.Time // when the latest IDR came
	often bool      // the latest two came within usableInterval

	// What came since the latest start.
	refresh bool // a gradual refresh
	intra   int  // I pictures at which no decoder can begin

	// What came between the two latest starts: the problem keeps its words while
	// the same comes again.
	refreshed   bool
	intraBefore int

	referenceB bool // the stream has B pictures to which others refer
}

// sawIDR takes note of an IDR.
func (s *starts) sawIDR(now time.Time) {
	since := now.Sub(s.idr)
	s.often = !s.idr.IsZero() && since >= 0 && since <= usableInterval
	s.idr = now
}

// better reports whether the stream brings starts that always decode alone often
// enough to wait for the next one.
func (s *starts) better(now time.Time) bool {
	since := now.Sub(s.idr)
	return s.often && since >= 0 && since <= usableInterval
}

// resolveStart lets the picture that waits go on, now that the unit behind it is
// known (nil: none follows, and a fragment of one picture is of no use).
func (a *Assembler) resolveStart(follower *codec.Unit, pts int64) {
	v := a.starts.waits
	if v == nil {
		return
	}
	a.starts.waits = nil
	if follower != nil {
		v.start = true
		if v.picture == codec.CRA {
			// Leading pictures come before all others (ITU-T H.265 section
			// 7.4.2.2); behind a RADL there may still be a RASL.
			v.open = follower.Picture == codec.RASL || follower.Picture == codec.RADL
		} else {
			// The second field of a picture has its time: what follows that is
			// not known.
			v.open = follower.Picture == codec.Trailing && pts <= v.pts
		}
	}
	a.take(*v)
}

// mayStart decides whether a fragment can start with v, and takes note of it.
func (a *Assembler) mayStart(v *unit) {
	if v.picture == codec.Start {
		a.starts.sawIDR(v.captured)
	}
	if v.open && a.session.open && a.starts.better(v.captured) {
		v.start, v.open = false, false
	}
	if v.start && v.picture == codec.Recovery && a.starts.referenceB {
		a.notice(oddOpenGOP, "the camera sends open GOPs with B-frames as references, with which Chrome may not begin to play: "+
			"turn closed GOPs (IDR) on in the camera, or B-frames off", v.captured)
	}
	if v.start {
		a.starts.refreshed, a.starts.intraBefore = a.starts.refresh, a.starts.intra
		a.starts.refresh, a.starts.intra = false, 0
	}
}

// join has the pictures begin with v, behind a gap or a session's start: its
// leading pictures are left out, and so it decodes alone.
func (s *session) join(v *unit) {
	s.leading, s.joined = v.open, v.pts
	v.open = false
}

// leaveOut counts a leading picture that is left out.
func (a *Assembler) leaveOut() {
	a.m.drop(dropBeforeKeyframe, 1)
	if a.session.missed {
		a.lost.Units++
	}
}

// leavesOut reports whether v is a leading picture that does not
// decode, since there is nothing before the one that it leads to.
func (s *session) leavesOut(v *unit, c schemas.Codec) bool {
	if !s.leading {
		return false
	}
	switch {
	case v.picture == codec.RASL:
		return true
	case v.picture == codec.RADL:
		return false
	case c == schemas.H264 && v.picture == codec.Trailing && v.pts < s.joined:
		return true
	}
	s.leading = v.pts <= s.joined // else all of them have come
	return false
}
