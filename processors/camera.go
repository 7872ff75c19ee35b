package processors

import (
	"context"
	"errors"
	"log/slog"
	"sync"

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

	outputs []*output

	cancel context.CancelCauseFunc // ends the work
	wg     sync.WaitGroup          // jobs and their loads

	// Of run's goroutine.
	next uint64 // the seq whose entry comes next; 0: the first one that comes
	made uint64 // the newest seq that has a job
	jobs []*job // unfinished ones, and perhaps finished ones before them, by seq
}

// output is a rendition that is written.
type output struct {
	Rendition
	follower *medialog.Follower
}

func newCamera(r *Runner, l *medialog.Log, id string) *camera {
	return &camera{r: r, id: id, input: schemas.Topic{Camera: id, Rendition: r.p.Input}, in: l, log: r.log.With("camera", id)}
}

// run works until ctx ends, or until the work cannot go on. Then all of it has ended.
func (c *camera) run(ctx context.Context, mayOpen func() bool) error {
	ctx, c.cancel = context.WithCancelCause(ctx)
	defer c.cancel(nil)
	defer func() {
		c.cancel(nil)
		c.wg.Wait()
		for _, o := range c.outputs {
			o.follower.Close()
		}
	}()
	for _, o := range c.r.p.Outputs {
		f, err := c.follow(ctx, o.Name, o.Role, mayOpen)
		if err != nil {
			return err
		}
		c.outputs = append(c.outputs, &output{o, f})
	}
	err := c.feed(ctx)
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

func (c *camera) follow(ctx context.Context, rendition string, role schemas.Role, mayOpen func() bool) (*medialog.Follower, error) {
	p := &c.r.p
	return c.in.Follow(ctx, schemas.Topic{Camera: c.id, Rendition: rendition}, medialog.FollowOptions{
		Processor: p.Name, Version: p.Version, Role: role, Writer: c.r.writer, Host: c.r.host, MayOpen: mayOpen, Ahead: p.Concurrency,
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

// fail ends the work on the camera: share begins it again.
func (c *camera) fail(err error) { c.cancel(err) }

// gaps gives seqs gaps in all outputs that do not have them yet.
func (c *camera) gaps(ctx context.Context, reason string, sources ...schemas.Entry) error {
	for _, o := range c.outputs {
		err := o.follower.Gaps(ctx, reason, sources...)
		if err != nil && !errors.Is(err, medialog.ErrDone) {
			return err
		}
	}
	return nil
}
