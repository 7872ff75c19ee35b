package archiver

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/framelog/framelog/internal/archive"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
)

// sweepEvery is the time between two looks at all topics.
const sweepEvery = 15 * time.Second

// rest is the work on what the log still has of a camera that was removed.
type rest struct {
	cancel context.CancelFunc
	done   chan struct{} // closed when the work has ended
}

// sweep looks which topics there are, archives the rest of removed cameras, and deletes what was
// purged, until ctx ends. What comes after a purge is deleted too: a process may have stood still
// meanwhile.
func (s *Service) sweep(ctx context.Context) {
	defer s.endRests()
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		s.sweepOnce(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (s *Service) sweepOnce(ctx context.Context) {
	if err := s.findTopics(ctx); err != nil {
		s.log.Debug("the topics cannot be listed", "err", err)
	} else if err := s.findRests(ctx); err != nil {
		s.log.Debug("it is not known which cameras were removed", "err", err)
	}
	for camera, p := range s.shared.Purges() {
		if err := s.purge(ctx, camera, p.Purge); err != nil {
			s.log.Warn("purged footage cannot be deleted from the archive yet", "camera", camera, "err", err)
		}
	}
}

// purge deletes what was purged of a camera. Once for each purge it also looks for older lives,
// which the registry does not know any more.
func (s *Service) purge(ctx context.Context, camera string, p schemas.Purge) error {
	lives := p.Lives
	if !s.purged[camera].Equal(p.At) {
		older, err := s.olderLives(ctx, camera, p.At)
		if err != nil {
			return err
		}
		lives = slices.Concat(lives, older)
	}
	for _, life := range lives {
		deleted, err := s.store.dir.Purge(ctx, life, camera)
		if errors.Is(err, archive.ErrHeld) {
			if !s.held[camera] {
				s.held[camera] = true
				s.log.Warn("purged footage stays in the archive: a hold keeps it", "camera", camera, "life", life)
			}
			return nil
		}
		if err != nil {
			return err
		}
		if deleted {
			s.log.Info("deleted purged footage from the archive", "camera", camera, "life", life)
		}
	}
	s.purged[camera] = p.At
	delete(s.held, camera)
	return nil
}

// olderLives returns the lives of a camera of which nothing was archived after a time, without
// the one that the log has.
func (s *Service) olderLives(ctx context.Context, camera string, before time.Time) (older []string, err error) {
	lives, err := s.store.dir.Lives(ctx, camera)
	if err != nil || len(lives) == 0 {
		return nil, err
	}
	current, err := s.mlog.Life(ctx, schemas.Topic{Camera: camera})
	if err != nil && !errors.Is(err, medialog.ErrNoTopic) {
		return nil, err
	}
	for life, written := range lives {
		if life != current && written.Before(before) {
			older = append(older, life)
		}
	}
	return older, nil
}

// findTopics looks which topics have to be archived.
func (s *Service) findTopics(ctx context.Context) error {
	all, err := s.mlog.Topics(ctx)
	if err != nil {
		return err
	}
	topics, roles := map[string][]schemas.Topic{}, map[schemas.Topic]schemas.Role{}
	for _, t := range all {
		take := s.cfg.byName(t)
		if !take && s.cfg.byRole(t) {
			if role, known := s.role(ctx, t); known {
				take, roles[t] = role == schemas.RoleData, role
			}
		}
		if take {
			topics[t.Camera] = append(topics[t.Camera], t)
		}
	}
	s.roles = roles
	s.mu.Lock()
	defer s.mu.Unlock()
	s.topics = topics
	return nil
}

// role returns what a rendition is for. It is not known before it has footage, and while the log
// cannot be read; the next sweep looks again.
func (s *Service) role(ctx context.Context, t schemas.Topic) (role schemas.Role, known bool) {
	if role, known := s.roles[t]; known || t.IsRaw() {
		return role, known
	}
	e, err := s.mlog.Newest(ctx, t)
	return e.Role, err == nil
}

// findRests begins the work on cameras that were removed and whose partition is this process's,
// and ends that on others.
func (s *Service) findRests(ctx context.Context) error {
	s.mu.Lock()
	cameras := slices.Collect(maps.Keys(s.topics))
	s.mu.Unlock()
	removed, err := s.shared.Removed(ctx, cameras)
	if err != nil {
		return err
	}
	s.mu.Lock()
	gone := slices.Collect(maps.Keys(s.rests))
	for _, camera := range removed {
		if s.rests[camera] == nil {
			s.rests[camera] = s.startRest(camera)
		}
	}
	s.mu.Unlock()
	for _, camera := range gone {
		if !slices.Contains(removed, camera) {
			s.endRest(camera)
		}
	}
	return nil
}

// startRest works on a camera until endRest is called.
func (s *Service) startRest(camera string) *rest {
	ctx, cancel := context.WithCancel(context.Background())
	r := &rest{cancel, make(chan struct{})}
	go func() {
		defer close(r.done)
		s.archive(ctx, camera)
	}()
	return r
}

// endRest ends the work on the rest of a camera, and waits for it.
func (s *Service) endRest(camera string) {
	s.mu.Lock()
	r := s.rests[camera]
	delete(s.rests, camera)
	s.mu.Unlock()
	if r != nil {
		r.cancel()
		<-r.done
	}
}

func (s *Service) endRests() {
	s.mu.Lock()
	cameras := slices.Collect(maps.Keys(s.rests))
	s.mu.Unlock()
	for _, camera := range cameras {
		s.endRest(camera)
	}
}
