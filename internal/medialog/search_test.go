package medialog

import (
	"iter"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/framelog/framelog/schemas"
)

// memoryIndex is an index in memory; record i has the offset i.
type memoryIndex struct {
	span
	records []schemas.Entry
	reads   int // places that were read
}

// read is Log.footage of this index.
func (x *memoryIndex) read(from, to int64) iter.Seq2[schemas.Entry, error] {
	return func(yield func(schemas.Entry, error) bool) {
		x.reads++
		if from < x.start {
			yield(schemas.Entry{}, ErrExpired)
			return
		}
		var j schemas.Judge
		for _, e := range x.records[from:to] {
			if e.Kind == "" {
				j.Skip(e.Offset)
				continue
			}
			v := j.Feed(&e)
			if v == schemas.Unknown && !x.openBetween(e.Prev, from) {
				v = schemas.Valid
			}
			if v == schemas.Valid && e.Footage() && !yield(e, nil) {
				return
			}
		}
	}
}

func (x *memoryIndex) openBetween(prev, before int64) bool {
	return prev < x.start || slices.ContainsFunc(x.records[prev+1:before], func(e schemas.Entry) bool { return e.Kind == schemas.KindOpen })
}

// newMemoryIndex makes an index of n records: single entries, runs of gaps, `open`s,
// holes in the seqs, void entries, repetitions of an append, records that are no entry.
// Each kind has its share of them.
func newMemoryIndex(rng *rand.Rand, n int) *memoryIndex {
	shares := [6]float64{1}
	for i := 1; i < len(shares); i++ {
		shares[i] = rng.Float64() * rng.Float64() / 2
	}
	x := &memoryIndex{}
	seq, media := 10+rng.Uint64N(1_700_000_000), int64(0)
	prev, fenced := int64(-1), int64(-1) // the newest entry of the writer, and of one before it
	put := func(e schemas.Entry) int64 {
		e.Offset = int64(len(x.records))
		x.records = append(x.records, e)
		return e.Offset
	}
	gap := func(prev int64, seqs int) schemas.Entry {
		e := schemas.Entry{Kind: schemas.KindGap, Prev: prev, Seq: seq, Media: media, Duration: int64(seqs)}
		if seqs > 1 {
			e.Run = &schemas.GapRun{Durations: slices.Repeat([]int64{1}, seqs)}
		}
		return e
	}
	for len(x.records) < n {
		kind, at := 0, rng.Float64()*(shares[0]+shares[1]+shares[2]+shares[3]+shares[4]+shares[5])
		for ; at > shares[kind]; kind++ {
			at -= shares[kind]
		}
		switch {
		case prev < 0 || kind == 1:
			fenced, prev = prev, put(schemas.Entry{Kind: schemas.KindOpen, Prev: -1})
			if rng.IntN(4) == 0 { // a hole
				seq += rng.Uint64N(1 << rng.IntN(34))
			}
		case kind == 2 && fenced >= 0:
			put(gap(fenced, 1+rng.IntN(3)))
		case kind == 3:
			put(schemas.Entry{})
		default:
			seqs := 1
			if kind == 4 {
				seqs = 2 + rng.IntN(schemas.MaxGapRun-1)
			}
			e := gap(prev, seqs)
			prev = put(e)
			if kind == 5 {
				prev = put(e)
			}
			seq, media = e.LastSeq()+1, e.MediaEnd()
		}
	}
	x.end = int64(len(x.records))
	if rng.IntN(2) == 0 { // retention
		x.start = rng.Int64N(x.end)
	}
	return x
}

// TestSearch: a search finds what reading the whole index finds, with few reads.
func TestSearch(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	searches, reads := 0, 0
	for range 400 {
		n := 1 + rng.IntN(1<<rng.IntN(14))
		x := newMemoryIndex(rng, n)
		var all []schemas.Entry
		for e := range x.read(x.start, x.end) {
			if len(all) == 0 || e.Seq > all[len(all)-1].LastSeq() {
				all = append(all, e)
			}
		}
		for range 40 {
			seq := rng.Uint64N(2_000_000_000)
			if len(all) > 0 && rng.IntN(10) > 0 { // near some entry
				e := all[rng.IntN(len(all))]
				seq = e.Seq - 2 + rng.Uint64N(e.LastSeq()-e.Seq+5)
			}
			x.reads = 0
			below, reached, err := search(x.read, x.span, seq, (*schemas.Entry).LastSeq)
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(all, func(e schemas.Entry) bool { return e.LastSeq() >= seq })
			if i < 0 {
				i = len(all)
			}
			if i < len(all) && (reached == nil || *reached != all[i]) || i == len(all) && reached != nil {
				t.Fatalf("seq %d of %d records: reached %+v, want entry %d", seq, n, reached, i)
			}
			// below may be a repetition.
			if i > 0 && (below == nil || below.Seq != all[i-1].Seq) || i == 0 && below != nil {
				t.Fatalf("seq %d of %d records: below %+v, want entry %d", seq, n, below, i-1)
			}
			if x.reads > 24 {
				t.Errorf("%d reads in an index of %d records", x.reads, n)
			}
			searches++
			reads += x.reads
		}
	}
	t.Logf("%d searches, %.1f reads each", searches, float64(reads)/float64(searches))
}

// TestSearchOfADay: 24 hours of fragments of 2 s without a gap.
func TestSearchOfADay(t *testing.T) {
	x := &memoryIndex{span: span{0, 43_200}}
	for i := range x.end {
		e := schemas.Entry{Offset: i, Kind: schemas.KindWhole, Prev: i - 1, Seq: 1_700_000_000 + uint64(i)}
		if i%1000 == 0 { // a new writer
			e = schemas.Entry{Offset: i, Kind: schemas.KindOpen, Prev: -1}
		}
		x.records = append(x.records, e)
	}
	for _, at := range []int64{1, 30, 5_001, 20_002, 43_100, 43_199} {
		x.reads = 0
		want := x.records[at]
		_, got, err := search(x.read, x.span, want.Seq, (*schemas.Entry).LastSeq)
		if err != nil || *got != want || x.reads > 4 {
			t.Errorf("offset %d: %+v after %d reads, %v", at, got, x.reads, err)
		}
	}
}
