package broker

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/framelog/framelog/schemas"
)

const (
	// idleAfter is how long a partition must get no record before the keeper saves
	// its end offset. It is far below any retention.
	idleAfter = 20 * time.Second
	// The keeper compacts when the compacted topics hold compactAbove bytes and
	// have grown by compactFactor since the last time.
	compactAbove  = 4 << 20
	compactFactor = 2
)

// keeper keeps the log within its bound, and runs retention and compaction. Only
// the goroutine of run uses it.
type keeper struct {
	cfg       Config
	names     schemas.Names
	cluster   *kfake.Cluster
	adm       *kadm.Client
	log       *slog.Logger
	met       *metrics
	ends      ends
	seen      map[string]segment // by directory: the last segment of an idle partition when its end was saved
	compacted int64              // size of the compacted topics after the last compaction
	warned    bool               // a warning that the bound cannot be held was logged
}

func newKeeper(cfg Config, cluster *kfake.Cluster, client *kgo.Client, log *slog.Logger, met *metrics) *keeper {
	k := &keeper{
		cfg:     cfg,
		names:   schemas.Names{Prefix: cfg.Prefix},
		cluster: cluster,
		adm:     kadm.NewClient(client),
		log:     log,
		met:     met,
		ends:    ends{},
		seen:    map[string]segment{},
	}
	met.limit.Set(float64(cfg.Limit))
	_ = readJSON(endsFile(cfg.Data), &k.ends) // restoreEnds has logged the error
	return k
}

