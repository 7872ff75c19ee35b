package archive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// hiddenName is the form of the names of deleted files: when they were deleted, in Unix seconds,
// and their names before, which have their seqs. No reader lists them. Package s3 knows the form.
const hiddenName = ".deleted-%d-%d-%d.mp4"

var isHidden = regexp.MustCompile(`^\.deleted-([0-9]{1,12})-([0-9]{1,20})-([0-9]{1,20})\.mp4$`)

// partEnd ends the names of files that are being written. A process that is killed leaves them.
const partEnd = ".part"

// path is the path of the file, below the directory of the archive.
func (f *stored) path() string {
	if f.hidden.IsZero() {
		return f.Path()
	}
	return path.Join(f.Series.Path(), fmt.Sprintf(hiddenName, f.hidden.Unix(), f.First, f.Last))
}

// Open opens a file that Files has listed, also if it has been deleted since and is only hidden.
// Errors: those of Open; fs.ErrNotExist if it is removed.
func (d Dir) Open(ctx context.Context, k Kept) (*File, error) {
	f, err := d.open(ctx, k.Path())
	if !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	files, _, scanErr := d.scan(ctx, k.Series)
	if scanErr != nil {
		return nil, scanErr
	}
	for _, other := range files {
		if other.First == k.First && other.Last == k.Last {
			return d.open(ctx, other.path())
		}
	}
	return nil, err
}

// DamagedEnd ends the names of files that SetAside has renamed.
const DamagedEnd = ".damaged"

// SetAside renames a file that is damaged: readers do not list it any more. Keeper removes it a week
// later. Errors: those of the store.
func (d Dir) SetAside(ctx context.Context, k Kept) error {
	if on, ok := d.store.(disk); ok { // other stores make a new file
		now := time.Now()
		if err := os.Chtimes(on.path(k.Path()), now, now); err != nil {
			return err
		}
	}
	return d.store.Rename(ctx, k.Path(), k.Path()+DamagedEnd)
}

// leftover is another file in the directory of a series: one that is being written, or was.
type leftover struct {
	path    string // below the directory of the archive
	size    int64
	changed time.Time
}

// part reports whether it is a file that is being written, or was.
func (l *leftover) part() bool {
	name := path.Base(l.path)
	return strings.HasPrefix(name, ".") && strings.HasSuffix(name, partEnd)
}

// damaged reports whether it is a file that was set aside.
func (l *leftover) damaged() bool {
	name, ok := strings.CutSuffix(path.Base(l.path), DamagedEnd)
	return ok && isFile.MatchString(name)
}

// scan lists the files of a series by their first seq, hidden ones too, and what else is there.
func (d Dir) scan(ctx context.Context, s Series) (files []stored, others []leftover, err error) {
	found, err := d.list(ctx, s, "")
	if err != nil {
		return nil, nil, err
	}
	for _, k := range kept(s, found) {
		files = append(files, stored{Kept: k})
	}
	for _, f := range found {
		m := isHidden.FindStringSubmatch(f.Name())
		if f.IsDir() || m == nil && (isFile.MatchString(f.Name()) || isInit.MatchString(f.Name())) {
			continue
		}
		info, err := f.Info()
		if err != nil {
			continue // it was removed meanwhile
		}
		if m == nil {
			others = append(others, leftover{path.Join(s.Path(), f.Name()), info.Size(), info.ModTime()})
			continue
		}
		at, err1 := strconv.ParseInt(m[1], 10, 64)
		first, err2 := strconv.ParseUint(m[2], 10, 64)
		last, err3 := strconv.ParseUint(m[3], 10, 64)
		if errors.Join(err1, err2, err3) != nil {
			continue
		}
		files = append(files, stored{Kept: Kept{Series: s, First: first, Last: last, Size: info.Size(), Written: info.ModTime()}, hidden: time.Unix(at, 0)})
	}
	slices.SortFunc(files, func(a, b stored) int {
		return cmp.Or(cmp.Compare(a.First, b.First), cmp.Compare(b.Last, a.Last), a.hidden.Compare(b.hidden))
	})
	markNewest(files)
	return files, others, nil
}

// markNewest marks the newest file that readers list.
func markNewest(files []stored) {
	newest := -1
	for i := range files {
		if files[i].hidden.IsZero() && (newest < 0 || files[i].Last > files[newest].Last) {
			newest = i
		}
	}
	if newest >= 0 {
		files[newest].newest = true
	}
}

// scanned is what a series has.
type scanned struct {
	Series
	files  []stored
	others []leftover
}

// scanAll lists the whole archive: about 100 bytes of memory for each file.
func (d Dir) scanAll(ctx context.Context) (all []scanned, err error) {
	series, err := d.Series(ctx)
	if err != nil {
		return nil, err
	}
	for _, s := range series {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		one := scanned{Series: s}
		if one.files, one.others, err = d.scan(ctx, s); err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}
