package medialog

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// groupMember is a member of a group that is subscribed to the topic `cameras` alone.
type groupMember struct {
	t      *testing.T
	client *kgo.Client
	group  string
	done   chan struct{}
}

func (e *env) groupMember() *groupMember {
	e.t.Helper()
	m := &groupMember{t: e.t, group: e.prefix + "processor", done: make(chan struct{})}
	var err error
	m.client, err = kgo.NewClient(
		kgo.SeedBrokers(e.brokers...), kgo.ConsumerGroup(m.group), kgo.ConsumeTopics(e.prefix+"cameras"),
		kgo.Balancers(kgo.CooperativeStickyBalancer()), kgo.DisableAutoCommit(),
		kgo.SessionTimeout(6*time.Second), kgo.HeartbeatInterval(200*time.Millisecond),
	)
	if err != nil {
		e.t.Fatal(err)
	}
	go func() {
		defer close(m.done)
		for {
			if f := m.client.PollFetches(e.t.Context()); e.t.Context().Err() != nil || f.IsClientClosed() {
				return
			}
		}
	}()
	e.t.Cleanup(m.leave)
	return m
}

func (m *groupMember) leave() {
	m.client.Close()
	<-m.done
}

// joined waits until the member is in a generation above after.
func (m *groupMember) joined(after int32) (id string, generation int32) {
	m.t.Helper()
	waitFor(m.t, "the member has joined", func() bool {
		id, generation = m.client.GroupMetadata()
		return id != "" && generation > after
	})
	return id, generation
}

// commitOffset commits an offset of one partition, as member id of a generation. While the
// group is in a rebalance, it tries again.
func commitOffset(t *testing.T, l *Log, group, id string, generation int32, topic string, offset int64) error {
	t.Helper()
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Offset = offset
	topics := kmsg.NewOffsetCommitRequestTopic()
	topics.Topic, topics.Partitions = topic, append(topics.Partitions, p)
	topics.TopicID = l.describe(t.Context(), 0, topic)[topic].value.id // from OffsetCommit v10 on
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.MemberID, req.Generation = group, id, generation
	req.Topics = append(req.Topics, topics)
	var err error
	waitFor(t, "the group is stable", func() bool {
		var resp *kmsg.OffsetCommitResponse
		if resp, err = req.RequestWith(t.Context(), l.producer); err == nil {
			err = kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode)
		}
		return !errors.Is(err, kerr.RebalanceInProgress)
	})
	return err
}

// committed returns the group's offset of partition 0 of a topic, -1 if there is none.
func committed(t *testing.T, l *Log, group, topic string) int64 {
	t.Helper()
	all, err := l.admin.FetchOffsets(t.Context(), group)
	if err != nil {
		t.Fatal(err)
	}
	if o, ok := all.Lookup(topic, 0); ok {
		return o.At
	}
	return -1
}

// camerasTopic makes the topic `cameras`, with two partitions.
func (e *env) camerasTopic(l *Log) {
	e.t.Helper()
	errs := l.topics.Ensure(e.t.Context(), kafka.Spec{Name: e.prefix + "cameras", Partitions: 2})
	if err := errs[e.prefix+"cameras"]; err != nil {
		e.t.Fatal(err)
	}
}

// TestCommitOfAnIndex: a member of a group may commit offsets of index topics that it is
// not subscribed to, in the current generation and in no other. Lag tells from such an
// offset what Kafka's tools tell, and the footage.
func TestCommitOfAnIndex(t *testing.T) {
	eachBroker := map[string]func(*testing.T) []string{"embedded": startEmbedded, "kafka": sharedKafka}
	for name, brokers := range eachBroker {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, brokers(t), 1)
			l := e.log()
			putIndex(t, l, threeFragments()...)
			e.camerasTopic(l)
			index := l.names.Index(cam)

			first := e.groupMember()
			id, generation := first.joined(0)
			if err := commitOffset(t, l, first.group, id, generation, index, 2); err != nil {
				t.Fatalf("a member commits an offset of a topic that it is not subscribed to: %v", err)
			}
			lag, err := l.Lag(t.Context(), cam, committed(t, l, first.group, index))
			if want := (Lag{Records: 2, Footage: 4 * time.Second}); err != nil || lag != want {
				t.Errorf("lag %+v, %v; want %+v", lag, err, want)
			}
			tools, err := l.admin.Lag(t.Context(), first.group)
			if err != nil {
				t.Fatal(err)
			}
			// No member has the partition, as the tools show too.
			if p, ok := tools[first.group].Lag.Lookup(index, 0); !ok || p.Lag != lag.Records || p.Err != nil || p.Member != nil {
				t.Errorf("Kafka's tools: %+v", p)
			}

			second := e.groupMember()
			second.joined(generation)
			_, current := first.joined(generation)
			if err := commitOffset(t, l, first.group, id, generation, index, 3); !errors.Is(err, kerr.IllegalGeneration) {
				t.Errorf("a commit of the generation before: %v", err)
			}
			if err := commitOffset(t, l, first.group, "nobody", current, index, 3); !errors.Is(err, kerr.UnknownMemberID) {
				t.Errorf("a commit of no member: %v", err)
			}
			if err := commitOffset(t, l, first.group, "", -1, index, 3); !errors.Is(err, kerr.UnknownMemberID) {
				t.Errorf("a commit without a member while the group has some: %v", err)
			}
			if got := committed(t, l, first.group, index); got != 2 {
				t.Errorf("offset %d after commits that were refused, want 2", got)
			}
			first.leave()
			second.leave()
			if got := committed(t, l, first.group, index); got != 2 {
				t.Errorf("offset %d in a group that all members have left, want 2", got)
			}
		})
	}
}

// threeFragments is an index of an `open` and three fragments of 2 s.
func threeFragments() []indexRecord {
	now := time.Now()
	records := []indexRecord{{schemas.Entry{Kind: schemas.KindOpen, Prev: -1, From: 10}, now}}
	for i := range int64(3) {
		records = append(records, indexRecord{schemas.Entry{
			Kind: schemas.KindGap, Prev: i, Seq: 10 + uint64(i), Start: now, Media: i * 2 * schemas.MediaTimescale, Duration: 2 * schemas.MediaTimescale,
		}, now})
	}
	return records
}

// TestCommitOfAnIndexExpires: Kafka forgets the offset of a topic to which the group is not
// subscribed offsets.retention.minutes after the newest commit, also while the group has
// members. A commit of the same offset keeps it.
func TestCommitOfAnIndexExpires(t *testing.T) {
	testenv.Long(t)
	e := newEnv(t, testenv.OwnKafka(t, "offsets.retention.minutes=1", "offsets.retention.check.interval.ms=1000").Brokers, 1)
	l := e.log()
	putIndex(t, l, threeFragments()...)
	e.camerasTopic(l)
	m := e.groupMember()
	id, generation := m.joined(0)
	index, media, cameras := l.names.Index(cam), l.names.Media(cam), e.prefix+"cameras"
	commit := func(topic string) {
		t.Helper()
		if err := commitOffset(t, l, m.group, id, generation, topic, 0); err != nil {
			t.Fatal(err)
		}
	}
	commit(index)
	commit(media)
	commit(cameras)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	for committed(t, l, m.group, media) == 0 {
		select {
		case <-ctx.Done():
			t.Fatal("the offset does not expire")
		case <-time.After(5 * time.Second):
			commit(index)
		}
	}
	if a, b := committed(t, l, m.group, index), committed(t, l, m.group, cameras); a != 0 || b != 0 {
		t.Errorf("an offset that was committed again: %d; of a topic to which the group is subscribed: %d", a, b)
	}
}
