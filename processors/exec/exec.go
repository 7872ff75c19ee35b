// Package exec is a processor that runs any program, in any language. The program gets the
// pictures of a fragment over a pipe, and answers with boxes, events and pictures. The
// protocol is described in docs/exec-protocol.md. The module framelog in the folder python
// speaks it.
package exec

import (
	"context"
	"fmt"

	"github.com/framelog/framelog/processors"
)

// New returns the processor. It looks for the program, and starts it with the first
// fragment. Call the processor's Close at its end. Errors: a setting is wrong, or there is
// no such program.
func New(name string, s Settings) (processors.Processor, error) {
	o, err := s.options(name)
	if err != nil {
		return processors.Processor{}, err
	}
	return newPool(o).processor(), nil
}

func (p *pool) processor() processors.Processor {
	outputs := []processors.Rendition{processors.Data(p.name)}
	concurrency := p.Children
	if p.rendition.Role != "" {
		outputs = append(outputs, p.rendition)
		// Pictures of a later fragment wait for those of the oldest one, which must not
		// wait for a child that the later one has.
		concurrency = 1
	}
	return processors.Processor{
		Name: p.name, Process: p.process, Close: p.close, Outputs: outputs, Concurrency: concurrency,
	}
}

// process has a child process the fragment.
func (p *pool) process(ctx context.Context, in *processors.Fragment, out *processors.Output) error {
	s, err := p.take(ctx)
	if err != nil {
		return err
	}
	defer p.give(s)
	if err := p.prepare(ctx, s); err != nil {
		return err
	}
	j := newJob(p, s.child, in, out)
	if err := j.run(ctx); err != nil {
		return fmt.Errorf("exec: %w", err)
	}
	s.failures = 0
	return nil
}
