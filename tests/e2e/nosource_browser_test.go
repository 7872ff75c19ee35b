package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/tests/system"
	"github.com/framelog/framelog/tests/testenv"
)

const (
	// noSource leaves a page no media source.
	noSource = "delete window.MediaSource; delete window.ManagedMediaSource;"
	// noHLS leaves a page a browser that does not play HLS by itself. Newer ones do.
	noHLS = `{
		const { canPlayType } = HTMLMediaElement.prototype;
		HTMLMediaElement.prototype.canPlayType = function (type) { return /mpegurl/i.test(type) ? '' : canPlayType.call(this, type); };
	}`
)

// In a browser without a media source and without HLS the page says so: on a tile, on the large
// view, and where the past would be. One that plays HLS by itself plays the camera.
func TestPageWithoutMediaSource(t *testing.T) {
	b := testenv.Chromium(t)
	feed, err := camsim.NewLive(t.Context(), camsim.LiveConfig{Width: 320, Height: 180, KeyInterval: 25})
	if err != nil {
		t.Fatal(err)
	}
	_, url := system.Camera(t, camsim.CameraConfig{Feed: feed})
	f := testenv.Up(t, testenv.UpOptions{Config: system.Cameras(map[string]string{"yard": url})})
	begin := time.Now().Add(-time.Hour).Truncate(time.Second)
	system.RecordPast(t, f, "old", system.Span{From: begin, To: begin.Add(4 * time.Second)})

	p := b.OpenWith(t, noSource+noHLS, f.URL+"/")
	tellFailure(t, p)
	says := func(where string) string {
		return fmt.Sprintf(`((veil) => !!veil && veil.checkVisibility() && [...veil.children].map((e) => e.textContent).filter(Boolean).join('|'))(document.querySelector('%s'))`, where)
	}
	const cannot = " === 'This browser cannot play it|It has neither Media Source Extensions nor HLS.'"
	p.Wait(2*testenv.Patience, says("#camera-yard .veil")+cannot)
	p.Wait(testenv.Patience, "document.querySelector('#camera-yard .pill span').textContent === 'Recording'")
	p.Eval("window.framelog.focus('yard')", nil)
	p.Wait(2*testenv.Patience, says("#stage .veil")+cannot)
	for _, r := range system.Players(p) {
		if r.Camera == "yard" && r.Mode == "focus" && (r.State != "unsupported" || r.Rebuilds > 0) {
			t.Errorf("the player is made again and again: %+v", r)
		}
	}
	p.Eval(fmt.Sprintf("location.hash = '#old?t=%s'", begin.Add(time.Second).UTC().Format(time.RFC3339)), nil)
	p.Wait(2*testenv.Patience, says("#stage .past .veil")+" === 'This browser cannot show the past'")
	noProblems(t, p)

	p = b.OpenWith(t, noSource, f.URL+"/")
	tellFailure(t, p)
	var can string
	if p.Eval("document.createElement('video').canPlayType('application/vnd.apple.mpegurl')", &can); can == "" {
		t.Log("this browser does not play HLS by itself")
		return
	}
	p.Wait(2*testenv.Patience, tilePlays("hls"))
	noProblems(t, p)
}
