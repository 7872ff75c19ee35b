package medialog

import (
	"errors"
	"io"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestPushErrors: which errors of a partition end a tail, and with what.
func TestPushErrors(t *testing.T) {
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
		{"the log was cut back", &kgo.ErrDataLoss{Topic: "t"}, ErrExpired},
	} {
		s := &subscription{next: map[topicPartition]int64{}, more: make(chan struct{}, 1)}
		s.push(nil, tc.err, 1)
		if (s.err == nil) != (tc.want == nil) || !errors.Is(s.err, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, s.err, tc.want)
		}
	}
}
