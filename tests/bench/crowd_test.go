package bench

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/framelog/framelog/egress/live"
	"github.com/framelog/framelog/tests/testenv"
)

// One camera with many viewers, each with a connection of its own.
const (
	crowdSocketName = "framelog, one camera, many viewers over the socket"
	crowdHLSName    = "framelog, one camera, many low-latency viewers"
)

// crowd is a subject with viewers, who count what they get.
type crowd struct {
	running
	watchers *watchers
	parts    []atomic.Int64 // by viewer, since begin
}

// gather starts the viewers of a subject. watch runs for one until its context ends, and calls
// got for each part.
func gather(b *testing.B, of running, c *cameras, watch func(ctx context.Context, w *watchers, got func()) error) running {
	b.Helper()
	p := &crowd{running: of, watchers: newWatchers(b, c), parts: make([]atomic.Int64, *flags.viewers)}
	w := p.watchers
	for i := range p.parts {
		w.wg.Go(func() {
			if err := watch(w.ctx, w, func() { p.parts[i].Add(1) }); err != nil && w.ctx.Err() == nil {
				w.fail(fmt.Errorf("viewer %d: %w", i, err))
			}
		})
	}
	testenv.Wait(b, time.Minute, "every viewer to begin", func() bool {
		for i := range p.parts {
			if p.parts[i].Load() == 0 && w.failed() == 0 {
				return false
			}
		}
		return true
	})
	return p
}

func (p *crowd) begin(b *testing.B) {
	p.running.begin(b)
	for i := range p.parts {
		p.parts[i].Store(0)
	}
}

// end checks that each viewer got what the camera sent meanwhile: at least four parts a second,
// of five.
func (p *crowd) end(b *testing.B, s *sample) {
	for i := range p.parts {
		if got, due := int(p.parts[i].Load()), int(4*flags.seconds.Seconds()); got < due {
			b.Errorf("%s: viewer %d got %d parts, and at least %d were due: the numbers mean nothing", s.Subject, i, got, due)
		}
	}
	p.watchers.report(b)
	p.running.end(b, s)
}

func (p *crowd) stop() {
	p.watchers.stop()
	p.running.stop()
}

func startCrowdOverSocket(b *testing.B, c *cameras) running {
	l := startLog(b, c, configOf(c, "on_demand"), false)
	return gather(b, l, c, func(ctx context.Context, _ *watchers, got func()) error {
		return overSocket(ctx, l.URL, 1, func(live.Media, time.Time) error { got(); return nil })
	})
}

func startCrowdOverHLS(b *testing.B, c *cameras) running {
	l := startLog(b, c, configOf(c, "on_demand"), false)
	return gather(b, l, c, hlsViewer(l.URL+"/hls/"+cameraID(0)+"/index.m3u8"))
}

// hlsViewer plays a multivariant playlist of any server.
func hlsViewer(index string) func(ctx context.Context, w *watchers, got func()) error {
	return func(ctx context.Context, w *watchers, got func()) error {
		return w.watch(ctx, index, func([]byte, time.Time) error { got(); return nil })
	}
}
