package egress

import (
	"context"
	"maps"

	"github.com/framelog/framelog/egress/api"
	"github.com/framelog/framelog/schemas"
)

// roles returns the roles of a camera's renditions, also of those that only the archive has, unless
// its store is away: what the log has can be read nevertheless.
func (f *Footage) roles(ctx context.Context, camera string) (map[string]schemas.Role, error) {
	roles := map[string]schemas.Role{}
	if f.Archived != nil {
		if archived, err := f.Archived(ctx, camera); err == nil {
			maps.Copy(roles, archived)
		}
	}
	all, err := f.Renditions(ctx, camera)
	for _, r := range all {
		if r.Name != schemas.Raw {
			roles[r.Name] = r.Role
		}
	}
	return roles, err
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

// progress returns how far a camera's renditions are.
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
	return renditions, err
}
