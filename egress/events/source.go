package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/schemas"
)

// Source reads the topic of events.
type Source interface {
	// Bounds returns where the partitions of the topic begin and end. Both are empty if
	// there is no topic.
	Bounds(ctx context.Context) (begin, end []int64, err error)
	// Read yields the records from an offset of each partition on as they come, until ctx
	// ends. Those of one partition come in order. An error is the last element.
	Read(ctx context.Context, from []int64) iter.Seq2[*kgo.Record, error]
}

// Topic is the [Source] in Kafka.
type Topic struct {
	cfg kafka.Config
	log *slog.Logger
}

// NewTopic makes the source. It connects when it is read.
func NewTopic(cfg kafka.Config, log *slog.Logger) Topic { return Topic{cfg, log} }

// fetchBytes bounds what is fetched of all partitions, and of one.
const fetchBytes = 4 << 20

func (t Topic) client(more ...kgo.Opt) (*kgo.Client, error) {
	cl, err := kgo.NewClient(append(t.cfg.Options(t.log), more...)...)
	if err != nil {
		return nil, fmt.Errorf("events: connect: %w", err)
	}
	return cl, nil
}

// Bounds implements Source.
func (t Topic) Bounds(ctx context.Context) (begin, end []int64, err error) {
	cl, err := t.client()
	if err != nil {
		return nil, nil, err
	}
	defer cl.Close()
	name, admin := t.cfg.Names().Events(), kadm.NewClient(cl)
	if begin, err = offsets(admin.ListStartOffsets(ctx, name)); err == nil {
		end, err = offsets(admin.ListEndOffsets(ctx, name))
	}
	if err != nil {
		return nil, nil, fmt.Errorf("events: offsets of %s: %w", name, err)
	}
	if len(begin) != len(end) { // made between the two requests
		return nil, nil, nil
	}
	return begin, end, nil
}

func offsets(listed kadm.ListedOffsets, err error) ([]int64, error) {
	if err != nil {
		return nil, err
	}
	var p []int64
	for _, partitions := range listed {
		for range partitions {
			p = append(p, 0)
		}
		for i, o := range partitions {
			switch {
			case errors.Is(o.Err, kerr.UnknownTopicOrPartition):
				return nil, nil
			case o.Err != nil:
				return nil, o.Err
			case i < 0 || int(i) >= len(p):
				return nil, fmt.Errorf("partition %d of %d", i, len(p))
			}
			p[i] = o.Offset
		}
	}
	return p, nil
}

// Read implements Source.
func (t Topic) Read(ctx context.Context, from []int64) iter.Seq2[*kgo.Record, error] {
	return func(yield func(*kgo.Record, error) bool) {
		name, at := t.cfg.Names().Events(), map[int32]kgo.Offset{}
		for i, o := range from {
			at[int32(i)] = kgo.NewOffset().At(o)
		}
		cl, err := t.client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{name: at}),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), // behind retention: go on with what is left
			kgo.FetchMinBytes(1), kgo.FetchMaxBytes(fetchBytes), kgo.FetchMaxPartitionBytes(fetchBytes))
		if err != nil {
			yield(nil, err)
			return
		}
		defer cl.Close()
		for ctx.Err() == nil {
			fetched := cl.PollFetches(ctx)
			for _, e := range fetched.Errors() {
				if ctx.Err() != nil {
					return
				}
				yield(nil, fmt.Errorf("events: read %s partition %d: %w", e.Topic, e.Partition, e.Err))
				return
			}
			for r := range fetched.RecordsAll() {
				if !yield(r, nil) {
					return
				}
			}
		}
	}
}

// itemOf reads a record of the topic: a CloudEvent in Kafka's binary mode. If it is none of
// ours, the item has no json.
func itemOf(r *kgo.Record) *item {
	it := &item{partition: r.Partition, offset: r.Offset}
	header := func(name string) string {
		for _, h := range r.Headers {
			if h.Key == name {
				return string(h.Value)
			}
		}
		return ""
	}
	var x schemas.Event
	if json.Unmarshal(r.Value, &x) != nil || x.Type == "" {
		return it
	}
	it.of(&x)
	// The id is <life>.<seq>.<processor>.<n>, the source /cameras/<camera>/<rendition>.
	it.ID = header("ce_id")
	id := strings.Split(it.ID, ".")
	source, ours := strings.CutPrefix(header("ce_source"), "/cameras/")
	var cut bool
	if it.Camera, it.Rendition, cut = strings.Cut(source, "/"); !ours || !cut || len(id) != 4 {
		return it
	}
	it.Processor = id[2]
	var err error
	if it.Seq, err = strconv.ParseUint(id[1], 10, 64); err != nil {
		return it
	}
	if b, err := json.Marshal(&it.Event); err == nil {
		it.json = b
	}
	return it
}
