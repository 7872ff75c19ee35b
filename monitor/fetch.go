package monitor

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/framelog/framelog/schemas"
)

const (
	// fetchTopics is how many topics one request reads, fetchBytes how much of each: together
	// they are what an answer may hold. An entry has 20 KiB at most, and mostly 0.3.
	fetchTopics = 250
	fetchBytes  = 64 << 10
)

// Timestamps that stand for the two ends of a partition (Kafka protocol, ListOffsets).
const (
	earliest = -2
	latest   = -1
)

// list asks for one offset of each partition of topics; of is how many partitions they have.
// One that no broker can tell is -1. Errors: no broker answers.
func (r *reader) list(ctx context.Context, at int64, of map[string]int32) (map[string][]int64, error) {
	ctx, cancel := context.WithTimeout(ctx, step)
	defer cancel()
	out := make(map[string][]int64, len(of))
	req := kmsg.NewPtrListOffsetsRequest()
	for topic, n := range of {
		if n == 0 {
			continue
		}
		t := kmsg.NewListOffsetsRequestTopic()
		t.Topic = topic
		for p := range n {
			rp := kmsg.NewListOffsetsRequestTopicPartition()
			rp.Partition, rp.Timestamp = p, at
			t.Partitions = append(t.Partitions, rp)
			out[topic] = append(out[topic], -1)
		}
		req.Topics = append(req.Topics, t)
	}
	if len(req.Topics) == 0 {
		return out, nil
	}
	var failed error
	answered := false
	for _, shard := range r.client.RequestSharded(ctx, req) {
		if shard.Err != nil {
			failed = shard.Err
			continue
		}
		answered = true
		for _, t := range shard.Resp.(*kmsg.ListOffsetsResponse).Topics {
			for _, p := range t.Partitions {
				if kerr.ErrorForCode(p.ErrorCode) == nil && int(p.Partition) < len(out[t.Topic]) {
					out[t.Topic][p.Partition] = p.Offset
				}
			}
		}
	}
	if !answered {
		return nil, fmt.Errorf("monitor: list offsets: %w", failed)
	}
	return out, nil
}

// fetch reads records of indexes, each from an offset on: at least one, where there is one,
// and not all. It returns how many it has read. It calls take for each, in the order of their
// offsets, from one goroutine at a time; written is zero for one that cannot be decoded. What
// cannot be read is left out.
func (r *reader) fetch(ctx context.Context, want map[*topic]int64, take func(t *topic, e schemas.Entry, written time.Time)) (n int) {
	byLeader := map[int32][]*topic{}
	for t := range want {
		if t.leader >= 0 && !r.slow[t.leader] {
			byLeader[t.leader] = append(byLeader[t.leader], t)
		}
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for leader, topics := range byLeader {
		wg.Go(func() {
			for some := range slices.Chunk(topics, fetchTopics) {
				resp, err := r.fetchFrom(ctx, leader, some, want)
				mu.Lock()
				if err != nil {
					r.log.Debug("a broker does not answer", "broker", leader, "err", err)
					r.slow[leader] = true
				} else {
					n += r.takeAll(resp, some, want, take)
				}
				mu.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	return n
}

// fetchFrom is one request.
func (r *reader) fetchFrom(ctx context.Context, leader int32, topics []*topic, from map[*topic]int64) (*kmsg.FetchResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, step)
	defer cancel()
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = 0, 1, fetchTopics*fetchBytes
	req.ReplicaID = -1
	for _, t := range topics {
		rt := kmsg.NewFetchRequestTopic()
		rt.Topic, rt.TopicID = t.name, t.id
		p := kmsg.NewFetchRequestTopicPartition()
		p.FetchOffset, p.PartitionMaxBytes = from[t], fetchBytes
		p.CurrentLeaderEpoch, p.LogStartOffset = -1, -1
		rt.Partitions = append(rt.Partitions, p)
		req.Topics = append(req.Topics, rt)
	}
	resp, err := r.client.Broker(int(leader)).RetriableRequest(ctx, req)
	if err != nil {
		return nil, err
	}
	got := resp.(*kmsg.FetchResponse)
	return got, kerr.ErrorForCode(got.ErrorCode)
}

// takeAll takes the records of an answer, and returns how many there were.
func (r *reader) takeAll(resp *kmsg.FetchResponse, topics []*topic, from map[*topic]int64, take func(t *topic, e schemas.Entry, written time.Time)) (n int) {
	byID, byName := map[[16]byte]*topic{}, map[string]*topic{}
	for _, t := range topics {
		byID[t.id], byName[t.name] = t, t
	}
	for i := range resp.Topics {
		rt := &resp.Topics[i]
		t := byName[rt.Topic]
		if rt.TopicID != [16]byte{} {
			t = byID[rt.TopicID]
		}
		if t == nil || len(rt.Partitions) != 1 {
			continue
		}
		rp := &rt.Partitions[0]
		if rp.ErrorCode == kerr.OffsetOutOfRange.Code {
			t.start = max(t.start, rp.LogStartOffset) // retention has come to it
			continue
		}
		fp, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{Offset: from[t], Topic: t.name}, rp, kgo.DefaultDecompressor(), nil)
		if len(fp.Records) == 0 && rp.ErrorCode == 0 && (fp.Err != nil || next > from[t]) {
			// The record is damaged, and is no entry: else no record behind it would be read.
			r.log.Debug("a record cannot be decoded", "topic", t.name, "offset", from[t], "err", fp.Err)
			take(t, schemas.Entry{Offset: max(from[t], next-1)}, time.Time{})
			n++
		}
		for _, record := range fp.Records {
			if record.Offset < from[t] {
				continue
			}
			e, err := schemas.DecodeEntry(record.Value)
			if err != nil { // writers and readers log it
				e = schemas.Entry{}
			}
			e.Offset = record.Offset
			take(t, e, record.Timestamp)
			n++
		}
	}
	return n
}
