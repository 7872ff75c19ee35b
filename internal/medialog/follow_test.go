package medialog

import (
	"testing"
	"time"

	"github.com/framelog/framelog/schemas"
)

// TestResumption: an output goes on only if its source still has what it was made of.
func TestResumption(t *testing.T) {
	entry := func(seq uint64, epoch int64) *schemas.Entry {
		return &schemas.Entry{
			Kind: schemas.KindWhole, Life: "a", Seq: seq, Media: int64(seq) * 90000, Duration: 90000,
			Epoch: epoch, First: 10, Chunks: 5, Source: schemas.Copy{Epoch: epoch, First: 10, Chunks: 5},
		}
	}
	state := func(oldest, newest uint64, same *schemas.Entry) sourceState {
		return sourceState{life: "a", oldest: entry(oldest, 1), newest: entry(newest, 1), same: same}
	}
	shorter, later, purged := entry(7, 1), entry(7, 1), state(3, 9, entry(7, 1))
	shorter.Chunks, later.Media, purged.life = 4, later.Media+1, "b"
	run := entry(7, 1)
	run.Source.First, run.Source.Chunks = 0, 0
	for _, tc := range []struct {
		name   string
		last   *schemas.Entry
		source sourceState
		want   resumption
	}{
		{"an empty output", nil, state(3, 9, nil), goesOn},
		{"the same copy", entry(7, 1), state(3, 9, entry(7, 1)), goesOn},
		{"one of a run of gaps", run, state(3, 9, entry(7, 1)), goesOn},
		{"the source's entry has expired", entry(7, 1), state(8, 9, nil), goesOn},
		{"the source's entry is missing", entry(7, 1), state(3, 9, nil), beginsAnew},
		{"a copy of another epoch", entry(7, 1), state(3, 9, entry(7, 2)), beginsAnew},
		{"fewer chunks", entry(7, 1), state(3, 9, shorter), beginsAnew},
		{"another media time", entry(7, 1), state(3, 9, later), beginsAnew},
		{"another life", entry(7, 1), purged, beginsAnew},
		{"the source ends before", entry(7, 1), state(3, 6, nil), waits},
		{"the source has no entry", entry(7, 1), sourceState{life: "a"}, waits},
	} {
		if got := resumptionOf(tc.last, tc.source); got != tc.want {
			t.Errorf("%s: %d, want %d", tc.name, got, tc.want)
		}
	}
}

// TestFailedBeforeOpen: work fails before the follower's first `open`. That `open` tells the
// failure, and there is no second one for it.
func TestFailedBeforeOpen(t *testing.T) {
	f := newFollowCore(schemas.Entry{Processor: "p"}, "a", 4, 1<<20, 1<<20)
	stands := checkpoint{last: &schemas.Entry{Kind: schemas.KindWhole, Life: "a", Seq: 6}}
	if err := f.resume(stands); err != nil {
		t.Fatal(err)
	}
	begin := func() *followWork {
		w, err := f.begin(&schemas.Chunk{Seq: 7})
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	f.fail(begin(), errFailed)
	begin()
	a, _ := f.action()
	if a.entry == nil || a.entry.Attempt != 1 {
		t.Fatalf("the first action is %+v, want an open that tells 1 failure", a)
	}
	f.opened(10)
	if err := f.resume(stands); err != nil {
		t.Fatal(err)
	}
	if a, ok := f.action(); ok {
		t.Errorf("then comes %+v", a.entry)
	}
}

// TestAlike: one entry stands for gaps only if nothing of them is lost.
func TestAlike(t *testing.T) {
	gaps := func(change func(e *schemas.Entry)) []schemas.Entry {
		var out []schemas.Entry
		start := time.UnixMicro(1_700_000_000_000_000).UTC()
		for i := range int64(4) {
			e := schemas.Entry{Kind: schemas.KindGap, Reason: "r", Seq: uint64(5 + i), Session: 1, Epoch: 3, Start: start.Add(schemas.FromTicks(i * 30000)).Truncate(time.Microsecond), Media: i * 30000, Duration: 30000}
			if i == 2 {
				change(&e)
			}
			out = append(out, e)
		}
		return out
	}
	for _, tc := range []struct {
		name   string
		reason string
		want   int
		change func(e *schemas.Entry)
	}{
		{"all alike", "", 4, func(*schemas.Entry) {}},
		{"another session", "skipped", 2, func(e *schemas.Entry) { e.Session++ }},
		{"another layout", "skipped", 2, func(e *schemas.Entry) { e.Layout.ID++ }},
		{"another copy's epoch", "skipped", 2, func(e *schemas.Entry) { e.Epoch++ }},
		{"another reason", "", 2, func(e *schemas.Entry) { e.Reason = "s" }},
		{"another reason, skipped", "skipped", 4, func(e *schemas.Entry) { e.Reason = "s" }},
		{"media time jumps", "skipped", 2, func(e *schemas.Entry) { e.Media++ }},
		{"public time jumps", "skipped", 2, func(e *schemas.Entry) { e.Start = e.Start.Add(time.Millisecond) }},
		{"it tells an absence", "skipped", 2, func(e *schemas.Entry) { e.Absent = 1 }},
		{"the source ended", "skipped", 2, func(e *schemas.Entry) { e.Ended = true }},
		{"it tells a loss", "skipped", 2, func(e *schemas.Entry) { e.Lost.Units = 1 }},
	} {
		if got := alike(gaps(tc.change), tc.reason); got != tc.want {
			t.Errorf("%s: %d, want %d", tc.name, got, tc.want)
		}
	}
}
