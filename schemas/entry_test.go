package schemas

import (
	"slices"
	"strings"
	"testing"
)

func TestExpand(t *testing.T) {
	e := Entry{
		Offset: 9, Kind: KindGap, Prev: 8, Seq: 5, Session: 2, Start: someTime, Media: 1000, Duration: 270_000,
		Absent: 7, AbsentReason: AbsentCamera, Run: &GapRun{Durations: []int64{90_000, 90_000, 90_000}},
	}
	all := slices.Collect(e.Expand())
	if len(all) != 3 || e.LastSeq() != 7 {
		t.Fatalf("%d entries up to seq %d, want 3 up to 7", len(all), e.LastSeq())
	}
	want := Entry{Offset: 9, Kind: KindGap, Prev: 8, Seq: 7, Session: 2, Start: someTime.Add(FromTicks(180_000)), Media: 181_000, Duration: 90_000}
	if all[2] != want {
		t.Errorf("the last one is\n%+v, want\n%+v", all[2], want)
	}
	if all[0].Absent != 7 || all[2].Absent != 0 {
		t.Errorf("absent before the first gap %d and the last %d, want 7 and 0", all[0].Absent, all[2].Absent)
	}
	for i := 1; i < len(all); i++ {
		if all[i].Media != all[i-1].MediaEnd() || !all[i].Start.Equal(all[i-1].End()) {
			t.Errorf("seq %d does not begin where %d ends", all[i].Seq, all[i-1].Seq)
		}
	}
	one := Entry{Kind: KindWhole, Seq: 5, Chunks: 1}
	if got := slices.Collect(one.Expand()); len(got) != 1 || got[0] != one {
		t.Errorf("a fragment expands to %+v", got)
	}
}

func TestDecodeEntryRefusesRuns(t *testing.T) {
	gap := func(total int64, d ...int64) *Entry {
		return &Entry{Kind: KindGap, Prev: 1, Seq: 5, Duration: total, Run: &GapRun{Durations: d}}
	}
	long := make([]int64, MaxGapRun+1)
	for name, e := range map[string]*Entry{
		"of one seq":         gap(1, 1),
		"of too many":        gap(0, long...),
		"with negative time": gap(1, 2, -1),
		"longer than it is":  gap(3, 2, 2),
		"shorter than it is": gap(5, 2, 2),
		"of footage":         {Kind: KindWhole, Prev: 1, Seq: 5, Chunks: 1, Duration: 4, Run: &GapRun{Durations: []int64{2, 2}}},
	} {
		b, err := EncodeEntry(e)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := DecodeEntry(b); err == nil {
			t.Errorf("a run %s is decoded as %+v", name, got)
		}
	}
	if _, err := EncodeEntry(&Entry{Kind: KindGap, Note: strings.Repeat("x", MaxNote+1)}); err == nil {
		t.Error("a note that is too long is encoded")
	}
}
