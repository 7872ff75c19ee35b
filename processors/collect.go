package processors

import (
	"context"

	"github.com/framelog/framelog/schemas"
)

// Result is what a processor makes of one fragment.
type Result struct {
	Chunks   map[string][]*schemas.Chunk // by rendition
	Filtered []string                    // renditions without output
	Events   []schemas.Event
	Notes    map[string]string // by rendition
}

// Collect processes one fragment, and publishes nothing. A panic is not caught.
func (p *Processor) Collect(ctx context.Context, in *Fragment) (*Result, error) {
	out, r := p.collecting(in)
	if err := p.Process(ctx, in, out); err != nil {
		return nil, err
	}
	e, err := in.Entry(ctx)
	if err != nil {
		return nil, err
	}
	return r, p.collected(ctx, e, out, r)
}

// collecting returns an output that keeps the chunks in a result.
func (p *Processor) collecting(in *Fragment) (*Output, *Result) {
	r := &Result{Chunks: map[string][]*schemas.Chunk{}, Notes: map[string]string{}}
	sinks := map[string]sink{}
	for _, o := range p.Renditions() {
		sinks[o.Name] = &memory{r: r, name: o.Name, in: in}
	}
	return newOutput(in, p.Renditions(), sinks), r
}

// collected completes the result of a fragment when the function has returned.
func (p *Processor) collected(ctx context.Context, e schemas.Entry, out *Output, r *Result) error {
	if err := out.finish(ctx, e); err != nil {
		return err
	}
	for _, o := range p.Renditions() {
		if !out.has(o.Name) {
			r.Filtered = append(r.Filtered, o.Name)
		}
		if n := out.note(o.Name); n != "" {
			r.Notes[o.Name] = n
		}
	}
	r.Events = out.events
	return nil
}

// memory is a sink that keeps chunks, numbered as in the log.
type memory struct {
	r    *Result
	name string
	in   *Fragment
}

func (m *memory) Write(_ context.Context, c *schemas.Chunk) error {
	c.Session, c.Seq, c.Index = m.in.Session, m.in.Seq, uint32(len(m.r.Chunks[m.name]))
	m.r.Chunks[m.name] = append(m.r.Chunks[m.name], c)
	return nil
}
