package faults

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/oracle/hlscheck"
	"github.com/framelog/framelog/tests/system"
	"github.com/framelog/framelog/tests/testenv"
)

// cameraFault is a camera with which something goes wrong.
type cameraFault struct {
	camera
	// run has the fault begin and end, and checks what becomes of it. The faults of
	// all cameras run at the same time.
	run func(t *testing.T, s *cameraScene, id string)
}

// cameraScene is the scene of all these cameras.
type cameraScene struct {
	*scene
	pauses *testenv.Pauses
}

// stretched makes a clip with a keyframe each second, then none for 20 s, then
// again one each second, all with the same parameter sets, as cameras send at
// night. The clip begins when Framelog connects. Before the long GOP the test has
// time to begin to watch, and after it to see what has become of it.
func stretched(t *testing.T) *camsim.Clip {
	t.Helper()
	const calm, long, total = 30, 20, 210
	var keys []string
	for s := range total {
		if s <= calm || s >= calm+long {
			keys = append(keys, fmt.Sprint(s))
		}
	}
	path := filepath.Join(t.TempDir(), "stretched.mp4")
	cmd := exec.CommandContext(t.Context(), testenv.Tool(t, "ffmpeg", "ffmpeg"), "-nostdin", "-hide_banner", "-loglevel", "error",
		"-f", "lavfi", "-i", fmt.Sprintf("testsrc2=size=320x240:rate=15:duration=%d", total), "-pix_fmt", "yuv420p",
		"-c:v", "libx264", "-preset", "ultrafast", "-b:v", "200k", "-x264-params", "keyint=infinite:scenecut=0", "-forced-idr", "1",
		"-force_key_frames", strings.Join(keys, ","), path)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg: %v\n%s", err, out)
	}
	return system.Load(t, path)
}

// waitRecorded waits until the camera has recorded for a while and has no problem.
func (s *cameraScene) waitRecorded(t *testing.T, id string) {
	t.Helper()
	if !s.waitClean(t, id) {
		t.FailNow()
	}
	s.grown(t, id, time.Now(), 2)
}

// waitRecovered waits until the camera has no problem any more and has recorded n
// more fragments. It checks that all fragments are whole, and returns them.
func (s *cameraScene) waitRecovered(t *testing.T, id string, n int) []schemas.Entry {
	t.Helper()
	s.waitClean(t, id)
	all := s.grown(t, id, time.Now(), n)
	checkWhole(t, id, all)
	return all
}

// away is a fault that ends the connection: begin and end switch it, and the
// API says text meanwhile.
func away(text string, begin, end func(*camsim.Server)) func(*testing.T, *cameraScene, string) {
	return func(t *testing.T, s *cameraScene, id string) {
		s.waitRecorded(t, id)
		from := time.Now()
		begin(s.servers[id])
		s.waitProblem(t, id, from, schemas.StateAway, text)
		end(s.servers[id])
		all := s.waitRecovered(t, id, 3)
		s.checkIntact(t, id, all)
		checkSessions(t, id, all, 2)
	}
}

// late is a camera that is away when Framelog starts.
func late(text string, end func(*camsim.Server) error) func(*testing.T, *cameraScene, string) {
	return func(t *testing.T, s *cameraScene, id string) {
		s.waitProblem(t, id, time.Time{}, schemas.StateAway, text)
		if all := s.entries(t, id); len(all) > 0 {
			t.Errorf("%s: footage of a camera that is away:\n%s", id, table(all))
		}
		if err := end(s.servers[id]); err != nil {
			t.Fatal(err)
		}
		all := s.waitRecovered(t, id, 3)
		s.checkIntact(t, id, all)
		checkSessions(t, id, all, 1)
	}
}

// clockJump moves the camera's timestamps. Nothing goes missing, and public time
// goes on without a step.
func clockJump(d time.Duration) func(*testing.T, *cameraScene, string) {
	return func(t *testing.T, s *cameraScene, id string) {
		s.waitRecorded(t, id)
		from := time.Now()
		s.servers.camera(id).Jump(d)
		s.waitProblem(t, id, from, schemas.StateLive, "clock")
		all := s.waitRecovered(t, id, 3)
		s.checkComplete(t, id, all)
		checkSessions(t, id, all, 2)
		// A session's public time begins when its first footage comes, which may be
		// late by as much as the camera or the machine.
		limit := 700*time.Millisecond + s.pauses.Longest(time.Time{}, time.Now())
		for _, u := range s.servers.camera(id).Sent() {
			limit = max(limit, 700*time.Millisecond+u.At.Sub(u.Clock))
		}
		for i := range all[1:] {
			if gap := all[i+1].Start.Sub(all[i].End()); gap.Abs() > limit {
				t.Errorf("%s: public time steps by %v after fragment %d, limit %v", id, gap, all[i].Seq, limit)
			}
		}
	}
}

// refuse and admit have a camera refuse and take connections.
func refuse(s *camsim.Server) { s.Camera("cam").Refuse(true) }
func admit(s *camsim.Server)  { s.Camera("cam").Refuse(false) }

