package medialog

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/framelog/framelog/schemas"
)

// span is the offsets of a partition that there are: [start, end).
type span struct{ start, end int64 }

// partitions is a topic as it stands: its id and the leader of each partition.
type partitions struct {
	id      [16]byte
	leaders []int32
}

// describe looks a topic up. fresh asks the brokers rather than the cache.
func (l *Log) describe(ctx context.Context, topic string, fresh bool) (partitions, error) {
	limit := 10 * time.Second
	if fresh {
		limit = time.Nanosecond
	}
	req := kmsg.NewPtrMetadataRequest()
	rt := kmsg.NewMetadataRequestTopic()
	rt.Topic = kmsg.StringPtr(topic)
	req.Topics = append(req.Topics, rt)
	resp, err := l.producer.RequestCachedMetadata(ctx, req, limit)
	if err != nil {
		return partitions{}, err
	}
	for i := range resp.Topics {
		t := &resp.Topics[i]
		if t.Topic == nil || *t.Topic != topic {
			continue
		}
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			if errors.Is(err, kerr.UnknownTopicOrPartition) {
				err = ErrNoTopic
			}
			return partitions{}, err
		}
		p := partitions{id: t.TopicID, leaders: make([]int32, len(t.Partitions))}
		for j := range t.Partitions {
			if n := int(t.Partitions[j].Partition); n < len(p.leaders) {
				p.leaders[n] = t.Partitions[j].Leader
			}
		}
		return p, nil
	}
	return partitions{}, ErrNoTopic
}

// spans asks for the offsets that each partition of a topic holds now.
func (l *Log) spans(ctx context.Context, topic string) ([]span, error) {
	starts, err := l.admin.ListStartOffsets(ctx, topic)
	if err != nil {
		return nil, err
	}
	ends, err := l.admin.ListEndOffsets(ctx, topic)
	if err != nil {
		return nil, err
	}
	out := make([]span, len(ends[topic]))
	for p := range out {
		s, okS := starts.Lookup(topic, int32(p))
		e, okE := ends.Lookup(topic, int32(p))
		if !okS || !okE {
			return nil, ErrNoTopic
		}
		if err := errors.Join(s.Err, e.Err); err != nil {
			if errors.Is(err, kerr.UnknownTopicOrPartition) {
				err = ErrNoTopic
			}
			return nil, err
		}
		out[p] = span{s.Offset, e.Offset}
	}
	if len(out) == 0 {
		return nil, ErrNoTopic
	}
	return out, nil
}

// offsetsAt gives, for each partition, the first offset of a record as young
// as t; the end of the partition where there is none.
func (l *Log) offsetsAt(ctx context.Context, topic string, t time.Time) (kadm.ListedOffsets, error) {
	o, err := l.admin.ListOffsetsAfterMilli(ctx, t.UnixMilli(), topic)
	if err != nil {
		return nil, err
	}
	return o, o.Error()
}

// errLost is ErrExpired for records that are beyond the end of their
// partition: it was longer once, and was cut back or made anew.
var errLost = fmt.Errorf("%w: the partition is shorter than it was", ErrExpired)

