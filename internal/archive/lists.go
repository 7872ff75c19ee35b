package archive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sort"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/singleflight"
)

const (
	// keptLists is how many lists of files are kept in memory. One has 24 bytes for a minute of
	// footage: 13 MB for a year.
	keptLists = 64
	// fresh is how long a list is not compared with its directory.
	fresh = time.Second
	// settled is how long after a change of a directory its time tells whether there was another
	// one.
	settled = 2 * time.Second
	// Of a store that does not tell when a directory has changed, only names behind the last one
	// are listed, after freshTail. All are listed after wholeList, or 100 times as long as that
	// takes.
	freshTail = 5 * time.Second
	wholeList = time.Minute
	// nearBy is how many seqs before the one that is asked for a file may begin that has it.
	nearBy = 1 << 16
)

// list is the files of a series, by their first seq.
type list struct {
	files   []numbers
	reach   []uint64  // the highest seq of this file and those before it
	changed time.Time // the directory, as of the read; zero: the store does not tell
	read    time.Time
	whole   time.Time // when all files were listed
	again   time.Time // when all files are listed again, if changed is zero
}

func newList(files []numbers) list {
	l := list{files: files, reach: make([]uint64, len(files))}
	highest := uint64(0)
	for i, q := range files {
		highest = max(highest, q.last)
		l.reach[i] = highest
	}
	return l
}

// fresh reports whether the list is not read again yet.
func (l *list) fresh() bool {
	if l.changed.IsZero() {
		return time.Since(l.read) < freshTail
	}
	return time.Since(l.read) < fresh
}

// current reports whether the files are those of a directory that has changed then.
func (l *list) current(changed time.Time) bool {
	if changed.IsZero() {
		return time.Now().Before(l.again)
	}
	return l.changed.Equal(changed) && l.read.Sub(l.changed) >= settled
}

// from returns the index of the first file that may have a seq or a later one.
func (l *list) from(seq uint64) int {
	return sort.Search(len(l.reach), func(i int) bool { return l.reach[i] >= seq })
}

// lists reads the lists of an archive, and keeps them. Several goroutines may use it.
type lists struct {
	dir   Dir
	all   *lru.Cache[Series, list]
	old   *lru.Cache[Series, time.Time] // when lists that were made before became wrong
	reads singleflight.Group
}

func newLists(dir Dir) *lists {
	all, _ := lru.New[Series, list](keptLists) // it fails for sizes below 1 only
	old, _ := lru.New[Series, time.Time](keptLists)
	return &lists{dir: dir, all: all, old: old}
}

// expire has a list made anew before it is used again.
func (l *lists) expire(s Series) { l.old.Add(s, time.Now()) }

// get returns a list that is in memory, and that has not expired.
func (l *lists) get(s Series) (list, bool) {
	kept, ok := l.all.Get(s)
	return kept, ok && !l.expired(s, kept)
}

func (l *lists) expired(s Series, kept list) bool {
	old, ok := l.old.Get(s)
	return ok && !kept.whole.After(old)
}

// of returns the list of a series. Errors: those of the store, but not that it has no directory; ctx's; a
// name that cannot be one of a directory.
func (l *lists) of(ctx context.Context, s Series) (list, error) {
	if err := s.check(); err != nil {
		return list{}, fmt.Errorf("archive: %w", err)
	}
	if kept, ok := l.get(s); ok && kept.fresh() {
		return kept, nil
	}
	for range 2 {
		kept, err := shared(ctx, &l.reads, s.Path(), func(ctx context.Context) (list, error) { return l.look(ctx, s) })
		if err != nil {
			return list{}, err
		}
		if !l.expired(s, kept) {
			return kept, nil
		} // it was begun by another caller, before the lists became wrong
	}
	return l.look(ctx, s)
}

// shared reads something. Callers with the same key at the same time share one read, which goes on when some
// of them do not wait any more; read bounds itself, as the store bounds each of its requests. Errors: those of read; ctx's.
func shared[T any](ctx context.Context, reads *singleflight.Group, key string, read func(context.Context) (T, error)) (T, error) {
	result := reads.DoChan(key, func() (any, error) { return read(context.WithoutCancel(ctx)) })
	select {
	case r := <-result:
		return r.Val.(T), r.Err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

func (l *lists) look(ctx context.Context, s Series) (list, error) {
	now := time.Now()
	changed, err := l.dir.store.Changed(ctx, s.Path())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		l.all.Remove(s)
		return list{whole: now}, nil
	case err != nil:
		return list{}, fmt.Errorf("archive: %w", err)
	}
	kept, ok := l.get(s)
	switch {
	case !ok || !kept.current(changed):
		found, err := l.dir.list(ctx, s, "")
		if err != nil {
			return list{}, err
		}
		kept = newList(names(found))
		kept.changed, kept.whole, kept.again = changed, now, time.Now().Add(max(wholeList, 100*time.Since(now)))
	case changed.IsZero():
		if kept, err = l.newer(ctx, s, kept); err != nil {
			return list{}, err
		}
	}
	kept.read = now
	l.all.Add(s, kept)
	return kept, nil
}

// newer returns a list with the files that have come behind its last one.
func (l *lists) newer(ctx context.Context, s Series, old list) (list, error) {
	var last numbers
	if n := len(old.files); n > 0 {
		last = old.files[n-1]
	}
	after := fmt.Sprint(last.first)
	if len(after) != len(fmt.Sprint(last.first+1<<20)) || last.first == 0 {
		after = "" // a name of a longer number may stand before the last one
	}
	found, err := l.dir.list(ctx, s, after)
	if err != nil {
		return old, err
	}
	all := names(found)
	if after != "" {
		first, _ := slices.BinarySearchFunc(old.files, last.first, func(q numbers, seq uint64) int { return cmp.Compare(q.first, seq) })
		all = slices.Concat(old.files[:first], all)
	}
	files := newList(all)
	files.changed, files.whole, files.again = old.changed, old.whole, old.again
	return files, nil
}

// near returns a list with the files that have a seq or later ones. Of a store that does not tell
// when a directory has changed, which may need hundreds of requests for a long list, it has few
// others. Errors: as of.
func (l *lists) near(ctx context.Context, s Series, seq uint64) (list, error) {
	from := seq - min(seq, nearBy)
	after := fmt.Sprint(from)
	if l.dir.onDisk() || from == 0 || len(after) != len(fmt.Sprint(seq+1<<20)) { // see newer
		return l.of(ctx, s)
	}
	found, err := l.dir.list(ctx, s, after)
	return newList(names(found)), err
}
