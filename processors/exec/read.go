package exec

import (
	"cmp"
	"context"
	"errors"
	"math"
	"strings"
	"time"

	"github.com/framelog/framelog/schemas"
)

const (
	// maxEvents is how many events a program may tell of a fragment, and maxEventBytes the
	// bytes of their headers: they wait for the fragment's end.
	maxEvents     = 1000
	maxEventBytes = 4 << 20
	// maxError is how many bytes of a program's error are kept.
	maxError = 1000
)

// failure is what the program says of a fragment that it could not process.
type failure struct{ text string }

func (f *failure) Error() string { return "the program failed: " + f.text }

// read takes the program's answers until it is done. It kills the child if an answer is
// wrong. encoding is the context of the encoder. Errors: *failure; why the child ended.
func (j *job) read(encoding context.Context) error {
	defer j.watch.set(fromProgram, true)
	for {
		j.watch.set(fromProgram, true)
		m, err := j.c.next()
		j.watch.set(fromProgram, false)
		if err != nil {
			return j.c.broken(err)
		}
		done, err := j.take(encoding, m)
		if _, own := errors.AsType[*failure](err); err != nil && !own {
			return j.c.broken(err)
		}
		if done || err != nil {
			return err
		}
	}
}

// take takes one answer. It reports whether the program is done. Errors: *failure;
// *garbage; of the pipe.
func (j *job) take(encoding context.Context, m *answer) (done bool, err error) {
	if m.key != j.key {
		return false, garbagef("a frame %q for seq %d, attempt %d, while it works on seq %d, attempt %d", m.kind, m.Seq, m.Attempt, j.key.Seq, j.key.Attempt)
	}
	switch m.kind {
	case kindData:
		return false, j.takeData(m)
	case kindEvent:
		return false, j.takeEvent(m)
	case kindPicture:
		return false, j.takePicture(encoding, m)
	case kindNote:
		return false, j.takeNote(m)
	case kindDone:
		return true, nil
	case kindFailed:
		return false, &failure{cut(m.Error)}
	}
	return false, garbagef("there is no frame %q", m.kind)
}

func cut(s string) string {
	if s = strings.ToValidUTF8(s, "\uFFFD"); len(s) > maxError {
		s = strings.ToValidUTF8(s[:maxError], "") + "…"
	}
	if s == "" {
		return "it does not say why"
	}
	return s
}

// within checks that a media time is in what the program has got.
func (j *job) within(m *answer) error {
	if m.PTS < j.in.Media || m.PTS >= j.end.Load() {
		return garbagef("a frame %q with pts %d, which is not in what it has got", m.kind, m.PTS)
	}
	if m.Duration < 0 || m.Duration > math.MaxUint32 {
		return garbagef("a frame %q with duration %d", m.kind, m.Duration)
	}
	return nil
}

// boxes checks that boxes are in the picture.
func boxes(m *answer) error {
	for _, b := range m.Boxes {
		// Rounding may bring an edge a little outside.
		const most = 1 + 1e-6
		if b.X < 0 || b.Y < 0 || b.W < 0 || b.H < 0 || b.X+b.W > most || b.Y+b.H > most {
			return garbagef("a box with x %v, y %v, w %v, h %v is not in the picture, which is 1 wide and 1 high", b.X, b.Y, b.W, b.H)
		}
	}
	return nil
}

func (j *job) takeData(m *answer) error {
	if err := cmp.Or(j.within(m), boxes(m)); err != nil {
		return err
	}
	if err := j.out.Data(m.PTS, m.Duration, schemas.Data{Boxes: m.Boxes, Score: m.Score}); err != nil {
		return &garbage{err.Error()}
	}
	return nil
}

func (j *job) takeEvent(m *answer) error {
	if err := boxes(m); err != nil {
		return err
	}
	start := j.in.Start.Truncate(time.Microsecond) // as the program knows it
	switch {
	case m.Type == "":
		return garbagef("an event without a type")
	case !m.Start.IsZero() && m.Start.Before(start), !m.End.IsZero() && m.End.Before(start),
		!m.Start.IsZero() && !m.End.IsZero() && m.End.Before(m.Start):
		return garbagef("the event %q from %v to %v; it must lie in the fragment, which starts at %v", m.Type, m.Start, m.End, start)
	case len(j.events) == maxEvents:
		return garbagef("more than %d events of a fragment", maxEvents)
	case j.eventBytes+m.header > maxEventBytes:
		return garbagef("more than %d bytes of events of a fragment", maxEventBytes)
	}
	j.eventBytes += m.header
	j.events = append(j.events, schemas.Event{Type: m.Type, Start: m.Start, End: m.End, Value: m.Value, Boxes: m.Boxes, Data: m.Data})
	return nil
}

func (j *job) takeNote(m *answer) error {
	if len(m.Note) == 0 || len(m.Note) > schemas.MaxNote {
		return garbagef("a note of %d bytes; 1 to %d are allowed", len(m.Note), schemas.MaxNote)
	}
	j.note = m.Note
	return nil
}

func (j *job) takePicture(encoding context.Context, m *answer) error {
	like := j.newest.Load()
	switch {
	case j.p.Output == outputNone:
		return garbagef("a picture, but the processor has no output for pictures; set output to variant or alternative")
	case like == nil || m.Width != like.Width || m.Height != like.Height || m.payload != like.Format.Bytes(m.Width, m.Height):
		return garbagef("a picture of %d×%d pixels and %d bytes; it must be as large as those that it got", m.Width, m.Height, m.payload)
	case m.PTS <= j.lastPTS:
		return garbagef("a picture with pts %d after one with %d", m.PTS, j.lastPTS)
	}
	if err := j.within(m); err != nil {
		return err
	}
	j.lastPTS = m.PTS
	// Two are enough: the encoder takes a picture when it is done with the one before.
	j.buffers[0], j.buffers[1] = j.buffers[1], j.buffers[0]
	if len(j.buffers[0]) != m.payload {
		j.buffers[0] = make([]byte, m.payload)
	}
	if err := j.c.read(j.buffers[0]); err != nil {
		return err
	}
	p := *like // with what an encoder has to know
	p.PTS, p.Duration, p.Data = m.PTS, m.Duration, j.buffers[0]
	select {
	case j.pictures <- &p:
	case <-encoding.Done(): // nobody wants it any more
	}
	return nil
}