// records reads [from, to) of a partition. It fails with ErrExpired where
// Kafka has removed from; it retries while brokers are away, until ctx ends.
// Records that retention takes away while it reads end it the same way, and
// those that are beyond the partition's end, and stay so for Config.LostAfter,
// with errLost.
func (l *Log) records(ctx context.Context, topic string, partition int32, from, to int64) iter.Seq2[*kgo.Record, error] {
	return func(yield func(*kgo.Record, error) bool) {
		pause := 20 * time.Millisecond
		fresh := false
		var beyond time.Time // since when the partition ends at from or before; zero: it does not
		for from < to {
			recs, err := l.fetch(ctx, topic, partition, from, fresh)
			if err == nil && len(recs) == 0 || errors.Is(err, kerr.OffsetOutOfRange) {
				switch end, ok := l.endOf(ctx, topic, partition); {
				case !ok || end > from:
					beyond = time.Time{}
				case beyond.IsZero():
					beyond = time.Now()
				case time.Since(beyond) >= l.cfg.LostAfter:
					err = fmt.Errorf("%s partition %d ends at offset %d, and %d to %d were there: %w", topic, partition, end, from, to-1, errLost)
				}
			} else {
				beyond = time.Time{} // it cannot be told
			}
			switch {
			case err == nil && len(recs) > 0:
				fresh, pause = false, 20*time.Millisecond
			case errors.Is(err, ErrExpired), errors.Is(err, ErrNoTopic), ctx.Err() != nil:
				if ctx.Err() != nil {
					err = ctx.Err()
				}
				yield(nil, err)
				return
			default: // a leader moved, a broker is away, the answer was empty
				fresh = true
				select {
				case <-ctx.Done():
				case <-time.After(pause):
				}
				pause = min(2*pause, time.Second)
				continue
			}
			for _, r := range recs {
				if r.Offset < from {
					continue
				}
				if r.Offset >= to {
					return
				}
				from = r.Offset + 1
				if !yield(r, nil) {
					return
				}
			}
		}
	}
}

// endOf asks where a partition ends; ok is false where nobody can tell now.
func (l *Log) endOf(ctx context.Context, topic string, partition int32) (end int64, ok bool) {
	s, err := l.spans(ctx, topic)
	if err != nil || int(partition) >= len(s) {
		return 0, false
	}
	return s[partition].end, true
}

// fetch is one request for records from an offset on.
func (l *Log) fetch(ctx context.Context, topic string, partition int32, from int64, fresh bool) ([]*kgo.Record, error) {
	d, err := l.describe(ctx, topic, fresh)
	if err != nil {
		return nil, err
	}
	if int(partition) >= len(d.leaders) {
		return nil, ErrNoTopic
	}
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes = 500, 1
	req.MaxBytes = int32(l.cfg.MaxMessage) + 1<<20
	req.ReplicaID = -1
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.TopicID = topic, d.id
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset = partition, from
	p.CurrentLeaderEpoch, p.LogStartOffset = -1, -1
	p.PartitionMaxBytes = req.MaxBytes
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	kresp, err := l.producer.Broker(int(d.leaders[partition])).RetriableRequest(ctx, req)
	if err != nil {
		return nil, err
	}
	resp := kresp.(*kmsg.FetchResponse)
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return nil, err
	}
	for i := range resp.Topics {
		for j := range resp.Topics[i].Partitions {
			rp := &resp.Topics[i].Partitions[j]
			if rp.Partition != partition {
				continue
			}
			switch err := kerr.ErrorForCode(rp.ErrorCode); {
			case errors.Is(err, kerr.OffsetOutOfRange) && from < rp.LogStartOffset:
				return nil, ErrExpired
			case errors.Is(err, kerr.OffsetOutOfRange):
				return nil, l.outOfRange(ctx, topic, partition, from)
			case err != nil:
				return nil, err
			}
			fp, _ := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
				Offset: from, Topic: topic, Partition: partition,
			}, rp, kgo.DefaultDecompressor(), nil)
			return fp.Records, fp.Err
		}
	}
	return nil, fmt.Errorf("medialog: fetch %s/%d: no answer for the partition", topic, partition)
}

// outOfRange tells an offset that has expired from one that is not there yet.
func (l *Log) outOfRange(ctx context.Context, topic string, partition int32, from int64) error {
	s, err := l.spans(ctx, topic)
	if err != nil {
		return err
	}
	if int(partition) < len(s) && from < s[partition].start {
		return ErrExpired
	}
	return kerr.OffsetOutOfRange
}

