package processors

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
)

// errAborted ends a job whose seq gets no entry.
var errAborted = errors.New("the input has no entry of the fragment")

// job is the work on one seq: attempts, until each output has its entry.
type job struct {
	c      *camera
	seq    uint64
	turn   <-chan struct{} // closed when the job may begin; nil: it may
	before <-chan struct{} // closed when the job before is finished; nil: there is none
	done   chan struct{}   // closed when the job is finished

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

// wait waits until the job is finished.
func (j *job) wait(ctx context.Context) error { return wait(ctx, j.done) }

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
func (j *job) takeChunk(chunk *schemas.Chunk, load func(*arriving, schemas.Entry)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.src.epoch != chunk.Epoch {
		if chunk.Index > 0 {
			return
		}
		j.src.fail(ErrSourceChanged)
		j.src = newArriving(chunk.Epoch, load)
	}
	j.src.add(chunk)
}

// takeEntry takes the entry.
func (j *job) takeEntry(e schemas.Entry, load func(*arriving, schemas.Entry)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case e.Kind == schemas.KindGap:
		j.gap = &e
		if j.src != nil {
			j.src.fail(ErrSourceChanged)
		}
	case j.src == nil || !j.src.enter(e):
		j.src = newArriving(e.Epoch, load)
		j.src.enter(e)
	}
}

// abort ends the job without an entry.
func (j *job) abort() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.src.fail(errAborted)
}

// run is the job's goroutine.
func (j *job) run(ctx context.Context) {
	defer close(j.done)
	err := wait(ctx, j.turn)
	if err == nil {
		err = j.work(ctx)
	}
	if err != nil && !errors.Is(err, errAborted) {
		j.c.fail(err)
	}
}

// work gives the seq its entry in each output.
func (j *job) work(ctx context.Context) error {
	for {
		src, gap := j.source()
		if gap != nil {
			return j.c.gaps(ctx, "", *gap)
		}
		err := j.try(ctx, src)
		failure, failed := errors.AsType[*attemptError](err)
		switch {
		case failed:
			if err := j.retry(ctx, failure); err != nil {
				return err
			}
		case errors.Is(err, ErrSourceChanged), errors.Is(err, errAlone):
		case errors.Is(err, medialog.ErrExpired):
			e, err := j.entry(ctx)
			if err != nil {
				return err
			}
			return j.c.gaps(ctx, schemas.ReasonExpired, e)
		default:
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

// try is one attempt. It returns nil if each output has its entry. Errors: those of
// attempts.run, of the store, and of the followers.
func (j *job) try(ctx context.Context, src *arriving) error {
	first, err := src.chunk(ctx, 0)
	if err != nil {
		return err
	}
	t := &trial{job: j, src: src, works: map[string]*medialog.Work{}}
	defer t.drop()
	if err := t.begin(ctx, first); err != nil {
		return t.judge(ctx, err)
	}
	if len(t.works) == 0 {
		return nil
	}
	in := newFragment(j.c.id, j.c.r.p.Input, j.c.outputs[0].follower.Life(), first, src)
	in.Attempt = int(t.failures) + 1
	out := newOutput(in, j.c.r.p.Outputs, t.sinks())
	err = j.c.r.attempts.run(ctx, in, out, src, false)
	if err == nil {
		err = t.publish(ctx, out)
	}
	return t.judge(ctx, err)
}

// retry logs a failure and waits until the next attempt.
func (j *job) retry(ctx context.Context, f *attemptError) error {
	j.c.log.Warn("attempt failed", "seq", j.seq, "err", f)
	return pause(ctx, time.Second)
}

// trial is one attempt at a fragment, for all outputs that do not have it yet.
type trial struct {
	job      *job
	src      *arriving
	works    map[string]*medialog.Work // by output
	failures uint32
}

// begin begins the work in each output that does not have the fragment yet.
func (t *trial) begin(ctx context.Context, first *schemas.Chunk) error {
	for _, o := range t.job.c.outputs {
		w, err := o.follower.Begin(ctx, first)
		switch {
		case errors.Is(err, medialog.ErrDone):
			continue
		case err != nil:
			return err
		}
		t.works[o.Name] = w
		t.failures = max(t.failures, w.Failures())
	}
	for _, w := range t.works {
		if err := w.Started(ctx); err != nil {
			return err
		}
	}
	return nil
}

// drop ends the works that have not ended.
func (t *trial) drop() {
	for _, w := range t.works {
		w.Drop()
	}
}

func (t *trial) sinks() map[string]sink {
	sinks := map[string]sink{}
	for _, o := range t.job.c.outputs {
		sinks[o.Name] = workSink{t.works[o.Name]}
	}
	return sinks
}

// workSink gives chunks to a follower. Without a work it drops them: the output has the
// fragment already.
type workSink struct{ work *medialog.Work }

func (s workSink) Write(ctx context.Context, c *schemas.Chunk) error {
	if s.work == nil {
		return nil
	}
	defer pauseClock(ctx)()
	return s.work.Write(ctx, c)
}

// publish ends the works with their entries.
func (t *trial) publish(ctx context.Context, out *Output) error {
	e, err := t.src.entry(ctx)
	if err != nil {
		return err
	}
	for _, o := range t.job.c.outputs {
		w := t.works[o.Name]
		if w == nil {
			continue
		}
		if o.Role == schemas.RoleData {
			if err := out.WriteTo(ctx, o.Name, out.dataChunk(e)); err != nil {
				return err
			}
		}
		_, err := w.Commit(ctx, e, medialog.Output{Used: t.src.usedOf(e), Filtered: !out.has(o.Name), Note: out.note(o.Name)})
		if err != nil && !errors.Is(err, medialog.ErrDone) {
			return err
		}
	}
	return nil
}

// judge returns err, or what is behind it. If the attempt has failed, it counts this.
func (t *trial) judge(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, medialog.ErrSourceChanged), errors.Is(err, medialog.ErrDone):
		return fmt.Errorf("%w: %w", ErrSourceChanged, err)
	}
	for _, o := range t.job.c.outputs {
		if err := o.follower.Err(); err != nil {
			return err
		}
	}
	failure, ok := errors.AsType[*attemptError](err)
	switch {
	case errors.Is(err, medialog.ErrRefused):
		failure = &attemptError{err: err}
	case !ok:
		return err
	}
	for _, w := range t.works {
		if _, err := w.Fail(ctx); err != nil {
			return err
		}
	}
	return failure
}
