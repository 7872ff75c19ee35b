package processorstest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/gstreamer"
	"github.com/framelog/framelog/processors"
	"github.com/framelog/framelog/schemas"
)

// recorder is a testing.TB that keeps what is reported.
type recorder struct {
	testing.TB
	reports []string
}

func (r *recorder) Helper() {}

func (r *recorder) Errorf(format string, args ...any) {
	r.reports = append(r.reports, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

// report returns what f reports.
func report(t *testing.T, f func(testing.TB)) []string {
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(r)
	}()
	<-done
	return r.reports
}

// impatient makes the harness wait for a short time only.
func impatient(t *testing.T) {
	was := soon
	soon = 100 * time.Millisecond
	t.Cleanup(func() { soon = was })
}

// edited is a processor that gives the chunks of its input, changed by edit.
func edited(edit func(f *processors.Fragment, c *schemas.Chunk)) processors.Processor {
	return processors.Processor{
		Name: "copy", Outputs: []processors.Rendition{processors.Variant("copy")},
		Process: func(ctx context.Context, in *processors.Fragment, out *processors.Output) error {
			for c, err := range in.Chunks(ctx) {
				if err != nil {
					return err
				}
				d := *c
				d.Tracks = slices.Clone(c.Tracks)
				d.Runs = slices.Clone(c.Runs)
				for i := range d.Runs {
					d.Runs[i].Samples = slices.Clone(d.Runs[i].Samples)
				}
				edit(in, &d)
				if err := out.Write(ctx, &d); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// noted is a processor of data.
func noted(f processors.Func) processors.Processor {
	return processors.Processor{Name: "noted", Process: f}
}

// Processors that keep the rules, with fragments of all kinds.
func TestGoodProcessors(t *testing.T) {
	Run(t, edited(func(*processors.Fragment, *schemas.Chunk) {}))
	Run(t, noted(func(ctx context.Context, in *processors.Fragment, out *processors.Output) error {
		e, err := in.Entry(ctx)
		if err != nil {
			return err
		}
		for c, err := range in.Chunks(ctx) {
			if err != nil {
				return err
			}
			if err := out.Data(c.MediaStart(), c.MediaEnd()-c.MediaStart(), schemas.Data{Score: float64(c.Size()) / float64(e.Bytes)}); err != nil {
				return err
			}
		}
		return out.Event(ctx, schemas.Event{Type: "fragment", Value: float64(e.Bytes)})
	}))
	filter := edited(nil)
	filter.Process = func(context.Context, *processors.Fragment, *processors.Output) error { return nil }
	Run(t, filter)
}

// Each processor here breaks one rule, and the report names it.
func TestOffenders(t *testing.T) {
	impatient(t)
	end := make(chan struct{}) // of what offenders leave behind
	t.Cleanup(func() { close(end) })

	var calls, active atomic.Int64
	var last sync.Map
	shift := func(ticks int64) processors.Processor {
		return edited(func(f *processors.Fragment, c *schemas.Chunk) {
			for i := range c.Runs {
				for j := range c.Runs[i].Samples {
					c.Runs[i].Samples[j].DTS += schemas.Rescale(ticks, schemas.MediaTimescale, f.Tracks[i].Timescale)
				}
			}
			c.Start = f.Time(c.MediaStart())
		})
	}
	for _, tt := range []struct {
		name string
		p    processors.Processor
		want string
	}{
		{"it counts its calls", noted(func(_ context.Context, _ *processors.Fragment, out *processors.Output) error {
			return out.Note("noted", calls.Add(1))
		}), "the output is another one when the fragment is processed again; it must depend on the fragment alone\n  alone: note of noted: 1\n  now:   note of noted: 3"},
		{"it remembers the fragment before", noted(func(_ context.Context, in *processors.Fragment, out *processors.Output) error {
			before, _ := last.Swap("camera", in.Camera)
			return out.Note("noted", before)
		}), "the output is another one when the fragment is processed again; it must depend on the fragment alone\n  alone: note of noted: null\n  now:   note of noted: \"h264-audio\""},
		{"its calls share something", noted(func(_ context.Context, _ *processors.Fragment, out *processors.Output) error {
			n := active.Add(1)
			defer active.Add(-1)
			time.Sleep(10 * time.Millisecond) // other calls begin meanwhile
			return out.Note("noted", n)
		}), "the output is another one when the fragment is processed beside others"},
		{"it changes the bytes of a sample", noted(func(ctx context.Context, in *processors.Fragment, _ *processors.Output) error {
			for c := range in.Chunks(ctx) {
				c.Runs[0].Samples[0].Data[7]++
				return nil
			}
			return nil
		}), "the processor has changed the fragment, which it shares with others"},
		{"it changes the fragment", noted(func(_ context.Context, in *processors.Fragment, _ *processors.Output) error {
			in.Seq++
			return nil
		}), "the processor has changed the fragment, which it shares with others"},
		{"it waits for chunks without its context", noted(func(_ context.Context, in *processors.Fragment, _ *processors.Output) error {
			for range in.Chunks(context.Background()) { //nolint:revive // it waits
			}
			return nil
		}), "the processor ignores its context: it ended while the processor waited for the next chunk"},
		{"it does not look at its context", noted(func(ctx context.Context, _ *processors.Fragment, _ *processors.Output) error {
			if ctx.Err() != nil {
				<-end
			}
			return nil
		}), "the processor ignores its context: it ended before the processor began"},
		{"it forgets an error", noted(func(ctx context.Context, in *processors.Fragment, _ *processors.Output) error {
			for range in.Chunks(ctx) { //nolint:revive // it reads all
			}
			return nil
		}), "reading a chunk returned processors.ErrSourceChanged, and the processor returned <nil>"},
		{"it fails", noted(func(context.Context, *processors.Fragment, *processors.Output) error {
			return errors.New("no")
		}), "fragment h264/1: the processor failed: no"},
		{"it panics", noted(func(context.Context, *processors.Fragment, *processors.Output) error {
			panic("no")
		}), "fragment h264/1: the processor failed: panic: no\ngoroutine"},
		{"it leaves a goroutine", noted(func(context.Context, *processors.Fragment, *processors.Output) error {
			go func() { <-end }()
			return nil
		}), "goroutines, started by github.com/framelog/framelog/processors/processorstest.TestOffenders.func"},
		{"it leaves a file open", noted(func(context.Context, *processors.Fragment, *processors.Output) error {
			f, err := os.Open(os.DevNull)
			t.Cleanup(func() { f.Close() })
			return err
		}), " open files"},
		{"its time is before the fragment", shift(-schemas.MediaTimescale), "and the fragment from"},
		{"its time is behind the fragment", shift(schemas.MediaTimescale), "and the fragment from"},
		{"its time goes back", edited(func(f *processors.Fragment, c *schemas.Chunk) {
			if v := c.Video(); v[0].DTS > f.Media {
				back := v[0].DTS - f.Media
				for i := range v {
					v[i].DTS -= back
				}
				c.Start = f.Start
			}
		}), "chunk 1, track 1, sample 0: media time goes back"},
		{"it does not set the public time", edited(func(_ *processors.Fragment, c *schemas.Chunk) { c.Start = time.Time{} }), "its Start is 0001-01-01"},
		{"it gives no tracks", edited(func(_ *processors.Fragment, c *schemas.Chunk) { c.Tracks = nil }), "rendition copy, chunk 0: the first chunk of a fragment needs Tracks"},
		{"it gives samples without a track", edited(func(_ *processors.Fragment, c *schemas.Chunk) {
			c.Tracks = slices.DeleteFunc(c.Tracks, func(t schemas.Track) bool { return t.ID == schemas.AudioTrack })
		}), "chunk 0, track 2: it is not one of the fragment's tracks"},
		{"its first picture needs others", edited(func(_ *processors.Fragment, c *schemas.Chunk) { c.Video()[0].Sync = false }), "begins with a picture that decodes alone"},
		{"its samples have holes", edited(func(_ *processors.Fragment, c *schemas.Chunk) { c.Video()[0].Duration-- }), "sample 1 begins at"},
		{"its event is elsewhere", noted(func(ctx context.Context, in *processors.Fragment, out *processors.Output) error {
			return out.Event(ctx, schemas.Event{Type: "x", Start: in.Start, End: in.Start.Add(time.Minute)})
		}), `event "x" is from`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := report(t, func(tb testing.TB) { Run(tb, tt.p, Fragments(t, "h264", "h264-audio")...) })
			if !strings.Contains(strings.Join(got, "\n"), tt.want) {
				t.Errorf("reported is\n%s\nwant %q", strings.Join(got, "\n"), tt.want)
			}
		})
	}
}

// A pipeline of GStreamer that is left behind is found by its open files.
func TestPipelineIsLeftBehind(t *testing.T) {
	impatient(t)
	p := noted(func(context.Context, *processors.Fragment, *processors.Output) error {
		e, err := gstreamer.NewAACEncoder(gstreamer.AACConfig{SampleRate: 48000, Channels: 1}, func([]byte, gstreamer.EncodedUnit) {})
		if err == nil {
			t.Cleanup(func() { e.Close() })
		}
		return err
	})
	got := report(t, func(tb testing.TB) { Run(tb, p, Fragments(t, "h264")...) })
	if !strings.Contains(strings.Join(got, "\n"), " open files") {
		t.Errorf("reported is %q", got)
	}
}
