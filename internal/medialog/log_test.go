package medialog

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

func TestRoundTrip(t *testing.T) {
	eachLog(t, func(t *testing.T, e *env) {
		l := e.log()
		began := time.Now().Unix()
		w := l.Open(t.Context(), cam, OpenOptions{Writer: "w1", Reason: "start"})
		f := newFeed(w, 1)
		for i := range 20 {
			if i == 10 {
				w.NewSession("")
			}
			if err := f.fragment(5); err != nil {
				t.Fatal(err)
			}
		}
		closeWriter(t, w)
		es := entriesOf(t, l, Range{})
		dense(t, es)
		if len(es) != 20 {
			t.Fatalf("%d entries, want 20", len(es))
		}
		if at, now := int64(es[0].Seq), time.Now().Unix(); at < began-2 || at > now+2 {
			t.Errorf("first seq %d, want about Unix time, %d to %d", at, began, now)
		}
		if es[0].Session != 1 {
			t.Errorf("first session %d, want 1: players count discontinuities from 0", es[0].Session)
		}
		next := uint32(1)
		for i, en := range es {
			if en.Kind != schemas.KindWhole || en.Chunks != 5 || en.Duration != 25*frame || (en.Session != es[0].Session) != (i >= 10) {
				t.Fatalf("entry %d: %+v", i, en)
			}
			if en.Partition != int32(en.Seq%uint64(e.partitions)) {
				t.Errorf("seq %d is in partition %d of %d", en.Seq, en.Partition, e.partitions)
			}
			for _, n := range counts(t, l, en, f.sent) {
				if n != next {
					t.Fatalf("sample %d, want %d", n, next)
				}
				next++
			}
			got, err := l.Entry(t.Context(), cam, en.Seq)
			if err != nil || got != en {
				t.Fatalf("Entry(%d) = %+v, %v", en.Seq, got, err)
			}
		}
		if next != 501 {
			t.Errorf("read %d samples, want 500", next-1)
		}
		if _, err := l.Entry(t.Context(), cam, es[19].Seq+1); !errors.Is(err, ErrNotFound) {
			t.Errorf("an entry beyond the newest: %v", err)
		}
		if got := entriesOf(t, l, Range{FromSeq: es[3].Seq, ToSeq: es[7].Seq}); len(got) != 5 || got[0] != es[3] || got[4] != es[7] {
			t.Errorf("range of seqs gives %d entries", len(got))
		}
		mid := es[5].Start.Add(300 * time.Millisecond)
		if got := entriesOf(t, l, Range{From: mid, To: es[8].Start}); len(got) != 3 || got[0] != es[5] || got[2] != es[7] {
			t.Errorf("range of times gives %d entries", len(got))
		}
		if topics, err := l.Topics(t.Context()); err != nil || len(topics) != 1 || topics[0] != cam {
			t.Errorf("Topics() = %v, %v", topics, err)
		}
		if end, err := l.IndexEnd(t.Context(), cam); err != nil || end <= es[19].Offset {
			t.Errorf("the index ends at %d, its newest entry is at %d (%v)", end, es[19].Offset, err)
		}
		if end, err := l.IndexEnd(t.Context(), schemas.Topic{Camera: "nobody"}); err != nil || end != 0 {
			t.Errorf("the index of a camera that never was ends at %d, %v", end, err)
		}
	})
}

func TestTakeover(t *testing.T) {
	eachLog(t, func(t *testing.T, e *env) {
		l1, l2 := e.log(), e.log()
		w1 := l1.Open(t.Context(), cam, OpenOptions{Writer: "w1"})
		f1 := newFeed(w1, 1)
		for range 3 {
			if err := f1.fragment(4); err != nil {
				t.Fatal(err)
			}
		}
		// Two chunks of a fourth fragment, acknowledged, and then a successor.
		for i := range 2 {
			if err := f1.chunk(uint32(i), 5, false, 100); err != nil {
				t.Fatal(err)
			}
		}
		waitFor(t, "the first writer's chunks are safe", func() bool {
			w1.mu.Lock()
			defer w1.mu.Unlock()
			return w1.core.buffered == 0 && len(w1.core.pending) == 1 && w1.opened
		})
		w2 := l2.Open(t.Context(), cam, OpenOptions{Writer: "w2", Reason: "takeover"})
		f2 := newFeed(w2, 2)
		ready(t, w2)
		if err := f2.fragment(4); err != nil {
			t.Fatal(err)
		}
		// The first goes on until it learns from its next entry that it is fenced.
		_ = f1.chunk(2, 5, true, 100)
		select {
		case <-w1.Fenced():
		case <-time.After(testenv.Patience):
			t.Fatal("the first writer does not notice that it was fenced")
		}
		if !errors.Is(w1.Err(), ErrFenced) || !errors.Is(f1.chunk(0, 5, false, 100), ErrFenced) {
			t.Errorf("first writer: %v", w1.Err())
		}
		closeWriter(t, w2)
		es := entriesOf(t, l2, Range{})
		dense(t, es)
		if len(es) != 5 {
			t.Fatalf("%d entries, want 5", len(es))
		}
		if x := es[3]; x.Kind != schemas.KindTruncated || x.Reason != schemas.ReasonCrash || x.Chunks != 2 || x.Duration != 10*frame {
			t.Errorf("what the first left behind: %+v", x)
		}
		if n := counts(t, l2, es[3], f1.sent); len(n) != 10 {
			t.Errorf("truncated fragment has %d samples, want 10", len(n))
		}
		if x := es[4]; x.Session != es[3].Session+1 || len(counts(t, l2, x, f2.sent)) != 20 {
			t.Errorf("the second writer's: %+v", x)
		}
	})
}

