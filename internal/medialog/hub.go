package medialog

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// hubs are the process's tailing clients. One serves all tails, unless the
// same topic is tailed twice at once: a client reads a partition at one place
// only, so the second tail gets the next client.
type hubs struct {
	log *Log
	mu  sync.Mutex
	all []*hub
}

// hub is one tailing client and who listens to it. The client is told what to
// consume by one goroutine: while brokers are away it may keep who tells it for
// as long as they are, and no tail is to wait for that.
type hub struct {
	hubs   *hubs
	client *kgo.Client
	done   chan struct{} // closed when polling has ended
	told   chan struct{} // closed when telling has ended
	tell   chan struct{} // there are changes; capacity 1

	// Guarded by hubs.mu:
	subs    map[string]*subscription // by Kafka topic
	changes map[string]*change       // by Kafka topic: what the client has not been told yet
}

// change is what a client consumes of a topic from now on.
type change struct {
	purge bool                 // first of all, nothing
	add   map[int32]kgo.Offset // and then these partitions
}

// change makes room for a change of a topic. hubs.mu is held.
func (c *hub) change(topic string) *change {
	ch := c.changes[topic]
	if ch == nil {
		ch = &change{add: map[int32]kgo.Offset{}}
		c.changes[topic] = ch
	}
	select {
	case c.tell <- struct{}{}:
	default:
	}
	return ch
}

// subscription is the records of one tail, in a queue bounded by bytes. The
// hub pushes, the tail takes.
type subscription struct {
	hub          *hub
	index, media string

	mu    sync.Mutex
	queue []*kgo.Record
	bytes int64
	err   error
	want  map[partition]int64 // the next offset of each partition
	more  chan struct{}       // capacity 1
}

type partition struct {
	topic string
	n     int32
}

func (h *hubs) subscribe(index, media string, from map[string]map[int32]kgo.Offset) (*subscription, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.log.ctx.Err() != nil {
		return nil, h.log.ctx.Err()
	}
	s := &subscription{index: index, media: media, want: map[partition]int64{}, more: make(chan struct{}, 1)}
	for topic, ps := range from {
		for p, o := range ps {
			s.want[partition{topic, p}] = o.EpochOffset().Offset
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
		kgo.FetchMaxWait(liveEdge),
		kgo.FetchMaxBytes(32<<20),
		kgo.FetchMaxPartitionBytes(int32(h.log.cfg.MaxMessage)),
		// Falling below the start of a partition must be an error: the client
		// would go on at another place without a word.
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
	)...)
	if err != nil {
		return nil, fmt.Errorf("medialog: make tailing client: %w", err)
	}
	c := &hub{
		hubs: h, client: cl, done: make(chan struct{}), told: make(chan struct{}), tell: make(chan struct{}, 1),
		subs: map[string]*subscription{}, changes: map[string]*change{},
	}
	go c.run(h.log.ctx)
	go c.apply(h.log.ctx)
	return c, nil
}

// run polls until the log is closed.
func (c *hub) run(ctx context.Context) {
	defer close(c.done)
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

// apply tells the client of changes until the log is closed.
func (c *hub) apply(ctx context.Context) {
	defer close(c.told)
	for {
		select {
		case <-c.tell:
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
		// Purging, not only removing: else the client asks for the topics'
		// metadata for ever. It waits for a request for metadata under way.
		c.client.PurgeTopicsFromConsuming(purge...)
		c.client.AddConsumePartitions(add)
	}
}

func (h *hubs) close() {
	h.mu.Lock()
	all := h.all
	h.mu.Unlock()
	for _, c := range all {
		<-c.done
		c.client.Close() // which lets go who tells it something
		<-c.told
	}
}

func (s *subscription) push(records []*kgo.Record, err error, limit int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return
	}
	for _, r := range records {
		// The client may still hold records that it fetched for an earlier
		// tail of the topic, from another place: only the next one counts.
		at := partition{r.Topic, r.Partition}
		if next, ok := s.want[at]; !ok || r.Offset != next {
			continue
		}
		s.want[at]++
		// One record is always taken, whatever its size.
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
		// The broker's log is shorter than what was read of it: the client goes
		// back, and what stands there from now on is not what was there.
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

// isNetwork says whether an error is none of Kafka's own: brokers come back.
func isNetwork(err error) bool {
	var ke *kerr.Error
	return !errors.As(err, &ke)
}

// next waits for a record.
func (s *subscription) next(ctx context.Context) (*kgo.Record, error) {
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

// also reads a partition that was not there when the tail began.
func (s *subscription) also(topic string, n int32, at int64) {
	s.mu.Lock()
	_, known := s.want[partition{topic, n}]
	if !known {
		s.want[partition{topic, n}] = at
	}
	s.mu.Unlock()
	if !known {
		s.hub.hubs.mu.Lock()
		defer s.hub.hubs.mu.Unlock()
		s.hub.change(topic).add[n] = kgo.NewOffset().At(at)
	}
}

// close gives the topics back, and waits for nobody: the client is told soon.
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
