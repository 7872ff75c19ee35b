package hls

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/framelog/framelog/internal/cmaf"
	"github.com/framelog/framelog/internal/httpgzip"
	"github.com/framelog/framelog/schemas"
)

// ServeHTTP answers
//
//	/hls/<camera>/index.m3u8                                multivariant playlist of raw and its variants
//	/hls/<camera>/<rendition>/index.m3u8                    multivariant playlist of this rendition alone
//	/hls/<camera>/<rendition>.m3u8                          media playlist
//	/hls/<camera>/<rendition>/keyframes.m3u8                playlist of keyframes, of a range of time or with dvr
//	/hls/<camera>/<rendition>/m1/<seq>.m4s                  segment
//	/hls/<camera>/<rendition>/m1/<seq>.<epoch>.<part>.m4s   part
//	/hls/<camera>/<rendition>/m1/<seq>.key.m4s              keyframe of a segment
//	/hls/<camera>/<rendition>/m1/init-<hash>.mp4            init segment
//
// With ?start=…&end=… a playlist is of that range of time alone, and has an end. With ?dvr=2h a
// live playlist lists the last two hours.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w = &patient{ResponseWriter: w, timeout: s.cfg.WriteTimeout, slow: s.metrics.slow}
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
	default:
		if err = s.exists(r.Context(), res.topic, res.past(r)); err == nil {
			err = s.serve(w, r, res)
		}
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
		if f.logged {
			s.slog.Error("request failed", "path", r.URL.Path, "error", err)
		}
	}
	s.metrics.requests.WithLabelValues(string(k), result).Inc()
}

// past reports whether a request can be about footage of the past.
func (r resource) past(of *http.Request) bool {
	return r.kind != kindPlaylist && r.kind != kindMultivariant || hasSpan(of.URL.Query())
}

// exists returns an error if a rendition has no topic, unless a request is about the past and the
// archive has it. It makes no tail. A camera may be about to begin, so raw need not have a topic.
func (s *Server) exists(ctx context.Context, t schemas.Topic, past bool) error {
	if t.IsRaw() || s.lookup(t) != nil {
		return nil
	}
	all, err := s.renditions.of(ctx, t.Camera)
	if err != nil || slices.Contains(all, t) {
		return err
	}
	if past && s.loader.archive != nil {
		kept, err := s.loader.archive.Kept(ctx, t)
		switch {
		case err != nil:
			return away(err)
		case kept:
			return nil
		}
	}
	return fail(http.StatusNotFound, "not_found", "camera %q has no rendition %q", t.Camera, t.Rendition)
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
	case kindKeyframe:
		return s.serveKeyframe(w, r, res)
	case kindKeyframes:
		return s.serveKeyframes(w, r, res)
	case kindInit:
		return s.serveInit(w, r, res)
	case kindOther:
	}
	return fail(http.StatusNotFound, "not_found", "no such path")
}

// ready waits for a topic's first footage, and then until more returns true, if
// more is not nil.
func (s *Server) ready(ctx context.Context, st *stream, more func() bool) error {
	err := st.await(ctx, s.cfg.FirstWait, func() (bool, error) {
		if !st.live {
			return false, nil
		}
		if st.model.video() == schemas.MJPEG {
			return false, fail(http.StatusNotAcceptable, "unplayable",
				"%s is MJPEG, which players do not play in HLS; the processor transcode makes a rendition of it that they play", noun(st.topic))
		}
		return st.model.playable() && (more == nil || more()), nil
	})
	if errors.Is(err, errTimeout) {
		return fail(http.StatusServiceUnavailable, "timeout", "%s has no footage to play yet, or the log does not answer", noun(st.topic))
	}
	return err
}

func (s *Server) servePlaylist(w http.ResponseWriter, r *http.Request, res resource) error {
	q := r.URL.Query()
	if hasSpan(q) {
		return s.serveRange(w, r, res)
	}
	d, err := parseDirectives(q)
	if err != nil {
		return err
	}
	dvr, err := s.dvr(q)
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
	zipped := httpgzip.Accepted(r)
	b, err := s.render(r.Context(), st, d, dvr, zipped)
	if err != nil {
		return err
	}
	writePlaylist(w, r, b, zipped)
	return nil
}

// render makes the playlist of a stream; with dvr it lists so much footage.
func (s *Server) render(ctx context.Context, st *stream, d directives, dvr time.Duration, zipped bool) ([]byte, error) {
	reports := s.reports(st)
	if dvr == 0 {
		return st.render(d, zipped, reports)
	}
	for range 3 {
		if err := s.loadPast(ctx, st, dvr); err != nil {
			return nil, err
		}
		if b, err := s.renderPast(ctx, st, d, dvr, zipped, reports); !errors.Is(err, errMoved) {
			return b, err
		}
	}
	return nil, errMoved
}

