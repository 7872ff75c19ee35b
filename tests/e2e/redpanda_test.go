package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/monitor/lag"
	"github.com/framelog/framelog/processors"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/oracle/hlscheck"
	"github.com/framelog/framelog/tests/system"
	"github.com/framelog/framelog/tests/testenv"
)

// What Redpanda lacks beside Kafka is not used: cameras, processors, HLS, lag and dead
// letters work with brokers that refuse it.
func TestRedpandaIsEnough(t *testing.T) {
	t.Parallel()
	brokers := testenv.RedpandaLike(t).ListenAddrs()
	_, url := system.Camera(t, camsim.CameraConfig{Feed: system.Loop(t, testenv.Clip{Size: "320x240", FPS: 15, Seconds: 6, KBits: 300})})
	f := testenv.Up(t, testenv.UpOptions{Config: "brokers: [" + strings.Join(brokers, ", ") + `]
processors: [{name: thumbnail}]
`})
	system.Process(t, brokers[0], processors.Processor{
		Name: "broken", Outputs: []processors.Rendition{processors.Data("broken")}, Attempts: 1,
		Process: func(context.Context, *processors.Fragment, *processors.Output) error { return errors.New("poison") },
	})
	framelog := func(args ...string) []byte {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), testenv.Binary(t), append(args, "--config", f.Config())...).Output()
		if err != nil {
			t.Fatalf("framelog %s: %v\n%s", strings.Join(args, " "), err, f.Log.Tail(20))
		}
		return out
	}
	framelog("cameras", "add", "yard", url)
	hls := system.Multivariant(f.URL, "yard")
	f.Wait(t, 2*testenv.Patience, "the first segments", func() bool {
		p := system.MediaPlaylist(t, hls)
		return p != nil && len(p.Segments) > 1
	})
	client := system.Watch(t, hlscheck.Config{URL: hls, LowLatency: true, Strict: true, MaxStall: testenv.Patience / 2})

	var letters []processors.DeadLetter
	f.Wait(t, 2*testenv.Patience, "a dead letter", func() bool {
		if err := json.Unmarshal(framelog("dlq", "list", "-o", "json"), &letters); err != nil {
			t.Fatal(err)
		}
		return len(letters) > 0
	})
	if l := letters[0]; l.Camera != "yard" || l.Processor != "broken" {
		t.Errorf("dead letter: %+v", l)
	}
	if out := string(framelog("cameras", "list")); !strings.Contains(out, "yard") || !strings.Contains(out, "live") {
		t.Errorf("cameras: %s", out)
	}

	// A group's lag and the sizes of topics need requests of their own.
	type (
		hop   struct{ Hop string }
		group struct{ Group string }
		size  struct {
			Rendition string
			Bytes     int64
		}
	)
	var report struct {
		Cameras []struct {
			Hops   []hop
			Groups []group
			Topics []size
		}
	}
	f.Wait(t, 2*testenv.Patience, "the lag of a processor", func() bool {
		if err := json.Unmarshal(framelog("lag", "-o", "json"), &report); err != nil {
			t.Fatal(err)
		}
		return len(report.Cameras) == 1 && slices.ContainsFunc(report.Cameras[0].Groups, func(g group) bool { return strings.HasSuffix(g.Group, "thumbnail") })
	})
	cam := report.Cameras[0]
	for _, h := range []hop{{lag.HopLog}, {"thumbnail"}} {
		if !slices.Contains(cam.Hops, h) {
			t.Errorf("lag: there is no hop %s: %+v", h.Hop, cam)
		}
	}
	if i := slices.IndexFunc(cam.Topics, func(s size) bool { return s.Rendition == schemas.Raw }); i < 0 || cam.Topics[i].Bytes == 0 {
		t.Errorf("lag: the size of the camera's topic is not known: %+v", cam)
	}
	testenv.Wait(t, 2*testenv.Patience, "enough segments", func() bool { return client.Stats().SegmentsFetched >= 4 })
	client.End(t, "low latency")
}
