package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/tests/system"
	"github.com/framelog/framelog/tests/testenv"
)

// The binary of the image framelog-slim, which has no GStreamer, records with the native engine what
// the camera sends, and refuses a camera that wants GStreamer's.
func TestSlim(t *testing.T) {
	testenv.Long(t)
	binary := filepath.Join(t.TempDir(), "framelog")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./cmd/framelog")
	build.Dir, build.Env = testenv.Root(t), append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Setenv(testenv.BinaryVariable, binary)
	c := cases[1].clip
	file := c.File(t)
	cam, url := system.Camera(t, camsim.CameraConfig{Feed: system.Load(t, file), HangUp: true})
	f := testenv.Up(t, testenv.UpOptions{Config: "ingest: {rtsp: {engine: native}}\n" + system.Cameras(map[string]string{"cam": url})})
	hls := system.Multivariant(f.URL, "cam")
	testenv.Wait(t, 2*testenv.Patience, "the clip's end", cam.Over)
	settled(t, hls, time.Duration(c.Seconds)*time.Second)
	compare(t, file, hls, true)

	system.PutCamera(t, f.URL, "other", `{"url": "rtsp://127.0.0.1:1/x", "engine": "gstreamer"}`)
	testenv.Wait(t, testenv.Patience, "why the other camera is not recorded", func() bool {
		all, err := system.Statuses(t, f.URL)
		return err == nil && strings.Contains(all["other"].Error, "this ingest has no GStreamer")
	})
}
