package archive

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/framelog/framelog/schemas"
)

// lookWithin is how long a look at what a camera has in the archive takes at most. The list of a series that
// is made then goes on, and serves the next look.
const lookWithin = 30 * time.Second

// askedRoles is what Roles was asked for.
type askedRoles struct{ camera, but string }

// roles are those of the archived renditions of a camera, as they were a moment ago.
type roles struct {
	all   map[string]schemas.Role
	until time.Time // they are not looked up again
}

// Roles returns the renditions of which footage of a camera is archived, without raw and those of but,
// and what they are for, of the life that the log has. It does not tell which of them have a topic. Of
// those of but it reads nothing: of a store that lists slowly, the lists of their files take long. The
// caller does not change the map. Errors: ctx's; those of the log and of the store. With an error it
// returns what it returned last.
func (j *Joined) Roles(ctx context.Context, camera string, but ...string) (map[string]schemas.Role, error) {
	asked := askedRoles{camera, strings.Join(but, ",")}
	last, ok := j.of.Get(asked)
	if ok && time.Now().Before(last.until) {
		return last.all, nil
	}
	v, err := shared(ctx, &j.looks, asked.camera+"/"+asked.but, func(ctx context.Context) (roles, error) {
		ctx, cancel := context.WithTimeout(ctx, lookWithin)
		defer cancel()
		v := roles{until: time.Now().Add(keepKnown)}
		k, err := j.know(ctx, schemas.Topic{Camera: camera})
		if err == nil && k.life != "" {
			v.all, err = j.set.roles(ctx, k.life, camera, but)
		}
		if err == nil {
			j.of.Add(asked, v)
		}
		return v, err
	})
	if err != nil {
		return last.all, err
	}
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

// roles returns the roles of the renditions of a life, without those of but, as their newest entries tell
// them.
func (s *Set) roles(ctx context.Context, life, camera string, but []string) (map[string]schemas.Role, error) {
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
		if name == schemas.Raw || slices.Contains(but, name) || of.check() != nil {
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
