package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"time"
)

// Reindex makes again what stands beside the files of an archive, where it is missing or wrong:
// init segments, and the summaries for timelines. Readers need neither: it makes them faster after
// files were copied or restored. It reads the last box of each file, and yields what it has done.
// Archivers may run meanwhile. want chooses the series; nil: all. An error is the last element:
// those of the store; ctx's. log gets what is wrong with summaries.
func (d Dir) Reindex(ctx context.Context, want func(Series) bool, log *slog.Logger) iter.Seq2[Reindexed, error] {
	return func(yield func(Reindexed, error) bool) {
		all, err := d.Series(ctx)
		if err != nil {
			yield(Reindexed{}, err)
			return
		}
		z := NewSummariser(d, log)
		for _, s := range all {
			if want != nil && !want(s) {
				continue
			}
			r, err := d.reindexInits(ctx, s)
			if err == nil {
				err = z.all(ctx, s)
			}
			if !yield(r, err) || err != nil {
				return
			}
		}
	}
}

// Reindexed is what Reindex has done with a series.
type Reindexed struct {
	Series
	Written []string // paths of the init segments that it has written
	LeftOut []Left   // files that cannot be read
}

// Left is a file that was left out.
type Left struct {
	Path  string
	Cause error
}

// reindexInits writes the init segments of a series that are missing or wrong.
func (d Dir) reindexInits(ctx context.Context, s Series) (r Reindexed, err error) {
	r.Series = s
	files, err := d.Files(ctx, s)
	if err != nil {
		return r, err
	}
	needed := inits{}
	for _, k := range files {
		f, err := d.open(ctx, k.Path())
		if err == nil {
			err = errors.Join(needed.add(s, f.box), f.Close())
		}
		switch {
		case ctx.Err() != nil:
			return r, ctx.Err()
		case errors.Is(err, fs.ErrNotExist): // it was deleted meanwhile
		case err != nil:
			r.LeftOut = append(r.LeftOut, Left{k.Path(), err})
		}
	}
	for _, at := range slices.Sorted(maps.Keys(needed)) {
		err := d.checkInit(ctx, at, needed[at])
		if errors.Is(err, errOtherInit) {
			if err = d.store.Remove(ctx, at); err == nil || errors.Is(err, fs.ErrNotExist) {
				err = errNoInit
			}
		}
		if errors.Is(err, errNoInit) {
			r.Written = append(r.Written, at)
			err = d.writeInit(ctx, at, needed[at])
		}
		if err != nil {
			return r, fmt.Errorf("archive: write %s: %w", at, err)
		}
	}
	return r, nil
}

// all writes the summaries of a series that are missing, or not right any more, without a rest.
// Hours of which a file is damaged get none.
func (z *Summariser) all(ctx context.Context, s Series) error {
	l, err := z.set.lists.of(ctx, s)
	if err != nil || len(l.files) == 0 {
		return err
	}
	from, to, err := z.bounds(ctx, s, l)
	if err != nil {
		return err
	}
	for rounds := to.Sub(from)/time.Hour/mostSummarised + 2; rounds > 0; rounds-- {
		if complete, err := z.series(ctx, s, l); err != nil || complete {
			return err
		}
	}
	return nil
}