func TestGapsAndBudget(t *testing.T) {
	eachLog(t, func(t *testing.T, e *env) {
		l := e.log(func(c *Config) { c.Budget = 64 << 20 })
		refuse := ""
		w := l.Open(t.Context(), cam, OpenOptions{Writer: "w1", Admit: func() string { return refuse }})
		f := newFeed(w, 1)
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		must(f.fragment(5))
		refuse = schemas.ReasonStorage
		for range 7 {
			if err := f.fragment(5); !errors.Is(err, ErrRefused) {
				t.Fatalf("a fragment that is not admitted: %v", err)
			}
		}
		refuse = ""
		must(f.fragment(5))
		must(f.chunk(0, 5, false, 100))
		w.Truncate(schemas.ReasonCap)
		start := f.media
		f.media += 3 * schemas.MediaTimescale
		w.Gap(publicTime(start), start, f.media-start, schemas.ReasonKeyframe)
		must(f.fragment(5))
		must(f.chunk(0, 1, true, 9<<20)) // larger than the topic takes
		must(f.fragment(5))
		closeWriter(t, w)
		es := entriesOf(t, l, Range{})
		dense(t, es)
		var got string
		for i, x := range es {
			got += fmt.Sprintf("%s %s %.2f\n", x.Kind, x.Reason, float64(x.Duration)/schemas.MediaTimescale)
			if i > 0 && es[i-1].MediaEnd() != x.Media {
				t.Errorf("seq %d begins at %d, the one before ends at %d", x.Seq, x.Media, es[i-1].MediaEnd())
			}
		}
		want := "whole  1.00\n" +
			"gap storage 2.00\ngap storage 2.00\ngap storage 1.50\ngap storage 1.50\n" +
			"whole  1.00\n" +
			"truncated cap 0.20\ngap keyframe 1.50\ngap keyframe 1.50\n" +
			"whole  1.00\n" +
			"gap too-large 0.04\n" +
			"whole  1.00\n"
		if got != want {
			t.Errorf("entries:\n%swant:\n%s", got, want)
		}
	})
}

func TestTail(t *testing.T) {
	eachLog(t, func(t *testing.T, e *env) {
		l := e.log()
		ctx, cancel := context.WithTimeout(t.Context(), 2*testenv.Patience)
		defer cancel()
		w := l.Open(ctx, cam, OpenOptions{Writer: "w1"})
		f := newFeed(w, 1)
		for range 10 {
			if err := f.fragment(5); err != nil {
				t.Fatal(err)
			}
		}
		ready(t, w)
		waitFor(t, "ten entries", func() bool {
			n := 0
			for _, err := range l.Entries(ctx, cam, Range{}) {
				if err == nil {
					n++
				}
			}
			return n == 10
		})
		es := entriesOf(t, l, Range{})
		type received struct {
			entries []schemas.Entry
			chunks  []*schemas.Chunk
			live    bool
		}
		for _, tc := range []struct {
			name  string
			pos   Position
			first uint64
		}{
			{"live", Position{}, es[9].Seq},
			{"back 3 s", Position{Back: 3 * time.Second}, es[8].Seq}, // the case before wrote one more
			{"seq", Position{Seq: es[4].Seq}, es[4].Seq},
			{"time", Position{Time: es[2].Start.Add(time.Millisecond)}, es[2].Seq},
		} {
			var got received
			wrote := false
			for ev, err := range l.Tail(ctx, cam, tc.pos) {
				if err != nil {
					t.Fatalf("%s: %v", tc.name, err)
				}
				switch {
				case ev.Entry != nil:
					got.entries = append(got.entries, *ev.Entry)
				case ev.Chunk != nil:
					got.chunks = append(got.chunks, ev.Chunk)
				case ev.Live:
					got.live = true
				}
				if got.live && !wrote {
					wrote = true
					for i := range 4 {
						if err := f.chunk(uint32(i), 5, false, 100); err != nil {
							t.Fatal(err)
						}
					}
				}
				if ev.Chunk != nil && ev.Chunk.Index == 3 {
					if err := f.chunk(4, 5, true, 100); err != nil {
						t.Fatal(err)
					}
				}
				if wrote && got.entries[len(got.entries)-1].Seq == es[len(es)-1].Seq+1 {
					break
				}
			}
			es = append(es, got.entries[len(got.entries)-1])
			dense(t, got.entries)
			if got.entries[0].Seq != tc.first {
				t.Errorf("%s: first entry is %d, want %d", tc.name, got.entries[0].Seq, tc.first)
			}
			for i, c := range got.chunks {
				if c.Seq != es[len(es)-1].Seq || c.Index != uint32(i) {
					t.Errorf("%s: provisional chunk %d is %d.%d", tc.name, i, c.Seq, c.Index)
				}
			}
			if len(got.chunks) < 4 {
				t.Errorf("%s: %d provisional chunks before the entry", tc.name, len(got.chunks))
			}
		}
		closeWriter(t, w)
	})
}

