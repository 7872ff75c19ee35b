package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/singleflight"

	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
)

// Files that retention has deleted are hidden for a while before they are removed. No range has
// them any more, but segments are served to those whose playlist names them.

// hiddenFile is a deleted file.
type hiddenFile struct {
	numbers
	path string // below the directory of the archive
}

// hiddenFiles are those of a series.
type hiddenFiles struct {
	all  []hiddenFile
	read time.Time
}

// hiddenLists reads which deleted files there are: once after each read of the list of the other
// files, and only if a fragment is asked for that none of those has. A deleted file that is not there
// any more was removed, or is back since it is held: then the list of the other files is old. Several
// goroutines may use it.
type hiddenLists struct {
	dir    Dir
	others *lists
	all    *lru.Cache[Series, hiddenFiles]
	reads  singleflight.Group
}

func newHiddenLists(dir Dir, others *lists) *hiddenLists {
	all, _ := lru.New[Series, hiddenFiles](keptLists) // it fails for sizes below 1 only
	return &hiddenLists{dir: dir, others: others, all: all}
}

// of returns the deleted files that have a seq, as of a time or later. Errors: those of the store; ctx's; a
// name that cannot be one of a directory.
func (l *hiddenLists) of(ctx context.Context, s Series, seq uint64, since time.Time) (has []hiddenFile, err error) {
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("archive: %w", err)
	}
	kept, ok := l.all.Get(s)
	for tries := 0; tries < 2 && (!ok || kept.read.Before(since)); tries++ { // the first may be of another caller, who began it before
		if kept, err = shared(ctx, &l.reads, s.Path(), func(ctx context.Context) (hiddenFiles, error) { return l.look(ctx, s) }); err != nil {
			return nil, err
		}
		ok = true
	}
	for _, f := range kept.all {
		if f.first <= seq && seq <= f.last {
			has = append(has, f)
		}
	}
	return has, nil
}

func (l *hiddenLists) look(ctx context.Context, s Series) (hiddenFiles, error) {
	files := hiddenFiles{read: time.Now()}
	found, err := l.dir.store.List(ctx, s.Path(), "")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return files, fmt.Errorf("archive: %w", err)
	}
	for _, f := range found {
		if f.Name()[0] != '.' {
			continue
		}
		m := isHidden.FindStringSubmatch(f.Name())
		if m == nil {
			continue
		}
		first, err1 := strconv.ParseUint(m[2], 10, 64)
		last, err2 := strconv.ParseUint(m[3], 10, 64)
		if err1 == nil && err2 == nil {
			files.all = append(files.all, hiddenFile{numbers{first, last}, path.Join(s.Path(), f.Name())})
		}
	}
	if before, ok := l.all.Get(s); ok && slices.ContainsFunc(before.all, func(f hiddenFile) bool { return !slices.Contains(files.all, f) }) {
		l.others.expire(s)
	}
	l.all.Add(s, files)
	return files, nil
}

// findHidden finds a seq in a deleted file, of those that there were at a time or later, and since
// the list of the other files was read; else in a file that is back. Errors: as find.
func (s *Set) findHidden(ctx context.Context, of Series, seq uint64, since time.Time) (schemas.Entry, found, error) {
	l, err := s.lists.of(ctx, of)
	if err != nil {
		return schemas.Entry{}, found{}, err
	}
	known := !since.After(l.read)
	if known {
		since = l.read
	}
	files, err := s.hidden.of(ctx, of, seq, since)
	if err != nil {
		return schemas.Entry{}, found{}, err
	}
	for _, f := range files {
		box, err := s.boxAt(ctx, f.path, f.numbers)
		switch {
		case known && errors.Is(err, fs.ErrNotExist): // it was removed or is back
			return s.findHidden(ctx, of, seq, time.Now())
		case missing(err):
			continue
		case err != nil:
			return schemas.Entry{}, found{}, err
		}
		if e, at := box.entry(seq); at >= 0 {
			return e, found{f.path, box, at}, nil
		}
	}
	return s.find(ctx, of, seq)
}

// hiddenCopy is copy of a deleted file.
func (s *Set) hiddenCopy(ctx context.Context, t schemas.Topic, e schemas.Entry, since time.Time) (found, error) {
	got, at, err := s.findHidden(ctx, Series{e.Life, t}, e.Seq, since)
	if err == nil && !sameCopy(&got, &e) {
		err = medialog.ErrNotFound
	}
	return at, err
}
