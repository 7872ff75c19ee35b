package hls

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestCache(t *testing.T) {
	evicted := prometheus.NewCounter(prometheus.CounterOpts{Name: "evicted_total", Help: "Evictions."})
	c := newCache(10, evicted)
	put := func(seq uint64, n int) { c.put(cacheKey{seq: seq}, &segment{parts: blocks{make([]byte, n)}}) }
	has := func(seq uint64) bool { return c.get(cacheKey{seq: seq}) != nil }
	put(1, 4)
	put(2, 4)
	if !has(1) {
		t.Fatal("what was put is not there")
	}
	put(3, 4) // 2 was used the longest ago
	if !has(1) || has(2) || !has(3) || c.size() != 8 {
		t.Errorf("1 %v, 2 %v, 3 %v, %d bytes", has(1), has(2), has(3), c.size())
	}
	put(4, 11)
	if has(4) || c.size() != 8 || testutil.ToFloat64(evicted) != 1 {
		t.Errorf("what is larger than the cache: %v, %d bytes, %v evictions", has(4), c.size(), testutil.ToFloat64(evicted))
	}
	c.drop(cacheKey{seq: 3})
	c.drop(cacheKey{seq: 3})
	if !has(1) || has(3) || c.size() != 4 || testutil.ToFloat64(evicted) != 1 {
		t.Errorf("after drop: 1 %v, 3 %v, %d bytes", has(1), has(3), c.size())
	}
}
