package processors

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
)

// Near the live edge the output follows the camera chunk by chunk: it is there before the
// fragment is complete.
func TestChunkByChunk(t *testing.T) {
	virtual(t, func(t *testing.T, e *env) {
		first := e.cam.fragments(1)
		e.start(upperProcessor())
		e.waitFor("upper", first[0].Seq)
		ahead := e.provisional(schemas.Topic{Camera: camID, Rendition: "upper"})
		for i := range uint32(5) {
			e.cam.chunk(i, i == 4)
			e.wait(fmt.Sprintf("chunk %d is in the output", i), func() bool { return ahead() > int(i) })
			if n := len(e.entries(raw)); i < 4 && n != 1 {
				t.Fatalf("the camera has %d entries: the fragment is complete already", n)
			}
		}
		e.waitFor("upper", first[0].Seq+1)
		e.sameAs("upper", e.entries(raw))
	})
}

// provisional returns a function that returns how many chunks a topic has ahead of its
// entries.
func (e *env) provisional(topic schemas.Topic) func() int {
	ctx, cancel := context.WithCancel(context.Background())
	seen := make(chan int, 100)
	done := make(chan struct{})
	go func() {
		defer close(done)
		n := 0
		for ev, err := range e.log.Tail(ctx, topic, medialog.Position{}) {
			if err != nil {
				return
			}
			if ev.Chunk != nil {
				n++
				seen <- n
			}
		}
	}()
	e.t.Cleanup(func() { cancel(); <-done })
	newest := 0
	return func() int {
		for {
			select {
			case newest = <-seen:
			default:
				return newest
			}
		}
	}
}

// Another process takes the camera over in the middle of a fragment, whose chunks the
// processor has used. The entry names fewer of them, or another copy: the processor begins
// again with what counts, and this is no failed attempt.
func TestSourceChanged(t *testing.T) {
	for what, c := range map[string]struct {
		back    int // at which chunk the other one begins
		process Func
		kind    schemas.Kind
	}{
		"fewer chunks":                      {1, upper, schemas.KindTruncated},
		"another copy":                      {3, upper, schemas.KindWhole},
		"fewer chunks, and it reads late":   {1, lateReader, schemas.KindTruncated},
		"another copy, and it reads late":   {3, lateReader, schemas.KindWhole},
		"fewer chunks, and it looks at one": {1, oneChunk, schemas.KindTruncated},
	} {
		t.Run(what, func(t *testing.T) {
			virtual(t, func(t *testing.T, e *env) {
				first := e.cam.fragments(1)
				var attempts tried
				var mu sync.Mutex
				most := map[uint64]int{} // chunks that the function has got
				p := upperProcessor()
				p.Process = func(ctx context.Context, in *Fragment, out *Output) error {
					attempts.note(in)
					chunk := in.source.chunk
					in.source.chunk = func(ctx context.Context, i int) (*schemas.Chunk, error) {
						got, err := chunk(ctx, i)
						if err == nil {
							mu.Lock()
							defer mu.Unlock()
							most[in.Seq] = max(most[in.Seq], i+1)
						}
						return got, err
					}
					return c.process(ctx, in, out)
				}
				e.start(p)
				e.waitFor("upper", first[0].Seq)
				for i := range uint32(3) {
					e.cam.chunk(i, false)
				}
				if !strings.Contains(what, "it") {
					e.wait("the function has the chunks", func() bool {
						mu.Lock()
						defer mu.Unlock()
						return most[first[0].Seq+1] == 3
					})
				}
				e.cam = e.cam.takeOver(c.back)
				e.cam.fragments(3)
				source := e.entries(raw)
				if source[1].Kind != c.kind || (source[1].Epoch == source[0].Epoch) != (c.back == 1) {
					t.Fatalf("the fragment is %+v: the test misses what it is for", source[1])
				}
				got := e.waitFor("upper", source[len(source)-1].Seq)
				if what == "fewer chunks, and it looks at one" {
					if len(got) != len(source) || got[1].Kind != c.kind || got[1].Chunks != 1 {
						t.Errorf("the output has %+v", got[1])
					}
				} else {
					e.sameAs("upper", source)
				}
				for _, n := range attempts.list() {
					if n != 1 {
						t.Errorf("attempts %v: a change of the source is no failure", attempts.list())
					}
				}
			})
		})
	}
}

