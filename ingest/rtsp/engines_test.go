package rtsp_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/framelog/framelog/ingest"
	"github.com/framelog/framelog/ingest/rtsp"
	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// engines runs a test with each engine at the same time.
func engines(t *testing.T, f func(t *testing.T, engine string)) {
	for _, engine := range []string{rtsp.EngineGStreamer, rtsp.EngineNative} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			f(t, engine)
		})
	}
}

// Both engines make the same tracks and the same units of the same camera, byte for byte.
func TestEnginesAgree(t *testing.T) {
	for name, c := range map[string]camsim.CameraConfig{
		"h264":                            {Feed: clip(t, testenv.Clip{Seconds: 3})},
		"h264, parameter sets in the SDP": {Feed: clip(t, testenv.Clip{Seconds: 3}), NoParameterSets: true},
		"h264, B-frames, AAC":             {Feed: clip(t, testenv.Clip{Seconds: 3, BFrames: 2, Audio: "aac"})},
		"h264, open GOPs":                 {Feed: clip(t, testenv.Clip{Seconds: 3, BFrames: 2, OpenGOP: true})},
		"h265, Opus":                      {Feed: clip(t, testenv.Clip{Seconds: 3, Codec: "h265", Audio: "opus"})},
		"h265, B-frames, open GOPs":       {Feed: clip(t, testenv.Clip{Seconds: 3, Codec: "h265", BFrames: 2, OpenGOP: true})},
		"mjpeg":                           {Feed: clip(t, testenv.Clip{Seconds: 3, Codec: "mjpeg", FPS: 5})},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.Path, c.Feed = "c", c.Feed.(*camsim.Clip).With(true, 1)
			pictures := len(c.Feed.(*camsim.Clip).Of(schemas.VideoTrack))
			srv := server(t, camsim.Config{Cameras: []camsim.CameraConfig{c}})
			one, _, _ := start(t, rtsp.Config{URL: fixed(t, srv.URL("c")), Engine: rtsp.EngineGStreamer})
			two, _, _ := start(t, rtsp.Config{URL: fixed(t, srv.URL("c")), Engine: rtsp.EngineNative})
			var same map[uint8]int
			eventually(t, "each picture of both", func() bool {
				same = map[uint8]int{}
				have := map[uint8]map[int64]bool{1: {}, 2: {}}
				for _, u := range append(one.of(1), one.of(2)...) {
					have[u.Track][u.PTS] = true
				}
				for _, u := range append(two.of(1), two.of(2)...) {
					if have[u.Track][u.PTS] {
						same[u.Track]++
					}
				}
				return same[1] > pictures && (len(c.Feed.Tracks()) == 1 || same[2] > 100)
			})
			a, b := one.sessions(), two.sessions()
			if len(a) != 1 || len(b) != 1 || len(a[0]) != len(b[0]) {
				t.Fatalf("tracks: %+v and %+v", a, b)
			}
			for i, tr := range a[0] {
				other := b[0][i]
				if !bytes.Equal(tr.Config, other.Config) {
					t.Errorf("track %d: configuration\n%x, native\n%x", tr.ID, tr.Config, other.Config)
				}
				tr.Config, other.Config = nil, nil
				if tr.ID != other.ID || tr.Codec != other.Codec || tr.Timescale != other.Timescale || tr.Width != other.Width ||
					tr.Height != other.Height || tr.SampleRate != other.SampleRate || tr.Channels != other.Channels {
					t.Errorf("track %+v, native %+v", tr, other)
				}
				at := map[int64]ingest.Unit{}
				for _, u := range one.of(tr.ID) {
					at[u.PTS] = u
				}
				for i, u := range two.of(tr.ID) {
					g, ok := at[u.PTS]
					if !ok {
						continue
					}
					want, have := [][]byte{g.Data}, [][]byte{u.Data}
					if tr.Codec == schemas.MJPEG {
						want, have = essence(t, tr.Codec, g.Data), essence(t, tr.Codec, u.Data)
					}
					if !bytes.Equal(want[0], have[0]) {
						t.Fatalf("track %d: unit %d differs\n%x\n%x", tr.ID, i, g.Data[:min(100, len(g.Data))], u.Data[:min(100, len(u.Data))])
					}
				}
			}
		})
	}
}

// A camera whose sound must be converted is recorded by GStreamer from its first connection
// on, and this is told once.
func TestNativeLeavesSoundToGStreamer(t *testing.T) {
	feed := joined(t, clip(t, testenv.Clip{Seconds: 3}), camsim.ToneG711(camsim.PCMA, 3e9)).With(true, 1)
	srv := server(t, camsim.Config{Cameras: []camsim.CameraConfig{{Path: "c", Feed: feed}}})
	src := rtsp.New(rtsp.Config{URL: fixed(t, srv.URL("c")), Engine: rtsp.EngineNative, ConnectTimeout: testenv.Patience / 2, StallTimeout: testenv.Patience / 2})
	s := &sink{}
	for range 2 {
		n := len(s.of(2))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- src.Run(ctx, s) }()
		eventually(t, "sound", func() bool { return len(s.of(2)) > n })
		cancel()
		<-done
	}
	if tr := s.sessions(); len(tr) != 2 || tr[0][1].Codec != schemas.AAC {
		t.Errorf("tracks: %+v", tr)
	}
	left := 0
	for _, e := range s.observed() {
		if e.Kind == ingest.EventEngine {
			left++
			if got := fmt.Sprint(e.Err); got != "its sound is PCMA, which must be converted" {
				t.Error(got)
			}
		}
	}
	if left != 1 {
		t.Errorf("told %d times: %v", left, s.states())
	}
}

// The native engine records in a binary that is built without cgo, and so without GStreamer.
func TestBuildWithoutCgo(t *testing.T) {
	testenv.Long(t)
	cmd := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-run", "^(TestWithoutGStreamer|TestIncapableWithoutGStreamer|TestUnitsEqualThoseSent)$/^native$", ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
