package camera

import (
	"context"
	"sync"

	"github.com/framelog/framelog/internal/share"
	"github.com/framelog/framelog/schemas"
)

// second is a camera's second stream. It may come, change and go while the main one is
// recorded.
type second struct {
	topic   schemas.Topic
	make    func(schemas.Camera, *status) *stream
	status  *status // the camera's
	m       *metrics
	changed chan struct{} // capacity 1: record was set

	mu     sync.Mutex
	record schemas.Camera // the newest
	stream *stream        // nil: the camera has none
}

// renew makes the stream of the newest record, if that has another one, and returns it;
// nil: the camera has none. The former stream has ended.
func (s *second) renew() *stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch want, ok := s.wanted(); {
	case s.stream != nil && ok && s.stream.cam.Equal(want):
	case ok:
		s.stream = s.make(want, s.status.beside())
	case s.stream != nil:
		s.stream = nil
		s.status.alone()
		s.m.forgetStream(s.topic.String())
	}
	return s.stream
}

// wanted returns the second stream of the newest record. s.mu is held.
func (s *second) wanted() (schemas.Camera, bool) {
	sub, ok := s.record.Sub()
	return sub, ok && !s.record.Disabled
}

// current returns the stream; nil: there is none.
func (s *second) current() *stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stream
}

// set sets the camera's record, of which only the second stream has changed. It returns at
// once.
func (s *second) set(cam schemas.Camera) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.record = cam
	select {
	case s.changed <- struct{}{}:
	default: // run looks at the newest record anyway
	}
}

// stale reports whether the newest record has another stream.
func (s *second) stale() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	want, ok := s.wanted()
	return ok != (s.stream != nil) || ok && !s.stream.cam.Equal(want)
}

// run records the second stream of the newest record until ctx ends.
func (s *second) run(ctx context.Context, reason string, mayOpen func() bool) {
	for ctx.Err() == nil {
		sub := s.renew()
		keeping, stop := context.WithCancel(ctx)
		var wg sync.WaitGroup
		if sub != nil {
			wg.Go(func() { sub.keep(keeping, reason, mayOpen) })
		}
		for ctx.Err() == nil && !s.stale() {
			select {
			case <-s.changed:
			case <-ctx.Done():
			}
		}
		stop()
		wg.Wait()
		reason = share.ReasonChanged
	}
}
