package medialog

import (
	"context"
	"fmt"
	"time"

	"github.com/framelog/framelog/schemas"
)

// Open makes a writer of t. The writer creates t's topics if they are missing,
// fences all earlier writers, settles what they left, and goes on. Open itself
// returns at once. Until the writer is ready (Ready) it keeps chunks in memory,
// within its budget. Fencing begins at once: call Open when the first keyframe is
// there. When ctx ends, the writer stops as in a crash; Close ends it in order.
func (l *Log) Open(ctx context.Context, t schemas.Topic, o OpenOptions) *Writer {
	ctx, cancel := context.WithCancel(ctx)
	w := &Writer{
		appender: l.appender(t), opt: o, cancel: cancel,
		ready: make(chan struct{}), fenced: make(chan struct{}), done: make(chan struct{}), wakeup: make(chan struct{}, 1),
		core: newCore(l.cfg.Budget, l.cfg.IndexPending),
	}
	l.wg.Go(func() {
		defer close(w.done)
		defer cancel()
		stop := context.AfterFunc(l.ctx, cancel)
		defer stop()
		err := w.run(ctx)
		w.stop(err)
	})
	return w
}

// Close closes an unfinished fragment as truncated, waits until everything has its
// entry or ctx ends, and frees the writer. It is idempotent.
func (w *Writer) Close(ctx context.Context) error {
	w.mu.Lock()
	if !w.closing && !w.stopped {
		w.closing = true
		if w.opened { // else begin does this
			w.core.finish(schemas.ReasonSource)
		}
	}
	w.mu.Unlock()
	w.wake()
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
		w.cancel()
		<-w.done
		return fmt.Errorf("medialog: close writer of %s: entries are missing: %w", w.topic, ctx.Err())
	}
}

// run is the writer's goroutine.
func (w *Writer) run(ctx context.Context) error {
	if err := w.open(ctx); err != nil {
		return err
	}
	close(w.ready)
	return w.appendEntries(ctx)
}

// open fences earlier writers, reads what they left, and begins the core.
func (w *Writer) open(ctx context.Context) error {
	epoch, err := w.fence(ctx)
	if err != nil {
		return err
	}
	last, err := w.log.newestBefore(ctx, w.index, epoch)
	if err != nil {
		return err
	}
	left, err := w.log.readLeftover(ctx, w.media, last)
	if err != nil {
		return err
	}
	w.log.setPartitions(w.media, left.partitions)
	whole := left.chunks
	if last.entry == nil {
		whole = fromWhole(left.chunks, left.cut)
	}
	settled := settle(epoch, last.entry, whole)
	from := resumeAt(last.entry, settled, left.chunks, uint64(time.Now().Unix()))
	said := []any{"topic", w.media, "epoch", epoch, "seq", from.seq, "settled", len(settled), "reason", w.opt.Reason}
	if pause := time.Since(from.publicEnd); !from.publicEnd.IsZero() && pause >= time.Second {
		said = append(said, "recorded_until", from.publicEnd.UTC().Format(time.RFC3339), "pause", pause.Round(100*time.Millisecond))
	}
	w.logger.Info("opened the camera's topic", said...)
	w.begin(epoch, from, settled, left.partitions)
	return nil
}

// fence appends the `open`. If the topics are missing, it creates them first.
func (w *Writer) fence(ctx context.Context) (epoch int64, err error) {
	retryErr := retry(ctx, func() error {
		if err = w.log.waitForTopics(ctx, w.topic); err != nil {
			return nil
		}
		epoch, err = w.append(ctx, &schemas.Entry{
			Kind: schemas.KindOpen, Prev: -1, Writer: w.opt.Writer, Host: w.opt.Host, Reason: w.opt.Reason,
		}, time.Time{})
		if !isGone(err) {
			return nil
		}
		// The topics were deleted and created again since this client wrote there.
		// It goes on with the topics that it knew until they are purged from it.
		w.logger.Info("the camera's topics were deleted and created again", "topic", w.index)
		w.log.producer.PurgeTopicsFromProducing(w.index, w.media)
		return err
	})
	if retryErr != nil {
		return 0, retryErr
	}
	return epoch, err
}
