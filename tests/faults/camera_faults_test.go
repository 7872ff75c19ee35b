package faults

import (
	"context"
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
	"github.com/framelog/framelog/tests/testenv"
)

// camFault is a camera with which something goes wrong.
type camFault struct {
	id      string
	clip    testenv.Clip
	feed    func(t *testing.T) *camsim.Clip // instead of clip
	config  camsim.CameraConfig
	options string // more of its configuration
	before  func(*camsim.Server)
	// run has the fault begin and end, and looks at what comes of it. It runs
	// beside those of all other cameras.
	run func(t *testing.T, s *camScene, id string)
}

// cam is the camera of a server.
func (s *camScene) cam(id string) *camsim.Camera { return s.servers[id].Camera("cam") }

// The clips are small: all cameras run at once.
var (
	camSmall = testenv.Clip{Size: "320x240", FPS: 15, Seconds: 6, KBits: 300}
	camLarge = testenv.Clip{Size: "480x360", FPS: 15, Seconds: 6, KBits: 300}
	camSound = testenv.Clip{Size: "320x240", FPS: 15, Seconds: 6, KBits: 300, Audio: "aac"}
)

func (c camFault) make(t *testing.T) *camsim.Clip {
	t.Helper()
	if c.feed != nil {
		return c.feed(t)
	}
	if c.clip == (testenv.Clip{}) {
		c.clip = camSmall
	}
	return camLoad(t, c.clip)
}

func camLoad(t *testing.T, c testenv.Clip) *camsim.Clip {
	t.Helper()
	clip, err := camsim.LoadMP4(c.File(t))
	if err != nil {
		t.Fatal(err)
	}
	return clip.With(true, 1)
}

// stretched is a camera's night: keyframes each second, then 20 s without, then
// each second again, all with the same parameter sets. It begins when Framelog
// connects: calm is for the test to come to watch it, and the end for it to see
// what has become of it.
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
	clip, err := camsim.LoadMP4(path)
	if err != nil {
		t.Fatal(err)
	}
	return clip
}

// live waits until the camera has recorded for a while and nothing is wrong.
func (s *camScene) live(t *testing.T, id string) {
	t.Helper()
	if !camWait(t, 2*testenv.Patience, func() bool {
		h := s.said(id)
		return len(h) > 0 && h[len(h)-1].clean()
	}) {
		t.Fatalf("%s: never live; the API said:\n%s", id, camLines(s.said(id)))
	}
	s.more(t, id, time.Now(), 2)
}

// away is a fault that ends the connection: begin and end switch it, and the
// API says text meanwhile.
func away(text string, begin, end func(*camsim.Server)) func(*testing.T, *camScene, string) {
	return func(t *testing.T, s *camScene, id string) {
		s.live(t, id)
		from := time.Now()
		begin(s.servers[id])
		s.problem(t, id, from, schemas.StateAway, text)
		end(s.servers[id])
		s.cleared(t, id)
		all := s.more(t, id, time.Now(), 3)
		dense(t, id, all)
		s.intact(t, id, all)
		wantSessions(t, id, all, 2)
	}
}

// late is a camera that is away when Framelog starts.
func late(text string, end func(*camsim.Server) error) func(*testing.T, *camScene, string) {
	return func(t *testing.T, s *camScene, id string) {
		s.problem(t, id, time.Time{}, schemas.StateAway, text)
		if all := s.entries(t, id); len(all) > 0 {
			t.Errorf("%s: footage of a camera that is away:\n%s", id, camIndex(all))
		}
		if err := end(s.servers[id]); err != nil {
			t.Fatal(err)
		}
		s.cleared(t, id)
		all := s.more(t, id, time.Now(), 3)
		dense(t, id, all)
		s.intact(t, id, all)
		wantSessions(t, id, all, 1)
	}
}