var cameraFaults = []cameraFault{
	{
		camera{id: "late-port", before: func(s *camsim.Server) { s.Down() }},
		late("nothing listens at", func(s *camsim.Server) error { return s.Up() }),
	},
	{
		camera{id: "late-busy", before: refuse},
		late("no room for another viewer", func(s *camsim.Server) error { admit(s); return nil }),
	},
	{
		camera{id: "drops"},
		away("broke off|ended the stream|no room for another viewer", func(s *camsim.Server) { refuse(s); s.Camera("cam").Drop() }, admit),
	},
	{
		camera{id: "stalls"},
		away("has stopped sending video|no video comes",
			func(s *camsim.Server) { s.Camera("cam").Stall(true) },
			func(s *camsim.Server) { s.Camera("cam").Stall(false) }),
	},
	{camera{id: "resizes"}, resizes},
	{camera{id: "clock-forward"}, clockJump(time.Hour)},
	{camera{id: "clock-back", clip: withSound}, clockJump(-time.Hour)},
	{camera{id: "stretches", feed: stretched}, stretches},
	{camera{id: "no-keyframe"}, noKeyframe},
	{camera{id: "never-keyframe", before: func(s *camsim.Server) { s.Camera("cam").NoKeyframes(true) }}, neverKeyframe},
	{camera{id: "loses", options: "transport: udp"}, loses},
	{camera{id: "babbles"}, babbles},
	{camera{id: "corrupts"}, corrupts},
	{camera{id: "noise"}, noise},
	{
		camera{id: "late-report", clip: withSound, config: camsim.CameraConfig{
			NoRTPInfo: true, SenderReports: camsim.SenderReports{After: 6 * time.Second, Every: 2 * time.Second},
		}},
		lateReport,
	},
}

// TestCameraFaults has all that can go wrong with cameras go wrong at the same
// time, each with a camera of its own. Each fault is named, and its end too. What
// was recorded is what was sent. A healthy camera beside them is not disturbed. Every second
// camera has the native engine; in long mode all have the one, and then the other.
func TestCameraFaults(t *testing.T) { system.Engines(t, testCameraFaults) }

func testCameraFaults(t *testing.T, engine string) {
	faults := cameraFaults
	if only := os.Getenv("FRAMELOG_TEST_FAULT"); only != "" { // one alone, to look at it
		faults = slices.DeleteFunc(slices.Clone(faults), func(c cameraFault) bool { return c.id != only })
	}
	cameras := []camera{{id: "healthy", clip: withSound}}
	for _, c := range faults {
		cameras = append(cameras, c.camera)
	}
	s := &cameraScene{pauses: testenv.WatchPauses(t)}
	s.scene = start(t, withEngine(engine, cameras), "ingest:\n  reconnect_max: 2s\n  stall_timeout: 6s\n  disk_reserve: 0\n")
	s.follow(t, s.URL)
	s.waitRecorded(t, "healthy")
	waitPlaylist(t, s.URL, "healthy", nil)
	began := time.Now()
	healthy := system.Watch(t, hlscheck.Config{URL: system.Multivariant(s.URL, "healthy"), LowLatency: true, Strict: true, MaxStall: testenv.Patience / 2})

	var running sync.WaitGroup
	for _, c := range faults {
		// Not t.Parallel, which runs only as many at once as there are processors.
		running.Go(func() { t.Run(c.id, func(t *testing.T) { c.run(t, s, c.id) }) })
	}
	running.Wait()
	watched := time.Since(began) - s.pauses.Sum(began, time.Now())

	entries := s.grown(t, "healthy", time.Now(), 2)
	checkWhole(t, "healthy", entries)
	s.checkComplete(t, "healthy", entries)
	for i, e := range entries {
		p := &entries[max(i-1, 0)]
		if e.Session != p.Session && !corrected(p, &e) || e.Layout != p.Layout || e.Lost != (schemas.Lost{}) ||
			i > 0 && e.Media != p.MediaEnd() {
			t.Errorf("healthy: fragment %d is not as the others:\n%s", e.Seq, table(entries))
			break
		}
	}
	waitListed(t, healthy, "healthy", entries)
	stats := healthy.End(t, "healthy")
	if want := int(watched.Seconds() * 0.8); stats.Segments < want || stats.SegmentsFetched < want || stats.Gaps > 0 || stats.Discontinuities > corrections(entries) {
		t.Errorf("healthy: want %d segments without a break, saw %+v", want, stats)
	}
	// Before began the camera may have waited for its log: a machine that starts so
	// many cameras at once may take a while to open it.
	stood := s.pauses.Longest(began, time.Now()) > time.Second
	for _, x := range s.since("healthy", began) {
		if stood && strings.HasPrefix(x.Problem, "ingest stood still") {
			x.Problem = "" // true: the machine stood still
		}
		if !x.clean() {
			t.Errorf("healthy: the API said %v", x)
		}
	}
}
