package egress

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/framelog/framelog/egress/api"
	"github.com/framelog/framelog/egress/hls"
	"github.com/framelog/framelog/schemas"
)

// roles returns the roles of a camera's renditions, also of those that only the archive has, unless
// its store is away: what the log has can be read nevertheless.
func (f *Footage) roles(ctx context.Context, camera string) (map[string]schemas.Role, error) {
	roles := map[string]schemas.Role{}
	all, err := f.Renditions(ctx, camera)
	for _, r := range all {
		if r.Name != schemas.Raw {
			roles[r.Name] = r.Role
		}
	}
	if err != nil {
		return roles, err
	}
	if archived, err := f.archived(ctx, camera, all); err == nil {
		maps.Copy(roles, archived)
	}
	return roles, nil
}

// archived returns the roles of the archived renditions of a camera that are not among those of the
// log. With an error it returns what was known last.
func (f *Footage) archived(ctx context.Context, camera string, log []hls.Rendition) (map[string]schemas.Role, error) {
	only := map[string]schemas.Role{}
	if f.Archived == nil {
		return only, nil
	}
	var has []string
	for _, r := range log {
		has = append(has, r.Name)
	}
	slices.Sort(has)
	archived, err := f.Archived(ctx, camera, has...)
	for name, role := range archived {
		if !slices.Contains(has, name) {
			only[name] = role
		}
	}
	return only, err
}

// newest returns the newest entries of a camera's renditions and of raw.
func (f *Footage) newest(ctx context.Context, camera string) (map[string]schemas.Entry, error) {
	all, err := f.Renditions(ctx, camera)
	newest := map[string]schemas.Entry{}
	for _, r := range all {
		newest[r.Name] = r.Newest
	}
	return newest, err
}

// archivedWait is how long the answer about a camera waits for what the archive has. Of a store that does
// not answer, it tells what was known last.
const archivedWait = 2 * time.Second

// progress returns how far a camera's renditions are: those of the log by name, and then those that only
// the archive has.
func (f *Footage) progress(ctx context.Context, camera string) ([]api.Rendition, error) {
	all, err := f.Renditions(ctx, camera)
	var renditions []api.Rendition
	for _, r := range all {
		if r.Name == schemas.Raw {
			continue
		}
		x := api.Rendition{Name: r.Name, Role: r.Role, Processor: r.Processor, Width: r.Width}
		if r.OK {
			s := r.Behind.Seconds()
			x.BehindS = &s
		}
		renditions = append(renditions, x)
	}
	if err != nil {
		return renditions, err
	}
	ctx, cancel := context.WithTimeout(ctx, archivedWait)
	defer cancel()
	archived, err := f.archived(ctx, camera, all)
	for _, name := range slices.Sorted(maps.Keys(archived)) {
		renditions = append(renditions, api.Rendition{Name: name, Role: archived[name]})
	}
	return renditions, err
}
