package medialog

import (
	"bytes"
	"errors"
	"testing"

	"github.com/framelog/framelog/schemas"
)

// TestDeadLetters: a rendition that gets only some fragments, which are not neighbours.
// Readers get each of them, and wait for nothing between.
func TestDeadLetters(t *testing.T) {
	virtualAndKafka(t, func(t *testing.T, e *env) {
		l := e.log()
		source := record(t, l, newFeed(l.Open(t.Context(), cam, OpenOptions{Writer: "w"}), 1), 8)
		first := source[0].Seq
		begin := func() *Follower {
			return follow(t, l, func(o *FollowOptions) { o.Role = schemas.RoleDeadLetter })
		}
		letter := func(f *Follower, n int) error {
			if err := f.Jump(t.Context(), source[n].Seq); err != nil {
				return err
			}
			return copyFragment(t, l, f, source[n])
		}
		f := begin()
		if err := errors.Join(letter(f, 1), letter(f, 4), letter(f, 5)); err != nil {
			t.Fatal(err)
		}
		if err := letter(f, 4); !errors.Is(err, ErrDone) {
			t.Errorf("a dead letter twice: %v", err)
		}
		f.Close()
		f = begin() // the process died before the output got its gap
		if err := letter(f, 5); !errors.Is(err, ErrDone) {
			t.Errorf("a dead letter twice, from another process: %v", err)
		}
		if got, want := opens(t, l, first), "start 1/0 hole 1/0 hole 4/0"; got != want {
			t.Errorf("opens: %s, want %s", got, want)
		}

		letters := renditionOf(t, l)
		if got, want := entriesAs(letters, first), "1 whole, 4 whole, 5 whole"; got != want {
			t.Fatalf("the rendition is %s, want %s", got, want)
		}
		for _, d := range letters {
			if d.Role != schemas.RoleDeadLetter || d.Note == "" {
				t.Errorf("%+v", d)
			}
			if !bytes.Equal(samplesOf(chunksOf(t, l, rendition, d)), samplesOf(chunksOf(t, l, cam, source[d.Seq-first]))) {
				t.Errorf("the dead letter %d has not the samples of its fragment", d.Seq-first)
			}
		}
		if _, err := l.Entry(t.Context(), rendition, first+3); !errors.Is(err, ErrNotFound) {
			t.Errorf("a fragment without a dead letter: %v", err)
		}
		part := topicEntries(t, l, rendition, Range{From: source[2].Start, To: source[5].Start})
		if got, want := entriesAs(part, first), "4 whole"; got != want {
			t.Errorf("a range of time has %s, want %s", got, want)
		}

		// A reader that follows gets chunks behind a hole before their entry.
		var seen []uint64
		for ev, err := range l.Tail(t.Context(), rendition, Position{Seq: first}) {
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case ev.Live:
				if err := f.Jump(t.Context(), source[7].Seq); err != nil {
					t.Fatal(err)
				}
				work(t, l, f, source[7], 1)
			case ev.Entry != nil:
				seen = append(seen, ev.Entry.Seq-first)
			case ev.Chunk != nil:
				seen = append(seen, ev.Chunk.Seq-first)
			}
			if len(seen) == 4 {
				break
			}
		}
		if len(seen) != 4 || seen[3] != 7 {
			t.Errorf("a reader sees %d", seen)
		}
	})
}
