package hls

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/internal/when"
	"github.com/framelog/framelog/schemas"
)

// span is a range of public time that a request asks for: [from, to).
type span struct{ from, to time.Time }

// hasSpan reports whether a request asks for a range.
func hasSpan(q url.Values) bool { return q.Has("start") || q.Has("end") }

// parseSpan reads the query of a range. Without an end the range ends now. Nothing is recorded
// in the future, so it never ends later.
func (s *Server) parseSpan(q url.Values, now time.Time) (r span, err error) {
	r.to = now
	for name, t := range map[string]*time.Time{"start": &r.from, "end": &r.to} {
		if name == "end" && !q.Has(name) {
			continue
		}
		var ok bool
		if *t, ok = when.Parse(q.Get(name), now); !ok {
			return r, fail(http.StatusBadRequest, "bad", "%s: %q is no time; give %s", name, q.Get(name), when.Forms)
		}
	}
	if r.to.After(now) {
		r.to = now
	}
	switch length := r.to.Sub(r.from); {
	case length <= 0:
		return r, fail(http.StatusBadRequest, "bad", "the range ends before it begins, or begins in the future")
	case length > s.cfg.MaxRange:
		return r, fail(http.StatusBadRequest, "bad", "the range is longer than %v; ask for a shorter one, or raise egress.max_range", s.cfg.MaxRange)
	}
	return r, nil
}

// query is the query of the playlists of a range. Its times are absolute, so all renditions
// and all reloads are about the same footage.
func (r span) query() string {
	return fmt.Sprintf("?start=%s&end=%s", r.from.UTC().Format(time.RFC3339Nano), r.to.UTC().Format(time.RFC3339Nano))
}

// serveRange answers with a playlist of a range. It never changes while the log holds the
// range.
func (s *Server) serveRange(w http.ResponseWriter, r *http.Request, res resource) error {
	in, err := s.parseSpan(r.URL.Query(), time.Now())
	if err != nil {
		return err
	}
	if res.kind == kindMultivariant {
		return s.serveRangeMultivariant(w, r, res, in)
	}
	entries, err := s.rangeEntries(r.Context(), res.topic, in)
	if err != nil {
		return err
	}
	b := Playlist(entries, PlaylistOptions{Base: res.topic.Name() + "/", Ended: true, Offset: max(0, in.from.Sub(entries[0].Start))})
	return sendPlaylist(w, r, b)
}

func (s *Server) serveRangeMultivariant(w http.ResponseWriter, r *http.Request, res resource, in span) error {
	topics, base := []schemas.Topic{res.topic}, ""
	if res.alone {
		base = "../"
	} else {
		topics = append(topics, s.variants(r, res.topic.Camera)...)
	}
	var all []Variant
	var failed error
	for _, t := range topics {
		v, err := s.rangeVariant(r.Context(), t, in)
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		v.URI = base + v.URI
		all = append(all, v)
	}
	if len(all) == 0 {
		return failed
	}
	return sendPlaylist(w, r, Multivariant(all))
}

// rangeVariant makes the line of a rendition in the multivariant playlist of a range. Of
// several configurations in the range it describes the last.
func (s *Server) rangeVariant(ctx context.Context, t schemas.Topic, in span) (v Variant, err error) {
	entries, err := s.rangeEntries(ctx, t, in)
	if err != nil {
		return v, err
	}
	last := len(entries) - 1
	for !carried(&entries[last]) {
		last--
	}
	init, err := s.loader.initOf(ctx, t, entries[last])
	if err != nil {
		return v, err
	}
	v = Variant{URI: t.Name() + ".m3u8" + in.query(), Tracks: init.tracks}
	v.Peak, v.Average = Bandwidth(entries)
	return v, nil
}

// rangeEntries returns the entries of a range that can be read now: at least one of them has
// footage that HLS carries. Errors: 404 and 406 if there is none; those of the log.
func (s *Server) rangeEntries(ctx context.Context, t schemas.Topic, in span) ([]schemas.Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.LoadTimeout)
	defer cancel()
	entries, err := with(ctx, s.loader.lookups, func() ([]schemas.Entry, error) {
		s.metrics.lookups.Inc()
		var all []schemas.Entry
		for e, err := range s.log.Entries(ctx, t, medialog.Range{From: in.from, To: in.to}) {
			if err != nil {
				return nil, err
			}
			all = append(all, e)
		}
		return s.held(ctx, t, all)
	})
	switch {
	case errors.Is(err, medialog.ErrNoTopic), err == nil && !slices.ContainsFunc(entries, func(e schemas.Entry) bool { return e.Playable() }):
		return nil, fail(http.StatusNotFound, "not_found", "%s has no footage from %s to %s", noun(t), in.from.UTC().Format(time.RFC3339), in.to.UTC().Format(time.RFC3339))
	case err != nil:
		return nil, away(err)
	case !slices.ContainsFunc(entries, func(e schemas.Entry) bool { return carried(&e) }):
		return nil, fail(http.StatusNotAcceptable, "unplayable", "%s is MJPEG there, which players do not play in HLS", noun(t))
	}
	return entries, nil
}

// held leaves out the first entries, whose media have expired. Partitions do not expire
// together, so a later fragment may have expired too: the answer to its segment is 410.
func (s *Server) held(ctx context.Context, t schemas.Topic, entries []schemas.Entry) ([]schemas.Entry, error) {
	from, to := 0, len(entries)
	for from < to {
		middle := (from + to) / 2
		err := error(nil)
		if e := entries[middle]; e.Playable() {
			err = s.log.Available(ctx, t, e)
		}
		switch {
		case errors.Is(err, medialog.ErrExpired):
			from = middle + 1
		case err == nil || errors.Is(err, medialog.ErrBeyond):
			to = middle
		default:
			return nil, err
		}
	}
	return entries[from:], nil
}
