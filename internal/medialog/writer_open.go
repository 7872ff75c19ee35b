package medialog

import (
	"context"
	"time"

	"github.com/framelog/framelog/schemas"
)

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
	w.logger.Info("opened the camera's topic", "topic", w.media, "epoch", epoch, "seq", from.seq, "settled", len(settled), "reason", w.opt.Reason)
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
		})
		if !isGone(err) {
			return nil
		}
		// The topics were deleted and created again since this client wrote there.
		// It keeps to the topic that it knew until it is told to forget it.
		w.logger.Info("the camera's topics were deleted and created again", "topic", w.index)
		w.log.producer.PurgeTopicsFromProducing(w.index, w.media)
		return err
	})
	if retryErr != nil {
		return 0, retryErr
	}
	return epoch, err
}
