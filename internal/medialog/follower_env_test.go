package medialog

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/framelog/framelog/schemas"
)

var rendition = schemas.Topic{Camera: cam.Camera, Rendition: "copy"}

// record records n fragments of two chunks, and returns the source's entries so far.
func record(t *testing.T, l *Log, f *feed, n int) []schemas.Entry {
	t.Helper()
	for range n {
		if err := f.fragment(2); err != nil {
			t.Fatal(err)
		}
	}
	ready(t, f.w)
	waitFor(t, "the fragments have their entries", func() bool { return f.w.items() == 0 })
	return entriesOf(t, l, Range{})
}

func follow(t *testing.T, l *Log, change ...func(*FollowOptions)) *Follower {
	t.Helper()
	f, err := tryFollow(t, l, change...)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// followFirst records n fragments, and follows the camera from the first one on.
func followFirst(t *testing.T, l *Log, n int, change ...func(*FollowOptions)) (*Follower, []schemas.Entry) {
	t.Helper()
	source := record(t, l, newFeed(l.Open(t.Context(), cam, OpenOptions{Writer: "w"}), 1), n)
	f := follow(t, l, change...)
	if err := f.Jump(t.Context(), source[0].Seq); err != nil {
		t.Fatal(err)
	}
	return f, source
}

func tryFollow(t *testing.T, l *Log, change ...func(*FollowOptions)) (*Follower, error) {
	t.Helper()
	o := FollowOptions{Processor: "copy", Version: "v1", Role: schemas.RoleVariant, Writer: "p1", Host: "h"}
	for _, c := range change {
		c(&o)
	}
	f, err := l.Follow(t.Context(), rendition, o)
	if err == nil {
		t.Cleanup(f.Close)
	}
	return f, err
}

// copied returns what a copying processor makes of a chunk.
func copied(c *schemas.Chunk) *schemas.Chunk { d := *c; return &d }

// work begins the work on a fragment and writes its first n chunks.
func work(t *testing.T, l *Log, f *Follower, e schemas.Entry, n int) (*Work, []*schemas.Chunk) {
	t.Helper()
	chunks := chunksOf(t, l, cam, e)
	w, err := f.Begin(t.Context(), chunks[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range chunks[:n] {
		if err := w.Write(t.Context(), copied(c)); err != nil {
			t.Fatal(err)
		}
	}
	return w, chunks
}

// allSent waits until all chunks that were written are in the log.
func allSent(t *testing.T, f *Follower) {
	t.Helper()
	waitFor(t, "the chunks are in the log", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.core.held+f.core.sent == 0
	})
}

// copyFragment gives one seq its entry, as a copying processor.
func copyFragment(t *testing.T, l *Log, f *Follower, e schemas.Entry) error {
	t.Helper()
	if e.Kind == schemas.KindGap {
		return f.Gaps(t.Context(), "", e)
	}
	w, chunks := work(t, l, f, e, int(e.Chunks))
	_, err := w.Commit(t.Context(), e, Output{Used: uint32(len(chunks)), Note: fmt.Sprintf(`{"seq":%d}`, e.Seq)})
	return err
}

func copyFragments(t *testing.T, l *Log, f *Follower, entries []schemas.Entry) {
	t.Helper()
	for _, e := range entries {
		if err := copyFragment(t, l, f, e); err != nil {
			t.Fatalf("fragment %d: %v", e.Seq, err)
		}
	}
}

func renditionOf(t *testing.T, l *Log) []schemas.Entry {
	t.Helper()
	return topicEntries(t, l, rendition, Range{})
}

// indexOf reads all entries of a topic's index, also void ones and `open`s.
func indexOf(t *testing.T, l *Log, topic schemas.Topic) (out []schemas.Entry) {
	t.Helper()
	index := l.names.Index(topic)
	s, err := l.spans(t.Context(), index)
	if err != nil {
		t.Fatal(err)
	}
	for e, err := range l.indexRecords(t.Context(), index, s[0].start, s[0].end) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, e)
	}
	return out
}

// recordsOf reads all records of a topic.
func recordsOf(t *testing.T, l *Log, topic string) (out []*kgo.Record) {
	t.Helper()
	s, err := l.spans(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	for p := range s {
		for r, err := range l.records(t.Context(), topic, int32(p), s[p].start, s[p].end) {
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, r)
		}
	}
	return out
}

// opens is the `open`s of the rendition as text: cause, seq from the first one on,
// failures.
func opens(t *testing.T, l *Log, first uint64) string {
	t.Helper()
	var b strings.Builder
	for _, e := range indexOf(t, l, rendition) {
		if e.Kind == schemas.KindOpen {
			fmt.Fprintf(&b, "%s %d/%d ", e.Reason, e.Seq-first, e.Attempt)
		}
	}
	return strings.TrimSpace(b.String())
}

// sameAsSource checks that the rendition has one entry for each entry of the source,
// with its numbers, times and samples.
func sameAsSource(t *testing.T, l *Log, source, derived []schemas.Entry) {
	t.Helper()
	if len(source) != len(derived) {
		t.Fatalf("%d entries, the source has %d", len(derived), len(source))
	}
	for i, e := range derived {
		s := source[i]
		if e.Kind != s.Kind || e.Reason != s.Reason || e.Life != s.Life || e.Seq != s.Seq || e.Session != s.Session || !e.Start.Equal(s.Start) ||
			e.Media != s.Media || e.Duration != s.Duration || e.Layout != s.Layout || e.Config != s.Config || e.Bytes != s.Bytes {
			t.Errorf("%+v\nits source is %+v", e, s)
		}
		if e.Role != schemas.RoleVariant || e.Source != (schemas.Copy{Epoch: s.Epoch, First: s.First, Chunks: s.Chunks}) {
			t.Errorf("seq %d: role %q, made of %+v; its source is %+v", e.Seq, e.Role, e.Source, s)
		}
		made := chunksOf(t, l, rendition, e)
		want := schemas.Lineage{Source: l.names.Media(cam), Seq: s.Seq, Processor: "copy", Version: "v1"}
		if len(made) > 0 && (made[0].Lineage == nil || *made[0].Lineage != want) {
			t.Errorf("seq %d: lineage %+v, want %+v", e.Seq, made[0].Lineage, want)
		}
		if !bytes.Equal(samplesOf(chunksOf(t, l, cam, s)), samplesOf(made)) {
			t.Errorf("seq %d: its samples are not those of the source", e.Seq)
		}
	}
}

func samplesOf(chunks []*schemas.Chunk) (out []byte) {
	for _, c := range chunks {
		for _, r := range c.Runs {
			for _, s := range r.Samples {
				out = fmt.Appendf(out, "%d %d %d %q\n", r.Track, s.DTS, s.Duration, s.Data)
			}
		}
	}
	return out
}
