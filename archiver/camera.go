package archiver

import (
	"context"
	"time"

	"github.com/framelog/framelog/schemas"
)

// pollEvery is the time between two looks at the indexes. All cameras look at the same time, so
// that the log asks for all of them in one request.
const pollEvery = 5 * time.Second

// archive archives a camera until ctx ends.
func (s *Service) archive(ctx context.Context, camera string) {
	all := map[schemas.Topic]*series{}
	defer func() {
		for t := range all {
			s.offsets.Remove(s.names.Index(t))
		}
		s.metrics.forget(camera)
	}()
	for {
		topics := s.topicsOf(camera)
		for _, t := range topics {
			if all[t] == nil {
				all[t] = newSeries(s, t)
			}
		}
		// Each topic gets a file in turn, so that none has to wait until another one, which is
		// far behind, has caught up.
		for more := true; more && ctx.Err() == nil; {
			more = false
			for _, t := range topics {
				more = all[t].next(ctx) || more
			}
		}
		if waitForPoll(ctx) != nil {
			return
		}
	}
}

// topicsOf returns what is archived of a camera.
func (s *Service) topicsOf(camera string) []schemas.Topic {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.topics[camera]
}

// waitForPoll waits until it is time to look at the indexes. Errors: ctx's.
func waitForPoll(ctx context.Context) error {
	now := time.Now()
	timer := time.NewTimer(pollEvery - now.Sub(now.Truncate(pollEvery)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
