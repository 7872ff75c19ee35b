package hls

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
)

// keepTopics is how long the list of topics is used before it is read again. A new
// rendition is served after this time at the latest.
const keepTopics = 3 * time.Second

// maxVariants is the most variants that a multivariant playlist lists beside raw. Each
// takes a tail.
const maxVariants = 16

// renditions knows which renditions the cameras have, and their roles. All requests share
// one read of the list of topics, and one read of each rendition's newest entry.
type renditions struct {
	*loader
	listing singleflight.Group // reads of the list of topics
	reading singleflight.Group // reads of newest entries
	roles   *cache[role]       // by topic

	mu    sync.Mutex
	all   map[string][]schemas.Topic // the derived topics of each camera, by name; nil: never read
	until time.Time                  // all is not read again before
}

// role is the role of a rendition by its newest entry, "" if it has no entry.
type role struct {
	name  schemas.Role
	until time.Time // it is not read again before
}

func newRenditions(l *loader) *renditions {
	return &renditions{loader: l, roles: newCache[role](int64(l.cfg.MaxMisses), l.metrics.forgotten)}
}

// of returns the renditions of a camera, without raw. If the log does not answer, an old
// list serves.
func (rs *renditions) of(ctx context.Context, camera string) ([]schemas.Topic, error) {
	rs.mu.Lock()
	all, fresh := rs.all, time.Now().Before(rs.until)
	if !fresh && all != nil {
		rs.until = time.Now().Add(keepTopics) // the others use the old list meanwhile
	}
	rs.mu.Unlock()
	if fresh {
		return all[camera], nil
	}
	ctx, cancel := context.WithTimeout(ctx, rs.cfg.FirstWait)
	defer cancel()
	got, _, err := share(ctx, rs.loader, &rs.listing, cacheKey{}, rs.list)
	switch {
	case err == nil:
		all = got
	case all == nil:
		return nil, err
	}
	return all[camera], nil
}

// list reads which topics exist.
func (rs *renditions) list(ctx context.Context) (map[string][]schemas.Topic, error) {
	topics, err := rs.log.Topics(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errAway, err)
	}
	all := map[string][]schemas.Topic{}
	for _, t := range topics {
		if !t.IsRaw() {
			all[t.Camera] = append(all[t.Camera], t)
		}
	}
	for _, of := range all {
		slices.SortFunc(of, func(a, b schemas.Topic) int { return strings.Compare(a.Rendition, b.Rendition) })
	}
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.all, rs.until = all, time.Now().Add(keepTopics)
	return all, nil
}

// known returns the renditions of a camera by the newest list, without a request.
func (rs *renditions) known(camera string) []schemas.Topic {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	return rs.all[camera]
}

// variants returns the renditions of a camera with the role variant, maxVariants at most.
// Those whose role cannot be read are left out.
func (rs *renditions) variants(ctx context.Context, camera string) []schemas.Topic {
	all, err := rs.of(ctx, camera)
	if err != nil {
		rs.slog.Warn("cannot list the renditions of a camera: its multivariant playlist has raw alone", "camera", camera, "error", err)
		return nil
	}
	var variants []schemas.Topic
	for _, t := range all {
		if len(variants) < maxVariants && rs.role(ctx, t) == schemas.RoleVariant {
			variants = append(variants, t)
		}
	}
	return variants
}

// role returns the role of a rendition, "" if it has no entry. If the log does not answer,
// an old answer serves, since roles do not change while a rendition exists.
func (rs *renditions) role(ctx context.Context, t schemas.Topic) schemas.Role {
	k := cacheKey{topic: t}
	have := rs.roles.get(k)
	if time.Now().Before(have.until) {
		return have.name
	}
	got, _, err := share(ctx, rs.loader, &rs.reading, k, func(ctx context.Context) (role, error) {
		return with(ctx, rs.lookups, func() (role, error) { return rs.newest(ctx, k) })
	})
	switch {
	case err == nil:
		return got.name
	case have.name != "": // the next requests do not wait
		rs.roles.put(k, role{name: have.name, until: time.Now().Add(keepTopics)}, 1)
	}
	return have.name
}

// newest reads the newest entry of a rendition. It is the first event of a tail, if the
// rendition has an entry.
func (rs *renditions) newest(ctx context.Context, k cacheKey) (role, error) {
	rs.metrics.lookups.Inc()
	r := role{until: time.Now().Add(keepTopics)}
	for ev, err := range rs.log.Tail(ctx, k.topic, medialog.Position{}) {
		if err != nil {
			return role{}, err
		}
		if ev.Entry != nil {
			r = role{name: ev.Entry.Role, until: time.Now().Add(keepFound)}
		}
		break
	}
	rs.roles.put(k, r, 1)
	return r, nil
}
