package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/tests/testenv"
)

// report is what the page tells of one of its players.
type report struct {
	Camera      string   `json:"camera"`
	Mode        string   `json:"mode"`
	State       string   `json:"state"`
	CurrentTime float64  `json:"currentTime"`
	Latency     *float64 `json:"latency"`
	Width       int      `json:"width"`
	Frames      int      `json:"frames"`
	Stalls      int      `json:"stalls"`
	FatalErrors int      `json:"fatalErrors"`
	Rebuilds    int      `json:"rebuilds"`
	FirstMS     *float64 `json:"firstPictureMs"`
	Errors      []string `json:"errors"`
}

func focused(p *testenv.Page) report {
	var all []report
	p.Eval("window.framelog.players()", &all)
	i := slices.IndexFunc(all, func(r report) bool { return r.Mode == "focus" })
	if i < 0 {
		return report{}
	}
	return all[i]
}

// strip reads the message in the picture of the focused player: when the frame
// was made, and its number. ok is false where there is no readable one.
const strip = `(() => {
  const v = [...document.querySelectorAll('#stage video')][0];
  if (!v || !v.videoWidth) return null;
  const c = document.createElement('canvas'), w = c.width = v.videoWidth, h = c.height = v.videoHeight;
  const g = c.getContext('2d');
  g.drawImage(v, 0, 0);
  const now = Date.now(), s = Math.floor(w / 40), px = g.getImageData(0, h - 2 * s, w, 2 * s).data;
  const bits = [];
  for (let n = 0; n < 80; n++) {
    let sum = 0, count = 0;
    const x0 = (n % 40) * s, y0 = Math.floor(n / 40) * s;
    for (let y = y0 + (s >> 2); y < y0 + s - (s >> 2); y++)
      for (let x = x0 + (s >> 2); x < x0 + s - (s >> 2); x++) {
        const i = (y * w + x) * 4;
        sum += px[i] + px[i + 1] + px[i + 2]; count += 3;
      }
    bits.push(sum / count > 127 ? 1 : 0);
  }
  const read = (from, n) => bits.slice(from, from + n).reduce((a, b) => a * 2 + b, 0);
  let crc = 0xffff;
  for (let i = 0; i < 64; i++) {
    const top = ((crc >> 15) & 1) ^ bits[i];
    crc = ((crc << 1) & 0xffff) ^ (top ? 0x1021 : 0);
  }
  if (crc !== read(64, 16)) return null;
  return {delay: now - read(0, 42), frame: read(42, 22)};
})()`

type stripReading struct {
	Delay float64 `json:"delay"` // ms
	Frame int     `json:"frame"`
}

// Chromium plays a camera through Nginx with low latency: time advances, the
// picture changes, nothing stalls and nothing is fatal, while the camera drops
// its connection and changes its resolution.
func TestBrowserPlays(t *testing.T) {
	b := testenv.Chromium(t)
	live := func(width, height int) *camsim.Live {
		l, err := camsim.NewLive(t.Context(), camsim.LiveConfig{Width: width, Height: height, Audio: true})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	cam, url := camera(t, camsim.CameraConfig{Feed: live(640, 360)})
	f := testenv.Up(t, testenv.UpOptions{Config: cameras(map[string]string{"cam": url})})
	base := testenv.Nginx(t, "", f.URL)
	p := b.Open(t, base+"/#cam")
	t.Cleanup(func() {
		if t.Failed() {
			var all []map[string]any
			p.Eval("window.framelog ? window.framelog.players() : []", &all)
			t.Logf("players: %v", all)
			var urls []string
			p.Eval("performance.getEntriesByType('resource').map(r => r.responseStatus + ' ' + r.transferSize + ' ' + Math.round(r.startTime) + '+' + Math.round(r.duration) + ' ' + r.name).slice(-40)", &urls)
			t.Logf("requests:\n%s", strings.Join(urls, "\n"))
		}
	})

	p.Wait(30*time.Second, "window.framelog && window.framelog.players().some(p => p.mode === 'focus' && p.state === 'playing')")
	var delays []time.Duration
	play := func(d time.Duration, what string) report {
		t.Helper()
		before, began := focused(p), time.Now()
		frames := map[int]bool{}
		tick := time.NewTicker(250 * time.Millisecond)
		defer tick.Stop()
		for time.Since(began) < d {
			<-tick.C
			var r *stripReading
			p.Eval(strip, &r)
			if r != nil {
				frames[r.Frame] = true
				delays = append(delays, time.Duration(r.Delay)*time.Millisecond)
			}
		}
		after := focused(p)
		if n := int(d / time.Second); len(frames) < n {
			t.Errorf("%s: only %d different pictures in %v", what, len(frames), d)
		}
		if after.FatalErrors > 0 {
			t.Errorf("%s: fatal errors: %v", what, after.Errors)
		}
		if after.Rebuilds == before.Rebuilds && after.CurrentTime-before.CurrentTime < d.Seconds()*0.8 {
			t.Errorf("%s: %.1f s of footage in %v", what, after.CurrentTime-before.CurrentTime, d)
		}
		return after
	}
	r := play(20*time.Second, "at first")
	if r.Stalls > 0 || r.Rebuilds > 0 {
		t.Errorf("at first: %d stalls, %d rebuilds: %v", r.Stalls, r.Rebuilds, r.Errors)
	}
	if r.FirstMS != nil {
		t.Logf("first picture after %.0f ms", *r.FirstMS)
	}
	slices.Sort(delays)
	if n := len(delays); n > 0 {
		t.Logf("camera to screen: p50 %v, p90 %v over %d pictures", delays[n/2], delays[n*9/10], n)
	} else {
		t.Error("the clock in the picture was never read")
	}

	cam.Drop()
	p.Wait(20*time.Second, "window.framelog.players().some(p => p.mode === 'focus' && p.state === 'playing')")
	play(15*time.Second, "after the connection was cut")
	cam.Switch(live(960, 540))
	p.Wait(30*time.Second, "window.framelog.players().some(p => p.mode === 'focus' && p.width === 960)")
	play(15*time.Second, "after the resolution changed")
	if dir := os.Getenv("FRAMELOG_TEST_SCREENSHOTS"); dir != "" {
		_ = os.WriteFile(filepath.Join(dir, "focus.png"), p.Screenshot(), 0o644)
	}
	for _, x := range p.Problems() {
		if !strings.Contains(x, "503") { // while the camera was away
			t.Errorf("console: %s", x)
		}
	}
}
