package processors

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
)

// Backfill is a range of the past that a processor works on, instead of what its group
// works on.
type Backfill struct {
	// Cameras are ids of cameras. Default: all that have footage, and that
	// Processor.Cameras admits.
	Cameras []string
	// From and To limit the footage, by public time: what overlaps [From, To). A time
	// that is zero is no limit.
	From, To time.Time
	// DryRun: nothing is published. Report tells what would be.
	DryRun bool
	// Suffix stands behind the name of each output. Default: none. The processor's group
	// must not write a rendition of that name.
	Suffix string
	// Report is called for each fragment that is done, in order, from one goroutine.
	// Default: nobody is told.
	Report func(Progress)
}

// Progress tells what a processor made of a fragment, or would make of it.
type Progress struct {
	Camera      string
	Done, Total int // fragments of this camera
	Seq         uint64
	Start       time.Time
	Duration    time.Duration
	Took        time.Duration    // of the last attempt
	Bytes       map[string]int64 // by rendition; one that is missing gets a gap
	Events      []schemas.Event
	Err         error // why all attempts have failed; nil: they have not
}

// These stand behind the processor's name in the `open`s of a backfill and of what is
// redriven, so that these and the group never write the same rendition.
const (
	backfillMark = "/backfill"
	redriveMark  = "/redrive"
)

// Backfill works on a range of the past, one camera after the other, until the range ends
// or ctx. Without DryRun it writes renditions of its own, in order; called again, it goes
// on behind their newest entries. At its end it calls Processor.Close. A fragment at which all attempts fail gets a gap; it does
// not become a dead letter. Errors: the group or another
// processor writes a rendition of that name; those of Kafka; ctx's.
func (r *Runner) Backfill(ctx context.Context, b Backfill) error {
	l, err := r.cfg.connect(r.p.Name, r.log, nil)
	if err != nil {
		return err
	}
	defer l.Close()
	defer r.closeProcessor()
	once, err := r.once(b.Suffix)
	if err != nil {
		return err
	}
	cameras, err := r.camerasOf(ctx, l, b.Cameras)
	if err != nil {
		return err
	}
	for _, camera := range cameras {
		f := &backfilling{b: b, c: newCamera(once, l, camera)}
		if err := f.run(ctx); err != nil {
			return fmt.Errorf("processor %q: backfill of %s: %w", r.p.Name, camera, err)
		}
	}
	return nil
}

// once returns a Runner for work without a group: lossless, without metrics. suffix stands
// behind the names of its outputs in the log; the function goes on to use the names without.
func (r *Runner) once(suffix string) (*Runner, error) {
	named := r.p
	named.Outputs = slices.Clone(r.p.Outputs)
	for i := range named.Outputs {
		named.Outputs[i].Name += suffix
	}
	if err := named.Validate(); err != nil {
		return nil, err
	}
	p := r.p
	p.Policy = Lossless
	o := &Runner{p: p, suffix: suffix, cfg: r.cfg, writer: r.writer, host: r.host, log: r.log, metrics: newMetrics(nil), offsets: newOffsets(), exit: r.exit}
	o.attempts = attempts{p: &o.p, gate: newGate()}
	return o, nil
}

// camerasOf returns the cameras of a backfill.
func (r *Runner) camerasOf(ctx context.Context, l *medialog.Log, ids []string) ([]string, error) {
	if len(ids) > 0 {
		return ids, nil
	}
	topics, err := l.Topics(ctx)
	if err != nil {
		return nil, fmt.Errorf("processor %q: %w", r.p.Name, err)
	}
	for _, t := range topics {
		if t.Name() == r.p.Input && r.p.matches(t.Camera) {
			ids = append(ids, t.Camera)
		}
	}
	slices.Sort(ids)
	return ids, nil
}

// backfilling is the backfill of one camera.
type backfilling struct {
	b       Backfill
	c       *camera
	entries []schemas.Entry
	done    int
}

