package processors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
)

// letterNote is the note of a dead letter's entry.
type letterNote struct {
	Processor string `json:"processor"`
	Attempts  int    `json:"attempts"`
	Error     string `json:"error"`            // shortened
	Killed    bool   `json:"killed,omitempty"` // see DeadLetter
}

// text returns the note as JSON. The error is cut so that the note is short enough.
func (n letterNote) text() string {
	n.Error = strings.ToValidUTF8(n.Error[:min(len(n.Error), schemas.MaxNote)], "")
	for {
		b, err := json.Marshal(n)
		if err != nil {
			return ""
		}
		if len(b) <= schemas.MaxNote {
			return string(b)
		}
		r := []rune(n.Error)
		n.Error = string(r[:len(r)*9/10])
	}
}

// letters is the rendition of a camera's dead letters. It is followed when the first one
// comes. A backfill has none.
type letters struct {
	c        *camera
	mayOpen  func() bool
	follower *medialog.Follower
}

// put copies a fragment into the dead letters, unless it is there already. It is called for
// one fragment at a time, in the order of seq. Errors: those of the store and of the follower.
func (l *letters) put(ctx context.Context, e schemas.Entry, n letterNote) error {
	if l.follower == nil {
		f, err := l.c.follow(ctx, schemas.DeadLetterPrefix+l.c.r.p.Name, schemas.RoleDeadLetter, l.mayOpen)
		if err != nil {
			return err
		}
		l.follower = f
	}
	// What lies between two dead letters is a hole.
	err := l.follower.Jump(ctx, e.Seq)
	if errors.Is(err, medialog.ErrDone) {
		return nil // a process that has ended since has put it there
	}
	if err != nil {
		return err
	}
	return copyFragment(ctx, l.follower, l.c.in.Chunks(ctx, l.c.input, e), e, n.text())
}

func (l *letters) close() {
	if l != nil && l.follower != nil {
		l.follower.Close()
	}
}

// copyFragment copies a fragment into a rendition.
func copyFragment(ctx context.Context, f *medialog.Follower, chunks chunkSeq, e schemas.Entry, note string) error {
	var w *medialog.Work
	for c, err := range chunks {
		if err == nil && w == nil {
			w, err = f.Begin(ctx, c)
		}
		if err != nil {
			if w != nil {
				w.Drop()
			}
			return err
		}
		d := *c
		if err := w.Write(ctx, &d); err != nil {
			w.Drop()
			return err
		}
	}
	_, err := w.Commit(ctx, e, medialog.Output{Used: e.Chunks, Note: note})
	return err
}

// deadLetter gives the fragment to the dead letters, and then each output its gap. A
// process that ends between the two leaves the number of failures in the output, so the
// next one does the same again.
func (j *job) deadLetter(ctx context.Context, f *attemptError) error {
	c := j.c
	if c.redrive {
		return fmt.Errorf("fragment %d of %s: %w", j.seq, c.id, f)
	}
	if err := wait(ctx, j.before); err != nil {
		return err
	}
	e, err := j.entry(ctx)
	if err != nil {
		return err
	}
	if e.Kind == schemas.KindGap {
		return c.gap(ctx, resultGap, "", e)
	}
	j.failure = f
	if c.letters == nil {
		return c.gap(ctx, resultDeadLetter, schemas.ReasonDeadLetter, e)
	}
	n := letterNote{Processor: c.r.p.Name, Attempts: f.failures, Error: f.Error(), Killed: f.killed}
	switch err := c.letters.put(ctx, e, n); {
	case errors.Is(err, medialog.ErrExpired):
		return c.gap(ctx, resultExpired, schemas.ReasonExpired, e)
	case errors.Is(err, medialog.ErrRefused):
		c.log.Error("Kafka refuses a dead letter; the fragment has a gap in the output and is not kept", "seq", j.seq, "attempts", f.failures, "failure", f.err, "err", err)
	case err != nil:
		return err
	default:
		c.log.Error("a fragment has become a dead letter", "seq", j.seq, "attempts", f.failures, "killed", f.killed, "err", f.err, "rendition", schemas.DeadLetterPrefix+c.r.p.Name)
	}
	return c.gap(ctx, resultDeadLetter, schemas.ReasonDeadLetter, e)
}
