package medialog

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/framelog/framelog/schemas"
)

// write numbers a chunk and sends it. The caller holds w.mu.
func (w *Writer) write(c *schemas.Chunk, admit string) error {
	ticks := c.MediaEnd() - c.MediaStart()
	o, err := w.core.write(c, admit)
	if err != nil {
		w.countRefused(ticks, w.core.refusing)
		w.wake()
		return err
	}
	value, err := schemas.EncodeChunk(c)
	if err != nil {
		w.core.resolved(o, 0, schemas.ReasonProduce)
		w.wake()
		return fmt.Errorf("medialog: write %s: %w", w.topic, err)
	}
	rec := &kgo.Record{
		Topic: w.media, Partition: o.item.entry.Partition,
		Key: schemas.Key(w.topic.Camera, c.Seq), Value: value, Timestamp: w.timestamp(),
	}
	for _, h := range schemas.ChunkHeaders(c) {
		rec.Headers = append(rec.Headers, kgo.RecordHeader(h))
	}
	m := w.log.metrics
	m.buffered.WithLabelValues(w.topic.Camera).Set(float64(w.core.buffered))
	sent := time.Now()
	// TryProduce never blocks. Its limits are far above all budgets together.
	w.log.producer.TryProduce(context.Background(), rec, func(r *kgo.Record, err error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		failure := ""
		if err != nil {
			failure = failureOf(err)
			if isGone(err) {
				w.gone = err
			}
			if err := explain(err); !w.log.logMissingRight(err) {
				w.logger.Error("Kafka refused a chunk", "topic", w.media, "seq", c.Seq, "err", err)
			}
		} else {
			m.produceSeconds.Observe(time.Since(sent).Seconds())
			m.written.WithLabelValues(w.topic.Camera).Add(float64(len(r.Value)))
		}
		w.answered(r.Timestamp, err)
		w.core.resolved(o, r.Offset, failure)
		if !w.stopped {
			m.buffered.WithLabelValues(w.topic.Camera).Set(float64(w.core.buffered))
		}
		w.wake()
	})
	return nil
}
