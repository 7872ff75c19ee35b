package processors

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/framelog/framelog/internal/archive"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/internal/share"
	"github.com/framelog/framelog/schemas"
)

// Backfill is a range of the past that a processor works on, instead of what its group
// works on.
type Backfill struct {
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
// on behind their newest entries. A fragment at which all attempts fail gets a gap; it does
// not become a dead letter. It also reads what only the archive holds. If the range begins there, what
// is written expires by the time at which it is written: by that of its source it would at once. Errors: there is no footage of that time; the group or another
// processor writes a rendition of that name; those of Kafka and of the archive; ctx's.
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
	cameras, err := r.recorded(ctx, l)
	if err != nil {
		return fmt.Errorf("processor %q: backfill: %w", r.p.Name, err)
	}
	past, err := r.cfg.archive(r.log)
	if err != nil {
		return fmt.Errorf("processor %q: backfill: %w", r.p.Name, err)
	}
	found := 0
	for _, camera := range cameras {
		f := &backfilling{b: b, c: newCamera(once, l, camera)}
		if past != nil {
			f.c.past = archive.NewJoined(l, past)
		}
		if err := f.run(ctx); err != nil {
			return fmt.Errorf("processor %q: backfill of %s: %w", r.p.Name, camera, err)
		}
		found += f.total
	}
	if found == 0 {
		return fmt.Errorf("processor %q: backfill: no camera of %s has footage of that time in the rendition %s", r.p.Name, strings.Join(r.p.Cameras, ", "), r.p.Input)
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
	o := &Runner{p: p, suffix: suffix, cfg: r.cfg, writer: r.writer, host: r.host, log: r.log, metrics: newMetrics(nil), offsets: share.NewOffsets(), exit: r.exit}
	o.attempts = attempts{p: &o.p, gate: newGate()}
	return o, nil
}

// recorded returns the cameras of the processor whose input has topics.
func (r *Runner) recorded(ctx context.Context, l *medialog.Log) (ids []string, err error) {
	topics, err := l.Topics(ctx)
	if err != nil {
		return nil, err
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
	b           Backfill
	c           *camera
	first, last uint64 // seqs of the range
	total, done int    // fragments
}

func (f *backfilling) run(ctx context.Context) error {
	for e, err := range f.entries(ctx) {
		if err != nil {
			return err
		}
		if f.total == 0 {
			f.first = e.Seq
			if err := f.lookUp(ctx, e); err != nil {
				return err
			}
		}
		f.last = e.Seq
		f.total++
	}
	if f.total == 0 {
		return nil
	}
	if f.b.DryRun {
		return f.dryRun(ctx)
	}
	f.c.processor += backfillMark
	return f.c.within(ctx, nil, f.publish)
}

// lookUp finds out whether the log still holds the first fragment.
func (f *backfilling) lookUp(ctx context.Context, e schemas.Entry) error {
	err := f.c.in.Available(ctx, f.c.input, e)
	if e.Kind == schemas.KindGap {
		_, err = f.c.in.Entry(ctx, f.c.input, e.Seq)
	}
	if errors.Is(err, medialog.ErrExpired) || errors.Is(err, medialog.ErrNotFound) || errors.Is(err, medialog.ErrBeyond) {
		f.c.life, err = e.Life, nil
	}
	return err
}

// entries reads the index of the range. A range may have millions of entries, so it is read
// twice: first they are counted.
func (f *backfilling) entries(ctx context.Context) iter.Seq2[schemas.Entry, error] {
	return f.c.past.Entries(ctx, f.c.input, medialog.Range{From: f.b.From, To: f.b.To})
}

// each calls do with the entries that were counted.
func (f *backfilling) each(ctx context.Context, do func(schemas.Entry) error) error {
	for e, err := range f.entries(ctx) {
		if err == nil && e.Seq > f.last {
			break
		}
		if err == nil {
			err = do(e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// publish gives each entry to a job, and reports the jobs in order.
func (f *backfilling) publish(ctx context.Context) error {
	c := f.c
	seq := f.first
	if oldest := c.oldest(); oldest > seq {
		c.log.Info("a rendition is written in order; this goes on behind what is there", "seq", oldest)
		seq = oldest
	}
	if err := c.begin(ctx, seq); err != nil {
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
	err := f.each(ctx, func(e schemas.Entry) error {
		if e.Seq < c.next {
			f.done++
			return nil
		}
		if err := c.takeEntry(ctx, e); err != nil {
			return err
		}
		select {
		case jobs <- c.job(e.Seq):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	if err == nil {
		err = c.atMost(ctx, 0)
	}
	close(jobs)
	<-reported
	return err
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
		Camera: f.c.id, Done: f.done, Total: f.total, Seq: e.Seq, Start: e.Start, Duration: schemas.FromTicks(e.Duration),
		Took: took, Bytes: map[string]int64{},
	}
}

// dryRun calls the function with each fragment and publishes nothing.
func (f *backfilling) dryRun(ctx context.Context) error {
	defer f.c.wg.Wait()
	return f.each(ctx, func(e schemas.Entry) error {
		f.done++
		return f.dry(ctx, e)
	})
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
	in := newFragment(c.id, c.r.p.Input, e.Life, first, src.source())
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
