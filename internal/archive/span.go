package archive

import (
	"context"
	"sort"
	"time"

	"github.com/framelog/framelog/schemas"
)

// span is the public time of a file's footage.
type span struct{ from, to time.Time }

// spanOf returns the public time of the entries of a file: from the least start to the greatest end.
// They need not be in the order of their times. The gaps behind the last fragment may be of a later
// session, and the clock may have stepped back before it.
func spanOf(entries []schemas.Entry) span {
	s := span{entries[0].Start, entries[0].End()}
	for i := range entries[1:] {
		e := &entries[1+i]
		if e.Start.Before(s.from) {
			s.from = e.Start
		}
		if end := e.End(); end.After(s.to) {
			s.to = end
		}
	}
	return s
}

// spans reads the public times of files, and remembers them. It is for one goroutine.
type spans struct {
	dir    Dir
	seen   map[string]span  // by path
	failed map[string]error // by path, in this look at the archive
}

// begin forgets which files could not be read.
func (s *spans) begin() { s.failed = map[string]error{} }

// maxSpans is how many files are remembered: about 200 bytes each. When there are more, all are
// read again.
const maxSpans = 50_000

// of returns the times of a file. Errors: those of Open.
func (s *spans) of(ctx context.Context, f *stored) (span, error) {
	path := f.path()
	if t, ok := s.seen[path]; ok {
		return t, nil
	}
	if err := s.failed[path]; err != nil {
		return span{}, err
	}
	t, err := s.dir.span(ctx, path)
	if err != nil {
		s.failed[path] = err
		return t, err
	}
	if s.seen == nil || len(s.seen) >= maxSpans {
		s.seen = map[string]span{}
	}
	s.seen[path] = t
	return t, nil
}

// span reads the last box of a file.
func (d Dir) span(ctx context.Context, path string) (span, error) {
	f, err := d.open(ctx, path)
	if err != nil {
		return span{}, err
	}
	defer f.Close()
	return spanOf(f.Entries), nil
}

// maxStepBack is the most by which public time steps back from one session to a later one: a
// host whose clock was set to another time zone.
const maxStepBack = 24 * time.Hour

// hold marks the files that a hold touches. files are those of one series, by their first seq.
// A file whose times cannot be read is marked if it may be in the range.
//
// A file that ends more than maxStepBack before the hold tells that all files before it do not
// touch the hold; one that begins that long after it tells so of all behind it. So only
// files near the hold are read.
func (s *spans) hold(ctx context.Context, files []stored, h *Hold) {
	first := sort.Search(len(files), func(i int) bool {
		t, ok := s.upTo(ctx, files, i)
		return !ok || !t.to.Before(h.From.Add(-holdLead-maxStepBack))
	})
	for first > 0 && !s.readable(ctx, &files[first-1]) {
		first--
	}
	end := sort.Search(len(files), func(i int) bool {
		t, ok := s.upTo(ctx, files, i)
		return ok && !t.from.Before(h.To.Add(maxStepBack))
	})
	for i := first; i < end; i++ {
		t, err := s.of(ctx, &files[i])
		files[i].held = files[i].held || err != nil || h.touches(t.from, t.to)
	}
}

// upTo returns the times of file i, or of the nearest before it that can be read. ok is false
// if there is none.
func (s *spans) upTo(ctx context.Context, files []stored, i int) (t span, ok bool) {
	for ; i >= 0; i-- {
		if t, err := s.of(ctx, &files[i]); err == nil {
			return t, true
		}
	}
	return span{}, false
}

func (s *spans) readable(ctx context.Context, f *stored) bool {
	_, err := s.of(ctx, f)
	return err == nil
}
