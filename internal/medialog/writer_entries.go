package medialog

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/framelog/framelog/schemas"
)

// appendEntries appends the entries of core, one at a time, until the writer is
// closed, fenced, or ctx ends.
func (w *Writer) appendEntries(ctx context.Context) error {
	for {
		w.mu.Lock()
		e, ok := w.core.append()
		idle := w.closing && len(w.core.pending) == 0
		gone := w.gone
		w.log.metrics.pending.WithLabelValues(w.topic.Camera).Set(float64(len(w.core.pending)))
		w.mu.Unlock()
		switch {
		case ok:
			if err := w.commit(ctx, &e); err != nil {
				return err
			}
		case idle:
			return nil
		case gone != nil: // the chunks that it refused have their entry
			w.log.producer.PurgeTopicsFromProducing(w.media) // else the client keeps to the old topic for ever
			return fmt.Errorf("medialog: write to %s: %w", w.media, gone)
		default:
			select {
			case <-w.wakeup:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}

// commit appends an entry and finds out whether it is valid.
func (w *Writer) commit(ctx context.Context, e *schemas.Entry) error {
	began := time.Now()
	offset, err := w.append(ctx, e)
	if err != nil {
		return err
	}
	if offset <= e.Prev {
		// The index was cut back: entries of this writer are missing there.
		return fmt.Errorf("medialog: entry %d of %s is at offset %d, the one before was at %d: %w", e.Seq, w.index, offset, e.Prev, errCutBack)
	}
	if offset != e.Prev+1 {
		// Other writers have appended in between. An `open` of theirs makes it void.
		fenced, err := w.log.openBetween(ctx, w.index, e.Prev, offset)
		if err != nil {
			return err
		}
		if fenced {
			w.logger.Debug("another writer has opened the camera's topic", "topic", w.index, "seq", e.Seq)
			return ErrFenced
		}
	}
	w.mu.Lock()
	w.core.committed(offset)
	w.mu.Unlock()
	m := w.log.metrics
	m.commitSeconds.Observe(time.Since(began).Seconds())
	m.entries.WithLabelValues(w.topic.Camera, string(e.Kind)).Inc()
	if e.Kind == schemas.KindGap {
		m.gaps.WithLabelValues(w.topic.Camera, e.Reason).Add(float64(e.Duration) / schemas.MediaTimescale)
	}
	return nil
}

// append writes an entry and returns its offset. It waits while Kafka is away, and
// tries again if Kafka refuses the entry: a person can set a wrong clock or grant a
// missing right. If the entry is written twice, it counts once. Only a topic that
// was deleted ends it.
func (w *Writer) append(ctx context.Context, e *schemas.Entry) (offset int64, err error) {
	logged := false
	retryErr := retry(ctx, func() error {
		offset, err = w.appendOnce(ctx, e)
		switch {
		case err == nil, ctx.Err() != nil, isGone(err):
			return nil
		case !w.log.logMissingRight(err) && !logged:
			w.logger.Error("Kafka refused an entry; trying again", "topic", w.index, "kind", e.Kind, "err", err)
			logged = true
		}
		return err
	})
	if retryErr != nil {
		return 0, retryErr
	}
	return offset, err
}

func (w *Writer) appendOnce(ctx context.Context, e *schemas.Entry) (int64, error) {
	value, err := schemas.EncodeEntry(e)
	if err != nil {
		return 0, fmt.Errorf("medialog: append entry to %s: %w", w.index, err)
	}
	w.mu.Lock()
	rec := &kgo.Record{Topic: w.index, Value: value, Timestamp: w.timestamp()}
	w.mu.Unlock()
	if e.Footage() {
		rec.Key = schemas.Key(w.topic.Camera, e.Seq)
	} else {
		rec.Key = []byte(w.topic.Camera)
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
	w.log.producer.TryProduce(life, rec, func(_ *kgo.Record, err error) { res <- err })
	select {
	case err := <-res:
		w.mu.Lock()
		w.answered(rec.Timestamp, err)
		w.mu.Unlock()
		if err != nil {
			return 0, fmt.Errorf("medialog: append entry to %s: %w", w.index, explain(err))
		}
		return rec.Offset, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}
