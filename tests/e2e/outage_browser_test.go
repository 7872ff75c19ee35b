package e2e

import (
	"fmt"
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
	outage := 15 * time.Second // it must last to be a long one
	if testenv.IsLong() {
		outage = 40 * time.Second
	}
	<-time.After(outage)
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

// The past goes on where it stood after its network was away: with the same player if that had
// enough in its buffer, else with another one.
func TestPageShowsThePastAfterAnOutage(t *testing.T) {
	testenv.Long(t) // some four minutes: players wait for answers, and play their buffers out
	b := testenv.Chromium(t)
	f := testenv.Up(t, testenv.UpOptions{})
	from := time.Now().Add(-time.Hour).Truncate(time.Second)
	system.RecordPast(t, f, "cam", system.Span{From: from, To: from.Add(100 * time.Second)})
	network := testenv.SlowNetworkTo(t, f.URL)
	p := b.Open(t, network.URL+"/#cam")
	tellFailure(t, p)
	p.Wait(2*testenv.Patience, "document.querySelector('#stage .bar canvas')")
	p.Eval(fmt.Sprintf("window.framelog.show(%d, true)", from.UnixMilli()), nil)
	reaches := func(after time.Duration) {
		t.Helper()
		p.Wait(3*testenv.Patience, fmt.Sprintf("%s >= %d", taken, from.Add(after).UnixMilli()))
	}
	reaches(time.Second)
	const video = "document.querySelector('#stage .past video')"
	var before, after string
	p.Eval(video+".src", &before)
	network.Cut(true)
	p.Wait(2*testenv.Patience, "window.framelog.past().errors.length > 0")
	network.Cut(false)
	reaches(30 * time.Second) // more than was in the buffer
	if p.Eval(video+".src", &after); after != before {
		t.Error("after a short outage there is another player")
	}

	network.Cut(true)
	p.Wait(4*testenv.Patience, "document.querySelector('#stage .past .veil:not([hidden])')?.textContent === 'The server does not answer'")
	const at = "Math.round(window.framelog.past().at)"
	var stands, still, on int64
	p.Eval(at, &stands)
	<-time.After(5 * time.Second) // it may be tried again meanwhile
	p.Eval(at, &still)
	network.Cut(false)
	p.Wait(3*testenv.Patience, fmt.Sprintf("%s > %d", taken, stands))
	p.Eval(taken, &on)
	if still-stands > 500 || on-stands > 3000 {
		t.Errorf("it stands at %d ms, then at %d, and goes on at %d", stands-from.UnixMilli(), still-from.UnixMilli(), on-from.UnixMilli())
	}
	p.Wait(testenv.Patience, "document.querySelector('#stage .past .veil').hidden")
}
