package replay

import (
	"cmp"
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

	newest []left // the last fragments that have media, the oldest first
}

// left is what a replay has left to do at a fragment, in ticks.
type left struct {
	seq    uint64
	length int64 // of the fragment
	behind int64 // of the gaps that the replay writes behind it, if all that follows is lost
}

// mostLeft is how many of the last fragments may be lost as a whole, and the replay counts as
// complete all the same.
const mostLeft = 16

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
			f.lost(e.Duration)
			f.newest = append(f.newest, left{e.Seq, e.Duration, 0})
			f.newest = f.newest[max(0, len(f.newest)-mostLeft):]
		case e.Reason != schemas.ReasonAbsent:
			f.lost(e.Duration)
		}
		f.Last, f.End, f.Length = e.Seq, e.End(), line.end
	}
	if f.Fragments == 0 {
		return Footage{}, nothing(ctx, store, r)
	}
	return f, nil
}

// lost counts ticks for which the replay writes gaps, or would if they were lost.
func (f *Footage) lost(ticks int64) {
	for i := range f.newest {
		f.newest[i].behind += ticks
	}
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
	if !p.Found || r.Loop {
		return false
	}
	if last := all.newest[len(all.newest)-1]; p.Seq > last.seq { // that one is gone since
		return p.Seq >= all.Last || p.gap >= last.behind
	}
	for _, x := range all.newest {
		if x.seq != p.Seq {
			continue
		}
		if p.cut {
			x.behind += max(0, x.length-p.written)
		}
		return p.gap >= x.behind
	}
	return false
}

// Find finds how far a replay has come, by the log of its target.
func Find(ctx context.Context, store medialog.Store, target schemas.Topic, r schemas.Replay) (Position, error) {
	p, err := find(ctx, store, target, r)
	if err != nil {
		return Position{}, fmt.Errorf("replay: find where %s stands: %w", target, err)
	}
	return p, nil
}

const (
	// lostAfter is for how long footage lies beyond the end of its partition until it counts as lost.
	// A new leader may be behind for a moment.
	lostAfter = 10 * time.Second
	// lostPause is the time between two looks for it.
	lostPause = time.Second
)

// lost reports whether footage is gone, or can never be read.
func lost(err error) bool {
	return errors.Is(err, medialog.ErrExpired) || errors.Is(err, medialog.ErrBeyond) || errors.Is(err, medialog.ErrDamaged)
}

// find looks at the newest fragment of the target that can be read. What was lost behind it is
// repeated once more.
func find(ctx context.Context, store medialog.Store, target schemas.Topic, r schemas.Replay) (p Position, err error) {
	oldest, newest, err := store.Bounds(ctx, target)
	if errors.Is(err, medialog.ErrNoTopic) || errors.Is(err, medialog.ErrNotFound) {
		return Position{noTopic: errors.Is(err, medialog.ErrNoTopic)}, nil
	}
	if err != nil {
		return p, err
	}
	p.newest = newest.End()
	patience := time.Now().Add(lostAfter) // of all fragments together
	for to := uint64(0); ; {
		var last schemas.Entry
		if last, p.gap, err = newestPlayable(ctx, store, target, oldest.Seq, newest.Seq, to); err != nil || !last.Playable() {
			return p, err
		}
		from, err := lineage(ctx, store, target, last)
		switch {
		case err == nil:
			p.cut, p.written = last.Kind == schemas.KindTruncated, last.Duration
			if p.Round, p.Found = r.Round(from); p.Found {
				p.Seq = from.Seq
			}
			return p, nil
		case errors.Is(err, medialog.ErrBeyond) && time.Now().Before(patience):
			if err := sleep(ctx, lostPause); err != nil {
				return p, err
			}
		case !lost(err):
			return p, err
		case last.Seq == oldest.Seq: // all of it is lost
			return Position{newest: p.newest}, nil
		default:
			to = last.Seq - 1
		}
	}
}

// lineage returns what a fragment of the target repeats.
func lineage(ctx context.Context, store medialog.Store, target schemas.Topic, e schemas.Entry) (*schemas.Lineage, error) {
	for c, err := range store.Chunks(ctx, target, e) {
		if err != nil {
			return nil, err
		}
		return c.Lineage, nil
	}
	return nil, medialog.ErrExpired
}

// lookBack is how many entries are read at once to find the newest one with media.
const lookBack = 64

// newestPlayable returns the newest entry with media, up to a seq (0: of all), and how long the gaps
// behind it are that the replay wrote. The writer itself makes gaps of the time between two sessions.
func newestPlayable(ctx context.Context, store medialog.Store, t schemas.Topic, oldest, newest, to uint64) (last schemas.Entry, gap int64, err error) {
	for back := uint64(lookBack); ; back *= lookBack {
		from, end := oldest, cmp.Or(to, newest)
		if end-oldest > back {
			from = end - back
		}
		last, gap = schemas.Entry{}, 0
		for e, err := range store.Entries(ctx, t, medialog.Range{FromSeq: from, ToSeq: to}) {
			switch {
			case err != nil:
				return last, 0, err
			case e.Playable():
				last, gap = e, 0
			case e.Reason != schemas.ReasonAbsent:
				gap += e.Duration
			}
		}
		if last.Playable() || from == oldest {
			return last, gap, nil
		}
	}
}
