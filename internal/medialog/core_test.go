package medialog

import (
	"slices"
	"testing"

	"github.com/framelog/framelog/schemas"
)

// TestSlowKafka: Kafka takes half of what the camera sends. Footage and gaps are long
// runs, and no fragment stands alone between two gaps.
func TestSlowKafka(t *testing.T) {
	const size, fits = 1000, 8
	tests := map[string]struct {
		budget int64
		limit  int
		take   func(c *core, waiting []out) []out // one fragment's worth
		reason string
	}{
		"bytes": {budget: fits * size, limit: 1000, reason: schemas.ReasonBudget, take: func(c *core, waiting []out) []out {
			if len(waiting) == 0 {
				return nil
			}
			c.resolved(waiting[0], int64(waiting[0].chunk.Seq), "")
			for {
				if _, ok := c.append(); !ok {
					return waiting[1:]
				}
				c.committed(0)
			}
		}},
		"entries": {budget: 1 << 30, limit: fits, reason: schemas.ReasonIndexBehind, take: func(c *core, waiting []out) []out {
			for _, o := range waiting {
				c.resolved(o, int64(o.chunk.Seq), "")
			}
			if _, ok := c.append(); ok {
				c.committed(0)
			}
			return nil
		}},
	}
	for name, x := range tests {
		t.Run(name, func(t *testing.T) {
			c := newCore(x.budget, x.limit, "")
			c.opened(0, newCamera(1), 1)
			var waiting []out
			var runs []int // lengths: of footage, of gaps, and so on
			taken := false
			for i := range 400 {
				ch := &schemas.Chunk{
					Last: true, Start: publicTime(int64(i) * schemas.MediaTimescale),
					Tracks: []schemas.Track{{ID: schemas.VideoTrack, Codec: schemas.H264, Timescale: schemas.MediaTimescale}},
					Runs: []schemas.Run{{Track: schemas.VideoTrack, Samples: []schemas.Sample{{
						DTS: int64(i) * schemas.MediaTimescale, Duration: schemas.MediaTimescale, Sync: true, Data: make([]byte, size),
					}}}},
				}
				o, err := c.write(ch, "")
				if err == nil {
					waiting = append(waiting, o)
				} else if c.refusing != x.reason {
					t.Fatalf("refused: %s", c.refusing)
				}
				if now := err == nil; now != taken || i == 0 {
					taken = now
					runs = append(runs, 0)
				}
				runs[len(runs)-1]++
				if i%2 == 1 {
					waiting = x.take(c, waiting)
				}
			}
			if len(runs) < 5 {
				t.Fatalf("runs of footage and gaps %d: too few to judge by", runs)
			}
			for _, n := range runs[:len(runs)-1] {
				if n < fits/2-1 {
					t.Errorf("runs of footage and gaps %d: want none below %d", runs, fits/2-1)
					break
				}
			}
		})
	}
}

// TestCutBackWithinAFragment: a partition is cut back while a fragment is written (an
// unclean election). Later chunks get offsets of earlier ones. The fragment ends
// before them.
func TestCutBackWithinAFragment(t *testing.T) {
	for name, tt := range map[string]struct {
		offsets []int64
		kind    schemas.Kind
		chunks  uint32
	}{
		"not":              {[]int64{1000, 1002, 1003}, schemas.KindWhole, 3},
		"between":          {[]int64{1000, 1002, 900}, schemas.KindTruncated, 2},
		"behind the first": {[]int64{1000, 1000, 1001}, schemas.KindTruncated, 1},
		"not known":        {[]int64{-1, 1000, 1001}, schemas.KindGap, 0},
	} {
		c := newCore(1<<30, 64, "")
		c.opened(0, newCamera(1), 1)
		for i, at := range tt.offsets {
			ch := &schemas.Chunk{
				Index: uint32(i), Last: i == len(tt.offsets)-1, Start: publicTime(int64(i) * 18_000),
				Tracks: []schemas.Track{{ID: schemas.VideoTrack, Codec: schemas.H264, Timescale: schemas.MediaTimescale}},
				Runs: []schemas.Run{{Track: schemas.VideoTrack, Samples: []schemas.Sample{{
					DTS: int64(i) * 18_000, Duration: 18_000, Sync: i == 0, Data: make([]byte, 10),
				}}}},
			}
			o, err := c.write(ch, "")
			if err != nil {
				t.Fatal(err)
			}
			c.resolved(o, at, "")
		}
		e, ok := c.append()
		if !ok || e.Kind != tt.kind || e.Chunks != tt.chunks || (e.Reason == "") != (e.Kind == schemas.KindWhole) {
			t.Fatalf("%s: %+v", name, e)
		}
		b, err := schemas.EncodeEntry(&e)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := schemas.DecodeEntry(b); err != nil {
			t.Errorf("%s: readers refuse it: %v", name, err)
		}
	}
}

