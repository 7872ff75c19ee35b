package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/framelog/framelog/internal/medialog"
)

// Selection chooses files of an archive.
type Selection struct {
	// Series reports whether files of a series are wanted. nil: all are.
	Series func(Series) bool
	// From and To bound the public time of the footage. Zero: it is not bounded.
	From, To time.Time
}

func (s *Selection) series(of Series) bool { return s.Series == nil || s.Series(of) }

func (s *Selection) within(t span) bool {
	return (s.To.IsZero() || t.from.Before(s.To)) && (s.From.IsZero() || t.to.After(s.From))
}

// Result is what Verify says of one file.
type Result string

// The results of Verify.
const (
	Intact    Result = "intact"     // every byte is as it was written
	Damaged   Result = "damaged"    // it is not, or the file cannot be read, or lies in another place
	Differs   Result = "differs"    // another file has the same fragment with other bytes
	Leftover  Result = "leftover"   // it is no file of the archive: one that is not complete, or that somebody has renamed
	InRemoval Result = "in-removal" // retention has deleted it, and removes it soon
)

// Checked is a file that Verify has looked at.
type Checked struct {
	Path   string // below the directory of the archive
	Size   int64
	Result Result
	Cause  error // of Damaged and Differs
}

// Verify reads the files of an archive and compares them with their sums. Files of which a
// fragment differs come after those of their series, and behind them init segments that are not
// those that the files need. A damaged file is told whatever the selection's times are, since
// its own cannot be read. An error is the last element: those of the file system, and of ctx.
func (d Dir) Verify(ctx context.Context, s Selection) iter.Seq2[Checked, error] {
	return func(yield func(Checked, error) bool) {
		all, err := d.Series(ctx)
		if err != nil {
			yield(Checked{}, err)
			return
		}
		for _, series := range all {
			if !s.series(series) {
				continue
			}
			files, others, err := d.scan(ctx, series)
			if err != nil {
				yield(Checked{}, err)
				return
			}
			for _, p := range others {
				if !yield(Checked{Path: p.path, Size: p.size, Result: Leftover}, nil) {
					return
				}
			}
			if !d.verify(ctx, files, &s, yield) {
				return
			}
		}
	}
}

// verify verifies the files of a series, which are in order.
func (d Dir) verify(ctx context.Context, files []stored, s *Selection, yield func(Checked, error) bool) bool {
	var before []sums // of the files that may overlap the next one
	needed := inits{}
	for i := range files {
		f := &files[i]
		if !f.hidden.IsZero() {
			if !yield(Checked{Path: f.path(), Size: f.Size, Result: InRemoval}, nil) {
				return false
			}
			continue
		}
		got, err := d.sums(ctx, f, s)
		if err == nil && got.file == nil || errors.Is(err, fs.ErrNotExist) {
			continue // not selected, or removed meanwhile
		}
		c := Checked{Path: f.path(), Size: f.Size, Result: Intact}
		if err == nil {
			err = errors.Join(got.file.Verify(ctx), needed.add(f.Series, got.file.box))
			_ = got.file.Close() // it was only read
		}
		if ctx.Err() != nil {
			return yield(Checked{}, ctx.Err()) && false
		}
		before = slices.DeleteFunc(before, func(b sums) bool { return b.last < f.First })
		switch {
		case err != nil:
			c.Result, c.Cause = Damaged, err
		default:
			for _, b := range before {
				if cause := b.differ(&got); cause != nil {
					c.Result, c.Cause = Differs, cause
				}
			}
			before = append(before, got)
		}
		if !yield(c, nil) {
			return false
		}
	}
	for _, at := range slices.Sorted(maps.Keys(needed)) {
		err := d.checkInit(ctx, at, needed[at])
		switch {
		case ctx.Err() != nil:
			return yield(Checked{}, ctx.Err()) && false
		case err == nil:
			continue
		}
		if !yield(Checked{Path: at, Result: Damaged, Cause: fmt.Errorf("%w: \"framelog archive reindex\" writes it", err)}, nil) {
			return false
		}
	}
	return true
}

// sums are those of the segments of a file; of a gap nil.
type sums struct {
	file  *File
	path  string
	muxer string
	last  uint64
	of    map[uint64][]byte
}

// sums opens a file, and reads the sums in its last box. Of a file that is not selected it
// returns none.
func (d Dir) sums(ctx context.Context, f *stored, s *Selection) (sums, error) {
	file, err := d.Open(ctx, f.Kept)
	if err != nil {
		return sums{}, err
	}
	if err := f.check(file); err != nil {
		return sums{}, closed(file, err)
	}
	if !s.within(spanOf(file.Entries)) {
		return sums{}, closed(file, nil)
	}
	got := sums{file: file, path: f.Path(), muxer: file.Muxer, last: f.Last, of: map[uint64][]byte{}}
	for i := range file.Entries {
		for e := range file.Entries[i].Expand() {
			got.of[e.Seq] = file.box.Entries[i].Sum
		}
	}
	return got, nil
}

