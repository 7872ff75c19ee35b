package httpgzip

import (
	"bytes"
	"compress/gzip"
	"io"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// TestCompress: a writer that was used before makes what a new one makes, also
// while others compress; and writers are used again.
func TestCompress(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // it empties the pool
	var made atomic.Int64
	makeWriter := writers.New
	defer func() { writers.New = makeWriter }()
	writers.New = func() any { made.Add(1); return makeWriter() }
	lists := []string{"", "a", strings.Repeat("#EXTINF:2.000000,\nm1/1700000000.m4s\n", 100)}
	const goroutines, each = 8, 50
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for i := range each {
				in := lists[i%len(lists)]
				out, err := Compress([]byte(in))
				if err != nil {
					t.Error(err)
					return
				}
				r, err := gzip.NewReader(bytes.NewReader(out))
				if err != nil {
					t.Error(err)
					return
				}
				if back, err := io.ReadAll(r); err != nil || string(back) != in {
					t.Errorf("%q came back as %q, %v", in, back, err)
				}
			}
		})
	}
	wg.Wait()
	// With the race detector a pool drops one of four at random.
	if n := made.Load(); n > goroutines*each/2 {
		t.Errorf("%d writers for %d playlists", n, goroutines*each)
	}
}
