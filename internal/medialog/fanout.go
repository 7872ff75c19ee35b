package medialog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// fanout hands the records of one topic, which the client reads once, to all tails of
// the topic. Its first tail decides where the client begins. The client forgets the
// topic when the last tail ends, or when a partition fails, which ends all of them.
// hub.mu guards it.
type fanout struct {
	hub          *hub
	index, media string
	next         map[topicPartition]int64 // the next offset of each partition
	subs         map[*subscription]struct{}
}

// join adds a tail. What the client has already read of the tail's range is missed: the
// tail reads it itself.
func (f *fanout) join(from map[topicPartition]int64) *subscription {
	s := &subscription{fanout: f, begin: map[topicPartition]int64{}, more: make(chan struct{}, 1)}
	f.subs[s] = struct{}{}
	for at, offset := range from {
		f.read(at, offset)
		switch next := f.next[at]; {
		case offset < next:
			s.missed = append(s.missed, missed{at, offset, next})
		case offset > next:
			s.begin[at] = offset
		}
	}
	// The index comes first, so that chunks that have an entry already are skipped.
	slices.SortFunc(s.missed, func(a, b missed) int {
		switch a.topic {
		case b.topic:
			return cmp.Compare(a.n, b.n)
		case f.index:
			return -1
		}
		return 1
	})
	return s
}

// read makes the client read a partition, unless it does so already.
func (f *fanout) read(at topicPartition, offset int64) {
	if _, known := f.next[at]; known || f.ended() {
		return
	}
	f.next[at] = offset
	f.hub.change(at.topic).add[at.n] = kgo.NewOffset().At(offset)
}

// push takes what the client has read of a partition.
func (f *fanout) push(at topicPartition, fetched []*kgo.Record, err error) {
	// The client may still hold records that it fetched for earlier tails of the
	// topic, from another place. Only the next one counts.
	var records []*kgo.Record
	for _, r := range fetched {
		if next, ok := f.next[at]; ok && r.Offset == next {
			f.next[at]++
			records = append(records, r)
		}
	}
	if err = tailError(err); errors.Is(err, ErrDamaged) {
		err = f.hub.damaged(at, f.next[at], err)
	}
	for s := range f.subs {
		s.push(at, records, f.hub.log.cfg.TailBytes)
		if err != nil {
			s.fail(err)
		}
	}
	if err != nil {
		f.end()
	}
}

// end makes the client forget the topic. A tail that begins later gets a new fanout.
func (f *fanout) end() {
	if f.ended() {
		return
	}
	for _, topic := range []string{f.index, f.media} {
		delete(f.hub.fanouts, topic)
		ch := f.hub.change(topic)
		ch.purge = true
		clear(ch.add)
	}
}

func (f *fanout) ended() bool { return f.hub.fanouts[f.index] != f }

// tailError is the error with which tails end, given the error of a partition; nil:
// they go on.
func tailError(err error) error {
	var cut *kgo.ErrDataLoss
	switch {
	case err == nil:
	case errors.As(err, &cut):
		// The partition was cut back behind what was read. The client goes back, and
		// other records stand there now.
		return ErrExpired
	case errors.Is(err, kerr.OffsetOutOfRange):
		return ErrExpired
	case isGone(err):
		return ErrNoTopic
	case errors.Is(err, ErrDamaged):
		return err // the client would fetch it again at once, for ever
	case !kerr.IsRetriable(err) && !isNetwork(err):
		return err
	}
	return nil
}

// partitionError is the error of a partition: ErrDamaged if the client cannot decode what Kafka
// returned. The client reports failed requests for metadata or offsets as partitions without a
// high watermark.
func partitionError(p *kgo.FetchPartition) error {
	var ke *kerr.Error
	if p.Err == nil || p.HighWatermark <= 0 || errors.As(p.Err, &ke) {
		return p.Err
	}
	return fmt.Errorf("%w: %w", ErrDamaged, p.Err)
}

// isNetwork reports whether an error is not one that Kafka returned: then the
// broker may be back soon.
func isNetwork(err error) bool {
	var ke *kerr.Error
	return !errors.As(err, &ke)
}