func closed(f *File, err error) error {
	_ = f.Close() // it was only read
	return err
}

// check returns an error if an open file is another one than its place says.
func (k *Kept) check(f *File) error {
	first, last := &f.Entries[0], &f.Entries[len(f.Entries)-1]
	is := Kept{Series: Series{first.Life, f.Topic}, First: first.Seq, Last: last.LastSeq()}
	if is.Path() != k.Path() {
		return fmt.Errorf("archive: it is the file %s", is.Path())
	}
	return nil
}

// differ returns an error that tells the first fragment that two files have with different
// bytes. Files of different muxers are not compared.
func (s *sums) differ(other *sums) error {
	if s.muxer != other.muxer {
		return nil
	}
	var different []uint64
	for seq, sum := range other.of {
		if mine, both := s.of[seq]; both && !bytes.Equal(mine, sum) {
			different = append(different, seq)
		}
	}
	if len(different) == 0 {
		return nil
	}
	return fmt.Errorf("archive: fragment %d is another one than in %s", slices.Min(different), s.path)
}

// Footage is what an archive has of a series.
type Footage struct {
	Series
	From, To time.Time // public time of the first and the last file that can be read; zero: none can
	Files    int
	Bytes    int64
}

// Footage returns what there is of each series that is wanted. nil: all are. It reads two files
// of each. Errors: those of the file system; ctx.
func (d Dir) Footage(ctx context.Context, want func(Series) bool) ([]Footage, error) {
	series, err := d.Series(ctx)
	if err != nil {
		return nil, err
	}
	var all []Footage
	for _, s := range series {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if want != nil && !want(s) {
			continue
		}
		files, err := d.Files(ctx, s)
		if err != nil {
			return nil, err
		}
		f := Footage{Series: s, Files: len(files)}
		for _, k := range files {
			f.Bytes += k.Size
		}
		f.From = d.firstSpan(ctx, slices.Values(files)).from
		f.To = d.firstSpan(ctx, func(yield func(Kept) bool) {
			for _, k := range slices.Backward(files) {
				if !yield(k) {
					return
				}
			}
		}).to
		all = append(all, f)
	}
	return all, nil
}

// firstSpan returns the times of the first file that can be read; zero if there is none.
func (d Dir) firstSpan(ctx context.Context, files iter.Seq[Kept]) span {
	for k := range files {
		if t, err := d.span(ctx, k.Path()); err == nil {
			return t
		}
	}
	return span{}
}

// Listed is a file that a selection has.
type Listed struct {
	Kept
	From, To time.Time // public time of its footage
}

// maxStepBack is the most by which public time may step back from one session to a later one, so that
// Select finds all files: a host whose clock was set to another time zone.
const maxStepBack = 24 * time.Hour

// Select yields the files of a selection, those of a series by their first seq. It reads the last
// boxes of those that are near its times. Files that cannot be read are left out: Verify tells
// them. An error is the last element: those of the store; ctx's.
func (d Dir) Select(ctx context.Context, s Selection) iter.Seq2[Listed, error] {
	return func(yield func(Listed, error) bool) {
		all, err := d.Series(ctx)
		if err != nil {
			yield(Listed{}, err)
			return
		}
		set := NewSet(d, nil, nil)
		for _, of := range all {
			if s.series(of) && !set.selected(ctx, of, &s, yield) {
				return
			}
		}
	}
}

// selected yields the files of one series. It returns false if that was the end.
func (s *Set) selected(ctx context.Context, of Series, sel *Selection, yield func(Listed, error) bool) bool {
	files, err := s.dir.Files(ctx, of)
	if err != nil {
		return yield(Listed{}, err) && false
	}
	l, err := s.lists.of(ctx, of)
	var first int
	if err == nil {
		first, err = s.first(ctx, of, l, medialog.Range{From: sel.From})
	}
	if err != nil {
		return yield(Listed{}, err) && false
	}
	for _, k := range files {
		if first < len(l.files) && k.First < l.files[first].first {
			continue
		}
		box, err := s.box(ctx, k)
		switch {
		case missing(err):
			continue
		case err != nil:
			return yield(Listed{}, err) && false
		}
		times := spanOf(box.decoded)
		if !sel.To.IsZero() && times.from.After(sel.To.Add(maxStepBack)) {
			break
		}
		if sel.within(times) && !yield(Listed{k, times.from, times.to}, nil) {
			return false
		}
	}
	return true
}
