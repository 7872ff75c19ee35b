package processors

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/internal/share"
	"github.com/framelog/framelog/schemas"
)

// camera is the work on one camera. Its goroutine (run) reads the input, and makes a job
// for each fragment. Each job has a goroutine.
type camera struct {
	r     *Runner
	id    string
	input schemas.Topic
	in    *medialog.Log
	past  footage // where fragments are loaded from, and what a backfill works on
	log   *slog.Logger

	processor string // in its `open`s
	redrive   bool   // a failure is not final: it ends the work
	life      string // of footage that begins where the log holds nothing any more; "": the log holds it

	outputs  []*output
	letters  *letters            // nil: a backfill has none
	deciding *semaphore.Weighted // 1: held by the job that decides whether it leaves fragments out

	load func(*arriving, schemas.Entry) // reads the chunks of a fragment from the store
	wg   sync.WaitGroup                 // all goroutines but run's

	// Of run's goroutine.
	next uint64 // the seq whose entry comes next; 0: the first one that comes
	made uint64 // the newest seq that has a job

	mu sync.Mutex // guards what follows
	progress
	cancel   context.CancelCauseFunc // ends the work
	jobs     []*job                  // unfinished ones, and perhaps finished ones before them, by seq
	skipTo   uint64                  // the fragments before this one are left out
	begun    uint64                  // the newest seq whose work has begun
	suspects map[uint64]bool         // unfinished seqs that may have killed processes
	muted    bool                    // another process has the camera, and this one goes on until that has begun
}

// footage is a store of the past.
type footage interface {
	Entries(ctx context.Context, t schemas.Topic, r medialog.Range) iter.Seq2[schemas.Entry, error]
	Chunks(ctx context.Context, t schemas.Topic, e schemas.Entry) iter.Seq2[*schemas.Chunk, error]
}

// output is a rendition that is written.
type output struct {
	Rendition
	follower *medialog.Follower
}

func newCamera(r *Runner, l *medialog.Log, id string) *camera {
	return &camera{
		r: r, id: id, processor: r.p.Name, input: schemas.Topic{Camera: id, Rendition: r.p.Input}, in: l, past: l, log: r.log.With("camera", id),
		suspects: map[uint64]bool{}, deciding: semaphore.NewWeighted(1), cancel: func(error) {},
	}
}

// run works until ctx ends, or until the work cannot go on. Then all of it has ended.
func (c *camera) run(ctx context.Context, mayOpen func() bool) error {
	c.letters = &letters{c: c, mayOpen: mayOpen}
	return c.within(ctx, mayOpen, func(ctx context.Context) error {
		c.wg.Go(func() { c.watch(ctx) })
		c.projectAll(ctx)
		return c.feed(ctx)
	})
}

