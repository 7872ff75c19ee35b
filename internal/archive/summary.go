package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/internal/summary"
	"github.com/framelog/framelog/schemas"
)

// summaryDir is the directory of a series' summaries, in that of the series. A file of a month has
// its hours, and one of a day their minutes. They can be made again from the other files.
const summaryDir = ".summaries"

const (
	monthForm = "2006-01"
	dayForm   = "2006-01-02"
)

func summaryPath(of Series, name string) string { return path.Join(of.Path(), summaryDir, name) }

// keptSummaries is how many files of summaries a Set keeps in memory. One has at most some 80 KB.
const keptSummaries = 128

// summaries reads the summaries of an archive, and keeps them. Several goroutines may use it.
type summaries struct {
	dir  Dir
	kept *lru.Cache[string, keptSummary] // by path
}

type keptSummary struct {
	size    int64
	changed time.Time
	all     []*summarised
}

func newSummaries(dir Dir) *summaries {
	kept, _ := lru.New[string, keptSummary](keptSummaries) // it fails for sizes below 1 only
	return &summaries{dir, kept}
}

// of returns the hours in a file, none if it does not exist. Errors: those of the store; that it is
// damaged.
func (x *summaries) of(ctx context.Context, s Series, name string) ([]*summarised, error) {
	at := summaryPath(s, name)
	all, err := x.read(ctx, at)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		x.kept.Remove(at)
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("archive: read %s: %w", at, err)
	}
	return all, nil
}

func (x *summaries) read(ctx context.Context, at string) ([]*summarised, error) {
	f, err := x.dir.store.Open(ctx, at)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if kept, ok := x.kept.Get(at); ok && kept.size == info.Size() && kept.changed.Equal(info.ModTime()) {
		return kept.all, nil
	}
	b, err := io.ReadAll(io.NewSectionReader(f, 0, min(info.Size(), maxTrailer)))
	if err != nil {
		return nil, err
	}
	all, err := decodeSummary(b)
	if err != nil {
		return nil, err
	}
	x.kept.Add(at, keptSummary{info.Size(), info.ModTime(), all})
	return all, nil
}

// between returns the hours in [from, to) of which there are summaries, by their number: their
// minutes if step is no whole hours, else the hours. A file that cannot be read is one that is
// missing.
func (x *summaries) between(ctx context.Context, of Series, from, to time.Time, step time.Duration) map[int64]*summarised {
	found := map[int64]*summarised{}
	from = from.UTC()
	for month := time.Date(from.Year(), from.Month(), 1, 0, 0, 0, 0, time.UTC); month.Before(to); month = month.AddDate(0, 1, 0) {
		hours, _ := x.of(ctx, of, month.Format(monthForm))
		var day []*summarised
		var name string
		for _, s := range hours {
			if s.start().Before(from.Truncate(time.Hour)) || !s.start().Before(to) {
				continue
			}
			if step%time.Hour == 0 || s.hour.Empty() {
				found[s.at] = s
				continue
			}
			if of2 := s.start().Format(dayForm); of2 != name {
				name = of2
				day, _ = x.of(ctx, of, name)
			}
			if i, ok := slices.BinarySearchFunc(day, s.at, func(s *summarised, at int64) int { return int(s.at - at) }); ok {
				found[s.at] = day[i]
			}
		}
	}
	return found
}

// Summaries returns what is known of the hours in [from, to) of public time without reading their
// entries, by when they begin in Unix seconds. Entries would tell the same of them. What came in
// the last hours is not among them, nor what the log has and the archive may not have. Hours
// have amounts of minutes unless step is whole hours. Errors: those of the log and of the file
// system.
func (j *Joined) Summaries(ctx context.Context, t schemas.Topic, from, to time.Time, step time.Duration) (map[int64]*summary.Hour, error) {
	k, err := j.know(ctx, t)
	if err != nil || k.life == "" {
		return nil, err
	}
	of := Series{k.life, t}
	if err := of.check(); err != nil {
		return nil, fmt.Errorf("archive: %w", err)
	}
	all := j.set.summaries.between(ctx, of, from, to, step)
	hours := make(map[int64]*summary.Hour, len(all))
	for _, s := range all {
		old := !k.oldest.Footage() || !s.start().Add(time.Hour+medialog.MaxStepBack).After(k.oldest.Start)
		if s.dense || old {
			hours[s.at*3600] = s.hour
		}
	}
	return hours, nil
}
