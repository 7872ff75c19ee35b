package medialog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/schemas"
)

// Errors of readers.
var (
	// ErrExpired: Kafka has removed, or lost, what was asked for.
	ErrExpired = errors.New("medialog: footage has expired")
	// ErrNotFound: nothing of the sort was ever recorded, as far as the index
	// tells.
	ErrNotFound = errors.New("medialog: no such fragment")
	// ErrNoTopic: the camera has no topic.
	ErrNoTopic = errors.New("medialog: no such topic")
	// ErrSlow: the reader of a tail fell behind its queue; begin again at the
	// last seq that was told. Nothing is lost by it: the log has everything.
	ErrSlow = errors.New("medialog: reader of the tail is too slow")
)

// Config is a log's settings. The zero value of each field but Kafka means
// its default.
type Config struct {
	Kafka kafka.Config

	// Topics.
	Partitions     int32         // of a media topic; default 2
	Retention      time.Duration // of media; default 24h. The index is kept an hour longer
	RetentionBytes int64         // of media, a topic (divided by its partitions); default -1, no limit
	SegmentBytes   int64         // of media; default 64 MiB. Kafka removes whole segments
	SegmentTime    time.Duration // of media; default 10m
	MaxMessage     int           // bytes; default 8 MiB: the largest chunk

	// Writers.
	Budget       int64 // bytes a camera that wait for Kafka; default 16 MiB. Whole fragments are refused beyond it
	IndexPending int   // fragments and gap runs a camera that wait for their entry; default 64

	// Readers.
	LostAfter time.Duration // default 10s: how long offsets that are asked for may lie beyond their partition's end, as after a change of leader, before they count as lost (ErrExpired)

	// Tails.
	TailBytes int64 // bytes of records a tail that wait for their reader, and again as much of provisional chunks that wait for their turn; default 32 MiB
}

// Log is a connection to the log, for any number of writers and readers.
type Log struct {
	cfg     Config
	names   schemas.Names
	logger  *slog.Logger
	metrics *metrics

	producer *kgo.Client // produces, and serves requests of readers and writers
	admin    *kadm.Client

	ctx    context.Context //nolint:containedctx // the life of tails and writers, ended by Close
	cancel context.CancelFunc
	wg     sync.WaitGroup

	hubs hubs

	mu    sync.Mutex
	parts map[string]int32 // of each media topic, when a writer last opened it
}

// Connect makes a Log. It does not wait for a broker: with none there, readers
// and writers wait. Metrics go to reg (nil: nowhere), messages to log. Close
// it.
func Connect(cfg Config, log *slog.Logger, reg prometheus.Registerer) (*Log, error) {
	cfg.fill()
	if err := cfg.Kafka.Validate(); err != nil {
		return nil, fmt.Errorf("medialog: connect: %w", err)
	}
	opts := append(cfg.Kafka.Options(log),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerLinger(0),
		kgo.ProducerBatchMaxBytes(int32(cfg.MaxMessage)),
		// Budgets stand before the client, one a camera: its own limits are
		// one for all and would let one camera stop another.
		kgo.MaxBufferedRecords(1<<24),
		kgo.UnknownTopicRetries(20),
	)
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("medialog: connect: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &Log{
		cfg: cfg, names: cfg.Kafka.Names(), logger: log, metrics: newMetrics(reg),
		producer: cl, admin: kadm.NewClient(cl), ctx: ctx, cancel: cancel, parts: map[string]int32{},
	}
	l.hubs.log = l
	return l, nil
}

// Close ends all readers and writers, waits for the writers, and closes the
// clients. Writers end as in a crash: close them first.
func (l *Log) Close() {
	l.cancel()
	l.wg.Wait()
	l.hubs.close()
	l.producer.Close()
}

// bound is ctx, ended by Close too: requests of readers are tried again until
// their context ends.
func (l *Log) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(l.ctx, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}

func (c *Config) fill() {
	def := func(v *int64, d int64) {
		if *v == 0 {
			*v = d
		}
	}
	if c.Partitions == 0 {
		c.Partitions = 2
	}
	if c.Retention == 0 {
		c.Retention = 24 * time.Hour
	}
	if c.SegmentTime == 0 {
		c.SegmentTime = 10 * time.Minute
	}
	if c.MaxMessage == 0 {
		c.MaxMessage = 8 << 20
	}
	if c.LostAfter == 0 {
		c.LostAfter = 10 * time.Second
	}
	if c.IndexPending == 0 {
		c.IndexPending = 64
	}
	def(&c.RetentionBytes, -1)
	def(&c.SegmentBytes, 64<<20)
	def(&c.Budget, 16<<20)
	def(&c.TailBytes, 32<<20)
}

