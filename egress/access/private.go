package access

import (
	"io"
	"net/http"
	"strings"
)

// private is an answer to somebody who has signed in. A cache that serves others must not
// keep it, so "public" in Cache-Control becomes "private" (RFC 9111 section 5.2.2.7). Nginx
// with our configuration keeps it all the same: it asks about each request.
type private struct {
	http.ResponseWriter
	wrote bool
}

func (p *private) WriteHeader(code int) {
	p.begin(code)
	p.ResponseWriter.WriteHeader(code)
}

func (p *private) Write(b []byte) (int, error) {
	p.begin(http.StatusOK)
	return p.ResponseWriter.Write(b)
}

// ReadFrom implements io.ReaderFrom, so that the system can copy files.
func (p *private) ReadFrom(from io.Reader) (int64, error) {
	p.begin(http.StatusOK)
	return io.Copy(p.ResponseWriter, from)
}

// FlushError is for http.ResponseController.
func (p *private) FlushError() error {
	p.begin(http.StatusOK)
	return http.NewResponseController(p.ResponseWriter).Flush()
}

func (p *private) begin(code int) {
	if p.wrote || code < 200 {
		return
	}
	p.wrote = true
	h := p.Header()
	if control := h.Get("Cache-Control"); strings.Contains(control, "public") {
		h.Set("Cache-Control", strings.ReplaceAll(control, "public", "private"))
	}
}

// Unwrap is for http.ResponseController.
func (p *private) Unwrap() http.ResponseWriter { return p.ResponseWriter }
