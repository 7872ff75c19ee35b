package monitor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/monitor/lag"
	"github.com/framelog/framelog/schemas"
)

const (
	// firstWindow is how many records at the end of an index are read first.
	firstWindow = 64
	// farBehind is how many records an index may have grown by since it was last read. If
	// there are more, as after an hour without brokers, it is read from near its end.
	farBehind = 4096
	// startsPeriod is how long the first offsets of topics and their sizes are used.
	startsPeriod = 30 * time.Second
	// step is the longest that one request for all topics takes. A broker that stands still
	// holds up only its own answer.
	step = 3 * time.Second
	// oldestAtOnce is how many searches for a topic's oldest footage run at once.
	oldestAtOnce = 8
)

// reader reads what the log tells of lag, in few requests for all topics together. It keeps
// what it has read, and reads only what is new. One goroutine uses it.
type reader struct {
	cfg    Config
	names  schemas.Names
	client *kgo.Client
	admin  *kadm.Client
	mlog   *medialog.Log
	log    *slog.Logger

	topics    map[schemas.Topic]*topic
	groups    map[string]map[schemas.Topic]int64 // committed offsets
	brokers   map[string]bool                    // all that were ever seen
	kinds     map[string]int                     // partitions without a leader
	began     time.Time                          // when the first metadata came; zero: none came
	looked    bool                               // all indexes that could be read were read once
	startsAt  time.Time                          // when the first offsets and sizes were last read
	slow      map[int32]bool                     // leaders that did not answer in this reading
	sizesFail bool                               // it was logged that sizes cannot be read
}

// topic is what is known of a topic.
type topic struct {
	of     schemas.Topic
	name   string // of the index
	id     kadm.TopicID
	leader int32
	parts  int32 // partitions of the media

	start, end int64   // of the index; -1: not known
	starts     []int64 // of the media; nil: not known
	bytes      int64   // of the media; -1: not known
	index      *lag.Index
	read       bool // index was read to its end: what it does not have, the topic does not have

	since   time.Time                // until read: gaps of records that are not newer do not count
	written time.Time                // timestamp of the newest record that was read
	gaps    map[string]time.Duration // that were counted before index was read anew

	oldest   *schemas.Entry
	oldestOf oldestKey

	processor   string
	processorOf int64 // the epoch whose `open` named it; -1: none was read

	found map[int64]*lag.Position // of offsets that index does not keep
}

// oldestKey tells for which state of a topic the oldest entry was searched.
type oldestKey struct {
	starts []int64
	any    bool // the topic had an entry
}

// newReader makes a reader. It does not wait for a broker.
func newReader(cfg Config, log *slog.Logger) (*reader, error) {
	mlog, err := medialog.Connect(medialog.Config{Kafka: cfg.Kafka}, log, nil)
	if err != nil {
		return nil, fmt.Errorf("monitor: %w", err)
	}
	// A request to a broker that stands still goes to another one soon.
	client, err := kgo.NewClient(append(cfg.Kafka.Options(log), kgo.RequestTimeoutOverhead(step))...)
	if err != nil {
		mlog.Close()
		return nil, fmt.Errorf("monitor: connect: %w", err)
	}
	return &reader{
		cfg: cfg, names: cfg.Kafka.Names(), client: client, admin: kadm.NewClient(client), mlog: mlog, log: log,
		topics: map[schemas.Topic]*topic{}, groups: map[string]map[schemas.Topic]int64{}, brokers: map[string]bool{},
	}, nil
}

// close frees the clients.
func (r *reader) close() {
	r.client.Close()
	r.mlog.Close()
}

// read reads the log once. Errors: those of Kafka, if no broker answers.
func (r *reader) read(ctx context.Context) (lag.View, error) {
	m, err := r.admin.Metadata(ctx)
	if err != nil {
		return lag.View{}, fmt.Errorf("monitor: read metadata: %w", err)
	}
	r.slow = map[int32]bool{}
	r.lookAt(&m)
	r.readGroups(ctx) // before the ends, so that no offset lies beyond one
	if err := r.readOffsets(ctx); err != nil {
		return lag.View{}, err
	}
	r.readIndexes(ctx)
	groups := r.readPositions(ctx)
	r.readOldest(ctx)
	return r.view(groups), ctx.Err()
}

