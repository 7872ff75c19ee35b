package processors

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"sync"
	"time"

	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
)

// errAborted ends a job whose seq gets no entry.
var errAborted = errors.New("the input has no entry of the fragment")

// job is the work on one seq: attempts, until each output has its entry.
type job struct {
	c     *camera
	seq   uint64
	alone bool // it may have killed processes: it is tried alone
	// keyframe: the processor is behind, and gets only the first picture. It is of the
	// job's goroutine.
	keyframe bool
	// What became of it, for a report. It is valid when the job is finished.
	made    map[string]schemas.Entry // by output
	events  []schemas.Event
	failure *attemptError   // all attempts have failed
	took    time.Duration   // of the last attempt
	turn    <-chan struct{} // closed when the job may begin; nil: it may
	before  <-chan struct{} // closed when the job before is finished; nil: there is none
	done    chan struct{}   // closed when the job is finished

	mu  sync.Mutex
	src *arriving      // the copy that is worked on; nil: the entry is a gap, and no chunk came ahead of it
	gap *schemas.Entry // the input's entry, if it is a gap
}

func (j *job) isDone() bool {
	select {
	case <-j.done:
		return true
	default:
		return false
	}
}

// wait waits until the job is finished. If it fails, ctx ends, and wait returns its error.
func (j *job) wait(ctx context.Context) error {
	if err := wait(ctx, j.done); err != nil {
		return err
	}
	return ctx.Err()
}

// wait waits until ch is closed. A nil ch is closed.
func wait(ctx context.Context, ch <-chan struct{}) error {
	if ch == nil {
		return ctx.Err()
	}
	select {
	case <-ch:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (j *job) source() (src *arriving, gap *schemas.Entry) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.src, j.gap
}

func (j *job) held() int64 {
	if src, _ := j.source(); src != nil {
		return src.size()
	}
	return 0
}

// takeChunk takes a chunk that came ahead of the entry. A chunk 0 of another copy begins
// that copy: the one so far is void.
func (j *job) takeChunk(chunk *schemas.Chunk) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.src.epoch != chunk.Epoch {
		if chunk.Index > 0 {
			return
		}
		j.src.fail(ErrSourceChanged)
		j.src = newArriving(chunk.Epoch, chunk.MediaStart(), j.c.load)
	}
	j.src.add(chunk)
}

// takeEntry takes the entry.
func (j *job) takeEntry(e schemas.Entry) {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case e.Kind == schemas.KindGap:
		j.gap = &e
		if j.src != nil {
			j.src.fail(ErrSourceChanged)
		}
	case j.src == nil || !j.src.enter(e):
		j.src = newArriving(e.Epoch, e.Media, j.c.load)
		j.src.enter(e)
	}
}

// abort ends the job without an entry.
func (j *job) abort() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.src.fail(errAborted)
}

// release frees the fragment.
func (j *job) release() {
	if src, _ := j.source(); src != nil {
		src.release()
	}
}

// run is the job's goroutine.
func (j *job) run(ctx context.Context) {
	defer close(j.done)
	err := wait(ctx, j.turn)
	if err == nil {
		err = j.work(ctx)
	}
	defer j.release()
	switch {
	case err == nil:
		j.c.passed(j.known())
	case !errors.Is(err, errAborted):
		j.c.cancel(err)
	}
}

// work gives the seq its entry in each output.
func (j *job) work(ctx context.Context) error {
	c := j.c
	defer c.began()()
	if done, err := j.behind(ctx); done || err != nil {
		return err
	}
	redriven, unavailable := 0, 0 // how often it has failed since it is redriven; could not be tried
	for {
		src, gap := j.source()
		if gap != nil {
			return c.gap(ctx, resultGap, "", *gap)
		}
		result, err := j.try(ctx, src)
		failure, failed := errors.AsType[*attemptError](err)
		switch {
		case failed:
			n := failure.failures
			if c.redrive {
				redriven++
				n = redriven
			}
			if n >= c.r.p.Attempts {
				return j.deadLetter(ctx, failure)
			}
			err = pause(ctx, backoff(j.seq, n))
		case errors.Is(err, ErrSourceChanged), errors.Is(err, errAlone):
			err = nil
		case errors.Is(err, ErrUnavailable):
			unavailable++
			d := backoff(j.seq, unavailable)
			c.log.Warn("the processor cannot work now; the fragment waits", "seq", j.seq, "again", d, "err", err)
			err = pause(ctx, d)
		case errors.Is(err, medialog.ErrExpired):
			e, err := j.entry(ctx)
			if err != nil {
				return err
			}
			return c.gap(ctx, resultExpired, schemas.ReasonExpired, e)
		case err == nil:
			c.finished(result, 1)
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// entry waits for the entry of the seq.
func (j *job) entry(ctx context.Context) (schemas.Entry, error) {
	for {
		src, gap := j.source()
		if gap != nil {
			return *gap, nil
		}
		if e := src.known(); e != nil {
			return *e, nil
		}
		if e, err := src.entry(ctx); !errors.Is(err, ErrSourceChanged) {
			return e, err
		}
	}
}

// known returns the entry of the seq, nil if it has not come yet.
func (j *job) known() *schemas.Entry {
	src, gap := j.source()
	if gap != nil {
		return gap
	}
	return src.known()
}

// media returns the media time at which the fragment begins.
func (j *job) media() int64 {
	if e := j.known(); e != nil {
		return e.Media
	}
	src, _ := j.source()
	return src.start
}

// The pause before the next attempt doubles with each failure, up to maxBackoff.
const (
	minBackoff = 500 * time.Millisecond
	maxBackoff = 30 * time.Second
)

// backoff returns the pause after the n-th failure. It depends on seq, so that the cameras
// of a processor whose service is away do not try again all at once; and on nothing else,
// so that a test can repeat it.
func backoff(seq uint64, n int) time.Duration {
	h := fnv.New32a()
	fmt.Fprintf(h, "%d/%d", seq, n)
	d := min(minBackoff<<min(n-1, 16), maxBackoff)
	return d/2 + d*time.Duration(h.Sum32()%1000)/2000
}