// run works until ctx ends. A value in wrote makes it check the bound at once.
func (k *keeper) run(ctx context.Context, wrote <-chan struct{}) {
	tick := time.NewTicker(k.cfg.Interval)
	defer tick.Stop()
	for {
		if err := k.bound(ctx); err != nil && ctx.Err() == nil {
			k.log.WarnContext(ctx, "the log could not be cut to its limit", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-wrote:
			continue
		case <-tick.C:
		}
		// Ends are saved first, since retention may empty a partition.
		if err := k.saveEnds(ctx); err != nil && ctx.Err() == nil {
			k.log.WarnContext(ctx, "end offsets of partitions could not be saved", "error", err)
		}
		k.cluster.ApplyRetention()
		if err := k.compact(); err != nil && ctx.Err() == nil {
			k.log.WarnContext(ctx, "compaction failed", "error", err)
		}
	}
}

// media reports whether a topic holds footage. The keeper deletes only footage to
// hold the bound.
func (k *keeper) media(topic string) bool {
	_, index, ok := k.names.Parse(topic)
	return ok && !index
}

// bound deletes the oldest footage of all cameras while the log is near its
// limit. So all cameras keep about the same time.
func (k *keeper) bound(ctx context.Context) error {
	parts, err := scan(partitionsDir(k.cfg.Data))
	if err != nil {
		return err
	}
	var total int64
	for _, p := range parts {
		total += p.size()
	}
	cut := plan(parts, k.media, total-(k.cfg.Limit-k.cfg.Limit/16))
	if len(cut) > 0 {
		offsets := make(kadm.Offsets)
		for i, at := range cut {
			p := parts[i]
			offsets.AddOffset(p.topic, p.part, p.segments[at].base, -1)
			for _, s := range p.segments[:at] {
				total -= s.size
				k.met.deleted.Add(float64(s.size))
			}
		}
		res, err := k.adm.DeleteRecords(ctx, offsets)
		if err != nil {
			return err
		}
		for _, r := range res.Sorted() {
			// These two mean that retention or a purge has deleted it before.
			if r.Err != nil && !errors.Is(r.Err, kerr.OffsetOutOfRange) && !errors.Is(r.Err, kerr.UnknownTopicOrPartition) {
				return r.Err
			}
		}
	}
	k.met.bytes.Set(float64(total))
	if over := total > k.cfg.Limit; over != k.warned {
		k.warned = over
		if over {
			k.log.WarnContext(ctx, "the log is over its limit, and no more can be deleted: raise the limit, or have fewer cameras or partitions",
				"bytes", total, "limit_bytes", k.cfg.Limit)
		}
	}
	return nil
}

// plan chooses the segments to delete, so that at least excess bytes become free:
// of media alone, the oldest first, and never a partition's last segment. The
// result maps an index into parts to the index of the segment with which that
// partition then begins.
func plan(parts []partition, media func(topic string) bool, excess int64) map[int]int {
	if excess <= 0 {
		return nil
	}
	type candidate struct {
		part, seg int
		segment
	}
	var all []candidate
	for i, p := range parts {
		if !media(p.topic) {
			continue
		}
		for j := range max(0, len(p.segments)-1) {
			all = append(all, candidate{i, j, p.segments[j]})
		}
	}
	slices.SortStableFunc(all, func(a, b candidate) int { return a.modified.Compare(b.modified) })
	cut := make(map[int]int)
	for _, c := range all {
		if excess <= 0 {
			break
		}
		// The segments before it go with it, also if their times are later.
		for j := cut[c.part]; j <= c.seg; j++ {
			excess -= parts[c.part].segments[j].size
		}
		cut[c.part] = max(cut[c.part], c.seg+1)
	}
	return cut
}

// saveEnds saves the end offsets of idle partitions that are not saved yet.
func (k *keeper) saveEnds(ctx context.Context) error {
	parts, err := scan(partitionsDir(k.cfg.Data))
	if err != nil {
		return err
	}
	there := make(map[string]bool, len(parts))
	var idle []partition
	topics := make(map[string]bool)
	for _, p := range parts {
		there[p.dir] = true
		if time.Since(p.last()) < idleAfter {
			continue
		}
		var last segment
		if n := len(p.segments); n > 0 {
			last = p.segments[n-1]
		}
		// If it has no file, the end is saved each time: the partition may have got
		// records and lost them since, and no file shows it.
		if s, ok := k.seen[p.dir]; ok && s == last && len(p.segments) > 0 {
			continue
		}
		k.seen[p.dir] = last
		idle = append(idle, p)
		topics[p.topic] = true
	}
	n := len(k.ends)
	maps.DeleteFunc(k.ends, func(dir string, _ int64) bool { return !there[dir] })
	maps.DeleteFunc(k.seen, func(dir string, _ segment) bool { return !there[dir] })
	changed := len(k.ends) != n
	if len(idle) > 0 {
		offsets, err := k.adm.ListEndOffsets(ctx, slices.Collect(maps.Keys(topics))...)
		if err != nil {
			for _, p := range idle {
				delete(k.seen, p.dir)
			}
			return err
		}
		for _, p := range idle {
			o, ok := offsets.Lookup(p.topic, p.part)
			if !ok || o.Err != nil {
				delete(k.seen, p.dir)
				continue
			}
			if k.ends[p.dir] != o.Offset {
				k.ends[p.dir] = o.Offset
				changed = true
			}
		}
	}
	if !changed {
		return nil
	}
	return writeJSON(endsFile(k.cfg.Data), k.ends)
}

// compact compacts the registry's topics when they have grown much. kfake answers
// no request while it rewrites them, so this should be rare.
func (k *keeper) compact() error {
	parts, err := scan(partitionsDir(k.cfg.Data))
	if err != nil {
		return err
	}
	parts = slices.DeleteFunc(parts, func(p partition) bool { return k.media(p.topic) })
	size := func(parts []partition) (n int64) {
		for _, p := range parts {
			if p.topic == k.names.Cameras() || p.topic == k.names.Status() {
				n += p.size()
			}
		}
		return n
	}
	if size(parts) < max(compactAbove, compactFactor*k.compacted) {
		return nil
	}
	if err := compactSafely(k.cfg.Data, parts, k.cluster.Compact); err != nil {
		return err
	}
	after, err := scan(partitionsDir(k.cfg.Data))
	if err != nil {
		return err
	}
	k.compacted = size(after)
	return nil
}

type metrics struct {
	bytes, limit prometheus.Gauge
	deleted      prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, received func() int64) *metrics {
	m := &metrics{
		bytes: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "framelog_broker_log_bytes", Help: "Log on disk, all topics together.",
		}),
		limit: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "framelog_broker_log_limit_bytes", Help: "Most bytes of log on disk.",
		}),
		deleted: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "framelog_broker_deleted_bytes_total", Help: "Footage removed to hold the limit, before its retention.",
		}),
	}
	if reg != nil {
		reg.MustRegister(m.bytes, m.limit, m.deleted, prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "framelog_broker_received_bytes_total", Help: "Bytes received from clients.",
		}, func() float64 { return float64(received()) }))
	}
	return m
}
