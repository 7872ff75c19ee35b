package processors

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/framelog/framelog/internal/share"
	"github.com/framelog/framelog/schemas"
)

const (
	commitPeriod = time.Second
	commitWait   = 10 * time.Second
	// commitAgain is after what time an offset that has not changed is committed again.
	// Kafka forgets it after seven days by default.
	commitAgain = 24 * time.Hour
)

// offsetBehind returns the offset behind an entry. Its metadata tells which entry that is.
func offsetBehind(e *schemas.Entry) share.Offset {
	return share.Offset{At: e.Offset + 1, Metadata: fmt.Sprintf("%s %d", e.Life, e.Seq)}
}

// seqBehind returns the seq behind an offset that offsetBehind has made, or 0 if the offset tells
// nothing of a life.
func seqBehind(o share.Offset, life string) uint64 {
	of, seq, ok := strings.Cut(o.Metadata, " ")
	n, err := strconv.ParseUint(seq, 10, 64)
	if o.At < 0 || !ok || of != life || err != nil {
		return 0
	}
	return n + 1
}

// offsets commits offsets of index topics under the processor's group: those that changed
// once in a commitPeriod, all of them in one request. The number of cameras bounds it.
type offsets struct {
	mu     sync.Mutex
	topics map[string]*offset
}

type offset struct {
	want, sent share.Offset
	at         time.Time // of the newest commit
}

func newOffsets() *offsets { return &offsets{topics: map[string]*offset{}} }

// set tells what a topic's offset is.
func (o *offsets) set(topic string, want share.Offset) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.topics[topic] == nil {
		o.topics[topic] = &offset{}
	}
	o.topics[topic].want = want
}

// remove ends the commits of a topic's offset.
func (o *offsets) remove(topic string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.topics, topic)
}

// run commits until ctx ends.
func (o *offsets) run(ctx context.Context, commit func(context.Context, map[string]share.Offset) error, log *slog.Logger) {
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
func (o *offsets) due(now time.Time) map[string]share.Offset {
	o.mu.Lock()
	defer o.mu.Unlock()
	due := map[string]share.Offset{}
	for topic, t := range o.topics {
		if t.want != t.sent || now.Sub(t.at) >= commitAgain {
			due[topic] = t.want
		}
	}
	return due
}

func (o *offsets) committed(sent map[string]share.Offset, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for topic, s := range sent {
		if t := o.topics[topic]; t != nil {
			t.sent, t.at = s, now
		}
	}
}
