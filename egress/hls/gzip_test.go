package hls

import (
	"bytes"
	"compress/gzip"
	"io"
	"strings"
	"sync"
	"testing"
)

// What is compressed with a writer that was used before is what a new one
// makes, whoever else compresses meanwhile; and it takes no new one.
func TestGzipper(t *testing.T) {
	var z gzipper
	lists := []string{"", "a", strings.Repeat("#EXTINF:2.000000,\nm1/1700000000.m4s\n", 100)}
	var wg sync.WaitGroup
	for range 3 * maxIdleGzips {
		wg.Go(func() {
			for i := range 20 {
				in := lists[i%len(lists)]
				out, err := z.compress([]byte(in))
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
	if n := len(z.idle); n == 0 || n > maxIdleGzips {
		t.Errorf("%d writers are kept", n)
	}
	before := z.idle[len(z.idle)-1]
	if _, err := z.compress([]byte("b")); err != nil {
		t.Fatal(err)
	}
	if z.idle[len(z.idle)-1] != before {
		t.Error("a writer was made though one was there")
	}
}
