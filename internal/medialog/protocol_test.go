package medialog

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/framelog/framelog/schemas"
)

func TestSettle(t *testing.T) {
	whole := func(epoch int64, seq uint64) *schemas.Entry {
		return &schemas.Entry{
			Kind: schemas.KindWhole, Seq: seq, Epoch: epoch, Session: uint64(epoch / 10), Layout: schemas.Layout{Target: 2},
			Media: int64(seq) * schemas.MediaTimescale, Duration: schemas.MediaTimescale,
		}
	}
	for _, tc := range []struct {
		name   string
		last   *schemas.Entry
		chunks string // see chunkMetas
		want   string // kind epoch:seq×chunks
	}{
		{"nothing was left", whole(10, 5), "", ""},
		{"what has its entry already", whole(10, 5), "10:5.0 10:5.1!", ""},
		{"whole, and truncated", whole(10, 5), "10:6.0 10:6.1! 10:7.0 10:7.1", "whole 10:6×2 truncated 10:7×2"},
		{"partitions in any order", whole(10, 5), "10:7.0! | 10:6.0!", "whole 10:6×1 whole 10:7×1"},
		{"a chunk is missing in the middle", whole(10, 5), "10:6.0 10:6.2 10:6.3!", "truncated 10:6×1"},
		{"the beginning is missing: nothing to keep", whole(10, 5), "10:6.1 10:6.2!", ""},
		{"a repetition", whole(10, 5), "10:6.0 10:6.0 10:6.1! 10:6.1!", "whole 10:6×2"},
		{"the latest epoch's copy counts, complete or not", whole(10, 5), "10:6.0 10:6.1! 20:6.0", "truncated 20:6×1"},
		{"what a fenced writer wrote beyond its successor is not settled", whole(10, 5), "10:6.0! 20:6.0! 10:7.0! 10:8.0!", "whole 20:6×1"},
		{"a predecessor's, and then its successor's", whole(10, 5), "10:6.0! 20:7.0!", "whole 10:6×1 whole 20:7×1"},
		{"refused ones between become gaps", whole(10, 5), "10:6.0! 10:9.0!", "whole 10:6×1 gap 10:7×0 gap 10:8×0 whole 10:9×1"},
		{"no writer of ours makes such chunks", whole(10, 5), "10:6.0- 10:7.0 10:7.1- 10:7.2!", "gap 10:6×0 truncated 10:7×1"},
		{"the new writer's own are not settled", whole(10, 5), "30:6.0!", ""},
		{"an empty index, one writer's chunks", nil, "10:6.0! 10:7.0", "whole 10:6×1 truncated 10:7×1"},
		{"an empty index, two writers that began with other numbers", nil, "10:6.0! 20:90.0!", "whole 20:90×1"},
	} {
		var got []string
		p := past{chunks: chunkMetas(t, tc.chunks)}
		if tc.last != nil {
			p.take(tc.last)
		}
		settled, _ := settle(30, p)
		for i := range settled {
			for e := range settled[i].Expand() {
				got = append(got, fmt.Sprintf("%s %d:%d×%d", e.Kind, e.Epoch, e.Seq, e.Chunks))
				if e.Kind != schemas.KindWhole && e.Reason != schemas.ReasonCrash {
					t.Errorf("%s: %s %d has the reason %q", tc.name, e.Kind, e.Seq, e.Reason)
				}
			}
		}
		if s := strings.Join(got, " "); s != tc.want {
			t.Errorf("%s:\n got %s\nwant %s", tc.name, s, tc.want)
		}
	}
}

// TestSettleLayout: layouts do not go back. A fragment may outgrow its layout after
// another writer began the next one.
func TestSettleLayout(t *testing.T) {
	chunk := func(epoch int64, seq uint64, index uint32, seconds int64) chunkMeta {
		media := int64(seq) * 10 * schemas.MediaTimescale
		return chunkMeta{
			epoch: epoch, session: uint64(epoch / 10), seq: seq, index: index, last: true, layout: schemas.Layout{Target: 2},
			media: media, mediaEnd: media + seconds*schemas.MediaTimescale,
		}
	}
	es, _ := settle(30, past{chunks: []chunkMeta{chunk(10, 6, 0, 9), chunk(20, 7, 0, 1)}})
	if len(es) != 2 || es[0].Layout != (schemas.Layout{ID: 1, Target: 12}) || es[1].Layout != es[0].Layout {
		t.Errorf("%+v", es)
	}
}

// TestFromWhole: if only the end of a partition was read, the fragments that may have
// begun before it are left out, in all partitions.
func TestFromWhole(t *testing.T) {
	chunk := func(partition int32, seq uint64, index uint32) chunkMeta {
		return chunkMeta{partition: partition, seq: seq, index: index}
	}
	chunks := []chunkMeta{chunk(0, 10, 3), chunk(0, 12, 0), chunk(0, 12, 1), chunk(1, 13, 0), chunk(1, 15, 0)}
	for _, x := range []struct {
		name string
		cut  map[int32]bool
		want int // index of the first chunk that is left; all behind it are left too
	}{
		{"neither is cut", nil, 0},
		{"cut within a fragment", map[int32]bool{0: true}, 1},
		{"cut between two fragments", map[int32]bool{1: true}, 3},
		{"both are cut", map[int32]bool{0: true, 1: true}, 3},
	} {
		if got := fromWhole(chunks, x.cut); !reflect.DeepEqual(got, chunks[x.want:]) {
			t.Errorf("%s: %+v", x.name, got)
		}
	}
}

