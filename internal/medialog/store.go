package medialog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/framelog/framelog/schemas"
)

var _ Store = (*Log)(nil)

// Entries implements Store. It reads the entries that are in the index when it
// is called.
func (l *Log) Entries(ctx context.Context, t schemas.Topic, r Range) iter.Seq2[schemas.Entry, error] {
	return func(yield func(schemas.Entry, error) bool) {
		ctx, cancel := l.bound(ctx)
		defer cancel()
		r := r
		if r.empty() {
			return
		}
		err := l.inIndex(ctx, t, func(s span) error {
			return l.entries(ctx, t, s, r, func(e schemas.Entry) bool {
				r.FromSeq = e.Seq + 1 // if retention is faster than this reader
				return yield(e, nil)
			})
		})
		if err != nil {
			yield(schemas.Entry{}, fmt.Errorf("medialog: entries of %s: %w", t, err))
		}
	}
}

// entries yields the entries of r that stand in a part of the index.
func (l *Log) entries(ctx context.Context, t schemas.Topic, s span, r Range, yield func(schemas.Entry) bool) error {
	index := l.names.Index(t)
	from, err := l.rangeStart(ctx, index, s, r)
	if err != nil {
		return err
	}
	media, err := l.spans(ctx, l.names.Media(t))
	if err != nil {
		return err
	}
	in := within{r: r, edge: newEdge(media)}
	for e, err := range l.walk(ctx, index, from, s.end) {
		if err != nil {
			return err
		}
		if !e.Footage() {
			continue
		}
		visible, done := in.take(&e)
		for _, v := range visible {
			if !yield(v) {
				return nil
			}
		}
		if done {
			return nil
		}
	}
	for _, v := range in.rest() {
		if !yield(v) {
			return nil
		}
	}
	return nil
}

// inIndex calls f with the offsets that t's index holds, and again if retention
// removed records of it meanwhile.
func (l *Log) inIndex(ctx context.Context, t schemas.Topic, f func(span) error) error {
	for start := int64(-1); ; {
		s, err := l.spans(ctx, l.names.Index(t))
		if err != nil {
			return err
		}
		err = f(s[0])
		if !errors.Is(err, ErrExpired) || errors.Is(err, errCutBack) || s[0].start == start {
			return err
		}
		start = s[0].start
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

// Entry implements Store.
func (l *Log) Entry(ctx context.Context, t schemas.Topic, seq uint64) (schemas.Entry, error) {
	ctx, cancel := l.bound(ctx)
	defer cancel()
	e, err := l.find(ctx, t, seq)
	if err == nil && e.Playable() {
		err = l.available(ctx, t, e)
	}
	if err != nil {
		return e, fmt.Errorf("medialog: entry %d of %s: %w", seq, t, err)
	}
	return e, nil
}

// find returns the entry of a seq. Errors: ErrExpired if the seq is below those of all
// entries; ErrNotFound; ErrNoTopic; ctx's.
func (l *Log) find(ctx context.Context, t schemas.Topic, seq uint64) (schemas.Entry, error) {
	var below, e *schemas.Entry
	err := l.inIndex(ctx, t, func(s span) (err error) {
		below, e, err = search(l.footage(ctx, l.names.Index(t), nil), s, seq, (*schemas.Entry).LastSeq)
		return err
	})
	switch {
	case err != nil:
		return schemas.Entry{}, err
	case e == nil:
		return schemas.Entry{}, ErrNotFound
	case e.Seq <= seq:
		return *lastOf(e, func(e *schemas.Entry) bool { return e.Seq <= seq }), nil
	case below == nil:
		return schemas.Entry{}, ErrExpired
	}
	return schemas.Entry{}, ErrNotFound // a hole
}

// Bounds implements Store.
func (l *Log) Bounds(ctx context.Context, t schemas.Topic) (oldest, newest schemas.Entry, err error) {
	ctx, cancel := l.bound(ctx)
	defer cancel()
	err = l.inIndex(ctx, t, func(s span) (err error) {
		oldest, newest, err = l.bounds(ctx, t, s)
		return err
	})
	if err != nil {
		err = fmt.Errorf("medialog: bounds of %s: %w", t, err)
	}
	return oldest, newest, err
}

func (l *Log) bounds(ctx context.Context, t schemas.Topic, s span) (oldest, newest schemas.Entry, err error) {
	index := l.names.Index(t)
	media, err := l.spans(ctx, l.names.Media(t))
	if err != nil {
		return oldest, newest, err
	}
	edge := newEdge(media)
	// The media of the one below have expired; some of later ones may have too.
	below, _, err := search(l.footage(ctx, index, (*schemas.Entry).Playable), s, 1, func(e *schemas.Entry) int64 {
		if edge.expired(e) {
			return 0
		}
		return 1
	})
	if err != nil {
		return oldest, newest, err
	}
	if below != nil {
		s.start = below.Offset
	}
	n, err := l.newestBefore(ctx, index, s.end)
	if err != nil || n.entry == nil {
		return oldest, newest, cmp.Or(err, ErrNotFound)
	}
	err = l.entries(ctx, t, s, Range{}, func(e schemas.Entry) bool {
		oldest, newest = e, *n.entry
		return false
	})
	if err == nil && !oldest.Footage() {
		err = ErrNotFound
	}
	return oldest, newest, err
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

// Chunks implements Store.
func (l *Log) Chunks(ctx context.Context, t schemas.Topic, e schemas.Entry) iter.Seq2[*schemas.Chunk, error] {
	return func(yield func(*schemas.Chunk, error) bool) {
		if !e.Playable() {
			return
		}
		ctx, cancel := l.bound(ctx)
		defer cancel()
		media := l.names.Media(t)
		var sel selection
		for r, err := range l.recordsIn(ctx, media, e.Partition, e.First, e.Last+1, l.mediaLimit(&e)) {
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

// mediaLimit is about how many bytes the records of e's chunks have. A fetch of more would
// bring the fragments behind them too, which nobody has asked for.
func (l *Log) mediaLimit(e *schemas.Entry) int64 {
	return min(e.Bytes+e.Bytes/8+int64(e.Chunks)<<12, l.fetchLimit())
}
