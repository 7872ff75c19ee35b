package medialog

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/framelog/framelog/schemas"
)

// entriesAs returns entries as text: seq from the first one on, and the reason.
func entriesAs(entries []schemas.Entry, first uint64) string {
	var b strings.Builder
	for _, e := range entries {
		fmt.Fprintf(&b, "%d %s%s, ", e.Seq-first, e.Kind, map[bool]string{true: " " + e.Reason}[e.Reason != ""])
	}
	return strings.TrimSuffix(b.String(), ", ")
}

// TestSkip: a follower that is behind goes on with a later fragment.
func TestSkip(t *testing.T) {
	virtualAndKafka(t, func(t *testing.T, e *env) {
		l := e.log()
		w := l.Open(t.Context(), cam, OpenOptions{Writer: "w"})
		camera := newFeed(w, 1)
		camera.media -= 3600 * schemas.MediaTimescale // the feed runs ahead of the clock
		record(t, l, camera, 3)
		w.Gap(publicTime(camera.media), camera.media, 3*schemas.MediaTimescale, schemas.ReasonKeyframe)
		camera.media += 3 * schemas.MediaTimescale
		source := record(t, l, camera, 4)
		if len(source) != 9 {
			t.Fatalf("the source is %s", entriesAs(source, source[0].Seq))
		}
		first := source[0].Seq
		f := follow(t, l)
		skip := func(reason string, to uint64) {
			t.Helper()
			if err := f.SkipTo(t.Context(), reason, first+to); err != nil {
				t.Fatal(err)
			}
		}
		skip(schemas.ReasonSkipped, 0)
		turn := make(chan error, 1)
		go func() { turn <- f.Turn(t.Context(), first+5) }()
		begun, chunks := work(t, l, f, source[0], 1)
		allSent(t, f)
		if err := f.SkipTo(t.Context(), schemas.ReasonSkipped, first+10); err == nil {
			t.Error("it skips what the source does not have yet")
		}
		skip(schemas.ReasonSkipped, 5)
		if err := begun.Write(t.Context(), copied(chunks[1])); !errors.Is(err, ErrDone) {
			t.Errorf("the work on a fragment that was left out goes on: %v", err)
		}
		if err := <-turn; err != nil {
			t.Error(err)
		}
		copyFragments(t, l, f, source[5:6])
		if err := errors.Join(f.SkipTo(t.Context(), schemas.ReasonSkipped, first), f.Turn(t.Context(), first)); !errors.Is(err, ErrDone) {
			t.Errorf("it goes back: %v", err)
		}
		expire(t, l, l.names.Index(cam), 0, source[7].Offset)
		skip(schemas.ReasonExpired, 8)
		copyFragments(t, l, f, source[8:])
		skip(schemas.ReasonSkipped, 9)
		want := "0 gap skipped, 1 gap skipped, 2 gap skipped, 3 gap keyframe, 4 gap keyframe, 5 whole, 7 gap expired, 8 whole"
		if got := entriesAs(renditionOf(t, l), first); got != want {
			t.Errorf("the rendition is %s\nwant             %s", got, want)
		}
		if got, want := opens(t, l, first), "start 0/0 hole 0/0 dropped 0/0 hole 7/0"; got != want {
			t.Errorf("opens: %s, want %s", got, want)
		}
	})
}

// TestSkipMany: thousands of fragments are left out with few entries.
func TestSkipMany(t *testing.T) {
	virtual(t, 1, func(t *testing.T, _ *kfake.Cluster, e *env) {
		l := e.log()
		f, source := followFirst(t, l, 1)
		const n = 10_000
		sessions := appendSources(t, l, source[0], n)
		if err := f.SkipTo(t.Context(), schemas.ReasonSkipped, source[0].Seq+n); err != nil {
			t.Fatal(err)
		}
		var entries, seqs int
		for _, e := range indexOf(t, l, rendition) {
			if e.Footage() {
				entries++
				seqs += int(e.LastSeq() - e.Seq + 1)
			}
		}
		if seqs != n || entries > n/schemas.MaxGapRun+2*sessions {
			t.Errorf("%d seqs in %d entries", seqs, entries)
		}
		skipped := renditionOf(t, l)
		if len(skipped) != n {
			t.Errorf("readers get %d entries", len(skipped))
		}
		for i, e := range skipped {
			if e.Reason != schemas.ReasonSkipped || e.Seq != source[0].Seq+uint64(i) || e.Duration != 2*schemas.MediaTimescale && i > 0 {
				t.Fatalf("%+v", e)
			}
		}
	})
}

// appendSources appends entries behind the source's first one, until it has n, as a writer
// does. It returns how many sessions they have.
func appendSources(t *testing.T, l *Log, first schemas.Entry, n int) (sessions int) {
	t.Helper()
	var records []*kgo.Record
	e := first
	e.Duration = first.Duration
	for i := 1; i < n; i++ {
		e.Start, e.Media, e.Duration = e.End(), e.MediaEnd(), 2*schemas.MediaTimescale
		e.Prev, e.Seq, e.Session, e.Absent, e.AbsentReason = first.Offset+int64(i)-1, first.Seq+uint64(i), first.Session+uint64(i/4000), 0, ""
		value, err := schemas.EncodeEntry(&e)
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, &kgo.Record{Topic: l.names.Index(cam), Value: value, Timestamp: time.Now()})
	}
	for part := range slices.Chunk(records, 1000) { // a batch has at most 1 MiB
		if err := l.producer.ProduceSync(t.Context(), part...).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	return 1 + (n-1)/4000
}
