package processors

import (
	"context"
	"sync"
)

// gate lets the functions of one process run: many at a time, or one alone.
type gate struct {
	mu      sync.Mutex
	running map[*pass]bool // true: it was told to stop
	alone   *pass          // runs alone, or waits for it; nil: none does
	changed chan struct{}  // closed at the next change
}

// pass is the permission to run a function. leave gives it back.
type pass struct {
	gate    *gate
	stopped chan struct{} // closed when the function has to end: another one has to run alone
}

func newGate() *gate {
	return &gate{running: map[*pass]bool{}, changed: make(chan struct{})}
}

// enter waits until a function may run. If it has to run alone, all that run are told to
// stop, and no other one runs before it has left.
func (g *gate) enter(ctx context.Context, alone bool) (*pass, error) {
	p := &pass{gate: g, stopped: make(chan struct{})}
	for {
		if err := ctx.Err(); err != nil {
			p.leave()
			return nil, err
		}
		g.mu.Lock()
		ok := g.admit(p, alone)
		changed := g.changed
		g.mu.Unlock()
		if ok {
			return p, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// admit reports whether p may run now. g.mu is held.
func (g *gate) admit(p *pass, alone bool) bool {
	if alone && g.alone == nil {
		g.alone = p
		for other, told := range g.running {
			if !told {
				close(other.stopped)
				g.running[other] = true
			}
		}
	}
	if g.alone != nil && (g.alone != p || len(g.running) > 0) {
		return false
	}
	g.running[p] = false
	return true
}

func (p *pass) leave() {
	g := p.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.running, p)
	if g.alone == p {
		g.alone = nil
	}
	close(g.changed)
	g.changed = make(chan struct{})
}
