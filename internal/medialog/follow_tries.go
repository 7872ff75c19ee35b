package medialog

import (
	"errors"
	"fmt"

	"github.com/framelog/framelog/schemas"
)

// A fragment may kill the process that works on it. Then nobody is left to tell. So the
// log shows who has begun: each follower writes its first `open` before any work begins. The
// next follower finds in it how many have begun with a fragment and left no entry for it.
//
// This does not tell which of the fragments in a process has killed it. So a follower may
// work on one alone: an `open` with the cause "alone" says that its process works on
// nothing else. If the next record that counts is the first `open` of another follower, the process
// has ended without a word, and that is a failure of this fragment. The order of the
// index alone decides it, and all followers find the same number. A process that gives
// the work up, or that ends in an orderly way, says so: with an `open`, or with a record
// of the kind "left", which fences nobody.

// tries is what became of the work on a seq that has no entry.
type tries struct {
	failures uint32
	starts   uint32 // followers that have begun with it
	killed   bool   // the last failure: a process that worked on it alone has ended without a word
}

// MaxStarts is how many followers may begin with a fragment while they work on others.
// If they have left no entry for it, nothing behind it begins before it has one, even if
// it becomes a dead letter: a later fragment may be the one that kills. The process should
// try it alone (Follower.Alone).
const MaxStarts = 2

func (t *tries) kill() { t.failures, t.killed = t.failures+1, true }

// checkpoint is what stands in the index of an output.
type checkpoint struct {
	last  *schemas.Entry   // the newest valid entry; nil: there is none
	open  *schemas.Entry   // the newest `open`; nil: none is known
	tries map[uint64]tries // of each seq, what the `open`s behind last tell
	// alone is the newest `open` if its cause is "alone", and nothing behind it tells what
	// became of that work.
	alone *schemas.Entry
}

// add takes the next valid record.
func (c *checkpoint) add(e schemas.Entry) {
	switch {
	case e.Footage():
		c.last, c.tries, c.alone = lastOf(&e, nil), nil, nil
	case e.Kind == schemas.KindOpen:
		c.opened(&e)
	default:
		c.alone = nil
	}
}

func (c *checkpoint) opened(e *schemas.Entry) {
	if c.tries == nil {
		c.tries = map[uint64]tries{}
	}
	if e.Reason == CauseStart {
		c.kill()
	}
	t := c.tries[e.Seq]
	if e.Reason == CauseStart || c.open == nil || c.open.Seq != e.Seq {
		t.starts++
	}
	if e.Attempt > t.failures {
		t.failures, t.killed = e.Attempt, false
	}
	c.tries[e.Seq], c.open, c.alone = t, e, nil
	if e.Reason == CauseAlone {
		c.alone = e
	}
}

// kill counts a failure of the seq on which the process before this one has worked
// alone, if nothing tells what became of that. It returns the seq; 0: there is none.
func (c *checkpoint) kill() uint64 {
	if c.alone == nil {
		return 0
	}
	seq := c.alone.Seq
	t := c.tries[seq]
	t.kill()
	c.tries[seq], c.alone = t, nil
	return seq
}

// resume takes what stands in the output's index. It is called before the follower's first
// `open` is appended, and again afterwards: until that `open` another follower may write.
func (f *followCore) resume(c checkpoint) error {
	if c.last != nil && c.last.Life != f.life {
		return ErrNewLife
	}
	if f.last == nil && f.hole && c.last != nil {
		return errMeanwhile
	}
	f.last, f.killed = c.last, c.kill()
	if c.last != nil && c.last.Seq >= f.next {
		f.goOn(c.last.Seq + 1)
	}
	if c.last != nil && c.last.Seq+1 == f.next {
		f.hole = false
	}
	if c.tries[f.next].failures < f.found[f.next].failures {
		return errMeanwhile
	}
	f.found = c.tries
	for seq, t := range c.tries {
		if own := f.tries[seq]; own.failures > t.failures {
			t.failures, t.killed = own.failures, own.killed
		}
		f.tries[seq] = t
	}
	f.told = max(f.told, c.tries[f.next].failures) // its own `open` may have told more
	return nil
}

// errMeanwhile ends a follower, if what it decided before its first `open` is not right
// any more: it found an empty output, and there is an entry now; or it counted a failure
// of a process that was about to tell that there was none.
var errMeanwhile = errors.New("medialog: another follower has written to the rendition meanwhile")

// aloneness is whether the work on next may kill nothing but itself.
type aloneness int

const (
	notAlone   aloneness = iota
	wantsAlone           // an `open` with the cause "alone" comes
	isAlone              // that `open` stands in the log, and the work on next has not ended since
)

// askAlone asks for an `open` that tells that this process works on nothing but next.
func (f *followCore) askAlone() error {
	switch {
	case f.next == 0:
		return errors.New("medialog: alone: the output has no entry, and Jump has not told where it begins")
	case len(f.works) > 0:
		return fmt.Errorf("medialog: alone with %d: the work on %d fragments goes on", f.next, len(f.works))
	case f.alone == isAlone && f.cause() == "":
		return nil
	}
	f.alone = wantsAlone
	return nil
}

// left is the record of a follower that ends in an orderly way and is alone; nil: it is
// not alone, or a record is on its way whose fate is not known.
func (f *followCore) left() *schemas.Entry {
	if f.alone != isAlone || f.writing != nil {
		return nil
	}
	e := f.identity
	e.Kind, e.Prev, e.Epoch, e.Life, e.Seq, e.Processor = schemas.KindLeft, f.prev, f.epoch, f.life, f.next, ""
	return &e
}
