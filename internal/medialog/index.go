package medialog

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/framelog/framelog/schemas"
)

// entrySize is the bytes of an entry that a fetch is made for. Most entries are smaller,
// with the overhead of their record. For longer ones there is another fetch. The first
// fetch is for indexWindow entries at most: many readers of a long range stop early, and
// the index of a day has megabytes.
const entrySize = 512

// indexRecords reads [from, to) of an index. A record that is no entry becomes an
// entry without a kind. A record of a newer schema is an error. Of a long range, what
// follows the first fetch is fetched and decoded while its caller works.
func (l *Log) indexRecords(ctx context.Context, index string, from, to int64) iter.Seq2[schemas.Entry, error] {
	return func(yield func(schemas.Entry, error) bool) {
		limit := min(to-from, indexWindow) * entrySize
		for recs, err := range l.fetches(ctx, index, 0, from, to, limit) {
			if err != nil {
				yield(schemas.Entry{}, fmt.Errorf("medialog: read %s: %w", index, err))
				return
			}
			for _, r := range recs {
				e, err := l.entryOf(index, r)
				if !yield(e, err) || err != nil {
					return
				}
				from = r.Offset + 1
			}
			if to-from > indexWindow {
				l.indexAhead(ctx, index, from, to)(yield)
				return
			}
		}
	}
}

// decoded is a piece of an index, in order.
type decoded struct {
	entries []schemas.Entry
	err     error // behind them
	last    bool
}

