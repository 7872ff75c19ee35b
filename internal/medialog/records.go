package medialog

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sort"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/schemas"
)

// errCutBack is ErrExpired for records beyond the end of their partition: the
// partition was longer before, and was cut back, or created again.
var errCutBack = fmt.Errorf("%w: the partition is shorter than it was", ErrExpired)

// records reads [from, to) of a partition. While brokers are away it tries again,
// until ctx ends. Errors: ErrExpired if Kafka has removed the record to read next;
// errCutBack if the partition ends before it, and does so for Config.LostAfter;
// ErrDamaged if it cannot be decoded and l ends at damage.
func (l *Log) records(ctx context.Context, topic string, partition int32, from, to int64) iter.Seq2[*kgo.Record, error] {
	return l.recordsIn(ctx, topic, partition, from, to, l.fetchLimit())
}

// fetchLimit is the most bytes of a fetch.
func (l *Log) fetchLimit() int64 { return int64(l.cfg.MaxMessage) + 1<<20 }

// recordsIn is records with a first fetch of at most limit bytes, but for one batch at
// least. Later fetches are larger.
func (l *Log) recordsIn(ctx context.Context, topic string, partition int32, from, to, limit int64) iter.Seq2[*kgo.Record, error] {
	return func(yield func(*kgo.Record, error) bool) {
		for recs, err := range l.fetches(ctx, topic, partition, from, to, limit, l.fetchLimit()) {
			if err != nil {
				yield(nil, err)
				return
			}
			for _, r := range recs {
				if !yield(r, nil) {
					return
				}
			}
		}
	}
}

// fetches is recordsIn, with the records of a fetch together. Later fetches have most bytes at most, but
// for one batch at least.
func (l *Log) fetches(ctx context.Context, topic string, partition int32, from, to, limit, most int64) iter.Seq2[[]*kgo.Record, error] {
	return func(yield func([]*kgo.Record, error) bool) {
		pause := 20 * time.Millisecond
		fresh := false
		var failed failing
		undecoded := 0      // how often the record at from could not be decoded
		var short time.Time // since when the partition ends at from or before; zero: it does not
		for from < to {
			recs, err := l.fetch(ctx, topic, partition, from, limit, fresh)
			if err == nil && len(recs) == 0 || errors.Is(err, kerr.OffsetOutOfRange) {
				switch end, ok := l.endOf(ctx, topic, partition); {
				case !ok || end > from:
					short = time.Time{}
				case short.IsZero():
					short = time.Now()
				case time.Since(short) >= l.cfg.LostAfter:
					err = fmt.Errorf("%s partition %d ends at offset %d, and %d to %d were there: %w", topic, partition, end, from, to-1, errCutBack)
				}
			} else {
				short = time.Time{} // not known
			}
			switch {
			case err == nil && len(recs) > 0:
				failed, undecoded = failing{}, 0
				fresh, pause, limit = false, 20*time.Millisecond, min(4*limit, most)
			case errors.Is(err, ErrExpired), errors.Is(err, ErrNoTopic), ctx.Err() != nil:
				if ctx.Err() != nil {
					err = ctx.Err()
				}
				yield(nil, err)
				return
			case l.damaged(err, &undecoded):
				yield(nil, fmt.Errorf("%s partition %d: the record at offset %d cannot be decoded in %d tries; look at the disks of the brokers: %w", topic, partition, from, undecoded, err))
				return
			default: // a leader moved, a broker is away, the answer was empty
				fresh = true
				wait := pause
				if l.logMissingRight(err) {
					wait = missingRightPause
				} else {
					failed.again(l.logger, "topic", topic, "partition", partition, "offset", from, "err", err)
				}
				select {
				case <-ctx.Done():
				case <-time.After(wait):
				}
				pause = min(2*pause, time.Second)
				continue
			}
			first := sort.Search(len(recs), func(i int) bool { return recs[i].Offset >= from })
			end := sort.Search(len(recs), func(i int) bool { return recs[i].Offset >= to })
			if first == end {
				if end < len(recs) { // those that were asked for are not there
					return
				}
				continue
			}
			from = recs[end-1].Offset + 1
			if !yield(recs[first:end], nil) || end < len(recs) {
				return
			}
		}
	}
}

// decodeTries is how often a record is fetched that cannot be decoded. With the pauses between them
// that takes about two seconds. Each try asks the leader of that time.
const decodeTries = 8

