package camsim_test

import (
	"context"
	"errors"
	"io"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/internal/gstreamer"
	"github.com/framelog/framelog/schemas"
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
// ffmpeg: each that the camera sent must be there, and times grow with numbers.
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
			ctx, cancel := context.WithTimeout(t.Context(), 5*testenv.Patience)
			defer cancel()
			live, err := camsim.NewLive(ctx, cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer live.Close()
			s, err := camsim.Start(ctx, camsim.Config{Cameras: []camsim.CameraConfig{{Path: "live", Feed: live, SentLimit: 100_000}}})
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
			var strips []camsim.Strip
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
				strips = append(strips, strip)
			}
			// On a busy machine the camera leaves pictures out, with their
			// numbers; it says itself which it has sent.
			var sent []int64
			for _, u := range s.Camera("live").Sent() {
				if u.Track == v.ID {
					sent = append(sent, u.PTS*int64(fps)/schemas.MediaTimescale)
				}
			}
			slices.Sort(sent)
			stepped := 0
			at := slices.Index(sent, int64(strips[0].Frame))
			for i, strip := range strips {
				if at < 0 || at+i >= len(sent) || int64(strip.Frame) != sent[at+i] {
					t.Fatalf("picture %d has number %d; sent were %v", i, strip.Frame, sent)
				}
				if i == 0 {
					continue
				}
				if d := strip.Time.Sub(strips[i-1].Time); d != time.Duration(strip.Frame-strips[i-1].Frame)*time.Second/time.Duration(fps) {
					t.Logf("picture %d: frame %d at %v after frame %d at %v", i, strip.Frame, strip.Time, strips[i-1].Frame, strips[i-1].Time)
					stepped++
				}
			}
			// The wall clock may be set, and be read late, but not each time.
			if stepped > frames/10 {
				t.Errorf("the clock stepped %d times", stepped)
			}
			if age := time.Since(strips[frames-1].Time); age < 0 || age > testenv.Patience {
				t.Errorf("the last picture is %v old", age)
			}
			cancel()
			_ = cmd.Wait()
		})
	}
}