// clockJump moves the camera's timestamps: nothing is lost, and public time
// goes on as if nothing had been.
func clockJump(d time.Duration) func(*testing.T, *camScene, string) {
	return func(t *testing.T, s *camScene, id string) {
		s.live(t, id)
		from := time.Now()
		s.cam(id).Jump(d)
		s.problem(t, id, from, schemas.StateLive, "clock")
		s.cleared(t, id)
		all := s.more(t, id, time.Now(), 3)
		dense(t, id, all)
		if m := s.intact(t, id, all); len(m.missing) > 0 {
			t.Errorf("%s: %d pictures are missing", id, len(m.missing))
		}
		wantSessions(t, id, all, 2)
		if all[0].Layout.Audio != "" {
			m := match(t, s.cam(id), schemas.AAC, schemas.AudioTrack, s.footage(t, id, all, schemas.AudioTrack))
			if len(m.strange) > 0 || len(m.missing) > 0 {
				t.Errorf("%s: sound: %d frames never sent, %d missing", id, len(m.strange), len(m.missing))
			}
		}
		// Public time goes by when a session's first footage comes, which may be
		// late by as much as the camera or the machine.
		limit := 700*time.Millisecond + s.pauses.Longest(time.Time{}, time.Now())
		for _, u := range s.cam(id).Sent() {
			limit = max(limit, 700*time.Millisecond+u.At.Sub(u.Clock))
		}
		for i := range all[1:] {
			if gap := all[i+1].Start.Sub(all[i].End()); gap.Abs() > limit {
				t.Errorf("%s: public time steps by %v after fragment %d, limit %v", id, gap, all[i].Seq, limit)
			}
		}
	}
}

var camFaults = []camFault{
	{
		id: "late-port", before: func(s *camsim.Server) { s.Down() },
		run: late("nothing listens at", func(s *camsim.Server) error { return s.Up() }),
	},
	{
		id: "late-busy", before: func(s *camsim.Server) { s.Camera("cam").Refuse(true) },
		run: late("no room for another viewer", func(s *camsim.Server) error { s.Camera("cam").Refuse(false); return nil }),
	},
	{
		id: "drops",
		run: away("broke off|ended the stream|no room for another viewer",
			func(s *camsim.Server) { s.Camera("cam").Refuse(true); s.Camera("cam").Drop() },
			func(s *camsim.Server) { s.Camera("cam").Refuse(false) }),
	},
	{
		id: "stalls",
		run: away("has stopped sending video|no video comes",
			func(s *camsim.Server) { s.Camera("cam").Stall(true) },
			func(s *camsim.Server) { s.Camera("cam").Stall(false) }),
	},
	{id: "resizes", run: resizes},
	{id: "clock-forward", run: clockJump(time.Hour)},
	{id: "clock-back", clip: camSound, run: clockJump(-time.Hour)},
	{id: "stretches", feed: stretched, run: stretches},
	{id: "no-keyframe", run: noKeyframe},
	{id: "never-keyframe", before: func(s *camsim.Server) { s.Camera("cam").NoKeyframes(true) }, run: neverKeyframe},
	{id: "loses", options: "transport: udp", run: loses},
	{id: "babbles", run: babbles},
	{id: "corrupts", run: corrupts},
	{id: "noise", run: noise},
	{
		id: "late-report", clip: camSound, run: lateReport,
		config: camsim.CameraConfig{NoRTPInfo: true, SenderReports: camsim.SenderReports{After: 6 * time.Second, Every: 2 * time.Second}},
	},
}

