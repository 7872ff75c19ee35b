//go:build !cgo

package rtsp_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/framelog/framelog/ingest/rtsp"
	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// A binary without GStreamer records the pictures of a camera whose sound must be converted,
// and names the sound. It refuses a camera that wants GStreamer.
func TestWithoutGStreamer(t *testing.T) {
	feed := joined(t, clip(t, testenv.Clip{Seconds: 3}), camsim.ToneG711(camsim.PCMU, 3e9)).With(true, 1)
	srv := server(t, camsim.Config{Cameras: []camsim.CameraConfig{{Path: "c", Feed: feed}}})
	s, _, _ := start(t, rtsp.Config{URL: fixed(t, srv.URL("c")), Engine: rtsp.EngineNative})
	eventually(t, "pictures, and a word about the sound", func() bool {
		_, told := s.soundProblem()
		return told && len(s.of(schemas.VideoTrack)) > 30
	})
	if p, _ := s.soundProblem(); !strings.HasPrefix(p, "the sound is G.711, which only GStreamer can convert") || len(s.of(schemas.AudioTrack)) > 0 {
		t.Errorf("%q, %d frames of sound", p, len(s.of(schemas.AudioTrack)))
	}
	if err := rtsp.Check(schemas.Camera{URL: srv.URL("c"), Engine: rtsp.EngineGStreamer}); !errors.Is(err, rtsp.ErrRefused) {
		t.Errorf("%v", err)
	}
}
