package bench

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	neturl "net/url"
	"slices"
	"testing"
	"time"

	"github.com/framelog/framelog/tests/testenv"
)

const browserName = "browser"

// watching is what is measured in a browser: the page in headless Chromium, which
// decodes in software, with one camera of full size in focus.
type watching struct {
	Via string `json:"via"` // socket, or hls where no socket comes through
	// ColdMS is the time from the player's start to the first picture if there was
	// no viewer before, WarmMS if egress follows the camera already.
	ColdMS float64   `json:"cold_first_picture_ms"`
	WarmMS []float64 `json:"warm_first_picture_ms"`
	// Edge is the distance from the end of what has come, or for HLS is listed, Delay the one
	// from camera to screen, both in seconds, sampled every 250 ms.
	EdgeP50  float64 `json:"edge_p50_s"`
	EdgeP90  float64 `json:"edge_p90_s"`
	DelayP50 float64 `json:"delay_p50_s"`
	DelayP90 float64 `json:"delay_p90_s"`
	Stalls   int     `json:"stalls"`
	Dropped  int     `json:"dropped_frames"`
	Frames   int     `json:"frames"`
}

// browser plays the first camera over the socket, and by hls.js.
func browser(b *testing.B, c *cameras) (all []*watching) {
	chromium := testenv.Chromium(b)
	l := startLog(b, c.first(1), configOf(c.first(1), "on_demand"), false)
	defer l.stop()
	time.Sleep(*flags.warm)
	target, err := neturl.Parse(l.URL)
	if err != nil {
		b.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/live" {
			http.NotFound(w, r)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	defer plain.Close()
	return []*watching{watchPage(b, chromium, l.URL, "socket"), watchPage(b, chromium, plain.URL, "hls")}
}

// watchPage plays the first camera by one way.
func watchPage(b *testing.B, chromium *testenv.Browser, url, via string) *watching {
	const player = "(window.framelog ? window.framelog.players() : []).find(p => p.mode === 'focus')"
	type report struct {
		FirstMS *float64 `json:"firstPictureMs"`
		Latency *float64 `json:"latency"`
		Delay   *float64 `json:"delay"`
		Stalls  int      `json:"stalls"`
		Frames  int      `json:"frames"`
		Dropped int      `json:"dropped"`
	}
	w := &watching{Via: via}
	var p *testenv.Page
	var r report
	for i := range 6 {
		p = chromium.Open(b, url+"/#"+cameraID(0))
		p.Wait(30*time.Second, player+"?.firstPictureMs != null && "+player+".via === '"+via+"'")
		p.Eval(player, &r)
		if i == 0 {
			w.ColdMS = *r.FirstMS
		} else {
			w.WarmMS = append(w.WarmMS, *r.FirstMS)
		}
		if i < 5 {
			p.Eval("document.body.replaceChildren(), location.replace('about:blank')", nil) // so that it does not decode any more
		}
	}
	slices.Sort(w.WarmMS)
	var edge, delay []float64
	time.Sleep(10 * time.Second) // the player reaches its distance from the edge by playing a little faster
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); time.Since(began) < *flags.seconds; <-tick.C {
		p.Eval(player, &r)
		if r.Latency != nil && r.Delay != nil {
			edge, delay = append(edge, *r.Latency), append(delay, *r.Delay)
		}
	}
	slices.Sort(edge)
	slices.Sort(delay)
	w.EdgeP50, w.EdgeP90 = quantile(edge, 0.5), quantile(edge, 0.9)
	w.DelayP50, w.DelayP90 = quantile(delay, 0.5), quantile(delay, 0.9)
	w.Stalls, w.Frames, w.Dropped = r.Stalls, r.Frames, r.Dropped
	p.Eval("document.body.replaceChildren(), location.replace('about:blank')", nil)
	return w
}
