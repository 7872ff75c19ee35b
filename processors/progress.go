package processors

import (
	"context"
	"time"

	"github.com/framelog/framelog/internal/share"
	"github.com/framelog/framelog/schemas"
)

// progress is how far the work on a camera is. It is guarded by camera.mu.
type progress struct {
	newest  schemas.Entry // the input's newest entry, as far as it is known
	asked   time.Time     // when the index was asked for it
	live    bool          // the tail has come to the end of the input
	blocked bool          // the tail waits: too many jobs are unfinished
	done    share.Offset  // of the first record of the input's index that is not done; zero: not known
	doneSeq uint64        // all up to it is done
	doneEnd int64         // media time up to which all is done
}

// progressPeriod is how often lag and offset of a camera are told.
const progressPeriod = time.Second

// watch tells how far the work is, until ctx ends.
func (c *camera) watch(ctx context.Context) {
	t := time.NewTicker(progressPeriod)
	defer t.Stop()
	index := c.indexOf(c.input)
	c.r.metrics.begin(c.id)
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		c.askNewest(ctx)
		c.r.metrics.lag.WithLabelValues(c.id).Set(c.lag().Seconds())
		c.r.metrics.held.WithLabelValues(c.id).Set(float64(c.held()))
		if done := c.doneOffset(); done.At > 0 && !c.isMuted() {
			c.r.offsets.Set(index, done)
		}
	}
}

// askNewest asks the index for its newest entry, if the tail is behind it. It asks once in
// a progressPeriod.
func (c *camera) askNewest(ctx context.Context) {
	c.mu.Lock()
	ask := (!c.live || c.blocked) && time.Since(c.asked) >= progressPeriod
	if ask {
		c.asked = time.Now()
	}
	c.mu.Unlock()
	if !ask {
		return
	}
	if e, err := c.in.Newest(ctx, c.input); err == nil {
		c.sawNewest(e)
	}
}

func (c *camera) sawNewest(e schemas.Entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.Seq > c.newest.Seq {
		c.newest = e
	}
}

// set sets live or blocked.
func (c *camera) set(flag *bool, on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*flag = on
}

// passed notes that all up to e is done.
func (c *camera) passed(e *schemas.Entry) {
	if e == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	// The other seqs of a run of gaps have the same offset: it is told a little early.
	if e.Seq > c.doneSeq {
		c.doneSeq, c.done = e.Seq, share.OffsetBehind(e)
	}
	c.doneEnd = max(c.doneEnd, e.MediaEnd())
	delete(c.suspects, e.Seq)
}

func (c *camera) doneOffset() share.Offset {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.done
}

// lag returns the footage from the start of the oldest unfinished fragment to the end of
// the newest one.
func (c *camera) lag() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	from := c.doneEnd
	for _, j := range c.jobs {
		if !j.isDone() {
			from = j.media()
			break
		}
	}
	if from == 0 {
		return 0
	}
	return schemas.FromTicks(max(0, c.newest.MediaEnd()-from))
}
