package hls

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/framelog/framelog/internal/httpgzip"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
)

// past is what a topic has before the window of its live playlist, for playlists with ?dvr=….
// It does not change: a newer one takes its place.
type past struct {
	entries []schemas.Entry // dense, and right before the seq next if there are any
	next    uint64          // seqs below it are known
	from    int64           // media time: footage before it is not known
	long    time.Duration   // the longest that was asked for
	checked time.Time       // when the media of the first entry were there
}

// reaches reports whether p knows all from a media time to the seq before next.
func (p *past) reaches(from int64, next uint64) bool {
	return p != nil && p.from <= from && p.next >= next
}

// due reports whether it has to be asked again whether the first entry has media.
func (p *past) due() bool { return time.Since(p.checked) >= checkPast }

// between returns the entries from a media time to the seq before next. Those of the window
// follow them without a hole.
func (p *past) between(from int64, next uint64) []schemas.Entry {
	begin, end := 0, len(p.entries)
	for end > 0 && p.entries[end-1].Seq >= next {
		end--
	}
	for begin < end && p.entries[begin].MediaEnd() <= from {
		begin++
	}
	return p.entries[begin:end]
}

// checkPast is after how long it is asked again whether the first entry of a past has media.
const checkPast = 10 * time.Second

// dvr reads the parameter dvr of a request for a playlist: how much footage it lists. Without
// the parameter it is 0: as much as the window.
func (s *Server) dvr(q url.Values) (time.Duration, error) {
	if !q.Has("dvr") {
		return 0, nil
	}
	d, err := time.ParseDuration(q.Get("dvr"))
	switch {
	case err != nil || d <= 0 || d%time.Second != 0:
		return 0, fail(http.StatusBadRequest, "bad", `dvr: %q is no length of time in whole seconds; give one as "2h" or "30m"`, q.Get("dvr"))
	case d > s.cfg.MaxDVR:
		return 0, fail(http.StatusBadRequest, "bad", "dvr: %v is longer than %v; ask for less, or raise egress.max_dvr", d, s.cfg.MaxDVR)
	}
	return d, nil
}

// dvrQuery is the query of the playlists that a multivariant playlist with this one names.
func dvrQuery(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return "?dvr=" + d.String()
}

// wants returns what a playlist of d needs from before the window: the footage from a media
// time on, up to the fragment before first. ok is false if it needs nothing. st.mu is held.
func (st *stream) wants(d time.Duration) (from int64, first schemas.Entry, ok bool) {
	if d == 0 || len(st.model.entries) == 0 {
		return 0, first, false
	}
	first = st.model.entries[0]
	from = st.model.edge() - schemas.Ticks(d)
	return from, first, from < first.Media
}

// errMoved: the window has moved on since the footage before it was read.
var errMoved = errors.New("the window has moved on")

// loadPast reads what a playlist of d needs from before the window, if it is not known.
func (s *Server) loadPast(ctx context.Context, st *stream, d time.Duration) error {
	for {
		st.mu.Lock()
		from, first, ok := st.wants(d)
		have := st.past
		if ok {
			st.longer = time.Now()
		}
		st.mu.Unlock()
		reaches := have.reaches(from, first.Seq)
		if !ok || reaches && !have.due() {
			return nil
		}
		// Another request may read for a shorter time.
		_, _, err := share(ctx, s.loader, &s.loader.pasts, cacheKey{topic: st.topic}, func(ctx context.Context) (struct{}, error) {
			// Only the newest past is appended to: each entry of its array is written once.
			st.mu.Lock()
			have := st.past
			st.mu.Unlock()
			read, err := with(ctx, s.loader.lookups, func() (*past, error) {
				s.metrics.lookups.Inc()
				return s.readPast(ctx, st.topic, have, first, from+schemas.Ticks(d), d)
			})
			if err != nil {
				return struct{}{}, away(err)
			}
			st.mu.Lock()
			st.past = read
			st.mu.Unlock()
			return struct{}{}, nil
		})
		if err != nil && reaches {
			return nil // what is known is better than nothing while the log is away
		}
		if err != nil {
			return err
		}
	}
}

// readPast reads the entries of the last d before edge, a media time, up to the one before first.
// It takes from have, which may be nil, what is there.
func (s *Server) readPast(ctx context.Context, t schemas.Topic, have *past, first schemas.Entry, edge int64, d time.Duration) (*past, error) {
	p := &past{next: first.Seq, long: d}
	if have != nil {
		p.long = max(d, have.long) // requests for less must not make it forget
	}
	p.from = edge - schemas.Ticks(p.long)
	// Media time is never behind public time.
	r := medialog.Range{From: first.Start.Add(-schemas.FromTicks(first.Media-p.from) - medialog.MaxStepBack), ToSeq: first.Seq - 1}
	if have != nil && have.from <= p.from && have.next <= first.Seq {
		p.entries, p.checked = have.between(p.from, have.next), have.checked
		r = medialog.Range{FromSeq: have.next, ToSeq: first.Seq - 1}
	}
	for e, err := range s.log.Entries(ctx, t, r) {
		if err != nil {
			return nil, err
		}
		if n := len(p.entries); n > 0 && p.entries[n-1].Seq+1 != e.Seq {
			p.entries = nil // a live playlist begins behind its newest hole
		}
		p.entries = append(p.entries, e)
	}
	if n := len(p.entries); n > 0 && p.entries[n-1].Seq+1 != first.Seq {
		p.entries = nil
	}
	if p.due() {
		var err error
		if p.entries, err = s.held(ctx, t, p.entries); err != nil {
			return nil, err
		}
		p.checked = time.Now()
	}
	return p, nil
}

// listed returns the complete fragments of a playlist of d. Errors: errMoved.
func (st *stream) listed(d time.Duration) ([]schemas.Entry, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	from, first, ok := st.wants(d)
	switch {
	case !ok:
		return slices.Clone(st.model.entries), nil
	case !st.past.reaches(from, first.Seq):
		return nil, errMoved
	}
	return slices.Concat(st.past.between(from, first.Seq), st.model.entries), nil
}

// maxRendered is the most playlists of different lengths that are kept of a stream.
const maxRendered = 16

// renderPast is render for a playlist of d. It makes the playlist outside of the lock, since it
// is long. Errors: errMoved.
func (s *Server) renderPast(ctx context.Context, st *stream, d directives, dvr time.Duration, gzip bool, reports []Report) ([]byte, error) {
	st.mu.Lock()
	from, first, ok := st.wants(dvr)
	if !ok {
		dvr = 0
	}
	if ok && !st.past.reaches(from, first.Seq) {
		st.mu.Unlock()
		return nil, errMoved
	}
	k := st.renderKey(d, gzip, reports)
	k.dvr = dvr
	b, done := st.rendered[k]
	reports = slices.Clone(reports)
	for i := range reports {
		reports[i].URI += dvrQuery(dvr)
	}
	window, o := st.model.listing(st.topic.Name(), k.skip, reports)
	window, changes := slices.Clone(window), st.changes
	var before []schemas.Entry
	if ok {
		before = st.past.between(from, first.Seq)
	}
	st.mu.Unlock()
	if done {
		return b, nil
	}
	b, err := with(ctx, s.loader.rebuilds, func() ([]byte, error) {
		b := Playlist(slices.Concat(before, window), o)
		if b == nil || !gzip {
			return b, nil
		}
		return httpgzip.Compress(b)
	})
	if err != nil || b == nil {
		return nil, cmp.Or(err, errTimeout)
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.changes == changes && len(st.rendered) < maxRendered {
		st.rendered[k] = b
	}
	return b, nil
}
