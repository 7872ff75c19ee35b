package medialog

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// hubs are the process's tailing clients. One client serves all tails of different
// topics. It reads a partition at one place only, so a second tail of the same topic
// gets the next client.
type hubs struct {
	log *Log
	mu  sync.Mutex
	all []*hub
}

// hub is one tailing client with its subscriptions. One goroutine (apply) changes
// what the client consumes: while brokers are away the client may block it, and no
// tail must wait for that.
type hub struct {
	hubs    *hubs
	client  *kgo.Client
	polled  chan struct{} // closed when poll has ended
	applied chan struct{} // closed when apply has ended
	changed chan struct{} // there are changes; capacity 1

	// Guarded by hubs.mu:
	subs    map[string]*subscription // by Kafka topic
	changes map[string]*change       // by Kafka topic: not applied yet
}

// change is what a client has to change for a topic.
type change struct {
	purge bool                 // first forget it
	add   map[int32]kgo.Offset // then consume these partitions
}

// change returns the change of a topic, so that the caller can extend it. The
// caller holds hubs.mu.
func (c *hub) change(topic string) *change {
	ch := c.changes[topic]
	if ch == nil {
		ch = &change{add: map[int32]kgo.Offset{}}
		c.changes[topic] = ch
	}
	select {
	case c.changed <- struct{}{}:
	default:
	}
	return ch
}

// subscription is the queue of records of one tail, bounded in bytes. The hub pushes,
// the tail takes.
type subscription struct {
	hub          *hub
	index, media string

	mu    sync.Mutex
	queue []*kgo.Record
	bytes int64
	err   error
	next  map[topicPartition]int64 // the next offset of each partition
	more  chan struct{}            // capacity 1
}

func (h *hubs) subscribe(index, media string, from map[string]map[int32]kgo.Offset) (*subscription, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.log.ctx.Err() != nil {
		return nil, h.log.ctx.Err()
	}
	s := &subscription{index: index, media: media, next: map[topicPartition]int64{}, more: make(chan struct{}, 1)}
	for topic, ps := range from {
		for p, o := range ps {
			s.next[topicPartition{topic, p}] = o.EpochOffset().Offset
		}
	}
	for _, c := range h.all {
		if c.subs[index] == nil {
			s.hub = c
			break
		}
	}
	if s.hub == nil {
		c, err := h.newHub()
		if err != nil {
			return nil, err
		}
		h.all = append(h.all, c)
		s.hub = c
	}
	s.hub.subs[index], s.hub.subs[media] = s, s
	for topic, ps := range from {
		maps.Copy(s.hub.change(topic).add, ps)
	}
	return s, nil
}

func (h *hubs) newHub() (*hub, error) {
	cl, err := kgo.NewClient(append(h.log.cfg.Kafka.Options(h.log.logger),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{}),
		kgo.FetchMinBytes(1),
		kgo.FetchMaxWait(fetchWait),
		kgo.FetchMaxBytes(32<<20),
		kgo.FetchMaxPartitionBytes(int32(h.log.cfg.MaxMessage)),
		// If the next record has expired, the client must return an error. By default
		// it goes on at another offset without an error.
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
	)...)
	if err != nil {
		return nil, fmt.Errorf("medialog: make tailing client: %w", err)
	}
	c := &hub{
		hubs: h, client: cl, polled: make(chan struct{}), applied: make(chan struct{}), changed: make(chan struct{}, 1),
		subs: map[string]*subscription{}, changes: map[string]*change{},
	}
	go c.poll(h.log.ctx)
	go c.apply(h.log.ctx)
	return c, nil
}

// fetchWait is how long a fetch waits at a broker for more records. A partition that
// is added meanwhile waits for it.
const fetchWait = 250 * time.Millisecond

// poll hands the fetched records to the subscriptions, until the log is closed.
func (c *hub) poll(ctx context.Context) {
	defer close(c.polled)
	for {
		fetches := c.client.PollFetches(ctx)
		if ctx.Err() != nil || fetches.IsClientClosed() {
			return
		}
		c.hubs.mu.Lock()
		fetches.EachTopic(func(ft kgo.FetchTopic) {
			s := c.subs[ft.Topic]
			if s == nil {
				return
			}
			for i := range ft.Partitions {
				s.push(ft.Partitions[i].Records, ft.Partitions[i].Err, c.hubs.log.cfg.TailBytes)
			}
		})
		c.hubs.mu.Unlock()
	}
}