// TestAbsence: the time before a session in which nothing was recorded becomes gaps of
// the session before, with seqs of their own, also if another writer goes on. A short
// pause and a long one do not. The session's first entry tells the time in any case.
func TestAbsence(t *testing.T) {
	second := int64(schemas.MediaTimescale)
	for _, x := range []struct {
		name    string
		absent  int64   // ticks
		another bool    // another writer goes on
		gaps    []int64 // their durations
	}{
		{"half a second", second / 2, false, nil},
		{"six seconds", 6 * second, false, []int64{2 * second, 2 * second, 2 * second}},
		{"another writer", 4 * second, true, []int64{2 * second, 2 * second}},
		{"an hour", 3600 * second, false, nil},
		{"time that steps back", -second, false, nil},
	} {
		t.Run(x.name, func(t *testing.T) {
			var entries []schemas.Entry
			write := func(c *core, media int64) {
				t.Helper()
				o, err := c.write(fragmentOfASecond(media), "")
				if err != nil {
					t.Fatal(err)
				}
				c.resolved(o, int64(len(entries)), "")
				for e, ok := c.append(); ok; e, ok = c.append() {
					entries = slices.AppendSeq(entries, e.Expand())
					c.committed(int64(len(entries)))
				}
			}
			begin := 1000 * second
			c := newCore(1<<20, 10, "restart")
			c.opened(0, newCamera(7), 1)
			write(c, begin)
			if x.another {
				c = newCore(1<<20, 10, "restart")
				c.opened(9, behind(&entries[0]).plan(9, schemas.Standing{}, 7), 1)
			} else {
				c.beginSession("camera")
			}
			write(c, begin+second+x.absent)
			if len(entries) != len(x.gaps)+2 {
				t.Fatalf("%d entries, want %d: %+v", len(entries), len(x.gaps)+2, entries)
			}
			for i, d := range x.gaps {
				e, before := entries[i+1], entries[i]
				if e.Kind != schemas.KindGap || e.Reason != schemas.ReasonAbsent || e.Duration != d || e.Session != before.Session ||
					e.Seq != before.Seq+1 || e.Media != before.MediaEnd() || !e.Start.Equal(before.End()) {
					t.Errorf("gap %d: %+v after %+v", i, e, before)
				}
			}
			last, before := entries[len(entries)-1], entries[len(entries)-2]
			want, why := max(0, x.absent), "camera"
			if x.another {
				why = "restart"
			}
			if want == 0 {
				why = ""
			}
			if last.Absent != want || last.AbsentReason != why {
				t.Errorf("it tells an absence of %d ticks (%q), want %d (%q)", last.Absent, last.AbsentReason, want, why)
			}
			if last.Seq != before.Seq+1 || last.Session != before.Session+1 {
				t.Errorf("%+v after %+v", last, before)
			}
		})
	}
}

// fragmentOfASecond is a fragment of one chunk with one picture, at media time media.
func fragmentOfASecond(media int64) *schemas.Chunk {
	return &schemas.Chunk{
		Last: true, Start: publicTime(media), Layout: schemas.Layout{Part: 19800, Video: schemas.H264},
		Tracks: []schemas.Track{{ID: schemas.VideoTrack, Codec: schemas.H264, Timescale: schemas.MediaTimescale}},
		Runs: []schemas.Run{{Track: schemas.VideoTrack, Samples: []schemas.Sample{{
			DTS: media, Duration: schemas.MediaTimescale, Sync: true, Data: []byte("x"),
		}}}},
	}
}

