package broker

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/framelog/framelog/schemas"
)

// archived tells what archivers have written into files. They commit an offset of each index
// topic, whose metadata is the life and the seq up to which all is archived. The entries before
// the offset name the chunks. Only the goroutine of the keeper uses it.
type archived struct {
	group  string
	wants  func(t schemas.Topic, begun bool) bool // Config.Archived
	names  schemas.Names
	client *kgo.Client
	adm    *kadm.Client
	topics map[string]archivedTopic // by media topic
}

// archivedTopic is how far a topic is archived.
type archivedTopic struct {
	index, media kadm.TopicID    // of the topics that the rest is about
	committed    kadm.Offset     // that was read; At is -1 if none was
	ends         map[int32]int64 // by partition: the footage before this offset is archived
}

// lookBefore is how many records before a committed offset are read. Each partition has a
// fragment among them.
const lookBefore = 64

// protects reports whether the footage of a topic stays until it is archived, as long as
// anything else can be deleted.
func (a *archived) protects(topic string) bool {
	t, index, ok := a.names.Parse(topic)
	_, begun := a.topics[topic]
	return ok && !index && a.wants != nil && a.wants(t, begun)
}

// end returns the offset before which the footage of a partition is archived.
func (a *archived) end(topic string, part int32) int64 { return a.topics[topic].ends[part] }

// update asks how far everything is archived. What could not be read stays as it was known of the same
// topics, and the others are read nevertheless. Errors: the broker's; ctx's.
func (a *archived) update(ctx context.Context) error {
	if a.wants == nil {
		return nil
	}
	all, err := a.adm.FetchOffsets(ctx, a.group)
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return fmt.Errorf("offsets of the group %s: %w", a.group, err)
	}
	topics, err := a.adm.ListTopics(ctx)
	if err != nil {
		return fmt.Errorf("list topics: %w", err)
	}
	now, failed := map[string]archivedTopic{}, []error(nil)
	for index, parts := range all {
		t, isIndex, ok := a.names.Parse(index)
		o, has := parts[0]
		if !ok || !isIndex || !has {
			continue
		}
		media := a.names.Media(t)
		next := archivedTopic{topics[index].ID, topics[media].ID, kadm.Offset{At: -1}, nil}
		if !topics.Has(index) || !topics.Has(media) {
			continue // it was purged
		}
		had := a.topics[media]
		if had.index == next.index && had.media == next.media {
			next = had
		} else if !a.wants(t, true) {
			continue
		}
		if err := o.Err; err != nil {
			failed = append(failed, fmt.Errorf("offset of %s: %w", index, err))
		} else if next.committed.At != o.At || next.committed.Metadata != o.Metadata {
			if ends, err := a.read(ctx, index, next.index, o.Offset); err != nil {
				failed = append(failed, fmt.Errorf("entries of %s: %w", index, err))
			} else {
				next.committed, next.ends = o.Offset, ends
			}
		}
		now[media] = next // also if it was not read: archivers have begun with it
	}
	a.topics = now
	return errors.Join(failed...)
}

// read reads the entries before a committed offset. If they are not those that it was committed
// for, since the index was created again or cut back, nothing is archived.
func (a *archived) read(ctx context.Context, index string, id kadm.TopicID, o kadm.Offset) (map[int32]int64, error) {
	life, text, _ := strings.Cut(o.Metadata, " ")
	seq, err := strconv.ParseUint(text, 10, 64)
	if err != nil || life == "" {
		return nil, nil //nolint:nilerror // nothing is archived yet
	}
	var judge schemas.Judge
	ends := map[int32]int64{}
	for at := max(0, o.At-lookBefore); at < o.At; {
		records, err := a.fetch(ctx, index, id, at)
		if err != nil || len(records) == 0 {
			return nil, err
		}
		for _, r := range records {
			if r.Offset < at || r.Offset >= o.At {
				continue
			}
			e, err := schemas.DecodeEntry(r.Value)
			if err != nil {
				continue // writers and readers log it
			}
			e.Offset = r.Offset
			switch valid := judge.Feed(&e) == schemas.Valid; {
			case !valid || !e.Footage():
			case e.Life != life || e.LastSeq() > seq:
				return nil, nil
			case e.Playable():
				ends[e.Partition] = max(ends[e.Partition], e.Last+1)
			}
		}
		at = records[len(records)-1].Offset + 1
	}
	return ends, nil
}

// fetch reads some records of an index, from an offset or the first one left on.
func (a *archived) fetch(ctx context.Context, index string, id kadm.TopicID, at int64) ([]*kgo.Record, error) {
	for {
		req := kmsg.NewPtrFetchRequest()
		req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.ReplicaID = 0, 1, 1<<20, -1
		t := kmsg.NewFetchRequestTopic()
		t.Topic, t.TopicID = index, id
		p := kmsg.NewFetchRequestTopicPartition()
		p.FetchOffset, p.PartitionMaxBytes, p.CurrentLeaderEpoch, p.LogStartOffset = at, 1<<20, -1, -1
		t.Partitions = append(t.Partitions, p)
		req.Topics = append(req.Topics, t)
		resp, err := req.RequestWith(ctx, a.client)
		if err == nil {
			err = kerr.ErrorForCode(resp.ErrorCode)
		}
		if err != nil {
			return nil, err
		}
		if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
			return nil, nil
		}
		got := &resp.Topics[0].Partitions[0]
		switch err := kerr.ErrorForCode(got.ErrorCode); {
		case errors.Is(err, kerr.OffsetOutOfRange) && got.LogStartOffset > at:
			at = got.LogStartOffset // retention has come to it
		case errors.Is(err, kerr.OffsetOutOfRange), errors.Is(err, kerr.UnknownTopicID), errors.Is(err, kerr.UnknownTopicOrPartition):
			return nil, nil
		case err != nil:
			return nil, err
		default:
			f, _ := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{Offset: at, Topic: index}, got, kgo.DefaultDecompressor(), nil)
			return f.Records, f.Err
		}
	}
}
