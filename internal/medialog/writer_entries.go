package medialog

import (
	"context"
	"fmt"
	"time"

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
		w.log.metrics.pending.WithLabelValues(w.topic.String()).Set(float64(len(w.core.pending)))
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
	offset, err := w.appendJudged(ctx, e, time.Time{})
	if err != nil {
		return err
	}
	w.mu.Lock()
	w.core.committed(offset)
	w.mu.Unlock()
	w.wake()
	m := w.log.metrics
	m.commitSeconds.Observe(time.Since(began).Seconds())
	m.entries.WithLabelValues(w.topic.String(), string(e.Kind)).Inc()
	if e.Absent > 0 {
		m.absent.WithLabelValues(w.topic.String(), e.AbsentReason).Add(float64(e.Absent) / schemas.MediaTimescale)
	}
	if e.Kind == schemas.KindGap {
		m.gaps.WithLabelValues(w.topic.String(), e.Reason).Add(float64(e.Duration) / schemas.MediaTimescale)
	}
	return nil
}
