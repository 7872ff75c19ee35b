// Package processorstest tests whether a processor keeps the rules of package processors.
// A test of a processor is one line:
//
//	func TestConformance(t *testing.T) { processorstest.Run(t, New()) }
//
// The most important rule is that the output depends on the fragment alone. Fragments are
// processed in any order, at the same time, in any process, and again after a crash.
package processorstest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/framelog/framelog/processors"
	"github.com/framelog/framelog/schemas"
)

// How long a processor may take for a fragment, and to return after its context ended.
var (
	patience = 2 * time.Minute
	soon     = 10 * time.Second
)

// minCalls is how often the processor is called at least while leaks are looked for.
const minCalls = 16

// Run tests a processor with fragments. Default: all of [Fragments]. It reports to t if
//
//   - the processor returns an error or panics,
//   - the output of a fragment is another one when the fragment is processed again, in
//     another order, or beside others,
//   - it changes the fragment or its chunks (run the test with -race too: chunks are shared),
//   - it does not return soon after its context ends, also while it waits for a chunk,
//   - it returns another error than [processors.ErrSourceChanged] after it has got this one,
//   - it leaves goroutines or open files behind (each pipeline of GStreamer has some),
//   - its output is not what readers of the log need: see [processors.Output].
//
// Other tests must not run at the same time, as they do after t.Parallel: what they leave
// behind would count.
func Run(t testing.TB, p processors.Processor, fragments ...*processors.Fragment) {
	t.Helper()
	if len(fragments) == 0 {
		fragments = Fragments(t)
	}
	h := &harness{t: t, p: p, stop: make(chan struct{})}
	defer close(h.stop)
	for _, f := range fragments {
		h.add(f)
	}
	if !h.alone() {
		return
	}
	before := takeStock()
	h.again()
	h.reversed()
	h.concurrently()
	h.sourceChanges()
	h.contextEnds()
	before.compare(t)
}

type harness struct {
	t      testing.TB
	p      processors.Processor
	inputs []*input
	stop   chan struct{} // closed at the end: ends what waits for chunks in spite of its context
}

// input is a fragment, and what the processor made of it alone.
type input struct {
	*processors.Fragment
	name   string
	chunks []*schemas.Chunk
	e      schemas.Entry
	print  string   // of the fragment before it was processed
	want   []string // the output, as lines does
	told   bool     // that its output is another one now
}

func (h *harness) add(f *processors.Fragment) {
	h.t.Helper()
	in := &input{Fragment: f, name: fmt.Sprintf("fragment %s/%d", f.Camera, f.Seq)}
	for c, err := range f.Chunks(h.t.Context()) {
		if err != nil {
			h.t.Fatalf("processorstest: read %s: %v", in.name, err)
		}
		in.chunks = append(in.chunks, c)
	}
	var err error
	if in.e, err = f.Entry(h.t.Context()); err != nil {
		h.t.Fatalf("processorstest: read %s: %v", in.name, err)
	}
	in.print = in.fingerprint()
	h.inputs = append(h.inputs, in)
}

// outcome is how a call of the processor ended.
type outcome struct {
	result *processors.Result
	err    error
}

// start processes a fragment in a goroutine. A panic is an error.
func (h *harness) start(ctx context.Context, f *processors.Fragment) <-chan outcome {
	ended := make(chan outcome, 1)
	go func() {
		var o outcome
		defer func() {
			if r := recover(); r != nil {
				o.err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
			}
			ended <- o
		}()
		o.result, o.err = h.p.Collect(ctx, f)
	}()
	return ended
}

// collect processes a fragment. It ends the test if the processor hangs.
func (h *harness) collect(f *processors.Fragment, name string) (*processors.Result, error) {
	h.t.Helper()
	o := await(h.t, h.start(h.t.Context(), f), patience, "%s: the processor has not returned after %v", name, patience)
	return o.result, o.err
}

// await waits for a value of ch, or for its end. It ends the test if that takes longer than d.
func await[T any](t testing.TB, ch <-chan T, d time.Duration, format string, args ...any) (v T) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case v = <-ch:
	case <-timer.C:
		t.Fatalf(format, args...)
	}
	return v
}

// alone processes each fragment once. It goes on with those that the processor can
// process, and returns false if there are none.
func (h *harness) alone() bool {
	h.t.Helper()
	var good []*input
	for _, in := range h.inputs {
		r, err := h.collect(in.Fragment, in.name)
		switch {
		case err != nil:
			h.t.Errorf("%s: the processor failed: %v", in.name, err)
		case in.changed():
			h.t.Errorf("%s: the processor has changed the fragment, which it shares with others; copy what you change", in.name)
		default:
			in.want = lines(r)
			for _, problem := range contract(&h.p, in, r) {
				h.t.Errorf("%s: %s", in.name, problem)
			}
			good = append(good, in)
		}
	}
	h.inputs = good
	return len(good) > 0
}

