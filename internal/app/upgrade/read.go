package upgrade

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/framelog/framelog/internal/registry"
	"github.com/framelog/framelog/schemas"
)

// read reads partitions up to the offsets in to, and removes them there. It returns the schema
// version of the newest record of each key. If from is not nil, it begins at those offsets,
// and returns the version of the newest record of each topic. What is no record of Framelog is
// left out, as readers do.
func (c *checker) read(ctx context.Context, from, to map[string]map[int32]int64) (map[string]int, error) {
	parts, next := map[string]map[int32]kgo.Offset{}, map[string]map[int32]int64{}
	for topic, ends := range to {
		parts[topic], next[topic] = map[int32]kgo.Offset{}, map[int32]int64{}
		for p := range ends {
			parts[topic][p] = kgo.NewOffset().AtStart()
			if from != nil {
				parts[topic][p] = kgo.NewOffset().At(from[topic][p])
			}
		}
	}
	client, err := kgo.NewClient(append(c.cfg.Kafka.Options(slog.New(slog.DiscardHandler)),
		kgo.ConsumePartitions(parts), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchMinBytes(1), kgo.FetchMaxWait(500*time.Millisecond))...)
	if err != nil {
		return nil, fmt.Errorf("upgrade: connect: %w", err)
	}
	defer client.Close()
	versions := map[string]int{}
	for prune(to); len(to) > 0; prune(to) {
		poll, cancel := context.WithTimeout(ctx, registry.Quiet)
		fetches := client.PollFetches(poll)
		quiet := poll.Err() != nil
		cancel()
		if ctx.Err() != nil {
			return nil, fmt.Errorf("upgrade: read %d topics: %w", len(to), ctx.Err())
		}
		fetches.EachRecord(func(r *kgo.Record) {
			note(versions, from != nil, r)
			next[r.Topic][r.Partition] = r.Offset + 1
			if end, ok := to[r.Topic][r.Partition]; ok && r.Offset+1 >= end {
				delete(to[r.Topic], r.Partition)
			}
		})
		if quiet {
			c.skipEmpty(ctx, next, to)
		}
	}
	return versions, nil
}

// note keeps the version of a record, by its topic or by its key. A tombstone removes it.
func note(versions map[string]int, byTopic bool, r *kgo.Record) {
	name := string(r.Key)
	if byTopic {
		name = r.Topic
	}
	if len(r.Value) == 0 {
		delete(versions, name)
	} else if v, err := schemas.VersionOf(r.Value); err == nil {
		versions[name] = v
	}
}

// skipEmpty removes the partitions of to that hold no more records: compaction may have
// removed the last ones. Those whose leader does not answer stay.
func (c *checker) skipEmpty(ctx context.Context, next, to map[string]map[int32]int64) {
	for topic, ends := range to {
		done, _ := registry.AtEnd(ctx, c.client, topic, next[topic], ends)
		for _, p := range done {
			delete(ends, p)
		}
	}
}

// prune removes topics without partitions.
func prune(to map[string]map[int32]int64) {
	for topic, ends := range to {
		if len(ends) == 0 {
			delete(to, topic)
		}
	}
}
