package medialog

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/framelog/framelog/schemas"
)

// Entries implements Store. It reads the entries that are in the index when it
// is called. Errors: ErrNoTopic; ctx's.
func (l *Log) Entries(ctx context.Context, t schemas.Topic, r Range) iter.Seq2[schemas.Entry, error] {
	return func(yield func(schemas.Entry, error) bool) {
		ctx, cancel := l.bound(ctx)
		defer cancel()
		for e, err := range l.entries(ctx, t, r) {
			if err != nil {
				err = fmt.Errorf("medialog: entries of %s: %w", t, err)
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

func (l *Log) entries(ctx context.Context, t schemas.Topic, r Range) iter.Seq2[schemas.Entry, error] {
	return func(yield func(schemas.Entry, error) bool) {
		index := l.names.Index(t)
		s, err := l.spans(ctx, index)
		if err != nil {
			yield(schemas.Entry{}, err)
			return
		}
		from, err := l.rangeStart(ctx, index, s[0], r)
		if err != nil {
			yield(schemas.Entry{}, err)
			return
		}
		media, err := l.spans(ctx, l.names.Media(t))
		if err != nil {
			yield(schemas.Entry{}, err)
			return
		}
		in := within{r: r, edge: newEdge(media)}
		for e, err := range l.walk(ctx, index, from, s[0].end) {
			if err != nil {
				yield(schemas.Entry{}, err)
				return
			}
			visible, done := in.take(&e)
			for _, v := range visible {
				if !yield(v, nil) {
					return
				}
			}
			if done {
				return
			}
		}
		for _, v := range in.rest() {
			if !yield(v, nil) {
				return
			}
		}
	}
}

// IndexEnd returns the offset at which t's index ends, which grows with each entry.
// It is 0 if t was never recorded. Errors: ctx's.
func (l *Log) IndexEnd(ctx context.Context, t schemas.Topic) (int64, error) {
	ctx, cancel := l.bound(ctx)
	defer cancel()
	s, err := l.spans(ctx, l.names.Index(t))
	switch {
	case errors.Is(err, ErrNoTopic):
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("medialog: end of %s: %w", t, err)
	}
	return s[0].end, nil
}

// within picks the visible entries of a range from all valid ones.
type within struct {
	r    Range
	edge *edge
	held *schemas.Entry // the newest that starts at or before r.From
	in   bool           // the range has begun; public time may step back from here on
}

// take takes the next entry, and returns the entries that are certainly in the
// range; done: no later entry is.
func (w *within) take(e *schemas.Entry) (visible []schemas.Entry, done bool) {
	switch {
	case !e.Footage(), e.Seq < w.r.FromSeq:
		return nil, false
	case w.r.ToSeq != 0 && e.Seq > w.r.ToSeq, !w.r.To.IsZero() && !e.Start.Before(w.r.To):
		return w.rest(), true
	case !w.in && !w.r.From.IsZero() && !e.Start.After(w.r.From):
		h := *e
		w.held = &h
		return nil, false
	}
	w.in = true
	if w.held != nil {
		visible = w.edge.pass(w.held)
		w.held = nil
	}
	return append(visible, w.edge.pass(e)...), false
}

// rest returns the remaining entries. It is called when no further entry
// follows.
func (w *within) rest() (visible []schemas.Entry) {
	if w.held != nil {
		visible = w.edge.pass(w.held)
		w.held = nil
	}
	return append(visible, w.edge.rest()...)
}

// rangeStart returns an offset of the index at or before the first entry of r.
func (l *Log) rangeStart(ctx context.Context, index string, s span, r Range) (int64, error) {
	switch {
	case r.ToSeq != 0 || r.FromSeq != 0:
		if r.FromSeq == 0 {
			return s.start, nil
		}
		_, at, err := l.find(ctx, index, s, r.FromSeq)
		switch {
		case errors.Is(err, ErrNotFound):
			return s.end, nil
		case errors.Is(err, ErrExpired):
			return s.start, nil
		}
		return at, err
	case r.From.IsZero():
		return s.start, nil
	}
	return l.timeStart(ctx, index, s, r.From)
}

// timeStart returns an offset at or before the entry of the last fragment that starts
// at or before t. It begins at the records with timestamps of t minus timeMargin, and
// looks further back if their entries are later than t.
func (l *Log) timeStart(ctx context.Context, index string, s span, t time.Time) (int64, error) {
	o, err := l.offsetsAt(ctx, index, t.Add(-timeMargin))
	if err != nil {
		return 0, err
	}
	at := s.end
	if v, ok := o.Lookup(index, 0); ok && v.Offset >= 0 {
		at = min(max(v.Offset, s.start), s.end)
	}
	for step := int64(64); ; step *= 4 {
		if at <= s.start {
			return s.start, nil
		}
		for e, err := range l.walk(ctx, index, at, s.end) {
			if errors.Is(err, ErrExpired) {
				return at, nil
			}
			if err != nil {
				return 0, err
			}
			if e.Footage() {
				if !e.Start.After(t) {
					return at, nil
				}
				break // all entries from here on are later: look further back
			}
		}
		at = max(s.start, at-step)
	}
}

// find looks for the entry of a seq. It returns the entry and an offset to walk from.
// From one entry to a later one, offsets grow at least as much as seqs. So find goes
// back from a known entry by the difference of the seqs. It arrives at the entry, or
// some records after it, one for each record that is no footage. These are few.
func (l *Log) find(ctx context.Context, index string, s span, seq uint64) (schemas.Entry, int64, error) {
	if s.start >= s.end {
		return schemas.Entry{}, 0, ErrNotFound
	}
	n, err := l.newestBefore(ctx, index, s.end)
	if err != nil {
		return schemas.Entry{}, 0, err
	}
	if n.entry == nil || seq > n.entry.Seq {
		return schemas.Entry{}, 0, ErrNotFound
	}
	known := *n.entry
	for {
		guess := known.Offset - int64(min(known.Seq-seq, uint64(known.Offset)))
		from := max(s.start, guess-32)
		var first *schemas.Entry
		for e, err := range l.walk(ctx, index, from, min(guess+1, s.end)) {
			if err != nil {
				return schemas.Entry{}, 0, err
			}
			if !e.Footage() {
				continue
			}
			if e.Seq == seq {
				return e, from, nil
			}
			if first == nil {
				first = &e
			}
		}
		switch {
		case from == s.start && (first == nil || first.Seq > seq):
			return schemas.Entry{}, 0, ErrExpired
		case first == nil || first.Seq < seq:
			// Seqs are not dense here: the index was deleted or emptied once.
			return l.scan(ctx, index, s, seq)
		}
		known = *first
	}
}

// scan is find by reading the whole index.
func (l *Log) scan(ctx context.Context, index string, s span, seq uint64) (schemas.Entry, int64, error) {
	for e, err := range l.walk(ctx, index, s.start, s.end) {
		if err != nil {
			return schemas.Entry{}, 0, err
		}
		if e.Footage() && e.Seq == seq {
			return e, s.start, nil
		}
	}
	return schemas.Entry{}, 0, ErrNotFound
}

// Entry returns the entry of a seq whose media can be read now. Errors: ErrExpired;
// ErrBeyond, with the entry; ErrNotFound if the seq is above the newest entry or was
// never recorded; ErrNoTopic; ctx's.
func (l *Log) Entry(ctx context.Context, t schemas.Topic, seq uint64) (schemas.Entry, error) {
	ctx, cancel := l.bound(ctx)
	defer cancel()
	e, err := l.entry(ctx, t, seq)
	if err != nil {
		return e, fmt.Errorf("medialog: entry %d of %s: %w", seq, t, err)
	}
	return e, nil
}

func (l *Log) entry(ctx context.Context, t schemas.Topic, seq uint64) (schemas.Entry, error) {
	index := l.names.Index(t)
	s, err := l.spans(ctx, index)
	if err != nil {
		return schemas.Entry{}, err
	}
	e, _, err := l.find(ctx, index, s[0], seq)
	if err != nil || !e.Playable() {
		return e, err
	}
	return e, l.available(ctx, t, e)
}

// Available reports whether the media that e names can be read now. It reads no
// media. Errors: ErrExpired, ErrBeyond, ErrNoTopic; ctx's.
func (l *Log) Available(ctx context.Context, t schemas.Topic, e schemas.Entry) error {
	ctx, cancel := l.bound(ctx)
	defer cancel()
	if err := l.available(ctx, t, e); err != nil {
		return fmt.Errorf("medialog: media of %s %d: %w", t, e.Seq, err)
	}
	return nil
}

func (l *Log) available(ctx context.Context, t schemas.Topic, e schemas.Entry) error {
	media, err := l.spans(ctx, l.names.Media(t))
	switch {
	case err != nil:
		return err
	case int(e.Partition) >= len(media), e.First < media[e.Partition].start:
		return ErrExpired
	case e.Last >= media[e.Partition].end:
		return ErrBeyond
	}
	return nil
}

// Chunks implements Store. Errors: ErrExpired; ErrNoTopic; ctx's.
func (l *Log) Chunks(ctx context.Context, t schemas.Topic, e schemas.Entry) iter.Seq2[*schemas.Chunk, error] {
	return func(yield func(*schemas.Chunk, error) bool) {
		if !e.Playable() {
			return
		}
		ctx, cancel := l.bound(ctx)
		defer cancel()
		media := l.names.Media(t)
		var sel selection
		for r, err := range l.records(ctx, media, e.Partition, e.First, e.Last+1) {
			if err != nil {
				yield(nil, fmt.Errorf("medialog: chunks of %s %d: %w", t, e.Seq, err))
				return
			}
			if headerSeq(r) != e.Seq && headerSeq(r) != ^uint64(0) {
				continue
			}
			c, err := schemas.DecodeChunkShared(r.Value)
			if errors.Is(err, schemas.ErrNewer) {
				yield(nil, fmt.Errorf("medialog: chunks of %s %d: %w", t, e.Seq, err))
				return
			}
			if err != nil || !sel.take(&e, c) {
				continue // a chunk of another copy, or a record of no writer of ours
			}
			if !yield(c, nil) {
				return
			}
		}
		if err := sel.complete(&e); err != nil {
			yield(nil, err)
		}
	}
}

// edge hides expired entries. Each partition loses its oldest records at another
// time, so everything up to the newest entry whose media are gone counts as expired.
type edge struct {
	media []span
	seen  map[int32]bool  // partitions that have shown an entry whose media are there
	held  []schemas.Entry // visible unless a later entry has expired
}

func newEdge(media []span) *edge { return &edge{media: media, seen: map[int32]bool{}} }

// pass takes the next entry, and returns the entries that are certainly
// visible.
func (x *edge) pass(e *schemas.Entry) []schemas.Entry {
	if e.Playable() && int(e.Partition) < len(x.media) {
		if e.First < x.media[e.Partition].start {
			x.held = x.held[:0]
			return nil
		}
		x.seen[e.Partition] = true
	}
	x.held = append(x.held, *e)
	if len(x.seen) < len(x.media) {
		return nil
	}
	return x.rest()
}

// rest returns the entries that are held. It is called when no further entry
// follows.
func (x *edge) rest() []schemas.Entry {
	out := x.held
	x.held = nil
	return out
}
