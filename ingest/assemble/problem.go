package assemble

import (
	"fmt"
	"time"

	"github.com/framelog/framelog/schemas"
)

// oddity is a kind of what is odd about a camera. Of several the first is told.
type oddity int

const (
	oddKeyframe oddity = iota // none comes
	oddLost                   // packets are missing; what is damaged for it comes with it
	oddDamaged                // what comes as pictures or sound is none
	oddClock                  // its timestamps have jumped
	oddInterval               // keyframes are far apart
	oddOpenGOP                // some browsers cannot begin at its keyframes
	oddities
)

// odd is one oddity in words for people, and how long it is told.
type odd struct {
	text  string // "": there is none
	until time.Time
}

// notice tells of an oddity from now on, until it has not been seen for
// ProblemHold: what comes and goes in a second would be told to nobody.
func (a *Assembler) notice(kind oddity, text string, now time.Time) {
	a.odd[kind] = odd{text, now.Add(a.cfg.ProblemHold)}
	a.report()
}

// forgive ends what has not been seen for long enough. A clock that was set
// back must not make an oddity last.
func (a *Assembler) forgive(now time.Time) {
	for i := range a.odd {
		if o := &a.odd[i]; o.text != "" && (!now.Before(o.until) || o.until.Sub(now) > a.cfg.ProblemHold) {
			*o = odd{}
		}
	}
	a.report()
}

// report tells the problem where it has changed.
func (a *Assembler) report() {
	problem := ""
	for i := range a.odd {
		if problem = a.odd[i].text; problem != "" {
			break
		}
	}
	if problem == a.problem {
		return
	}
	a.problem = problem
	if a.cfg.Problem != nil {
		a.cfg.Problem(problem)
	}
}

// watchKeyframes looks how long ago the latest keyframe came. Where keyframes
// come far apart, and come, that alone is told: else the two texts would take
// turns in every interval.
func (a *Assembler) watchKeyframes(now time.Time) {
	since := now.Sub(a.keyed)
	limit := a.cfg.KeyframeTimeout
	if a.session.open {
		limit = max(limit, a.apart*3/2)
	}
	if since > limit {
		a.notice(oddKeyframe, fmt.Sprintf("no keyframe for %v: %s", a.cfg.KeyframeTimeout, a.keyframeRemedy()), now)
	}
	if since > a.cfg.LongInterval && a.session.open {
		a.notice(oddInterval, fmt.Sprintf("keyframes are more than %v apart, so viewers wait long for a first picture: %s",
			a.cfg.LongInterval, a.keyframeRemedy()), now)
	}
}

// keyframeRemedy is what helps where keyframes are missing, by what the camera
// sends instead.
func (a *Assembler) keyframeRemedy() string {
	switch {
	case a.bad > a.good:
		return "most of what the camera sends as pictures is damaged"
	case a.starts.refresh || a.starts.refreshed:
		return "the camera uses intra refresh, and players can begin at keyframes (IDR) only: turn intra refresh off and IDR on in the camera"
	case max(a.starts.intra, a.starts.intraBefore) > 1:
		return "the camera sends I-frames that are no IDR, and players cannot begin there: turn IDR on in the camera"
	}
	return "set a shorter keyframe (I-frame, IDR) interval in the camera, and turn intra refresh off if it is on"
}

// clockSet tells of a jump of the camera's timestamps by ticks of
// schemas.MediaTimescale.
func (a *Assembler) clockSet(ticks int64, now time.Time) {
	way := "forward"
	if ticks < 0 {
		way = "back"
	}
	a.notice(oddClock, fmt.Sprintf("the camera's clock jumped %s by %v: set its time with NTP, or update its firmware if this comes again", way, schemas.FromTicks(ticks).Abs().Round(time.Second)), now)
}
