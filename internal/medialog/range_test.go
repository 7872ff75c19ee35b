package medialog

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/framelog/framelog/schemas"
)

// indexRecord is a record of an index, as a host writes it.
type indexRecord struct {
	entry schemas.Entry // without a kind: a record that is no entry
	at    time.Time
}

// putIndex writes records to the end of cam's index, without a writer.
func putIndex(t *testing.T, l *Log, records ...indexRecord) {
	t.Helper()
	if err := l.Ensure(t.Context(), cam); err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		value := []byte("no entry")
		if r.entry.Kind != "" {
			var err error
			if value, err = schemas.EncodeEntry(&r.entry); err != nil {
				t.Fatal(err)
			}
		}
		rec := &kgo.Record{Topic: l.names.Index(cam), Value: value, Timestamp: r.at}
		if err := l.producer.ProduceSync(t.Context(), rec).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

// putMedia writes n small records to a partition of cam's media topic, and removes
// those before offset start.
func putMedia(t *testing.T, l *Log, partition int32, n int, start int64) {
	t.Helper()
	records := make([]*kgo.Record, n)
	for i := range records {
		records[i] = &kgo.Record{Topic: l.names.Media(cam), Partition: partition, Value: []byte("x")}
	}
	if err := l.producer.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	expire(t, l, l.names.Media(cam), partition, start)
}

// recording is what two hosts record, whose clocks are up to an hour apart and step back
// and forth between sessions. It is kept in an index of random entries.
type recording struct {
	rng     *rand.Rand
	now     time.Time
	skew    [2]time.Duration // of each host's clock
	records []indexRecord
	entries []schemas.Entry // what readers get: one a seq
	seq     uint64
	media   int64 // the newest entry's end
	public  time.Time
	chunks  [2]int64 // records of each media partition
	oldest  uint64   // the oldest seq that is visible
}

func newRecording(rng *rand.Rand, sessions int) *recording {
	r := &recording{rng: rng, now: time.Now(), seq: 100}
	for range sessions {
		r.session()
	}
	return r
}

// session records for some minutes, after an absence.
func (r *recording) session() {
	host := r.rng.IntN(2)
	if r.rng.IntN(3) == 0 { // somebody sets the clock
		r.skew[host] = r.upTo(time.Hour)
	}
	if n := r.rng.IntN(8); n < 4 {
		r.now = r.now.Add(r.upTo([]time.Duration{time.Minute, 15 * time.Minute, 15 * time.Minute, 5 * time.Hour}[n]))
	}
	prev := r.put(schemas.Entry{Kind: schemas.KindOpen, Prev: -1}, host)
	if r.seq > 100 && r.rng.IntN(3) == 0 { // the host before had left footage without entries
		for range r.rng.IntN(1 << r.rng.IntN(8)) {
			e := r.fragment(prev, r.public, r.media)
			r.now = r.now.Add(schemas.FromTicks(e.Duration))
			prev = r.put(e, host)
		}
	}
	start := r.now.Add(r.skew[host])
	media := max(r.media, schemas.Ticks(time.Duration(start.UnixNano())))
	shift := media - schemas.Ticks(time.Duration(start.UnixNano()))
	for range 1 + r.rng.IntN(40) {
		public := r.now.Add(r.skew[host])
		e := r.fragment(prev, public, schemas.Ticks(time.Duration(public.UnixNano()))+shift)
		r.now = r.now.Add(schemas.FromTicks(e.Duration))
		prev = r.put(e, host)
	}
}

// fragment makes an entry: a fragment, a gap, also of no duration, or a run of gaps.
func (r *recording) fragment(prev int64, start time.Time, media int64) schemas.Entry {
	d := int64(r.rng.IntN(5)) * schemas.MediaTimescale
	e := schemas.Entry{Kind: schemas.KindGap, Prev: prev, Seq: r.seq, Start: start.Truncate(time.Microsecond).UTC(), Media: media, Duration: d, Reason: "test"}
	switch r.rng.IntN(4) {
	case 0:
		e.Run = &schemas.GapRun{}
		for e.Duration = 0; len(e.Run.Durations) < 2+r.rng.IntN(20); e.Duration += 2 * schemas.MediaTimescale {
			e.Run.Durations = append(e.Run.Durations, 2*schemas.MediaTimescale)
		}
	case 1:
	default:
		e.Kind, e.Reason, e.Partition, e.Chunks = schemas.KindWhole, "", int32(r.seq%2), 1
		e.First, e.Last = r.chunks[e.Partition], r.chunks[e.Partition]
		r.chunks[e.Partition]++
	}
	return e
}

// put appends a record with the time of a host's clock.
func (r *recording) put(e schemas.Entry, host int) (offset int64) {
	e.Offset = int64(len(r.records))
	r.records = append(r.records, indexRecord{e, r.now.Add(r.skew[host])})
	if !e.Footage() {
		return e.Offset
	}
	for one := range e.Expand() {
		r.entries = append(r.entries, one)
	}
	r.seq, r.media, r.public = e.LastSeq()+1, e.MediaEnd(), e.End()
	return e.Offset
}

// upTo returns a random duration below d.
func (r *recording) upTo(d time.Duration) time.Duration {
	return time.Duration(r.rng.Int64N(int64(d)))
}

// between returns a random time around the footage.
func (r *recording) between() time.Time {
	e := r.entries[r.rng.IntN(len(r.entries))]
	switch r.rng.IntN(4) {
	case 0:
		return e.Start // exactly
	case 1:
		return r.entries[0].Start.Add(r.upTo(r.public.Sub(r.entries[0].Start))) // also while nothing was recorded
	}
	return e.Start.Add(r.upTo(10*time.Second) - 5*time.Second)
}

// seqBetween returns a random seq, often one near the oldest that is visible.
func (r *recording) seqBetween() uint64 {
	if r.rng.IntN(3) == 0 {
		return r.oldest - 5 + r.rng.Uint64N(15)
	}
	return 95 + r.rng.Uint64N(r.seq-90)
}

// randomRange makes a range with some of its four limits.
func (r *recording) randomRange() (x Range) {
	if r.rng.IntN(4) > 0 {
		x.From = r.between()
	}
	if r.rng.IntN(4) > 0 {
		x.To = r.between()
	}
	if r.rng.IntN(4) == 0 {
		x.FromSeq = r.seqBetween()
	}
	if r.rng.IntN(4) == 0 {
		x.ToSeq = r.seqBetween()
	}
	return x
}

// in is what Range promises, over entries that are visible.
func in(x Range, visible []schemas.Entry) (out []schemas.Entry) {
	for _, e := range visible {
		ended := !x.From.IsZero() && (e.Duration > 0 && !e.End().After(x.From) || e.Duration == 0 && e.Start.Before(x.From))
		begins := x.To.IsZero() || e.Start.Before(x.To)
		never := !x.From.IsZero() && !x.To.IsZero() && !x.From.Before(x.To)
		if !ended && begins && !never && e.Seq >= x.FromSeq && (x.ToSeq == 0 || e.Seq <= x.ToSeq) {
			out = append(out, e)
		}
	}
	return out
}

// TestRanges: ranges hold exactly what they promise, where public time steps back and
// forth and partitions have expired up to different places.
func TestRanges(t *testing.T) {
	for seed := range uint64(4) {
		virtual(t, 1, func(t *testing.T, _ *kfake.Cluster, e *env) {
			l := e.log()
			r := newRecording(rand.New(rand.NewPCG(seed, 1)), 25)
			putIndex(t, l, r.records...)
			oldestLeft := 0
			for p, n := range r.chunks {
				start := r.rng.Int64N(n / 3)
				if seed == 0 {
					start = 0
				}
				putMedia(t, l, int32(p), int(n), start)
				for i, e := range r.entries {
					if e.Playable() && e.Partition == int32(p) && e.First < start {
						oldestLeft = max(oldestLeft, i+1)
					}
				}
			}
			visible := r.entries[oldestLeft:]
			r.oldest = visible[0].Seq
			oldest, newest, err := l.Bounds(t.Context(), cam)
			if err != nil || oldest != visible[0] || newest != visible[len(visible)-1] {
				t.Fatalf("seed %d: bounds %d to %d, %v; want %d to %d", seed, oldest.Seq, newest.Seq, err, visible[0].Seq, visible[len(visible)-1].Seq)
			}
			for range 150 {
				x := r.randomRange()
				if got, want := entriesOf(t, l, x), in(x, visible); !slices.Equal(got, want) {
					t.Fatalf("seed %d: %+v has %d entries %v, want %d %v", seed, x, len(got), seqsOf(got), len(want), seqsOf(want))
				}
			}
			for range 50 {
				r.checkEntry(t, l, r.seqBetween(), visible)
				r.checkTail(t, l, visible)
			}
		})
	}
}

func seqsOf(es []schemas.Entry) (seqs []uint64) {
	for _, e := range es {
		seqs = append(seqs, e.Seq)
	}
	return seqs
}

// checkEntry asks for one seq.
func (r *recording) checkEntry(t *testing.T, l *Log, seq uint64, visible []schemas.Entry) {
	t.Helper()
	got, err := l.Entry(t.Context(), cam, seq)
	i := slices.IndexFunc(visible, func(e schemas.Entry) bool { return e.Seq == seq })
	switch {
	case seq >= r.seq:
		if !errors.Is(err, ErrNotFound) {
			t.Fatalf("seq %d, newest %d: %v", seq, r.seq-1, err)
		}
	case i >= 0:
		if err != nil || got != visible[i] {
			t.Fatalf("seq %d: %+v, %v", seq, got, err)
		}
	case err != nil && !errors.Is(err, ErrExpired):
		t.Fatalf("seq %d, which is not visible: %v", seq, err)
	}
}

// checkTail begins a tail at a random time, or some footage back.
func (r *recording) checkTail(t *testing.T, l *Log, visible []schemas.Entry) {
	t.Helper()
	newest := visible[len(visible)-1]
	pos := Position{Time: r.between()}
	starts := func(e schemas.Entry) bool { return !e.Start.After(pos.Time) }
	if r.rng.IntN(2) == 0 {
		pos = Position{Back: r.upTo(30 * time.Minute)}
		starts = func(e schemas.Entry) bool { return e.Media <= newest.MediaEnd()-schemas.Ticks(pos.Back) }
	}
	want := visible[0]
	for _, e := range visible {
		if starts(e) {
			want = e
		}
	}
	for ev, err := range l.Tail(t.Context(), cam, pos) {
		if err != nil || ev.Entry == nil || *ev.Entry != want {
			t.Fatalf("a tail from %+v begins with %+v, %v; want %+v", pos, ev.Entry, err, want)
		}
		return
	}
}

// TestStoreWithoutFootage: bounds, ranges and entries of a topic that has none.
func TestStoreWithoutFootage(t *testing.T) {
	virtual(t, 1, func(t *testing.T, _ *kfake.Cluster, e *env) {
		l := e.log()
		if _, _, err := l.Bounds(t.Context(), cam); !errors.Is(err, ErrNoTopic) {
			t.Errorf("bounds without a topic: %v", err)
		}
		putIndex(t, l, indexRecord{schemas.Entry{Kind: schemas.KindOpen, Prev: -1, From: 7}, time.Now()})
		if _, _, err := l.Bounds(t.Context(), cam); !errors.Is(err, ErrNotFound) {
			t.Errorf("bounds without an entry: %v", err)
		}
		if es := entriesOf(t, l, Range{}); len(es) > 0 {
			t.Errorf("entries of an index without one: %+v", es)
		}
		// An entry whose media have expired.
		putIndex(t, l, indexRecord{schemas.Entry{Kind: schemas.KindWhole, Seq: 7, Chunks: 1}, time.Now()})
		putMedia(t, l, 0, 2, 1)
		if _, _, err := l.Bounds(t.Context(), cam); !errors.Is(err, ErrNotFound) {
			t.Errorf("bounds without media: %v", err)
		}
		if _, err := l.Entry(t.Context(), cam, 7); !errors.Is(err, ErrExpired) {
			t.Errorf("an entry without media: %v", err)
		}
	})
}

// TestTailExpandsRuns: a run of gaps that comes while a tail follows is one event a seq,
// and a seq in a hole is not found.
func TestTailExpandsRuns(t *testing.T) {
	virtual(t, 1, func(t *testing.T, _ *kfake.Cluster, e *env) {
		l := e.log()
		gap := func(prev int64, seq uint64, durations ...int64) indexRecord {
			e := schemas.Entry{Kind: schemas.KindGap, Prev: prev, Seq: seq, Start: time.Now().UTC(), Media: int64(seq) * 100}
			for _, d := range durations {
				e.Duration += d
			}
			if len(durations) > 1 {
				e.Run = &schemas.GapRun{Durations: durations}
			}
			return indexRecord{e, time.Now()}
		}
		open := func(from uint64) indexRecord {
			return indexRecord{schemas.Entry{Kind: schemas.KindOpen, Prev: -1, From: from}, time.Now()}
		}
		putIndex(t, l, open(20), gap(0, 20, 100, 100, 100))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		type seen struct {
			seq      uint64
			offset   int64
			duration int64
		}
		var got []seen
		for ev, err := range l.Tail(ctx, cam, Position{Seq: 21}) {
			if err != nil {
				t.Fatal(err)
			}
			if ev.Live {
				// A fenced writer's run is void; a repetition counts once.
				putIndex(t, l, open(30), gap(1, 23, 7, 7), gap(2, 30, 100, 50), gap(2, 30, 100, 50), gap(4, 32, 9))
			}
			if ev.Entry != nil {
				got = append(got, seen{ev.Entry.Seq, ev.Entry.Offset, ev.Entry.Duration})
			}
			if len(got) == 5 {
				break
			}
		}
		want := []seen{{21, 1, 100}, {22, 1, 100}, {30, 4, 100}, {31, 4, 50}, {32, 6, 9}}
		if !slices.Equal(got, want) {
			t.Errorf("the tail has %v, want %v", got, want)
		}
		for seq, want := range map[uint64]error{19: ErrExpired, 25: ErrNotFound, 33: ErrNotFound} {
			if _, err := l.Entry(ctx, cam, seq); !errors.Is(err, want) {
				t.Errorf("seq %d: %v, want %v", seq, err, want)
			}
		}
	})
}
