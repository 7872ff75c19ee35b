package medialog

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/schemas"
)

// Errors of readers.
var (
	// ErrExpired: Kafka has removed what was asked for.
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
	Budget       int64         // bytes a camera that wait for Kafka; default 16 MiB. Whole fragments are refused beyond it
	IndexPending int           // fragments and gap runs a camera that wait for their entry; default 64
	SettleWindow time.Duration // reserved for tests; default: none

	// Tails.
	TailQueue int // events a tail that wait for their reader; default 4096
}

// Log is a connection to the log, for any number of writers and readers.
type Log struct {
	cfg Config
}

// Connect makes a Log. It does not wait for a broker: with none there, readers
// and writers wait. Metrics go to reg, messages to log. Close it.
func Connect(cfg Config, log *slog.Logger, reg prometheus.Registerer) (*Log, error) {
	return nil, errors.New("under way")
}

// Close ends all tails and writers and waits for them.
func (l *Log) Close() {}

// Ensure makes t's topics with their settings, or reconciles them.
func (l *Log) Ensure(ctx context.Context, t schemas.Topic) error { return nil }

// Purge deletes all footage of a camera: its topics, renditions included.
func (l *Log) Purge(ctx context.Context, camera string) error { return nil }

// Topics lists the media topics there are.
func (l *Log) Topics(ctx context.Context) ([]schemas.Topic, error) { return nil, nil }

// Ping asks a broker whether it is there.
func (l *Log) Ping(ctx context.Context) error { return nil }

// Entries implements Store.
func (l *Log) Entries(ctx context.Context, t schemas.Topic, r Range) iter.Seq2[schemas.Entry, error] {
	return nil
}

// Chunks implements Store.
func (l *Log) Chunks(ctx context.Context, t schemas.Topic, e schemas.Entry) iter.Seq2[*schemas.Chunk, error] {
	return nil
}

// Entry finds the entry of one seq. Errors: ErrExpired, ErrNotFound (above
// the newest entry or never recorded), ErrNoTopic.
func (l *Log) Entry(ctx context.Context, t schemas.Topic, seq uint64) (schemas.Entry, error) {
	return schemas.Entry{}, nil
}

// Tail follows t from a position on until ctx ends: entries, provisional
// chunks, openings. It waits while the topic or the brokers are not there. It
// ends with ErrSlow where the reader falls behind, or with ctx's error.
func (l *Log) Tail(ctx context.Context, t schemas.Topic, from Position) iter.Seq2[Event, error] {
	return nil
}

// OpenOptions says who opens a topic for writing, and why.
type OpenOptions struct {
	Writer string        // this process, in the `open` entry
	Host   string        // its host
	Reason string        // "start", "takeover", …
	Admit  func() string // asked at each fragment; a reason to refuse it (schemas.ReasonStorage), or ""
}

// Open makes a writer of t: it fences all earlier ones, settles what they left
// behind, and goes on. Open itself returns at once; until all that is done
// (see Ready) the writer takes chunks into its budget. It makes the topic
// where it is missing. Fencing begins now: call it with the first keyframe in
// hand.
func (l *Log) Open(ctx context.Context, t schemas.Topic, o OpenOptions) *Writer { return nil }

// Writer implements ingest.Recorder.
type Writer struct{}

// Ready is closed once the writer has the topic and everything earlier is
// settled.
func (w *Writer) Ready() <-chan struct{} { return nil }

// Fenced is closed once another writer has taken the topic (or Close was
// called): nothing that is written any more will count.
func (w *Writer) Fenced() <-chan struct{} { return nil }

// Close closes an open fragment as truncated, waits until everything has its
// entry or ctx ends, and frees the writer. It is idempotent.
func (w *Writer) Close(ctx context.Context) error { return nil }

// NewSession makes the next fragment or gap begin a new session.
func (w *Writer) NewSession() {}

// Write takes the next chunk of a fragment. See ingest.Recorder.
func (w *Writer) Write(c *schemas.Chunk) error { return nil }

// Truncate closes the open fragment as truncated.
func (w *Writer) Truncate(reason string) {}

// Gap records footage that was received and could not be kept.
func (w *Writer) Gap(start time.Time, media, duration int64, reason string) {}

// Lost adds to what is missing inside the open fragment.
func (w *Writer) Lost(l schemas.Lost) {}
