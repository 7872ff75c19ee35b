package registry

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/framelog/framelog/schemas"
)

// TakeOver makes cameras that other configuration files keep file's own: of
// each file, with the ids that it keeps, for which pick says so. It is for
// files that were moved or renamed; Reconcile then finds its cameras as if they
// had always been of this file. It gives what was taken, ids in order by file.
func (c *Client) TakeOver(ctx context.Context, file string, pick func(old string, ids []string) bool) (map[string][]string, error) {
	have, err := c.Load(ctx)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	taken := planTakeOver(have.Cameras, file, pick)
	for _, old := range slices.Sorted(maps.Keys(taken)) {
		for _, id := range taken[old] {
			cam := have.Cameras[id]
			cam.Origin = file + strings.TrimPrefix(cam.Origin, old) // of another line perhaps: Reconcile sets it
			cam.Updated = now
			if err := c.Put(ctx, cam); err != nil {
				return nil, fmt.Errorf("registry: take over cameras of %s: %w", old, err)
			}
		}
	}
	return taken, nil
}

func planTakeOver(have map[string]schemas.Camera, file string, pick func(old string, ids []string) bool) map[string][]string {
	all := make(map[string][]string)
	for _, id := range slices.Sorted(maps.Keys(have)) {
		if old := FileOf(have[id].Origin); have[id].Source == schemas.SourceFile && old != "" && old != file {
			all[old] = append(all[old], id)
		}
	}
	maps.DeleteFunc(all, func(old string, ids []string) bool { return !pick(old, ids) })
	return all
}

// FileOf is the file of an origin file:line, empty where it is none.
func FileOf(origin string) string {
	return origin[:max(strings.LastIndexByte(origin, ':'), 0)]
}