// oneChunk copies the first chunk alone.
func oneChunk(ctx context.Context, in *Fragment, out *Output) error {
	for c, err := range in.Chunks(ctx) {
		if err != nil {
			return err
		}
		return out.Write(ctx, c)
	}
	return nil
}

// lateReader reads nothing before the fragment is complete.
func lateReader(ctx context.Context, in *Fragment, out *Output) error {
	if _, err := in.Entry(ctx); err != nil {
		return err
	}
	return upper(ctx, in, out)
}

// A gap of the camera is a gap of the output, with its reason. What the function gives no
// output for is a gap too.
func TestGaps(t *testing.T) {
	virtual(t, func(t *testing.T, e *env) {
		first := e.cam.fragments(1)
		p := upperProcessor()
		p.Process = func(ctx context.Context, in *Fragment, out *Output) error {
			if in.Seq == first[0].Seq+2 {
				return out.Note("upper", map[string]string{"why": "nobody there"})
			}
			return upper(ctx, in, out)
		}
		e.start(p)
		e.waitFor("upper", first[0].Seq)
		e.cam.w.Gap(e.cam.start(), e.cam.media, 2*schemas.MediaTimescale, schemas.ReasonSource)
		e.cam.media += 2 * schemas.MediaTimescale
		e.cam.fragments(2)
		source := e.entries(raw)
		got := e.waitFor("upper", source[len(source)-1].Seq)
		for i, want := range []string{"", schemas.ReasonSource, schemas.ReasonFiltered, ""} {
			if got[i].Reason != want || got[i].Seq != source[i].Seq || got[i].Duration != source[i].Duration {
				t.Errorf("entry %d is %s %d (%s), want the reason %q", i, got[i].Kind, got[i].Seq, got[i].Reason, want)
			}
		}
		if got[2].Note != `{"why":"nobody there"}` {
			t.Errorf("note of a filtered fragment: %s", got[2].Note)
		}
	})
}

// Each output has its own checkpoint. The work begins at the oldest one, and what an output
// has is not written again.
func TestOutputsWithCheckpointsOfTheirOwn(t *testing.T) {
	virtual(t, func(t *testing.T, e *env) {
		both := func(outputs ...string) Processor {
			p := Processor{Name: "both", Process: func(ctx context.Context, in *Fragment, out *Output) error {
				for c, err := range in.Chunks(ctx) {
					if err != nil {
						return err
					}
					for _, o := range outputs {
						if err := out.WriteTo(ctx, o, c); err != nil {
							return err
						}
					}
				}
				return nil
			}}
			for _, o := range outputs {
				p.Outputs = append(p.Outputs, Variant(o))
			}
			return p
		}
		source := e.cam.fragments(1)
		one := e.start(both("a"))
		e.waitFor("a", source[0].Seq)
		source = append(source, e.cam.fragments(2)...)
		e.waitFor("a", source[2].Seq)
		one.stop()
		two := e.start(both("b")) // begins with the newest fragment
		e.waitFor("b", source[2].Seq)
		source = append(source, e.cam.fragments(2)...)
		e.waitFor("b", source[4].Seq)
		two.stop()
		before := e.entries(schemas.Topic{Camera: camID, Rendition: "b"})
		e.start(both("a", "b", "c")) // a has 0 to 2, b has 2 to 4, c is new
		source = append(source, e.cam.fragments(2)...)
		for output, want := range map[string][]schemas.Entry{"a": source, "b": source[2:], "c": source[3:]} {
			got := e.waitFor(output, source[6].Seq)
			if len(got) != len(want) {
				t.Fatalf("%s has %d entries, want %d", output, len(got), len(want))
			}
			for i, g := range got {
				topic := schemas.Topic{Camera: camID, Rendition: output}
				if g.Seq != want[i].Seq || e.text(topic, g) != e.text(raw, want[i]) {
					t.Errorf("%s: entry %d is seq %d, want %d", output, i, g.Seq, want[i].Seq)
				}
			}
			if output == "b" && got[2] != before[2] {
				t.Errorf("b had %+v, and has %+v", before[2], got[2])
			}
		}
	})
}