func TestExpiry(t *testing.T) {
	eachLog(t, func(t *testing.T, e *env) {
		l := e.log()
		w := l.Open(t.Context(), cam, OpenOptions{Writer: "w1"})
		f := newFeed(w, 1)
		for range 12 {
			if err := f.fragment(2); err != nil {
				t.Fatal(err)
			}
		}
		closeWriter(t, w)
		es := entriesOf(t, l, Range{})
		// Retention removes the media of one partition, up to this entry.
		x := es[5]
		expire(t, l, l.names.Media(cam), x.Partition, x.Last+1)
		got := entriesOf(t, l, Range{})
		if len(got) != 6 || got[0] != es[6] {
			t.Fatalf("%d entries are visible, from %d on; want 6 from %d", len(got), got[0].Seq, es[6].Seq)
		}
		if _, err := l.Entry(t.Context(), cam, x.Seq); !errors.Is(err, ErrExpired) {
			t.Errorf("entry of an expired fragment: %v", err)
		}
		for _, e := range []schemas.Entry{x, es[6]} {
			if err := l.Available(t.Context(), cam, e); errors.Is(err, ErrExpired) != (e == x) || err != nil && e != x {
				t.Errorf("media of fragment %d, expired %v: %v", e.Seq, e == x, err)
			}
		}
		for _, err := range l.Chunks(t.Context(), cam, x) {
			if !errors.Is(err, ErrExpired) {
				t.Errorf("chunks of an expired fragment: %v", err)
			}
		}
		// Retention removes the beginning of the index too. The next writer goes on above.
		expire(t, l, l.names.Index(cam), 0, es[8].Offset)
		if _, err := l.Entry(t.Context(), cam, es[2].Seq); !errors.Is(err, ErrExpired) {
			t.Errorf("an entry that the index has no more: %v", err)
		}
		w2 := l.Open(t.Context(), cam, OpenOptions{Writer: "w2"})
		f2 := newFeed(w2, 2)
		if err := f2.fragment(2); err != nil {
			t.Fatal(err)
		}
		closeWriter(t, w2)
		got = entriesOf(t, l, Range{})
		dense(t, got)
		if len(got) != 5 || got[4].Seq != es[11].Seq+1 {
			t.Errorf("after the index was trimmed: %d entries up to %d, want 5 up to %d", len(got), got[len(got)-1].Seq, es[11].Seq+1)
		}
	})
}

// TestOpenTellsThePause: the line of an opening tells for how long nothing was recorded.
// A hand-over without a hole has no such word.
func TestOpenTellsThePause(t *testing.T) {
	virtual(t, 1, func(t *testing.T, _ *kfake.Cluster, e *env) {
		l := e.log()
		for i, c := range []struct {
			pause time.Duration
			want  string
		}{{0, ""}, {300 * time.Millisecond, ""}, {8300 * time.Millisecond, "pause=8.3s"}} {
			time.Sleep(c.pause)
			before := len(e.lines.Lines(""))
			w := l.Open(t.Context(), cam, OpenOptions{Writer: "w1"})
			f := newFeed(w, uint32(i))
			f.media -= schemas.Ticks(time.Second) // its end is now
			if err := f.fragment(5); err != nil { // 1 s
				t.Fatal(err)
			}
			closeWriter(t, w)
			var opened string
			for _, line := range e.lines.Lines("")[before:] {
				if strings.Contains(line, "opened the camera's topic") {
					opened += line
				}
			}
			if c.want == "" && (opened == "" || strings.Contains(opened, "pause=")) || !strings.Contains(opened, c.want) {
				t.Errorf("after a pause of %v: %q", c.pause, opened)
			}
		}
	})
}