// subscription is the records of one tail: those that it missed, and then its queue,
// which is bounded in bytes. The tails of a topic share the records.
type subscription struct {
	fanout *fanout
	missed []missed
	begin  map[topicPartition]int64 // of a partition that the client reads from an earlier offset on: where the tail begins
	more   chan struct{}            // the queue or err has changed; capacity 1

	mu      sync.Mutex // guards all that follows; taken while hub.mu is held
	queue   []*kgo.Record
	bytes   int64
	err     error
	catchUp context.CancelFunc // ends readMissed; nil: it has not begun
}

// missed is the records [from, to) of a partition.
type missed struct {
	topicPartition
	from, to int64
}

func (s *subscription) push(at topicPartition, records []*kgo.Record, limit int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range records {
		if s.err != nil {
			return
		}
		if r.Offset < s.begin[at] {
			continue
		}
		// One record is always taken, of any size.
		if s.bytes+int64(len(r.Value)) > limit && len(s.queue) > 0 {
			s.fanout.hub.log.metrics.slowTails.Inc()
			s.queue, s.bytes = nil, 0
			s.failLocked(ErrSlow)
			return
		}
		s.bytes += int64(len(r.Value))
		s.queue = append(s.queue, r)
	}
	s.wake()
}

// fail ends the tail behind the records in its queue.
func (s *subscription) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failLocked(err)
}

func (s *subscription) failLocked(err error) {
	if s.err != nil {
		return
	}
	s.err = err
	if s.catchUp != nil {
		s.catchUp()
	}
	s.wake()
}

func (s *subscription) wake() {
	select {
	case s.more <- struct{}{}:
	default:
	}
}

// records yields the tail's records, those of each partition in order. It ends with an
// error: ErrSlow, ErrExpired, ErrNoTopic, ErrDamaged, one of Kafka's, or ctx's.
func (s *subscription) records(ctx context.Context) iter.Seq2[*kgo.Record, error] {
	return func(yield func(*kgo.Record, error) bool) {
		for r, err := range s.readMissed(ctx) {
			if !yield(r, err) || err != nil {
				return
			}
		}
		for {
			r, err := s.take(ctx)
			if !yield(r, err) || err != nil {
				return
			}
		}
	}
}

// readMissed reads the records that the client had read before the tail joined. It ends
// early if the tail fails: a topic that was deleted would keep it waiting.
func (s *subscription) readMissed(ctx context.Context) iter.Seq2[*kgo.Record, error] {
	return func(yield func(*kgo.Record, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		s.mu.Lock()
		s.catchUp = cancel
		if s.err != nil {
			cancel()
		}
		s.mu.Unlock()
		for _, m := range s.missed {
			for r, err := range s.fanout.hub.log.records(ctx, m.topic, m.n, m.from, m.to) {
				if failed := s.failed(); failed != nil {
					err = failed
				}
				if !yield(r, err) || err != nil {
					return
				}
			}
		}
	}
}

func (s *subscription) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// take waits for the next record of the queue.
func (s *subscription) take(ctx context.Context) (*kgo.Record, error) {
	for {
		s.mu.Lock()
		if len(s.queue) > 0 {
			r := s.queue[0]
			s.queue[0] = nil
			s.queue = s.queue[1:]
			s.bytes -= int64(len(r.Value))
			s.mu.Unlock()
			return r, nil
		}
		err := s.err
		s.mu.Unlock()
		if err != nil {
			return nil, err
		}
		select {
		case <-s.more:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// addPartition begins to read a partition that did not exist when the first tail of the
// topic began.
func (s *subscription) addPartition(topic string, n int32, offset int64) {
	s.fanout.hub.mu.Lock()
	defer s.fanout.hub.mu.Unlock()
	s.fanout.read(topicPartition{topic, n}, offset)
}

// close ends the subscription. It does not wait for the client.
func (s *subscription) close() {
	h := s.fanout.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(s.fanout.subs, s)
	if len(s.fanout.subs) == 0 {
		s.fanout.end()
	}
}
