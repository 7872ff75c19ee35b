package faults

import (
	"sync"
	"testing"
	"time"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/system"
	"github.com/framelog/framelog/tests/testenv"
)

// Processes are killed while they work, and start again by themselves. What was
// safe stays, numbers have no hole, a URL keeps its bytes, and clients go on.
func TestProcessesKilled(t *testing.T) {
	t.Parallel()
	system.Engines(t, testProcessesKilled)
}

func testProcessesKilled(t *testing.T, engine string) {
	s := start(t, withEngine(engine, simple(2, 300)), "")
	base := testenv.Nginx(t, "", s.URL)
	s.allGrown(t, s.ids, time.Time{}, 2)
	clients := watchAll(t, base, s.ids, testenv.Patience)
	// The player is a test of its own: without Chromium it alone is skipped.
	plays, kills := make(chan struct{}), make(chan string, 8)
	var playing sync.WaitGroup
	playing.Go(func() {
		t.Run("player", func(t *testing.T) { player(t, base+"/#"+s.ids[0], sync.OnceFunc(func() { close(plays) }), kills) })
	})
	defer playing.Wait()
	defer close(kills)
	<-plays

	for _, c := range []struct {
		name  string
		kill  []string
		calm  bool          // recording must not be interrupted
		pause time.Duration // the longest time without footage that is allowed
	}{
		{"egress", []string{"egress"}, true, 0},
		{"broker", []string{"broker"}, true, 0},
		{"ingest", []string{"ingest"}, false, 18 * time.Second},
		{"all at once", []string{"broker", "ingest", "egress"}, false, 36 * time.Second},
		{"all and the parent", nil, false, 45 * time.Second}, // the test starts it again
	} {
		s.allGrown(t, s.ids, time.Now(), 2)
		lasts(t, 600*time.Millisecond) // so that the next fragment is unfinished
		before := s.indexes(t, s.ids)
		files := fileHashes(t, s.URL, s.ids[0])
		killed := time.Now()
		if c.kill == nil {
			s.KillAll()
			s.Start(t)
		}
		for _, role := range c.kill {
			if n := s.Kill(t, role); n != 1 {
				t.Fatalf("%s: killed %d processes of %s", c.name, n, role)
			}
		}
		kills <- c.name
		s.allGrown(t, s.ids, killed.Add(time.Second), 3)
		after := s.checkKept(t, before)
		for _, id := range s.ids {
			last := before[id][len(before[id])-1]
			sessions := newSessions(after[id], last)
			gap := longestPause(after[id], last.Start)
			t.Logf("%s killed: %s was not recorded for %v, and has %d new sessions", c.name, id, gap.Round(time.Millisecond), sessions)
			if c.calm && sessions != 0 || !c.calm && sessions != 1 {
				t.Errorf("%s killed: %s has %d new sessions:\n%s", c.name, id, sessions, table(after[id]))
			}
			if gap > c.pause {
				t.Errorf("%s killed: %s was not recorded for %v:\n%s", c.name, id, gap, table(after[id]))
			}
			for _, e := range after[id] {
				if e.Seq > last.Seq && e.Kind != schemas.KindWhole && !absent(e) && (c.calm || e.Reason != schemas.ReasonCrash) {
					t.Errorf("%s killed: %s has an entry %s (%s):\n%s", c.name, id, e.Kind, e.Reason, table(after[id]))
				}
			}
		}
		if c.calm {
			if n := system.Metric(t, s.URL, "framelog_ingest_reconnects_total", `role="ingest"`); n != 0 {
				t.Errorf("%s killed: cameras were reconnected %v times", c.name, n)
			}
		}
		checkFiles(t, s.URL, files)
		checkFiles(t, base, files)
	}
	clients.end(t, 20)
}

// player plays a camera in a browser until kills is closed. It calls playing once
// it plays, and if it never will. After each kill the player must go on.
func player(t *testing.T, url string, playing func(), kills <-chan string) {
	defer playing()
	page := testenv.Chromium(t).Open(t, url)
	var now system.Player
	if !testenv.Poll(t, 2*testenv.Patience, func() bool { now = system.Focused(page); return now.State == "playing" }) {
		t.Fatalf("the player does not play: %+v, console: %v", now, page.Console())
	}
	playing()
	for what := range kills {
		was := system.Focused(page)
		var is system.Player
		ok := testenv.Poll(t, 2*testenv.Patience, func() bool {
			is = system.Focused(page)
			return is.State == "playing" && is.CurrentTime > was.CurrentTime+5
		})
		t.Logf("%s killed: the player is %s, %.1f s on, %d times rebuilt: %v", what, is.State, is.CurrentTime-was.CurrentTime, is.Rebuilds-was.Rebuilds, is.Errors)
		if !ok || is.FatalErrors > was.FatalErrors {
			t.Errorf("%s killed: the player was %+v, is %+v", what, was, is)
		}
	}
}
