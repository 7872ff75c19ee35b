package assemble

import "time"

// problem is a kind of problem of a camera's stream. If there are several at
// once, only the first of these kinds is reported.
type problem int

const (
	problemStoodStill problem = iota // this process did not run; other problems of that time may be its effects
	problemKeyframe                  // none comes
	problemLost                      // packets are missing; this also damages units
	problemDamaged                   // pictures or sound are damaged
	problemClock                     // its timestamps have jumped
	problemInterval                  // keyframes are far apart
	problemOpenGOP                   // some browsers cannot begin at its keyframes
	problemKinds
)

// problems holds the current problems of a camera's stream, and reports the
// first one when it changes.
type problems struct {
	hold  time.Duration // how long a problem is reported after it was last seen
	tell  func(text string)
	found [problemKinds]struct {
		text  string // in words for people; "": there is none
		until time.Time
	}
	told string
}

// notice reports a problem until it has not been seen for hold: nobody could
// read a text that comes and goes in a second. While the problem is a standstill
// of this process, notice ignores all others: they are not the camera's fault.
func (p *problems) notice(kind problem, text string, now time.Time) {
	if kind != problemStoodStill && p.found[problemStoodStill].text != "" {
		return
	}
	p.found[kind].text, p.found[kind].until = text, now.Add(p.hold)
	p.report()
}

// expire ends the problems that have not been seen for hold. It also ends them
// if the clock was set back, so that no problem lasts too long.
func (p *problems) expire(now time.Time) {
	for kind := range p.found {
		f := &p.found[kind]
		if f.text != "" && (!now.Before(f.until) || f.until.Sub(now) > p.hold) {
			f.text = ""
		}
	}
	p.report()
}

// end ends one problem. reset ends all except a standstill: on the next connection its
// effects are not the camera's fault either.
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

// report calls tell with the first problem if that has changed.
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
