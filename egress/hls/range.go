package hls

import (
	"context"
	"errors"
	"fmt"
	"iter"
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

// hasSpan reports whether a request asks for a range.
func hasSpan(q url.Values) bool { return q.Has("start") || q.Has("end") }

// parseSpan reads the query of a range.
func (s *Server) parseSpan(q url.Values, now time.Time) (r span, err error) {
	if r.from, r.to, err = when.Range(q, now, s.cfg.MaxRange); err != nil {
		return r, fail(http.StatusBadRequest, "bad", "%v", err)
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
	return s.sendRange(w, r, res.topic, in, func(entries []schemas.Entry) []byte {
		return Playlist(entries, PlaylistOptions{Base: res.topic.Name() + "/", Ended: true, Offset: max(0, in.from.Sub(entries[0].Start))})
	})
}

const (
	// rangeSettles is how long after its end a range gets no more footage. Public time may step
	// back by medialog.MaxStepBack, and entries may wait while the brokers are away.
	rangeSettles = 3 * time.Hour
	// keepRange is how long a playlist is kept. What the archive has deleted meanwhile is told
	// that much later: the answer to such a segment is 410.
	keepRange = 10 * time.Minute
)

// ranged is a playlist of a range that gets no more footage, as it is sent.
type ranged struct {
	body  []byte
	first schemas.Entry // that can be played
	made  time.Time
}

// sendRange answers with the playlist that render makes of the entries of a range. It keeps it if it
// stays the same.
func (s *Server) sendRange(w http.ResponseWriter, r *http.Request, t schemas.Topic, in span, render func([]schemas.Entry) []byte) (err error) {
	zipped := httpgzip.Accepted(r)
	k := cacheKey{topic: t, config: fmt.Sprint(r.URL.Path, in.query(), zipped)}
	p := s.ranges.get(k)
	if p == nil || time.Since(p.made) >= keepRange || s.log.Available(r.Context(), t, p.first) != nil {
		entries, err := s.rangeEntries(r.Context(), t, in)
		if err != nil {
			return err
		}
		p = &ranged{body: render(entries), made: time.Now()}
		if zipped {
			if p.body, err = httpgzip.Compress(p.body); err != nil {
				return err
			}
		}
		if i := slices.IndexFunc(entries, func(e schemas.Entry) bool { return e.Playable() }); i >= 0 && time.Since(in.to) >= rangeSettles {
			p.first = entries[i]
			s.ranges.put(k, p, int64(len(p.body)))
		}
	}
	writePlaylist(w, r, p.body, zipped)
	return nil
}

func (s *Server) serveRangeMultivariant(w http.ResponseWriter, r *http.Request, res resource, in span) error {
	topics, base := []schemas.Topic{res.topic}, ""
	if res.alone {
		base = "../"
	} else {
		topics = append(topics, s.variants(r, res.topic.Camera, true)...)
	}
	var all []Variant
	var failed error
	for _, t := range topics {
		v, err := s.rangeVariant(r.Context(), t, in)
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		v.URI, v.Keyframes = base+v.URI, base+v.Keyframes
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
	v = Variant{URI: t.Name() + ".m3u8" + in.query(), Keyframes: t.Name() + "/keyframes.m3u8" + in.query(), Tracks: init.tracks}
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
		all, err := collect(s.log.Entries(ctx, t, medialog.Range{From: in.from, To: in.to}))
		if err != nil {
			return nil, err
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

// collect returns all entries. There may be many, each of 0.5 KB, so they are copied once only.
func collect(entries iter.Seq2[schemas.Entry, error]) ([]schemas.Entry, error) {
	const size = 1024
	var full [][]schemas.Entry
	var block []schemas.Entry
	for e, err := range entries {
		if err != nil {
			return nil, err
		}
		if len(block) == size {
			full, block = append(full, block), make([]schemas.Entry, 0, size)
		}
		block = append(block, e)
	}
	if full == nil {
		return block, nil
	}
	return slices.Concat(append(full, block)...), nil
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
