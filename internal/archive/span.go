package archive

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

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

// span reads the last box of a file.
func (d Dir) span(ctx context.Context, path string) (span, error) {
	f, err := d.open(ctx, path)
	if err != nil {
		return span{}, err
	}
	defer f.Close()
	return spanOf(f.Entries), nil
}

const (
	// spanReads is how many files are read at once for their times.
	spanReads = 8
	// spanPatience is after how long without a read that works a look reads no more.
	spanPatience = time.Minute
	// spanBudget is for how long a look reads. The next look goes on.
	spanBudget = 5 * time.Minute
)

// spans reads the public times of files, and remembers them while the files exist. Public time may
// step back from one session to the next by any amount: a host without a clock of its own begins
// years ago. So only the file itself tells its times, and not its neighbours. It is for one goroutine.
type spans struct {
	dir     Dir
	known   map[Series]map[numbers]micros // about 50 bytes a file
	failed  map[Series]map[numbers]bool   // what could not be read in this look
	reading time.Duration                 // in this look
	budget  time.Duration                 // default spanBudget
	until   time.Time                     // this look begins no read after it
	failure error                         // the last of this look
}

// micros is a span in Unix microseconds. It is not shorter than the span.
type micros struct{ from, to int64 }

func (s span) micros() micros {
	return micros{s.from.UnixMicro(), s.to.Add(time.Microsecond - 1).UnixMicro()}
}

// begin begins a look at the archive. It forgets files that do not exist any more, and which files could not
// be read.
func (s *spans) begin(all []scanned) {
	s.failed, s.reading, s.failure = map[Series]map[numbers]bool{}, 0, nil
	s.until = time.Now().Add(cmp.Or(s.budget, spanBudget))
	before := s.known
	s.known = map[Series]map[numbers]micros{}
	for i := range all {
		known := before[all[i].Series]
		if known == nil {
			known = map[numbers]micros{}
		}
		for q := range known {
			if _, exists := slices.BinarySearchFunc(all[i].files, q, func(f stored, q numbers) int { return f.numbers().compare(q) }); !exists {
				delete(known, q)
			}
		}
		s.known[all[i].Series], s.failed[all[i].Series] = known, map[numbers]bool{}
	}
}

// of returns the times of a file. ok is false if they are not known.
func (s *spans) of(f *stored) (t span, ok bool) {
	m, ok := s.known[f.Series][f.numbers()]
	return span{time.UnixMicro(m.from), time.UnixMicro(m.to)}, ok
}

// read reads the times of those files of a series that are not known yet, as far as a look may read. A file that
// could not be read in this look is not tried again. Error: ctx's.
func (s *spans) read(ctx context.Context, of Series, files []stored) error {
	began := time.Now()
	defer func() { s.reading += time.Since(began) }()
	known, failed := s.known[of], s.failed[of]
	var unknown []*stored
	for i := range files {
		q := files[i].numbers()
		if _, ok := known[q]; !ok && !failed[q] {
			unknown = append(unknown, &files[i])
		}
	}
	var mu sync.Mutex // of known, failed, failure, until and worked
	worked := began
	mayRead := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return ctx.Err() == nil && time.Now().Before(s.until)
	}
	var reads errgroup.Group
	reads.SetLimit(spanReads)
	for _, f := range unknown {
		reads.Go(func() error {
			if !mayRead() {
				return nil
			}
			t, err := s.dir.span(ctx, f.path())
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				known[f.numbers()], worked = t.micros(), time.Now()
				return nil
			}
			failed[f.numbers()], s.failure = true, err
			if now := time.Now(); now.Sub(worked) >= spanPatience {
				s.until = now
			}
			return nil
		})
	}
	_ = reads.Wait()
	return ctx.Err()
}

// hold marks the files of a series that a hold touches. It reads nothing: those whose times are not known are
// unsure.
func (s *spans) hold(files []stored, holds []Hold) {
	if len(holds) == 0 {
		return
	}
	for i := range files {
		t, ok := s.of(&files[i])
		touched := ok && slices.ContainsFunc(holds, func(h Hold) bool { return h.touches(t.from, t.to) })
		files[i].held, files[i].unsure = files[i].held || touched, files[i].unsure || !ok
	}
}
