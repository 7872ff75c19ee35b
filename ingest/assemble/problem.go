package assemble

import "time"

// problem is a kind of what can be wrong with a camera's stream. Of several that
// there are at once the first is told.
type problem int

const (
	problemStoodStill problem = iota // this process did not run; whatever else is seen then may come of it
	problemKeyframe                  // none comes
	problemLost                      // packets are missing; what is damaged for it comes with it
	problemDamaged                   // what comes as pictures or sound is none
	problemClock                     // its timestamps have jumped
	problemInterval                  // keyframes are far apart
	problemOpenGOP                   // some browsers cannot begin at its keyframes
	problemKinds
)

// problems holds what is wrong with a camera's stream now, and tells the first
// of it when that changes.
type problems struct {
	hold  time.Duration // how long each is told after it was last seen
	tell  func(text string)
	found [problemKinds]struct {
		text  string // in words for people; "": there is none
		until time.Time
	}
	told string
}

// notice tells of a problem from now on, until it has not been seen for hold:
// what comes and goes in a second could not be read. While this process is known
// to have stood still, nothing else is noticed: a camera is not to be blamed for
// what this machine did.
func (p *problems) notice(kind problem, text string, now time.Time) {
	if kind != problemStoodStill && p.found[problemStoodStill].text != "" {
		return
	}
	p.found[kind].text, p.found[kind].until = text, now.Add(p.hold)
	p.report()
}

// expire ends the problems that have not been seen for long enough. A clock that
// was set back must not make one last.
func (p *problems) expire(now time.Time) {
	for kind := range p.found {
		f := &p.found[kind]
		if f.text != "" && (!now.Before(f.until) || f.until.Sub(now) > p.hold) {
			f.text = ""
		}
	}
	p.report()
}

// end ends one problem. reset ends all but a standstill, whose consequences a camera is
// not to be blamed for on its next connection either.
func (p *problems) end(kind problem) {
	p.found[kind].text = ""
	p.report()
}

func (p *problems) reset() {
	for kind := range p.found {
		if problem(kind) != problemStoodStill {
			p.found[kind].text = ""
		}
	}
	p.report()
}

// report tells the first problem if it has changed.
func (p *problems) report() {
	text := ""
	for kind := range p.found {
		if text = p.found[kind].text; text != "" {
			break
		}
	}
	if text == p.told {
		return
	}
	p.told = text
	if p.tell != nil {
		p.tell(text)
	}
}