func TestProvisional(t *testing.T) {
	chunk := func(epoch int64, seq uint64, index uint32, last bool) *schemas.Chunk {
		return &schemas.Chunk{Epoch: epoch, Seq: seq, Index: index, Last: last, Runs: []schemas.Run{{
			Track: schemas.VideoTrack, Samples: []schemas.Sample{{Data: make([]byte, 10)}},
		}}}
	}
	shown := func(p *provisional) (s string) {
		for c := p.next(); c != nil; c = p.next() {
			s += fmt.Sprintf("%d:%d.%d ", c.Epoch, c.Seq, c.Index)
		}
		return strings.TrimSpace(s)
	}
	p := provisional{limit: 60}
	open := func(at int64, from uint64) *schemas.Entry {
		return &schemas.Entry{Kind: schemas.KindOpen, Offset: at, From: from}
	}
	p.opened(open(10, 0), 5, true)
	for _, step := range []struct {
		what string
		do   func()
		want string
	}{
		{"the next fragment's beginning waits for this one's end", func() { p.chunk(chunk(10, 7, 0, false)) }, ""},
		{"its own beginning", func() { p.chunk(chunk(10, 6, 0, false)) }, "10:6.0"},
		{"the same again", func() { p.chunk(chunk(10, 6, 0, false)) }, ""},
		{"the last one, and what waited", func() { p.chunk(chunk(10, 6, 1, true)) }, "10:6.1 10:7.0"},
		{"a chunk of a writer not opened yet", func() { p.chunk(chunk(20, 8, 0, false)) }, ""},
		{"an entry moves on", func() { p.committed(6, 10); p.committed(7, 10) }, ""},
		{"the writer opens", func() { p.opened(open(20, 0), 7, true) }, "20:8.0"},
		{"the fenced writer goes on", func() { p.chunk(chunk(10, 8, 0, true)) }, ""},
		{"beyond the limit", func() {
			for i := range 10 {
				p.chunk(chunk(20, 9, uint32(i), false))
			}
		}, ""},
		{"the entry of the one that was cut off", func() { p.committed(8, 20) }, "20:9.0 20:9.1 20:9.2 20:9.3 20:9.4 20:9.5"},
		{"a writer whose opening was not seen", func() { p.committed(9, 30); p.chunk(chunk(30, 10, 0, false)) }, "30:10.0"},
		{"chunks of a writer whose index is gone, with a higher epoch", func() { p.chunk(chunk(99, 9, 0, false)) }, ""},
		{"an entry that it settled", func() { p.committed(10, 20); p.chunk(chunk(30, 11, 0, false)) }, "30:11.0"},
	} {
		step.do()
		if got := shown(&p); got != step.want {
			t.Errorf("%s: shows %q, want %q", step.what, got, step.want)
		}
	}
	if len(p.held) != 0 {
		t.Errorf("%d chunks are held that are never shown", len(p.held))
	}
	if p.dropped != 4 {
		t.Errorf("%d were dropped, want 4", p.dropped)
	}
}

// A reader begins with the chunks of the seq that the newest `open` declares, before
// there is any entry. Without that it waits for an entry.
func TestProvisionalFrom(t *testing.T) {
	chunk := func(epoch int64, seq uint64) *schemas.Chunk {
		return &schemas.Chunk{Epoch: epoch, Seq: seq, Last: true}
	}
	for _, c := range []struct {
		what   string
		open   int64
		from   uint64
		last   uint64 // the newest entry; 0: none is known
		chunks []*schemas.Chunk
		want   []uint64
	}{
		{"the second fragment comes before the first", 1, 7, 0, []*schemas.Chunk{chunk(1, 8), chunk(1, 7)}, []uint64{7, 8}},
		{"the first has not come", 1, 7, 0, []*schemas.Chunk{chunk(1, 8)}, nil},
		{"the first of a writer that was fenced", 2, 9, 0, []*schemas.Chunk{chunk(1, 7), chunk(2, 9)}, []uint64{9}},
		{"nothing is declared", 1, 0, 0, []*schemas.Chunk{chunk(1, 7)}, nil},
		{"an entry of the writer came behind its open", 1, 7, 8, []*schemas.Chunk{chunk(1, 7), chunk(1, 9)}, []uint64{9}},
		{"the index was emptied under the reader", 2, 90, 8, []*schemas.Chunk{chunk(2, 90)}, []uint64{90}},
	} {
		p := provisional{limit: 1 << 20, epoch: -1}
		p.opened(&schemas.Entry{Kind: schemas.KindOpen, Offset: c.open, From: c.from}, c.last, c.last != 0)
		for _, ch := range c.chunks {
			p.chunk(ch)
		}
		var got []uint64
		for ch := p.next(); ch != nil; ch = p.next() {
			got = append(got, ch.Seq)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: shows %v, want %v", c.what, got, c.want)
		}
	}
}
