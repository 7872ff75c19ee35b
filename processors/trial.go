package processors

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
)

// trial is one attempt at a fragment, for all outputs that do not have it yet.
type trial struct {
	job      *job
	src      *arriving
	works    map[string]*medialog.Work // by output
	failures int                       // attempts that have failed before
}

// try makes one attempt. It returns what became of the fragment if each output has its
// entry. Errors: *attemptError; ErrSourceChanged and errAlone, after which it has to be
// called again; those of the store and of the followers.
func (j *job) try(ctx context.Context, src *arriving) (result string, err error) {
	first, err := src.chunk(ctx, 0)
	if err != nil {
		return "", err
	}
	t := &trial{job: j, src: src, works: map[string]*medialog.Work{}}
	if err := t.exhausted(); err != nil {
		return "", err
	}
	var alone *pass
	if j.alone {
		if alone, err = t.enterAlone(ctx); err != nil {
			return "", t.judge(ctx, err)
		}
		defer alone.leave()
	}
	defer t.drop()
	if err := t.begin(ctx, first); err != nil {
		return "", t.judge(ctx, err)
	}
	if len(t.works) == 0 {
		return resultProcessed, nil // another process has finished it
	}
	if err := t.exhausted(); err != nil {
		return "", err
	}
	out, err := t.call(ctx, first, alone)
	if err == nil {
		result, err = t.publish(ctx, out)
	}
	return result, t.judge(ctx, err)
}

// exhausted returns an error if the fragment has failed often enough, perhaps in another
// process.
func (t *trial) exhausted() error {
	killed := false
	for _, o := range t.job.c.outputs {
		if next, failures := o.follower.Next(); next == t.job.seq {
			t.failures = max(t.failures, int(failures))
			killed = killed || o.follower.Killed()
		}
	}
	if t.job.c.redrive || t.failures < t.job.c.r.p.Attempts {
		return nil
	}
	why := "all attempts have failed; the logs of the processes have the errors"
	if killed {
		why = "the process ended while it worked on this fragment alone"
	}
	return &attemptError{err: errors.New(why), failures: t.failures, killed: killed}
}

// enterAlone waits until the fragment is complete and nothing else runs in this process,
// and tells the log.
func (t *trial) enterAlone(ctx context.Context) (*pass, error) {
	if _, err := t.src.entry(ctx); err != nil {
		return nil, err
	}
	p, err := t.job.c.r.attempts.gate.enter(ctx, true)
	if err != nil {
		return nil, err
	}
	for _, o := range t.job.c.outputs {
		if next, _ := o.follower.Next(); next != t.job.seq {
			continue
		}
		if err := o.follower.Alone(ctx); err != nil {
			p.leave()
			return nil, err
		}
	}
	t.job.c.log.Warn("a fragment is tried alone: processes ended that worked on it", "seq", t.job.seq)
	return p, nil
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
		t.failures = max(t.failures, int(w.Failures()))
	}
	return nil
}

// call calls the function.
func (t *trial) call(ctx context.Context, first *schemas.Chunk, alone *pass) (*Output, error) {
	j, r := t.job, t.job.c.r
	in := newFragment(j.c.id, r.p.Input, j.c.outputs[0].follower.Life(), first, t.src.source())
	in.Attempt = t.failures + 1
	if e := t.src.known(); e != nil && j.keyframe {
		in.KeyframeOnly, in.source = true, t.src.keyframe(e.Duration)
	}
	out := newOutput(in, r.p.Outputs, t.sinks())
	began := time.Now()
	err := r.attempts.run(ctx, attempt{in: in, out: out, src: t.src, alone: alone, hang: func() { t.hang(in) }})
	j.took = time.Since(began)
	r.metrics.workSeconds.Observe(j.took.Seconds())
	return out, err
}

// hang counts a failed attempt and ends the process: the function does not return.
func (t *trial) hang(in *Fragment) {
	t.job.c.log.Error("the function has not returned after its context ended; the process ends",
		"seq", in.Seq, "attempt", in.Attempt, "waited", t.job.c.r.p.HangTimeout)
	ctx, cancel := context.WithTimeout(context.Background(), hangWait)
	defer cancel()
	for _, w := range t.works {
		if _, err := w.Fail(ctx); err != nil {
			t.job.c.log.Error("the failed attempt is not in the log", "seq", in.Seq, "err", err)
		}
	}
	t.job.c.r.exit(1)
}

// hangWait is how long a process that ends because a function hangs waits until the log
// has the failed attempt.
const hangWait = 3 * time.Second

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
func (t *trial) publish(ctx context.Context, out *Output) (result string, err error) {
	e, err := t.src.entry(ctx)
	if err != nil {
		return "", err
	}
	if err := out.finish(ctx, e); err != nil {
		return "", err
	}
	result = resultFiltered
	for _, o := range t.job.c.outputs {
		w := t.works[o.Name]
		if w == nil {
			continue
		}
		filtered := !out.has(o.Name)
		made, err := w.Commit(ctx, e, medialog.Output{Used: t.src.usedOf(e), Filtered: filtered, Note: out.note(o.Name)})
		if err != nil && !errors.Is(err, medialog.ErrDone) {
			return "", err
		}
		t.job.made[o.Name] = made
		if !filtered {
			result = resultProcessed
		}
	}
	t.job.events = out.events
	return result, nil
}

// judge returns err, or what is behind it. If the attempt has failed, it counts and logs
// that.
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
	case ok:
	case errors.Is(err, medialog.ErrRefused), errors.Is(err, errData):
		failure = &attemptError{err: err}
	default:
		return err
	}
	return t.failed(ctx, failure)
}

// failed counts and logs a failed attempt.
func (t *trial) failed(ctx context.Context, failure *attemptError) error {
	failure.failures = t.failures + 1
	for _, w := range t.works {
		n, err := w.Fail(ctx)
		if err != nil {
			return err
		}
		failure.failures = max(failure.failures, int(n))
	}
	c := t.job.c
	c.r.metrics.failedAttempts.WithLabelValues(c.id).Inc()
	args := []any{"seq", t.job.seq, "attempt", failure.failures, "of", c.r.p.Attempts, "err", failure.err}
	if failure.stack != nil {
		args = append(args, "stack", string(failure.stack))
	}
	c.log.Warn("an attempt at a fragment has failed", args...)
	return failure
}
