package processors

import (
	"context"
	"sync"
	"time"
)

// clock measures how long the function has worked on a fragment since it was complete.
// It stands still while the function waits for Kafka: for chunks, or for its output to
// be taken.
type clock struct {
	limit   time.Duration
	expired chan struct{} // closed when the time is over

	mu      sync.Mutex
	started bool
	waiting int // calls of the function that wait
	spent   time.Duration
	since   time.Time   // when timer was started
	timer   *time.Timer // nil: it stands still
	starts  int         // of timers
}

func newClock(limit time.Duration) *clock {
	return &clock{limit: limit, expired: make(chan struct{})}
}

// start starts the clock, once: the fragment is complete.
func (c *clock) start() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.started = true
	c.set()
}

// pause stops the clock until the function that it returns is called.
func (c *clock) pause() (resume func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting++
	c.set()
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.waiting--
		c.set()
	}
}

// set starts or stops the timer. c.mu is held.
func (c *clock) set() {
	runs := c.started && c.waiting == 0
	switch {
	case runs && c.timer == nil:
		c.since = time.Now()
		c.starts++
		n := c.starts
		c.timer = time.AfterFunc(c.limit-c.spent, func() { c.expire(n) })
	case !runs && c.timer != nil:
		c.timer.Stop()
		c.spent += time.Since(c.since)
		c.timer = nil
	}
}

// expire ends the time. n tells whose timer calls: it may have been stopped a moment ago.
func (c *clock) expire(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timer != nil && n == c.starts {
		c.timer, c.started = nil, false
		close(c.expired)
	}
}

// stop ends the clock.
func (c *clock) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.started = false
	c.set()
}

type clockKey struct{}

func withClock(ctx context.Context, c *clock) context.Context {
	return context.WithValue(ctx, clockKey{}, c)
}

// pauseClock stops the clock of ctx, if it has one.
func pauseClock(ctx context.Context) (resume func()) {
	if c, ok := ctx.Value(clockKey{}).(*clock); ok {
		return c.pause()
	}
	return func() {}
}
