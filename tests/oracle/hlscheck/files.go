package hlscheck

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"net/http"
	"time"
)

// files fetches, in order, what m lists and was not fetched yet.
func (w *Watcher) files(ctx context.Context, u string, m *Media) {
	if w.cfg.NoMedia {
		return
	}
	fresh := false
	for i := range m.Segments {
		s := &m.Segments[i]
		w.fetchParts(ctx, u, s)
		fresh = w.fetchSegment(ctx, u, s) || fresh
	}
	w.fetchParts(ctx, u, &m.Open)
	if fresh && len(m.Segments) > 1 {
		// Fetch an old file again: the same URL must have the same bytes.
		s := &m.Segments[int(m.Open.Seq)%(len(m.Segments)-1)]
		if at := resolve(u, s.URI); !s.Gap {
			if _, ok := w.hashes[at]; ok {
				w.file(ctx, at)
				w.count(func(s *Stats) { s.Refetched++ })
			}
		}
	}
}

// file fetches a file and compares it with what it was at the last fetch.
func (w *Watcher) file(ctx context.Context, u string) ([]byte, bool) {
	b, _, err := w.get(ctx, u)
	if err != nil {
		w.failed(ctx, u, err)
		return nil, false
	}
	sum := sha256.Sum256(b)
	if was, ok := w.hashes[u]; ok && was != sum {
		w.bad(Bytes, "%s has other bytes than before", u)
	}
	w.hashes[u] = sum
	return b, true
}

func (w *Watcher) init(ctx context.Context, u, uri string) *initFile {
	at := resolve(u, uri)
	if f, ok := w.inits[at]; ok {
		return f
	}
	b, ok := w.file(ctx, at)
	if !ok {
		return nil
	}
	f, err := parseInit(b)
	if err != nil {
		w.bad(Container, "%s: %v", at, err)
	}
	w.inits[at] = f
	return f
}

func (w *Watcher) fetchParts(ctx context.Context, u string, s *Segment) {
	if !w.cfg.LowLatency || s.Gap || ctx.Err() != nil {
		return
	}
	if _, ok := w.hashes[resolve(u, s.URI)]; ok && s.URI != "" {
		return // the segment is complete: its parts have been checked
	}
	for _, p := range s.Parts {
		at := resolve(u, p.URI)
		if _, ok := w.parts[at]; ok || p.Gap {
			continue
		}
		if w.refused[at] {
			delete(w.refused, at)
			w.failed(ctx, at, errors.New("it was refused when it was hinted at, and came after all"))
		}
		b, ok := w.file(ctx, at)
		if !ok {
			continue
		}
		w.count(func(s *Stats) { s.PartsFetched++ })
		w.parts[at] = b
		f := w.init(ctx, u, s.Map)
		if f == nil {
			continue
		}
		spans, err := f.parseFragments(b)
		if err != nil {
			w.bad(Container, "part %s: %v", p.URI, err)
			continue
		}
		for id, x := range spans {
			if f.tracks[id].kind != "vide" {
				continue
			}
			if p.Independent && !x.sync {
				w.bad(Container, "part %s is INDEPENDENT and does not begin with a sync sample", p.URI)
			}
			if d := x.duration() - p.Duration; d.Abs() > lengthTolerance/2 {
				w.bad(MediaLength, "part %s: DURATION %v, its video is %v long", p.URI, p.Duration, x.duration())
			}
		}
	}
}

// fetchSegment fetches a segment that was not fetched yet. It reports whether it
// did.
func (w *Watcher) fetchSegment(ctx context.Context, u string, s *Segment) bool {
	at := resolve(u, s.URI)
	if _, ok := w.hashes[at]; ok || s.Gap || ctx.Err() != nil {
		return false
	}
	b, ok := w.file(ctx, at)
	if !ok {
		return false
	}
	w.count(func(s *Stats) { s.SegmentsFetched++ })
	if f := w.init(ctx, u, s.Map); f != nil {
		w.clock.segment(s, f, b, w.cfg.Strict, w.bad)
	}
	if w.cfg.Strict && w.cfg.LowLatency && len(s.Parts) > 0 {
		var joined []byte
		all := true
		for _, p := range s.Parts {
			x, ok := w.parts[resolve(u, p.URI)]
			all = all && ok
			joined = append(joined, x...)
		}
		if all && !bytes.Equal(joined, b) {
			w.bad(PartBytes, "segment %d has %d bytes, its parts %d, or others", s.Seq, len(b), len(joined))
		}
	}
	for _, p := range s.Parts {
		delete(w.parts, resolve(u, p.URI))
	}
	return true
}

// fetchHint asks for a part before it is there. The server answers when it is
// there, or says that it never will be. It may say so at once, because the fragment
// may have ended since the playlist was made. The next playlists show whether that
// was right.
func (w *Watcher) fetchHint(ctx context.Context, u, uri string) {
	at := resolve(u, uri)
	if _, ok := w.hashes[at]; ok {
		return
	}
	began := time.Now()
	b, _, err := w.get(ctx, at)
	var status statusError
	switch {
	case err == nil:
		w.count(func(s *Stats) { s.HintsFetched++ })
		w.hashes[at] = sha256.Sum256(b)
	case errors.As(err, &status) && status == http.StatusNotFound:
		w.refused[at] = true
	case w.late(err, began):
		w.count(func(s *Stats) { s.Interruptions++ })
	default:
		w.failed(ctx, at, err)
	}
}
