package e2e

import (
	"testing"

	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/tests/oracle/hlscheck"
	"github.com/framelog/framelog/tests/system"
	"github.com/framelog/framelog/tests/testenv"
)

// Playlists break no rule while the camera is cut off, changes its resolution, and
// changes it back.
func TestPlaylistsWhileThingsHappen(t *testing.T) {
	t.Parallel()
	system.Engines(t, testPlaylistsWhileThingsHappen)
}

func testPlaylistsWhileThingsHappen(t *testing.T, engine string) {
	for _, mode := range []string{"on_demand", "always"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			small := system.Loop(t, testenv.Clip{Seconds: 6, BFrames: 2, Audio: "aac"})
			large := system.Loop(t, testenv.Clip{Seconds: 6, BFrames: 2, Audio: "aac", Size: "1280x720"})
			cam, url := system.Camera(t, camsim.CameraConfig{Feed: small})
			f := system.Up(t, engine, testenv.UpOptions{Config: system.Cameras(map[string]string{"cam": url}) + "egress:\n  mode: " + mode + "\n"})
			base := testenv.Nginx(t, f.Data+"/hls", f.URL)
			hls := system.Multivariant(base, "cam")
			testenv.Wait(t, 2*testenv.Patience, "the first segments", func() bool {
				p := system.MediaPlaylist(t, hls)
				return p != nil && len(p.Segments) > 1
			})
			watchers := map[string]*system.Client{
				"low latency": system.Watch(t, hlscheck.Config{URL: hls, LowLatency: true, Strict: true, MaxStall: testenv.Patience / 2}),
				"polling":     system.Watch(t, hlscheck.Config{URL: hls, Strict: true, MaxStall: testenv.Patience / 2}),
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
			// The clients must have seen enough of everything. On a busy machine that
			// takes longer.
			for name, w := range watchers {
				testenv.Wait(t, 2*testenv.Patience, "enough seen by "+name, func() bool {
					s := w.Stats()
					return s.Segments >= 30 && s.SegmentsFetched >= 30 && s.Discontinuities >= 3 && s.Refetched >= 10 &&
						(w != low || s.PartsFetched >= 100 && s.HintsTrue >= 80 && (s.Deltas > 0 || s.Segments <= 60))
				})
				w.End(t, name)
			}
		})
	}
}
