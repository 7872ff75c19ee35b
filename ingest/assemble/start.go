package assemble

import (
	"time"

	"github.com/framelog/framelog/internal/codec"
)

// usableInterval is how far apart pictures that always decode alone (IDR, BLA)
// may come for fragments to start at them only.
const usableInterval = 5 * time.Second

// starts knows which pictures of a connection a fragment may start at, and what
// the camera sends if there are none.
//
// An IDR or a BLA always decodes alone. So does a CRA or a recovery point, the
// first picture of a GOP that need not be closed, if no leading pictures
// follow it: those come after it and are shown before it, and may need the GOP
// before. Whether some follow is known with the unit behind it, for which the
// picture waits.
//
// If leading pictures follow, a fragment starts there only if the stream
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

	// What came between the two latest starts, so that a problem keeps its words
	// while the same comes again.
	refreshed   bool
	intraBefore int

	referenceB bool // the stream has B pictures to which others refer
}

// sawIDR notes an IDR.
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

// saw notes what the camera sends beside keyframes.
func (s *starts) saw(u *codec.Unit) {
	s.refresh = s.refresh || u.Refresh
	s.referenceB = s.referenceB || u.ReferenceB
	if u.Intra {
		s.intra++
	}
}

// resolve gives back the picture that waits, if one does, now that the unit behind
// it is known: follower, shown at pts. A nil follower means that none comes, and a
// fragment of one picture is of no use.
func (s *starts) resolve(follower *codec.Unit, pts int64) *unit {
	v := s.waits
	s.waits = nil
	if v == nil || follower == nil {
		return v
	}
	v.start = true
	if v.picture == codec.CRA {
		// Leading pictures come before all others (ITU-T H.265 section
		// 7.4.2.2); behind a RADL there may still be a RASL.
		v.openGOP = follower.Picture == codec.RASL || follower.Picture == codec.RADL
	} else {
		// The second field of a picture has its time: what follows that is
		// not known.
		v.openGOP = follower.Picture == codec.Trailing && pts <= v.pts
	}
	return v
}

// decide settles whether a fragment can start with v, and notes it. recording
// means that a session is running. risky reports that v starts an open GOP with
// which some browsers cannot begin.
func (s *starts) decide(v *unit, recording bool) (risky bool) {
	if v.picture == codec.Start {
		s.sawIDR(v.captured)
	}
	if v.openGOP && recording && s.better(v.captured) {
		v.start, v.openGOP = false, false
	}
	if !v.start {
		return false
	}
	s.refreshed, s.intraBefore = s.refresh, s.intra
	s.refresh, s.intra = false, 0
	return v.picture == codec.Recovery && s.referenceB
}