// indexAhead is indexRecords with a goroutine that reads ahead: aheadPieces, and what one fetch brings.
func (l *Log) indexAhead(ctx context.Context, index string, from, to int64) iter.Seq2[schemas.Entry, error] {
	const size, aheadPieces = 256, 2 // a piece is 110 KB
	return func(yield func(schemas.Entry, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		pieces, used := make(chan decoded, aheadPieces), make(chan []schemas.Entry, aheadPieces+1)
		defer func() { // the goroutine ends before this returns
			cancel()
			for range pieces {
			}
		}()
		go func() {
			defer close(pieces)
			var p decoded
			send := func() bool {
				select {
				case pieces <- p:
				case <-ctx.Done():
					return false
				}
				select {
				case p.entries = <-used:
				default:
					p.entries = make([]schemas.Entry, 0, size)
				}
				return true
			}
			p.entries = make([]schemas.Entry, 0, size)
			for recs, err := range l.fetches(ctx, index, 0, from, to, 4*indexWindow*entrySize) {
				if err != nil {
					p.err, p.last = fmt.Errorf("medialog: read %s: %w", index, err), true
					send()
					return
				}
				for _, r := range recs {
					e, err := l.entryOf(index, r)
					if err == nil {
						p.entries = append(p.entries, e)
					}
					p.err, p.last = err, err != nil
					if (p.last || len(p.entries) == size) && !send() || p.last {
						return
					}
				}
			}
			p.last = true
			send()
		}()
		for p := range pieces {
			for i := range p.entries {
				if !yield(p.entries[i], nil) {
					return
				}
			}
			if p.err != nil {
				yield(schemas.Entry{}, p.err)
			}
			if p.last {
				return
			}
			select {
			case used <- p.entries[:0]:
			default:
			}
		}
		yield(schemas.Entry{}, fmt.Errorf("medialog: read %s: %w", index, ctx.Err()))
	}
}

func (l *Log) entryOf(index string, r *kgo.Record) (schemas.Entry, error) {
	e, err := schemas.DecodeEntry(r.Value)
	if errors.Is(err, schemas.ErrNewer) {
		return e, fmt.Errorf("medialog: read %s at %d: %w", index, r.Offset, err)
	}
	if err != nil {
		l.logger.Warn("skipping a record of an index that is no entry", "topic", index, "offset", r.Offset, "err", err)
		e = schemas.Entry{}
	}
	e.Offset = r.Offset
	return e, nil
}

// openBetween reports whether an `open` stands between two offsets of an index, both
// exclusive. If the first has expired, it reports true: the entry counts as void.
func (l *Log) openBetween(ctx context.Context, index string, prev, before int64) (bool, error) {
	return l.anyBetween(ctx, index, prev, before, func(e *schemas.Entry) bool { return e.Kind == schemas.KindOpen })
}

// anyBetween reports whether one of the records between two offsets of an index, both
// exclusive, is what is asks for. If the first has expired, it reports true.
func (l *Log) anyBetween(ctx context.Context, index string, prev, before int64, is func(*schemas.Entry) bool) (bool, error) {
	for e, err := range l.indexRecords(ctx, index, prev, before) {
		switch {
		case errors.Is(err, ErrExpired):
			return true, nil
		case err != nil:
			return false, err
		case e.Offset > prev && is(&e):
			return true, nil
		}
	}
	return false, nil
}

// walk yields the valid entries in [from, to) of an index, each seq once, and the
// valid `open`s and `left`s. It expands runs of gaps.
func (l *Log) walk(ctx context.Context, index string, from, to int64) iter.Seq2[schemas.Entry, error] {
	return (&walker{log: l, index: index}).walk(ctx, from, to)
}

// walker judges the records of an index in the order in which they are read.
type walker struct {
	log   *Log
	index string
	judge schemas.Judge
	seq   sequence
}

// walk takes the records in [from, to), and yields what they tell.
func (w *walker) walk(ctx context.Context, from, to int64) iter.Seq2[schemas.Entry, error] {
	return func(yield func(schemas.Entry, error) bool) {
		for e, err := range w.log.indexRecords(ctx, w.index, from, to) {
			if err != nil {
				yield(schemas.Entry{}, err)
				return
			}
			for one, err := range w.take(ctx, &e) {
				if !yield(one, err) || err != nil {
					return
				}
			}
		}
	}
}

// take yields what the next record tells: nothing if it is void; an `open` or a `left`;
// else each seq that had no entry before.
func (w *walker) take(ctx context.Context, e *schemas.Entry) iter.Seq2[schemas.Entry, error] {
	return func(yield func(schemas.Entry, error) bool) {
		ok, err := w.valid(ctx, e)
		if err != nil {
			yield(schemas.Entry{}, err)
		}
		if !ok {
			return
		}
		for one := range e.Expand() {
			if (one.Kind == schemas.KindOpen || one.Kind == schemas.KindLeft || w.seq.pass(&one)) && !yield(one, nil) {
				return
			}
		}
	}
}

// valid reports whether the next record is a valid entry.
func (w *walker) valid(ctx context.Context, e *schemas.Entry) (bool, error) {
	if e.Kind == "" {
		w.judge.Skip(e.Offset)
		return false, nil
	}
	switch w.judge.Feed(e) {
	case schemas.Void:
		return false, nil
	case schemas.Unknown:
		opened, err := w.log.openBetween(ctx, w.index, e.Prev, w.judge.Start())
		return !opened && err == nil, err
	case schemas.Valid:
	}
	return true, nil
}

// newest is what the end of an index shows.
type newest struct {
	indexEnd
	epoch    int64            // offset of the `open` before the newest entry, as far as it is known; -1: there is none
	open     *schemas.Entry   // that `open`; nil: it is not among the records that were read
	opens    []*schemas.Entry // the `open`s behind the newest entry, at most mostOpens
	offsets  map[int32]int64  // of each media partition that an entry names: the offset behind the last chunk of the newest one
	complete bool             // the index was read from its start
	since    time.Time        // public time of the oldest entry that was read
}

// mostOpens is how many writers in a row may have left chunks and no entry, so that a reader
// that begins there shows what the others show.
const mostOpens = 8

// indexWindow is how many records at the end of an index are read first. A new
// writer rarely settles more fragments than these.
const indexWindow = 512

// newestBefore reads the end of an index, up to offset end. Errors: as of lookBack.
func (l *Log) newestBefore(ctx context.Context, index string, end int64) (n newest, err error) {
	err = l.lookBack(ctx, index, end, func(complete bool) {
		n = newest{epoch: -1, offsets: map[int32]int64{}, complete: complete}
	}, func(e *schemas.Entry) { n.add(e) })
	return n, err
}

// lookBack reads the end of an index, up to offset end, as far back as an entry that
// takes a seq stands there. It calls begin before each reading, and tells whether that
// reads the index from its start, and then take with all that walk yields. If the
// index ends before that offset, the error is errCutBack, since the newest entry is not
// known.
func (l *Log) lookBack(ctx context.Context, index string, end int64, begin func(complete bool), take func(*schemas.Entry)) error {
	for window := int64(indexWindow); ; {
		s, err := l.waitForSpans(ctx, index)
		if err != nil {
			return err
		}
		from := max(s[0].start, end-window)
		complete := from == s[0].start
		begin(complete)
		expired, found := false, false
		for e, err := range l.walk(ctx, index, from, end) {
			if expired = errors.Is(err, ErrExpired) && !errors.Is(err, errCutBack); expired {
				break
			}
			if err != nil {
				return err
			}
			found = found || e.Footage()
			take(&e)
		}
		switch {
		case expired: // retention removed records meanwhile: entries may be missing
		case found || complete:
			return nil
		default:
			window *= 4
		}
	}
}

// writers returns the `open` with which a reader begins, that of the newest entry's writer, and
// those of later writers. Without an entry there are no later ones. first is nil if there is
// none; if it was not read, only its offset is known.
func (n *newest) writers() (first *schemas.Entry, later []*schemas.Entry) {
	i := len(n.opens)
	switch {
	case n.entry == nil && i > 0:
		return n.opens[i-1], nil
	case n.open == nil && n.epoch >= 0: // its offset is that of its entries' epoch
		return &schemas.Entry{Kind: schemas.KindOpen, Offset: n.epoch, Prev: -1}, n.opens
	}
	return n.open, n.opens
}

func (n *newest) add(e *schemas.Entry) {
	if e.Kind == schemas.KindLeft {
		return
	}
	n.take(e)
	if e.Kind == schemas.KindOpen {
		n.opens = append(n.opens, e)
		n.opens = n.opens[max(0, len(n.opens)-mostOpens):]
		return
	}
	if i := len(n.opens); i > 0 {
		n.open, n.epoch, n.opens = n.opens[i-1], n.opens[i-1].Offset, nil
	}
	n.epoch = max(n.epoch, e.Epoch)
	if n.since.IsZero() {
		n.since = e.Start
	}
	if e.Playable() {
		// The newest entry counts, not the highest offset: if the media topic was created
		// again, or cut back, older entries name offsets that are reached later.
		n.offsets[e.Partition] = e.Last + 1
	}
}
