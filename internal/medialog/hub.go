package medialog

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// hub is the one tailing client of a process. It reads each topic once, for all tails of
// the topic (fanout). One goroutine (apply) changes what the client reads: while brokers
// are away the client may block it, and no tail must wait for that.
type hub struct {
	log     *Log
	polled  chan struct{} // closed when poll has ended
	applied chan struct{} // closed when apply has ended
	changed chan struct{} // there are changes; capacity 1

	mu      sync.Mutex               // guards all that follows, and what the fanouts hold
	client  *kgo.Client              // nil: no tail has begun yet
	fanouts map[string]*fanout       // by Kafka topic
	changes map[string]*change       // by Kafka topic: not applied yet
	told    map[topicPartition]int64 // offsets of damaged records that were logged, at most mostTold
}

// mostTold bounds hub.told. If there are more, their lines may come again.
const mostTold = 256

// change is what the client has to change for a topic.
type change struct {
	purge bool                 // first forget it
	add   map[int32]kgo.Offset // then read these partitions
}

func newHub(l *Log) *hub {
	return &hub{
		log: l, polled: make(chan struct{}), applied: make(chan struct{}), changed: make(chan struct{}, 1),
		fanouts: map[string]*fanout{}, changes: map[string]*change{}, told: map[topicPartition]int64{},
	}
}

// change returns the change of a topic, so that the caller can extend it. The
// caller holds h.mu.
func (h *hub) change(topic string) *change {
	ch := h.changes[topic]
	if ch == nil {
		ch = &change{add: map[int32]kgo.Offset{}}
		h.changes[topic] = ch
	}
	select {
	case h.changed <- struct{}{}:
	default:
	}
	return ch
}

// subscribe begins to read a topic, each partition from the offset that from names.
func (h *hub) subscribe(index, media string, from map[topicPartition]int64) (*subscription, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.log.ctx.Err() != nil {
		return nil, h.log.ctx.Err()
	}
	if err := h.start(); err != nil {
		return nil, err
	}
	return h.fanout(index, media).join(from), nil
}

// fanout returns the fanout of a topic, or a new one. The caller holds h.mu.
func (h *hub) fanout(index, media string) *fanout {
	f := h.fanouts[index]
	if f == nil {
		f = &fanout{hub: h, index: index, media: media, next: map[topicPartition]int64{}, subs: map[*subscription]struct{}{}}
		h.fanouts[index], h.fanouts[media] = f, f
	}
	return f
}

// start makes the client for the first tail. The caller holds h.mu.
func (h *hub) start() error {
	if h.client != nil {
		return nil
	}
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
		return fmt.Errorf("medialog: make tailing client: %w", err)
	}
	h.client = cl
	go h.poll(h.log.ctx)
	go h.apply(h.log.ctx)
	return nil
}

// fetchWait is how long a fetch waits at a broker for more records. A partition that
// is added meanwhile waits for it.
const fetchWait = 250 * time.Millisecond

// poll hands the fetched records to the tails, until the log is closed.
func (h *hub) poll(ctx context.Context) {
	defer close(h.polled)
	for {
		fetches := h.client.PollFetches(ctx)
		if ctx.Err() != nil || fetches.IsClientClosed() {
			return
		}
		h.mu.Lock()
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			f := h.fanouts[p.Topic]
			if f == nil {
				return
			}
			err := partitionError(&p.FetchPartition)
			if errors.Is(err, ErrDamaged) {
				// The client would fetch the record again and again until apply purges the
				// topic, which may have to wait.
				h.client.PauseFetchTopics(f.index, f.media)
			}
			f.push(topicPartition{p.Topic, p.Partition}, p.Records, err)
		})
		h.mu.Unlock()
	}
}

// damaged returns the error of a record that cannot be decoded. It logs the error once for each
// record: tails that begin again find the record again. The caller holds h.mu.
func (h *hub) damaged(at topicPartition, offset int64, err error) error {
	if logged, ok := h.told[at]; !ok || logged != offset {
		if len(h.told) >= mostTold {
			clear(h.told)
		}
		h.told[at] = offset
		h.log.logger.Error("a record cannot be decoded, and the tails of its topic end; they begin again. Look at the disks of the brokers",
			"topic", at.topic, "partition", at.n, "offset", offset, "err", err)
	}
	return fmt.Errorf("%s partition %d: the record at offset %d cannot be decoded; look at the disks of the brokers: %w", at.topic, at.n, offset, err)
}

// apply makes the changes that tails ask for, until the log is closed.
func (h *hub) apply(ctx context.Context) {
	defer close(h.applied)
	for {
		select {
		case <-h.changed:
		case <-ctx.Done():
			return
		}
		h.mu.Lock()
		changes := h.changes
		h.changes = map[string]*change{}
		h.mu.Unlock()
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
		if len(purge) > 0 {
			h.client.PurgeTopicsFromConsuming(purge...)
			h.client.ResumeFetchTopics(purge...)
		}
		h.client.AddConsumePartitions(add)
	}
}

// close waits for the client's goroutines. The log is closed already, so no tail
// begins any more.
func (h *hub) close() {
	h.mu.Lock()
	client := h.client
	h.mu.Unlock()
	if client == nil {
		return
	}
	<-h.polled
	client.Close() // apply may wait for the client; this ends it
	<-h.applied
}
