package medialog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/schemas"
)

// appender writes records to the two topics of a camera or rendition. Writer and
// Follower have one each.
type appender struct {
	log    *Log
	topic  schemas.Topic
	media  string // Kafka topic names
	index  string
	logger *slog.Logger
	stamps stamps
}

func (l *Log) appender(t schemas.Topic) appender {
	return appender{log: l, topic: t, media: l.names.Media(t), index: l.names.Index(t), logger: l.logger.With("camera", t.Camera)}
}

// stamps gives records their timestamps. They never go back: retention and seeks by time
// rely on this.
type stamps struct {
	mu       sync.Mutex
	newest   time.Time // timestamp of the newest record
	accepted time.Time // timestamp of the newest record that Kafka took
}

// next returns at, or the timestamp of the record before if that is later.
func (s *stamps) next(at time.Time) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at = at.Truncate(time.Millisecond); at.After(s.newest) {
		s.newest = at
	}
	return s.newest
}

// answered takes Kafka's answer for a record with timestamp at. If Kafka refused the
// timestamp, later records may have an earlier one. Otherwise a clock that was ahead
// for a moment would stop the writer until that time comes.
func (s *stamps) answered(at time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil && at.After(s.accepted):
		s.accepted = at
	case errors.Is(err, kerr.InvalidTimestamp):
		s.newest = s.accepted
	}
}

// errShorter ends a writer or follower if an index is shorter than it was. It is not ErrExpired: a
// processor would take that for footage of its input, and give the fragment a gap, which is final.
var errShorter = errors.New("medialog: the index is shorter than it was; look at the brokers: they have lost its end")

// ownIndex returns errShorter for an error of the reads that a follower makes for itself, if that
// is ErrExpired, and other errors as they are.
func ownIndex(err error) error {
	if !errors.Is(err, ErrExpired) {
		return err
	}
	return fmt.Errorf("%w: %s", errShorter, err.Error())
}

// appendJudged appends an entry behind e.Prev, and finds out whether it is valid. at is
// the record's timestamp, zero: now. Errors: ErrFenced; errShorter; those of append.
func (a *appender) appendJudged(ctx context.Context, e *schemas.Entry, at time.Time) (offset int64, err error) {
	offset, err = a.append(ctx, e, at)
	if err != nil {
		return 0, err
	}
	if offset <= e.Prev {
		// The index was cut back: entries of this writer are missing there.
		return 0, fmt.Errorf("medialog: entry %d of %s is at offset %d, the one before was at %d: %w", e.Seq, a.index, offset, e.Prev, errShorter)
	}
	if offset != e.Prev+1 {
		// Other writers have appended in between. An `open` of theirs makes it void.
		fenced, err := a.log.openBetween(ctx, a.index, e.Prev, offset)
		if err != nil {
			return 0, err
		}
		if fenced {
			a.logger.Debug("another writer has opened the camera's topic", "topic", a.index, "seq", e.Seq)
			return 0, ErrFenced
		}
	}
	return offset, nil
}

// append writes an entry and returns its offset. at is the record's timestamp, zero:
// now. It waits while Kafka is away, and tries again if Kafka refuses the entry: a
// person can set a wrong clock or grant a missing right. If the entry is written twice,
// it counts once. Only a topic that was deleted ends it.
func (a *appender) append(ctx context.Context, e *schemas.Entry, at time.Time) (offset int64, err error) {
	logged := false
	retryErr := retry(ctx, func() error {
		offset, err = a.appendOnce(ctx, e, at)
		switch {
		case err == nil, ctx.Err() != nil, isGone(err):
			return nil
		case !a.log.logMissingRight(err) && !logged:
			a.logger.Error("Kafka refused an entry; trying again", "topic", a.index, "kind", e.Kind, "err", err)
			logged = true
		}
		return err
	})
	if retryErr != nil {
		return 0, retryErr
	}
	return offset, err
}

