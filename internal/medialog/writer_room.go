package medialog

import (
	"cmp"
	"context"
)

// A source that can wait asks for room before it writes, so that nothing is refused.
// Room and Written are called from the goroutine that calls Write.

// Room waits until Write takes a chunk of size bytes without refusing it for want of room.
// begins: the chunk begins a fragment. A chunk larger than the whole budget waits until
// nothing else is on its way. Errors: that of Err if the writer has ended, ctx's.
func (w *Writer) Room(ctx context.Context, size int, begins bool) error {
	return w.until(ctx, func() bool { return w.core.takes(int64(size), begins) })
}

// Written waits until all that was written has its entry. An unfinished fragment must be
// closed before. Errors: that of Err if the writer has ended, ctx's.
func (w *Writer) Written(ctx context.Context) error {
	return w.until(ctx, func() bool { return len(w.core.pending) == 0 })
}

// until waits until the topic is open and done returns true. It calls done with w.mu held.
func (w *Writer) until(ctx context.Context, done func() bool) error {
	for {
		w.mu.Lock()
		ok, stopped, err := w.opened && done(), w.stopped, w.err
		w.mu.Unlock()
		switch {
		case stopped:
			return cmp.Or(err, ErrFenced)
		case ok:
			return nil
		}
		select {
		case <-w.freed:
		case <-w.fenced:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// takes reports whether write takes a chunk of size bytes now.
func (c *core) takes(size int64, begins bool) bool {
	if begins {
		return c.room(size) == ""
	}
	return c.buffered+size <= c.budget || c.buffered == 0
}
