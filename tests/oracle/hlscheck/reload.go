package hlscheck

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// ask is one request for a media playlist.
type ask struct {
	blocking bool
	msn      uint64
	part     int
	skip     bool
}

func (a ask) query() string {
	var q []string
	if a.blocking {
		q = append(q, fmt.Sprintf("_HLS_msn=%d", a.msn))
		if a.part >= 0 {
			q = append(q, fmt.Sprintf("_HLS_part=%d", a.part))
		}
	}
	if a.skip {
		q = append(q, "_HLS_skip=YES")
	}
	return strings.Join(q, "&")
}

// next returns what to ask for after m. With low latency that is the next part, now
// and then a delta update or the whole playlist. Sometimes next fetches the hinted
// part itself before it is there.
func (w *Watcher) next(ctx context.Context, u string, m *Media, n int) ask {
	if !w.cfg.LowLatency || m.Control == nil || !m.Control.BlockReload {
		if w.cfg.LowLatency {
			w.bad(Blocking, "no CAN-BLOCK-RELOAD")
			w.pause(ctx, m.Target/2)
		}
		return ask{}
	}
	switch {
	case n == 3:
		w.probe(ctx, u, m)
	case n%7 == 0 && m.Hint() != "" && !w.cfg.NoMedia:
		w.fetchHint(ctx, u, m.Hint())
	case n%16 == 0:
		return ask{}
	}
	a := ask{blocking: true, msn: m.Open.Seq, part: len(m.Open.Parts)}
	if m.PartTarget == 0 {
		a.part = -1
	}
	a.skip = n%4 == 0 && m.Control.SkipUntil > 0
	return a
}

// reload asks once. delta reports that the answer was a delta update, which reload
// has applied. ok is false if there was no playlist.
func (w *Watcher) reload(ctx context.Context, u string, a ask) (m *Media, delta, ok bool) {
	full := u
	if q := a.query(); q != "" {
		sep := "?"
		if strings.Contains(u, "?") {
			sep = "&"
		}
		full += sep + q
	}
	began := time.Now()
	text, err := w.text(ctx, full, func(err error) bool { return a.blocking && w.late(err, began) })
	if err != nil {
		return nil, false, false
	}
	m, err = ParseMedia(text)
	if err != nil {
		w.bad(Syntax, "%v", err)
		return nil, false, false
	}
	w.count(func(s *Stats) {
		s.Reloads++
		if a.blocking {
			s.Blocking++
		}
		if m.Skipped >= 0 {
			s.Deltas++
		}
	})
	if a.blocking && !m.Has(a.msn, a.part) {
		w.bad(Blocking, "asked for %d.%d, the answer after %v ends at %d.%d", a.msn, a.part, time.Since(began), m.Open.Seq, len(m.Open.Parts))
	}
	if m.Skipped < 0 {
		return m, false, true
	}
	if !a.skip || w.hist.last == nil {
		w.bad(Delta, "a delta update that was not asked for")
		return nil, false, false
	}
	applied, err := m.Apply(w.hist.last)
	if err != nil {
		w.bad(Delta, "%v", err)
		return nil, false, false
	}
	if m.Control == nil || m.Control.SkipUntil == 0 {
		w.bad(Delta, "a delta update without CAN-SKIP-UNTIL")
		return applied, true, true
	}
	if m.Skipped > 0 {
		// From the start of the last skipped segment to the end of the playlist.
		left := sum(applied.Open.Parts) + applied.Segments[m.Skipped-1].Duration
		for _, s := range applied.Segments[m.Skipped:] {
			left += s.Duration
		}
		if left < m.Control.SkipUntil {
			w.bad(Delta, "segment %d is skipped, %v from the end; CAN-SKIP-UNTIL is %v", m.Sequence+uint64(m.Skipped)-1, left, m.Control.SkipUntil)
		}
	}
	return applied, true, true
}

// late reports whether err is the 503 that answers a request, made at began, for
// something that does not come within three target durations (RFC 8216bis 6.2.5.2).
// MaxStall decides whether that is a fault.
func (w *Watcher) late(err error, began time.Time) bool {
	var s statusError
	return w.cfg.MaxStall != 0 && w.hist.last != nil && errors.As(err, &s) &&
		s == http.StatusServiceUnavailable && time.Since(began) >= 3*w.hist.last.Target
}

// probe asks for what must be refused, and for what is there already.
func (w *Watcher) probe(ctx context.Context, u string, m *Media) {
	sep := "?"
	if strings.Contains(u, "?") {
		sep = "&"
	}
	for _, p := range []struct {
		query, what string
		status      int
	}{
		{fmt.Sprintf("_HLS_msn=%d", m.Open.Seq+20), "a segment far ahead", http.StatusBadRequest},
		{"_HLS_part=0", "a part of no segment", http.StatusBadRequest},
		{fmt.Sprintf("_HLS_msn=%d&_HLS_part=0", m.Sequence), "a segment that is there", http.StatusOK},
	} {
		began := time.Now()
		_, _, err := w.get(ctx, u+sep+p.query)
		var s statusError
		got := http.StatusOK
		switch {
		case ctx.Err() != nil:
			return
		case errors.As(err, &s):
			got = int(s)
		case err != nil:
			w.failed(ctx, u, err)
			return
		}
		if w.cfg.Interruptions && got >= 500 {
			return
		}
		// "At once" means sooner than after any wait, on a busy machine.
		if d := time.Since(began); got != p.status || d > max(5*m.Target, 10*time.Second) {
			w.bad(Blocking, "asked for %s: status %d after %v, want %d at once", p.what, got, d, p.status)
		}
	}
}
