package e2e

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/tests/oracle/hlscheck"
	"github.com/framelog/framelog/tests/testenv"
)

// watcher runs a strict client beside the test until it is stopped.
type watcher struct {
	*hlscheck.Watcher
	stop func() error
}

func watch(t *testing.T, cfg hlscheck.Config) *watcher {
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
	return &watcher{w, stop}
}

// check ends the watch, reports what is wrong, and tells what was seen.
func (w *watcher) check(t *testing.T, name string) hlscheck.Stats {
	t.Helper()
	if err := w.stop(); err != nil {
		t.Errorf("%s: %v", name, err)
	}
	for i, v := range w.Violations() {
		if i == 20 {
			t.Errorf("%s: … %d in all", name, len(w.Violations()))
			break
		}
		t.Errorf("%s: %v", name, v)
	}
	s := w.Stats()
	latency := time.Duration(0)
	if n := len(s.Latency); n > 0 {
		latency = s.Latency[n/2]
	}
	s.Latency = nil
	t.Logf("%s: latency in the middle of the run %v, %+v", name, latency, s)
	return s
}

// Playlists keep all of their promises while the camera is cut off, changes
// its resolution, and changes it back.
func TestPlaylistsWhileThingsHappen(t *testing.T) {
	for _, mode := range []string{"on_demand", "always"} {
		t.Run(mode, func(t *testing.T) {
			small := load(t, testenv.Clip{Seconds: 6, BFrames: 2, Audio: "aac"}.File(t)).With(true, 1)
			large := load(t, testenv.Clip{Seconds: 6, BFrames: 2, Audio: "aac", Size: "1280x720"}.File(t)).With(true, 1)
			cam, url := camera(t, camsim.CameraConfig{Feed: small})
			f := testenv.Up(t, testenv.UpOptions{Config: cameras(map[string]string{"cam": url}) + "egress:\n  mode: " + mode + "\n"})
			base := testenv.Nginx(t, f.Data+"/hls", f.URL)
			hls := base + "/hls/cam/index.m3u8"
			testenv.Wait(t, 2*testenv.Patience, "the first segments", func() bool {
				p := playlist(t, hls)
				return p != nil && len(p.Segments) > 1
			})
			watchers := map[string]*watcher{
				"low latency": watch(t, hlscheck.Config{URL: hls, LowLatency: true, Strict: true, MaxStall: testenv.Patience / 2}),
				"polling":     watch(t, hlscheck.Config{URL: hls, Strict: true, MaxStall: testenv.Patience / 2}),
			}
			low := watchers["low latency"]
			after := func(n int, what string) {
				t.Helper()
				from := low.Stats().Segments
				testenv.Wait(t, 2*testenv.Patience, what, func() bool { return low.Stats().Segments >= from+n })
			}
			after(8, "segments at first")
			cam.Drop()
			after(8, "segments after the connection was cut")
			cam.Switch(large)
			after(8, "segments after the resolution changed")
			cam.Switch(small)
			after(8, "segments after it changed back")
			// Enough of everything must have been seen; a busy machine takes
			// longer to see it.
			for name, w := range watchers {
				testenv.Wait(t, 2*testenv.Patience, "enough seen by "+name, func() bool {
					s := w.Stats()
					return s.Segments >= 30 && s.SegmentsFetched >= 30 && s.Discontinuities >= 3 && s.Refetched >= 10 &&
						(w != low || s.PartsFetched >= 100 && s.HintsTrue >= 80 && (s.Deltas > 0 || s.Segments <= 60))
				})
				w.check(t, name)
			}
		})
	}
}
