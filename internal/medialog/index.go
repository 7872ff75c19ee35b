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
// follows the first fetch is fetched while its caller works.
func (l *Log) indexRecords(ctx context.Context, index string, from, to int64) iter.Seq2[schemas.Entry, error] {
	return func(yield func(schemas.Entry, error) bool) {
		limit := min(to-from, indexWindow) * entrySize
		for recs, err := range ahead(ctx, func(ctx context.Context) iter.Seq2[[]*kgo.Record, error] {
			return l.fetches(ctx, index, 0, from, to, limit, 4*indexWindow*entrySize)
		}) {
			if err != nil {
				yield(schemas.Entry{}, fmt.Errorf("medialog: read %s: %w", index, err))
				return
			}
			for _, r := range recs {
				e, err := l.entryOf(index, r)
				if !yield(e, err) || err != nil {
					return
				}
			}
		}
	}
}

// ahead yields what read yields. From the second one on, the next one is read while the caller of
// an ahead works. So there are two in memory, or three while one is being read.
func ahead[T any](ctx context.Context, read func(context.Context) iter.Seq2[T, error]) iter.Seq2[T, error] {
	type one struct {
		v   T
		err error
	}
	return func(yield func(T, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		next, stop := iter.Pull2(read(ctx))
		defer stop()
		defer cancel()
		v, err, ok := next()
		if !ok || !yield(v, err) {
			return
		}
		all := make(chan one)
		defer func() { // the goroutine ends before this returns
			cancel()
			for x := range all {
				_ = x // nobody wants it any more
			}
		}()
		go func() {
			defer close(all)
			for {
				v, err, ok := next()
				if !ok {
					return
				}
				all <- one{v, err}
			}
		}()
		for x := range all {
			if !yield(x.v, x.err) {
				return
			}
		}
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
			if !w.each(ctx, &e, yield) {
				return
			}
		}
	}
}

// take yields what the next record tells: nothing if it is void; an `open` or a `left`;
// else each seq that had no entry before.
func (w *walker) take(ctx context.Context, e *schemas.Entry) iter.Seq2[schemas.Entry, error] {
	return func(yield func(schemas.Entry, error) bool) { w.each(ctx, e, yield) }
}

// each is take. It reports whether to go on.
func (w *walker) each(ctx context.Context, e *schemas.Entry, yield func(schemas.Entry, error) bool) bool {
	ok, err := w.valid(ctx, e)
	switch {
	case err != nil:
		yield(schemas.Entry{}, err)
		return false
	case !ok:
		return true
	case e.Run == nil:
		return !w.tells(e) || yield(*e, nil)
	}
	run := *e // so that other entries need no memory of their own
	for one := range run.Expand() {
		if w.tells(&one) && !yield(one, nil) {
			return false
		}
	}
	return true
}

// tells reports whether an entry tells what those before it did not.
func (w *walker) tells(e *schemas.Entry) bool {
	return e.Kind == schemas.KindOpen || e.Kind == schemas.KindLeft || w.seq.pass(e)
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
