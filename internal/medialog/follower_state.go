package medialog

import "context"

// Life returns the life of the source's footage.
func (f *Follower) Life() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.core.life
}

// Started waits, if it is the fragment's turn, until the log knows that the work on it has
// begun: until the `open` that has to come first is written. A process that is killed
// afterwards has left a trace. Errors: those of Write.
func (w *Work) Started(ctx context.Context) error {
	return w.f.wait(ctx, func() (bool, error) {
		c := w.f.core
		return w.w.ended() || w.w.seq > c.next || (c.epoch >= 0 && c.cause() == ""), w.w.err
	})
}
