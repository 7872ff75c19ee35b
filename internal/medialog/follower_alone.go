package medialog

import (
	"context"
	"time"
)

// Starts returns how many followers before this one have begun with Next, and left no
// entry for it: their processes have ended, whatever the reason. Perhaps Next has killed
// them, or a fragment that they worked on at the same time, also of another camera. See
// MaxStarts.
func (f *Follower) Starts() uint32 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.core.tries[f.core.next].starts
}

// Killed reports whether the last failure of Next was the end of a process that worked on
// it alone.
func (f *Follower) Killed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.core.tries[f.core.next].killed
}

// Alone tells the log that this process works on nothing but Next from now on, until the
// work on it has ended. If the process ends before, that counts as a failure of Next. The
// caller must not have any other work in this process; of this follower, none may be
// begun. Works on later seqs wait in Begin. After a further attempt call Alone again.
// Errors: ErrDone if another follower has finished Next meanwhile; those of Err; ctx's.
//
// If the process has to end for another reason, or the camera goes to another process, end
// the follower in time: see Close. If the work hangs, call Work.Fail before the process ends.
func (f *Follower) Alone(ctx context.Context) error {
	var seq uint64
	return f.wait(ctx, func() (bool, error) {
		c := f.core
		switch {
		case seq == 0:
			if err := c.askAlone(); err != nil {
				return true, err
			}
			seq = c.next
		case c.next != seq:
			return true, ErrDone
		}
		return c.alone == isAlone, nil
	})
}

// leave tells that a follower ends in an orderly way, if it is alone.
func (f *Follower) leave(ctx context.Context) {
	f.mu.Lock()
	e, at := f.core.left(), f.core.timestamp()
	f.mu.Unlock()
	if e == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveWait)
	defer cancel()
	if _, err := f.append(ctx, e, at); err != nil {
		f.logger.Warn("cannot tell the log that the work on a fragment was given up; it will count as a failure of this fragment", "topic", f.media, "seq", e.Seq, "err", err)
	}
}

// leaveWait is how long the end of a follower that is alone takes at most.
const leaveWait = 3 * time.Second
