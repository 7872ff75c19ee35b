package medialog

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/framelog/framelog/internal/kafka"
)

// span is the offsets that a partition holds: [start, end).
type span struct{ start, end int64 }

// description is what the brokers report of a topic: its id and the leader of
// each partition.
type description struct {
	id      [16]byte
	leaders []int32
}

// describe looks topics up, in the client's cache if it is younger than maxAge.
func (l *Log) describe(ctx context.Context, maxAge time.Duration, topics ...string) map[string]result[description] {
	out := make(map[string]result[description], len(topics))
	req := kmsg.NewPtrMetadataRequest()
	for _, topic := range topics {
		out[topic] = result[description]{err: ErrNoTopic}
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(topic)
		req.Topics = append(req.Topics, t)
	}
	resp, err := l.producer.RequestCachedMetadata(ctx, req, maxAge)
	if err != nil {
		for _, topic := range topics {
			out[topic] = result[description]{err: err}
		}
		return out
	}
	for i := range resp.Topics {
		t := &resp.Topics[i]
		if t.Topic == nil {
			continue
		}
		if err := topicError(t.ErrorCode); err != nil {
			out[*t.Topic] = result[description]{err: err}
			continue
		}
		d := description{id: t.TopicID, leaders: make([]int32, len(t.Partitions))}
		for j := range t.Partitions {
			if n := int(t.Partitions[j].Partition); n < len(d.leaders) {
				d.leaders[n] = t.Partitions[j].Leader
			}
		}
		out[*t.Topic] = result[description]{value: d}
	}
	return out
}

// topicError is the error that Kafka's code for a topic or a partition means.
func topicError(code int16) error {
	err := kerr.ErrorForCode(code)
	if errors.Is(err, kerr.UnknownTopicOrPartition) {
		return ErrNoTopic
	}
	return kafka.NeedsRight("DESCRIBE", err)
}

// spans asks for the offsets that each partition of a topic holds now. Calls that
// come together share their requests.
func (l *Log) spans(ctx context.Context, topic string) ([]span, error) {
	s, err := l.spanning.get(ctx, l.ctx, topic)
	if errors.Is(err, errSlowBroker) {
		r := l.spansOf(ctx, []string{topic})[topic]
		return r.value, r.err
	}
	return s, err
}

// waitForSpans calls spans until a broker answers, or ctx ends.
func (l *Log) waitForSpans(ctx context.Context, topic string) (s []span, err error) {
	retryErr := retry(ctx, func() error {
		s, err = l.spans(ctx, topic)
		if errors.Is(err, ErrNoTopic) {
			return nil
		}
		l.logMissingRight(err)
		return err
	})
	if retryErr != nil {
		return nil, retryErr
	}
	return s, err
}

// errSlowBroker: a request for many topics took too long. One broker may be slow,
// and most of the topics may be on others.
var errSlowBroker = errors.New("medialog: a broker is slow")

// sharedLimit is the longest that a request for many topics takes.
const sharedLimit = 2 * time.Second

// spansSoon is spansOf within sharedLimit; topics that have no answer by then get
// errSlowBroker.
func (l *Log) spansSoon(ctx context.Context, topics []string) map[string]result[[]span] {
	ctx, cancel := context.WithTimeout(ctx, sharedLimit)
	defer cancel()
	out := l.spansOf(ctx, topics)
	for topic, r := range out {
		if r.err != nil && ctx.Err() != nil {
			out[topic] = result[[]span]{err: errSlowBroker}
		}
	}
	return out
}

// spansOf is spans for many topics.
func (l *Log) spansOf(ctx context.Context, topics []string) map[string]result[[]span] {
	out := make(map[string]result[[]span], len(topics))
	var found []topicPartition
	// Kafka forgets partitions of a topic only with the topic, but it adds some:
	// the client's own limit for its cache (MetadataMinAge) holds here.
	for topic, d := range l.describe(ctx, 0, topics...) {
		out[topic] = result[[]span]{make([]span, len(d.value.leaders)), d.err}
		for n := range d.value.leaders {
			found = append(found, topicPartition{topic, int32(n)})
		}
	}
	starts, ends := l.listOffsets(ctx, earliest, found), l.listOffsets(ctx, latest, found)
	for _, p := range found {
		r := out[p.topic]
		r.value[p.n] = span{starts[p].value, ends[p].value}
		if r.err == nil {
			r.err = errors.Join(starts[p].err, ends[p].err)
		}
		out[p.topic] = r
	}
	for topic, r := range out {
		if r.err == nil && len(r.value) == 0 {
			out[topic] = result[[]span]{err: ErrNoTopic}
		}
	}
	return out
}

// Timestamps that stand for the two ends of a partition (Kafka protocol,
// ListOffsets).
const (
	earliest = -2
	latest   = -1
)

// listOffsets asks for one offset of each partition.
func (l *Log) listOffsets(ctx context.Context, at int64, of []topicPartition) map[topicPartition]result[int64] {
	out := make(map[topicPartition]result[int64], len(of))
	if len(of) == 0 {
		return out
	}
	req := kmsg.NewPtrListOffsetsRequest()
	position := map[string]int{} // of a topic in the request
	for _, p := range of {
		out[p] = result[int64]{err: ErrNoTopic}
		i, ok := position[p.topic]
		if !ok {
			i = len(req.Topics)
			position[p.topic] = i
			t := kmsg.NewListOffsetsRequestTopic()
			t.Topic = p.topic
			req.Topics = append(req.Topics, t)
		}
		rp := kmsg.NewListOffsetsRequestTopicPartition()
		rp.Partition, rp.Timestamp = p.n, at
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, rp)
	}
	for _, shard := range l.producer.RequestSharded(ctx, req) {
		if shard.Err != nil {
			for _, t := range shard.Req.(*kmsg.ListOffsetsRequest).Topics {
				for _, p := range t.Partitions {
					out[topicPartition{t.Topic, p.Partition}] = result[int64]{err: shard.Err}
				}
			}
			continue
		}
		for _, t := range shard.Resp.(*kmsg.ListOffsetsResponse).Topics {
			for _, p := range t.Partitions {
				out[topicPartition{t.Topic, p.Partition}] = result[int64]{p.Offset, topicError(p.ErrorCode)}
			}
		}
	}
	return out
}

// timeMargin is how much earlier than a fragment's time the search for its records
// begins. A record's timestamp is ingest's clock when the record was made, and an
// entry is made after the end of its fragment, which is 60 s long at most.
const timeMargin = 2 * time.Minute

// offsetsAt returns, for each partition, the first offset of a record with a
// timestamp of t or later, or the end of the partition if there is none.
func (l *Log) offsetsAt(ctx context.Context, topic string, t time.Time) (kadm.ListedOffsets, error) {
	o, err := l.admin.ListOffsetsAfterMilli(ctx, t.UnixMilli(), topic)
	if err != nil {
		return nil, err
	}
	return o, o.Error()
}
