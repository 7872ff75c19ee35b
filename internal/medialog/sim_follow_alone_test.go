package medialog

import (
	"fmt"

	"github.com/framelog/framelog/schemas"
)

// How processes end in the simulation of followers, and what the log tells of that.

// ends lets the process die or hang for a reason that is not among its fragments, or end in
// an orderly way. It reports whether it has ended.
func (p *simProc) ends() bool {
	s := p.s
	alone := p.core != nil && p.core.alone != notAlone
	switch {
	case s.chance(s.crash), !alone && s.chance(s.neighbour):
		p.dead, p.core = true, nil
		s.stats.Crashes++
	case s.chance(s.end):
		p.dead = true
		p.leave()
	case s.chance(s.hang):
		p.hung = true
	}
	return p.dead
}

// dies: the fragment kills the process.
func (p *simProc) dies(seq uint64) error {
	s := p.s
	s.events += 2
	if p.core.alone != notAlone && seq != p.core.next {
		return fmt.Errorf("the work on %d goes on, and the process is alone with %d", seq, p.core.next)
	}
	if !p.out.opensIn(p.core.prev, p.out.index.end()) {
		s.deaths[seq]++
		s.stats.Deaths++
		if p.core.alone == isAlone {
			s.stats.DiedAlone++
			s.killed[seq]++
			s.failed[seq]++
			p.killer = seq
		}
	}
	p.dead, p.core = true, nil
	return nil
}

// leave ends the follower in an orderly way.
func (p *simProc) leave() {
	if p.core == nil {
		return
	}
	e := p.core.left()
	p.core = nil
	if e != nil {
		p.s.stats.Left++
		p.entry = &simFollowRequest{a: followAction{entry: e}}
	}
}

// awaitAlone: if too many processes have begun with next and left no entry, it is tried
// alone. It reports whether no work may begin yet.
func (p *simProc) awaitAlone() (bool, error) {
	c := p.core
	t := c.tries[c.next]
	switch {
	case t.starts < MaxStarts, t.failures >= simAttempts, c.works[c.next] != nil, !p.s.wants(c.next):
		return c.alone == wantsAlone, nil
	case c.alone == isAlone && c.cause() == "":
		return false, nil
	}
	for seq, w := range c.works {
		c.drop(w, errSim)
		delete(p.jobs, seq)
	}
	if c.alone != wantsAlone {
		p.s.events++
		p.s.stats.Alone++
	}
	return true, c.askAlone()
}

// applied: a record has arrived in the index. What the index tells now is compared with
// what has happened.
func (p *simProc) applied(e *schemas.Entry, offset int64) error {
	s := p.s
	if e.Kind != schemas.KindOpen {
		if p.out.opensIn(e.Prev, offset) {
			return nil
		}
		s.alone = -1 // it counts: the work has ended, or was given up
		if e.Footage() && checkpointOf(s.out, offset).last == nil {
			// An output without entries begins anywhere, also before a fragment that has killed.
			// Only the `open`s behind the newest entry tell who has died.
			clear(s.deaths)
			clear(s.killed)
		}
		return nil
	}
	s.stats.Opens++
	alone := s.alone
	s.alone = -1
	if e.Reason == CauseAlone {
		s.alone, s.alones[offset] = offset, p
	}
	if e.Reason != CauseStart {
		if a := s.alones[alone]; alone >= 0 && a.killer != 0 {
			// A process that was away goes on after the one that worked alone has died. The index
			// tells only that this one was overtaken, so this death does not count there.
			s.killed[a.killer]--
		}
		return nil
	}
	if a := checkpointOf(s.out, offset).alone; (a == nil && alone >= 0) || (a != nil && a.Offset != alone) {
		return fmt.Errorf("the index tells that a process has died alone: %v; the record of one is at %d", a, alone)
	} else if a != nil && s.alones[alone].killer != a.Seq {
		s.stats.CutOff++ // another process took over, or it died for another reason
		s.failed[a.Seq]++
	}
	now := checkpointOf(s.out, offset+1)
	for seq, t := range now.tries {
		switch {
		case now.last != nil && seq <= now.last.Seq: // it began with what has an entry
		case int(t.failures) > s.failed[seq]:
			return fmt.Errorf("the index tells %d failures of %d, there were %d", t.failures, seq, s.failed[seq])
		case int(t.failures) < s.killed[seq]:
			return fmt.Errorf("the index tells %d failures of %d, which has killed %d processes", t.failures, seq, s.killed[seq])
		}
	}
	return nil
}
