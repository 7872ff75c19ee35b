package faults

import (
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/system"
	"github.com/framelog/framelog/tests/testenv"
)

// After a stop and a start the embedded broker has what it had. While less disk is
// free than the reserve, recording stops, with gaps that say why. It goes on when
// enough is free again.
func TestRestartAndDiskReserve(t *testing.T) {
	t.Parallel()
	s := start(t, simple(2, 300), "")
	id := s.ids[0]
	s.allGrown(t, s.ids, time.Time{}, 5)
	files := fileHashes(t, s.URL, id)
	before := s.indexes(t, s.ids)
	restart := func(env ...string) {
		t.Helper()
		if code := s.Stop(); code != 0 {
			t.Fatalf("framelog up ended with %d", code)
		}
		s.Env = env
		s.Start(t)
		s.WaitReady(t)
	}

	restart("FRAMELOG_INGEST_DISK_RESERVE=900TiB")
	checkFiles(t, s.URL, files)
	s.checkKept(t, before)
	var refused []schemas.Entry
	testenv.Wait(t, 2*testenv.Patience, "gaps for want of disk", func() bool {
		refused = nil
		for _, e := range s.entries(t, id)[len(before[id]):] {
			if e.Kind == schemas.KindGap && e.Reason == schemas.ReasonStorage {
				refused = append(refused, e)
			}
		}
		return len(refused) >= 3
	})
	// The log line may come later than the entries.
	testenv.Wait(t, testenv.Patience, "the log to say that recording has stopped", func() bool {
		return s.Log.Contains("recording stops: less disk is free than the reserve")
	})
	problem := ""
	if !testenv.Poll(t, 2*testenv.Patience, func() bool {
		all, err := system.Statuses(t, s.URL)
		problem = all[id].Problem
		return err == nil && strings.Contains(problem, "not recorded")
	}) || !strings.Contains(problem, "disk") && !strings.Contains(problem, "storage") {
		t.Errorf("the status says %q", problem)
	}

	restart()
	from := time.Now()
	s.allGrown(t, s.ids, from, 3)
	checkFiles(t, s.URL, files)
	for id, all := range s.checkKept(t, before) {
		for i, e := range all {
			switch {
			case absent(e):
			case e.Kind == schemas.KindGap && (e.Reason != schemas.ReasonStorage || e.Start.After(from)):
				t.Errorf("%s: a gap:\n%s", id, table(all))
			case e.Playable() && i > 0 && all[i-1].Kind == schemas.KindGap && e.Session == all[i-1].Session:
				t.Errorf("%s: footage follows a refusal in one session, over a restart:\n%s", id, table(all))
			}
		}
	}
}
