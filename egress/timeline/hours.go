package timeline

import (
	"container/list"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/framelog/framelog/internal/summary"
	"github.com/framelog/framelog/schemas"
)

// keptMissing is how many times without footage an hour in memory may have. Hours with more are
// read each time.
const keptMissing = 64

// hours keeps the hours to which nothing is added any more. The least recently used go.
type hours struct {
	most   int
	misses prometheus.Counter

	mu    sync.Mutex
	all   map[hourKey]*list.Element
	order list.List // of *kept, the most recently used in front
}

type hourKey struct {
	topic schemas.Topic
	life  string
	start int64 // Unix seconds
}

type kept struct {
	key  hourKey
	hour *summary.Hour
	read time.Time
}

// hourAge is how long an hour stays in memory. What retention has removed meanwhile, in Kafka or
// in the archive, is told that much later.
const hourAge = time.Hour

func newHours(most int, r prometheus.Registerer) *hours {
	h := &hours{most: most, all: map[hourKey]*list.Element{}, misses: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "framelog_egress_timeline_misses_total", Help: "Hours of indexes that were read for timelines, since memory did not have them.",
	})}
	if r != nil {
		r.MustRegister(h.misses)
	}
	return h
}

func (h *hours) get(k hourKey) *summary.Hour {
	h.mu.Lock()
	defer h.mu.Unlock()
	e := h.all[k]
	if e == nil {
		return nil
	}
	x := e.Value.(*kept)
	if time.Since(x.read) >= hourAge {
		h.order.Remove(e)
		delete(h.all, k)
		return nil
	}
	h.order.MoveToFront(e)
	return x.hour
}

func (h *hours) put(k hourKey, x *summary.Hour) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.all[k] != nil {
		return // another request was faster
	}
	h.all[k] = h.order.PushFront(&kept{k, x, time.Now()})
	for len(h.all) > h.most {
		last := h.order.Remove(h.order.Back()).(*kept)
		delete(h.all, last.key)
	}
}
