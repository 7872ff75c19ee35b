package hls

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/framelog/framelog/internal/httpgzip"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/internal/when"
	"github.com/framelog/framelog/schemas"
)

// span is a range of public time that a request asks for: [from, to).
type span struct{ from, to time.Time }

// parseSpan reads the query of a range; ok is false if there is none.
func (s *Server) parseSpan(q url.Values, now time.Time) (r span, ok bool, err error) {
	if !q.Has("start") && !q.Has("end") {
		return r, false, nil
	}
	if r.from, r.to, err = when.Range(q, now, s.cfg.MaxRange); err != nil {
		return r, true, fail(http.StatusBadRequest, "bad", "%s", err)
	}
	return r, true, nil
}

// query is the query of the playlists of a range. Its times are absolute, so all renditions
// and all reloads are about the same footage.
func (r span) query() string {
	return fmt.Sprintf("?start=%s&end=%s", r.from.UTC().Format(time.RFC3339Nano), r.to.UTC().Format(time.RFC3339Nano))
}

// serveRangeMultivariant answers with the multivariant playlist of a range.
func (s *Server) serveRangeMultivariant(w http.ResponseWriter, r *http.Request, res resource, in span) error {
	topics := []schemas.Topic{res.topic}
	base := "../"
	if !res.alone {
		base = ""
		for _, t := range s.renditions.variants(r.Context(), res.topic.Camera) {
			if s.cfg.MayWatch == nil || s.cfg.MayWatch(r, res.topic.Camera, t.Name()) {
				topics = append(topics, t)
			}
		}
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
	return s.sendPlaylist(w, r, Multivariant(all))
}

// rangeVariant makes the line of a rendition in the multivariant playlist of a range. Of
// several configurations in the range it describes the last.
func (s *Server) rangeVariant(ctx context.Context, t schemas.Topic, in span) (v Variant, err error) {
	entries, err := s.rangeEntries(ctx, t, in)
	if err != nil {
		return v, err
	}
	i := lastFunc(entries, func(e schemas.Entry) bool { return carried(&e) })
	init, err := s.loader.initOf(ctx, t, entries[i])
	if err != nil {
		return v, err
	}
	v = Variant{URI: t.Name() + ".m3u8" + in.query(), Tracks: init.tracks}
	v.Peak, v.Average = Bandwidth(entries)
	return v, nil
}

// serveRange answers with the media playlist of a range. It has an end, and never changes
// while the log holds the range.
func (s *Server) serveRange(w http.ResponseWriter, r *http.Request, res resource, in span) error {
	entries, err := s.rangeEntries(r.Context(), res.topic, in)
	if err != nil {
		return err
	}
	b := Playlist(entries, PlaylistOptions{Base: res.topic.Name() + "/", Ended: true, Offset: max(0, in.from.Sub(entries[0].Start))})
	return s.sendPlaylist(w, r, b)
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
		return nil, err
	case !slices.ContainsFunc(entries, func(e schemas.Entry) bool { return carried(&e) }):
		return nil, fail(http.StatusNotAcceptable, "unplayable", "%s is MJPEG there, which players do not play in HLS", noun(t))
	}
	return entries, nil
}

// held leaves out the first entries, whose media have expired. The media expire in the order
// of seq, but for the partitions, which do not expire together: a fragment in the middle may be
// gone, and then its segment is.
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

func (s *Server) sendPlaylist(w http.ResponseWriter, r *http.Request, b []byte) (err error) {
	zipped := httpgzip.Accepted(r)
	if zipped {
		if b, err = httpgzip.Compress(b); err != nil {
			return err
		}
	}
	writePlaylist(w, r, b, zipped)
	return nil
}

// lastFunc returns the last index at which f is true, -1 if there is none.
func lastFunc[T any](all []T, f func(T) bool) int {
	for i := len(all) - 1; i >= 0; i-- {
		if f(all[i]) {
			return i
		}
	}
	return -1
}