// Ensure makes t's topics with their settings, or reconciles them.
func (l *Log) Ensure(ctx context.Context, t schemas.Topic) error {
	ms := func(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
	num := func(n int64) string { return strconv.FormatInt(n, 10) }
	if err := kafka.Ensure(ctx, l.admin, kafka.Spec{
		Name: l.names.Media(t), Partitions: l.cfg.Partitions,
		Configs: map[string]string{
			"cleanup.policy": "delete", "max.message.bytes": num(int64(l.cfg.MaxMessage)),
			"retention.ms":  ms(l.cfg.Retention),
			"segment.bytes": num(l.cfg.SegmentBytes), "segment.ms": ms(l.cfg.SegmentTime),
		},
		RetentionBytes: l.cfg.RetentionBytes,
	}); err != nil {
		return err
	}
	// The index outlives its media, by time alone: it is a thousandth of it.
	return kafka.Ensure(ctx, l.admin, kafka.Spec{
		Name: l.names.Index(t), Partitions: 1,
		Configs: map[string]string{
			"cleanup.policy": "delete", "retention.ms": ms(l.cfg.Retention + indexOutlives), "retention.bytes": "-1",
			"segment.bytes": num(4 << 20), "segment.ms": ms(max(l.cfg.SegmentTime, time.Hour)),
		},
	})
}

// grown is told how many partitions a writer is about to use. The producing
// client refuses those that it does not know yet: where there are more than
// before it forgets the topic, and asks anew.
func (l *Log) grown(media string, parts int32) {
	l.mu.Lock()
	before := l.parts[media]
	l.parts[media] = parts
	l.mu.Unlock()
	if before != 0 && before < parts {
		l.producer.PurgeTopicsFromProducing(media)
	}
}

// Forget drops the metrics of a camera whose writers have all been closed, so
// that those of cameras that are gone do not gather.
func (l *Log) Forget(camera string) { l.metrics.forget(camera) }

// indexOutlives is how much longer than media its index is kept.
const indexOutlives = 2 * time.Hour

// ensureRetrying is Ensure until it succeeds or ctx ends.
func (l *Log) ensureRetrying(ctx context.Context, t schemas.Topic) error {
	said := false
	return retry(ctx, func() error {
		err := l.Ensure(ctx, t)
		if err != nil && ctx.Err() == nil && !said {
			l.logger.Warn("waiting for Kafka to make a camera's topics", "camera", t.Camera, "err", err)
			said = true
		}
		return err
	})
}

// retry calls f, with growing pauses, until it succeeds or ctx ends.
func retry(ctx context.Context, f func() error) error {
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		if f() == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// Purge deletes all footage of a camera, its topics with renditions included,
// and names those. Stop its writer first: one that goes on makes them anew.
func (l *Log) Purge(ctx context.Context, camera string) ([]string, error) {
	topics, err := l.admin.ListTopics(ctx)
	if err != nil {
		return nil, fmt.Errorf("medialog: purge %s: %w", camera, err)
	}
	var names []string
	for _, name := range topics.Names() {
		if t, _, ok := l.names.Parse(name); ok && t.Camera == camera {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil, nil
	}
	res, err := l.admin.DeleteTopics(ctx, names...)
	if err != nil {
		return nil, fmt.Errorf("medialog: purge %s: %w", camera, err)
	}
	names = names[:0]
	var errs []error
	for _, r := range res {
		// A broker may list for a moment what another one has deleted.
		if r.Err != nil && !errors.Is(r.Err, kerr.UnknownTopicOrPartition) {
			errs = append(errs, fmt.Errorf("medialog: purge %s: delete %s: %w", camera, r.Topic, r.Err))
			continue
		}
		names = append(names, r.Topic)
	}
	slices.Sort(names)
	l.producer.PurgeTopicsFromClient(names...)
	return names, errors.Join(errs...)
}

// Topics lists the media topics there are.
func (l *Log) Topics(ctx context.Context) ([]schemas.Topic, error) {
	topics, err := l.admin.ListTopics(ctx)
	if err != nil {
		return nil, fmt.Errorf("medialog: list topics: %w", err)
	}
	var out []schemas.Topic
	for _, name := range topics.Names() {
		if t, index, ok := l.names.Parse(name); ok && !index {
			out = append(out, t)
		}
	}
	return out, nil
}

// Ping asks a broker whether it is there.
func (l *Log) Ping(ctx context.Context) error {
	if err := l.producer.Ping(ctx); err != nil {
		return fmt.Errorf("medialog: ping: %w", err)
	}
	return nil
}
