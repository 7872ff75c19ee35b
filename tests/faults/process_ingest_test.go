package faults

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/system"
	"github.com/framelog/framelog/tests/testenv"
)

// owners counts the live cameras of each ingest process, as egress tells it.
func owners(t *testing.T, base string) map[string]int {
	t.Helper()
	n := map[string]int{}
	all, err := system.Statuses(t, base)
	if err != nil {
		return nil
	}
	for _, s := range all {
		if s.State == schemas.StateLive {
			n[s.Owner]++
		}
	}
	return n
}

// fleet is cameras that several ingest processes may share: their servers, a broker and
// an egress. The test starts ingest with config.
type fleet struct {
	*scene
	broker, config string
	file           string // of the configuration with the cameras
	egress         *role
}

// cameras runs `framelog cameras`.
func (f *fleet) cameras(t *testing.T, args ...string) {
	t.Helper()
	args = append(append([]string{"cameras"}, args...), "--config", f.file)
	if out, err := exec.CommandContext(t.Context(), testenv.Binary(t), args...).CombinedOutput(); err != nil {
		t.Fatalf("framelog %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// sessionTimeout is the longest session time-out: an instance that leaves or hands over
// must not make others wait for it, and with a long one that shows on a slow machine too.
const sessionTimeout = 10 * time.Second

func startFleet(t *testing.T, all []camera) *fleet {
	t.Helper()
	f := &fleet{scene: &scene{}, broker: fmt.Sprintf("127.0.0.1:%d", testenv.FreePort(t))}
	var cameras string
	f.servers, cameras = serve(t, all)
	for _, c := range all {
		f.ids = append(f.ids, c.id)
	}
	f.config = fmt.Sprintf("listen: 127.0.0.1:0\ndata: %s\nbroker_listen: %s\ningest: {session_timeout: %v}\n", filepath.Join(t.TempDir(), "data"), f.broker, sessionTimeout)
	startRole(t, "broker", f.config)
	f.file = filepath.Join(t.TempDir(), "cameras.yaml")
	if err := os.WriteFile(f.file, []byte(f.config+cameras), 0o600); err != nil {
		t.Fatal(err)
	}
	f.cameras(t, "apply", "-f", f.file)
	f.egress = startRole(t, "egress", f.config)
	f.reader = openLog(t, f.broker)
	return f
}

// waitShared waits until the instance that joined has some cameras, and none runs
// in both any more. A camera that moves does, until its new owner records it.
func (f *fleet) waitShared(t *testing.T, stayed, joined *role) map[string]int {
	t.Helper()
	var per map[string]int
	testenv.Wait(t, 2*testenv.Patience, "two ingest processes that share the cameras", func() bool {
		per = owners(t, f.egress.url)
		total := 0
		for _, n := range per {
			total += n
		}
		// Once it is ready, it knows which cameras are its own, and runs them.
		if len(per) != 2 || total != len(f.ids) || !joined.ready(t) {
			return false
		}
		runs := func(r *role) int { return int(system.Metric(t, r.url, "framelog_ingest_cameras", "state")) }
		there := runs(joined)
		return there > 0 && runs(stayed)+there == len(f.ids)
	})
	return per
}

// Two ingest processes share the cameras. One is killed, another joins, and the
// first is stopped. Each time all cameras are recorded again within seconds, and
// the log is in order.
func TestIngestProcessesShareCameras(t *testing.T) {
	t.Parallel()
	l := startFleet(t, simple(6, 150))
	ids := l.ids
	one := startRole(t, "ingest", l.config)
	l.allGrown(t, ids, time.Time{}, 1)
	two := startRole(t, "ingest", l.config)
	t.Logf("shared: %v", l.waitShared(t, one, two))
	l.allGrown(t, ids, time.Now(), 2)
	before := l.indexes(t, ids)

	// Killed: it does not leave the group.
	killed := time.Now()
	two.KillTree()
	took := l.allGrown(t, ids, killed.Add(time.Second), 1) // public time may be a little ahead
	after := l.checkKept(t, before)
	moved, worst := 0, time.Duration(0)
	for _, id := range ids {
		last := before[id][len(before[id])-1]
		pause := longestPause(after[id], last.Start)
		worst = max(worst, pause)
		switch n := newSessions(after[id], last); {
		case n == 0 && pause > 0:
			t.Errorf("%s stayed and was not recorded for %v:\n%s", id, pause, table(after[id]))
		case n == 1:
			moved++
		case n > 1:
			t.Errorf("%s has %d new sessions:\n%s", id, n, table(after[id]))
		}
	}
	t.Logf("killed: %d cameras moved, not recorded for %v, all there after %v", moved, worst.Round(time.Millisecond), took.Round(time.Millisecond))
	// 15 s are promised; a busy machine may take twice as long.
	if moved == 0 || moved == len(ids) || worst > 2*15*time.Second {
		t.Errorf("killed: %d of %d cameras moved, not recorded for %v", moved, len(ids), worst)
	}

	// It returns: cameras move once, and then no more.
	before = l.indexes(t, ids)
	returned := time.Now()
	three := startRole(t, "ingest", l.config)
	t.Logf("shared again: %v after %v", l.waitShared(t, one, three), time.Since(returned).Round(time.Millisecond))
	l.allGrown(t, ids, time.Now(), 2)
	settled := l.checkKept(t, before)
	lasts(t, 10*time.Second)
	after = l.checkKept(t, settled)
	for _, id := range ids {
		was, is := before[id][len(before[id])-1], settled[id][len(settled[id])-1]
		if n := newSessions(settled[id], was); n > 1 {
			t.Errorf("%s has %d new sessions for one rebalance:\n%s", id, n, table(settled[id]))
		}
		if n := newSessions(after[id], is); n > 0 {
			t.Errorf("%s moves again: %d more sessions", id, n)
		}
		if p := longestPause(after[id], was.Start); p > sessionTimeout {
			t.Errorf("%s was not recorded for %v while it moved:\n%s", id, p, table(after[id]))
		}
	}

	// Stopped as an operator does: others take over at once, and what it received is recorded.
	before = l.indexes(t, ids)
	stopped := time.Now()
	one.Signal(syscall.SIGTERM)
	took = l.allGrown(t, ids, stopped.Add(time.Second), 2)
	if code := one.ExitCode(testenv.Patience); code != 0 {
		t.Errorf("ingest ended with %d", code)
	}
	after = l.checkKept(t, before)
	worst, moved = 0, 0
	for _, id := range ids {
		last := before[id][len(before[id])-1]
		worst = max(worst, longestPause(after[id], last.Start))
		if n := newSessions(after[id], last); n == 1 {
			moved++
		} else if n > 1 {
			t.Errorf("%s has %d new sessions:\n%s", id, n, table(after[id]))
		}
		for _, e := range after[id] {
			if e.Seq > last.Seq && e.Kind == schemas.KindGap && !absent(e) {
				t.Errorf("%s has a gap after a clean stop:\n%s", id, table(after[id]))
			}
		}
	}
	t.Logf("stopped: %d cameras moved, not recorded for %v, all there after %v", moved, worst.Round(time.Millisecond), took.Round(time.Millisecond))
	if moved == 0 || worst > sessionTimeout {
		t.Errorf("stopped: %d cameras moved, not recorded for %v", moved, worst)
	}
}
