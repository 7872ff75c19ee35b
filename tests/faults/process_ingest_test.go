package faults

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// procOwners is who records each camera, as egress tells it.
func procOwners(t *testing.T, base string) map[string]string {
	t.Helper()
	owners := map[string]string{}
	for id, s := range procStatus(t, base) {
		if s.State == schemas.StateLive {
			owners[id] = s.Owner
		}
	}
	return owners
}

// Two ingest processes share the cameras. One is killed, comes back, and is
// stopped: each time the cameras are where they belong within seconds, and
// the log is in order.
func TestIngestProcessesShareCameras(t *testing.T) {
	t.Parallel()
	ids, cameras := procCameras(t, 6, 150)
	listen := fmt.Sprintf("127.0.0.1:%d", testenv.FreePort(t))
	// The longest session that there is: who leaves, or hands over, must not wait
	// for its end, and that shows on a slow machine too.
	const session = 10 * time.Second
	common := fmt.Sprintf("listen: 127.0.0.1:0\ndata: %s\nbroker_listen: %s\ningest: {session_timeout: 10s}\n", filepath.Join(t.TempDir(), "data"), listen)
	procStart(t, "broker", common)
	list := filepath.Join(t.TempDir(), "cameras.yaml")
	if err := os.WriteFile(list, []byte(common+cameras), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), testenv.Binary(t), "cameras", "apply", "-f", list, "--config", list).CombinedOutput()
	if err != nil {
		t.Fatalf("cameras apply: %v\n%s", err, out)
	}
	egress := procStart(t, "egress", common)
	l := procConnect(t, listen)

	owned := func(n int) (per map[string]int) {
		per = map[string]int{}
		for _, o := range procOwners(t, egress.url) {
			per[o]++
		}
		if len(per) != n {
			return nil
		}
		return per
	}
	// The one that joined has some cameras, and none runs in both any more: one
	// that moves does until it is recorded where it goes.
	shared := func(stayed, joined *procRole) map[string]int {
		t.Helper()
		var per map[string]int
		testenv.Wait(t, 2*testenv.Patience, "two ingest processes that share the cameras", func() bool {
			per = owned(2)
			total := 0
			for _, n := range per {
				total += n
			}
			if per == nil || total != len(ids) {
				return false
			}
			// Now it has been told what is its own; then it has read which cameras
			// those are, and runs them.
			status, _, err := testenv.Get(t, joined.url+"/readyz")
			if err != nil || status != http.StatusOK {
				return false
			}
			runs := func(p *procRole) int { return int(procMetric(t, p.url, "framelog_ingest_cameras", "state")) }
			there := runs(joined)
			return there > 0 && runs(stayed)+there == len(ids)
		})
		return per
	}
	one := procStart(t, "ingest", common)
	l.grown(t, ids, time.Time{}, 1)
	two := procStart(t, "ingest", common)
	t.Logf("shared: %v", shared(one, two))
	l.grown(t, ids, time.Now(), 2)
	before := l.index(t, ids)

	// Killed: nobody says goodbye.
	killed := time.Now()
	two.KillTree()
	took := l.grown(t, ids, killed.Add(time.Second), 1) // public time may be a little ahead
	after := l.kept(t, before)
	moved, worst := 0, time.Duration(0)
	for _, id := range ids {
		last := before[id][len(before[id])-1]
		pause := procPause(after[id], last.Start)
		worst = max(worst, pause)
		switch n := begun(after[id], last); {
		case n == 0 && pause > 0:
			t.Errorf("%s stayed and was not recorded for %v:\n%s", id, pause, camIndex(after[id]))
		case n == 1:
			moved++
		case n > 1:
			t.Errorf("%s has %d new sessions:\n%s", id, n, camIndex(after[id]))
		}
	}
	t.Logf("killed: %d cameras moved, not recorded for %v, all there after %v", moved, worst.Round(time.Millisecond), took.Round(time.Millisecond))
	// 15 s are promised, of a machine that does something else too twice as much.
	if moved == 0 || moved == len(ids) || worst > 2*15*time.Second {
		t.Errorf("killed: %d of %d cameras moved, not recorded for %v", moved, len(ids), worst)
	}

	// It returns: cameras move once, and then no more.
	before = l.index(t, ids)
	returned := time.Now()
	three := procStart(t, "ingest", common)
	t.Logf("shared again: %v after %v", shared(one, three), time.Since(returned).Round(time.Millisecond))
	l.grown(t, ids, time.Now(), 2)
	settled := l.kept(t, before)
	lasts(t, 10*time.Second)
	after = l.kept(t, settled)
	for _, id := range ids {
		was, is := before[id][len(before[id])-1], settled[id][len(settled[id])-1]
		if n := begun(settled[id], was); n > 1 {
			t.Errorf("%s has %d new sessions for one rebalance:\n%s", id, n, camIndex(settled[id]))
		}
		if n := begun(after[id], is); n > 0 {
			t.Errorf("%s is fought for: %d more sessions", id, n)
		}
		if p := procPause(after[id], was.Start); p > session {
			t.Errorf("%s was not recorded for %v while it moved:\n%s", id, p, camIndex(after[id]))
		}
	}

	// Stopped as an operator does: at once, and all that was received stands.
	before = l.index(t, ids)
	stopped := time.Now()
	one.Signal(syscall.SIGTERM)
	took = l.grown(t, ids, stopped.Add(time.Second), 2)
	if code := one.ExitCode(testenv.Patience); code != 0 {
		t.Errorf("ingest ended with %d", code)
	}
	after = l.kept(t, before)
	worst, moved = 0, 0
	for _, id := range ids {
		last := before[id][len(before[id])-1]
		worst = max(worst, procPause(after[id], last.Start))
		if n := begun(after[id], last); n == 1 {
			moved++
		} else if n > 1 {
			t.Errorf("%s has %d new sessions:\n%s", id, n, camIndex(after[id]))
		}
		for _, e := range after[id] {
			if e.Seq > last.Seq && e.Kind == schemas.KindGap && !absent(e) {
				t.Errorf("%s has a gap after a clean stop:\n%s", id, camIndex(after[id]))
			}
		}
	}
	t.Logf("stopped: %d cameras moved, not recorded for %v, all there after %v", moved, worst.Round(time.Millisecond), took.Round(time.Millisecond))
	if moved == 0 || worst > session {
		t.Errorf("stopped: %d cameras moved, not recorded for %v", moved, worst)
	}
}
