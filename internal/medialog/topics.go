package medialog

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/schemas"
)

// IndexOutlives is how much longer than its media an index is kept. Kafka
// removes whole segments, and late: media may live longer than their retention
// by Config.SegmentTime and some minutes, and no entry may go before its media.
const IndexOutlives = 2 * time.Hour

// Ensure creates t's two topics, or brings the settings of existing ones in
// line. Calls that come together share their requests. kafka.ErrSettings means
// that both topics exist and can be used.
func (l *Log) Ensure(ctx context.Context, t schemas.Topic) error {
	settings, err := l.ensuring.get(ctx, l.ctx, t)
	if err != nil {
		return err
	}
	return settings
}

// ensureTopics is Ensure for many topics. The value of a result is the error of
// topics that can still be used.
func (l *Log) ensureTopics(ctx context.Context, topics []schemas.Topic) map[schemas.Topic]result[error] {
	var specs []kafka.Spec
	for _, t := range topics {
		specs = append(specs, l.mediaSpec(t), l.indexSpec(t))
	}
	errs := l.topics.Ensure(ctx, specs...)
	out := make(map[schemas.Topic]result[error], len(topics))
	for _, t := range topics {
		var r result[error]
		for _, err := range []error{errs[l.names.Media(t)], errs[l.names.Index(t)]} {
			if errors.Is(err, kafka.ErrSettings) {
				r.value = errors.Join(r.value, err)
			} else {
				r.err = errors.Join(r.err, err)
			}
		}
		out[t] = r
	}
	return out
}

func (l *Log) mediaSpec(t schemas.Topic) kafka.Spec {
	return kafka.Spec{
		Name: l.names.Media(t), Partitions: l.cfg.Partitions,
		Configs: map[string]string{
			"cleanup.policy": "delete", "max.message.bytes": strconv.Itoa(l.cfg.MaxMessage),
			"retention.ms":  milliseconds(l.cfg.Retention),
			"segment.bytes": strconv.FormatInt(l.cfg.SegmentBytes, 10), "segment.ms": milliseconds(l.cfg.SegmentTime),
		},
		RetentionBytes: l.cfg.RetentionBytes,
	}
}

// indexSpec has no limit in bytes: an index is a thousandth of its media.
func (l *Log) indexSpec(t schemas.Topic) kafka.Spec {
	return kafka.Spec{
		Name: l.names.Index(t), Partitions: 1,
		Configs: map[string]string{
			"cleanup.policy": "delete", "retention.ms": milliseconds(l.cfg.Retention + IndexOutlives), "retention.bytes": "-1",
			"segment.bytes": strconv.Itoa(4 << 20), "segment.ms": milliseconds(max(l.cfg.SegmentTime, time.Hour)),
		},
	}
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// waitForTopics calls Ensure until t's topics can be used, or ctx ends.
// Existing topics are used with any settings: recording is more important.
func (l *Log) waitForTopics(ctx context.Context, t schemas.Topic) error {
	logged := false
	return retry(ctx, func() error {
		settings, err := l.ensuring.get(ctx, l.ctx, t)
		switch {
		case ctx.Err() != nil:
		case err == nil && settings == nil, l.logMissingRight(err), err == nil && l.logMissingRight(settings):
		case err == nil:
			l.logger.Warn("a camera's topics may have wrong settings", "camera", t.Camera, "err", settings)
		case !logged:
			l.logger.Warn("waiting for Kafka to create a camera's topics", "camera", t.Camera, "err", err)
			logged = true
		}
		return err
	})
}

// logMissingRight reports whether err is a missing right. It logs each right
// once, because usually all cameras lack it.
func (l *Log) logMissingRight(err error) bool {
	var right *kafka.RightError
	if !errors.As(err, &right) {
		return false
	}
	l.mu.Lock()
	logged := l.noRights[right.Right]
	l.noRights[right.Right] = true
	l.mu.Unlock()
	if !logged {
		l.logger.Error("this process lacks a right in Kafka", "right", right.Right, "err", err)
	}
	return true
}

// retry calls f until it succeeds or ctx ends. The pauses grow. If a right is
// missing they are long, because a person has to grant it first.
func retry(ctx context.Context, f func() error) error {
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		err := f()
		if err == nil {
			return nil
		}
		wait := pause
		if right := (*kafka.RightError)(nil); errors.As(err, &right) {
			wait = missingRightPause
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// retryTold is retry. It calls tell once, with the first error that is not a missing
// right: that is logged by itself.
func (l *Log) retryTold(ctx context.Context, f func() error, tell func(error)) error {
	told := false
	return retry(ctx, func() error {
		err := f()
		if err != nil && !told && ctx.Err() == nil && !l.logMissingRight(err) {
			tell(err)
			told = true
		}
		return err
	})
}

// missingRightPause is the pause before a request that failed for a missing
// right is sent again.
const missingRightPause = 30 * time.Second
