package kafka

import (
	"maps"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// manyBrokers is how many brokers a cluster has in which a topic gets as many
// replicas by default.
const manyBrokers = 3

// meet notes the brokers that an answer names. Its list of brokers has those that
// run. The replicas of topics tell of the others too.
func (e *ensurer) meet(resp *kmsg.MetadataResponse) {
	for _, b := range resp.Brokers {
		e.brokers[b.NodeID] = true
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			for _, id := range p.Replicas {
				e.brokers[id] = true
			}
		}
	}
}

// wanted returns how many replicas a topic should have.
func (e *ensurer) wanted() int {
	switch {
	case e.replicas > 0:
		return e.replicas
	case len(e.brokers) >= manyBrokers:
		return manyBrokers
	}
	return 1
}

// few are the topics that have fewer replicas than they should.
type few struct {
	mu     sync.Mutex
	topics map[string]bool
	logged int // how many there were in the newest log line
}

// warn logs that topics have fewer replicas than wanted. copies is how many each of
// them has. It logs the first topics, and again when there are twice as many: so the
// log lines stay few.
func (t *Topics) warn(copies map[string]int, wanted int) {
	t.few.mu.Lock()
	defer t.few.mu.Unlock()
	example := ""
	for _, topic := range slices.Sorted(maps.Keys(copies)) {
		if n := copies[topic]; n == 0 || n >= wanted {
			delete(t.few.topics, topic)
			continue
		}
		if t.few.topics == nil {
			t.few.topics = map[string]bool{}
		}
		t.few.topics[topic] = true
		if example == "" {
			example = topic
		}
	}
	if n := len(t.few.topics); example != "" && n >= max(1, 2*t.few.logged) {
		t.few.logged = n
		t.log.Warn("topics have too few replicas, so their data can be lost with a broker: add replicas as docs/operating.md#topics-with-too-few-replicas says, or set topics.replicas if they are enough",
			"topics", n, "one", example, "replicas", copies[example], "want", wanted)
	}
}
