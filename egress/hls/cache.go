package hls

import (
	"container/list"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/framelog/framelog/schemas"
)

type cacheKey struct {
	topic  schemas.Topic
	seq    uint64
	config string // of an init; empty for a segment
}

// cache holds segments and inits up to a number of bytes, the least recently
// used going first, and no segment that nobody asks for any more.
type cache struct {
	mu      sync.Mutex
	max     int64
	bytes   int64
	order   list.List // of *cacheItem, the newest use in front
	items   map[cacheKey]*list.Element
	evicted prometheus.Counter
}

type cacheItem struct {
	key  cacheKey
	seg  *segment
	used time.Time
}

func newCache(limit int64, evicted prometheus.Counter) *cache {
	return &cache{max: limit, items: map[cacheKey]*list.Element{}, evicted: evicted}
}

func (c *cache) get(k cacheKey) *segment {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.items[k]
	if !ok {
		return nil
	}
	c.order.MoveToFront(e)
	item := e.Value.(*cacheItem)
	item.used = time.Now()
	return item.seg
}

func (c *cache) put(k cacheKey, s *segment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.items[k]; ok || s.parts.Size() > c.max {
		return
	}
	c.items[k] = c.order.PushFront(&cacheItem{key: k, seg: s, used: time.Now()})
	c.bytes += s.parts.Size()
	for c.bytes > c.max {
		c.remove(c.order.Back())
		c.evicted.Inc()
	}
}

// remove takes out an element. With mu held.
func (c *cache) remove(e *list.Element) {
	item := c.order.Remove(e).(*cacheItem)
	delete(c.items, item.key)
	c.bytes -= item.seg.parts.Size()
}

// expire removes segments that nobody has asked for since a time. Inits are
// small, and one of a camera that is not followed costs a scan of its index.
func (c *cache) expire(since time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for e := c.order.Back(); e != nil; {
		item, before := e.Value.(*cacheItem), e.Prev()
		if !item.used.Before(since) {
			return
		}
		if item.key.config == "" {
			c.remove(e)
		}
		e = before
	}
}

// drop removes what nobody is expected to ask for.
func (c *cache) drop(k cacheKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.items[k]; ok {
		c.remove(e)
	}
}

func (c *cache) size() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bytes
}
