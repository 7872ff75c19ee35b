package faults

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/oracle/hlscheck"
	"github.com/framelog/framelog/tests/testenv"
)

// A broker that is killed and comes back interrupts no camera. One that is
// away for longer than memory holds leaves one run of gaps behind, of the
// length that it must have, and nothing else.
func TestKafkaAway(t *testing.T) {
	t.Parallel()
	const budget = 6 << 20
	k := testenv.OwnKafka(t)
	ids, config := procCameras(t, 1, 200)
	big, more := procCamera(t, "big", testenv.Clip{Seconds: 6, KBits: 4000})
	ids = append(ids, big)
	f := testenv.Up(t, testenv.UpOptions{Config: config + more + fmt.Sprintf("brokers: [%s]\ntopics:\n  budget: %d\n", k.Brokers[0], budget)})
	l := procConnect(t, k.Brokers...)
	l.grown(t, ids, time.Time{}, 2)
	watchers := procWatch(t, f.URL, ids, -1)
	l.grown(t, ids, time.Now(), 2)
	children := f.Children()

	// calm checks what must hold however long brokers are away.
	calm := func(what string, before procIndex) procIndex {
		t.Helper()
		after := l.kept(t, before)
		for _, id := range ids {
			n, last := len(before[id]), before[id][len(before[id])-1]
			for i, e := range after[id][n:] {
				p := after[id][n+i-1]
				if e.Session != last.Session || e.Media != p.MediaEnd() || e.Start.Sub(p.End()).Abs() > time.Millisecond {
					t.Errorf("%s: %s was interrupted at fragment %d:\n%s", what, id, e.Seq, camIndex(after[id][n-1:]))
					break
				}
			}
		}
		if n := procMetric(t, f.URL, "framelog_ingest_reconnects_total", `role="ingest"`); n != 0 {
			t.Errorf("%s: cameras were connected %v times again", what, n)
		}
		if now := f.Children(); !maps.EqualFunc(children, now, func(a, b []int) bool { return fmt.Sprint(a) == fmt.Sprint(b) }) {
			t.Errorf("%s: processes were %v, are %v", what, children, now)
		}
		return after
	}

	before := l.index(t, ids)
	killed := time.Now()
	k.Kill(t)
	k.Start(t)
	t.Logf("killed: Kafka was away for %v", time.Since(killed).Round(time.Millisecond))
	l.grown(t, ids, time.Now(), 2)
	for id, all := range calm("killed", before) {
		for _, e := range all {
			if e.Kind != schemas.KindWhole {
				t.Errorf("killed: %s has other than whole fragments:\n%s", id, camIndex(all))
				break
			}
		}
	}

	before = l.index(t, ids)
	killed = time.Now()
	k.Kill(t)
	lasts(t, 30*time.Second)
	k.Start(t)
	back := time.Now()
	l.grown(t, ids, back.Add(5*time.Second), 2)
	after := calm("away", before)
	for _, e := range after[ids[0]] {
		if e.Kind != schemas.KindWhole {
			t.Errorf("away: memory holds all of %s, and it has gaps:\n%s", ids[0], camIndex(after[ids[0]]))
			break
		}
	}
	// One run of gaps, from where the budget was full to Kafka's return.
	var first, last, waited int64 // seqs of the run; bytes before it
	runs := 0
	var began, ended time.Time
	all := after[big]
	for i, e := range all {
		switch {
		case e.Kind == schemas.KindGap && e.Reason == schemas.ReasonBudget:
			if all[i-1].Kind != schemas.KindGap {
				runs++
				first, began = int64(e.Seq), e.Start
			}
			last, ended = int64(e.Seq), e.End()
		case e.Kind != schemas.KindWhole:
			t.Errorf("away: %s has an entry %s (%s)", big, e.Kind, e.Reason)
		case runs == 0 && e.Start.After(killed):
			waited += e.Bytes
		}
	}
	t.Logf("away for %v: %d gaps, from %v after the kill on, to %v after the return; %d bytes waited", back.Sub(killed).Round(time.Millisecond),
		last-first+1, began.Sub(killed).Round(time.Millisecond), ended.Sub(back).Round(time.Millisecond), waited)
	if runs != 1 || waited > budget || waited < budget*2/3 || ended.Before(back.Add(-time.Second)) || ended.After(back.Add(5*time.Second)) {
		t.Errorf("away: %d runs of gaps, %d bytes before the first (the budget is %d), the end %v after the return:\n%s",
			runs, waited, budget, ended.Sub(back), camIndex(all[len(before[big]):]))
	}
	var p *hlscheck.Media
	testenv.Wait(t, 20*time.Second, "a playlist", func() bool { p, _ = procPlaylist(t, f.URL, big); return p != nil })
	listed := map[uint64]bool{}
	for _, s := range p.Segments {
		listed[s.Seq] = true
		if gap := int64(s.Seq) >= first && int64(s.Seq) <= last; gap != s.Gap {
			t.Errorf("away: segment %d: EXT-X-GAP is %v", s.Seq, s.Gap)
		}
	}
	if !listed[uint64(last)] {
		t.Errorf("away: the playlist has segments %d to %d, not gap %d", p.Sequence, p.Open.Seq, last)
	}
	watchers.end(t, 10)
}
