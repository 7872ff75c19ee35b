package hls

import (
	"container/list"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/framelog/framelog/schemas"
)

type cacheKey struct {
	topic  schemas.Topic
	seq    uint64
	config string // of an init; empty for a segment
}

// cache holds segments and inits up to a number of bytes, the least recently
// used going first.
type cache struct {
	mu      sync.Mutex
	max     int64
	bytes   int64
	order   list.List // of *cacheItem, the newest use in front
	items   map[cacheKey]*list.Element
	evicted prometheus.Counter
}

type cacheItem struct {
	key cacheKey
	seg *segment
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
	return e.Value.(*cacheItem).seg
}

func (c *cache) put(k cacheKey, s *segment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.items[k]; ok || s.parts.size() > c.max {
		return
	}
	c.items[k] = c.order.PushFront(&cacheItem{k, s})
	c.bytes += s.parts.size()
	for c.bytes > c.max {
		last := c.order.Back()
		item := c.order.Remove(last).(*cacheItem)
		delete(c.items, item.key)
		c.bytes -= item.seg.parts.size()
		c.evicted.Inc()
	}
}

// drop removes what nobody is expected to ask for.
func (c *cache) drop(k cacheKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.items[k]; ok {
		c.order.Remove(e)
		delete(c.items, k)
		c.bytes -= e.Value.(*cacheItem).seg.parts.size()
	}
}

func (c *cache) size() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bytes
}
