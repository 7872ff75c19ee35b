package testmedia

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// CheckGStreamer checks that GStreamer shows the same pictures of an MP4 file of H.264 or H.265 as
// ffmpeg.
func CheckGStreamer(t testing.TB, path string, codec schemas.Codec) {
	t.Helper()
	gst := testenv.Tool(t, "gst-launch-1.0", "gstreamer1.0-tools")
	want := FFmpeg(t, "-i", path, "-map", "0:v", "-fps_mode", "passthrough", "-pix_fmt", "yuv420p", "-f", "rawvideo", "-")
	out := filepath.Join(t.TempDir(), "pictures")
	cmd := exec.CommandContext(t.Context(), gst, "-q", "filesrc", "location="+path, "!", "qtdemux", "!", string(codec)+"parse", "!", "avdec_"+string(codec),
		"!", "video/x-raw,format=I420", "!", "filesink", "location="+out)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("GStreamer: %v\n%s", err, text)
	}
	if got, err := os.ReadFile(out); err != nil || !bytes.Equal(got, want) {
		t.Errorf("GStreamer shows %d bytes of pictures, ffmpeg %d: %v", len(got), len(want), err)
	}
}
