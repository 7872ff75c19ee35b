package e2e

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/tests/system"
	"github.com/framelog/framelog/tests/testenv"
)

// A wall is back within 3 s, also after its network was away for long. And while the server has
// no place for another socket, a page plays HLS; it takes the socket when there is one.
func TestPageAfterAnOutage(t *testing.T) {
	b := testenv.Chromium(t)
	w := &bigWall{t: t, strain: testenv.WatchStrain(t), pauses: testenv.WatchPauses(t), cams: map[string]*camsim.Camera{}, seen: map[string][]look{}}
	urls := map[string]string{}
	for _, id := range []string{"gate", "yard"} {
		live, err := camsim.NewLive(t.Context(), camsim.LiveConfig{Width: 320, Height: 180, KeyInterval: 25, MaxLate: 2 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		w.cams[id], urls[id] = system.Camera(t, camsim.CameraConfig{Feed: live})
	}
	ids := slices.Sorted(maps.Keys(urls))
	f := testenv.Up(t, testenv.UpOptions{Config: "egress: {live_connections: 1}\n" + system.Cameras(urls)})
	network := testenv.SlowNetworkTo(t, f.URL)
	p := b.Open(t, network.URL+"/")
	w.page = p
	tellFailure(t, p)
	both := func(via string) string {
		return "window.framelog && window.framelog.players().filter(p => p.via === '" + via + "' && p.state === 'playing' && p.currentTime > 0).length === 2"
	}
	p.Wait(2*testenv.Patience, both("socket"))
	p.Eval(tilesSampler, nil)
	w.back("at first", time.Now(), ids...)
	network.Cut(true)
	<-time.After(40 * time.Second) // an outage must last to be a long one
	again := time.Now()
	network.Cut(false)
	w.back("after an outage", again, ids...)
	p.Wait(testenv.Patience, both("socket"))

	other := b.Open(t, f.URL+"/")
	tellFailure(t, other)
	other.Wait(2*testenv.Patience, both("hls"))
	network.Cut(true)
	testenv.Wait(t, testenv.Patience, "a place on the server", func() bool {
		return system.Metric(t, f.URL, "framelog_egress_live_connections", "") == 0
	})
	other.Eval("window.dispatchEvent(new Event('online')), 0", nil) // else it takes half a minute
	other.Wait(2*testenv.Patience, both("socket"))
}
