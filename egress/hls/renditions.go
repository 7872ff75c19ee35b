package hls

import (
	"cmp"
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

// renditions knows which renditions the cameras have, and their newest entries. All
// requests share one read of the list of topics, and one read of each newest entry.
type renditions struct {
	*loader
	listing singleflight.Group // reads of the list of topics
	reading singleflight.Group // reads of newest entries
	ends    *cache[end]        // by topic

	mu    sync.Mutex
	all   map[string][]schemas.Topic // the derived topics of each camera, by name; nil: never read
	raw   map[string]bool            // cameras that have a topic of their own
	until time.Time                  // all is not read again before
}

// end is what the end of a topic's index shows.
type end struct {
	newest    schemas.Entry // Kind "" if there is no entry
	processor string        // that made it; "" if it is not known
	width     uint16        // of the picture, in pixels; 0 if there is none, or it is not known
	asked     bool          // a chunk was read to know them
	read      time.Time
}

func newRenditions(l *loader) *renditions {
	return &renditions{loader: l, ends: newCache[end](int64(l.cfg.MaxMisses), l.metrics.forgotten)}
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
	all, raw := map[string][]schemas.Topic{}, map[string]bool{}
	for _, t := range topics {
		if t.IsRaw() {
			raw[t.Camera] = true
		} else {
			all[t.Camera] = append(all[t.Camera], t)
		}
	}
	for _, of := range all {
		slices.SortFunc(of, func(a, b schemas.Topic) int { return strings.Compare(a.Rendition, b.Rendition) })
	}
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.all, rs.raw, rs.until = all, raw, time.Now().Add(keepTopics)
	return all, nil
}

// known returns the renditions of a camera by the newest list, without a request.
func (rs *renditions) known(camera string) []schemas.Topic {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	return rs.all[camera]
}

// recorded reports whether a camera has a topic, by the newest list.
func (rs *renditions) recorded(camera string) bool {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	return rs.raw[camera]
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

// pastVariants is variants, and behind them those that only the archive has.
func (rs *renditions) pastVariants(ctx context.Context, camera string) []schemas.Topic {
	all := rs.variants(ctx, camera)
	if rs.archive == nil {
		return all
	}
	archived, _, err := share(ctx, rs.loader, &rs.listing, cacheKey{topic: schemas.Topic{Camera: camera}, config: "archived"}, func(ctx context.Context) ([]schemas.Topic, error) {
		return with(ctx, rs.lookups, func() ([]schemas.Topic, error) { return rs.archive.Variants(ctx, camera) })
	})
	if err != nil {
		rs.slog.Warn("cannot list the archived renditions of a camera: its multivariant playlist has those of the log alone", "camera", camera, "error", err)
	}
	for _, t := range archived {
		if len(all) < maxVariants && !slices.Contains(all, t) {
			all = append(all, t)
		}
	}
	return all
}

// role returns the role of a rendition, "" if it has no entry. Roles do not change while a
// rendition exists.
func (rs *renditions) role(ctx context.Context, t schemas.Topic) schemas.Role {
	keep := keepTopics
	if rs.ends.get(cacheKey{topic: t}).newest.Role != "" {
		keep = keepFound
	}
	e, _ := rs.end(ctx, t, keep)
	return e.newest.Role
}

// end returns what the end of a topic's index shows, or showed at most maxAge ago. If the
// log does not answer, an old answer serves.
func (rs *renditions) end(ctx context.Context, t schemas.Topic, maxAge time.Duration) (end, error) {
	k := cacheKey{topic: t}
	have := rs.ends.get(k)
	if time.Since(have.read) < maxAge {
		return have, nil
	}
	got, _, err := share(ctx, rs.loader, &rs.reading, k, func(ctx context.Context) (end, error) {
		return with(ctx, rs.lookups, func() (end, error) { return rs.readEnd(ctx, k, have) })
	})
	switch {
	case err == nil:
		return got, nil
	case !have.read.IsZero(): // the next requests do not wait
		have.read = time.Now()
		rs.ends.put(k, have, 1)
		return have, nil
	}
	return have, err
}

// readEnd reads the newest entry of a topic, and who has opened it. These are the first
// events of a tail, as far as they exist.
func (rs *renditions) readEnd(ctx context.Context, k cacheKey, before end) (end, error) {
	rs.metrics.lookups.Inc()
	e := end{read: time.Now()}
	for ev, err := range rs.log.Tail(ctx, k.topic, medialog.Position{}) {
		if err != nil {
			return end{}, err
		}
		if ev.Entry != nil {
			e.newest = *ev.Entry
			continue
		}
		if ev.Opened != nil {
			e.processor = ev.Opened.Processor
		}
		break
	}
	if e.newest.Epoch == before.newest.Epoch && e.newest.Config == before.newest.Config {
		// An `open` that is long ago is not among what was read.
		e.processor = cmp.Or(e.processor, before.processor)
		e.width, e.asked = before.width, before.asked
	}
	rs.ends.put(k, e, 1)
	return e, nil
}

// complete returns e with what makes a rendition and the width of its picture, as far as
// that is known.
func (rs *renditions) complete(ctx context.Context, t schemas.Topic, e end) end {
	if e.asked || !e.newest.Playable() || e.processor != "" && e.newest.Layout.Video == "" {
		return e
	}
	for c, err := range rs.log.Chunks(ctx, t, e.newest) {
		if err == nil {
			e.take(c)
		}
		break
	}
	if ctx.Err() == nil {
		e.asked = true
		rs.ends.put(cacheKey{topic: t}, e, 1)
	}
	return e
}

// take takes what the first chunk of a fragment tells.
func (e *end) take(c *schemas.Chunk) {
	if c.Lineage != nil {
		e.processor = cmp.Or(e.processor, c.Lineage.Processor)
	}
	for _, t := range c.Tracks {
		e.width = max(e.width, t.Width)
	}
}
