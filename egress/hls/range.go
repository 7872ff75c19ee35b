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
	return s.sendRange(w, r, res.topic, in)
}

const (
	// rangeSettles is how long after its end a range gets no more footage. Public time may step
	// back by medialog.MaxStepBack, and entries may wait while the brokers are away.
	rangeSettles = 3 * time.Hour
	// keepRange is how long a playlist is kept. What the archive has deleted meanwhile is told
	// that much later: the answer to such a segment is 410.
	keepRange = 10 * time.Minute
)

// ranged is the playlist of a range that is kept. If the range may get more footage, it is made
// longer then: what was in the log stays as it was.
type ranged struct {
	body []byte // as it is sent; nil: the range may get more footage
	vod  *vod   // nil if body is not
	// from and to are the first and the last entry that can be played.
	from, to schemas.Entry
	made     time.Time
}

// kept returns the playlist that is kept under a key, nil if there is none or its footage is not there
// any more.
func (s *Server) kept(ctx context.Context, t schemas.Topic, k cacheKey) *ranged {
	p := s.ranges.get(k)
	if p == nil || time.Since(p.made) >= keepRange || s.log.Available(ctx, t, p.from) != nil || s.log.Available(ctx, t, p.to) != nil {
		return nil
	}
	return p
}

// sendRange answers with the media playlist of a range.
func (s *Server) sendRange(w http.ResponseWriter, r *http.Request, t schemas.Topic, in span) error {
	zipped := httpgzip.Accepted(r)
	begun := cacheKey{topic: t, config: r.URL.Path + in.query()}
	settled := begun
	settled.config += fmt.Sprint(zipped)
	if p := s.kept(r.Context(), t, settled); p != nil {
		writePlaylist(w, r, p.body, zipped)
		return nil
	}
	p := &ranged{made: time.Now()}
	complete := time.Since(in.to) >= rangeSettles
	if have := s.kept(r.Context(), t, begun); have != nil {
		p.vod, p.made = have.vod, have.made
	}
	v, err := s.readVOD(r.Context(), t, in, p.vod)
	if err != nil {
		return err
	}
	body := v.playlist(in.from)
	if zipped {
		if body, err = httpgzip.Compress(body); err != nil {
			return err
		}
	}
	p.vod, p.from, p.to = v, v.played, v.newest
	if complete {
		p.vod, p.body = nil, body
		s.ranges.put(settled, p, int64(len(body)))
	} else {
		s.ranges.put(begun, p, int64(cap(v.lines)))
	}
	writePlaylist(w, r, body, zipped)
	return nil
}

// readVOD reads the entries of a range behind those of have, which may be nil. Errors: as
// rangeEntries.
func (s *Server) readVOD(ctx context.Context, t schemas.Topic, in span, have *vod) (*vod, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.LoadTimeout)
	defer cancel()
	v, err := with(ctx, s.loader.lookups, func() (*vod, error) {
		s.metrics.lookups.Inc()
		r, v := medialog.Range{From: in.from, To: in.to}, &vod{base: t.Name() + "/"}
		if have != nil {
			*v = *have
			v.lines = slices.Clip(v.lines) // other requests use them
			r.FromSeq = v.seq + 1
		}
		for e, err := range s.log.Entries(ctx, t, r) {
			if err == nil && !v.played.Playable() && e.Playable() {
				err = s.log.Available(ctx, t, e)
				if errors.Is(err, medialog.ErrExpired) {
					return s.heldVOD(ctx, t, in)
				}
				if errors.Is(err, medialog.ErrBeyond) {
					err = nil
				}
			}
			if err != nil {
				return nil, err
			}
			v.add(&e)
		}
		return v, nil
	})
	if err := s.rangeError(t, in, v != nil && v.played.Playable(), v != nil && v.carried, err); err != nil {
		return nil, err
	}
	return v, nil
}

