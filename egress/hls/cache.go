package hls

import (
	"container/list"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/framelog/framelog/schemas"
)

// cacheKey names a segment (topic and seq), an init (topic and config), or the
// known entries of an index (topic).
type cacheKey struct {
	topic  schemas.Topic
	seq    uint64
	config string
}

func (k cacheKey) String() string { return fmt.Sprintf("%s/%d/%s", k.topic, k.seq, k.config) }

// cache holds values up to a sum of their sizes. It evicts the least recently
// used value first.
type cache[V any] struct {
	mu      sync.Mutex
	max     int64
	bytes   int64
	order   list.List // of *cacheItem[V], the most recently used in front
	items   map[cacheKey]*list.Element
	evicted prometheus.Counter // nil: not counted
}

type cacheItem[V any] struct {
	key  cacheKey
	v    V
	size int64
	used time.Time
}

func newCache[V any](limit int64, evicted prometheus.Counter) *cache[V] {
	return &cache[V]{max: limit, items: map[cacheKey]*list.Element{}, evicted: evicted}
}

// get returns the value of k, the zero value if there is none.
func (c *cache[V]) get(k cacheKey) (v V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.items[k]
	if !ok {
		return v
	}
	c.order.MoveToFront(e)
	item := e.Value.(*cacheItem[V])
	item.used = time.Now()
	return item.v
}

// put stores a value and replaces the one that k had. It does not store a value
// that is larger than the cache.
func (c *cache[V]) put(k cacheKey, v V, size int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.items[k]; ok {
		c.remove(e)
	}
	if size > c.max {
		return
	}
	c.items[k] = c.order.PushFront(&cacheItem[V]{key: k, v: v, size: size, used: time.Now()})
	c.bytes += size
	for c.bytes > c.max {
		c.remove(c.order.Back())
		if c.evicted != nil {
			c.evicted.Inc()
		}
	}
}

// remove takes out an element. mu is held.
func (c *cache[V]) remove(e *list.Element) {
	item := c.order.Remove(e).(*cacheItem[V])
	delete(c.items, item.key)
	c.bytes -= item.size
}

// expire removes segments that were not requested since a time. Inits stay:
// they are small, and making one again may need a read of the whole index.
func (c *cache[V]) expire(since time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for e := c.order.Back(); e != nil; {
		item, before := e.Value.(*cacheItem[V]), e.Prev()
		if !item.used.Before(since) {
			return
		}
		if item.key.config == "" {
			c.remove(e)
		}
		e = before
	}
}

// drop removes a value for which no requests are expected.
func (c *cache[V]) drop(k cacheKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.items[k]; ok {
		c.remove(e)
	}
}

func (c *cache[V]) size() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bytes
}
