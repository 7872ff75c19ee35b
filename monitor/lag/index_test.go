package lag

import (
	"testing"
	"time"

	"github.com/framelog/framelog/schemas"
)

// records feeds an Index with whole fragments of a second, seqs from first on, at offsets
// from Next on.
func records(x *Index, first uint64, n int) {
	for i := range n {
		x.Take(schemas.Entry{
			Kind: schemas.KindWhole, Offset: x.Next(), Prev: x.Next() - 1,
			Seq: first + uint64(i), Media: int64(first) * second, Duration: second,
		})
	}
}

func TestIndexKeepsTheNewest(t *testing.T) {
	x := NewIndex(100)
	records(x, 1, MaxRecent+10)
	last := x.Next() - 1
	for offset, want := range map[int64]bool{last - MaxRecent + 1: true, last - MaxRecent: false, 100: false, last: true} {
		if p, known := x.At(offset); known != want || known && p.Offset != offset {
			t.Errorf("at %d: %+v, %v", offset, p, known)
		}
	}
	if p, known := x.At(last + 1); p != nil || !known {
		t.Errorf("behind the end: %+v, %v", p, known)
	}
	x.Skip(last + 1000)
	if p, known := x.At(last); p != nil || known || x.Newest().Offset != last {
		t.Errorf("records were skipped: %+v, %v, newest %d", p, known, x.Newest().Offset)
	}
	records(x, 5000, 1)
	if p, known := x.At(last + 1000); !known || p.Offset != last+1000 || x.Newest().Seq != 5000 {
		t.Errorf("behind what was skipped: %+v, %v", p, known)
	}
}

func TestIndexTakesNoVoidEntry(t *testing.T) {
	entry := func(offset, prev int64, seq uint64) schemas.Entry {
		return schemas.Entry{Kind: schemas.KindWhole, Offset: offset, Prev: prev, Seq: seq, Media: int64(seq) * second, Duration: second}
	}
	open := func(offset int64) schemas.Entry {
		return schemas.Entry{Kind: schemas.KindOpen, Offset: offset, Prev: -1, Processor: "motion"}
	}
	for what, tt := range map[string]struct {
		records []schemas.Entry
		newest  uint64 // 0: there is none
	}{
		"a writer":                       {[]schemas.Entry{open(7), entry(8, 7, 1), entry(9, 8, 2)}, 2},
		"a fenced writer":                {[]schemas.Entry{entry(7, 6, 1), open(8), entry(9, 7, 2)}, 1},
		"fenced, and the new one":        {[]schemas.Entry{entry(7, 6, 1), open(8), entry(9, 7, 99), entry(10, 8, 2)}, 2},
		"a seq that has its entry":       {[]schemas.Entry{entry(7, 6, 5), entry(8, 7, 4)}, 5},
		"a record between, of no writer": {[]schemas.Entry{entry(7, 6, 1), {Offset: 8}, entry(9, 7, 2)}, 2},
		"what stands before is unknown":  {[]schemas.Entry{entry(7, 3, 1)}, 0},
		"no writer makes such an entry":  {[]schemas.Entry{entry(7, 9, 1), entry(8, -1, 1)}, 0},
		"the seqs of a run are taken": {[]schemas.Entry{
			{Kind: schemas.KindGap, Offset: 7, Prev: 6, Seq: 3, Duration: 4, Run: &schemas.GapRun{Durations: []int64{2, 2}}}, entry(8, 7, 4),
		}, 3},
	} {
		x := NewIndex(7)
		for _, e := range tt.records {
			x.Take(e)
		}
		var got uint64
		if x.Newest() != nil {
			got = x.Newest().Seq
		}
		if got != tt.newest {
			t.Errorf("%s: the newest is %d, want %d", what, got, tt.newest)
		}
	}
}

func TestIndexCounts(t *testing.T) {
	x := NewIndex(0)
	x.Take(schemas.Entry{Kind: schemas.KindOpen, Prev: -1})
	gap := func(seq uint64, seconds int64, reason string) {
		x.Take(schemas.Entry{Kind: schemas.KindGap, Offset: x.Next(), Prev: x.Next() - 1, Seq: seq, Duration: seconds * second, Reason: reason})
	}
	gap(1, 5, schemas.ReasonStorage)
	x.ForgetGaps()
	gap(2, 2, schemas.ReasonStorage)
	gap(3, 3, schemas.ReasonStorage)
	gap(4, 1, "\xff")
	if g := x.Gaps(); g[schemas.ReasonStorage] != 5*time.Second || g["?"] != time.Second || len(g) != 2 {
		t.Errorf("gaps %v", g)
	}
	for seq := range uint64(6) {
		x.Take(schemas.Entry{Kind: schemas.KindWhole, Offset: x.Next(), Prev: x.Next() - 1, Seq: 10 + seq, Role: schemas.RoleDeadLetter, Partition: int32(seq % 2), First: int64(seq)})
	}
	for _, tt := range []struct {
		starts []int64
		want   int
	}{{nil, 6}, {[]int64{0, 0}, 6}, {[]int64{1, 0}, 5}, {[]int64{1, 4}, 3}, {[]int64{9, 9}, 0}} {
		if n := x.Letters(tt.starts); n != tt.want {
			t.Errorf("the media begin at %v: %d letters, want %d", tt.starts, n, tt.want)
		}
	}
}