// within follows the outputs, and calls work. When it returns, all has ended. It returns
// why: the error of a job, or that of work.
func (c *camera) within(ctx context.Context, mayOpen func() bool, work func(ctx context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	c.mu.Lock()
	c.cancel = cancel
	c.mu.Unlock()
	c.load = c.loader(ctx)
	defer c.end(cancel)
	err := c.open(ctx, mayOpen)
	if err == nil {
		err = work(ctx)
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// open follows the outputs.
func (c *camera) open(ctx context.Context, mayOpen func() bool) error {
	for _, o := range c.r.p.Outputs {
		f, err := c.follow(ctx, o.Name+c.r.suffix, o.Role, mayOpen)
		if err != nil {
			return err
		}
		c.outputs = append(c.outputs, &output{o, f})
	}
	return nil
}

// end ends all work.
func (c *camera) end(cancel context.CancelCauseFunc) {
	cancel(nil)
	c.wg.Wait()
	for _, o := range c.outputs {
		o.follower.Close()
	}
	c.letters.close()
	c.r.offsets.Remove(c.indexOf(c.input))
}

func (c *camera) follow(ctx context.Context, rendition string, role schemas.Role, mayOpen func() bool) (*medialog.Follower, error) {
	p := &c.r.p
	return c.in.Follow(ctx, schemas.Topic{Camera: c.id, Rendition: rendition}, medialog.FollowOptions{
		Processor: c.processor, Version: p.Version, Role: role, Source: c.input, Writer: c.r.writer, Host: c.r.host,
		MayOpen: mayOpen, Ahead: p.Concurrency, Life: c.life,
	})
}

// checkpoint returns the seq at which the work begins: the oldest checkpoint of the outputs.
// If no output has any entry, since retention or a person has removed them, it is what the
// group has committed. 0: the work begins with the newest fragment.
func (c *camera) checkpoint(ctx context.Context) (uint64, error) {
	shared := c.r.group()
	if seq := c.oldest(); seq > 0 || shared == nil {
		return seq, nil
	}
	o, err := shared.Committed(ctx, c.indexOf(c.input))
	return share.SeqBehind(o, c.outputs[0].follower.Life()), err
}

// oldest returns the oldest checkpoint of the outputs. 0: no output has any entry.
func (c *camera) oldest() uint64 {
	var seq uint64
	for _, o := range c.outputs {
		if next, _ := o.follower.Next(); next > 0 && (seq == 0 || next < seq) {
			seq = next
		}
	}
	return seq
}

// each calls do for each output. If do finds that the output is further, that is no error.
func (c *camera) each(do func(*medialog.Follower) error) error {
	for _, o := range c.outputs {
		if err := do(o.follower); err != nil && !errors.Is(err, medialog.ErrDone) {
			return err
		}
	}
	return nil
}

// begin begins the work with seq. An output that has no entry, or ends before, goes on there.
func (c *camera) begin(ctx context.Context, seq uint64) error {
	c.next, c.made = seq, seq-1
	return c.each(func(f *medialog.Follower) error { return c.jump(ctx, f, seq) })
}

// jump makes seq the next one of an output. If several processes have ended that began with
// the next one, it has to be tried alone. Errors: medialog.ErrDone if the output is further;
// errReleased if this process may try nothing alone: see mute.
func (c *camera) jump(ctx context.Context, f *medialog.Follower, seq uint64) error {
	err := f.Jump(ctx, seq)
	next, _ := f.Next()
	if f.Starts() < medialog.MaxStarts {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.suspects[next] = true
	if c.muted {
		return errReleased
	}
	return err
}

// gap gives a seq a gap in all outputs that do not have it yet.
func (c *camera) gap(ctx context.Context, result, reason string, e schemas.Entry) error {
	err := c.each(func(f *medialog.Follower) error { return f.Gaps(ctx, reason, e) })
	if err == nil {
		c.finished(result, 1)
	}
	return err
}

// skip makes seq the next one in all outputs. What comes before gets gaps.
func (c *camera) skip(ctx context.Context, reason string, seq uint64) error {
	return c.each(func(f *medialog.Follower) error { return f.SkipTo(ctx, reason, seq) })
}

// finished counts fragments that are done.
func (c *camera) finished(result string, n uint64) {
	c.r.metrics.fragments.WithLabelValues(c.id, result).Add(float64(n))
}

// began counts a job that works. The function that it returns ends that.
func (c *camera) began() func() {
	g := c.r.metrics.inWork.WithLabelValues(c.id)
	g.Inc()
	return g.Dec
}

// errReleased ends the work on a camera that goes to another process.
var errReleased = errors.New("the camera goes to another process, and a fragment may have killed processes: this one leaves it alone")

// mute tells that another process has the camera from now on, or that it is this one's
// again. This process goes on until the other one has begun. If it has to try a fragment
// alone, it ends: the log would take the other's beginning for a sign that the fragment
// has killed this process.
func (c *camera) mute(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.muted = on
	if on && len(c.suspects) > 0 {
		c.cancel(errReleased)
	}
}

func (c *camera) isMuted() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.muted
}

// indexOf returns the name of a topic's index in Kafka.
func (c *camera) indexOf(t schemas.Topic) string { return c.r.cfg.kafka("").Names().Index(t) }

// pause waits for d. Errors: ctx's.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
