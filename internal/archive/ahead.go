package archive

import (
	"context"
	"runtime"
	"sort"

	"golang.org/x/sync/errgroup"

	"github.com/framelog/framelog/internal/medialog"
)

// maxAhead is how many last boxes are read ahead: all at once from a store that takes long for each,
// else as many at once as there are cores.
const maxAhead = 32

// ahead reads the last boxes of files before they are needed: one first, then twice as many each
// time. From the second time on it reads the next ones while its user works. One goroutine uses it.
type ahead struct {
	s     *Set
	of    Series
	files []numbers
	done  int           // files before this one are in memory, or could not be read
	n     int           // that are read next
	begun int           // files before this one are being read
	read  chan struct{} // closed when they are; nil: nothing is being read
}

// upTo returns the files before a seq, and of a range by seq one behind it.
func upTo(files []numbers, r medialog.Range, end uint64) []numbers {
	n := sort.Search(len(files), func(i int) bool { return files[i].first >= end })
	if r.ToSeq != 0 {
		n = min(n, 1+sort.Search(len(files), func(i int) bool { return files[i].first > r.ToSeq }))
	}
	return files[:n]
}

// need is called before the last box of file i is needed.
func (a *ahead) need(ctx context.Context, i int) {
	if i < a.done || i >= len(a.files) {
		return
	}
	for a.wait(); i >= a.done; a.wait() {
		a.begin(ctx, i)
	}
	if a.n > 2 {
		a.begin(ctx, a.done)
	}
}

// wait waits for what is being read.
func (a *ahead) wait() {
	if a.read != nil {
		<-a.read
		a.done, a.read = a.begun, nil
	}
}

// begin begins to read files from i on.
func (a *ahead) begin(ctx context.Context, i int) {
	a.begun, a.read = min(i+a.n, len(a.files)), make(chan struct{})
	a.n = min(2*a.n, maxAhead)
	files, done := a.files[i:a.begun], a.read
	if len(files) < 2 { // there is nothing to do at once
		close(done)
		return
	}
	go func() {
		defer close(done)
		var g errgroup.Group
		if a.s.dir.onDisk() {
			g.SetLimit(runtime.GOMAXPROCS(0))
		}
		for _, q := range files {
			if ctx.Err() != nil {
				break // its user has stopped
			}
			if !a.s.boxes.Contains(a.of.kept(q).Path()) {
				g.Go(func() error {
					_, _ = a.s.box(ctx, a.of.kept(q)) // who needs it tells the error
					return nil
				})
			}
		}
		_ = g.Wait() // it never fails
	}()
}