// lookAt takes over which topics there are, and who leads them.
func (r *reader) lookAt(m *kadm.Metadata) {
	for id := range r.brokers {
		r.brokers[id] = false
	}
	r.kinds = map[string]int{"media": 0, "index": 0, "registry": 0, "events": 0}
	there := map[schemas.Topic]bool{}
	for name, d := range m.Topics {
		t, index, ok := r.names.Parse(name)
		kind := r.kindOf(name)
		if kind == "" {
			continue
		}
		for _, p := range d.Partitions {
			for _, id := range p.Replicas {
				r.brokers[fmt.Sprint(id)] = false
			}
			if p.Leader < 0 {
				r.kinds[kind]++
			}
		}
		if ok && index {
			there[t] = true
			r.found(t, name, d).parts = int32(len(m.Topics[r.names.Media(t)].Partitions))
		}
	}
	for _, b := range m.Brokers {
		r.brokers[fmt.Sprint(b.NodeID)] = true
	}
	for t := range r.topics {
		if !there[t] {
			delete(r.topics, t)
		}
	}
	if r.began.IsZero() {
		r.began = time.Now()
		for _, t := range r.topics {
			t.since = r.began // of a topic that comes later all gaps count
		}
	}
}

// kindOf returns the kind of a topic; "" if it is not one of Framelog's.
func (r *reader) kindOf(name string) string {
	switch name {
	case r.names.Cameras(), r.names.Status():
		return "registry"
	case r.names.Events():
		return "events"
	}
	switch _, index, ok := r.names.Parse(name); {
	case !ok:
		return ""
	case index:
		return "index"
	}
	return "media"
}

// found returns what is known of a topic. One that was created again is a new one.
func (r *reader) found(of schemas.Topic, name string, d kadm.TopicDetail) *topic {
	t := r.topics[of]
	if t == nil || t.id != d.ID {
		t = &topic{
			of: of, name: name, id: d.ID, start: -1, end: -1, bytes: -1, processorOf: -1,
			gaps: map[string]time.Duration{}, found: map[int64]*lag.Position{},
		}
		r.topics[of] = t
	}
	t.leader = -1
	if p, ok := d.Partitions[0]; ok {
		t.leader = p.Leader
	}
	return t
}

// readOffsets reads where the indexes end, and from time to time where all topics begin, and
// their sizes. Errors: no broker answers.
func (r *reader) readOffsets(ctx context.Context) error {
	all := time.Since(r.startsAt) >= startsPeriod
	ends, starts := map[string]int32{}, map[string]int32{}
	for of, t := range r.topics {
		ends[t.name] = 1
		if all || t.start < 0 || len(t.starts) != int(t.parts) {
			starts[t.name], starts[r.names.Media(of)] = 1, t.parts
		}
	}
	began, err := r.list(ctx, earliest, starts)
	if err != nil {
		return err
	}
	ended, err := r.list(ctx, latest, ends)
	if err != nil {
		return err
	}
	for of, t := range r.topics {
		if at := began[t.name]; len(at) == 1 && at[0] >= 0 {
			t.start = at[0]
		}
		if at, asked := began[r.names.Media(of)]; asked && !slices.Contains(at, -1) {
			t.starts = at
		}
		if at := ended[t.name]; len(at) == 1 && at[0] >= 0 {
			t.end = at[0]
			if t.index != nil && t.end < t.index.Next() {
				t.forget() // a new leader lacks the newest records
			}
		}
	}
	if all {
		r.startsAt = time.Now()
		r.readSizes(ctx)
	}
	return nil
}

// readSizes reads how large the media topics are.
func (r *reader) readSizes(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, step)
	defer cancel()
	dirs, err := r.admin.DescribeAllLogDirs(ctx, nil)
	if err != nil && len(dirs) == 0 {
		if !r.sizesFail && ctx.Err() == nil {
			r.log.Warn("the sizes of topics cannot be read", "err", err)
			r.sizesFail = true
		}
		return
	}
	r.sizesFail = false
	sizes := map[string]map[int32]int64{} // of the largest copy
	dirs.Each(func(d kadm.DescribedLogDir) {
		d.Topics.Each(func(p kadm.DescribedLogDirPartition) {
			if p.IsFuture {
				return
			}
			if sizes[p.Topic] == nil {
				sizes[p.Topic] = map[int32]int64{}
			}
			sizes[p.Topic][p.Partition] = max(sizes[p.Topic][p.Partition], p.Size)
		})
	})
	for of, t := range r.topics {
		if parts, ok := sizes[r.names.Media(of)]; ok {
			t.bytes = 0
			for _, n := range parts {
				t.bytes += n
			}
		}
	}
}

