package broker

import (
	"cmp"
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
	archived  archived
	ends      ends
	seen      map[string]segment // by directory: the last segment of an idle partition when its end was saved
	compacted int64              // size of the compacted topics after the last compaction
	warned    bool               // a warning that the bound cannot be held was logged
	told      time.Time          // when it was logged that footage is deleted that is not archived
	unsure    bool               // it was logged that nobody knows what is archived
}

func newKeeper(cfg Config, cluster *kfake.Cluster, client *kgo.Client, log *slog.Logger, met *metrics) *keeper {
	k := &keeper{
		cfg:     cfg,
		names:   schemas.Names{Prefix: cfg.Prefix},
		cluster: cluster,
		adm:     kadm.NewClient(client),
		archived: archived{
			group: cfg.Prefix + cfg.Archivers, wants: cfg.Archived, names: schemas.Names{Prefix: cfg.Prefix}, client: client, adm: kadm.NewClient(client),
		},
		log:  log,
		met:  met,
		ends: ends{},
		seen: map[string]segment{},
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

// bound deletes footage while the log is near its limit: first what is archived or is never
// archived, the oldest of all cameras first, so that all keep about the same time. Only when
// there is no more of that, it deletes footage that is not archived yet.
func (k *keeper) bound(ctx context.Context) error {
	parts, err := scan(partitionsDir(k.cfg.Data))
	if err != nil {
		return err
	}
	var total int64
	for _, p := range parts {
		total += p.size()
	}
	excess := total - (k.cfg.Limit - k.cfg.Limit/16)
	if excess > 0 {
		k.learnArchived(ctx)
	}
	cut := plan(parts, k.rank, excess)
	unarchived := int64(0) // bytes
	if len(cut) > 0 {
		offsets := make(kadm.Offsets)
		for i, at := range cut {
			p := parts[i]
			offsets.AddOffset(p.topic, p.part, p.segments[at].base, -1)
			for j, s := range p.segments[:at] {
				total -= s.size
				k.met.deleted.Add(float64(s.size))
				if k.rank(&p, j) == rankLast {
					unarchived += s.size
				}
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
	k.tellUnarchived(ctx, unarchived)
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

// When a segment may be deleted.
const (
	rankNever = iota
	rankFirst // it is archived, or never archived
	rankLast  // it is not archived yet
)

// rank tells when segment j of a partition may be deleted. It is not the partition's last one.
func (k *keeper) rank(p *partition, j int) int {
	switch {
	case !k.media(p.topic):
		return rankNever
	case k.archived.protects(p.topic) && p.segments[j+1].base > k.archived.end(p.topic, p.part):
		return rankLast
	}
	return rankFirst
}

// learnArchived asks what is archived. If that fails, what was known counts.
func (k *keeper) learnArchived(ctx context.Context) {
	err := k.archived.update(ctx)
	if ctx.Err() == nil && (err != nil) != k.unsure {
		k.unsure = err != nil
		k.log.InfoContext(ctx, "what is archived when the log has to be cut", "known", err == nil, "error", err)
	}
}

// tellEvery is the least time between two messages that footage is deleted that is not archived.
const tellEvery = 10 * time.Minute

// tellUnarchived counts footage that was deleted before it was archived, and logs it.
func (k *keeper) tellUnarchived(ctx context.Context, bytes int64) {
	k.met.unarchived.Add(float64(bytes))
	if bytes == 0 || !k.told.IsZero() && time.Since(k.told) < tellEvery {
		return
	}
	k.told = time.Now()
	k.log.ErrorContext(ctx, "the log is at its limit, and footage is deleted that is not archived yet, the oldest first: look why the archiver is behind, or raise broker.limit")
}

// plan chooses the segments to delete, so that at least excess bytes become free: those of
// rankFirst before those of rankLast, of each the oldest first, and never a partition's last
// segment. The result maps an index into parts to the index of the segment with which that
// partition then begins.
func plan(parts []partition, rank func(p *partition, segment int) int, excess int64) map[int]int {
	if excess <= 0 {
		return nil
	}
	type candidate struct {
		part, seg, rank int
		segment
	}
	var all []candidate
	for i := range parts {
		p := &parts[i]
		for j := range max(0, len(p.segments)-1) {
			if r := rank(p, j); r != rankNever {
				all = append(all, candidate{i, j, r, p.segments[j]})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), a.modified.Compare(b.modified))
	})
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
	unarchived   prometheus.Counter
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
		unarchived: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "framelog_broker_deleted_unarchived_bytes_total", Help: "Footage removed to hold the limit, before it was archived.",
		}),
	}
	if reg != nil {
		reg.MustRegister(m.bytes, m.limit, m.deleted, m.unarchived, prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "framelog_broker_received_bytes_total", Help: "Bytes received from clients.",
		}, func() float64 { return float64(received()) }))
	}
	return m
}
