package hls

import (
	"container/list"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/framelog/framelog/schemas"
)

// cacheKey names a segment (topic and seq), an init (topic and config), or what
// is known of an index (topic).
type cacheKey struct {
	topic  schemas.Topic
	seq    uint64
	config string
}

func (k cacheKey) String() string { return fmt.Sprintf("%s/%d/%s", k.topic, k.seq, k.config) }

// cache holds values up to a sum of their sizes. The value that was used the
// longest ago leaves first.
type cache[V any] struct {
	mu      sync.Mutex
	max     int64
	bytes   int64
	order   list.List // of *cacheItem[V], the one that was used last in front
	items   map[cacheKey]*list.Element
	evicted prometheus.Counter // nil: is not counted
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

// get gives the value of k, the zero value where there is none.
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

// put keeps a value, in the place of the one that k had. A value that is larger
// than the cache is not kept.
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

// expire removes segments that nobody has asked for since a time. Inits stay:
// they are small, and to make one again may cost a read of the whole index.
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

// drop removes a value that nobody is expected to ask for.
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
