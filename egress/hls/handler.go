package hls

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/framelog/framelog/internal/cmaf"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
)

// Content types (RFC 8216bis section 10).
const (
	typePlaylist = "application/vnd.apple.mpegurl"
	typeMedia    = "video/mp4"
)

// failure is an answer that is no media: a status, a word for the metric, and
// a line for people.
type failure struct {
	code   int
	result string
	text   string
	retry  bool // Retry-After: 1
}

func (f *failure) Error() string { return f.text }

func fail(code int, result, format string, a ...any) *failure {
	return &failure{code: code, result: result, text: fmt.Sprintf(format, a...), retry: code == http.StatusServiceUnavailable}
}

// ServeHTTP answers
//
//	/hls/<camera>/index.m3u8                                multivariant playlist
//	/hls/<camera>/<rendition>.m3u8                          media playlist
//	/hls/<camera>/<rendition>/m1/<seq>.m4s                  segment
//	/hls/<camera>/<rendition>/m1/<seq>.<epoch>.<part>.m4s   part
//	/hls/<camera>/<rendition>/m1/init-<hash>.mp4            init segment
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	res, ok := parsePath(r.URL.Path)
	k := res.kind
	var err error
	switch {
	case !ok:
		k = kindOther
		err = fail(http.StatusNotFound, "not_found", "no such path")
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		h.Set("Allow", "GET, HEAD")
		err = fail(http.StatusMethodNotAllowed, "bad", "method %s is not allowed", r.Method)
	case s.cfg.Known != nil && !s.cfg.Known(res.topic.Camera):
		err = fail(http.StatusNotFound, "not_found", "%s", noCamera(res.topic.Camera))
	case !res.topic.IsRaw():
		err = fail(http.StatusNotFound, "not_found", "camera %q has no rendition %q", res.topic.Camera, res.topic.Rendition)
	default:
		err = s.serve(w, r, res)
	}
	result := "ok"
	if err != nil {
		f := explain(err)
		result = f.result
		h.Set("Cache-Control", "no-store")
		if f.retry {
			h.Set("Retry-After", "1")
		}
		http.Error(w, f.text, f.code)
		if f.code == http.StatusInternalServerError {
			s.slog.Error("request failed", "path", r.URL.Path, "error", err)
		}
	}
	s.metrics.requests.WithLabelValues(string(k), result).Inc()
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request, res resource) error {
	switch res.kind {
	case kindMultivariant:
		return s.serveMultivariant(w, r, res)
	case kindPlaylist:
		return s.servePlaylist(w, r, res)
	case kindPart:
		return s.servePart(w, r, res)
	case kindSegment:
		if st := s.lookup(res.topic); st != nil {
			st.wanted(res.seq)
		}
		return s.serveSegment(w, r, res, -1)
	case kindInit:
		seg, err := s.init(r.Context(), res.topic, res.config)
		if err != nil {
			return err
		}
		s.media(w, r, seg.parts)
		return nil
	case kindOther:
	}
	return fail(http.StatusNotFound, "not_found", "no such path")
}

// explain turns an error into an answer.
func explain(err error) *failure {
	var f *failure
	switch {
	case errors.As(err, &f):
		return f
	case errors.Is(err, medialog.ErrExpired):
		return fail(http.StatusGone, "gone", "this footage has expired")
	case errors.Is(err, medialog.ErrNotFound), errors.Is(err, medialog.ErrNoTopic):
		return fail(http.StatusNotFound, "not_found", "there is no such footage")
	case errors.Is(err, cmaf.ErrNoGap):
		return fail(http.StatusNotFound, "gap", "there is no footage here: it is a gap")
	case errors.Is(err, errBusy):
		return fail(http.StatusServiceUnavailable, "busy", "too many requests at a time; try again")
	case errors.Is(err, errTimeout):
		return fail(http.StatusServiceUnavailable, "timeout", "nothing new came in time")
	case errors.Is(err, errClosed), errors.Is(err, context.Canceled):
		return fail(http.StatusServiceUnavailable, "closed", "closing")
	case errors.Is(err, context.DeadlineExceeded):
		return fail(http.StatusServiceUnavailable, "timeout", "the log did not answer in time")
	default:
		return fail(http.StatusInternalServerError, "error", "this cannot be served; the server's log says why")
	}
}

