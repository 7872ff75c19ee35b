package hls

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/sync/singleflight"

	"github.com/framelog/framelog/internal/clip"
	"github.com/framelog/framelog/internal/cmaf"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
)

// Times for which an answer of an index is kept.
const (
	keepFound  = 10 * time.Second       // an entry, or that its footage is gone
	keepMissed = 250 * time.Millisecond // "there is no such footage", and "not yet": it may come at any time
)

// errAway: the log did not answer, since its brokers are away.
var errAway = errors.New("hls: the log does not answer")

// away makes an error of a read of an index an errAway, unless a newer version has written what
// was read.
func away(err error) error {
	if errors.Is(err, schemas.ErrNewer) {
		return err
	}
	return fmt.Errorf("%w: %w", errAway, err)
}

// errLost: the footage lies beyond the end of its partition and did not come back
// in time.
var errLost = fmt.Errorf("hls: the log has lost this footage: %w", medialog.ErrExpired)

// loader makes segments and inits from the log for requests that find them
// neither in memory nor in a file. Requests for the same segment or init share
// one read of the log. The number of reads is bounded. Answers of an index are
// kept for a moment, also that it has no such footage.
type loader struct {
	*common
	calls    atomic.Int64        // reads that are under way or wait for a place
	lookups  *semaphore.Weighted // places for reads of an index
	rebuilds *semaphore.Weighted // places for reads of media

	found   singleflight.Group // of answers
	checked singleflight.Group // of answers about entries that a tail knows
	scanned singleflight.Group // of configs
	made    singleflight.Group // of segments and inits
	pasts   singleflight.Group // of what lies before windows
	archive archived           // nil: there is none
	answers *cache[answer]     // by topic and seq
	scans   *cache[*configs]   // by topic
}

// archived is a Log with an archive behind it.
type archived interface {
	clip.Files
	// Recent yields the entries of a range that the log itself has. An archive may have
	// millions.
	Recent(ctx context.Context, t schemas.Topic, r medialog.Range) iter.Seq2[schemas.Entry, error]
	// Kept reports whether footage of a topic is archived, also if the log does not have the topic
	// any more. Errors: the log is away; those of the archive.
	Kept(ctx context.Context, t schemas.Topic) (bool, error)
	// Variants returns the variants of a camera that are archived, by name, also those that have no
	// topic any more. Errors: as Kept.
	Variants(ctx context.Context, camera string) ([]schemas.Topic, error)
	// Init returns the init segment of a configuration of archived footage. Errors:
	// medialog.ErrNotFound.
	Init(ctx context.Context, t schemas.Topic, config string) ([]byte, error)
}

func newLoader(c *common) *loader {
	a, _ := c.log.(archived)
	return &loader{
		archive: a,
		common:  c, lookups: semaphore.NewWeighted(int64(c.cfg.MaxLookups)), rebuilds: semaphore.NewWeighted(int64(c.cfg.MaxRebuilds)),
		answers: newCache[answer](int64(c.cfg.MaxMisses), c.metrics.forgotten), scans: newCache[*configs](int64(c.cfg.MaxMisses), c.metrics.forgotten),
	}
}

// share runs f once for all concurrent callers with the key k, and returns its
// result to each. joined reports whether there were several callers: then f may
// have begun before this call. f goes on if the first caller's request has
// ended, since others may wait for it.
func share[T any](ctx context.Context, l *loader, g *singleflight.Group, k cacheKey, f func(ctx context.Context) (T, error)) (v T, joined bool, err error) {
	done := g.DoChan(k.String(), func() (any, error) {
		if err := l.tasks.begin(); err != nil {
			return nil, err
		}
		defer l.tasks.running.Done()
		defer l.calls.Add(-1)
		if l.calls.Add(1) > int64(l.cfg.MaxWaiters) {
			l.metrics.refused.WithLabelValues("rebuilds").Inc()
			return nil, errBusy
		}
		ctx, cancel := context.WithTimeout(l.tasks.ctx, l.cfg.LoadTimeout)
		defer cancel()
		return f(ctx)
	})
	select {
	case r := <-done:
		if r.Err != nil {
			return v, r.Shared, r.Err
		}
		return r.Val.(T), r.Shared, nil
	case <-ctx.Done():
		return v, false, ctx.Err()
	}
}

// with takes a place, runs f, and frees the place.
func with[T any](ctx context.Context, places *semaphore.Weighted, f func() (T, error)) (v T, err error) {
	if err := places.Acquire(ctx, 1); err != nil {
		return v, err
	}
	defer places.Release(1)
	return f()
}