// damaged counts the failures to decode a record, and reports whether the read ends.
func (l *Log) damaged(err error, undecoded *int) bool {
	if !l.endAtDamage || !errors.Is(err, ErrDamaged) {
		return false
	}
	*undecoded++
	return *undecoded >= decodeTries
}

// logAfter is after how long a wait for Kafka is logged that no error ends.
const logAfter = 10 * time.Second

// failing logs once that a partition cannot be read.
type failing struct {
	since  time.Time
	logged bool
}

// again notes a further failure.
func (f *failing) again(logger *slog.Logger, said ...any) {
	switch now := time.Now(); {
	case f.since.IsZero():
		f.since = now
	case !f.logged && now.Sub(f.since) >= logAfter:
		logger.Warn("a partition cannot be read; trying again", said...)
		f.logged = true
	}
}

// endOf asks where a partition ends; ok is false if no broker can tell now.
func (l *Log) endOf(ctx context.Context, topic string, partition int32) (end int64, ok bool) {
	s, err := l.spans(ctx, topic)
	if err != nil || int(partition) >= len(s) {
		return 0, false
	}
	return s[partition].end, true
}

// fetch is one request for records from an offset on, of limit bytes but for one batch
// at least. fresh looks the leader up again.
func (l *Log) fetch(ctx context.Context, topic string, partition int32, from, limit int64, fresh bool) ([]*kgo.Record, error) {
	maxAge := 10 * time.Second
	if fresh {
		maxAge = time.Nanosecond
	}
	r := l.describe(ctx, maxAge, topic)[topic]
	if r.err != nil {
		return nil, r.err
	}
	d := r.value
	if int(partition) >= len(d.leaders) {
		return nil, ErrNoTopic
	}
	req := kmsg.NewPtrFetchRequest()
	// The broker must not wait for records that are not there: it answers the requests of a
	// connection one after the other, and all readers of this process have the same one.
	req.MaxWaitMillis, req.MinBytes = 0, 1
	req.MaxBytes = int32(limit)
	req.ReplicaID = -1
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.TopicID = topic, d.id
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset = partition, from
	p.CurrentLeaderEpoch, p.LogStartOffset = -1, -1
	p.PartitionMaxBytes = req.MaxBytes
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	kresp, err := l.request(ctx, d.leaders[partition], req)
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
			case errors.Is(err, kerr.CorruptMessage):
				return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
			case err != nil:
				return nil, kafka.NeedsRight("READ", err)
			}
			return decode(rp, topic, from)
		}
	}
	return nil, fmt.Errorf("medialog: fetch %s/%d: no answer for the partition", topic, partition)
}

// decode returns the records of an answer from an offset on: those before the first one that cannot
// be decoded. Errors: ErrDamaged if that is the first one.
func decode(rp *kmsg.FetchResponseTopicPartition, topic string, from int64) ([]*kgo.Record, error) {
	fp, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
		Offset: from, Topic: topic, Partition: rp.Partition,
	}, rp, kgo.DefaultDecompressor(), nil)
	switch {
	case len(fp.Records) > 0: // the next fetch begins with what is damaged behind them
		return fp.Records, nil
	case fp.Err != nil:
		return nil, fmt.Errorf("%w: %w", ErrDamaged, fp.Err)
	case len(rp.RecordBatches) > 0 && next <= from: // an answer has one whole batch at least
		return nil, fmt.Errorf("%w: there is no record in %d bytes of batches", ErrDamaged, len(rp.RecordBatches))
	}
	return nil, nil
}

// request sends a request to a broker. If ctx ends, the answer is dropped when it comes: the client would
// close the connection otherwise, on which others wait for answers to theirs.
func (l *Log) request(ctx context.Context, broker int32, req kmsg.Request) (kmsg.Response, error) {
	type answer struct {
		response kmsg.Response
		err      error
	}
	done := make(chan answer, 1)
	go func() { // it ends with the log at the latest
		ctx, cancel := context.WithTimeout(l.ctx, time.Minute)
		defer cancel()
		r, err := l.producer.Broker(int(broker)).RetriableRequest(ctx, req)
		done <- answer{r, err}
	}()
	select {
	case a := <-done:
		return a.response, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// outOfRange tells an offset that has expired (ErrExpired) from one that is not
// there yet (kerr.OffsetOutOfRange).
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

// headerSeq is the seq in a record's headers. If there is none, it is the highest
// number, so that the reader looks at the record itself.
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