// readIndexes reads the new records of all indexes.
func (r *reader) readIndexes(ctx context.Context) {
	for {
		want := map[*topic]int64{}
		for _, t := range r.topics {
			if at, ok := t.want(); ok {
				want[t] = at
			} else if t.index != nil {
				if !r.looked {
					t.index.ForgetGaps() // they came before this process, also where a writer's clock is ahead
				}
				t.read = true
			}
		}
		if len(want) == 0 || r.fetch(ctx, want, (*topic).take) == 0 {
			break
		}
	}
	r.looked = true
	for _, t := range r.topics {
		if t.index != nil {
			t.end = max(t.end, t.index.Next())
		}
	}
}

// take takes the next record of the index. written is zero if it is not known.
func (t *topic) take(e schemas.Entry, written time.Time) {
	t.index.Take(e)
	if written.IsZero() {
		return
	}
	if !t.read && !written.After(t.since) {
		t.index.ForgetGaps() // they came before this process, or were counted
	}
	t.written = written
}

// forget forgets the index, so that it is read anew. What was counted stays.
func (t *topic) forget() {
	if t.read { // else nothing was told of it
		for reason, d := range t.index.Gaps() {
			t.gaps[reason] += d
		}
		t.since = t.written
	}
	t.index, t.read = nil, false
	clear(t.found)
}

// want returns the next record of the index to read, if there is one.
func (t *topic) want() (at int64, ok bool) {
	letters := lag.IsLetters(t.of)
	switch {
	case t.start < 0 || t.end < 0:
		return 0, false
	case t.index == nil && letters: // all of them count
		t.index = lag.NewIndex(t.start)
	case t.index == nil:
		t.index = lag.NewIndex(max(t.start, t.end-firstWindow))
	case t.index.Next() < t.start:
		t.index.Skip(t.start)
	case t.index.Next() < t.end-farBehind && !letters:
		t.index.Skip(t.end - firstWindow)
	case t.index.Next() >= t.end && t.index.Newest() == nil && t.index.From() > t.start:
		// Only `open`s and void entries stand there: look further back.
		t.index = lag.NewIndex(max(t.start, t.end-4*(t.end-t.index.From())))
	}
	return t.index.Next(), t.index.Next() < t.end
}

// readOldest searches the oldest footage of topics in which retention has removed some since
// the last search. It ends after half an interval at the latest: the next reading goes on.
func (r *reader) readOldest(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Interval/2)
	defer cancel()
	var g errgroup.Group
	g.SetLimit(oldestAtOnce)
	for of, t := range r.topics {
		key := oldestKey{t.starts, t.index != nil && t.index.Newest() != nil}
		if t.starts == nil || key.any == t.oldestOf.any && slices.Equal(key.starts, t.oldestOf.starts) {
			continue
		}
		if ctx.Err() != nil {
			break
		}
		g.Go(func() error {
			oldest, _, err := r.mlog.Bounds(ctx, of)
			switch {
			case err == nil:
				t.oldest, t.oldestOf = &oldest, key
			case errors.Is(err, medialog.ErrNotFound), errors.Is(err, medialog.ErrNoTopic):
				t.oldest, t.oldestOf = nil, key
			case ctx.Err() == nil:
				r.log.Debug("the oldest footage of a topic cannot be read", "topic", of, "err", err)
			}
			return nil
		})
	}
	_ = g.Wait() // no function returns an error
}

// view puts together what was read.
func (r *reader) view(groups []lag.Group) lag.View {
	v := lag.View{
		At: time.Now(), Retention: r.cfg.Retention, Groups: groups,
		Topics: map[schemas.Topic]lag.Topic{}, Brokers: map[string]bool{}, Leaderless: r.kinds,
	}
	for id, up := range r.brokers {
		v.Brokers[id] = up
	}
	for of, t := range r.topics {
		is := lag.Topic{Unread: !t.read, Oldest: t.oldest, Processor: t.processor, Bytes: t.bytes, Gaps: maps.Clone(t.gaps)}
		is.Trimmed = slices.ContainsFunc(t.starts, func(at int64) bool { return at > 0 })
		if t.read {
			is.Newest, is.Letters = t.index.Newest(), t.index.Letters(t.starts)
			for reason, d := range t.index.Gaps() {
				is.Gaps[reason] += d
			}
		}
		v.Topics[of] = is
	}
	return v
}