// check compares what came of a fragment with what came of it alone.
func (h *harness) check(in *input, r *processors.Result, err error, when string) {
	h.t.Helper()
	switch {
	case in.told:
	case err != nil:
		h.t.Errorf("%s: the processor failed when the fragment was processed %s: %v", in.name, when, err)
	case in.changed():
		h.t.Errorf("%s: the processor has changed the fragment, which it shares with others; copy what you change", in.name)
	default:
		if d := difference(in.want, lines(r)); d != "" {
			in.told = true
			h.t.Errorf("%s: the output is another one when the fragment is processed %s; it must depend on the fragment alone\n%s", in.name, when, d)
		}
	}
}

func (h *harness) again() {
	h.t.Helper()
	for range (minCalls + len(h.inputs) - 1) / len(h.inputs) {
		for _, in := range h.inputs {
			r, err := h.collect(in.Fragment, in.name)
			h.check(in, r, err, "again")
		}
	}
}

func (h *harness) reversed() {
	h.t.Helper()
	for _, in := range slices.Backward(h.inputs) {
		r, err := h.collect(in.Fragment, in.name)
		h.check(in, r, err, "in another order")
	}
}

// concurrently processes each fragment twice, four at a time, in random order.
func (h *harness) concurrently() {
	h.t.Helper()
	all := slices.Concat(h.inputs, h.inputs)
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	outcomes := make([]outcome, len(all))
	var wg sync.WaitGroup
	free := make(chan struct{}, 4)
	for i, in := range all {
		wg.Go(func() {
			free <- struct{}{}
			defer func() { <-free }()
			outcomes[i] = <-h.start(h.t.Context(), in.Fragment)
		})
	}
	ended := make(chan struct{})
	go func() {
		wg.Wait()
		close(ended)
	}()
	await(h.t, ended, patience, "the processor has not returned after %v when it processed several fragments at the same time", patience)
	for i, in := range all {
		h.check(in, outcomes[i].result, outcomes[i].err, "beside others")
	}
}

// sourceChanges gives the processor the error that says that another copy of the fragment
// counts, in place of the second chunk.
func (h *harness) sourceChanges() {
	h.t.Helper()
	for _, in := range h.inputs {
		var told sync.Once
		got := false
		f := in.live(func(_ context.Context, i int) (*schemas.Chunk, error) {
			if i == 0 {
				return in.chunks[0], nil
			}
			told.Do(func() { got = true })
			return nil, processors.ErrSourceChanged
		}, in.Entry)
		if _, err := h.collect(f, in.name); got && !errors.Is(err, processors.ErrSourceChanged) {
			h.t.Errorf("%s: reading a chunk returned processors.ErrSourceChanged, and the processor returned %v; it must return the errors of a fragment as they are",
				in.name, err)
		}
	}
}

// contextEnds ends the context of the processor: before it begins, and while it waits for
// a chunk or the entry.
func (h *harness) contextEnds() {
	h.t.Helper()
	for _, in := range h.inputs {
		ctx, cancel := context.WithCancel(h.t.Context())
		cancel()
		h.returns(h.start(ctx, in.Fragment), in.name, "it ended before the processor began")
		h.endsWhileWaiting(in)
	}
}

func (h *harness) endsWhileWaiting(in *input) {
	h.t.Helper()
	waits := make(chan struct{})
	var once sync.Once
	wait := func(ctx context.Context) error {
		once.Do(func() { close(waits) })
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-h.stop:
			return io.ErrUnexpectedEOF
		}
	}
	f := in.live(func(ctx context.Context, i int) (*schemas.Chunk, error) {
		if i == 0 {
			return in.chunks[0], nil
		}
		return nil, wait(ctx)
	}, func(ctx context.Context) (schemas.Entry, error) { return schemas.Entry{}, wait(ctx) })
	ctx, cancel := context.WithCancel(h.t.Context())
	defer cancel()
	ended := h.start(ctx, f)
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-ended: // it needs no more of the fragment
		return
	case <-waits:
	case <-timer.C:
		h.t.Fatalf("%s: the processor has got the first chunk only, and has neither asked for the next one nor returned after %v", in.name, patience)
	}
	cancel()
	h.returns(ended, in.name, "it ended while the processor waited for the next chunk")
}

// returns ends the test if the processor does not return soon.
func (h *harness) returns(ended <-chan outcome, name, when string) {
	h.t.Helper()
	await(h.t, ended, soon, "%s: the processor ignores its context: %s, and the processor has not returned %v later", name, when, soon)
}
