package faults

import (
	"sync"
	"testing"
	"time"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// procReport is what the page tells of the player in focus.
type procReport struct {
	Mode        string   `json:"mode"`
	State       string   `json:"state"`
	CurrentTime float64  `json:"currentTime"`
	Frames      int      `json:"frames"`
	FatalErrors int      `json:"fatalErrors"`
	Rebuilds    int      `json:"rebuilds"`
	Errors      []string `json:"errors"`
}

func procFocused(p *testenv.Page) (r procReport) {
	var all []procReport
	p.Eval("window.framelog ? window.framelog.players() : []", &all)
	for _, x := range all {
		if x.Mode == "focus" {
			return x
		}
	}
	return r
}

// Processes are killed in the middle of a run and come back by themselves.
// What was safe stays, numbers are dense, bytes under a URL stay the same, and
// clients go on.
func TestProcessesKilled(t *testing.T) {
	t.Parallel()
	ids, config := procCameras(t, 2, 300)
	f := testenv.Up(t, testenv.UpOptions{Config: config})
	base := testenv.Nginx(t, "", f.URL)
	l := procConnect(t, f.Broker)
	l.grown(t, ids, time.Time{}, 2)
	watchers := procWatch(t, base, ids, testenv.Patience)
	// The player runs beside: where there is no Chromium it alone is skipped.
	playing, kills := make(chan struct{}), make(chan string, 8)
	var player sync.WaitGroup
	player.Go(func() {
		t.Run("player", func(t *testing.T) { procPlayer(t, base+"/#"+ids[0], sync.OnceFunc(func() { close(playing) }), kills) })
	})
	defer player.Wait()
	defer close(kills)
	<-playing

	for _, c := range []struct {
		name  string
		kill  []string
		calm  bool          // no camera may notice
		pause time.Duration // without footage, at most: thrice what it takes on a machine with nothing else to do
	}{
		{"egress", []string{"egress"}, true, 0},
		{"broker", []string{"broker"}, true, 0},
		{"ingest", []string{"ingest"}, false, 18 * time.Second},
		{"all at once", []string{"broker", "ingest", "egress"}, false, 36 * time.Second},
		{"all and the parent", nil, false, 45 * time.Second}, // started again here
	} {
		l.grown(t, ids, time.Now(), 2)
		lasts(t, 600*time.Millisecond) // into the next fragment
		before := l.index(t, ids)
		files := procFiles(t, f.URL, ids[0])
		killed := time.Now()
		if c.kill == nil {
			f.KillAll()
			f.Start(t)
		}
		for _, role := range c.kill {
			if n := f.Kill(t, role); n != 1 {
				t.Fatalf("%s: killed %d processes of %s", c.name, n, role)
			}
		}
		kills <- c.name
		l.grown(t, ids, killed.Add(time.Second), 3)
		after := l.kept(t, before)
		for _, id := range ids {
			last := before[id][len(before[id])-1]
			sessions := begun(after[id], last)
			gap := procPause(after[id], last.Start)
			t.Logf("%s killed: %s was not recorded for %v, and has %d new sessions", c.name, id, gap.Round(time.Millisecond), sessions)
			if c.calm && sessions != 0 || !c.calm && sessions != 1 {
				t.Errorf("%s killed: %s has %d new sessions:\n%s", c.name, id, sessions, camIndex(after[id]))
			}
			if gap > c.pause {
				t.Errorf("%s killed: %s was not recorded for %v:\n%s", c.name, id, gap, camIndex(after[id]))
			}
			for _, e := range after[id] {
				if e.Seq > last.Seq && e.Kind != schemas.KindWhole && !absent(e) && (c.calm || e.Reason != schemas.ReasonCrash) {
					t.Errorf("%s killed: %s has an entry %s (%s):\n%s", c.name, id, e.Kind, e.Reason, camIndex(after[id]))
				}
			}
		}
		if c.calm {
			if n := procMetric(t, f.URL, "framelog_ingest_reconnects_total", `role="ingest"`); n != 0 {
				t.Errorf("%s killed: cameras were connected %v times again", c.name, n)
			}
		}
		procSame(t, f.URL, files)
		procSame(t, base, files)
	}
	watchers.end(t, 20)
}

// procPlayer plays a camera in a browser until kills is closed. playing is
// called once it plays, and where it never will.
func procPlayer(t *testing.T, url string, playing func(), kills <-chan string) {
	defer playing()
	page := testenv.Chromium(t).Open(t, url)
	var now procReport
	if !camWait(t, 2*testenv.Patience, func() bool { now = procFocused(page); return now.State == "playing" }) {
		t.Fatalf("the player does not play: %+v, console: %v", now, page.Console())
	}
	playing()
	for what := range kills {
		was := procFocused(page)
		var is procReport
		ok := camWait(t, 2*testenv.Patience, func() bool {
			is = procFocused(page)
			return is.State == "playing" && is.CurrentTime > was.CurrentTime+5
		})
		t.Logf("%s killed: the player is %s, %.1f s on, %d times made anew: %v", what, is.State, is.CurrentTime-was.CurrentTime, is.Rebuilds-was.Rebuilds, is.Errors)
		if !ok || is.FatalErrors > was.FatalErrors {
			t.Errorf("%s killed: the player was %+v, is %+v", what, was, is)
		}
	}
}
