package assemble

import (
	"time"

	"github.com/framelog/framelog/internal/codec"
)

// usableInterval is the longest interval between pictures that always decode
// alone (IDR, BLA) at which fragments start at these only.
const usableInterval = 5 * time.Second

// starts decides at which pictures of a connection a fragment may start, and
// records what the camera sends if there are none.
//
// An IDR or a BLA always decodes alone. So does a CRA or a recovery point, the
// first picture of a GOP that need not be closed, if no leading pictures follow
// it: those come after it and are shown before it, and may need the GOP before.
// The next unit shows whether some follow, so the picture waits for it.
//
// If leading pictures follow, a fragment starts there only if the stream has
// nothing better: it does not if the latest two IDRs came within
// usableInterval, and the latest is no older than that. So a stream of CRAs
// does not wait, and a stream that mixes both is cut at its IDRs from the
// second one on.
type starts struct {
	waits *unit     // a CRA or a recovery point, until the next unit comes
	idr   time.Time // when the latest IDR came
	often bool      // the latest two came within usableInterval

	// Seen since the latest start.
	refresh bool // a gradual refresh
	intra   int  // I pictures at which no decoder can begin

	// Seen between the two latest starts, so that the text of a problem stays the
	// same while it goes on.
	refreshed   bool
	intraBefore int

	referenceB bool // the stream has B pictures to which others refer
}

// noteIDR remembers an IDR.
func (s *starts) noteIDR(now time.Time) {
	since := now.Sub(s.idr)
	s.often = !s.idr.IsZero() && since >= 0 && since <= usableInterval
	s.idr = now
}

// better reports whether pictures that always decode alone come often enough to
// wait for the next one.
func (s *starts) better(now time.Time) bool {
	since := now.Sub(s.idr)
	return s.often && since >= 0 && since <= usableInterval
}

// note remembers what the camera sends besides keyframes.
func (s *starts) note(u *codec.Unit) {
	s.refresh = s.refresh || u.Refresh
	s.referenceB = s.referenceB || u.ReferenceB
	if u.Intra {
		s.intra++
	}
}

// resolve returns the waiting picture, if there is one, when the next unit is
// known: follower, shown at pts. A nil follower means that no unit follows; a
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
		// The second field of a picture has the same time: it does not show what
		// follows.
		v.openGOP = follower.Picture == codec.Trailing && pts <= v.pts
	}
	return v
}

// decide decides whether a fragment can start with v, and records it. recording
// means that a session is running. risky reports that v starts an open GOP at
// which some browsers cannot begin.
func (s *starts) decide(v *unit, recording bool) (risky bool) {
	if v.picture == codec.Start {
		s.noteIDR(v.captured)
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