// ready waits for a topic's first footage, and for more to be so where more is
// not nil.
func (s *Server) ready(ctx context.Context, st *stream, more func() bool) error {
	err := st.await(ctx, s.cfg.FirstWait, func() (bool, error) {
		if !st.live {
			return false, nil
		}
		if st.model.video() == schemas.MJPEG {
			return false, fail(http.StatusNotFound, "unplayable", "camera %q sends MJPEG, which HLS cannot carry", st.topic.Camera)
		}
		return st.model.playable() && (more == nil || more()), nil
	})
	if errors.Is(err, errTimeout) {
		return fail(http.StatusServiceUnavailable, "timeout", "camera %q has no footage to play yet, or the log does not answer", st.topic.Camera)
	}
	return err
}

func (s *Server) serveMultivariant(w http.ResponseWriter, r *http.Request, res resource) error {
	if q := r.URL.Query(); q.Has("start") || q.Has("end") {
		return fail(http.StatusNotImplemented, "bad", "ranges of time (start, end) are not served yet")
	}
	st, err := s.stream(res.topic)
	if err != nil {
		return err
	}
	defer st.leave()
	var v Variant
	if err := s.ready(r.Context(), st, func() (ok bool) {
		v, ok = st.model.variant(st.topic.Name())
		return ok
	}); err != nil {
		return err
	}
	b := Multivariant([]Variant{v})
	z := acceptsGzip(r)
	if z {
		if b, err = s.gzip.compress(b); err != nil {
			return err
		}
	}
	text(w, r, b, z)
	return nil
}

func (s *Server) servePlaylist(w http.ResponseWriter, r *http.Request, res resource) error {
	d, err := parseDirectives(r.URL.Query())
	if err != nil {
		return err
	}
	st, err := s.stream(res.topic)
	if err != nil {
		return err
	}
	defer st.leave()
	if err := s.ready(r.Context(), st, nil); err != nil {
		return err
	}
	switch {
	case d.blocking:
		if err := s.reload(r.Context(), st, d); err != nil {
			return err
		}
	case d.skip:
		s.quiet(r.Context(), st)
	}
	gzip := acceptsGzip(r)
	b, err := st.render(d, gzip)
	if err != nil {
		return err
	}
	text(w, r, b, gzip)
	return nil
}

// reload blocks until the playlist holds what is asked for (RFC 8216bis
// section 6.2.5.2).
func (s *Server) reload(ctx context.Context, st *stream, d directives) error {
	st.mu.Lock()
	limit := 3 * st.model.target()
	// Only as it comes: what is worth waiting for stays so, also where parts
	// that were counted on are void meanwhile.
	premature := st.model.premature(d.msn, d.part)
	next, _ := st.model.next()
	st.mu.Unlock()
	if premature {
		return fail(http.StatusBadRequest, "bad", "_HLS_msn and _HLS_part are too far beyond the last segment, %d", next-1)
	}
	return st.await(ctx, limit, func() (bool, error) {
		return st.model.reached(d.msn, d.part), nil
	})
}

// quiet holds a reload while the source gives nothing, for at most three target
// durations. hls.js does not ask for what comes next then but polls once a
// second: with the answer held, it has a camera that is back at once, and plays
// on from its first part.
func (s *Server) quiet(ctx context.Context, st *stream) {
	st.mu.Lock()
	target, changes, since := st.model.target(), st.changes, time.Since(st.latest)
	st.mu.Unlock()
	if since < target {
		return
	}
	// The playlist is right as it is when the time is over.
	_ = st.await(ctx, min(3*target, longestQuiet), func() (bool, error) {
		return st.changes != changes && !st.model.endsInGap(), nil
	})
}

// longestQuiet is less than the time after which hls.js gives up a playlist
// (10 s by default).
const longestQuiet = 8 * time.Second

// servePart gives a part, and where it is the one that comes next, waits for
// it. A part that can never come is a 404 at once.
func (s *Server) servePart(w http.ResponseWriter, r *http.Request, res resource) error {
	// A server that was just started may be asked for a part first.
	st, err := s.stream(res.topic)
	if err != nil {
		return s.oldPart(w, r, res)
	}
	defer st.leave()
	if err := s.ready(r.Context(), st, nil); err != nil {
		return err
	}
	st.mu.Lock()
	limit := 3 * st.model.target()
	st.mu.Unlock()
	var data []byte
	var known *schemas.Entry
	err = st.await(r.Context(), limit, func() (bool, error) {
		var coming bool
		data, coming = st.model.part(res.seq, res.epoch, res.part)
		known = st.model.find(res.seq)
		return !coming, nil
	})
	if err != nil {
		return err
	}
	switch {
	case data != nil:
		s.media(w, r, cmaf.Blocks{data})
		return nil
	case known != nil:
		return s.partOf(w, r, res, *known)
	default:
		return s.oldPart(w, r, res)
	}
}