// answer is the answer of an index about one seq.
type answer struct {
	entry  schemas.Entry
	err    error     // ErrExpired, ErrDamaged, ErrNotFound, ErrNoTopic, ErrBeyond or errAway; else nil
	until  time.Time // it is kept
	beyond time.Time // when the media were first found beyond the end of their partition; zero: never
}

// known is what a tail knows about a seq.
type known struct {
	entry *schemas.Entry // nil: it has none
	near  bool           // the entry may come at any moment
}

// segment returns the segment of a seq. It waits for media that may still come,
// but holds no place meanwhile.
func (l *loader) segment(ctx context.Context, t schemas.Topic, seq uint64, tail known) (*segment, error) {
	k := cacheKey{topic: t, seq: seq}
	if s := l.cache.get(k); s != nil {
		return s, nil
	}
	e, err := l.find(ctx, t, seq, tail)
	if err != nil {
		return nil, err
	}
	if !e.Playable() {
		b, err := cmaf.Gap(e)
		return &segment{parts: b}, err
	}
	s, _, err := share(ctx, l, &l.made, k, func(ctx context.Context) (*segment, error) {
		return with(ctx, l.rebuilds, func() (*segment, error) {
			if tail.entry != nil {
				l.metrics.liveMisses.Inc()
			}
			s, err := loadSegment(ctx, l.log, t, e)
			switch {
			case err == nil:
				l.cache.put(k, s, s.parts.Size())
				l.metrics.rebuilt.Inc()
			case errors.Is(err, medialog.ErrExpired), errors.Is(err, medialog.ErrDamaged):
				if errors.Is(err, medialog.ErrDamaged) {
					l.slog.Error("a fragment cannot be served", "topic", t.String(), "seq", seq, "error", err)
				}
				l.answers.put(k, answer{err: err, until: time.Now().Add(keepFound)}, 1)
			}
			return s, err
		})
	})
	return s, err
}

// find returns the entry of a seq as soon as its media can be read. It waits while
// the log does not answer, and while media may still come back. Errors: ErrNotFound;
// ErrNoTopic; ErrExpired if the log has removed or lost the footage; ErrDamaged; errBusy; ctx's.
func (l *loader) find(ctx context.Context, t schemas.Topic, seq uint64, tail known) (schemas.Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, l.cfg.LoadTimeout+time.Second) // missing media count as lost before it ends
	defer cancel()
	waits := false
	for {
		a, err := l.look(ctx, t, seq, tail)
		if err != nil {
			return a.entry, err
		}
		if !errors.Is(a.err, medialog.ErrBeyond) && !errors.Is(a.err, errAway) {
			return a.entry, a.err
		}
		if !waits {
			if err := l.wait(); err != nil {
				return a.entry, err
			}
			defer l.waited()
			waits = true
		}
		select {
		case <-ctx.Done():
			return a.entry, ctx.Err()
		case <-time.After(time.Until(a.until)):
		}
	}
}

// look asks the index about a seq. It returns an answer that is kept, unless
// the tail knows a newer one.
func (l *loader) look(ctx context.Context, t schemas.Topic, seq uint64, tail known) (answer, error) {
	k := cacheKey{topic: t, seq: seq}
	if a := l.answers.get(k); time.Now().Before(a.until) && (tail.entry == nil || !errors.Is(a.err, medialog.ErrNotFound)) {
		return a, nil
	}
	reads := &l.found
	if tail.entry != nil {
		reads = &l.checked
	}
	for again := tail.near; ; again = false {
		a, joined, err := share(ctx, l, reads, k, func(ctx context.Context) (answer, error) {
			return with(ctx, l.lookups, func() (answer, error) { return l.read(ctx, k, tail) })
		})
		// The index may have got the entry since that read began.
		if !again || !joined || !errors.Is(a.err, medialog.ErrNotFound) {
			return a, err
		}
	}
}

// read asks the log about a seq and keeps the answer.
func (l *loader) read(ctx context.Context, k cacheKey, tail known) (answer, error) {
	a := answer{beyond: l.answers.get(k).beyond}
	switch e := tail.entry; {
	case e == nil:
		l.metrics.lookups.Inc()
		a.entry, a.err = l.log.Entry(ctx, k.topic, k.seq)
	case e.Playable():
		a.entry, a.err = *e, l.log.Available(ctx, k.topic, *e)
	default:
		a.entry = *e
	}
	keep := keepFound
	switch {
	case errors.Is(a.err, medialog.ErrBeyond):
		if a.beyond.IsZero() {
			a.beyond = time.Now()
		}
		if keep = keepMissed; time.Since(a.beyond) >= l.cfg.LoadTimeout {
			a.err, keep = errLost, keepFound
		}
	case errors.Is(a.err, medialog.ErrNotFound), errors.Is(a.err, medialog.ErrNoTopic):
		if keep = keepMissed; tail.near {
			keep = 0 // another server may be ahead of this one's tail
		}
	case a.err == nil:
		a.beyond = time.Time{}
	case errors.Is(a.err, schemas.ErrNewer), ctx.Err() != nil:
		return a, a.err
	case !errors.Is(a.err, medialog.ErrExpired):
		a.err, keep = fmt.Errorf("%w: %w", errAway, a.err), keepMissed
	}
	a.until = time.Now().Add(keep)
	if keep > 0 {
		l.answers.put(k, a, 1)
	}
	return a, nil
}

