package medialog

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestPartitionErrors: which errors of a partition end the tails of its topic, all of
// them, and with what. A tail that begins later does not get the old error.
func TestPartitionErrors(t *testing.T) {
	l := newEnv(t, []string{"127.0.0.1:1"}, 1).log() // no broker answers
	for _, tc := range []struct {
		name      string
		err, want error
	}{
		{"a broker is away", io.EOF, nil},
		{"a leader moves", kerr.NotLeaderForPartition, nil},
		{"below the start", kerr.OffsetOutOfRange, ErrExpired},
		{"deleted", kerr.UnknownTopicOrPartition, ErrNoTopic},
		{"made again", kerr.UnknownTopicID, ErrNoTopic},
		{"no right", kerr.TopicAuthorizationFailed, kerr.TopicAuthorizationFailed},
		{"the log was cut back", &kgo.ErrDataLoss{Topic: "m"}, ErrExpired},
		{"a checksum is wrong", partitionError(&kgo.FetchPartition{Err: errors.New("encoded crc 1 does not match calculated crc 2"), HighWatermark: 4}), ErrDamaged},
		{"metadata lack a partition", partitionError(&kgo.FetchPartition{Err: errors.New("metadata update is missing a partition that we were previously using")}), nil},
		{"a right was taken away", partitionError(&kgo.FetchPartition{Err: kerr.TopicAuthorizationFailed, HighWatermark: 4}), kerr.TopicAuthorizationFailed},
	} {
		h := newHub(l)
		f := h.fanout("i", "m")
		at := topicPartition{"m", 0}
		subs := []*subscription{f.join(map[topicPartition]int64{at: 3}), f.join(map[topicPartition]int64{at: 3})}
		// The second tail of a topic reads itself what the client has read already.
		f.push(at, []*kgo.Record{{Topic: "m", Offset: 3}}, nil)
		subs = append(subs, f.join(map[topicPartition]int64{at: 3}))
		f.push(at, nil, tc.err)
		for i, s := range subs {
			if (s.err == nil) != (tc.want == nil) || !errors.Is(s.err, tc.want) {
				t.Errorf("%s: tail %d: %v, want %v", tc.name, i, s.err, tc.want)
			}
		}
		if tc.want == nil {
			continue
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		n := 0
		for _, err := range subs[2].records(ctx) {
			if n++; !errors.Is(err, tc.want) {
				t.Errorf("%s: a tail that reads what it missed ends with %v", tc.name, err)
			}
		}
		if n != 1 || ctx.Err() != nil {
			t.Errorf("%s: a tail that reads what it missed has %d errors, want one at once (%v)", tc.name, n, ctx.Err())
		}
		cancel()
		if !h.changes["m"].purge || !h.changes["i"].purge || len(h.changes["m"].add) != 0 {
			t.Errorf("%s: the client goes on with the topic: %+v", tc.name, h.changes["m"])
		}
		s := h.fanout("i", "m").join(map[topicPartition]int64{at: 0})
		for _, old := range subs {
			old.addPartition("m", 1, 0)
			old.close()
		}
		if ch := h.changes["m"]; s.err != nil || len(ch.add) != 1 || h.fanouts["m"] != s.fanout {
			t.Errorf("%s: a tail that begins later: %v, %+v", tc.name, s.err, ch)
		}
	}
}
