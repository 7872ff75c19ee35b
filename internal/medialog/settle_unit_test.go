package medialog

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/schemas"
)

// chunkMetas parses chunks, partitions apart by |. One chunk is epoch:seq.index, with !
// for last, - for times that go back, u if it begins with the access unit "unit", i if it
// has it inside. A seq has a second of public and media time, a chunk a fifth, the session
// is the epoch's tens.
func chunkMetas(t *testing.T, s string) (out []chunkMeta) {
	t.Helper()
	for p, part := range strings.Split(s, "|") {
		for o, s := range strings.Fields(part) {
			m := chunkMeta{partition: int32(p), offset: int64(o), layout: schemas.Layout{Target: 2}, last: strings.HasSuffix(s, "!")}
			if _, err := fmt.Sscanf(s, "%d:%d.%d", &m.epoch, &m.seq, &m.index); err != nil {
				t.Fatal(err)
			}
			m.session = uint64(m.epoch / 10)
			m.media = int64(m.seq)*schemas.MediaTimescale + int64(m.index)*schemas.MediaTimescale/5
			m.mediaEnd = m.media + schemas.MediaTimescale/5
			if strings.HasSuffix(s, "-") {
				m.mediaEnd = m.media - schemas.MediaTimescale
			}
			m.start = publicTime(m.media).UnixMicro()
			if strings.Contains(s, "u") {
				m.unit = "unit"
			}
			if strings.Contains(s, "i") {
				m.inner = []string{"other", "unit"}
			}
			out = append(out, m)
		}
	}
	return out
}

// TestSettleUpToUnit: what was left ends where the new writer's first access unit
// begins, and the new writer continues there.
func TestSettleUpToUnit(t *testing.T) {
	second := int64(schemas.MediaTimescale)
	for _, x := range []struct {
		name   string
		chunks string
		want   string // kind seq×chunks reason
		seq    uint64 // the new writer's first
		media  int64  // where it continues, ticks; 0: the unit is not found
	}{
		{"it begins a fragment", "10:6.0 10:6.1! | 10:7.0u 10:7.1", "whole 6×2 ", 7, 7 * second},
		{"it begins the first one", "10:6.0u 10:6.1!", "", 6, 6 * second},
		{"it begins a chunk", "10:6.0 10:6.1 10:6.2u 10:6.3! | 10:7.0", "truncated 6×2 handover", 7, 6*second + 2*second/5},
		{"it stands in a chunk", "10:6.0 10:6.1i 10:6.2!", "truncated 6×2 handover", 7, 6*second + 2*second/5},
		{"it stands in a last chunk", "10:6.0 10:6.1i!", "whole 6×2 ", 7, 6*second + 2*second/5},
		{"gaps without an entry come before", "10:6.0! 10:8.0u", "whole 6×1 , gap 7×0 crash", 8, 8 * second},
		{"the picture does not change", "10:6.0u! 10:7.0u!", "whole 6×1 ", 7, 7 * second},
		{"the same bytes at another time", "10:2.0u! 10:3.0!", "whole 2×1 , whole 3×1 ", 4, 0},
		{"a copy that does not count has it", "10:6.0 10:6.1u! | 20:6.0!", "whole 6×1 ", 7, 0},
		{"it is not there", "10:6.0", "truncated 6×1 crash", 7, 0},
	} {
		before := schemas.Entry{Kind: schemas.KindWhole, Seq: 5, Epoch: 10, Session: 1, Layout: schemas.Layout{Target: 2}, Media: 5 * second, Duration: second, Start: publicTime(5 * second)}
		if strings.HasPrefix(x.chunks, "10:2") {
			before.Seq, before.Media, before.Start = 1, second, publicTime(second)
		}
		p := behind(&before)
		p.chunks, p.unit, p.unitTime = chunkMetas(t, x.chunks), "unit", publicTime(6*second).Add(300*time.Millisecond)
		got := p.plan(30, schemas.Standing{}, 1)
		var settled []string
		for i := range got.settled {
			for e := range got.settled[i].Expand() {
				settled = append(settled, fmt.Sprintf("%s %d×%d %s", e.Kind, e.Seq, e.Chunks, e.Reason))
			}
		}
		if s := strings.Join(settled, ", "); s != x.want || got.resume.seq != x.seq {
			t.Errorf("%s: settles %q and goes on with %d, want %q and %d", x.name, s, got.resume.seq, x.want, x.seq)
		}
		switch u := got.resume.unit; {
		case (u != nil) != (x.media != 0):
			t.Errorf("%s: the unit is found: %v", x.name, u != nil)
		case u != nil && (u.media != x.media || !u.start.Equal(publicTime(x.media))):
			t.Errorf("%s: continues at %d, %v, want %d", x.name, u.media, u.start, x.media)
		}
	}
}

