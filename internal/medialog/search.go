package medialog

import (
	"context"
	"iter"

	"github.com/framelog/framelog/schemas"
)

// footage yields the valid entries in [from, to) of an index that take seqs. A run of
// gaps is one entry here.
type footage func(from, to int64) iter.Seq2[schemas.Entry, error]

// footage returns a reader of the entries that keep accepts; nil accepts all.
func (l *Log) footage(ctx context.Context, index string, keep func(*schemas.Entry) bool) footage {
	return func(from, to int64) iter.Seq2[schemas.Entry, error] {
		return func(yield func(schemas.Entry, error) bool) {
			w := walker{log: l, index: index}
			for e, err := range l.indexRecords(ctx, index, from, to) {
				ok := false
				if err == nil {
					ok, err = w.valid(ctx, &e)
				}
				if err == nil && (!ok || !e.Footage() || keep != nil && !keep(&e)) {
					continue
				}
				if !yield(e, err) || err != nil {
					return
				}
			}
		}
	}
}

const (
	searchWindow   = 64 // offsets that a search reads at one place
	interpolations = 4  // guesses of a search before it bisects
)

// search finds a place in an index. key must not fall from one entry to the next.
// below is the last entry whose key is below target, reached the first one behind it;
// nil: there is none.
//
// An offset tells little about a seq: a run of gaps has one offset for thousands of
// seqs, while `open`s and void entries have offsets and no seq. So the search looks at
// both ends of the index, interpolates, and bisects if that has not arrived soon. Most
// searches take 3 small reads, the longest in an index of 24 hours about 15.
func search[K int64 | uint64](read footage, s span, target K, key func(*schemas.Entry) K) (below, reached *schemas.Entry, err error) {
	lo, hi := s.start, s.end // keys before lo are below target, those from hi on are not
	at := hi - searchWindow  // most readers look near the end
	for n := 0; lo < hi; n++ {
		at = min(max(at, lo), hi-1)
		last, first, err := look(read, at, hi, target, key)
		switch {
		case err != nil:
			return nil, nil, err
		case last != nil && first != nil:
			return last, first, nil
		case last != nil:
			below, lo = last, last.Offset+1
		case first != nil:
			reached, hi = first, at
		default: // no entry from at on
			hi = at
		}
		switch {
		case n == 0, hi-lo <= searchWindow:
			at = lo
		case n <= interpolations && below != nil && reached != nil:
			part := float64(target-key(below)) / float64(key(reached)-key(below))
			at = below.Offset + int64(part*float64(reached.Offset-below.Offset)) - searchWindow/2
		default:
			at = lo + (hi-lo)/2
		}
	}
	return below, reached, nil
}

// firstFootage returns the first entry in [from, to) of an index that takes seqs; nil:
// there is none.
func (l *Log) firstFootage(ctx context.Context, index string, from, to int64) (*schemas.Entry, error) {
	_, first, err := look(l.footage(ctx, index, nil), from, to, 0, (*schemas.Entry).LastSeq)
	return first, err
}

// look reads from offset at on, until it has an entry. It returns the first one whose key
// has reached target, and the last one before that.
func look[K int64 | uint64](read footage, at, hi int64, target K, key func(*schemas.Entry) K) (last, first *schemas.Entry, err error) {
	for size := int64(searchWindow); ; size *= 4 {
		to := min(at+size, hi)
		for e, err := range read(at, to) {
			if err != nil {
				return nil, nil, err
			}
			if key(&e) >= target {
				return last, &e, nil
			}
			last = &e
		}
		if last != nil || to == hi {
			return last, nil, nil
		}
	}
}
