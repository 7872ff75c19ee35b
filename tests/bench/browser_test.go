package bench

import (
	"slices"
	"testing"
	"time"

	"github.com/framelog/framelog/tests/testenv"
)

const browserName = "browser"

// watching is what is measured in a browser: hls.js in headless Chromium, which
// decodes in software, with one camera of full size in focus.
type watching struct {
	// ColdMS is the time from the player's start to the first picture if there was
	// no viewer before, WarmMS if egress follows the camera already.
	ColdMS float64   `json:"cold_first_picture_ms"`
	WarmMS []float64 `json:"warm_first_picture_ms"`
	// Edge is the distance from the playlist's live edge, Delay the one from
	// camera to screen, both in seconds, sampled every 250 ms.
	EdgeP50  float64 `json:"edge_p50_s"`
	EdgeP90  float64 `json:"edge_p90_s"`
	DelayP50 float64 `json:"delay_p50_s"`
	DelayP90 float64 `json:"delay_p90_s"`
	Stalls   int     `json:"stalls"`
	Dropped  int     `json:"dropped_frames"`
	Frames   int     `json:"frames"`
}

// browser plays the first camera.
func browser(b *testing.B, c *cameras) *watching {
	chromium := testenv.Chromium(b)
	one := *c
	one.n, one.urls = 1, c.urls[:1]
	l := startLog(b, &one, configOf(&one, "on_demand"), false)
	defer l.stop()
	time.Sleep(*flags.warm)
	const player = "(window.framelog ? window.framelog.players() : []).find(p => p.mode === 'focus')"
	type report struct {
		FirstMS *float64 `json:"firstPictureMs"`
		Latency *float64 `json:"latency"`
		Delay   *float64 `json:"delay"`
		Stalls  int      `json:"stalls"`
		Frames  int      `json:"frames"`
		Dropped int      `json:"dropped"`
	}
	w := &watching{}
	var p *testenv.Page
	var r report
	for i := range 6 {
		p = chromium.Open(b, l.URL+"/#"+cameraID(0))
		p.Wait(30*time.Second, player+"?.firstPictureMs != null")
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
	time.Sleep(10 * time.Second) // the player reaches its distance from the live edge by playing a little faster
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
	return w
}
