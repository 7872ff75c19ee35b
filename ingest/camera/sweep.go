package camera

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/internal/share"
	"github.com/framelog/framelog/schemas"
)

// sweepEvery is the time between two searches for purged footage. A purge that is younger
// is left to its command, which waits until the camera has stopped.
const sweepEvery = time.Minute

// sweep deletes footage that came after its purge, of the cameras of this process's
// partitions, until ctx ends. Such footage comes from a process that stood still
// meanwhile, or is left if the purging command was stopped before its end.
func (s *Service) sweep(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.sweepOnce(ctx)
		case <-ctx.Done():
			return
		}
	}
}

func (s *Service) sweepOnce(ctx context.Context) {
	purges := s.deps.purges()
	if len(purges) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, sweepEvery)
	defer cancel()
	deleted, err := s.deps.PurgeLate(ctx, func(camera string) (bool, error) {
		p, ok := purges[camera]
		if !ok || time.Since(p.At) < sweepEvery {
			return false, nil
		}
		return s.isPurged(ctx, p)
	})
	if len(deleted) > 0 {
		s.log.Warn("deleted footage that came after its purge", "topics", deleted)
	}
	if err != nil {
		s.log.Warn("cannot look for footage that came after its purge", "err", err)
	}
}

// isPurged reports whether all that the log has of a camera id was purged: it is of a
// purged life, or there is no camera of this id.
func (s *Service) isPurged(ctx context.Context, p share.Purge) (bool, error) {
	life, err := s.deps.Life(ctx, schemas.Topic{Camera: p.Camera})
	switch {
	case err == nil && slices.Contains(p.Lives, life):
		return true, nil
	case err != nil && !errors.Is(err, medialog.ErrNoTopic):
		return false, err
	case p.Wanted:
		return false, nil
	}
	// This process may not have read yet that the camera was added again.
	live, err := s.deps.Registry.Live(ctx, p.Camera)
	return err == nil && !live, err
}
