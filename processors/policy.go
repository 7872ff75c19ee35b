package processors

import (
	"context"

	"github.com/framelog/framelog/schemas"
)

// behind applies the policy before the first attempt. It returns true if the fragment is
// done: it is left out.
func (j *job) behind(ctx context.Context) (done bool, err error) {
	c, p := j.c, &j.c.r.p
	if p.Policy == Lossless {
		return false, nil
	}
	late, newest := false, uint64(0)
	if e := j.known(); e != nil { // without an entry it is the newest one
		c.askNewest(ctx)
		var lag int64
		newest, lag = c.behindOf(e)
		late = lag > schemas.Ticks(p.MaxLag) && newest > j.seq
	}
	if p.Policy == Keyframes {
		j.keyframe = late
		return false, nil
	}
	if late {
		if err := wait(ctx, j.before); err != nil {
			return false, err
		}
	}
	return j.leaveOut(ctx, late, newest)
}

// leaveOut decides, for one job at a time, whether the fragments from the job's on and
// before newest are left out. If the work on a later one has begun, they are not.
func (j *job) leaveOut(ctx context.Context, late bool, newest uint64) (done bool, err error) {
	c := j.c
	if err := c.deciding.Acquire(ctx, 1); err != nil {
		return false, err
	}
	defer c.deciding.Release(1)
	c.mu.Lock()
	skipped, late := j.seq < c.skipTo, late && c.begun < j.seq
	if !skipped && !late {
		c.begun = max(c.begun, j.seq)
	}
	c.mu.Unlock()
	if skipped || !late {
		return skipped, nil
	}
	if e, err := c.in.Newest(ctx, c.input); err == nil { // what is known may be a second old
		newest = max(newest, e.Seq)
	}
	c.log.Info("the processor is too far behind; it goes on with the newest fragment", "from", j.seq, "to", newest)
	if err := c.skip(ctx, schemas.ReasonSkipped, newest); err != nil {
		return false, err
	}
	c.finished(resultSkipped, newest-j.seq)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.skipTo = newest
	return true, nil
}

// behindOf returns the newest seq of the input, and how much footage lies between the start
// of e and its end, in ticks.
func (c *camera) behindOf(e *schemas.Entry) (newest uint64, lag int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.newest.Seq, c.newest.MediaEnd() - e.Media
}