// init returns an init segment. It is made of tracks if a tail knows them, else
// of the newest fragment in the log with this configuration.
func (l *loader) init(ctx context.Context, t schemas.Topic, config string, tracks []schemas.Track) (*segment, error) {
	if tracks != nil {
		return l.keepInit(t, config, tracks)
	}
	k := cacheKey{topic: t, config: config}
	if s := l.cache.get(k); s != nil {
		return s, nil
	}
	e, err := l.configured(ctx, t, config)
	if errors.Is(err, medialog.ErrNotFound) && l.archive != nil {
		return l.archivedInit(ctx, t, config)
	}
	if err != nil {
		return nil, err
	}
	return l.initOf(ctx, t, e)
}

// archivedInit returns an init segment that stands in the archive. Its tracks are not known.
func (l *loader) archivedInit(ctx context.Context, t schemas.Topic, config string) (*segment, error) {
	k := cacheKey{topic: t, config: config + " of the archive"}
	if s := l.cache.get(k); s != nil {
		return s, nil
	}
	s, _, err := share(ctx, l, &l.made, k, func(ctx context.Context) (*segment, error) {
		b, err := l.archive.Init(ctx, t, config)
		if err != nil {
			return nil, err
		}
		s := &segment{parts: cmaf.Blocks{b}}
		l.cache.put(k, s, s.parts.Size())
		return s, nil
	})
	return s, err
}

// initOf returns the init segment of an entry that can be played.
func (l *loader) initOf(ctx context.Context, t schemas.Topic, e schemas.Entry) (*segment, error) {
	k := cacheKey{topic: t, config: e.Config}
	if s := l.cache.get(k); s != nil {
		return s, nil
	}
	e, err := l.find(ctx, t, e.Seq, known{entry: &e})
	if err != nil {
		return nil, err
	}
	s, _, err := share(ctx, l, &l.made, k, func(ctx context.Context) (*segment, error) {
		return with(ctx, l.rebuilds, func() (*segment, error) {
			for c, err := range l.log.Chunks(ctx, t, e) {
				if err != nil {
					return nil, err
				}
				return l.keepInit(t, e.Config, c.Tracks)
			}
			return nil, medialog.ErrNotFound
		})
	})
	return s, err
}

// configs holds the configurations that an index names.
type configs struct {
	newest map[string]schemas.Entry // the newest entry that can be played, by configuration
	next   uint64                   // the seq behind the last entry that was read
	until  time.Time                // it is not read again
}

// configured returns the newest entry of a configuration. It reads an index
// once, and later only its new entries. Errors: ErrNotFound.
func (l *loader) configured(ctx context.Context, t schemas.Topic, config string) (schemas.Entry, error) {
	k := cacheKey{topic: t}
	have := l.scans.get(k)
	if have == nil || !time.Now().Before(have.until) {
		var err error
		have, _, err = share(ctx, l, &l.scanned, k, func(ctx context.Context) (*configs, error) {
			return with(ctx, l.lookups, func() (*configs, error) { return l.scan(ctx, k, have) })
		})
		if err != nil {
			return schemas.Entry{}, err
		}
	}
	e, ok := have.newest[config]
	if !ok {
		return e, medialog.ErrNotFound
	}
	return e, nil
}

// scan reads the entries of an index that are not in have, which may be nil.
func (l *loader) scan(ctx context.Context, k cacheKey, have *configs) (*configs, error) {
	l.metrics.lookups.Inc()
	c := &configs{newest: map[string]schemas.Entry{}}
	var r medialog.Range
	if have != nil && have.next > 0 {
		maps.Copy(c.newest, have.newest)
		c.next = have.next
		r = medialog.Range{FromSeq: have.next}
	}
	entries := l.log.Entries
	if l.archive != nil {
		entries = l.archive.Recent
	}
	for e, err := range entries(ctx, k.topic, r) {
		if errors.Is(err, medialog.ErrNoTopic) {
			break // it has no entries
		}
		if err != nil {
			return nil, away(err)
		}
		if c.next = e.Seq + 1; e.Playable() {
			c.newest[e.Config] = e
		}
	}
	c.until = time.Now().Add(keepMissed)
	l.scans.put(k, c, int64(len(c.newest)+1))
	return c, nil
}
