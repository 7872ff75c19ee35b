package archive

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/framelog/framelog/schemas"
)

// roles are those of the archived renditions of a camera, as they were a moment ago.
type roles struct {
	all   map[string]schemas.Role
	until time.Time // they are not looked up again
}

// Roles returns the renditions of which footage of a camera is archived, without raw, and what they are
// for, of the life that the log has. It does not tell which of them have a topic. The caller does not
// change the map. Errors: those of the log and of the store.
func (j *Joined) Roles(ctx context.Context, camera string) (map[string]schemas.Role, error) {
	if v, ok := j.of.Get(camera); ok && time.Now().Before(v.until) {
		return v.all, nil
	}
	v := roles{until: time.Now().Add(keepKnown)}
	k, err := j.know(ctx, schemas.Topic{Camera: camera})
	if err != nil {
		return nil, err
	}
	if k.life != "" {
		if v.all, err = j.set.roles(ctx, k.life, camera); err != nil {
			return nil, err
		}
	}
	j.of.Add(camera, v)
	return v.all, nil
}

// Variants returns those of Roles that are variants, by name.
func (j *Joined) Variants(ctx context.Context, camera string) (all []schemas.Topic, err error) {
	roles, err := j.Roles(ctx, camera)
	for _, name := range slices.Sorted(maps.Keys(roles)) {
		if roles[name] == schemas.RoleVariant {
			all = append(all, schemas.Topic{Camera: camera, Rendition: name})
		}
	}
	return all, err
}

// roles returns the roles of the renditions of a life, as their newest entries tell them.
func (s *Set) roles(ctx context.Context, life, camera string) (map[string]schemas.Role, error) {
	if err := (Series{life, schemas.Topic{Camera: camera}}).check(); err != nil {
		return nil, nil //nolint:nilerr // the archive has no such directory
	}
	names, err := s.dir.folders(ctx, life, camera)
	if err != nil {
		return nil, err
	}
	all := map[string]schemas.Role{}
	for _, name := range names {
		of := Series{life, schemas.Topic{Camera: camera, Rendition: name}}
		if name == schemas.Raw || of.check() != nil {
			continue
		}
		newest, err := s.newest(ctx, of, 0)
		if err != nil {
			return nil, err
		}
		if newest.Role != "" {
			all[name] = newest.Role
		}
	}
	return all, nil
}