// heldVOD is the playlist of a range whose first footage has expired.
func (s *Server) heldVOD(ctx context.Context, t schemas.Topic, in span) (*vod, error) {
	all, err := s.heldEntries(ctx, t, in)
	v := &vod{base: t.Name() + "/"}
	for i := range all {
		v.add(&all[i])
	}
	return v, err
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
	var whole *extent // of the first one
	for _, t := range topics {
		v, x, err := s.rangeVariant(r.Context(), t, in)
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		switch {
		case whole == nil:
			whole = &x
		case !x.reaches(whole, time.Now()):
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

// extent is the first and the last entry of a range that HLS carries.
type extent struct{ first, last *schemas.Entry }

// variantLag is how far a variant may be behind its source where that is still recorded.
const variantLag = time.Minute

// reaches reports whether a variant has what its source has, but for a fragment at each end. A
// player that is given a shorter one would leave out the rest of the range, or end too early.
func (x *extent) reaches(source *extent, now time.Time) bool {
	missing := source.last.End().Sub(x.last.End())
	live := now.Sub(source.last.End()) < variantLag
	return x.first.Seq <= source.first.Seq+1 && (x.last.Seq+1 >= source.last.Seq || live && missing < variantLag)
}

// rangeVariant makes the line of a rendition in the multivariant playlist of a range. Of
// several configurations in the range it describes the last.
func (s *Server) rangeVariant(ctx context.Context, t schemas.Topic, in span) (v Variant, x extent, err error) {
	entries, err := s.rangeEntries(ctx, t, in)
	if err != nil {
		return v, x, err
	}
	first, last := 0, len(entries)-1
	for !carried(&entries[first]) {
		first++
	}
	for !carried(&entries[last]) {
		last--
	}
	x = extent{&entries[first], &entries[last]}
	init, err := s.loader.initOf(ctx, t, entries[last])
	if err != nil {
		return v, x, err
	}
	v = Variant{URI: t.Name() + ".m3u8" + in.query(), Keyframes: t.Name() + "/keyframes.m3u8" + in.query(), Tracks: init.tracks}
	v.Peak, v.Average = Bandwidth(entries)
	return v, x, nil
}

// rangeEntries returns the entries of a range that can be read now: at least one of them has
// footage that HLS carries. Errors: 404 and 406 if there is none; those of the log.
func (s *Server) rangeEntries(ctx context.Context, t schemas.Topic, in span) ([]schemas.Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.LoadTimeout)
	defer cancel()
	entries, err := with(ctx, s.loader.lookups, func() ([]schemas.Entry, error) {
		s.metrics.lookups.Inc()
		return s.heldEntries(ctx, t, in)
	})
	playable := slices.ContainsFunc(entries, func(e schemas.Entry) bool { return e.Playable() })
	carries := slices.ContainsFunc(entries, func(e schemas.Entry) bool { return carried(&e) })
	return entries, s.rangeError(t, in, playable, carries, err)
}

// rangeError is why there is no playlist of a range, nil if there is one.
func (s *Server) rangeError(t schemas.Topic, in span, playable, carries bool, err error) error {
	switch {
	case errors.Is(err, medialog.ErrNoTopic), err == nil && !playable:
		return fail(http.StatusNotFound, "not_found", "%s has no footage from %s to %s", noun(t), in.from.UTC().Format(time.RFC3339), in.to.UTC().Format(time.RFC3339))
	case err != nil:
		return away(err)
	case !carries:
		return fail(http.StatusNotAcceptable, "unplayable", "%s is MJPEG there, which players do not play in HLS", noun(t))
	}
	return nil
}

func (s *Server) heldEntries(ctx context.Context, t schemas.Topic, in span) ([]schemas.Entry, error) {
	all, err := collect(s.log.Entries(ctx, t, medialog.Range{From: in.from, To: in.to}))
	if err != nil {
		return nil, err
	}
	return s.held(ctx, t, all)
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
