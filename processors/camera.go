package processors

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
)

// camera is the work on one camera. Its goroutine (run) reads the input, and makes a job
// for each fragment. Each job has a goroutine.
type camera struct {
	r     *Runner
	id    string
	input schemas.Topic
	in    *medialog.Log
	log   *slog.Logger

	processor string // in its `open`s
	redrive   bool   // a failure is not final: it ends the work

	outputs  []*output
	letters  *letters        // nil: a backfill has none
	suspects map[uint64]bool // seqs that may have killed processes
	deciding chan struct{}   // capacity 1: held by the job that decides whether it leaves fragments out

	cancel context.CancelCauseFunc // ends the work
	wg     sync.WaitGroup          // all goroutines but run's

	// Of run's goroutine.
	next uint64 // the seq whose entry comes next; 0: the first one that comes
	made uint64 // the newest seq that has a job

	mu sync.Mutex // guards what follows
	progress
	jobs   []*job // unfinished ones, and perhaps finished ones before them, by seq
	skipTo uint64 // the fragments before this one are left out
	begun  uint64 // the newest seq whose work has begun
	muted  bool   // another process has the camera, and this one goes on until that has begun
}

// output is a rendition that is written.
type output struct {
	Rendition
	follower *medialog.Follower
}

func newCamera(r *Runner, l *medialog.Log, id string) *camera {
	return &camera{
		r: r, id: id, processor: r.p.Name, input: schemas.Topic{Camera: id, Rendition: r.p.Input}, in: l, log: r.log.With("camera", id),
		suspects: map[uint64]bool{}, deciding: make(chan struct{}, 1), cancel: func(error) {},
	}
}

// run works until ctx ends, or until the work cannot go on. Then all of it has ended.
func (c *camera) run(ctx context.Context, mayOpen func() bool) error {
	ctx, cancel := context.WithCancelCause(ctx)
	c.setCancel(cancel)
	c.letters = &letters{c: c, mayOpen: mayOpen}
	defer c.end(cancel)
	if err := c.open(ctx, mayOpen); err != nil {
		return err
	}
	c.wg.Go(func() { c.watch(ctx) })
	c.projectAll(ctx)
	return c.ended(ctx, c.feed(ctx))
}

// open follows the outputs.
func (c *camera) open(ctx context.Context, mayOpen func() bool) error {
	for _, o := range c.r.p.Outputs {
		f, err := c.follow(ctx, o.Name+c.r.suffix, o.Role, mayOpen)
		if err != nil {
			return err
		}
		c.outputs = append(c.outputs, &output{o, f})
		if next, _ := f.Next(); f.Starts() >= suspectStarts {
			c.suspects[next] = true
		}
	}
	return nil
}

// ended returns why the work has ended: a job's error, if it ended ctx, else err.
func (c *camera) ended(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// suspectStarts is how many processes must have begun with a fragment, and ended before it
// had its entry, until the fragment is tried alone.
const suspectStarts = 2

// end ends all work.
func (c *camera) end(cancel context.CancelCauseFunc) {
	cancel(nil)
	c.wg.Wait()
	for _, o := range c.outputs {
		o.follower.Close()
	}
	c.letters.close()
	c.r.offsets.remove(c.indexOf(c.input))
}

func (c *camera) follow(ctx context.Context, rendition string, role schemas.Role, mayOpen func() bool) (*medialog.Follower, error) {
	p := &c.r.p
	return c.in.Follow(ctx, schemas.Topic{Camera: c.id, Rendition: rendition}, medialog.FollowOptions{
		Processor: c.processor, Version: p.Version, Role: role, Source: c.input, Writer: c.r.writer, Host: c.r.host,
		MayOpen: mayOpen, Ahead: p.Concurrency,
	})
}

// oldest returns the oldest checkpoint of the outputs: the seq at which the work begins. 0:
// no output has any entry.
func (c *camera) oldest() uint64 {
	var seq uint64
	for _, o := range c.outputs {
		if next, _ := o.follower.Next(); next > 0 && (seq == 0 || next < seq) {
			seq = next
		}
	}
	return seq
}

// begin begins the work with seq. An output without any entry begins there.
func (c *camera) begin(ctx context.Context, seq uint64) error {
	c.next, c.made = seq, seq-1
	for _, o := range c.outputs {
		if next, _ := o.follower.Next(); next == 0 {
			if err := o.follower.Jump(ctx, seq); err != nil {
				return err
			}
		}
	}
	return nil
}

// gap gives a seq a gap in all outputs that do not have it yet.
func (c *camera) gap(ctx context.Context, result, reason string, e schemas.Entry) error {
	for _, o := range c.outputs {
		err := o.follower.Gaps(ctx, reason, e)
		if err != nil && !errors.Is(err, medialog.ErrDone) {
			return err
		}
	}
	c.finished(result, 1)
	return nil
}

// skip makes seq the next one in all outputs. What comes before gets gaps.
func (c *camera) skip(ctx context.Context, reason string, seq uint64) error {
	for _, o := range c.outputs {
		err := o.follower.SkipTo(ctx, reason, seq)
		if err != nil && !errors.Is(err, medialog.ErrDone) {
			return err
		}
	}
	return nil
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

func (c *camera) setCancel(cancel context.CancelCauseFunc) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cancel = cancel
}

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
