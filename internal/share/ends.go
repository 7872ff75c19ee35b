package share

import (
	"context"
	"maps"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/framelog/framelog/internal/registry"
	"github.com/framelog/framelog/schemas"
)

// endsRetry is the pause between two requests for the ends of partitions.
const endsRetry = 250 * time.Millisecond

// reading is how far a partition has been read.
type reading struct {
	cams   map[string]schemas.Camera
	purged map[string]schemas.Purge // by camera
	next   int64                    // offset after the last record
	end    int64                    // offset to read to; -1: not known yet
}

func (r *reading) done() bool { return r.end >= 0 && r.next >= r.end }

// findEnds asks for the ends of partitions until it gets them.
func (g *group) findEnds(ctx context.Context, client *kgo.Client, parts map[int32]*reading) {
	adm := kadm.NewClient(client)
	for {
		ends, err := registry.EndOffsets(ctx, adm, g.topic)
		if err == nil {
			g.update(parts, func(p int32, r *reading) { r.end = ends[p] }) // 0 if the partition is empty
			return
		}
		if !g.update(parts, nil) || !pause(ctx, endsRetry) {
			return
		}
	}
}

// reachEnds waits until partitions have been read to their ends. Compaction may
// have removed the last records of a partition: if no record comes for a while,
// reachEnds asks the brokers whether there are any.
func (g *group) reachEnds(ctx context.Context, parts map[int32]*reading) {
	var client *kgo.Client // not the group's, whose fetches would be answered first
	defer func() {
		if client != nil {
			client.Close()
		}
	}()
	var before map[int32]int64
	for pause(ctx, registry.Quiet) {
		next, ends := make(map[int32]int64), make(map[int32]int64)
		g.update(parts, func(p int32, r *reading) {
			if !r.done() {
				next[p], ends[p] = r.next, r.end
			}
		})
		if len(ends) == 0 {
			return
		}
		if !maps.Equal(next, before) {
			before = next
			continue
		}
		var err error
		if client == nil {
			if client, err = kgo.NewClient(g.cfg.Kafka.Options(g.log)...); err != nil {
				g.log.Error("cannot make a client that finds the ends of the cameras topic", "err", err)
				return
			}
		}
		done, err := registry.AtEnd(ctx, client, g.topic, next, ends)
		if err != nil {
			g.log.Debug("ends of the cameras topic are not known", "err", err)
		}
		reached := make(map[int32]*reading, len(done))
		for _, p := range done {
			reached[p] = parts[p]
		}
		g.update(reached, func(_ int32, r *reading) { r.next = max(r.next, r.end) })
	}
}

// update calls f, which may be nil, for the readings that are still wanted, and
// gives the complete ones to the member. It reports whether any reading is still
// wanted.
func (g *group) update(parts map[int32]*reading, f func(p int32, r *reading)) (wanted bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for p, r := range parts {
		if g.parts[p] != r || g.over {
			continue // revoked, lost, or read again, meanwhile
		}
		wanted = true
		before := r.done()
		if f != nil {
			f(p, r)
		}
		if r.done() && !before {
			g.member.Desired(p, maps.Clone(r.cams))
		}
	}
	return wanted
}
