package share

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Offset is an offset that the group has committed for partition 0 of a topic.
type Offset struct {
	At       int64 // of the first record that is not done
	Metadata string
}

// Commit commits offsets of partition 0 of topics, by name, as a member of the group. The
// group need not be subscribed to them. Kafka removes such an offset some days after its
// newest commit (medialog/lag.go), so nothing may depend on it. Errors: another generation
// of the group has begun, or this process is no member; those of Kafka; ctx's.
func (s *Cameras) Commit(ctx context.Context, offsets map[string]Offset) error {
	g := s.joinedGroup()
	if g == nil {
		return errNotJoined
	}
	if err := g.commit(ctx, offsets); err != nil {
		return fmt.Errorf("share: commit offsets: %w", err)
	}
	return nil
}

// Committed returns the offset that the group has committed for partition 0 of a topic; At
// is -1 if it has none. Errors: those of Kafka; ctx's.
func (s *Cameras) Committed(ctx context.Context, topic string) (Offset, error) {
	g := s.joinedGroup()
	if g == nil {
		return Offset{}, errNotJoined
	}
	all, err := kadm.NewClient(g.client).FetchOffsetsForTopics(ctx, g.name, topic)
	if err != nil {
		return Offset{}, fmt.Errorf("share: read the committed offset of %s: %w", topic, err)
	}
	o, ok := all.Lookup(topic, 0)
	if ok && o.Err != nil {
		return Offset{}, fmt.Errorf("share: read the committed offset of %s: %w", topic, o.Err)
	}
	if !ok {
		return Offset{At: -1}, nil
	}
	return Offset{At: o.At, Metadata: o.Metadata}, nil
}

func (s *Cameras) joinedGroup() *group {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.group
}

func (g *group) commit(ctx context.Context, offsets map[string]Offset) error {
	all := make(map[string]map[int32]kgo.EpochOffset, len(offsets))
	for topic, o := range offsets {
		all[topic] = map[int32]kgo.EpochOffset{0: {Epoch: -1, Offset: o.At}}
	}
	ctx = kgo.PreCommitFnContext(ctx, func(req *kmsg.OffsetCommitRequest) error {
		for _, t := range req.Topics {
			o := offsets[t.Topic]
			t.Partitions[0].Metadata = &o.Metadata
		}
		return nil
	})
	var failed error
	g.client.CommitOffsetsSync(ctx, all, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
		failed = err
		if err != nil {
			return
		}
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				// A topic that is unknown has been deleted.
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil && !errors.Is(err, kerr.UnknownTopicOrPartition) {
					failed = errors.Join(failed, fmt.Errorf("%s: %w", t.Topic, err))
				}
			}
		}
	})
	return failed
}
