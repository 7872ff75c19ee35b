package medialog

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/framelog/framelog/schemas"
)

// TestRoom: a source that asks for room is never refused, however fast it is. One that does
// not ask is.
func TestRoom(t *testing.T) {
	virtual(t, 1, func(t *testing.T, _ *kfake.Cluster, e *env) {
		l := e.log(func(c *Config) { c.Budget, c.IndexPending = 256<<10, 2 })
		write := func(w *Writer, ask bool) (refused int) {
			f := newFeed(w, 1)
			for range 50 {
				for i := range uint32(3) {
					if ask {
						if err := w.Room(t.Context(), 5*10_000, i == 0); err != nil {
							t.Fatal(err)
						}
					}
					if err := f.chunk(i, 5, i == 2, 10_000); err != nil {
						refused++
					}
				}
			}
			return refused
		}
		w := l.Open(t.Context(), cam, OpenOptions{Writer: "w1"})
		if n := write(w, true); n != 0 {
			t.Errorf("%d chunks were refused in spite of room", n)
		}
		if err := w.Written(t.Context()); err != nil {
			t.Fatal(err)
		}
		if es := entriesOf(t, l, Range{}); len(es) != 50 {
			t.Errorf("%d fragments have their entry when all is written, want 50", len(es))
		}
		if n := write(w, false); n == 0 {
			t.Error("nothing was refused without asking: this test shows nothing")
		}

		// Who waits is told that the writer has ended.
		w2 := l.Open(t.Context(), cam, OpenOptions{Writer: "w2"})
		ready(t, w2)
		_ = newFeed(w, 2).fragment(1)
		if err := w.Written(t.Context()); !errors.Is(err, ErrFenced) {
			t.Errorf("a fenced writer: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_ = newFeed(w2, 3).chunk(0, 5, false, 100) // unfinished, so it has no entry
		if err := w2.Written(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("a canceled wait: %v", err)
		}
		closeWriter(t, w2)
		if err := w2.Room(t.Context(), 1, true); !errors.Is(err, ErrFenced) {
			t.Errorf("a closed writer: %v", err)
		}
	})
}

// TestRedo: a writer whose source repeats what was left goes on behind the newest entry,
// and above all seqs where there is none.
func TestRedo(t *testing.T) {
	before := schemas.Entry{Kind: schemas.KindWhole, Seq: 5, Epoch: 10, Session: 1, Layout: schemas.Layout{Target: 2}, Media: 90_000, Duration: 90_000, Start: publicTime(90_000)}
	p := behind(&before)
	p.chunks, p.redo = chunkMetas(t, "10:6.0 10:6.1! | 10:7.0"), true
	got := p.plan(30, schemas.Standing{}, 1)
	if r := got.resume; len(got.settled) != 0 || r.seq != 6 || r.session != 1 || r.mediaEnd != 180_000 || r.from != 0 {
		t.Errorf("behind an entry: settles %d and goes on at %+v", len(got.settled), r)
	}
	p = past{chunks: chunkMetas(t, "10:6.0 10:6.1! | 10:7.0"), redo: true}
	got = p.plan(30, schemas.Standing{}, 1)
	if r := got.resume; len(got.settled) != 0 || r.seq != 8 || r.from != 8 {
		t.Errorf("without an entry: settles %d and goes on at %+v", len(got.settled), r)
	}
}

// TestRedoOverCrash: what a killed writer left is not there twice when it is written again.
func TestRedoOverCrash(t *testing.T) {
	virtual(t, 1, func(t *testing.T, _ *kfake.Cluster, e *env) {
		l := e.log()
		w := l.Open(t.Context(), cam, OpenOptions{Writer: "w1", Redo: true})
		f := newFeed(w, 1)
		_ = f.fragment(2)
		if err := w.Written(t.Context()); err != nil {
			t.Fatal(err)
		}
		at := *f
		_ = f.chunk(0, 5, false, 100) // never gets an entry
		time.Sleep(time.Second)
		l.Close()

		l = e.log()
		again := at
		again.w = l.Open(t.Context(), cam, OpenOptions{Writer: "w2", Redo: true})
		for range 2 {
			_ = again.fragment(3)
		}
		closeWriter(t, again.w)
		es := entriesOf(t, l, Range{})
		dense(t, es)
		var all []uint32
		for _, x := range es {
			if x.Playable() {
				all = append(all, counts(t, l, x, again.sent)...)
			}
		}
		for i, n := range all {
			if n != uint32(i+1) {
				t.Fatalf("samples %v", all)
			}
		}
		if len(all) != 40 || len(es) != 3 {
			t.Errorf("%d entries with %d samples, want 3 with 40", len(es), len(all))
		}
	})
}
