package medialog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/framelog/framelog/schemas"
)

// leftoverWindow is how many records are read from the end of a partition if no entry
// tells where to begin. It is more than the chunks of the longest fragment (60 s) at the
// default chunk duration. The camera is new, or its index was deleted or emptied, or the
// partition was cut back. The media may be those of a day, and a new writer that reads
// them all cannot record for minutes.
const leftoverWindow = 512

// mediaStarts returns, for each partition, the span of the chunks that no entry in n
// names.
func (l *Log) mediaStarts(ctx context.Context, media string, n *newest) (unnamed []span, err error) {
	all, err := l.spans(ctx, media)
	if err != nil {
		return nil, err
	}
	unnamed = slices.Clone(all) // other callers have the same answer
	var byTime kadm.ListedOffsets
	for p := range unnamed {
		s := &unnamed[p]
		from, named := n.offsets[int32(p)]
		switch {
		case named && from <= s.end:
		case named: // the partition was cut back, or created again: other chunks may stand there
			from = s.end - leftoverWindow
		case n.complete && (n.entry == nil || s.end-s.start <= leftoverWindow):
			from = s.end - leftoverWindow
		default:
			// This is rare, and costs requests of its own. What has no entry is newer than
			// the entries: go by time, with a margin for chunks that waited.
			if byTime == nil {
				if byTime, err = l.offsetsAt(ctx, media, n.since.Add(-timeMargin)); err != nil {
					return nil, err
				}
			}
			if at, ok := byTime.Lookup(media, int32(p)); ok && at.Offset >= 0 {
				from = at.Offset
			}
		}
		s.start = min(max(s.start, from), s.end)
	}
	return unnamed, nil
}

// leftover holds what a new writer finds: the end of the index, and the chunks without
// an entry that earlier writers left in a media topic.
type leftover struct {
	past
	at []int64 // of each partition: the offset up to which it was read
}

func (left *leftover) partitions() int32 { return int32(len(left.at)) }

// newTopicWait is how long a topic may be missing for the broker that leads it, after
// another one has created it.
const newTopicWait = 5 * time.Second

// readLeftover reads the chunks that stand in the media topic now and may have no
// entry. The error is ErrNoTopic if the topic was deleted.
func (l *Log) readLeftover(ctx context.Context, media string, n newest) (leftover, error) {
	var unnamed []span
	var err error
	began := time.Now()
	retryErr := retry(ctx, func() error {
		unnamed, err = l.mediaStarts(ctx, media, &n)
		if errors.Is(err, ErrNoTopic) && time.Since(began) >= newTopicWait {
			return nil
		}
		l.logMissingRight(err)
		return err
	})
	if err := cmp.Or(retryErr, err); err != nil {
		return leftover{}, err
	}
	left := leftover{past: past{indexEnd: n.indexEnd, cut: map[int32]bool{}}, at: make([]int64, len(unnamed))}
	for p := range left.partitions() {
		if _, named := n.offsets[p]; !named && unnamed[p].end-unnamed[p].start >= leftoverWindow {
			left.cut[p] = true
		}
		left.at[p] = unnamed[p].start
	}
	return left, l.readLeftoverTo(ctx, media, unnamed, &left)
}

// readMoreLeftover reads what has come since.
func (l *Log) readMoreLeftover(ctx context.Context, media string, left *leftover) error {
	now, err := l.waitForSpans(ctx, media)
	if err != nil {
		return err
	}
	return l.readLeftoverTo(ctx, media, now, left)
}

func (l *Log) readLeftoverTo(ctx context.Context, media string, ends []span, left *leftover) error {
	for p := range min(left.partitions(), int32(len(ends))) {
		err := l.readLeftoverOf(ctx, media, p, ends[p].end, left)
		if err != nil {
			return fmt.Errorf("medialog: settle %s: %w", media, err)
		}
		left.at[p] = max(left.at[p], ends[p].end)
	}
	return nil
}

// readLeftoverOf reads the chunks of one partition up to offset end. Retention may
// remove records meanwhile, and the partition may be cut back: it reads what is left.
func (l *Log) readLeftoverOf(ctx context.Context, media string, p int32, end int64, left *leftover) error {
	for from := left.at[p]; from < end; {
		expired := false
		for r, err := range l.records(ctx, media, p, from, end) {
			if errors.Is(err, errCutBack) {
				l.logger.Warn("chunks of a media topic are lost", "topic", media, "err", err)
				return nil
			}
			if expired = errors.Is(err, ErrExpired); expired {
				break
			}
			if err != nil {
				return err
			}
			from = r.Offset + 1
			if m, ok := l.leftoverChunk(media, r, left.entry); ok {
				left.chunks = append(left.chunks, m)
			}
		}
		if !expired {
			return nil
		}
		now, err := l.waitForSpans(ctx, media)
		if err != nil {
			return err
		}
		if int(p) >= len(now) {
			return fmt.Errorf("partition %d is gone: %w", p, ErrNoTopic)
		}
		from = max(from, now[p].start)
	}
	return nil
}

// leftoverChunk decodes a record. ok: it is a chunk of a seq above last.
func (l *Log) leftoverChunk(media string, r *kgo.Record, last *schemas.Entry) (m chunkMeta, ok bool) {
	if last != nil && headerSeq(r) <= last.Seq {
		return chunkMeta{}, false
	}
	c, err := schemas.DecodeChunkShared(r.Value)
	if err != nil {
		l.logger.Warn("skipping a record of a media topic that is no chunk", "topic", media, "partition", r.Partition, "offset", r.Offset, "err", err)
		return chunkMeta{}, false
	}
	return metaOf(c, r.Partition, r.Offset), last == nil || c.Seq > last.Seq
}
