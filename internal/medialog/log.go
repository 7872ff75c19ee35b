package medialog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/schemas"
)

// Errors of readers.
var (
	// ErrExpired: Kafka has removed or lost the records that the reader asks for.
	ErrExpired = errors.New("medialog: footage has expired")
	// ErrBeyond: the footage lies beyond the end of its partition. Kafka has lost
	// it, or a leader that has it is not back yet.
	ErrBeyond = errors.New("medialog: footage lies beyond the end of its partition")
	// ErrDamaged: Kafka has a record that cannot be decoded. A tail ends with it; other
	// reads do so only with Config.EndAtDamage, or by Log.EndingAtDamage.
	ErrDamaged = errors.New("medialog: a record is damaged")
	// ErrNotFound: the index has no entry of this fragment.
	ErrNotFound = errors.New("medialog: no such fragment")
	// ErrNoTopic: the camera has no topic.
	ErrNoTopic = errors.New("medialog: no such topic")
	// ErrSlow: the reader of a tail was slower than the log, and its queue is
	// full. It can begin again behind the last seq that it has: the log has
	// everything.
	ErrSlow = errors.New("medialog: reader of the tail is too slow")
)

// Config is the settings of a log. In each field but Kafka, zero means the
// default.
type Config struct {
	Kafka kafka.Config

	// Topics.
	Partitions     int32         // of a media topic; default 2
	Retention      time.Duration // of media; default 24h. The index is kept longer by IndexOutlives
	RetentionBytes int64         // of media, of all partitions together; default -1: no limit
	SegmentBytes   int64         // of media; default 64 MiB. Kafka removes whole segments
	SegmentTime    time.Duration // of media; default 10m
	MaxMessage     int           // bytes; default 8 MiB: the largest chunk

	// Writers, each for one camera.
	Budget       int64 // bytes that wait for Kafka; default 16 MiB. Whole fragments are refused beyond it
	IndexPending int   // fragments and runs of gaps that wait for their entry; default 64

	// Readers.
	LostAfter time.Duration // default 10s. A partition may end before a requested offset, as after a change of leader. If it does so for this time, the records count as lost (ErrExpired)
	// EndAtDamage makes a read end with ErrDamaged if a record cannot be decoded, as when its checksum
	// is wrong, in several tries. Default: it is tried until the context of the read ends. Writers and
	// followers need that, since they must not pass a record that they do not know. A process that
	// has both reads with [Log.EndingAtDamage].
	EndAtDamage bool

	// Tails.
	TailBytes int64 // default 32 MiB: bytes of records that wait for the reader of a tail. As many bytes of provisional chunks may wait for their turn
}

// Log is a connection to the log, for any number of writers and readers.
type Log struct {
	*connection
	endAtDamage bool // as Config.EndAtDamage
}

// connection is what a Log and its view that ends at damage have together.
type connection struct {
	cfg     Config
	names   schemas.Names
	logger  *slog.Logger
	metrics *metrics

	producer *kgo.Client // produces, and serves requests of readers and writers
	admin    *kadm.Client
	topics   *kafka.Topics

	ctx    context.Context //nolint:containedctx // the life of tails and writers, ended by Close
	cancel context.CancelFunc
	wg     sync.WaitGroup

	hub      *hub
	ensuring joiner[schemas.Topic, error]
	spanning joiner[string, []span]

	mu         sync.Mutex
	partitions map[string]int32 // of each media topic, when a writer last opened it
	noRights   map[string]bool  // rights that were logged as missing
}

// Connect makes a Log. It does not wait for a broker: readers and writers do.
// Metrics go to reg (nil: nowhere), messages to log. The caller has to Close it.
func Connect(cfg Config, log *slog.Logger, reg prometheus.Registerer) (*Log, error) {
	cfg.setDefaults()
	if err := cfg.Kafka.Validate(); err != nil {
		return nil, fmt.Errorf("medialog: connect: %w", err)
	}
	opts := append(cfg.Kafka.Options(log),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerLinger(0),
		kgo.ProducerBatchMaxBytes(int32(cfg.MaxMessage)),
		// Each camera has a budget of its own before the client. The client's
		// limits are for all cameras together: one could stop another.
		kgo.MaxBufferedRecords(1<<24),
		kgo.UnknownTopicRetries(20),
		// A broker that stands still gives no answer. Kafka has chosen another leader
		// after 9 s (broker.session.timeout.ms). A camera's budget (16 MiB) holds 16 s at
		// 8 Mbit/s, so what was sent to the old leader is sent again before that: the
		// sum of both is how long an answer may take.
		kgo.ProduceRequestTimeout(5*time.Second),
		kgo.RequestTimeoutOverhead(7*time.Second),
	)
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("medialog: connect: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &Log{&connection{
		cfg: cfg, names: cfg.Kafka.Names(), logger: log, metrics: newMetrics(reg),
		producer: cl, admin: kadm.NewClient(cl), topics: kafka.NewTopics(cfg.Kafka, cl, log), ctx: ctx, cancel: cancel,
		partitions: map[string]int32{}, noRights: map[string]bool{},
	}, cfg.EndAtDamage}
	l.hub = newHub(l)
	l.ensuring.do, l.spanning.do = l.ensureTopics, l.spansSoon
	return l, nil
}

// EndingAtDamage returns l as a Store whose reads end with ErrDamaged, as with Config.EndAtDamage. It
// needs no Close, and is for reads alone.
func (l *Log) EndingAtDamage() *Log { return &Log{l.connection, true} }

// Close ends all readers and writers, waits for the writers, and closes the
// clients. Writers that are not closed before end as in a crash.
func (l *Log) Close() {
	l.cancel()
	l.wg.Wait()
	l.hub.close()
	l.producer.Close()
}

// bound returns a context that ends with ctx or with Close. Readers send their
// requests again until their context ends.
func (l *Log) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(l.ctx, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}

func (c *Config) setDefaults() {
	c.Partitions = cmp.Or(c.Partitions, 2)
	c.Retention = cmp.Or(c.Retention, 24*time.Hour)
	c.RetentionBytes = cmp.Or(c.RetentionBytes, -1)
	c.SegmentBytes = cmp.Or(c.SegmentBytes, 64<<20)
	c.SegmentTime = cmp.Or(c.SegmentTime, 10*time.Minute)
	c.MaxMessage = cmp.Or(c.MaxMessage, 8<<20)
	c.Budget = cmp.Or(c.Budget, 16<<20)
	c.IndexPending = cmp.Or(c.IndexPending, 64)
	c.LostAfter = cmp.Or(c.LostAfter, 10*time.Second)
	c.TailBytes = cmp.Or(c.TailBytes, 32<<20)
}

// setPartitions tells the producing client how many partitions a media topic has
// now. The client refuses those that it does not know yet. If there are more than
// before, it forgets the topic, and asks again.
func (l *Log) setPartitions(media string, n int32) {
	l.mu.Lock()
	before := l.partitions[media]
	l.partitions[media] = n
	l.mu.Unlock()
	if before != 0 && before < n {
		l.producer.PurgeTopicsFromProducing(media)
	}
}

// Forget drops the metrics of a camera that is gone. Close its writers first.
func (l *Log) Forget(camera string) { l.metrics.forget(camera) }

// Topics lists the media topics that exist.
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

// Ping returns an error if no broker answers.
func (l *Log) Ping(ctx context.Context) error {
	if err := l.producer.Ping(ctx); err != nil {
		return fmt.Errorf("medialog: ping: %w", err)
	}
	return nil
}

type topicPartition struct {
	topic string
	n     int32
}
