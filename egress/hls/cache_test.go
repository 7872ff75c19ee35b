package hls

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestCache(t *testing.T) {
	evicted := prometheus.NewCounter(prometheus.CounterOpts{Name: "evicted_total", Help: "Evictions."})
	c := newCache[*segment](10, evicted)
	put := func(seq uint64, n int64) { c.put(cacheKey{seq: seq}, &segment{}, n) }
	has := func(seq uint64) bool { return c.get(cacheKey{seq: seq}) != nil }
	put(1, 4)
	put(2, 4)
	if !has(1) {
		t.Fatal("a value that was put is missing")
	}
	put(3, 4) // 2 was used the longest ago
	if !has(1) || has(2) || !has(3) || c.size() != 8 {
		t.Errorf("1 %v, 2 %v, 3 %v, %d bytes", has(1), has(2), has(3), c.size())
	}
	put(4, 11)
	if has(4) || c.size() != 8 || testutil.ToFloat64(evicted) != 1 {
		t.Errorf("what is larger than the cache: %v, %d bytes, %v evictions", has(4), c.size(), testutil.ToFloat64(evicted))
	}
	put(1, 5) // in the place of the value that was there
	if !has(1) || !has(3) || c.size() != 9 {
		t.Errorf("after the second put of 1: %d bytes", c.size())
	}
	c.drop(cacheKey{seq: 3})
	c.drop(cacheKey{seq: 3})
	if !has(1) || has(3) || c.size() != 5 || testutil.ToFloat64(evicted) != 1 {
		t.Errorf("after drop: 1 %v, 3 %v, %d bytes", has(1), has(3), c.size())
	}
}

// Segments that nobody asks for leave the cache. Inits stay.
func TestCacheExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache[*segment](100, prometheus.NewCounter(prometheus.CounterOpts{Name: "evicted_total", Help: "Evictions."}))
		init := cacheKey{config: "0123456789abcdef"}
		c.put(init, &segment{}, 1)
		for seq := range uint64(5) {
			c.put(cacheKey{seq: seq}, &segment{}, 10)
		}
		time.Sleep(time.Minute)
		c.get(cacheKey{seq: 2})
		c.expire(time.Now().Add(-time.Minute))
		if n := c.size(); n != 51 {
			t.Errorf("%d bytes, want all 51 at the limit", n)
		}
		c.expire(time.Now().Add(-30 * time.Second))
		if n := c.size(); n != 11 || c.get(cacheKey{seq: 2}) == nil || c.get(init) == nil {
			t.Errorf("%d bytes, want those of the segment that was asked for and of the init", n)
		}
	})
}
