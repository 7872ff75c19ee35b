package processors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/framelog/framelog/schemas"
)

// Output takes what a processor makes of a fragment. Its methods may be called from
// several goroutines until the function returns.
//
// A rendition of pictures or sound to which nothing was written gets a gap with the reason
// "filtered". One of data always gets its fragment, perhaps without any sample.
type Output struct {
	in      *Fragment
	outputs []Rendition
	sinks   map[string]sink

	mu      sync.Mutex
	told    []schemas.Sample // of data: events
	seen    []schemas.Sample // other data
	size    int              // bytes of both
	events  []schemas.Event
	notes   map[string]string
	written map[string]bool
}

// sink takes the chunks of a rendition. It keeps them.
type sink interface {
	Write(ctx context.Context, c *schemas.Chunk) error
}

// Write gives the next chunk of the processor's first output that is no data. It keeps the
// samples, and sets epoch, session, seq, index, layout and lineage in a copy of c. Media
// time must be that of the source, and the first chunk must have Tracks. Return its errors
// as they are.
func (o *Output) Write(ctx context.Context, c *schemas.Chunk) error {
	for _, r := range o.outputs {
		if r.Role != schemas.RoleData {
			return o.WriteTo(ctx, r.Name, c)
		}
	}
	return errors.New("processors: it has no output for pictures; name one in Processor.Outputs")
}

// WriteTo is Write to one of several outputs.
func (o *Output) WriteTo(ctx context.Context, rendition string, c *schemas.Chunk) error {
	s := o.sinks[rendition]
	if s == nil {
		return fmt.Errorf("processors: it has no output %q; name it in Processor.Outputs", rendition)
	}
	o.mu.Lock()
	o.written[rendition] = true
	o.mu.Unlock()
	d := *c // it may be a chunk of the source
	d.Lineage = nil
	return s.Write(ctx, &d)
}

// Data says what stands in the picture from media time at on, for a time of duration, in
// ticks of schemas.MediaTimescale. Where several overlap, a player shows each until the
// next one begins. Errors: there is no output of role data; at is before the fragment; too
// much data. If at is behind the fragment's end, the attempt fails.
func (o *Output) Data(at, duration int64, d schemas.Data) error {
	b, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("processors: data of %d: %w", o.in.Seq, err)
	}
	if o.data() == "" {
		return errors.New("processors: it has no output for data; name one in Processor.Outputs")
	}
	if at < o.in.Media {
		return fmt.Errorf("processors: data of %d: media time %d is before the fragment's %d", o.in.Seq, at, o.in.Media)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.size+len(b) > maxData || len(o.told)+len(o.seen) == maxDataSamples {
		return fmt.Errorf("processors: data of %d: a fragment may have %d bytes and %d samples", o.in.Seq, maxData, maxDataSamples)
	}
	o.size += len(b)
	s := schemas.Sample{DTS: at, Duration: uint32(min(max(0, duration), math.MaxUint32)), Sync: true, Data: b}
	if d.Event != nil {
		o.told = append(o.told, s)
	} else {
		o.seen = append(o.seen, s)
	}
	return nil
}

// Event tells an event. Its Start and End default to those of the fragment. Errors: as
// those of Data.
func (o *Output) Event(ctx context.Context, e schemas.Event) error {
	if e.Type == "" {
		return errors.New("processors: an event needs a type")
	}
	if e.Start.IsZero() {
		e.Start = o.in.Start
	}
	if e.End.IsZero() {
		src, err := o.in.Entry(ctx)
		if err != nil {
			return err
		}
		e.End = src.End()
	}
	e.Start, e.End = e.Start.UTC(), e.End.UTC()
	at := o.in.Media + max(0, schemas.Ticks(e.Start.Sub(o.in.Start)))
	if err := o.Data(at, schemas.Ticks(max(0, e.End.Sub(e.Start))), schemas.Data{Event: &e}); err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.events = append(o.events, e)
	return nil
}

// Note sets the note of the fragment's entry in a rendition: JSON of at most
// schemas.MaxNote bytes. Default: for data the events ([schemas.Note]), else none.
func (o *Output) Note(rendition string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("processors: note of %d: %w", o.in.Seq, err)
	}
	if len(b) > schemas.MaxNote {
		return fmt.Errorf("processors: note of %d: %d bytes, at most %d are allowed", o.in.Seq, len(b), schemas.MaxNote)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.notes[rendition] = string(b)
	return nil
}

// finish writes the data, if there is an output of data. e is the fragment's entry.
func (o *Output) finish(ctx context.Context, e schemas.Entry) error {
	name := o.data()
	if name == "" {
		return nil
	}
	c, err := o.dataChunk(e)
	if err != nil {
		return err
	}
	return o.WriteTo(ctx, name, c)
}

// has reports whether something was written to a rendition.
func (o *Output) has(rendition string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.written[rendition]
}

func newOutput(in *Fragment, outputs []Rendition, sinks map[string]sink) *Output {
	return &Output{in: in, outputs: outputs, sinks: sinks, notes: map[string]string{}, written: map[string]bool{}}
}

// data returns the name of the output of data, "" if there is none.
func (o *Output) data() string {
	for _, r := range o.outputs {
		if r.Role == schemas.RoleData {
			return r.Name
		}
	}
	return ""
}

// note returns the note of the fragment's entry in a rendition.
func (o *Output) note(rendition string) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if n, ok := o.notes[rendition]; ok || rendition != o.data() || len(o.events) == 0 {
		return n
	}
	var n schemas.Note
	for i, e := range o.events {
		n.Events = append(n.Events, schemas.NoteEvent{
			Type: e.Type, Value: e.Value, Start: seconds(e.Start.Sub(o.in.Start)), End: seconds(e.End.Sub(o.in.Start)),
		})
		if b, err := json.Marshal(schemas.Note{Events: n.Events, More: len(o.events)}); err != nil || len(b) > schemas.MaxNote {
			n.Events, n.More = n.Events[:i], len(o.events)-i
			break
		}
	}
	b, err := json.Marshal(n)
	if err != nil {
		return ""
	}
	return string(b)
}

func seconds(d time.Duration) float64 {
	return float64(d.Round(time.Millisecond)) / float64(time.Second)
}