// Retention was faster than the processor: what the index still has becomes gaps, the rest
// is a hole.
func TestExpired(t *testing.T) {
	virtual(t, func(t *testing.T, e *env) {
		source := e.idle(8)
		e.expire(source[3].Offset, source[6]) // seqs 1 and 2 have no entry, 3 to 6 no footage
		e.start(upperProcessor())
		got := e.waitFor("upper", source[8].Seq)
		var text []string
		for _, g := range got {
			text = append(text, fmt.Sprintf("%d %s%s", g.Seq-source[0].Seq, g.Kind, g.Reason))
		}
		want := "0 whole, 3 gapexpired, 4 gapexpired, 5 gapexpired, 6 gapexpired, 7 whole, 8 whole"
		if all := strings.Join(text, ", "); all != want {
			t.Errorf("the output has %s\nwant %s", all, want)
		}
	})
}

// expire removes the records of the camera's index before an offset, and the media up to
// those of last, as retention does.
func (e *env) expire(index int64, last schemas.Entry) {
	e.t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(e.brokers...), kgo.Dialer(e.dial))
	if err != nil {
		e.t.Fatal(err)
	}
	defer cl.Close()
	before := kadm.Offsets{}
	before.AddOffset(schemas.Names{}.Index(raw), 0, index, -1)
	for _, one := range e.entries(raw) {
		if one.Seq <= last.Seq {
			before.AddOffset(schemas.Names{}.Media(raw), one.Partition, one.Last+1, -1)
		}
	}
	res, err := kadm.NewClient(cl).DeleteRecords(e.t.Context(), before)
	if err == nil {
		err = res.Error()
	}
	if err != nil {
		e.t.Fatal(err)
	}
}

// firstAfter is the offset of the first record of a topic's index whose timestamp is a time or later.
func (e *env) firstAfter(t schemas.Topic, at time.Time) int64 {
	e.t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(e.brokers...), kgo.Dialer(e.dial))
	if err != nil {
		e.t.Fatal(err)
	}
	defer cl.Close()
	index := schemas.Names{}.Index(t)
	offsets, err := kadm.NewClient(cl).ListOffsetsAfterMilli(e.t.Context(), at.UnixMilli(), index)
	if err != nil {
		e.t.Fatal(err)
	}
	o, _ := offsets.Lookup(index, 0)
	return o.Offset
}

// The camera is purged and recorded again: the output begins anew with it.
func TestNewLife(t *testing.T) {
	virtual(t, func(t *testing.T, e *env) {
		first := e.cam.fragments(2)
		e.start(upperProcessor())
		e.waitFor("upper", first[1].Seq)
		if _, err := e.log.Purge(t.Context(), camID); err != nil {
			t.Fatal(err)
		}
		e.cam = e.newRecorder("w2")
		e.cam.fragments(3)
		source := e.entries(raw)
		e.wait("the output is of the new life", func() bool {
			got := e.entries(schemas.Topic{Camera: camID, Rendition: "upper"})
			return len(got) > 0 && got[0].Life == source[0].Life && got[len(got)-1].Seq == source[len(source)-1].Seq
		})
		got := e.entries(schemas.Topic{Camera: camID, Rendition: "upper"})
		e.sameAs("upper", source[len(source)-len(got):])
	})
}

// Several fragments of a camera are worked on at once; their outputs come in order.
func TestConcurrency(t *testing.T) {
	virtual(t, func(t *testing.T, e *env) {
		source := e.idle(12)
		p := upperProcessor()
		p.Concurrency = 3
		var meet meeting
		p.Process = func(ctx context.Context, in *Fragment, out *Output) error {
			defer meet.enter(in.Seq)()
			d := time.Second
			if (in.Seq-source[0].Seq)%3 == 1 { // the last one of three is done first
				d = 5 * time.Second
			}
			if err := pause(ctx, d); err != nil {
				return err
			}
			return upper(ctx, in, out)
		}
		e.start(p)
		e.waitFor("upper", source[12].Seq)
		e.sameAs("upper", source)
		if meet.most != 3 {
			t.Errorf("at most %d fragments were worked on at once, want 3", meet.most)
		}
	})
}
