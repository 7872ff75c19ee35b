package examples

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/tests/system"
	"github.com/framelog/framelog/tests/testenv"
)

// The client in docs/live-protocol.md shows a picture that moves, near the live edge, and
// acknowledges what it has used: the server sends little before.
func TestLiveClient(t *testing.T) {
	b := testenv.Chromium(t)
	t.Parallel()
	feed, err := camsim.NewLive(t.Context(), camsim.LiveConfig{Width: 640, Height: 360, KeyInterval: 25})
	if err != nil {
		t.Fatal(err)
	}
	_, camera := system.Camera(t, camsim.CameraConfig{Feed: feed})
	f := testenv.Up(t, testenv.UpOptions{Config: system.Cameras(map[string]string{"yard": camera}) + "\negress: {live_in_flight: 64KiB}"})
	client := ""
	for _, bl := range blocks(t, "live-protocol.md") {
		if bl.section == "A client" && bl.lang == "js" {
			client = bl.text
		}
	}
	target, err := url.Parse(f.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			proxy.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/html")
		script := strings.Replace(client, "wss://cams.example/", "ws://"+r.Host+"/", 1)
		fmt.Fprintf(w, "<!doctype html><link rel=icon href=data:,><video muted autoplay playsinline></video><script>%s</script>", script)
	}))
	t.Cleanup(site.Close)
	p := b.Open(t, site.URL)
	p.Eval(`window.pictures = new Set(), setInterval(() => {
		const v = document.querySelector('video'), c = document.createElement('canvas');
		c.width = c.height = 64;
		c.getContext('2d').drawImage(v, 0, 0, 64, 64);
		if (v.currentTime > 0) window.pictures.add(c.toDataURL());
	}, 50), 0`, nil)
	const pictures = 100 // of 25 a second, which are more than 64 KiB
	p.Wait(2*testenv.Patience, fmt.Sprintf("window.pictures.size > %d && taken > 4 * 65536", pictures))
	p.Wait(testenv.Patience, "video.buffered.end(video.buffered.length - 1) - video.currentTime < 3")
	if said := p.Problems(); len(said) > 0 {
		t.Errorf("%q", said)
	}
}
