// Package httpgzip compresses HTTP responses whose bodies are in memory.
package httpgzip

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// Accepted reports whether a request accepts gzip by its Accept-Encoding (RFC
// 9110 section 12.5.3): gzip or * is in the list, and its weight is not 0.
func Accepted(r *http.Request) bool {
	for item := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		coding, params, _ := strings.Cut(strings.TrimSpace(item), ";")
		if coding = strings.ToLower(strings.TrimSpace(coding)); coding != "gzip" && coding != "*" {
			continue
		}
		weight, ok := strings.CutPrefix(strings.ReplaceAll(params, " ", ""), "q=")
		if !ok {
			return true
		}
		q, err := strconv.ParseFloat(weight, 64)
		return err == nil && q > 0
	}
	return false
}

// writers are gzip writers for reuse. A writer has tables of about a megabyte,
// and a camera that somebody watches has five new playlists a second: without
// reuse, writers would be most of what egress allocates.
var writers = sync.Pool{New: func() any {
	w, err := gzip.NewWriterLevel(nil, gzip.BestSpeed)
	if err != nil {
		panic(err) // the level is a constant
	}
	return w
}}

// Compress returns b compressed.
func Compress(b []byte) ([]byte, error) {
	var out bytes.Buffer
	w := writers.Get().(*gzip.Writer)
	defer writers.Put(w)
	w.Reset(&out)
	if _, err := w.Write(b); err != nil {
		return nil, fmt.Errorf("httpgzip: compress: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("httpgzip: compress: %w", err)
	}
	w.Reset(nil) // so that the pool does not hold out in memory
	return out.Bytes(), nil
}
