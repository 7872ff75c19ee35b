package processors

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
)

// redrivenSuffix stands behind the name of an output in the rendition of what is redriven.
const redrivenSuffix = "-redriven"

// DeadLetter is a fragment at which a processor has failed.
type DeadLetter struct {
	Processor string        `json:"processor"`
	Camera    string        `json:"camera"`
	Rendition string        `json:"rendition"` // where it can be played: "dlq-motion"
	Life      string        `json:"life"`
	Session   uint64        `json:"session"`
	Seq       uint64        `json:"seq"`
	Start     time.Time     `json:"start"`
	Duration  time.Duration `json:"duration"` // nanoseconds
	Bytes     int64         `json:"bytes"`
	Attempts  int           `json:"attempts"` // that have failed
	Error     string        `json:"error"`    // of the last one, shortened
	Killed    bool          `json:"killed"`   // a process ended that worked on this fragment alone
}

// DeadLetters yields the dead letters of a processor, "": of all, whose footage has not
// expired: camera by camera, in the order of seq. cameras limits them to these ids; none:
// all cameras. An error is the last element.
func DeadLetters(ctx context.Context, c Config, processor string, cameras ...string) iter.Seq2[DeadLetter, error] {
	return func(yield func(DeadLetter, error) bool) {
		if err := deadLetters(ctx, c, processor, cameras, func(d DeadLetter) bool { return yield(d, nil) }); err != nil {
			yield(DeadLetter{}, fmt.Errorf("dead letters: %w", err))
		}
	}
}

func deadLetters(ctx context.Context, c Config, processor string, cameras []string, yield func(DeadLetter) bool) error {
	if c.Log == nil {
		c.Log = slog.Default()
	}
	l, err := c.connect(cmp.Or(processor, "dlq"), c.Log, nil)
	if err != nil {
		return err
	}
	defer l.Close()
	topics, err := l.Topics(ctx)
	if err != nil {
		return err
	}
	slices.SortFunc(topics, func(a, b schemas.Topic) int {
		return cmp.Or(cmp.Compare(a.Camera, b.Camera), cmp.Compare(a.Rendition, b.Rendition))
	})
	for _, t := range topics {
		name, ok := strings.CutPrefix(t.Rendition, deadLetterPrefix)
		if !ok || (processor != "" && name != processor) || (len(cameras) > 0 && !slices.Contains(cameras, t.Camera)) {
			continue
		}
		for e, err := range l.Entries(ctx, t, medialog.Range{}) {
			switch {
			case errors.Is(err, medialog.ErrNoTopic): // it was purged meanwhile
			case err != nil:
				return err
			case e.Playable() && !yield(deadLetterOf(t, name, e)):
				return nil
			}
		}
	}
	return nil
}

func deadLetterOf(t schemas.Topic, processor string, e schemas.Entry) DeadLetter {
	var n letterNote
	_ = json.Unmarshal([]byte(e.Note), &n) // another program may have written it
	return DeadLetter{
		Processor: processor, Camera: t.Camera, Rendition: t.Rendition, Life: e.Life, Session: e.Session, Seq: e.Seq,
		Start: e.Start, Duration: schemas.FromTicks(e.Duration), Bytes: e.Bytes, Attempts: n.Attempts, Error: n.Error, Killed: n.Killed,
	}
}

// Redrive processes dead letters of this processor again, into the renditions
// <output>-redriven: the gaps in the outputs are final. Letters that have been redriven are
// left out. It ends at the first letter at which all attempts fail; called again, it tries
// that one again. Since a rendition is written in the order of seq, letters before one that
// was redriven cannot be redriven any more. At its end it calls Processor.Close. Other errors: those of Kafka; ctx's.
func (r *Runner) Redrive(ctx context.Context, letters ...DeadLetter) error {
	l, err := r.cfg.connect(r.p.Name, r.log, nil)
	if err != nil {
		return err
	}
	defer l.Close()
	defer r.closeProcessor()
	once, err := r.once(redrivenSuffix)
	if err != nil {
		return err
	}
	seqs := map[string][]uint64{}
	for _, d := range letters {
		if d.Processor != r.p.Name {
			return fmt.Errorf("processor %q: redrive: letter %d of %s is of the processor %q", r.p.Name, d.Seq, d.Camera, d.Processor)
		}
		seqs[d.Camera] = append(seqs[d.Camera], d.Seq)
	}
	for camera, s := range seqs {
		c := newCamera(once, l, camera)
		if err := c.redriveAll(ctx, slices.Compact(slices.Sorted(slices.Values(s)))); err != nil {
			return fmt.Errorf("processor %q: redrive: %w", r.p.Name, err)
		}
	}
	return nil
}

// redriveAll redrives the letters of a camera.
func (c *camera) redriveAll(ctx context.Context, seqs []uint64) error {
	c.redrive, c.processor = true, c.processor+redriveMark
	c.input = schemas.Topic{Camera: c.id, Rendition: deadLetterPrefix + c.r.p.Name}
	ctx, cancel := context.WithCancelCause(ctx)
	c.setCancel(cancel)
	defer c.end(cancel)
	if err := c.open(ctx, nil); err != nil {
		return err
	}
	for _, seq := range seqs {
		if err := c.redriveOne(ctx, seq); err != nil {
			return c.ended(ctx, err)
		}
	}
	return nil
}

func (c *camera) redriveOne(ctx context.Context, seq uint64) error {
	e, err := c.in.Entry(ctx, c.input, seq)
	if err != nil {
		return err
	}
	done := true
	for _, o := range c.outputs {
		switch err := o.follower.Jump(ctx, seq); {
		case err == nil:
			done = false
		case !errors.Is(err, medialog.ErrDone):
			return err
		default:
			rendition := o.Name + redrivenSuffix
			if _, err := c.in.Entry(ctx, schemas.Topic{Camera: c.id, Rendition: rendition}, seq); errors.Is(err, medialog.ErrNotFound) {
				next, _ := o.follower.Next()
				return fmt.Errorf("letter %d of %s comes before %d, which was redriven: delete the topics of the rendition %s to redrive all again", seq, c.id, next-1, rendition)
			}
		}
	}
	if done {
		return nil
	}
	j := c.newJob(seq)
	j.takeEntry(e, c.loader(ctx))
	c.start(ctx, j)
	if err := j.wait(ctx); err != nil {
		return err
	}
	return ctx.Err()
}