// apply makes the changes that subscriptions ask for, until the log is closed.
func (c *hub) apply(ctx context.Context) {
	defer close(c.applied)
	for {
		select {
		case <-c.changed:
		case <-ctx.Done():
			return
		}
		c.hubs.mu.Lock()
		changes := c.changes
		c.changes = map[string]*change{}
		c.hubs.mu.Unlock()
		var purge []string
		add := map[string]map[int32]kgo.Offset{}
		for topic, ch := range changes {
			if ch.purge {
				purge = append(purge, topic)
			}
			if len(ch.add) > 0 {
				add[topic] = ch.add
			}
		}
		// Purge the topics: if they are only removed, the client asks for their
		// metadata for ever. This waits for a request for metadata that is under way.
		c.client.PurgeTopicsFromConsuming(purge...)
		c.client.AddConsumePartitions(add)
	}
}

func (h *hubs) close() {
	h.mu.Lock()
	all := h.all
	h.mu.Unlock()
	for _, c := range all {
		<-c.polled
		c.client.Close() // apply may wait for the client; this ends it
		<-c.applied
	}
}

func (s *subscription) push(records []*kgo.Record, err error, limit int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return
	}
	for _, r := range records {
		// The client may still hold records that it fetched for an earlier tail of
		// the topic, from another place. Only the next one counts.
		at := topicPartition{r.Topic, r.Partition}
		if next, ok := s.next[at]; !ok || r.Offset != next {
			continue
		}
		s.next[at]++
		// One record is always taken, of any size.
		if s.bytes+int64(len(r.Value)) > limit && len(s.queue) > 0 {
			s.err = ErrSlow
			s.hub.hubs.log.metrics.slowTails.Inc()
			break
		}
		s.bytes += int64(len(r.Value))
		s.queue = append(s.queue, r)
	}
	var cut *kgo.ErrDataLoss
	switch {
	case s.err != nil:
	case errors.As(err, &cut):
		// The partition was cut back behind what was read. The client goes back, and
		// other records stand there now.
		s.err = ErrExpired
	case errors.Is(err, kerr.OffsetOutOfRange):
		s.err = ErrExpired
	case errors.Is(err, kerr.UnknownTopicOrPartition), errors.Is(err, kerr.UnknownTopicID), errors.Is(err, kerr.InconsistentTopicID):
		s.err = ErrNoTopic
	case err != nil && !kerr.IsRetriable(err) && !isNetwork(err):
		s.err = err
	}
	select {
	case s.more <- struct{}{}:
	default:
	}
}

// isNetwork reports whether an error is not one that Kafka returned: then the
// broker may be back soon.
func isNetwork(err error) bool {
	var ke *kerr.Error
	return !errors.As(err, &ke)
}

// take waits for the next record.
func (s *subscription) take(ctx context.Context) (*kgo.Record, error) {
	for {
		s.mu.Lock()
		if len(s.queue) > 0 && !errors.Is(s.err, ErrSlow) {
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
		case <-s.hub.hubs.log.ctx.Done():
			return nil, s.hub.hubs.log.ctx.Err()
		}
	}
}

// addPartition begins to read a partition that did not exist when the tail began.
func (s *subscription) addPartition(topic string, n int32, at int64) {
	s.mu.Lock()
	_, known := s.next[topicPartition{topic, n}]
	if !known {
		s.next[topicPartition{topic, n}] = at
	}
	s.mu.Unlock()
	if !known {
		s.hub.hubs.mu.Lock()
		defer s.hub.hubs.mu.Unlock()
		s.hub.change(topic).add[n] = kgo.NewOffset().At(at)
	}
}

// close ends the subscription. It does not wait for the client.
func (s *subscription) close() {
	h := s.hub.hubs
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, topic := range []string{s.index, s.media} {
		delete(s.hub.subs, topic)
		ch := s.hub.change(topic)
		ch.purge = true
		clear(ch.add)
	}
}
