package hlscheck

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Config tells what a Watcher watches, and how strictly.
type Config struct {
	// URL of the multivariant playlist.
	URL string
	// Client fetches. Default: a new one.
	Client *http.Client
	// LowLatency: blocking reloads, delta updates, parts and hints. Else the
	// playlist is polled as RFC 6.3.4 says, and parts are not fetched.
	LowLatency bool
	// Strict checks what Framelog promises beyond the RFC: segments are the same
	// bytes as their parts, media time never goes back, every segment's first part
	// is independent and no shorter than others.
	Strict bool
	// Interruptions: requests that fail are counted and tried again; without
	// it they are violations. For tests that kill servers.
	Interruptions bool
	// MaxStall is how long a live playlist may stand still. 0: 1.5 target
	// durations and a poll's time (RFC 6.2.2). Negative: for ever.
	MaxStall time.Duration
	// NoMedia: fetch playlists alone.
	NoMedia bool
}

// Stats is what a Watcher has seen. A test that wants no violations must check
// these too: a watcher that sees nothing finds nothing.
type Stats struct {
	Playlists, Reloads, Blocking, Deltas int
	Segments, Gaps, Discontinuities      int // listed
	SegmentsFetched, Refetched           int
	Parts, PartsFetched                  int
	Hints, HintsTrue, HintsFetched       int
	Interruptions                        int
	// Latency of each new end of the playlist: now minus its date.
	Latency []time.Duration
	// First and Last is the sequence numbers of the segments seen.
	First, Last uint64
}

// Watcher is a strict client.
type Watcher struct {
	cfg Config

	mu         sync.Mutex
	violations []Violation
	stats      Stats

	// of Run's goroutine
	where  string
	hist   *history
	inits  map[string]*initFile
	hashes map[string][sha256.Size]byte // of every file fetched, by URL
	parts  map[string][]byte            // bytes of parts whose segment is not there yet
	// refused has the hinted parts that the server said would never come, by URL.
	refused map[string]bool
	clock   mediaClock
}

// maxViolations bounds the list: a broken server breaks a rule at every reload.
const maxViolations = 200

// New makes a Watcher.
func New(cfg Config) *Watcher {
	if cfg.Client == nil {
		cfg.Client = &http.Client{Transport: &http.Transport{}}
	}
	return &Watcher{
		cfg: cfg, inits: map[string]*initFile{}, hashes: map[string][sha256.Size]byte{}, parts: map[string][]byte{},
		refused: map[string]bool{},
	}
}

// Violations returns what was found so far.
func (w *Watcher) Violations() []Violation {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]Violation(nil), w.violations...)
}

// Stats returns what was seen so far.
func (w *Watcher) Stats() Stats {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.stats
	s.Latency = append([]time.Duration(nil), s.Latency...)
	return s
}

func (w *Watcher) bad(r Rule, format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	v := Violation{r, w.where, fmt.Sprintf(format, args...), time.Now()}
	for i := range w.violations {
		if o := &w.violations[i]; o.Rule == v.Rule && o.Where == v.Where && o.Detail == v.Detail {
			return // each reload finds it again
		}
	}
	if len(w.violations) < maxViolations {
		w.violations = append(w.violations, v)
	}
}

func (w *Watcher) count(fn func(*Stats)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	fn(&w.stats)
}

// Run watches until ctx ends or the stream does. It returns an error only if there
// was nothing to watch at all.
func (w *Watcher) Run(ctx context.Context) error {
	done := ""
	for ctx.Err() == nil {
		u, err := w.variant(ctx)
		if err != nil {
			if ctx.Err() != nil || !w.pause(ctx, 500*time.Millisecond) {
				break
			}
			if w.Stats().Playlists == 0 && !w.cfg.Interruptions {
				return err
			}
			continue
		}
		if u == done {
			return nil // it ended, and nothing took its place
		}
		w.playlist(ctx, u)
		done = u
	}
	if w.Stats().Playlists == 0 {
		return errors.New("hlscheck: no playlist was read")
	}
	return nil
}

// variant fetches the multivariant playlist and returns the URL of the first
// variant.
func (w *Watcher) variant(ctx context.Context) (string, error) {
	w.where = w.cfg.URL
	body, err := w.text(ctx, w.cfg.URL, nil)
	if err != nil {
		return "", err
	}
	m, err := ParseMultivariant(body)
	if err != nil {
		w.bad(Syntax, "%v", err)
		return "", err
	}
	for _, v := range m.Variants {
		if v.Bandwidth == 0 || v.Codecs == "" {
			w.bad(Multi, "variant %s: BANDWIDTH %d, CODECS %q", v.URI, v.Bandwidth, v.Codecs)
		}
	}
	return resolve(w.cfg.URL, m.Variants[0].URI), nil
}

func resolve(base, ref string) string {
	b, err1 := url.Parse(base)
	r, err2 := url.Parse(ref)
	if err1 != nil || err2 != nil {
		return ref
	}
	return b.ResolveReference(r).String()
}

