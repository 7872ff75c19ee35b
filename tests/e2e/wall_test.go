package e2e

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	neturl "net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/tests/system"
	"github.com/framelog/framelog/tests/testenv"
)

// tilePlays is true while the tile of the wall plays by this way.
func tilePlays(via string) string {
	return "window.framelog && window.framelog.players().some(p => p.mode === 'wall' && p.via === '" + via + "' && p.state === 'playing' && p.frames > 0)"
}

// Chromium plays the tiles of the wall over the socket, at the live edge, while the camera
// drops its connection and changes its resolution, and egress is restarted. Where no socket
// comes through, tiles and the camera in focus play HLS, the latter with low latency.
func TestWallOverTheSocket(t *testing.T) {
	strain, pauses := testenv.WatchStrain(t), testenv.WatchPauses(t)
	b := testenv.Chromium(t)
	live := func(width, height int) *camsim.Live {
		l, err := camsim.NewLive(t.Context(), camsim.LiveConfig{Width: width, Height: height, KeyInterval: 25, Audio: true})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	small := live(640, 360)
	cam, url := system.Camera(t, camsim.CameraConfig{Feed: small})
	f := testenv.Up(t, testenv.UpOptions{Config: system.Cameras(map[string]string{"cam": url})})
	p := b.Open(t, testenv.Nginx(t, "", f.URL)+"/")
	tellFailure(t, p)
	p.Wait(2*testenv.Patience, tilePlays("socket"))
	p.Eval(strings.Replace(sampler, "#stage video", ".tile video", 1), nil)

	measured := 4 * time.Second
	if testenv.IsLong() {
		measured = 30 * time.Second
	}
	// edge watches the tile, and checks how far it is behind the camera.
	edge := func(what string) {
		t.Helper()
		began := time.Now()
		<-time.After(2 * time.Second) // to be at the edge
		looks(p)
		<-time.After(measured)
		by := delays(looks(p))
		if len(by) == 0 {
			t.Fatalf("%s: the clock in the picture was never read", what)
		}
		t.Logf("%s: camera to screen p50 %v, p90 %v, most %v: %+v", what, by[len(by)/2], by[len(by)*9/10], by[len(by)-1], system.Players(p))
		if limit := strain.Stretch(1500*time.Millisecond) + pauses.Longest(began, time.Now()); by[len(by)/2] > limit {
			t.Errorf("%s: the tile is %v behind the camera, limit %v", what, by[len(by)/2], limit)
		}
	}
	edge("at first")

	cam.Refuse(true)
	cam.Drop()
	p.Wait(2*testenv.Patience, "window.framelog.cameras()[0].status.state !== 'live'")
	cam.Refuse(false)
	p.Wait(2*testenv.Patience, "window.framelog.cameras()[0].status.state === 'live'")
	p.Wait(2*testenv.Patience, tilePlays("socket"))

	cam.Switch(live(960, 540))
	small.Close()
	p.Wait(2*testenv.Patience, "window.framelog.players().some(p => p.width === 960)")

	if f.Kill(t, "egress") == 0 {
		t.Fatal("there is no egress")
	}
	frames := system.Players(p)[0].Frames
	testenv.Wait(t, 2*testenv.Patience, "pictures after egress was killed", func() bool {
		now := system.Players(p)
		return len(now) == 1 && now[0].State == "playing" && now[0].Frames > frames+100
	})
	edge("after all that")
	for _, r := range system.Players(p) {
		if r.Rebuilds > 0 {
			t.Errorf("the player was made anew: %v", r.Errors)
		}
	}

	target, err := neturl.Parse(f.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	var parts, held atomic.Int64 // requests for parts, and for playlists that the server answers when a part is there
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/live" {
			http.NotFound(w, r)
			return
		}
		if partName.MatchString(r.URL.Path) {
			parts.Add(1)
		}
		if r.URL.Query().Has("_HLS_part") {
			held.Add(1)
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(plain.Close)
	q := b.Open(t, plain.URL)
	tellFailure(t, q)
	q.Wait(2*testenv.Patience, tilePlays("hls"))
	q.Eval("window.framelog.focus('cam')", nil)
	q.Wait(2*testenv.Patience, "window.framelog.players().some(p => p.mode === 'focus' && p.via === 'hls' && p.state === 'playing')")
	// It plays parts: whole segments of this camera would be 6 s behind.
	before, asked := parts.Load(), held.Load()
	q.Wait(testenv.Patience, "window.framelog.players().some(p => p.mode === 'focus' && p.via === 'hls' && p.state === 'playing' && p.delay !== null && p.delay < 5)")
	testenv.Wait(t, testenv.Patience, "requests for parts", func() bool { return parts.Load() > before+5 && held.Load() > asked+5 })
}

// partName is the end of a part's path: its fragment, epoch and number.
var partName = regexp.MustCompile(`/\d+\.\d+\.\d+\.m4s$`)
