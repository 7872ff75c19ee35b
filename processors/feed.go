package processors

import (
	"context"
	"errors"
	"time"

	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
)

// waiting is how many fragments beside those that are worked on may wait with the chunks
// that came ahead of their entries. Those behind them are read from the store.
const waiting = 2

// waitingBytes bounds the chunks that came ahead of their entries, of one camera.
const waitingBytes = 32 << 20

// feed reads the input and makes jobs, until ctx ends.
func (c *camera) feed(ctx context.Context) error {
	c.next = c.oldest()
	if c.next > 0 {
		if err := c.begin(ctx, c.next); err != nil {
			return err
		}
	}
	for {
		err := c.tail(ctx)
		if !errors.Is(err, medialog.ErrSlow) && !errors.Is(err, medialog.ErrExpired) {
			return err
		}
		c.log.Debug("the input is read from the store", "err", err)
		if err := pause(ctx, tailPause); err != nil {
			return err
		}
	}
}

// tailPause is the pause before the input is read again.
const tailPause = 100 * time.Millisecond

// tail reads the input from the next seq on.
func (c *camera) tail(ctx context.Context) error {
	for e, err := range c.in.Tail(ctx, c.input, medialog.Position{Seq: c.next}) {
		switch {
		case err != nil:
		case e.Chunk != nil:
			err = c.takeChunk(ctx, e.Chunk)
		case e.Entry != nil:
			err = c.takeEntry(ctx, *e.Entry)
		}
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// takeChunk takes a chunk that came ahead of its entry.
func (c *camera) takeChunk(ctx context.Context, chunk *schemas.Chunk) error {
	if c.next == 0 && chunk.Index == 0 {
		if err := c.begin(ctx, chunk.Seq); err != nil {
			return err
		}
	}
	c.forgetDone()
	if chunk.Index == 0 && chunk.Seq == c.made+1 && len(c.jobs) < c.window() {
		j := c.newJob(chunk.Seq)
		j.src = newArriving(chunk.Epoch, c.loader(ctx))
		c.start(ctx, j)
	}
	if c.held()+int64(chunk.Size()) > waitingBytes {
		return nil // it is read from the store when its entry has come
	}
	if j := c.job(chunk.Seq); j != nil {
		j.takeChunk(chunk, c.loader(ctx))
	}
	return nil
}

// takeEntry takes the next entry.
func (c *camera) takeEntry(ctx context.Context, e schemas.Entry) error {
	if c.next == 0 {
		if err := c.begin(ctx, e.Seq); err != nil {
			return err
		}
	}
	switch {
	case e.Seq < c.next:
		return nil
	case e.Seq > c.next:
		if err := c.missed(ctx, e.Seq); err != nil {
			return err
		}
	}
	c.next = e.Seq + 1
	if j := c.job(e.Seq); j != nil {
		j.takeEntry(e, c.loader(ctx))
		return nil
	}
	if err := c.room(ctx); err != nil {
		return err
	}
	j := c.newJob(e.Seq)
	j.takeEntry(e, c.loader(ctx))
	c.start(ctx, j)
	return nil
}

// window is how many unfinished jobs there may be.
func (c *camera) window() int { return c.r.p.Concurrency + waiting }

// room waits until there is room for one more job.
func (c *camera) room(ctx context.Context) error {
	for c.forgetDone(); len(c.jobs) >= c.window(); c.forgetDone() {
		if err := c.jobs[0].wait(ctx); err != nil {
			return err
		}
	}
	return nil
}

// drain waits until all jobs are finished.
func (c *camera) drain(ctx context.Context) error {
	for _, j := range c.jobs {
		if err := j.wait(ctx); err != nil {
			return err
		}
	}
	c.forgetDone()
	return nil
}

// forgetDone removes the finished jobs before the oldest unfinished one.
func (c *camera) forgetDone() {
	for len(c.jobs) > 0 && c.jobs[0].isDone() {
		c.jobs = c.jobs[1:]
	}
}

// job returns the unfinished job of a seq, nil if there is none.
func (c *camera) job(seq uint64) *job {
	for _, j := range c.jobs {
		if j.seq == seq {
			return j
		}
	}
	return nil
}

// held returns the bytes of the chunks of all jobs.
func (c *camera) held() (n int64) {
	for _, j := range c.jobs {
		n += j.held()
	}
	return n
}

// newJob makes the job of a seq.
func (c *camera) newJob(seq uint64) *job {
	j := &job{c: c, seq: seq, done: make(chan struct{})}
	if n := len(c.jobs); n > 0 {
		j.before = c.jobs[n-1].done
		if n >= c.r.p.Concurrency {
			j.turn = c.jobs[n-c.r.p.Concurrency].done
		}
	}
	return j
}

// start starts a job. It begins when fewer than Concurrency jobs before it are unfinished.
func (c *camera) start(ctx context.Context, j *job) {
	c.made = j.seq
	c.jobs = append(c.jobs, j)
	c.wg.Go(func() { j.run(ctx) })
}

// loader returns the function with which a source reads its chunks from the store.
func (c *camera) loader(ctx context.Context) func(*arriving, schemas.Entry) {
	return func(s *arriving, e schemas.Entry) {
		c.wg.Go(func() { s.loadFrom(c.in.Chunks(ctx, c.input, e)) })
	}
}

// missed ends the seqs before seq that the tail has left out: their footage has expired.
// Those that the index still has become gaps, the others a hole.
func (c *camera) missed(ctx context.Context, seq uint64) error {
	for _, j := range c.jobs {
		if j.seq >= c.next {
			j.abort()
		}
	}
	if err := c.drain(ctx); err != nil {
		return err
	}
	for _, o := range c.outputs {
		if err := c.missedOf(ctx, o, seq); err != nil {
			return err
		}
	}
	c.made = seq - 1
	return nil
}

func (c *camera) missedOf(ctx context.Context, o *output, seq uint64) error {
	next, _ := o.follower.Next()
	for ; next < seq; next++ {
		e, err := c.in.Entry(ctx, c.input, next)
		switch {
		case e.Footage():
		case errors.Is(err, medialog.ErrExpired), errors.Is(err, medialog.ErrNotFound):
			continue
		default:
			return err
		}
		reason := schemas.ReasonExpired
		if e.Kind == schemas.KindGap {
			reason = ""
		}
		err = o.follower.Jump(ctx, next)
		if err == nil {
			err = o.follower.Gaps(ctx, reason, e)
		}
		if err != nil {
			return err
		}
	}
	if next > seq {
		return nil
	}
	return o.follower.Jump(ctx, seq)
}

// pause waits for d. Errors: ctx's.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
