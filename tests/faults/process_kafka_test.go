package faults

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/system"
	"github.com/framelog/framelog/tests/testenv"
)

// checkCalm checks what must hold however long brokers are away: what was safe before is as
// it was, no camera was interrupted, and children are the processes as before. It returns
// the indexes as they are now.
func (s *scene) checkCalm(t *testing.T, what string, before indexes, children map[string][]int) indexes {
	t.Helper()
	after := s.checkKept(t, before)
	for _, id := range s.ids {
		n := len(before[id])
		for i, e := range after[id][n:] {
			p := after[id][n+i-1]
			again := e.Session != p.Session || e.Start.Sub(p.End()).Abs() > time.Millisecond
			if again && !corrected(&p, &e) || e.Media != p.MediaEnd() {
				t.Errorf("%s: %s was interrupted at fragment %d:\n%s", what, id, e.Seq, table(after[id][n-1:]))
				break
			}
		}
	}
	if n := system.Metric(t, s.URL, "framelog_ingest_reconnects_total", `role="ingest"`); n != 0 {
		t.Errorf("%s: cameras were reconnected %v times", what, n)
	}
	if now := s.Children(); !maps.EqualFunc(children, now, func(a, b []int) bool { return fmt.Sprint(a) == fmt.Sprint(b) }) {
		t.Errorf("%s: processes were %v, are %v", what, children, now)
	}
	return after
}

// A broker that is killed and comes back interrupts no camera. A broker that is
// away for longer than memory can hold footage leaves one run of gaps of the right
// length, and nothing else.
func TestKafkaAway(t *testing.T) {
	t.Parallel()
	system.Engines(t, testKafkaAway)
}

func testKafkaAway(t *testing.T, engine string) {
	// Memory holds some 19 s of the camera big, and of each camera at most 64
	// fragments without an entry (medialog.Config.IndexPending). holds returns less
	// than that.
	const budget = 8 << 20
	holds := func(id string) time.Duration {
		if id == "big" {
			return 16 * time.Second
		}
		return time.Minute
	}
	k := testenv.OwnKafka(t)
	const big = "big"
	cameras := append(simple(1, 200), camera{id: big, clip: testenv.Clip{Seconds: 6, KBits: 4000}})
	// The playlist's window is longer than Kafka is away on a slow machine. Else no
	// segment that was listed before would be listed when it goes on.
	s := start(t, withEngine(engine, cameras), fmt.Sprintf("topics:\n  budget: %d\negress:\n  window: 5m\n", budget), k.Brokers...)
	ids := s.ids
	s.allGrown(t, ids, time.Time{}, 2)
	clients := watchAll(t, s.URL, ids, -1)
	s.allGrown(t, ids, time.Now(), 2)
	children := s.Children()

	calm := func(what string, before indexes) indexes {
		t.Helper()
		return s.checkCalm(t, what, before, children)
	}

	before := s.indexes(t, ids)
	killed := time.Now()
	k.Kill(t)
	k.Start(t)
	t.Logf("killed: Kafka was away for %v", time.Since(killed).Round(time.Millisecond))
	s.allGrown(t, ids, time.Now(), 2)
	// All that has come since the kill may have waited at once. On a busy machine
	// that may be more than memory holds.
	behind := time.Since(killed)
	for id, all := range calm("killed", before) {
		if behind > holds(id) {
			continue
		}
		for _, e := range all {
			if e.Kind != schemas.KindWhole {
				t.Errorf("killed: %s has fragments that are not whole:\n%s", id, table(all))
				break
			}
		}
	}

	before = s.indexes(t, ids)
	killed = time.Now()
	k.Kill(t)
	lasts(t, 30*time.Second)
	started := time.Now() // Kafka was away at least until here, and at most until back
	k.Start(t)
	back := time.Now()
	s.allGrown(t, ids, back.Add(5*time.Second), 2)
	behind = time.Since(killed)
	// Fetched first, because reading all the log takes a while. Egress may connect
	// to Kafka again later than the test.
	index := s.entries(t, big)
	p := waitPlaylist(t, s.URL, big, func(p *system.Playlist) bool { return p.Open.Seq > index[len(index)-1].Seq })
	after := calm("away", before)
	for _, e := range after[ids[0]][len(before[ids[0]]):] {
		if e.Kind != schemas.KindWhole && behind < holds(ids[0]) {
			t.Errorf("away: memory holds all of %s, and it has gaps:\n%s", ids[0], table(after[ids[0]]))
			break
		}
	}
	// In this time there is one run of gaps, from when the budget was full to
	// Kafka's return. What waited is written then. Until it is, a slow machine may
	// find the budget full again, but not for long.
	const soon = 30 * time.Second
	waited, runs := int64(0), 0 // bytes before the first gap; runs of gaps
	gaps := map[uint64]bool{}
	var began, ended, all time.Time // of the run; of the last gap
	for i, e := range after[big] {
		// A fragment that becomes larger than the one before may fill the budget
		// before its end. Then it is truncated, and gaps follow.
		cut := e.Kind == schemas.KindTruncated && e.Reason == schemas.ReasonBudget &&
			i+1 < len(after[big]) && after[big][i+1].Kind == schemas.KindGap
		switch {
		case i < len(before[big]): // from before this time
			if e.Kind == schemas.KindGap {
				gaps[e.Seq] = true
			}
		case e.Kind == schemas.KindGap && e.Reason == schemas.ReasonBudget:
			gaps[e.Seq], all = true, e.End()
			if after[big][i-1].Kind != schemas.KindGap && e.Start.Before(started) {
				runs++
				began = e.Start
			}
			if runs > 0 && e.Start.Before(started) {
				ended = e.End()
			}
		case e.Kind != schemas.KindWhole && !cut:
			t.Errorf("away: %s has an entry %s (%s)", big, e.Kind, e.Reason)
		case runs == 0 && e.Start.After(killed.Add(500*time.Millisecond)): // public time may be that much ahead
			waited += e.Bytes
		}
	}
	t.Logf("away for %v: %d gaps, from %v after the kill on, to %v after the return; %d bytes waited", back.Sub(killed).Round(time.Millisecond),
		len(gaps), began.Sub(killed).Round(time.Millisecond), all.Sub(back).Round(time.Millisecond), waited)
	if runs != 1 || waited > budget || waited < budget*2/3 || ended.Before(started.Add(-2*time.Second)) || all.After(back.Add(soon)) {
		t.Errorf("away: %d runs of gaps, %d bytes before the first (the budget is %d), the end %v after Kafka was started, of the last one %v after the return:\n%s",
			runs, waited, budget, ended.Sub(started), all.Sub(back), table(after[big][len(before[big]):]))
	}
	listed := 0
	for _, x := range p.Segments {
		if gaps[x.Seq] && x.Seq > before[big][len(before[big])-1].Seq {
			listed++
		}
		if gaps[x.Seq] != x.Gap {
			t.Errorf("away: segment %d: EXT-X-GAP is %v", x.Seq, x.Gap)
		}
	}
	if listed == 0 {
		t.Errorf("away: the playlist has segments %d to %d, and none of the gaps", p.Sequence, p.Open.Seq)
	}
	clients.end(t, 10)
}