// TestAbsenceReason: a session tells the reason that it was begun with, a writer's first
// one else that of the opening. If no time is missing, as when a clock was set, it tells
// none.
func TestAbsenceReason(t *testing.T) {
	const step = schemas.MediaTimescale / 2 // shorter than what makes gaps
	for _, x := range []struct{ opening, reason, want string }{
		{"restart", "", "restart"},
		{"restart", "camera", "camera"},
		{"", "frozen", "frozen"},
		{"", "", ""},
	} {
		c, media := newCore(1<<20, 10, x.opening), int64(1000*schemas.MediaTimescale)
		c.opened(0, newCamera(7), 1)
		if x.opening == "" { // a later session of this writer
			if _, err := c.write(fragmentOfASecond(media), ""); err != nil {
				t.Fatal(err)
			}
		}
		c.recorded = publicTime(media + schemas.MediaTimescale)
		c.beginSession(x.reason)
		if _, err := c.write(fragmentOfASecond(media+schemas.MediaTimescale+step), ""); err != nil {
			t.Fatal(err)
		}
		want := int64(0)
		if x.want != "" {
			want = step
		}
		if e := c.pending[len(c.pending)-1].entry; e.Absent != want || e.AbsentReason != x.want {
			t.Errorf("%+v: tells an absence of %d (%s), want %d", x, e.Absent, e.AbsentReason, want)
		}
	}
}

// TestGapRuns: the gaps of an outage become few entries when Kafka is back. Each has
// the seqs and the time of its gaps, also if more gaps come while it is on its way.
func TestGapRuns(t *testing.T) {
	second := int64(schemas.MediaTimescale)
	c := newCore(1<<20, 10, "")
	c.opened(0, newCamera(7), 1)
	came := int64(0)
	gaps := func(n int64) { // 2 s each. The newest one goes on, so it has no seq yet
		for range n {
			c.addGap(publicTime(2*came*second), 2*came*second, 2*second, schemas.ReasonBudget)
			came++
		}
	}
	seq, media := uint64(7), int64(0)
	for _, x := range []struct {
		before, during int64 // gaps that come before and while the entry is on its way
		finish         bool
		want           int
	}{
		{before: 2*schemas.MaxGapRun + 10, during: 5, want: schemas.MaxGapRun},
		{want: schemas.MaxGapRun},
		{want: 14},
		{before: 1, want: 1},
		{finish: true, want: 1},
	} {
		gaps(x.before)
		if x.finish {
			c.finish(schemas.ReasonSource)
		}
		e, _ := c.append()
		gaps(x.during)
		n := 0
		for one := range e.Expand() {
			if one.Seq != seq || one.Media != media || one.Duration != 2*second || !one.Start.Equal(publicTime(media)) {
				t.Fatalf("%+v, want seq %d at %d", one, seq, media)
			}
			seq, media, n = seq+1, media+2*second, n+1
		}
		if n != x.want {
			t.Fatalf("an entry for %d gaps, want %d", n, x.want)
		}
		c.committed(e.Prev + 1)
	}
	if e, ok := c.append(); ok || media != 2*came*second {
		t.Errorf("gaps up to %d of %d, and %+v", media, 2*came*second, e)
	}
}

// TestOpenGOP: an entry has OpenGOP if chunk 0 has it, also if the next writer settles
// the fragment.
func TestOpenGOP(t *testing.T) {
	for _, openGOP := range []bool{true, false} {
		c := newCore(1<<20, 10, "")
		c.opened(0, newCamera(1), 1)
		ch := &schemas.Chunk{
			Last: true, OpenGOP: openGOP, Start: publicTime(0),
			Tracks: []schemas.Track{{ID: schemas.VideoTrack, Codec: schemas.H265, Timescale: schemas.MediaTimescale}},
			Runs:   []schemas.Run{{Track: schemas.VideoTrack, Samples: []schemas.Sample{{Duration: schemas.MediaTimescale, Sync: true}}}},
		}
		o, err := c.write(ch, "")
		if err != nil {
			t.Fatal(err)
		}
		c.resolved(o, 1, "")
		if e, ok := c.append(); !ok || e.OpenGOP != openGOP {
			t.Errorf("chunk 0: %v; entry: %v, %v", openGOP, e.OpenGOP, ok)
		}
		if es, _ := settle(5, past{chunks: []chunkMeta{metaOf(ch, 0, 1)}}); len(es) != 1 || es[0].OpenGOP != openGOP {
			t.Errorf("chunk 0: %v; settled: %+v", openGOP, es)
		}
	}
}

// newCamera is the plan of a new camera's first writer.
func newCamera(seq uint64) plan { return past{}.plan(0, schemas.Standing{}, seq) }

// behind is what a writer finds if e is the newest entry.
func behind(e *schemas.Entry) (p past) {
	p.take(e)
	return p
}
