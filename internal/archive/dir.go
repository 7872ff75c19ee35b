package archive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/framelog/framelog/schemas"
)

// Series is the footage of a camera or rendition in one life. Its files are in one directory.
type Series struct {
	Life  string
	Topic schemas.Topic
}

// Kept is a file of an archive, as far as its name and its directory tell.
type Kept struct {
	Series
	First, Last uint64    // seqs
	Size        int64     // in bytes
	Written     time.Time // when it was archived
}

// Series returns the series that have a directory, in the order of their paths. Directories
// with other names are left out. An archive that does not exist yet has none.
//
// Errors: those of the store; ctx's.
func (d Dir) Series(ctx context.Context) ([]Series, error) {
	var all []Series
	lives, err := d.folders(ctx)
	if err != nil {
		return nil, err
	}
	for _, life := range lives {
		cameras, err := d.folders(ctx, life)
		if err != nil {
			return nil, err
		}
		for _, camera := range cameras {
			renditions, err := d.folders(ctx, life, camera)
			if err != nil {
				return nil, err
			}
			for _, rendition := range renditions {
				s := Series{Life: life, Topic: schemas.Topic{Camera: camera}}
				if rendition != schemas.Raw {
					s.Topic.Rendition = rendition
				}
				if s.check() == nil {
					all = append(all, s)
				}
			}
		}
	}
	return all, nil
}

// folders returns the names of the directories in a directory, in order; none if it does not exist, or this
// user may not read it. Errors: others of the store; ctx's.
func (d Dir) folders(ctx context.Context, dir ...string) (names []string, err error) {
	found, err := d.store.List(ctx, path.Join(dir...), "")
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("archive: %w", err)
	}
	for _, f := range found {
		if f.IsDir() {
			names = append(names, f.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

// check returns an error if s cannot be a directory of an archive.
func (s Series) check() error {
	if !isName.MatchString(s.Life) {
		return fmt.Errorf("the life %q is no name for a directory", s.Life)
	}
	if err := schemas.ValidateCameraID(s.Topic.Camera); err != nil {
		return err
	}
	return schemas.ValidateRendition(s.Topic.Name())
}

// Path is the directory of the series, below that of an archive.
func (s Series) Path() string { return path.Join(s.Life, s.Topic.Camera, s.Topic.Name()) }

// Path is the path of the file, below the directory of an archive.
func (k Kept) Path() string {
	return path.Join(k.Series.Path(), fmt.Sprintf("%d-%d.mp4", k.First, k.Last))
}

// Sync makes sure that the names of the files of a series are on disk. A store without directories
// has nothing to do. Errors: those of the file system.
func (d Dir) Sync(s Series) error {
	if d, ok := d.store.(disk); ok {
		return d.sync(s.Path())
	}
	return nil
}

// isFile accepts the names of files.
var isFile = regexp.MustCompile(`^(0|[1-9][0-9]{0,19})-(0|[1-9][0-9]{0,19})\.mp4$`)

// numbers are the seqs of a file, as its name tells them.
type numbers struct{ first, last uint64 }

func (k *Kept) numbers() numbers { return numbers{k.First, k.Last} }

func (s Series) kept(q numbers) Kept { return Kept{Series: s, First: q.first, Last: q.last} }

// Files returns the files of a series by their first seq, and of those that begin alike the
// longest one first. Files may overlap. Files with other names are left out. Errors: those of
// the store, but not that the series has no directory; ctx's.
func (d Dir) Files(ctx context.Context, s Series) ([]Kept, error) {
	found, err := d.list(ctx, s, "")
	return kept(s, found), err
}

// list is what the directory of a series has; nothing if there is none.
func (d Dir) list(ctx context.Context, s Series, after string) ([]fs.DirEntry, error) {
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("archive: %w", err)
	}
	found, err := d.store.List(ctx, s.Path(), after)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("archive: %w", err)
	}
	return found, nil
}

// kept is Files of what a directory has.
func kept(s Series, found []fs.DirEntry) (all []Kept) {
	for _, f := range found {
		q, ok := parse(f.Name())
		if !ok {
			continue
		}
		info, err := f.Info()
		if err != nil {
			continue // it was deleted meanwhile
		}
		k := s.kept(q)
		k.Size, k.Written = info.Size(), info.ModTime()
		all = append(all, k)
	}
	slices.SortFunc(all, func(a, b Kept) int { return a.numbers().compare(b.numbers()) })
	return all
}

// names is kept without what only the files tell.
func names(found []fs.DirEntry) []numbers {
	all := make([]numbers, 0, len(found))
	for _, f := range found {
		if q, ok := parse(f.Name()); ok {
			all = append(all, q)
		}
	}
	slices.SortFunc(all, numbers.compare)
	return all
}

// parse reads the name of a file, whose numbers do not begin with 0. A directory has 43,000 for a
// month, so it is no regular expression.
func parse(name string) (numbers, bool) {
	name, mp4 := strings.CutSuffix(name, ".mp4")
	one, other, both := strings.Cut(name, "-")
	if !mp4 || !both || len(one) > 1 && one[0] == '0' || len(other) > 1 && other[0] == '0' {
		return numbers{}, false
	}
	first, err1 := strconv.ParseUint(one, 10, 64)
	last, err2 := strconv.ParseUint(other, 10, 64)
	return numbers{first, last}, err1 == nil && err2 == nil && first <= last
}

// compare is the order of files: by their first seq, and of those that begin alike the longest
// one first.
func (a numbers) compare(b numbers) int {
	return cmp.Or(cmp.Compare(a.first, b.first), cmp.Compare(b.last, a.last))
}