// TestCameraFaults has all that goes wrong with cameras go wrong at the same
// time, each with a camera of its own: it is named, it ends by itself, what was
// recorded is what was sent, and a healthy camera beside them knows nothing of
// it.
func TestCameraFaults(t *testing.T) {
	all := append([]camFault{{id: "healthy", clip: camSound}}, camFaults...)
	if only := os.Getenv("FRAMELOG_TEST_FAULT"); only != "" { // one alone, to look at it
		all = slices.DeleteFunc(all, func(c camFault) bool { return c.id != "healthy" && c.id != only })
	}
	s := &camScene{servers: map[string]*camsim.Server{}, history: map[string][]camStatus{}, pauses: testenv.WatchPauses(t)}
	var config strings.Builder
	config.WriteString("ingest:\n  reconnect_max: 2s\n  stall_timeout: 6s\n  disk_reserve: 0\ncameras:\n")
	for _, c := range all {
		c.config.Path, c.config.Feed = "cam", c.make(t)
		// A port that nobody else is given while the camera is down.
		listen := fmt.Sprintf("127.0.0.1:%d", testenv.FreePort(t))
		server, err := camsim.Start(t.Context(), camsim.Config{Listen: listen, Cameras: []camsim.CameraConfig{c.config}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(server.Close)
		s.servers[c.id] = server
		if c.before != nil {
			c.before(server)
		}
		fmt.Fprintf(&config, "  - id: %s\n    url: %s\n", c.id, server.URL("cam"))
		if c.options != "" {
			fmt.Fprintf(&config, "    %s\n", c.options)
		}
	}
	s.Framelog = testenv.Up(t, testenv.UpOptions{Config: config.String()})
	s.connect(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var following sync.WaitGroup
	defer following.Wait()
	defer cancel()
	following.Go(func() { s.follow(ctx) })
	s.live(t, "healthy")
	s.listed(t, "healthy")
	began := time.Now()
	healthy := camWatch(t, hlscheck.Config{URL: s.URL + "/hls/healthy/index.m3u8", LowLatency: true, Strict: true, MaxStall: testenv.Patience / 2})

	var running sync.WaitGroup
	for _, c := range all {
		if c.run != nil {
			// Not t.Parallel: as many run at once as there are, whatever the
			// number of processors.
			running.Go(func() { t.Run(c.id, func(t *testing.T) { c.run(t, s, c.id) }) })
		}
	}
	running.Wait()
	watched := time.Since(began) - s.pauses.Sum(began, time.Now())

	entries := s.more(t, "healthy", time.Now(), 2)
	dense(t, "healthy", entries)
	if m := s.intact(t, "healthy", entries); len(m.missing) > 0 {
		t.Errorf("healthy: %d pictures are missing", len(m.missing))
	}
	sound := match(t, s.cam("healthy"), schemas.AAC, schemas.AudioTrack, s.footage(t, "healthy", entries, schemas.AudioTrack))
	if len(sound.strange) > 0 || len(sound.missing) > 0 {
		t.Errorf("healthy: sound: %d frames never sent, %d missing", len(sound.strange), len(sound.missing))
	}
	for i, e := range entries {
		p := &entries[max(i-1, 0)]
		if e.Session != p.Session && !corrected(p, &e) || e.Layout != p.Layout || e.Lost != (schemas.Lost{}) ||
			i > 0 && e.Media != p.MediaEnd() {
			t.Errorf("healthy: fragment %d is not as the others:\n%s", e.Seq, camIndex(entries))
			break
		}
	}
	healthy.lists(t, "healthy", entries)
	stats := healthy.end(t, "healthy")
	if want := int(watched.Seconds() * 0.8); stats.Segments < want || stats.SegmentsFetched < want || stats.Gaps > 0 || stats.Discontinuities > corrections(entries) {
		t.Errorf("healthy: want %d segments without a break, saw %+v", want, stats)
	}
	// Until it was well it may have waited for its log, which a machine that
	// starts so many at once may take a while to open.
	for _, x := range s.since("healthy", began) {
		if !x.clean() {
			t.Errorf("healthy: the API said %v", x)
		}
	}
	if t.Failed() {
		for _, c := range all {
			t.Logf("%s: the API said:\n%s", c.id, camLines(s.said(c.id)))
		}
	}
}

// camWatcher runs a strict client beside the test until it is ended.
type camWatcher struct {
	*hlscheck.Watcher
	stop func() error
}

func camWatch(t *testing.T, cfg hlscheck.Config) *camWatcher {
	t.Helper()
	w := hlscheck.New(cfg)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() { result <- w.Run(ctx) }()
	stop := sync.OnceValue(func() error {
		cancel()
		return <-result
	})
	t.Cleanup(func() { _ = stop() })
	return &camWatcher{w, stop}
}

// lists waits until the client has seen the last of entries listed.
func (w *camWatcher) lists(t *testing.T, id string, entries []schemas.Entry) {
	t.Helper()
	last := entries[len(entries)-1].Seq
	if !camWait(t, 2*testenv.Patience, func() bool { return w.Stats().Last >= last }) {
		t.Errorf("%s: segment %d was not listed, saw %+v", id, last, w.Stats())
	}
}

// end ends the watch and reports what is wrong, but for what is known.
func (w *camWatcher) end(t *testing.T, id string, known ...func(hlscheck.Violation) bool) hlscheck.Stats {
	t.Helper()
	if err := w.stop(); err != nil {
		t.Errorf("%s: %v", id, err)
	}
	v := slices.DeleteFunc(w.Violations(), func(v hlscheck.Violation) bool {
		return slices.ContainsFunc(known, func(k func(hlscheck.Violation) bool) bool { return k(v) })
	})
	for _, x := range v[:min(len(v), 10)] {
		t.Errorf("%s: %v", id, x)
	}
	stats := w.Stats()
	stats.Latency = nil
	return stats
}
