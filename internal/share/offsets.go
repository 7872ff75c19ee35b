package share

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/framelog/framelog/schemas"
)

const (
	commitPeriod = time.Second
	commitWait   = 10 * time.Second
	// commitAgain is after what time an offset that has not changed is committed again.
	// Kafka forgets it after seven days by default.
	commitAgain = 24 * time.Hour
)

// OffsetBehind returns the offset behind an entry. Its metadata tells which entry that is.
func OffsetBehind(e *schemas.Entry) Offset {
	return Offset{At: e.Offset + 1, Metadata: fmt.Sprintf("%s %d", e.Life, e.Seq)}
}

// SeqBehind returns the seq behind an offset that OffsetBehind has made, or 0 if the offset tells
// nothing of a life.
func SeqBehind(o Offset, life string) uint64 {
	of, seq, ok := strings.Cut(o.Metadata, " ")
	n, err := strconv.ParseUint(seq, 10, 64)
	if o.At < 0 || !ok || of != life || err != nil {
		return 0
	}
	return n + 1
}

// Offsets commits offsets of index topics under a role's group: those that changed once a
// second, all of them in one request, and each at least once a day. The number of cameras
// bounds it. See medialog/lag.go.
type Offsets struct {
	mu     sync.Mutex
	topics map[string]*offset
}

type offset struct {
	want, sent Offset
	at         time.Time // of the newest commit
}

// NewOffsets makes Offsets without any.
func NewOffsets() *Offsets { return &Offsets{topics: map[string]*offset{}} }

// Set tells what a topic's offset is.
func (o *Offsets) Set(topic string, want Offset) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.topics[topic] == nil {
		o.topics[topic] = &offset{}
	}
	o.topics[topic].want = want
}

// Get returns what Set has told of a topic; ok is false if it has told nothing.
func (o *Offsets) Get(topic string) (want Offset, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	t, ok := o.topics[topic]
	if !ok {
		return Offset{}, false
	}
	return t.want, true
}

// Remove ends the commits of a topic's offset.
func (o *Offsets) Remove(topic string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.topics, topic)
}

// Run commits with commit, as that of [Cameras], until ctx ends.
func (o *Offsets) Run(ctx context.Context, commit func(context.Context, map[string]Offset) error, log *slog.Logger) {
	t := time.NewTicker(commitPeriod)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		due := o.due(time.Now())
		if len(due) == 0 {
			continue
		}
		try, cancel := context.WithTimeout(ctx, commitWait)
		err := commit(try, due)
		cancel()
		if err != nil {
			log.Debug("offsets are not committed yet", "err", err)
			continue
		}
		o.committed(due, time.Now())
	}
}

// due returns the offsets that have to be committed.
func (o *Offsets) due(now time.Time) map[string]Offset {
	o.mu.Lock()
	defer o.mu.Unlock()
	due := map[string]Offset{}
	for topic, t := range o.topics {
		if t.want != t.sent || now.Sub(t.at) >= commitAgain {
			due[topic] = t.want
		}
	}
	return due
}

func (o *Offsets) committed(sent map[string]Offset, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for topic, s := range sent {
		if t := o.topics[topic]; t != nil {
			t.sent, t.at = s, now
		}
	}
}
