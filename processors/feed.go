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
	seq, err := c.checkpoint(ctx)
	if err == nil && seq > 0 {
		err = c.begin(ctx, seq)
	}
	if err != nil {
		return err
	}
	for {
		err := c.tail(ctx)
		again := tailPause
		switch {
		case errors.Is(err, medialog.ErrSlow), errors.Is(err, medialog.ErrExpired):
		case errors.Is(err, medialog.ErrDamaged):
			again = damagedPause
		default:
			return err
		}
		c.log.Debug("the input is read from the store", "err", err)
		if err := pause(ctx, again); err != nil {
			return err
		}
	}
}

// Pauses before the input is read again. A damaged record is fetched each time, until its
// fragment has its entry.
const (
	tailPause    = 100 * time.Millisecond
	damagedPause = 2 * time.Second
)

// tail reads the input from the next seq on. It begins with the entry before, to learn up to
// which offset all is done.
func (c *camera) tail(ctx context.Context) error {
	c.set(&c.live, false)
	from := c.next
	if from > 1 {
		from--
	}
	for e, err := range c.in.Tail(ctx, c.input, medialog.Position{Seq: from}) {
		switch {
		case err != nil:
		case e.Chunk != nil:
			err = c.takeChunk(ctx, e.Chunk)
		case e.Entry != nil:
			err = c.takeEntry(ctx, *e.Entry)
		case e.Live:
			c.set(&c.live, true)
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
	if n, _ := c.unfinished(); chunk.Index == 0 && chunk.Seq == c.made+1 && n < c.window() {
		j := c.newJob(chunk.Seq)
		j.src = newArriving(chunk.Epoch, chunk.MediaStart(), c.load)
		c.start(ctx, j)
	}
	j := c.job(chunk.Seq)
	switch {
	case j == nil: // the fragment is read from the store when its entry has come
	case c.held()+int64(chunk.Size()) > waitingBytes:
		c.r.metrics.dropped.WithLabelValues(c.id).Inc()
	default:
		j.takeChunk(chunk)
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
	c.sawNewest(e)
	switch {
	case e.Seq < c.next:
		return c.again(ctx, e)
	case e.Seq > c.next:
		if err := c.missed(ctx, e.Seq); err != nil {
			return err
		}
	}
	c.next = e.Seq + 1
	if j := c.job(e.Seq); j != nil {
		j.takeEntry(e)
		return nil
	}
	c.made = max(c.made, e.Seq)
	if err := c.room(ctx); err != nil {
		return err
	}
	if c.leftOut(e.Seq) {
		c.passed(&e)
		return nil
	}
	j := c.newJob(e.Seq)
	j.takeEntry(e)
	c.start(ctx, j)
	return nil
}

// again takes an entry that came before: a tail begins with it. Unless jobs are unfinished, all
// up to it is done. Jobs note themselves what they have done.
func (c *camera) again(ctx context.Context, e schemas.Entry) error {
	left, _ := c.unfinished()
	if err := ctx.Err(); err != nil { // a job has failed
		return err
	}
	if left == 0 {
		c.passed(&e)
	}
	return nil
}

// window is how many unfinished jobs there may be.
func (c *camera) window() int { return c.r.p.Concurrency + waiting }

// room waits until there is room for one more job.
func (c *camera) room(ctx context.Context) error {
	if n, _ := c.unfinished(); n < c.window() {
		return nil
	}
	c.set(&c.blocked, true)
	defer c.set(&c.blocked, false)
	return c.atMost(ctx, c.window()-1)
}

// atMost waits until at most n jobs are unfinished.
func (c *camera) atMost(ctx context.Context, n int) error {
	for {
		left, oldest := c.unfinished()
		if left <= n {
			return ctx.Err() // it ends too if a job fails
		}
		if err := oldest.wait(ctx); err != nil {
			return err
		}
	}
}

// unfinished returns the number of jobs from the oldest unfinished one on, and that one. It
// forgets those before.
func (c *camera) unfinished() (n int, oldest *job) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.jobs) > 0 && c.jobs[0].isDone() {
		c.jobs[0] = nil // it holds the fragment
		c.jobs = c.jobs[1:]
	}
	if len(c.jobs) > 0 {
		oldest = c.jobs[0]
	}
	return len(c.jobs), oldest
}

// job returns the job of a seq, nil if there is none.
func (c *camera) job(seq uint64) *job {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, j := range c.jobs {
		if j.seq == seq {
			return j
		}
	}
	return nil
}

// held returns the bytes of the chunks of all jobs.
func (c *camera) held() (n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, j := range c.jobs {
		n += j.held()
	}
	return n
}

// leftOut reports whether the policy has left a fragment out.
func (c *camera) leftOut(seq uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return seq < c.skipTo
}

// newJob makes the job of a seq. It may begin when fewer than Concurrency jobs before it
// are unfinished. One that is tried alone waits for all before it, and all behind wait for
// it.
func (c *camera) newJob(seq uint64) *job {
	c.mu.Lock()
	defer c.mu.Unlock()
	j := &job{c: c, seq: seq, alone: c.suspects[seq], done: make(chan struct{}), made: map[string]schemas.Entry{}}
	n := len(c.jobs)
	if n == 0 {
		return j
	}
	j.before = c.jobs[n-1].done
	if n >= c.r.p.Concurrency {
		j.turn = c.jobs[n-c.r.p.Concurrency].done
	}
	for _, other := range c.jobs[max(0, n-c.r.p.Concurrency):] {
		if other.alone {
			j.turn = other.done
		}
	}
	if j.alone {
		j.turn = j.before
	}
	return j
}

// start starts a job.
func (c *camera) start(ctx context.Context, j *job) {
	c.mu.Lock()
	c.made, c.jobs = j.seq, append(c.jobs, j)
	c.mu.Unlock()
	c.wg.Go(func() { j.run(ctx) })
}

// loader returns the function with which a source reads its chunks from the store, until
// ctx ends.
func (c *camera) loader(ctx context.Context) func(*arriving, schemas.Entry) {
	return func(s *arriving, e schemas.Entry) {
		c.wg.Go(func() { s.loadFrom(c.past.Chunks(ctx, c.input, e)) })
	}
}

// missed ends the seqs before seq that the tail has left out. Those that the index still has
// have expired, and become gaps; the others are a hole.
func (c *camera) missed(ctx context.Context, seq uint64) error {
	c.mu.Lock()
	for _, j := range c.jobs {
		if j.seq >= c.next {
			j.abort()
		}
	}
	c.mu.Unlock()
	if err := c.atMost(ctx, 0); err != nil {
		return err
	}
	c.log.Warn("the footage of fragments expired before they were processed", "from", c.next, "to", seq-1)
	if n := seq - c.next; n <= schemas.MaxGapRun { // more are a jump of the numbers
		c.finished(resultExpired, n)
	}
	c.made = seq - 1
	return c.skip(ctx, schemas.ReasonExpired, seq)
}
