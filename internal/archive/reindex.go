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
// files were copied or restored. It reads the last box of each file, and yields the path of each
// init segment that it has written, and of each series whose summaries are complete. Archivers may run meanwhile. want chooses
// the series; nil: all. An error is the last element: those of the store; ctx's.
func (d Dir) Reindex(ctx context.Context, want func(Series) bool, log *slog.Logger) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		all, err := d.Series(ctx)
		if err != nil {
			yield("", err)
			return
		}
		z := NewSummariser(d, log)
		for _, s := range all {
			if want != nil && !want(s) {
				continue
			}
			written, err := d.reindexInits(ctx, s, log)
			for _, at := range written {
				if !yield(at, nil) {
					return
				}
			}
			if err == nil {
				err = z.all(ctx, s)
			}
			if !yield(s.Path(), err) || err != nil {
				return
			}
		}
	}
}

// reindexInits writes the init segments of a series that are missing or wrong.
func (d Dir) reindexInits(ctx context.Context, s Series, log *slog.Logger) (written []string, err error) {
	files, err := d.Files(ctx, s)
	if err != nil {
		return nil, err
	}
	needed := inits{}
	for _, k := range files {
		f, err := d.open(ctx, k.Path())
		if err == nil {
			err = errors.Join(needed.add(s, f.box), f.Close())
		}
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.Is(err, fs.ErrNotExist): // it was deleted meanwhile
		case err != nil:
			log.Warn("archive: a file is left out; see \"framelog archive verify\"", "file", k.Path(), "err", err)
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
			written = append(written, at)
			err = d.writeInit(ctx, at, needed[at])
		}
		if err != nil {
			return written, fmt.Errorf("archive: write %s: %w", at, err)
		}
	}
	return written, nil
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