// reload waits until the playlist holds the segment or part that a client asks for
// (RFC 8216bis section 6.2.5.2), for three target durations at most.
func (s *Server) reload(ctx context.Context, st *stream, d directives) error {
	st.mu.Lock()
	limit := 3 * st.model.target()
	// The check is before the wait: a request that may wait goes on waiting, also
	// if a new writer makes parts void meanwhile.
	refused := st.model.tooFarAhead(d.msn, d.part)
	next, _ := st.model.next()
	st.mu.Unlock()
	if refused {
		return fail(http.StatusBadRequest, "bad", "_HLS_msn and _HLS_part are too far beyond the last segment, %d", next-1)
	}
	return st.await(ctx, limit, func() (bool, error) {
		return st.model.reached(d.msn, d.part), nil
	})
}

// quiet delays the answer to a reload while the source sends nothing, for three
// target durations at most. In this state hls.js does not request the next part,
// but polls once a second. With the delay it learns at once that a camera is back,
// and goes on with its first part.
func (s *Server) quiet(ctx context.Context, st *stream) {
	st.mu.Lock()
	target, changes, since := st.model.target(), st.changes, time.Since(st.latest)
	st.mu.Unlock()
	if since < target {
		return
	}
	// When the time is over, the present playlist is the right answer.
	_ = st.await(ctx, min(3*target, longestQuiet), func() (bool, error) {
		return st.changes != changes && !st.model.endsInGap(), nil
	})
}

// longestQuiet is less than the time that hls.js waits for a playlist (10 s by
// default).
const longestQuiet = 8 * time.Second

// servePart serves a part. It waits for the part that comes next. A part that
// can never come gets 404 at once.
func (s *Server) servePart(w http.ResponseWriter, r *http.Request, res resource) error {
	// The first request after the start of a server may be for a part.
	st, err := s.stream(res.topic)
	if err != nil {
		return s.serveOldPart(w, r, res)
	}
	defer st.leave()
	if err := s.ready(r.Context(), st, nil); err != nil {
		return err
	}
	st.mu.Lock()
	limit := 3 * st.model.target()
	st.mu.Unlock()
	var data []byte
	err = st.await(r.Context(), limit, func() (bool, error) {
		var coming bool
		data, coming = st.model.part(res.seq, res.epoch, res.part)
		return !coming, nil
	})
	if err != nil {
		return err
	}
	if data == nil {
		return s.serveOldPart(w, r, res)
	}
	s.writeMedia(w, r, cmaf.Blocks{data})
	return nil
}

// serveOldPart serves a part of a complete segment.
func (s *Server) serveOldPart(w http.ResponseWriter, r *http.Request, res resource) error {
	tail := s.known(res)
	e := tail.entry
	if e == nil {
		found, err := s.loader.find(r.Context(), res.topic, res.seq, tail)
		if err != nil {
			return err
		}
		e = &found
	}
	if !e.Playable() || e.Epoch != res.epoch || res.part >= e.Chunks {
		return fail(http.StatusNotFound, "not_found", "there is no such part")
	}
	return s.serveSegment(w, r, res, int(res.part))
}

// known returns what a camera's tail knows about a segment.
func (s *Server) known(res resource) known {
	if st := s.lookup(res.topic); st != nil {
		return st.known(res.seq)
	}
	return known{}
}

// serveSegment serves a complete segment, or one part of it if part is not
// below 0: from memory, from its file, or from the log.
func (s *Server) serveSegment(w http.ResponseWriter, r *http.Request, res resource, part int) error {
	seg := s.cache.get(cacheKey{topic: res.topic, seq: res.seq})
	if seg == nil {
		if s.serveFile(w, r, resource{kind: kindSegment, topic: res.topic, seq: res.seq}, part) {
			return nil
		}
		if part < 0 {
			if done, err := s.serveArchived(w, r, res); done || err != nil {
				return err
			}
		}
		var err error
		if seg, err = s.loader.segment(r.Context(), res.topic, res.seq, s.known(res)); err != nil {
			return err
		}
	}
	parts := seg.parts
	if part >= 0 {
		parts = parts[part : part+1]
	}
	s.writeMedia(w, r, parts)
	return nil
}

// serveArchived answers from the file of the archive in which a segment stands. It reports whether
// there is one.
func (s *Server) serveArchived(w http.ResponseWriter, r *http.Request, res resource) (bool, error) {
	if s.loader.archive == nil {
		return false, nil
	}
	e, err := s.loader.find(r.Context(), res.topic, res.seq, s.known(res))
	if err != nil {
		return false, err
	}
	b, err := s.loader.archive.Segment(r.Context(), res.topic, e)
	if err != nil || b == nil {
		return false, err
	}
	defer b.Close()
	s.writeFile(w, r, io.NewSectionReader(b.File, b.At, b.Size))
	return true, nil
}

// serveFile answers from the file of a segment. It reports whether there is one.
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
	s.writeFile(w, r, b)
	return true
}

// serveInit serves an init segment.
func (s *Server) serveInit(w http.ResponseWriter, r *http.Request, res resource) error {
	var tracks []schemas.Track
	if st := s.lookup(res.topic); st != nil {
		tracks = st.tracks(res.config)
	}
	init, err := s.loader.init(r.Context(), res.topic, res.config, tracks)
	if err != nil {
		return err
	}
	s.writeMedia(w, r, init.parts)
	return nil
}
