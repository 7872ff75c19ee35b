package hls

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"sync"
)

// maxIdleGzips is how many gzip writers are kept for the next playlists: as
// many as are likely to be compressed at the same time.
const maxIdleGzips = 4

// gzipper compresses playlists. A writer has tables of about a megabyte, and a
// watched camera has five new playlists a second: writers are used again, since
// making them would be most of what egress allocates.
type gzipper struct {
	mu   sync.Mutex
	idle []*gzip.Writer // at most maxIdleGzips
}

func (z *gzipper) compress(b []byte) ([]byte, error) {
	var out bytes.Buffer
	w := z.take()
	if w == nil {
		var err error
		if w, err = gzip.NewWriterLevel(nil, gzip.BestSpeed); err != nil {
			return nil, fmt.Errorf("hls: compress playlist: %w", err)
		}
	}
	defer z.give(w)
	w.Reset(&out)
	if _, err := w.Write(b); err != nil {
		return nil, fmt.Errorf("hls: compress playlist: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("hls: compress playlist: %w", err)
	}
	return out.Bytes(), nil
}

func (z *gzipper) take() *gzip.Writer {
	z.mu.Lock()
	defer z.mu.Unlock()
	n := len(z.idle)
	if n == 0 {
		return nil
	}
	w := z.idle[n-1]
	z.idle = z.idle[:n-1]
	return w
}

func (z *gzipper) give(w *gzip.Writer) {
	w.Reset(nil) // the playlist that it wrote is to be collected
	z.mu.Lock()
	defer z.mu.Unlock()
	if len(z.idle) < maxIdleGzips {
		z.idle = append(z.idle, w)
	}
}
