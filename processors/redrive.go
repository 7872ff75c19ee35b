package processors

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
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
	Killed    bool          `json:"killed"`   // in the last attempt a process ended that worked on this fragment alone
}

// DeadLetters returns the dead letters of a processor and a camera whose footage has not
// expired: camera by camera, in the order of seq. An empty name means all processors, an
// empty id all cameras.
func DeadLetters(ctx context.Context, c Config, processor, camera string) ([]DeadLetter, error) {
	if c.Log == nil {
		c.Log = slog.Default()
	}
	l, err := c.connect(cmp.Or(processor, "dlq"), c.Log, nil)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	topics, err := l.Topics(ctx)
	if err != nil {
		return nil, fmt.Errorf("dead letters: %w", err)
	}
	slices.SortFunc(topics, func(a, b schemas.Topic) int {
		return cmp.Or(cmp.Compare(a.Camera, b.Camera), cmp.Compare(a.Rendition, b.Rendition))
	})
	all := []DeadLetter{}
	for _, t := range topics {
		name, ok := strings.CutPrefix(t.Rendition, schemas.DeadLetterPrefix)
		if !ok || (processor != "" && name != processor) || (camera != "" && t.Camera != camera) {
			continue
		}
		for e, err := range l.Entries(ctx, t, medialog.Range{}) {
			switch {
			case errors.Is(err, medialog.ErrNoTopic): // it was purged meanwhile
			case err != nil:
				return nil, fmt.Errorf("dead letters: %w", err)
			case e.Playable():
				all = append(all, deadLetterOf(t, name, e))
			}
		}
	}
	return all, nil
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
// <output>-redriven: the gaps in the outputs are final. It returns those that it has
// processed: letters that were redriven before are left out. It ends at the first letter at
// which all attempts fail; called again, it tries that one again. Since a rendition is
// written in the order of seq, letters before one that was redriven cannot be redriven any
// more. Other errors: those of Kafka; ctx's.
func (r *Runner) Redrive(ctx context.Context, letters ...DeadLetter) (redriven []DeadLetter, err error) {
	byCamera := map[string][]DeadLetter{}
	for _, d := range letters {
		if d.Processor != r.p.Name {
			return nil, fmt.Errorf("processor %q: redrive: letter %d of %s is of the processor %q", r.p.Name, d.Seq, d.Camera, d.Processor)
		}
		byCamera[d.Camera] = append(byCamera[d.Camera], d)
	}
	l, err := r.cfg.connect(r.p.Name, r.log, nil)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	defer r.closeProcessor()
	once, err := r.once(redrivenSuffix)
	if err != nil {
		return nil, err
	}
	for _, id := range slices.Sorted(maps.Keys(byCamera)) {
		done, err := newCamera(once, l, id).redriveAll(ctx, byCamera[id])
		redriven = append(redriven, done...)
		if err != nil {
			return redriven, fmt.Errorf("processor %q: redrive: %w", r.p.Name, err)
		}
	}
	return redriven, nil
}

// redriveAll redrives letters of a camera, and returns those that were not redriven before.
func (c *camera) redriveAll(ctx context.Context, letters []DeadLetter) (redriven []DeadLetter, err error) {
	slices.SortFunc(letters, func(a, b DeadLetter) int { return cmp.Compare(a.Seq, b.Seq) })
	c.redrive, c.processor = true, c.processor+redriveMark
	c.input = schemas.Topic{Camera: c.id, Rendition: schemas.DeadLetterPrefix + c.r.p.Name}
	err = c.within(ctx, nil, func(ctx context.Context) error {
		for _, d := range letters {
			done, err := c.redriveOne(ctx, d.Seq)
			if err != nil {
				return err
			}
			if done {
				redriven = append(redriven, d)
			}
		}
		return nil
	})
	return redriven, err
}

// redriveOne redrives a letter. It returns false if it was redriven before.
func (c *camera) redriveOne(ctx context.Context, seq uint64) (bool, error) {
	e, err := c.in.Entry(ctx, c.input, seq)
	if err != nil {
		return false, err
	}
	before := true
	for _, o := range c.outputs {
		switch err := c.jump(ctx, o.follower, seq); {
		case err == nil:
			before = false
		case !errors.Is(err, medialog.ErrDone):
			return false, err
		default:
			rendition := o.Name + redrivenSuffix
			if _, err := c.in.Entry(ctx, schemas.Topic{Camera: c.id, Rendition: rendition}, seq); errors.Is(err, medialog.ErrNotFound) {
				next, _ := o.follower.Next()
				return false, fmt.Errorf("letter %d of %s comes before %d, which was redriven: delete the topics of the rendition %s to redrive all again", seq, c.id, next-1, rendition)
			}
		}
	}
	if before {
		return false, nil
	}
	j := c.newJob(seq)
	j.takeEntry(e)
	c.start(ctx, j)
	return true, c.atMost(ctx, 0)
}