// statusError is an answer other than 200.
type statusError int

func (e statusError) Error() string { return fmt.Sprintf("status %d", int(e)) }

func (w *Watcher) get(ctx context.Context, u string) ([]byte, http.Header, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		return nil, nil, err
	}
	resp, err := w.cfg.Client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = statusError(resp.StatusCode)
	}
	return b, resp.Header, err
}

// failed counts or reports a request that failed, unless the watch is over.
func (w *Watcher) failed(ctx context.Context, u string, err error) {
	switch {
	case ctx.Err() != nil:
	case w.cfg.Interruptions:
		w.count(func(s *Stats) { s.Interruptions++ })
	default:
		w.bad(Fetch, "%s: %v", u, err)
	}
}

// text fetches a playlist. An error for which excused is true is no violation.
func (w *Watcher) text(ctx context.Context, u string, excused func(error) bool) (string, error) {
	b, header, err := w.get(ctx, u)
	if err != nil {
		if excused != nil && excused(err) {
			w.count(func(s *Stats) { s.Interruptions++ })
		} else {
			w.failed(ctx, u, err)
		}
		return "", err
	}
	kind, _, _ := strings.Cut(header.Get("Content-Type"), ";")
	if k := strings.ToLower(kind); k != "application/vnd.apple.mpegurl" && k != "audio/mpegurl" {
		w.bad(Type, "Content-Type %q", kind)
	}
	return string(b), nil
}

func (w *Watcher) pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// playlist follows one media playlist to its end.
func (w *Watcher) playlist(ctx context.Context, u string) {
	w.where = u
	w.hist = newHistory(w.cfg.Strict)
	w.count(func(s *Stats) { s.Playlists++ })
	var a ask
	moved := time.Now() // when the playlist last went on
	for n := 1; ctx.Err() == nil; n++ {
		m, delta, ok := w.reload(ctx, u, a)
		if ctx.Err() != nil {
			return
		}
		last := w.hist.last
		if !ok {
			a = ask{} // what was known may be wrong: ask for the whole playlist
			if !w.pause(ctx, 250*time.Millisecond) {
				return
			}
			w.stalled(moved, last)
			continue
		}
		changed := last == nil || m.Open.Seq != last.Open.Seq || len(m.Open.Parts) != len(last.Open.Parts) || m.EndList != last.EndList
		w.hist.take(m, delta, w.bad)
		w.tally(last, m)
		if changed {
			moved = time.Now()
		} else {
			w.stalled(moved, m)
		}
		w.files(ctx, u, m)
		if m.EndList {
			return
		}
		a = w.next(ctx, u, m, n)
		var d time.Duration
		switch {
		case w.cfg.LowLatency && changed: // the next request waits
		case w.cfg.LowLatency:
			d = 50 * time.Millisecond // a broken server must not be asked without end
		case changed:
			d = m.Target
		default:
			d = m.Target / 2
		}
		if !w.pause(ctx, d) {
			return
		}
	}
}

// stalled checks that a playlist does not stand still for too long.
func (w *Watcher) stalled(moved time.Time, m *Media) {
	if m == nil || w.cfg.MaxStall < 0 {
		return
	}
	limit := w.cfg.MaxStall
	if limit == 0 {
		limit = m.Target*3/2 + m.Target
	}
	if d := time.Since(moved); d > limit {
		w.bad(Stalled, "nothing new for %v", d)
	}
}

func (w *Watcher) tally(last, m *Media) {
	w.count(func(s *Stats) {
		s.Hints, s.HintsTrue = s.Hints+w.hist.hints, s.HintsTrue+w.hist.hintsTrue
		w.hist.hints, w.hist.hintsTrue = 0, 0
		from := m.Sequence
		if last != nil {
			from = max(from, last.Open.Seq)
		}
		for i := range m.Segments {
			x := &m.Segments[i]
			if x.Seq < from {
				continue
			}
			if s.First == 0 || x.Seq < s.First {
				s.First = x.Seq
			}
			if x.Seq <= s.Last && s.Segments > 0 {
				continue // from the playlist before this one
			}
			s.Last = x.Seq
			s.Segments++
			if x.Gap {
				s.Gaps++
			}
			if x.Discontinuity {
				s.Discontinuities++
			}
			s.Parts += len(x.Parts)
		}
		if end := m.End(); last != nil && !end.IsZero() && end.After(last.End()) && len(s.Latency) < 1<<16 {
			s.Latency = append(s.Latency, time.Since(end))
		}
	})
}

// End returns the date of the playlist's end, zero if it has none.
func (m *Media) End() time.Time {
	if !m.Open.PDT.IsZero() {
		return m.Open.PDT.Add(sum(m.Open.Parts))
	}
	for i := len(m.Segments) - 1; i >= 0; i-- {
		if s := m.Segments[i]; !s.PDT.IsZero() {
			end := s.PDT
			for _, s := range m.Segments[i:] {
				end = end.Add(s.Duration)
			}
			return end.Add(sum(m.Open.Parts))
		}
	}
	return time.Time{}
}
