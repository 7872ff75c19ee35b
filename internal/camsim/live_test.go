package camsim_test

import (
	"context"
	"errors"
	"io"
	"os/exec"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/internal/gstreamer"
	"github.com/framelog/framelog/tests/testenv"
)

// needGStreamer skips where the encoders are not installed.
func needGStreamer(t *testing.T) {
	t.Helper()
	var missing *gstreamer.MissingError
	if err := gstreamer.Init(); err != nil {
		testenv.Missing(t, "%v", err)
	}
	if err := gstreamer.Require("x264enc", "h264parse", "aacparse"); errors.As(err, &missing) {
		testenv.Missing(t, "%v", err)
	}
}

// TestLiveStrip reads the strip of pictures that went through x264, RTSP and
// ffmpeg: each must be there, numbers grow by one, times by a frame's length.
func TestLiveStrip(t *testing.T) {
	needGStreamer(t)
	for name, cfg := range map[string]camsim.LiveConfig{
		"plain":   {Audio: true, Look: camsim.Demo()[0].Live.Look},
		"bframes": {BFrames: 2, Look: camsim.Demo()[1].Live.Look},
		"small":   {Width: 320, Height: 180, FPS: 10, Bitrate: 200},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testenv.Tool(t, "ffmpeg", "ffmpeg")
			ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
			defer cancel()
			live, err := camsim.NewLive(ctx, cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer live.Close()
			s, err := camsim.Start(ctx, camsim.Config{Cameras: []camsim.CameraConfig{{Path: "live", Feed: live}}})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			v := live.Tracks()[0]
			w, h := int(v.Width), int(v.Height)
			const frames = 40
			cmd := exec.CommandContext(ctx, "ffmpeg", "-hide_banner", "-loglevel", "error", "-rtsp_transport", "tcp", "-fflags", "nobuffer",
				"-i", s.URL("live"), "-map", "0:v", "-fps_mode", "passthrough", "-frames:v", "40", "-pix_fmt", "yuv420p", "-f", "rawvideo", "-")
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			var last camsim.Strip
			buf := make([]byte, w*h*3/2)
			fps := max(cfg.FPS, 0)
			if fps == 0 {
				fps = 25
			}
			for i := range frames {
				if _, err := io.ReadFull(out, buf); err != nil {
					t.Fatalf("picture %d: %v", i, err)
				}
				strip, err := camsim.ReadStrip(buf[:w*h], w, w, h)
				if err != nil {
					t.Fatalf("picture %d: %v", i, err)
				}
				if i > 0 && (strip.Frame != last.Frame+1 || strip.Time.Sub(last.Time) != time.Second/time.Duration(fps)) {
					t.Errorf("picture %d: frame %d at %v after frame %d at %v", i, strip.Frame, strip.Time, last.Frame, last.Time)
				}
				last = strip
			}
			if age := time.Since(last.Time); age < 0 || age > 5*time.Second {
				t.Errorf("the last picture is %v old", age)
			}
			cancel()
			_ = cmd.Wait()
		})
	}
}
