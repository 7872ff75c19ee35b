package archive

import (
	"context"
	"time"

	"github.com/framelog/framelog/schemas"
)

// variants are the archived variants of a camera, as they were a moment ago.
type variants struct {
	all   []schemas.Topic
	until time.Time // they are not looked up again
}

// Variants returns the renditions with the role variant of which footage of a camera is archived, by
// name, of the life that the log has. It does not tell which of them have a topic. Errors: those of
// the log and of the store.
func (j *Joined) Variants(ctx context.Context, camera string) ([]schemas.Topic, error) {
	if v, ok := j.of.Get(camera); ok && time.Now().Before(v.until) {
		return v.all, nil
	}
	v := variants{until: time.Now().Add(keepKnown)}
	k, err := j.know(ctx, schemas.Topic{Camera: camera})
	if err != nil {
		return nil, err
	}
	if k.life != "" {
		if v.all, err = j.set.variants(ctx, k.life, camera); err != nil {
			return nil, err
		}
	}
	j.of.Add(camera, v)
	return v.all, nil
}

// variants returns the renditions of a life whose newest entry is one of a variant.
func (s *Set) variants(ctx context.Context, life, camera string) (all []schemas.Topic, err error) {
	if err := (Series{life, schemas.Topic{Camera: camera}}).check(); err != nil {
		return nil, nil //nolint:nilerr // the archive has no such directory
	}
	names, err := s.dir.folders(ctx, life, camera)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		of := Series{life, schemas.Topic{Camera: camera, Rendition: name}}
		if name == schemas.Raw || of.check() != nil {
			continue
		}
		newest, err := s.newest(ctx, of, 0)
		if err != nil {
			return nil, err
		}
		if newest.Role == schemas.RoleVariant {
			all = append(all, of.Topic)
		}
	}
	return all, nil
}
