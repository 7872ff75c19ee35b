package faults

import (
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// What the embedded broker held is there after a stop and a start. With less
// disk than the reserve recording stops, with gaps that say why, and goes on
// when there is enough again.
func TestRestartAndDiskReserve(t *testing.T) {
	t.Parallel()
	ids, config := procCameras(t, 2, 300)
	f := testenv.Up(t, testenv.UpOptions{Config: config})
	l := procConnect(t, f.Broker)
	l.grown(t, ids, time.Time{}, 5)
	files := procFiles(t, f.URL, ids[0])
	before := l.index(t, ids)
	restart := func(env ...string) {
		t.Helper()
		if code := f.Stop(); code != 0 {
			t.Fatalf("framelog up ended with %d", code)
		}
		f.Env = env
		f.Start(t)
		f.WaitReady(t)
	}

	restart("FRAMELOG_INGEST_DISK_RESERVE=900TiB")
	procSame(t, f.URL, files)
	l.kept(t, before)
	var refused []schemas.Entry
	testenv.Wait(t, 2*testenv.Patience, "gaps for want of disk", func() bool {
		refused = nil
		for _, e := range l.entries(t, ids[0])[len(before[ids[0]]):] {
			if e.Kind == schemas.KindGap && e.Reason == schemas.ReasonStorage {
				refused = append(refused, e)
			}
		}
		return len(refused) >= 3
	})
	// The log and its entries come on different ways.
	testenv.Wait(t, testenv.Patience, "the log to say that recording has stopped", func() bool {
		return f.Log.Contains("recording stops: less disk is free than the reserve")
	})
	problem := ""
	if !camWait(t, 2*testenv.Patience, func() bool {
		problem = procStatus(t, f.URL)[ids[0]].Problem
		return strings.Contains(problem, "not recorded")
	}) || !strings.Contains(problem, "disk") && !strings.Contains(problem, "storage") {
		t.Errorf("the status says %q", problem)
	}

	restart()
	from := time.Now()
	l.grown(t, ids, from, 3)
	procSame(t, f.URL, files)
	for id, all := range l.kept(t, before) {
		for i, e := range all {
			switch {
			case absent(e):
			case e.Kind == schemas.KindGap && (e.Reason != schemas.ReasonStorage || e.Start.After(from)):
				t.Errorf("%s: a gap:\n%s", id, camIndex(all))
			case e.Playable() && i > 0 && all[i-1].Kind == schemas.KindGap && e.Session == all[i-1].Session:
				t.Errorf("%s: footage follows a refusal in one session, over a restart:\n%s", id, camIndex(all))
			}
		}
	}
}
