package hls

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	answers "github.com/framelog/framelog/egress/answer"
	"github.com/framelog/framelog/internal/cmaf"
	"github.com/framelog/framelog/internal/httpgzip"
	"github.com/framelog/framelog/internal/medialog"
)

// Content types (RFC 8216bis section 10).
const (
	typePlaylist = "application/vnd.apple.mpegurl"
	typeMedia    = "video/mp4"
)

// failure is a response without media: a status, a word for the metric, and a
// line for people.
type failure struct {
	code   int
	result string
	text   string
	retry  bool // Retry-After: 1
	logged bool // the log of the server tells the error
}

func (f *failure) Error() string { return f.text }

func fail(code int, result, format string, a ...any) *failure {
	return &failure{code: code, result: result, text: fmt.Sprintf(format, a...), retry: code == http.StatusServiceUnavailable}
}

// explain turns an error into a response.
func explain(err error) *failure {
	var f *failure
	switch {
	case errors.As(err, &f):
		return f
	case errors.Is(err, errLost):
		return fail(http.StatusGone, "gone", "the log has lost this footage")
	case errors.Is(err, medialog.ErrExpired):
		return fail(http.StatusGone, "gone", "this footage has expired")
	case errors.Is(err, medialog.ErrDamaged) && !errors.Is(err, errAway):
		return fail(http.StatusGone, "gone", "this footage is damaged in the log, and no archive has it")
	case errors.Is(err, medialog.ErrNotFound), errors.Is(err, medialog.ErrNoTopic):
		return fail(http.StatusNotFound, "not_found", "there is no such footage")
	case errors.Is(err, cmaf.ErrNoGap):
		return fail(http.StatusNotFound, "gap", "there is no footage here: it is a gap")
	case errors.Is(err, errBusy):
		return fail(http.StatusServiceUnavailable, "busy", "too many requests at a time; try again")
	case errors.Is(err, errMoved):
		return fail(http.StatusServiceUnavailable, "busy", "the footage before the window could not be read in time; try again")
	case errors.Is(err, errTimeout):
		return fail(http.StatusServiceUnavailable, "timeout", "nothing new came in time")
	case errors.Is(err, errClosed), errors.Is(err, context.Canceled):
		return fail(http.StatusServiceUnavailable, "closed", "closing")
	case answers.OfArchive(err): // it may be an errAway too
		what, remedy := answers.Why(err)
		f = fail(http.StatusServiceUnavailable, "away", "%s; %s", what, remedy)
		f.logged = true
		return f
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, errAway):
		return fail(http.StatusServiceUnavailable, "timeout", "the log did not answer in time")
	default:
		f = fail(http.StatusInternalServerError, "error", "this cannot be served; the server's log says why")
		f.logged = true
		return f
	}
}

func writePlaylist(w http.ResponseWriter, r *http.Request, b []byte, zipped bool) {
	h := w.Header()
	h.Set("Content-Type", typePlaylist)
	h.Set("Cache-Control", "no-store")
	h.Add("Vary", "Accept-Encoding") // the handler in front of this one adds Origin
	if zipped {
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("Content-Length", strconv.Itoa(len(b)))
	if r.Method != http.MethodHead {
		_, _ = w.Write(b) // it fails when the client has gone
	}
}

// sendPlaylist answers with a playlist that is made for this request alone.
func sendPlaylist(w http.ResponseWriter, r *http.Request, b []byte) (err error) {
	zipped := httpgzip.Accepted(r)
	if zipped {
		if b, err = httpgzip.Compress(b); err != nil {
			return err
		}
	}
	writePlaylist(w, r, b, zipped)
	return nil
}

// writeMedia answers with bytes that never change under their URL, ranges
// included. There is no ETag and no date: no cache ever needs to ask again.
func (c *common) writeMedia(w http.ResponseWriter, r *http.Request, b cmaf.Blocks) {
	c.mediaHeaders(w.Header())
	if r.Method != http.MethodGet || r.Header.Get("Range") != "" {
		http.ServeContent(w, r, "", time.Time{}, io.NewSectionReader(b, 0, b.Size()))
		return
	}
	// Nearly every request is for the whole resource: then the bytes are not
	// copied.
	w.Header().Set("Accept-Ranges", "bytes")
	w.Header().Set("Content-Length", strconv.FormatInt(b.Size(), 10))
	_, _ = b.WriteTo(w) // it fails when the client has gone
}

// writeFile answers as writeMedia does, with a part of a file.
func (c *common) writeFile(w http.ResponseWriter, r *http.Request, b *io.SectionReader) {
	c.mediaHeaders(w.Header())
	http.ServeContent(w, r, "", time.Time{}, b)
}

func (c *common) mediaHeaders(h http.Header) {
	h.Set("Content-Type", typeMedia)
	age := strconv.Itoa(int(c.cfg.MaxAge / time.Second))
	h.Set("Cache-Control", "public, immutable, max-age="+age)
	h.Set("X-Accel-Expires", age) // for Nginx, which asks about each request: see deploy/nginx
}

// patience is the number of bytes for which a client has one write timeout.
const patience = 1 << 20

// patient cuts a client off that takes longer than timeout for each MiB of a
// response, so that it does not keep a segment in memory for ever. The HTTP server
// takes the deadline off the connection when the response has ended.
type patient struct {
	http.ResponseWriter
	timeout time.Duration
	slow    prometheus.Counter
	left    int // bytes until the next deadline
}

// wait begins the next deadline when it is time.
func (p *patient) wait() {
	if p.left == 0 {
		// A ResponseWriter without deadlines works too.
		_ = http.NewResponseController(p.ResponseWriter).SetWriteDeadline(time.Now().Add(p.timeout))
		p.left = patience
	}
}

// ReadFrom implements io.ReaderFrom, so that the system can copy files.
func (p *patient) ReadFrom(from io.Reader) (n int64, err error) {
	for {
		p.wait()
		m, end, err := answers.CopyPiece(p.ResponseWriter, from, int64(p.left))
		n, p.left = n+m, p.left-int(m)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			p.slow.Inc()
		}
		if end || err != nil {
			return n, err
		}
	}
}

func (p *patient) Write(b []byte) (n int, err error) {
	for {
		p.wait()
		m, err := p.ResponseWriter.Write(b[:min(len(b), p.left)])
		n, p.left, b = n+m, p.left-m, b[m:]
		if errors.Is(err, os.ErrDeadlineExceeded) {
			p.slow.Inc()
		}
		if err != nil || len(b) == 0 {
			return n, err
		}
	}
}
