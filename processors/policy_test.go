package processors

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/framelog/framelog/schemas"
)

// meeting counts how many are in it at once.
type meeting struct {
	mu        sync.Mutex
	now, most int
	seqs      []uint64
}

func (m *meeting) enter(seq uint64) (leave func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now++
	m.most = max(m.most, m.now)
	m.seqs = append(m.seqs, seq)
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.now--
	}
}

// behind makes a processor that is behind by 20 fragments of 2 s when it starts, and
// returns all entries of the camera when it has caught up.
func behind(t *testing.T, e *env, p Processor) (source, got []schemas.Entry) {
	t.Helper()
	source = e.idle(20)
	e.start(p)
	e.waitFor("upper", source[20].Seq)
	source = append(source, e.cam.fragments(2)...)
	return source, e.waitFor("upper", source[22].Seq)
}

// Policy latest: what it leaves out is one gap, and it goes on with the newest fragment.
func TestLatest(t *testing.T) {
	for _, concurrency := range []int{1, 3} {
		virtual(t, func(t *testing.T, e *env) {
			p := upperProcessor()
			p.Policy, p.MaxLag, p.Concurrency = Latest, 10*time.Second, concurrency
			source, got := behind(t, e, p)
			if len(got) != len(source) {
				t.Fatalf("%d entries, the camera has %d", len(got), len(source))
			}
			skipped := 0
			for i, g := range got {
				switch {
				case g.Seq != source[i].Seq:
					t.Errorf("entry %d is seq %d, want %d", i, g.Seq, source[i].Seq)
				case g.Reason == schemas.ReasonSkipped:
					skipped++
				case e.text(schemas.Topic{Camera: camID, Rendition: "upper"}, g) == "":
					t.Errorf("seq %d has no output: %s (%s)", g.Seq, g.Kind, g.Reason)
				case i > 0 && i < 18 && concurrency == 1:
					t.Errorf("seq %d is processed: the processor was %d fragments behind", i, 20-i)
				}
			}
			if skipped < 15 {
				t.Errorf("%d fragments are skipped of 19", skipped)
			}
			if offsets := distinct(got, schemas.ReasonSkipped); offsets != 1 {
				t.Errorf("the gap consists of %d entries, want one", offsets)
			}
		})
	}
}

// distinct counts the records of gaps with a reason.
func distinct(entries []schemas.Entry, reason string) int {
	offsets := map[int64]bool{}
	for _, e := range entries {
		if e.Reason == reason {
			offsets[e.Offset] = true
		}
	}
	return len(offsets)
}

// Policy lossless: nothing is left out, whatever the lag.
func TestLossless(t *testing.T) {
	virtual(t, func(t *testing.T, e *env) {
		p := upperProcessor()
		p.MaxLag = time.Second
		source, _ := behind(t, e, p)
		e.sameAs("upper", source)
	})
}

// Policy keyframes: while it is behind, the function gets one picture of each fragment,
// which lasts as long as the fragment.
func TestKeyframes(t *testing.T) {
	virtual(t, func(t *testing.T, e *env) {
		p := upperProcessor()
		p.Policy, p.MaxLag = Keyframes, 10*time.Second
		var keyframes tried
		p.Process = func(ctx context.Context, in *Fragment, out *Output) error {
			if in.KeyframeOnly {
				keyframes.note(in)
			}
			return upper(ctx, in, out)
		}
		source, got := behind(t, e, p)
		if len(got) != len(source) {
			t.Fatalf("%d entries, the camera has %d", len(got), len(source))
		}
		topic := schemas.Topic{Camera: camID, Rendition: "upper"}
		single := 0
		for i, g := range got {
			chunks := e.chunks(topic, g)
			first, whole := chunks[0].Video(), samples(chunks)
			switch {
			case g.Seq != source[i].Seq || g.Duration != source[i].Duration:
				t.Errorf("entry %d is seq %d of %d ticks, want %d of %d", i, g.Seq, g.Duration, source[i].Seq, source[i].Duration)
			case len(chunks) == 1 && len(first) == 1:
				single++
				if int64(first[0].Duration) != g.Duration || !first[0].Sync {
					t.Errorf("seq %d: its picture lasts %d ticks, the fragment %d", g.Seq, first[0].Duration, g.Duration)
				}
			case whole == "":
				t.Errorf("seq %d has no samples", g.Seq)
			case i > 0 && i < 16:
				t.Errorf("fragment %d is whole: the processor was behind", i)
			}
		}
		if single < 15 || single != len(keyframes.list()) {
			t.Errorf("%d fragments have one picture; the function has got %d", single, len(keyframes.list()))
		}
	})
}
