package processors

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/framelog/framelog/schemas"
)

// The one that has to run alone stops the others and waits for them. Nothing else begins
// before it has left.
func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		enter := func(alone bool) <-chan *pass {
			ch := make(chan *pass, 1)
			go func() {
				p, err := g.enter(t.Context(), alone)
				if err != nil {
					t.Error(err)
				}
				ch <- p
			}()
			synctest.Wait()
			return ch
		}
		one, two := <-enter(false), <-enter(false)
		alone := enter(true)
		later, second := enter(false), enter(true)
		for _, p := range []*pass{one, two} {
			select {
			case <-p.stopped:
			default:
				t.Error("a function that runs is not told to stop")
			}
		}
		entered := func(ch <-chan *pass) bool { synctest.Wait(); return len(ch) > 0 }
		one.leave()
		if entered(alone) || entered(later) {
			t.Error("something begins although a function still runs")
		}
		two.leave()
		if !entered(alone) || entered(later) || entered(second) {
			t.Fatal("want the one alone, and nothing else")
		}
		(<-alone).leave()
		for n := 2; n > 0; n-- { // in any order, and one after the other
			select {
			case p := <-later:
				p.leave()
			case p := <-second:
				if len(g.running) != 1 {
					t.Error("the second one does not run alone")
				}
				p.leave()
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		waits := <-enter(false)
		go func() { time.Sleep(time.Second); cancel() }()
		if _, err := g.enter(ctx, true); err == nil {
			t.Error("it has entered although its context has ended")
		}
		if p := <-enter(false); p == nil {
			t.Error("after one that gave up, nothing may enter")
		}
		waits.leave()
	})
}

// The deadline stands still while the function waits for Kafka, and begins when the
// fragment is complete.
func TestClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClock(10 * time.Second)
		ctx := withClock(t.Context(), c)
		expired := func(after time.Duration) bool {
			time.Sleep(after)
			synctest.Wait()
			select {
			case <-c.expired:
				return true
			default:
				return false
			}
		}
		if expired(time.Hour) {
			t.Error("it has expired before the fragment was complete")
		}
		c.start()
		if expired(6 * time.Second) {
			t.Error("it has expired after 6 of 10 s")
		}
		first, second := pauseClock(ctx), pauseClock(ctx)
		first()
		if expired(time.Hour) {
			t.Error("it has expired while the function waited")
		}
		second()
		if expired(3 * time.Second) {
			t.Error("it has expired after 9 of 10 s")
		}
		if !expired(2 * time.Second) {
			t.Error("it has not expired after 11 of 10 s")
		}
		pauseClock(ctx)()
		c.stop()
	})
}

// An attempt does not fail because Kafka is away: an hour without the chunks, and without
// anybody who takes the output, does not count for the deadline.
func TestDeadlineWithoutKafka(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := upperProcessor()
		p = p.withDefaults()
		chunk := &schemas.Chunk{
			Seq: 1, Tracks: []schemas.Track{{ID: schemas.VideoTrack}},
			Runs: []schemas.Run{{Track: schemas.VideoTrack, Samples: []schemas.Sample{{Duration: frame, Sync: true}}}},
		}
		src := newArriving(1, 0, func(s *arriving, _ schemas.Entry) {
			time.AfterFunc(time.Hour, func() { s.add(chunk) })
		})
		src.enter(schemas.Entry{Kind: schemas.KindWhole, Epoch: 1, Seq: 1, Chunks: 1})
		in := newFragment(camID, schemas.Raw, "", chunk, src.source())
		out := newOutput(in, p.Outputs, map[string]sink{"upper": slowSink{}})
		a := attempts{p: &p, gate: newGate()}
		began := time.Now()
		if err := a.run(t.Context(), attempt{in: in, out: out, src: src}); err != nil {
			t.Error(err)
		}
		if d := time.Since(began); d != 2*time.Hour {
			t.Errorf("it took %v, want 2 h", d)
		}
	})
}

// slowSink takes a chunk after an hour.
type slowSink struct{}

func (slowSink) Write(ctx context.Context, _ *schemas.Chunk) error {
	defer pauseClock(ctx)()
	return pause(ctx, time.Hour)
}