// TestSettleLateChunks: a fenced writer's chunks arrive after its successor has begun.
// They do not push the successor's out, whose writer has crashed too.
func TestSettleLateChunks(t *testing.T) {
	second := int64(schemas.MediaTimescale)
	last := schemas.Entry{Kind: schemas.KindWhole, Seq: 5, Epoch: 10, Session: 1, Layout: schemas.Layout{Target: 2}, Media: 5 * second, Duration: second, Start: publicTime(5 * second)}
	cut := last
	cut.Kind, cut.Reason = schemas.KindTruncated, schemas.ReasonHandover
	for _, x := range []struct {
		name   string
		last   schemas.Entry
		chunks string
		media  int64 // of chunks of epoch 20; public time is the same
		want   string
	}{
		{"they reach into the successor's", last, "10:6.0 10:6.1 10:6.2! | 20:7.0!", 6*second + second/10, "whole 7×1 e20 "},
		{"only some of them", last, "10:6.0 10:6.1 10:6.2! | 20:7.0!", 6*second + second/2, "truncated 6×2 e10 crash, whole 7×1 e20 "},
		{"the successor had found its first access unit", last, "10:6.0 10:6.1 10:6.2! | 20:7.0!", 6*second + 2*second/5, "truncated 6×2 e10 handover, whole 7×1 e20 "},
		{"there is room for them", last, "10:6.0 10:6.1! | 20:7.0!", 7 * second, "whole 6×2 e10 , whole 7×1 e20 "},
		{"behind the successor's", last, "10:6.0! 10:7.0! 10:8.0! | 20:7.0!", 7 * second, "whole 6×1 e10 , whole 7×1 e20 "},
		{"behind a hand-over that has its entry", cut, "10:6.0! 10:7.0! | 20:8.0!", 8 * second, "gap 6×0 e20 crash, gap 7×0 e20 crash, whole 8×1 e20 "},
		{"only these, behind a hand-over", cut, "10:6.0! 10:7.0!", 0, ""},
	} {
		p := behind(&x.last)
		p.chunks = chunkMetas(t, x.chunks)
		for i := range p.chunks {
			if m := &p.chunks[i]; m.epoch == 20 {
				m.media, m.mediaEnd, m.start = x.media, x.media+second/5, publicTime(x.media).UnixMicro()
			}
		}
		settled, _ := settle(30, p)
		var got []string
		for i := range settled {
			for e := range settled[i].Expand() {
				got = append(got, fmt.Sprintf("%s %d×%d e%d %s", e.Kind, e.Seq, e.Chunks, e.Epoch, e.Reason))
			}
		}
		want := x.want
		if strings.HasPrefix(want, "whole 7") { // nothing of 6 is left
			want = "gap 6×0 e20 crash, " + want
		}
		if s := strings.Join(got, ", "); s != want {
			t.Errorf("%s:\n got %s\nwant %s", x.name, s, want)
		}
	}
}

// TestPlanOfEmptyIndex: where the index has no entry, numbers go on above what is
// remembered and what chunks tell, and a new camera's begin at 1.
func TestPlanOfEmptyIndex(t *testing.T) {
	stood := schemas.Standing{Life: "a", Seq: 500, Session: 7, Layout: schemas.Layout{ID: 3, Target: 6, Part: 9900, Video: schemas.H264}, Media: 90_000}
	climbed := schemas.Layout{ID: 9, Target: 2, Part: 9900, Video: schemas.H264}
	for _, x := range []struct {
		name   string
		past   past
		stood  schemas.Standing
		want   resume
		settle int
	}{
		{"a new camera", past{}, schemas.Standing{}, resume{from: 100, seq: 100}, 0},
		{"it is remembered", past{}, stood, resume{from: 501, life: "a", seq: 501, session: 7, layout: climbed, mediaEnd: 90_000}, 0},
		{"long ago", past{}, schemas.Standing{Life: "a", Seq: 5, Session: 7}, resume{from: 100, life: "a", seq: 100, session: 7}, 0},
		{
			"chunks of a writer that began with higher numbers, without a beginning",
			past{chunks: chunkMetas(t, "10:700.1!")},
			stood,
			resume{from: 701, life: "a", seq: 701, session: 7, layout: climbed, mediaEnd: 700*schemas.MediaTimescale + 2*18_000},
			0,
		},
		{"chunks older than what is remembered", past{chunks: chunkMetas(t, "10:300.0!")}, stood, resume{from: 501, life: "a", seq: 501, session: 7, layout: climbed, mediaEnd: 300*schemas.MediaTimescale + 18_000}, 0},
		{
			"chunks of numbers that were given up",
			past{indexEnd: indexEnd{life: "b", from: 500}, chunks: chunkMetas(t, "10:400.0!")},
			schemas.Standing{},
			resume{from: 500, life: "b", seq: 500, session: 1, layout: schemas.Layout{ID: 6, Target: 2}, mediaEnd: 400*schemas.MediaTimescale + 18_000},
			0,
		},
		{
			"a writer that crashed before its first entry",
			past{indexEnd: indexEnd{life: "b", from: 500}, chunks: chunkMetas(t, "70:500.0 | 10:400.0!")},
			stood,
			resume{from: 500, life: "b", seq: 501, session: 7, layout: schemas.Layout{Target: 2}, mediaEnd: 500*schemas.MediaTimescale + 18_000},
			1,
		},
	} {
		p := x.past.plan(90, x.stood, 100)
		r := p.resume
		r.publicEnd, r.recorded = time.Time{}, time.Time{}
		if r != x.want || len(p.settled) != x.settle {
			t.Errorf("%s:\n got %+v, settles %d\nwant %+v, %d", x.name, r, len(p.settled), x.want, x.settle)
		}
	}
}