// oldPart gives a part of a segment that no tail knows.
func (s *Server) oldPart(w http.ResponseWriter, r *http.Request, res resource) error {
	e, err := s.log.Entry(r.Context(), res.topic, res.seq)
	if err != nil {
		return err
	}
	return s.partOf(w, r, res, e)
}

// partOf gives a part of a complete segment.
func (s *Server) partOf(w http.ResponseWriter, r *http.Request, res resource, e schemas.Entry) error {
	if !e.Playable() || e.Epoch != res.epoch || res.part >= e.Chunks {
		return fail(http.StatusNotFound, "not_found", "there is no such part")
	}
	return s.serveSegment(w, r, res, int(res.part))
}

// serveSegment gives a complete segment, or one part of it where part is not
// below 0: from memory, from its file, or from the log.
func (s *Server) serveSegment(w http.ResponseWriter, r *http.Request, res resource, part int) error {
	seg := s.cache.get(cacheKey{topic: res.topic, seq: res.seq})
	if seg == nil {
		if s.serveFile(w, r, resource{kind: kindSegment, topic: res.topic, seq: res.seq}, part) {
			return nil
		}
		var err error
		if seg, err = s.segment(r.Context(), res.topic, res.seq); err != nil {
			return err
		}
	}
	parts := seg.parts
	if part >= 0 {
		parts = parts[part : part+1]
	}
	s.media(w, r, parts)
	return nil
}

// serveFile answers from the file of a segment; false where there is none.
func (s *Server) serveFile(w http.ResponseWriter, r *http.Request, res resource, part int) bool {
	f := s.files.open(res)
	if f == nil {
		return false
	}
	defer f.Close()
	b := f.section(part)
	if b == nil {
		return false
	}
	s.mediaHeaders(w.Header())
	http.ServeContent(w, r, "", time.Time{}, b)
	return true
}

// directives are the delivery directives of a playlist's request (RFC 8216bis
// section 6.2.5).
type directives struct {
	blocking bool
	msn      uint64
	part     int // -1: none
	skip     bool
}

func parseDirectives(q url.Values) (directives, error) {
	d := directives{part: -1}
	if q.Has("_HLS_msn") {
		n, err := strconv.ParseUint(q.Get("_HLS_msn"), 10, 63)
		if err != nil {
			return d, fail(http.StatusBadRequest, "bad", "_HLS_msn is no number")
		}
		d.blocking, d.msn = true, n
	}
	if q.Has("_HLS_part") {
		n, err := strconv.ParseUint(q.Get("_HLS_part"), 10, 31)
		if err != nil || !d.blocking {
			return d, fail(http.StatusBadRequest, "bad", "_HLS_part is no number, or without _HLS_msn")
		}
		d.part = int(n)
	}
	switch q.Get("_HLS_skip") {
	case "":
	case "YES", "v2":
		d.skip = true
	default:
		return d, fail(http.StatusBadRequest, "bad", "_HLS_skip is neither YES nor v2")
	}
	return d, nil
}

func acceptsGzip(r *http.Request) bool {
	for v := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		name, q, _ := strings.Cut(strings.TrimSpace(v), ";")
		if name == "gzip" && strings.ReplaceAll(q, " ", "") != "q=0" {
			return true
		}
	}
	return false
}

func text(w http.ResponseWriter, r *http.Request, b []byte, zipped bool) {
	h := w.Header()
	h.Set("Content-Type", typePlaylist)
	h.Set("Cache-Control", "no-store")
	h.Add("Vary", "Accept-Encoding") // what stands before this handler adds Origin
	if zipped {
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("Content-Length", strconv.Itoa(len(b)))
	if r.Method != http.MethodHead {
		_, _ = w.Write(b) // the client is gone: nobody to tell
	}
}

// media serves bytes that never change under their URL, ranges included. There
// is no ETag and no date: nothing is ever to be asked again.
func (s *Server) media(w http.ResponseWriter, r *http.Request, b cmaf.Blocks) {
	s.mediaHeaders(w.Header())
	if r.Method != http.MethodGet || r.Header.Get("Range") != "" {
		http.ServeContent(w, r, "", time.Time{}, io.NewSectionReader(b, 0, b.Size()))
		return
	}
	// All of it, as nearly always: without copies on the way.
	w.Header().Set("Accept-Ranges", "bytes")
	w.Header().Set("Content-Length", strconv.FormatInt(b.Size(), 10))
	_, _ = b.WriteTo(w) // the client is gone: nobody to tell
}

func (s *Server) mediaHeaders(h http.Header) {
	h.Set("Content-Type", typeMedia)
	h.Set("Cache-Control", "public, immutable, max-age="+strconv.Itoa(int(s.cfg.MaxAge/time.Second)))
}
