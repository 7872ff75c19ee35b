package registry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/framelog/framelog/internal/kafka"
)

const (
	// endsRetry is the pause before waitEnds asks for the ends of topics again.
	endsRetry = 250 * time.Millisecond
	// unknownFor is how long brokers must report that they do not know a topic
	// until waitEnds believes it: a broker that has just started reports this for
	// all topics.
	unknownFor = 2 * time.Second
	// Quiet is how long a reader that has not reached the end waits for records
	// before it calls AtEnd.
	Quiet = 250 * time.Millisecond
	// endsLimit bounds one call of AtEnd; records that come meanwhile wait.
	endsLimit = 2 * time.Second
)

// ErrNoTopic means that brokers do not know a topic, or a partition of it: it
// does not exist, or a broker does not know it yet.
var ErrNoTopic = errors.New("the brokers do not know the topic")

// EndOffsets returns the end offset of each partition of a topic that is not
// empty. Errors: ErrNoTopic; ctx's; Kafka's.
func EndOffsets(ctx context.Context, adm *kadm.Client, topic string) (map[int32]int64, error) {
	first, err := adm.ListStartOffsets(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("registry: list start of %s: %w", topic, err)
	}
	end, err := adm.ListEndOffsets(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("registry: list end of %s: %w", topic, err)
	}
	out := make(map[int32]int64)
	for id, e := range end[topic] {
		s, _ := first.Lookup(topic, id)
		err := errors.Join(e.Err, s.Err)
		if errors.Is(err, kerr.UnknownTopicOrPartition) {
			return nil, fmt.Errorf("registry: list end of %s: %w", topic, ErrNoTopic)
		}
		if err != nil {
			return nil, fmt.Errorf("registry: list end of %s: %w", topic, err)
		}
		if e.Offset > s.Offset {
			out[id] = e.Offset
		}
	}
	return out, nil
}

// waitEnds is EndOffsets of several topics. It tries until it works or ctx ends. A
// topic that does not exist is empty. Errors: *kafka.RightError; ctx's.
func waitEnds(ctx context.Context, adm *kadm.Client, topics ...string) (map[partition]int64, error) {
	out := make(map[partition]int64)
	for _, topic := range topics {
		var unknown time.Time // since when brokers do not know the topic
		for {
			ends, err := EndOffsets(ctx, adm, topic)
			if right, ok := errors.AsType[*kafka.RightError](kafka.NeedsRight("READ", err)); ok {
				return nil, right
			}
			switch {
			case !errors.Is(err, ErrNoTopic):
				unknown = time.Time{}
			case unknown.IsZero():
				unknown = time.Now()
			case time.Since(unknown) >= unknownFor:
				err = nil // and there are no ends
			}
			if err == nil {
				for id, end := range ends {
					out[partition{topic, id}] = end
				}
				break
			}
			select {
			case <-time.After(endsRetry):
			case <-ctx.Done():
				return nil, fmt.Errorf("%w (%w)", ctx.Err(), err)
			}
		}
	}
	return out, nil
}

// AtEnd returns those partitions of ends that hold no record between the offset in
// next (the partition's start, if next has none) and the one in ends. Compaction
// may remove the last records of a partition, and the end of a transaction is no
// record. So a reader can be at the end although the end offset is higher than its
// own. AtEnd asks the leaders for the records that follow. client must not
// consume, since its own fetches would be answered first. Partitions whose leader
// does not answer are not in the result.
func AtEnd(ctx context.Context, client *kgo.Client, topic string, next, ends map[int32]int64) (done []int32, err error) {
	adm := kadm.NewClient(client)
	topics, err := adm.ListTopics(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("registry: list leaders of %s: %w", topic, err)
	}
	starts, err := adm.ListStartOffsets(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("registry: list start of %s: %w", topic, err)
	}
	var errs []error
	for id, end := range ends {
		start, _ := starts.Lookup(topic, id)
		empty, err := noRecord(ctx, client.Broker(int(topics[topic].Partitions[id].Leader)), topics[topic].ID, topic, id, max(next[id], start.Offset), end)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("registry: look for the end of %s/%d: %w", topic, id, err))
		case empty:
			done = append(done, id)
		}
	}
	return done, errors.Join(errs...)
}

// noRecord reports whether a partition holds no record from offset at up to end.
func noRecord(ctx context.Context, leader *kgo.Broker, topicID kadm.TopicID, topic string, id int32, at, end int64) (bool, error) {
	for at < end {
		p := kmsg.NewFetchRequestTopicPartition()
		p.Partition, p.FetchOffset, p.PartitionMaxBytes = id, at, 64<<10
		t := kmsg.NewFetchRequestTopic()
		t.Topic, t.TopicID, t.Partitions = topic, topicID, append(t.Partitions, p)
		req := kmsg.NewPtrFetchRequest() // for one partition, so that records of others cannot fill the answer
		req.Topics = append(req.Topics, t)
		resp, err := req.RequestWith(ctx, leader)
		if err != nil {
			return false, err
		}
		if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
			return false, err
		}
		if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
			return false, errors.New("the answer is of another partition")
		}
		got, after := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{Offset: at, Topic: topic, Partition: id},
			&resp.Topics[0].Partitions[0], kgo.DefaultDecompressor(), nil)
		switch {
		case got.Err != nil:
			return false, got.Err
		case len(got.Records) > 0:
			return false, nil
		case after == at: // a new leader may not show all of it yet
			return got.HighWatermark >= end, nil
		}
		at = after
	}
	return true, nil
}