func (a *appender) appendOnce(ctx context.Context, e *schemas.Entry, at time.Time) (int64, error) {
	value, err := schemas.EncodeEntry(e)
	if err != nil {
		return 0, fmt.Errorf("medialog: append entry to %s: %w", a.index, err)
	}
	if at.IsZero() {
		at = time.Now()
	}
	rec := &kgo.Record{Topic: a.index, Value: value, Timestamp: a.stamps.next(at)}
	if e.Footage() {
		rec.Key = schemas.Key(a.topic.Camera, e.Seq)
	} else {
		rec.Key = []byte(a.topic.Camera)
	}
	rec.Headers = []kgo.RecordHeader{
		{Key: schemas.HeaderVersion, Value: strconv.AppendInt(nil, schemas.Version, 10)},
		{Key: "kind", Value: []byte(e.Kind)},
	}
	life := context.Background()
	if e.Kind == schemas.KindOpen {
		// The client drops an `open` that it has not sent yet when the writer ends:
		// it must not fence the next owner. Other entries may still arrive.
		life = ctx
	}
	res := make(chan error, 1)
	a.log.producer.TryProduce(life, rec, func(_ *kgo.Record, err error) { res <- err })
	select {
	case err := <-res:
		a.stamps.answered(rec.Timestamp, err)
		if err != nil {
			return 0, fmt.Errorf("medialog: append entry to %s: %w", a.index, explain(err))
		}
		return rec.Offset, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// produce sends a chunk to a partition. at is the record's timestamp. It never blocks.
// done is called once with the answer, on a goroutine of the client, unless produce
// returns an error.
func (a *appender) produce(c *schemas.Chunk, partition int32, at time.Time, done func(offset int64, err error)) error {
	value, err := schemas.EncodeChunk(c)
	if err != nil {
		return fmt.Errorf("medialog: write %s: %w", a.topic, err)
	}
	rec := &kgo.Record{
		Topic: a.media, Partition: partition, Key: schemas.Key(a.topic.Camera, c.Seq), Value: value, Timestamp: a.stamps.next(at),
	}
	for _, h := range schemas.ChunkHeaders(c) {
		rec.Headers = append(rec.Headers, kgo.RecordHeader(h))
	}
	seq, sent := c.Seq, time.Now()
	// TryProduce never blocks. Its limits are far above all budgets together.
	a.log.producer.TryProduce(context.Background(), rec, func(r *kgo.Record, err error) {
		a.stamps.answered(r.Timestamp, err)
		if err != nil {
			if err := explain(err); !a.log.logMissingRight(err) {
				a.logger.Error("Kafka refused a chunk", "topic", a.media, "seq", seq, "err", err)
			}
		} else {
			a.log.metrics.produceSeconds.Observe(time.Since(sent).Seconds())
			a.log.metrics.written.WithLabelValues(a.topic.Camera).Add(float64(len(r.Value)))
		}
		done(r.Offset, err)
	})
	return nil
}

// failureOf is the reason of the gap or truncation that an error causes.
func failureOf(err error) string {
	if errors.Is(err, kerr.MessageTooLarge) {
		return schemas.ReasonTooLarge
	}
	return schemas.ReasonProduce
}

// explain adds the remedy to errors of Kafka that people can correct.
func explain(err error) error {
	switch {
	case errors.Is(err, kerr.InvalidTimestamp):
		return fmt.Errorf("%w: this host's clock is ahead of the broker's by more than it takes; set both clocks (NTP)", err)
	case errors.Is(err, kerr.MessageTooLarge):
		return fmt.Errorf("%w: raise max.message.bytes of the topic and message.max.bytes of the brokers, or lower chunk_duration", err)
	}
	return kafka.NeedsRight("WRITE", err)
}

// isGone reports whether an error means that a topic does not exist, or is not the
// one that the client knew under this name.
func isGone(err error) bool {
	return errors.Is(err, kerr.UnknownTopicOrPartition) || errors.Is(err, kerr.UnknownTopicID) || errors.Is(err, kerr.InconsistentTopicID)
}
