package replay

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/framelog/framelog/ingest"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
)

// Footage is what a replay repeats.
type Footage struct {
	First, Last uint64 // seqs of its fragments
	Start, End  time.Time
	Fragments   int   // that have media
	Length      int64 // on the replay's timeline, in ticks of schemas.MediaTimescale

	played uint64 // seq of the last fragment that has media
	behind int64  // ticks of gaps behind it that the replay writes
}

// Survey reads what there is of a replay's range. Errors: ingest.ErrRefused if there is
// nothing; ingest.ErrUnsupported if it has no pictures; ctx's, and those of the store.
func Survey(ctx context.Context, store medialog.Store, r schemas.Replay) (Footage, error) {
	var f Footage
	var line timeline
	for e, err := range store.Entries(ctx, r.Of, medialog.Range{From: r.From, To: r.To}) {
		if err != nil && !errors.Is(err, medialog.ErrNoTopic) {
			return Footage{}, fmt.Errorf("replay: survey: %w", err)
		}
		if err != nil {
			break
		}
		if e.Playable() && e.Layout.Video == "" || e.Layout.Data != "" {
			return Footage{}, fmt.Errorf("replay: survey: %w: %s has no pictures: choose raw, or a rendition with pictures", ingest.ErrUnsupported, r.Of)
		}
		if line.take(&e); f.First == 0 {
			f.First, f.Start = e.Seq, e.Start
		}
		switch {
		case e.Playable():
			f.Fragments++
			f.played, f.behind = e.Seq, 0
		case e.Reason != schemas.ReasonAbsent:
			f.behind += e.Duration
		}
		f.Last, f.End, f.Length = e.Seq, e.End(), line.end
	}
	if f.Fragments == 0 {
		return Footage{}, nothing(ctx, store, r)
	}
	return f, nil
}

// nothing returns the error that a range has no footage, and tells what there is.
func nothing(ctx context.Context, store medialog.Store, r schemas.Replay) error {
	have := fmt.Sprintf("nothing of %s is there", r.Of)
	oldest, newest, err := store.Bounds(ctx, r.Of)
	switch {
	case err == nil:
		have = fmt.Sprintf("%s has footage from %s to %s", r.Of, clock(oldest.Start), clock(newest.End()))
	case !errors.Is(err, medialog.ErrNoTopic) && !errors.Is(err, medialog.ErrNotFound):
		return fmt.Errorf("replay: survey: %w", err)
	}
	return fmt.Errorf("replay: survey: %w: there is no footage from %s to %s: %s", ingest.ErrRefused, clock(r.From), clock(r.To), have)
}

func clock(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// Position is how far a replay has come.
type Position struct {
	Found bool   // the log has footage of this replay
	Round uint64 // 0: the first
	Seq   uint64 // of the source's newest fragment that is repeated; 0: none of this round

	noTopic bool  // the target has no topic, as far as the client knows
	gap     int64 // ticks of gaps that stand behind it
	cut     bool  // of the newest fragment only a part was written: this many ticks
	written int64
	newest  time.Time // the end of the newest footage of any run; zero: there is none
}

// Ended reports whether nothing is left to repeat.
func (p Position) Ended(r schemas.Replay, all Footage) bool {
	return p.Found && !r.Loop && (p.Seq >= all.Last || p.Seq >= all.played && p.gap >= all.behind)
}

// lookBack is how many entries are read at once to find the newest one with media.
const lookBack = 64

// Find finds how far a replay has come, by the log of its target.
func Find(ctx context.Context, store medialog.Store, target schemas.Topic, r schemas.Replay) (Position, error) {
	p, err := find(ctx, store, target, r)
	if err != nil {
		return Position{}, fmt.Errorf("replay: find where %s stands: %w", target, err)
	}
	return p, nil
}

func find(ctx context.Context, store medialog.Store, target schemas.Topic, r schemas.Replay) (p Position, err error) {
	oldest, newest, err := store.Bounds(ctx, target)
	if errors.Is(err, medialog.ErrNoTopic) || errors.Is(err, medialog.ErrNotFound) {
		return Position{noTopic: errors.Is(err, medialog.ErrNoTopic)}, nil
	}
	if err != nil {
		return p, err
	}
	var last schemas.Entry
	for back := uint64(lookBack); ; back *= lookBack {
		from := oldest.Seq
		if newest.Seq-oldest.Seq > back {
			from = newest.Seq - back
		}
		if last, p.gap, err = newestPlayable(ctx, store, target, from); err != nil || last.Playable() || from == oldest.Seq {
			break
		}
	}
	p.newest = newest.End()
	p.cut, p.written = last.Kind == schemas.KindTruncated, last.Duration
	if err != nil || !last.Playable() {
		return p, err
	}
	for c, err := range store.Chunks(ctx, target, last) {
		if err != nil {
			return p, err
		}
		if p.Round, p.Found = r.Round(c.Lineage); p.Found {
			p.Seq = c.Lineage.Seq
		}
		break
	}
	return p, nil
}

// newestPlayable returns the newest entry with media, and how long the gaps behind it are
// that the replay wrote. The writer itself makes gaps of the time between two sessions.
func newestPlayable(ctx context.Context, store medialog.Store, t schemas.Topic, from uint64) (last schemas.Entry, gap int64, err error) {
	for e, err := range store.Entries(ctx, t, medialog.Range{FromSeq: from}) {
		switch {
		case err != nil:
			return last, 0, err
		case e.Playable():
			last, gap = e, 0
		case e.Reason != schemas.ReasonAbsent:
			gap += e.Duration
		}
	}
	return last, gap, nil
}
