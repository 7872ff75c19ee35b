package medialog

import (
	"time"

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
	m := w.log.metrics
	m.buffered.WithLabelValues(w.topic.String()).Set(float64(w.core.buffered))
	err = w.produce(c, o.item.entry.Partition, time.Now(), func(offset int64, err error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		failure := ""
		if err != nil {
			failure = failureOf(err)
			if isGone(err) {
				w.gone = err
			}
		}
		w.core.resolved(o, offset, failure)
		if !w.stopped {
			m.buffered.WithLabelValues(w.topic.String()).Set(float64(w.core.buffered))
		}
		w.wake()
	})
	if err != nil {
		w.core.resolved(o, 0, schemas.ReasonProduce)
		w.wake()
	}
	return err
}
