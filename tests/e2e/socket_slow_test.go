package e2e

import (
	"regexp"
	"strings"
	"testing"

	"github.com/framelog/framelog/egress/live/livetest"
	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/tests/system"
	"github.com/framelog/framelog/tests/testenv"
)

// A client that takes 150 kB/s of footage of some 10 Mbit/s stays connected, hears that it is behind, and
// goes on with a keyframe, again and again.
func TestSlowSocket(t *testing.T) {
	t.Parallel()
	feed, err := camsim.LoadMP4(testenv.Clip{Seconds: 6, Size: "1280x720", KBits: 16000}.File(t))
	if err != nil {
		t.Fatal(err)
	}
	_, url := system.Camera(t, camsim.CameraConfig{Feed: feed.With(true, 1)})
	f := testenv.Up(t, testenv.UpOptions{Config: system.Cameras(map[string]string{"cam": url}) + "\negress: {live_in_flight: 64KiB}"})
	// Up is ready when the camera is stored. Egress hears of it a moment later.
	f.Wait(t, 2*testenv.Patience, "the camera's footage", func() bool { return get(t, system.Multivariant(f.URL, "cam")) != "" })
	c := livetest.ConnectSlow(t, f.URL+"/live", 150_000)
	c.Subscribe(1, "cam", "", nil)
	keyframe := regexp.MustCompile(`^part 1 \d+\.\d+\.0$`)
	heard, after := 0, ""
	testenv.Wait(t, 3*testenv.Patience, "two keyframes behind footage that was left out", func() bool {
		if err := c.Ended(); err != nil {
			t.Fatalf("the connection has ended: %v, after\n%s", err, strings.Join(c.Heard(), "\n"))
		}
		heard, after = 0, ""
		for _, line := range c.Heard() {
			if !strings.HasPrefix(line, "part ") {
				if strings.Contains(line, ": behind") {
					after = line
				}
				continue
			}
			if after != "" && keyframe.MatchString(line) {
				heard++
			} else if after != "" {
				t.Fatalf("%s follows %s", line, after)
			}
			after = ""
		}
		return heard >= 2
	})
}