// indexRecords reads [from, to) of an index. A record that cannot be read is
// an entry without a kind; one of a newer schema is an error.
func (l *Log) indexRecords(ctx context.Context, index string, from, to int64) iter.Seq2[schemas.Entry, error] {
	return func(yield func(schemas.Entry, error) bool) {
		for r, err := range l.records(ctx, index, 0, from, to) {
			if err != nil {
				yield(schemas.Entry{}, fmt.Errorf("medialog: read %s: %w", index, err))
				return
			}
			e, err := l.entryOf(index, r)
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

func (l *Log) entryOf(index string, r *kgo.Record) (schemas.Entry, error) {
	e, err := schemas.DecodeEntry(r.Value)
	if errors.Is(err, schemas.ErrNewer) {
		return e, fmt.Errorf("medialog: read %s at %d: %w", index, r.Offset, err)
	}
	if err != nil {
		l.logger.Warn("skipping a record of an index that is no entry", "topic", index, "offset", r.Offset, "err", err)
		e = schemas.Entry{}
	}
	e.Offset = r.Offset
	return e, nil
}

// openBetween says whether an `open` stands between two offsets of an index,
// both exclusive, or whether the first has expired, which counts the same.
func (l *Log) openBetween(ctx context.Context, index string, prev, before int64) (bool, error) {
	for e, err := range l.indexRecords(ctx, index, prev, before) {
		switch {
		case errors.Is(err, ErrExpired):
			return true, nil
		case err != nil:
			return false, err
		case e.Offset > prev && e.Kind == schemas.KindOpen:
			return true, nil
		}
	}
	return false, nil
}

// walk yields the valid entries of an index that stand in [from, to), `open`
// ones too, each seq once.
func (l *Log) walk(ctx context.Context, index string, from, to int64) iter.Seq2[schemas.Entry, error] {
	return func(yield func(schemas.Entry, error) bool) {
		w := walker{log: l, index: index}
		for e, err := range l.indexRecords(ctx, index, from, to) {
			pass := false
			if err == nil {
				pass, err = w.take(ctx, &e)
			}
			if err != nil {
				yield(schemas.Entry{}, err)
				return
			}
			if pass && !yield(e, nil) {
				return
			}
		}
	}
}

// walker judges an index as it is read, record by record.
type walker struct {
	log   *Log
	index string
	judge judge
	seq   sequence
}

// take says whether the next record counts.
func (w *walker) take(ctx context.Context, e *schemas.Entry) (bool, error) {
	if e.Kind == "" {
		w.judge.skip(e.Offset)
		return false, nil
	}
	switch w.judge.feed(e) {
	case void:
		return false, nil
	case unknown:
		opened, err := w.log.openBetween(ctx, w.index, e.Prev, w.judge.start)
		if opened || err != nil {
			return false, err
		}
	case valid:
	}
	return e.Kind == schemas.KindOpen || w.seq.pass(e), nil
}

// newest is what the end of an index tells.
type newest struct {
	entry    *schemas.Entry  // the newest valid entry that takes a seq, nil: none
	open     int64           // offset of the newest `open`, or an epoch that is not older; -1 none
	offsets  map[int32]int64 // for each partition, the offset behind the last chunk that an entry names
	complete bool            // the index was read from its start
	since    time.Time       // of the oldest entry read
}

// tailWindow is how many records of an index are read at least to learn what
// stands at its end. It is more than a new writer settles.
const tailWindow = 512

// newestBefore reads the end of an index, up to offset end. It fails with
// errLost where the index does not reach as far any more: what came before it
// is then not known to be the newest.
func (l *Log) newestBefore(ctx context.Context, index string, end int64) (newest, error) {
	for window := int64(tailWindow); ; window *= 4 {
		s, err := l.spans(ctx, index)
		if err != nil {
			if ctx.Err() != nil {
				return newest{}, ctx.Err()
			}
			if errors.Is(err, ErrNoTopic) {
				return newest{}, err
			}
			if retryPause(ctx) != nil {
				return newest{}, ctx.Err()
			}
			window /= 4
			continue
		}
		from := max(s[0].start, end-window)
		n := newest{open: -1, offsets: map[int32]int64{}, complete: from == s[0].start}
		expired := false
		for e, err := range l.walk(ctx, index, from, end) {
			if expired = errors.Is(err, ErrExpired) && !errors.Is(err, errLost); expired {
				break
			}
			if err != nil {
				return newest{}, err
			}
			n.add(&e)
		}
		if expired { // retention took records away meanwhile: what was read may not be the end
			window = max(window/4, 1)
			continue
		}
		if n.entry != nil || n.complete {
			return n, nil
		}
	}
}

func retryPause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(200 * time.Millisecond):
		return nil
	}
}

func (n *newest) add(e *schemas.Entry) {
	if e.Kind == schemas.KindOpen {
		n.open = max(n.open, e.Offset)
		return
	}
	n.entry = e
	n.open = max(n.open, e.Epoch)
	if n.since.IsZero() {
		n.since = e.Start
	}
	if e.Playable() {
		n.offsets[e.Partition] = max(n.offsets[e.Partition], e.Last+1)
	}
}

// mediaStarts is where, in each partition, the chunks begin that no entry in n
// names.
func (l *Log) mediaStarts(ctx context.Context, media string, n *newest) ([]span, error) {
	s, err := l.spans(ctx, media)
	if err != nil {
		return nil, err
	}
	var byTime kadm.ListedOffsets
	for p := range s {
		o, known := n.offsets[int32(p)]
		if !known && !n.complete {
			// Seldom used: go by time, with room for what waited its turn.
			if byTime == nil {
				if byTime, err = l.offsetsAt(ctx, media, n.since.Add(-2*time.Minute)); err != nil {
					return nil, err
				}
			}
			if at, ok := byTime.Lookup(media, int32(p)); ok && at.Offset >= 0 {
				o = at.Offset
			}
		}
		s[p].start = min(max(s[p].start, o), s[p].end)
	}
	return s, nil
}

// unsettled reads the chunks of seqs above last that stand in the media topic
// now, each partition in order.
func (l *Log) unsettled(ctx context.Context, media string, n newest) (chunks []chunkMeta, parts int32, err error) {
	var s []span
	err = retry(ctx, func() (err error) {
		s, err = l.mediaStarts(ctx, media, &n)
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	for p := range s {
		from := s[p].start
		for from < s[p].end {
			for r, err := range l.records(ctx, media, int32(p), from, s[p].end) {
				if errors.Is(err, errLost) {
					l.logger.Warn("chunks of a media topic are lost", "topic", media, "err", err)
					s[p].end = from
					break
				}
				if errors.Is(err, ErrExpired) {
					break // retention has moved the start: go on there
				}
				if err != nil {
					return nil, 0, fmt.Errorf("medialog: settle %s: %w", media, err)
				}
				from = r.Offset + 1
				if m, ok := l.unsettledChunk(media, r, n.entry); ok {
					chunks = append(chunks, m)
				}
			}
			if from >= s[p].end {
				break
			}
			now, err := l.spans(ctx, media)
			if err != nil {
				return nil, 0, fmt.Errorf("medialog: settle %s: %w", media, err)
			}
			if p >= len(now) {
				return nil, 0, fmt.Errorf("medialog: settle %s: partition %d is gone: %w", media, p, ErrNoTopic)
			}
			from = max(from, now[p].start)
		}
	}
	return chunks, int32(len(s)), nil
}

// unsettledChunk is what settling needs of a record, where it is a chunk of a
// seq above last.
func (l *Log) unsettledChunk(media string, r *kgo.Record, last *schemas.Entry) (chunkMeta, bool) {
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

// headerSeq is the seq in a record's headers; the highest number where there
// is none, so that the record itself is looked at.
func headerSeq(r *kgo.Record) uint64 {
	for _, h := range r.Headers {
		if h.Key == schemas.HeaderSeq {
			if n, err := strconv.ParseUint(string(h.Value), 10, 64); err == nil {
				return n
			}
		}
	}
	return ^uint64(0)
}