func (f *backfilling) run(ctx context.Context) error {
	c := f.c
	for e, err := range c.in.Entries(ctx, c.input, medialog.Range{From: f.b.From, To: f.b.To}) {
		switch {
		case errors.Is(err, medialog.ErrNoTopic):
			return fmt.Errorf("it has no footage: %w", err)
		case err != nil:
			return err
		}
		f.entries = append(f.entries, e)
	}
	if len(f.entries) == 0 {
		return nil
	}
	if f.b.DryRun {
		return f.dryRun(ctx)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	c.setCancel(cancel)
	c.processor += backfillMark
	defer c.end(cancel)
	if err := c.open(ctx, nil); err != nil {
		return err
	}
	return c.ended(ctx, f.publish(ctx))
}

// publish gives each entry to a job, and reports the jobs in order.
func (f *backfilling) publish(ctx context.Context) error {
	c := f.c
	if err := c.begin(ctx, max(c.oldest(), f.entries[0].Seq)); err != nil {
		return err
	}
	reported := make(chan struct{})
	jobs := make(chan *job, c.window())
	go func() {
		defer close(reported)
		for j := range jobs {
			f.report(ctx, j)
		}
	}()
	err := f.feed(ctx, jobs)
	close(jobs)
	<-reported
	return err
}

func (f *backfilling) feed(ctx context.Context, jobs chan<- *job) error {
	for _, e := range f.entries {
		if e.Seq < f.c.next {
			f.done++
			continue
		}
		if err := f.c.takeEntry(ctx, e); err != nil {
			return err
		}
		if j := f.c.job(e.Seq); j != nil {
			select {
			case jobs <- j:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return f.c.drain(ctx)
}

func (f *backfilling) report(ctx context.Context, j *job) {
	if j.wait(ctx) != nil || f.b.Report == nil {
		return
	}
	e := j.known()
	f.done++
	p := f.progress(e, j.took)
	p.Events = j.events
	for name, made := range j.made {
		if made.Playable() {
			p.Bytes[name+f.b.Suffix] = made.Bytes
		}
	}
	if j.failure != nil {
		p.Err = j.failure
	}
	f.b.Report(p)
}

func (f *backfilling) progress(e *schemas.Entry, took time.Duration) Progress {
	return Progress{
		Camera: f.c.id, Done: f.done, Total: len(f.entries), Seq: e.Seq, Start: e.Start, Duration: schemas.FromTicks(e.Duration),
		Took: took, Bytes: map[string]int64{},
	}
}

// dryRun calls the function with each fragment and publishes nothing.
func (f *backfilling) dryRun(ctx context.Context) error {
	defer f.c.wg.Wait()
	for _, e := range f.entries {
		f.done++
		if err := f.dry(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

func (f *backfilling) dry(ctx context.Context, e schemas.Entry) error {
	began := time.Now()
	p := f.progress(&e, 0)
	if e.Playable() {
		ctx, cancel := context.WithCancel(ctx)
		result, err := f.collect(ctx, e)
		cancel()
		switch _, failed := errors.AsType[*attemptError](err); {
		case failed:
			p.Err = err
		case errors.Is(err, medialog.ErrExpired):
		case err != nil:
			return err
		default:
			p.Events = result.Events
			for name, chunks := range result.Chunks {
				for _, c := range chunks {
					p.Bytes[name+f.b.Suffix] += int64(c.Size())
				}
			}
		}
	}
	p.Took = time.Since(began)
	if f.b.Report != nil {
		f.b.Report(p)
	}
	return ctx.Err()
}

// collect processes a fragment and keeps the output.
func (f *backfilling) collect(ctx context.Context, e schemas.Entry) (*Result, error) {
	c := f.c
	src := newArriving(e.Epoch, e.Media, c.loader(ctx))
	src.enter(e)
	first, err := src.chunk(ctx, 0)
	if err != nil {
		return nil, err
	}
	in := newFragment(c.id, c.r.p.Input, e.Life, first, src)
	out, r := c.r.p.collecting(in)
	hang := func() {
		c.log.Error("the function has not returned after its context ended; the process ends", "seq", e.Seq, "waited", c.r.p.HangTimeout)
		c.r.exit(1)
	}
	if err := c.r.attempts.run(ctx, attempt{in: in, out: out, src: src, hang: hang}); err != nil {
		return nil, err
	}
	return r, c.r.p.collected(ctx, e, out, r)
}
