package medialog

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/framelog/framelog/schemas"
)

// TestTailBeginsBetweenWriters: a reader begins while a new writer waits for its first access
// unit, and has settled nothing. It shows the unfinished fragment of the writer before, as
// readers do that saw it grow, and then what the new writer makes of it. So it does if the
// new writer comes while the reader begins.
func TestTailBeginsBetweenWriters(t *testing.T) {
	for _, during := range []bool{false, true} {
		virtual(t, 1, func(t *testing.T, _ *kfake.Cluster, e *env) { tailBeginsBetweenWriters(t, e, during) })
	}
}

func tailBeginsBetweenWriters(t *testing.T, e *env, during bool) {
	l := e.log()
	ctx, crash := context.WithCancel(t.Context())
	w := l.Open(ctx, cam, OpenOptions{Writer: "w1"})
	ready(t, w)
	f := newFeed(w, 1)
	for _, err := range []error{f.fragment(3), f.chunk(0, 5, false, 100), f.chunk(1, 5, false, 100)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(100 * time.Millisecond)
	crash()
	<-w.Fenced()
	next := func() {
		w = e.log().Open(t.Context(), cam, OpenOptions{Writer: "w2", Absent: schemas.AbsentRestart, Unit: "0123456789abcdef"})
		f2 := newFeed(w, 2)
		f2.media = f.media
		for i := range uint32(2) {
			if err := f2.chunk(i, 5, false, 100); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(unitWait / 2)
	}
	if !during {
		next()
	}
	want := []string{
		"whole 0×3", "open w1", "1.0 of 1", "1.1 of 1", "open w2", "live",
		"truncated 1×2", "2.0 of 2", "2.1 of 2",
	}
	if during {
		want = slices.Delete(want, 5, 6)
	}
	var got []string
	tell := func(format string, args ...any) { got = append(got, fmt.Sprintf(format, args...)) }
	ends, cancel := context.WithTimeout(t.Context(), 4*unitWait)
	defer cancel()
	base := uint64(0)
	for ev, err := range l.Tail(ends, cam, Position{}) {
		if err != nil {
			tell("%v", err)
			break
		}
		switch {
		case ev.Entry != nil:
			if base == 0 {
				base = ev.Entry.Seq
			}
			tell("%s %d×%d", ev.Entry.Kind, ev.Entry.Seq-base, ev.Entry.Chunks)
		case ev.Chunk != nil:
			tell("%d.%d of %d", ev.Chunk.Seq-base, ev.Chunk.Index, ev.Chunk.Session)
		case ev.Opened != nil:
			tell("open %s", ev.Opened.Writer)
			if during && ev.Opened.Writer == "w1" {
				next()
			}
		case ev.Live:
			if !during { // else it may come before the new writer
				tell("live")
			}
			select {
			case <-w.Ready():
				t.Error("the new writer did not wait")
			default:
			}
		}
		if len(got) == len(want) {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("begins while the writer comes %v: got  %q\nwant %q", during, got, want)
	}
	closeWriter(t, w)
}

// TestProvisionalGivesWay: a reader that begins between two writers does not show a fragment of the
// former one that the later one has begun too.
func TestProvisionalGivesWay(t *testing.T) {
	chunk := func(epoch int64, seq uint64, index uint32) *schemas.Chunk {
		return &schemas.Chunk{Epoch: epoch, Seq: seq, Index: index, Last: index == 1}
	}
	for _, x := range []struct {
		name  string
		later []*schemas.Chunk
		want  []string
	}{
		{"nothing of the later one", nil, []string{"1:6.0", "1:6.1", "1:7.0", "1:7.1"}},
		{"it takes over at a fragment", []*schemas.Chunk{chunk(3, 7, 0)}, []string{"1:6.0", "1:6.1", "3:7.0"}},
		{"it begins behind", []*schemas.Chunk{chunk(3, 8, 0)}, []string{"1:6.0", "1:6.1", "1:7.0", "1:7.1"}},
		{"another one after it", []*schemas.Chunk{chunk(5, 7, 0)}, []string{"1:6.0", "1:6.1"}},
	} {
		p := provisional{limit: 1 << 20, epoch: -1}
		var got []string
		show := func() {
			for c := p.next(); c != nil; c = p.next() {
				got = append(got, fmt.Sprintf("%d:%d.%d", c.Epoch, c.Seq, c.Index))
			}
		}
		p.opened(&schemas.Entry{Offset: 1}, 5, true)
		for _, c := range append(x.later, chunk(1, 6, 0), chunk(1, 6, 1), chunk(1, 7, 0), chunk(1, 7, 1)) {
			p.chunk(c)
		}
		p.giveWay(3)
		show()
		p.opened(&schemas.Entry{Offset: 3}, 6, true) // 6 has its entry meanwhile
		show()
		if !slices.Equal(got, x.want) {
			t.Errorf("%s: shows %q, want %q", x.name, got, x.want)
		}
	}
}
