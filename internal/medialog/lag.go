package medialog

import (
	"context"
	"fmt"
	"time"

	"github.com/framelog/framelog/schemas"
)

// A consumer group that is subscribed to the topic `cameras` alone can commit offsets of
// index topics, to show how far it is. With the classic group protocol Apache Kafka 4.1
// and kfake behave like this (commit_test.go):
//
//   - A member may commit offsets of topics that it is not subscribed to, with its member
//     id and generation. After a rebalance a commit with the old generation is refused
//     (ILLEGAL_GENERATION), and so is one without a member (UNKNOWN_MEMBER_ID). During a
//     rebalance the answer may be REBALANCE_IN_PROGRESS: commit again with the new
//     generation.
//   - From version 10 of OffsetCommit on, a request names the topic's id. Without it the
//     answer is UNKNOWN_TOPIC_ID.
//   - The offsets stay when all members leave. But Kafka removes an offset of a topic to
//     which the group is not subscribed offsets.retention.minutes (default 7 days) after
//     its newest commit, also while the group has members. A commit of the same offset
//     keeps it. So commit the offset of a silent camera again, for example once a day, and
//     let no decision depend on it.
//   - kafka-consumer-groups.sh --describe and kadm.Client.Lag show these offsets with their
//     lag in records, without a member.

// Lag is how far a consumer group is behind in the index of a topic.
type Lag struct {
	// Records is the number of records from the committed offset to the end of the
	// index, as Kafka's tools count. It includes `open`s, `left`s and void entries. A run of gaps
	// is one.
	Records int64
	// Footage is the media time from the start of the oldest fragment that is not done to
	// the end of the newest. Time in which nothing was recorded counts if it lies between
	// the two. It is 0 if all is done.
	Footage time.Duration
	// Expired: entries that are not done have been removed. Footage begins at the oldest
	// one left.
	Expired bool
}

// Lag returns how far a consumer group is behind, from the offset that it has committed
// for t's index topic: the offset of the first record that is not done. A negative
// offset means that nothing is committed: all entries count. Lag reads the index alone,
// so it counts entries whose media have expired. Errors: ErrBeyond if the offset lies
// beyond the end of the index, which was created again or cut back; ErrNoTopic; ctx's.
func (l *Log) Lag(ctx context.Context, t schemas.Topic, committed int64) (Lag, error) {
	ctx, cancel := l.bound(ctx)
	defer cancel()
	var lag Lag
	err := l.inIndex(ctx, t, func(s span) (err error) {
		lag, err = l.lag(ctx, t, s, committed)
		return err
	})
	if err != nil {
		return Lag{}, fmt.Errorf("medialog: lag of %s behind offset %d: %w", t, committed, err)
	}
	return lag, nil
}

func (l *Log) lag(ctx context.Context, t schemas.Topic, s span, committed int64) (Lag, error) {
	if committed > s.end {
		return Lag{}, fmt.Errorf("the index ends at offset %d: %w", s.end, ErrBeyond)
	}
	if committed < 0 {
		committed = s.start
	}
	lag := Lag{Records: s.end - committed, Expired: committed < s.start}
	index := l.names.Index(t)
	oldest, err := l.firstFootage(ctx, index, max(committed, s.start), s.end)
	if err != nil || oldest == nil {
		return lag, err
	}
	newest, err := l.newestBefore(ctx, index, s.end)
	if err != nil {
		return Lag{}, err
	}
	if e := newest.entry; e != nil {
		lag.Footage = schemas.FromTicks(max(0, e.MediaEnd()-oldest.Media))
	}
	return lag, nil
}
