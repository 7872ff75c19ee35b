package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/tests/system"
	"github.com/framelog/framelog/tests/testenv"
)

// tooWide are the elements of a page that do not fit into a width.
const tooWide = `((width) => [...document.querySelectorAll('body, body *')].filter((e) => {
  const {left, right} = e.getBoundingClientRect();
  return e.checkVisibility() && right > left && (left < -1 || right > width + 1);
}).map((e) => e.outerHTML.slice(0, 80)).concat(document.documentElement.scrollWidth > width ? 'the page' : []))`

// On a phone the wall plays over the socket, everything fits into the width of the screen, the
// timeline is zoomed by two fingers and by buttons, and a tap on it shows the picture of that time.
// Its media source says when it wants footage: the past is read then alone.
func TestPhone(t *testing.T) {
	b := testenv.Chromium(t)
	feed, err := camsim.NewLive(t.Context(), camsim.LiveConfig{Width: 320, Height: 180, KeyInterval: 25, Audio: true})
	if err != nil {
		t.Fatal(err)
	}
	_, url := system.Camera(t, camsim.CameraConfig{Feed: feed})
	f := testenv.Up(t, testenv.UpOptions{Config: system.Cameras(map[string]string{"gate": url})})
	begin := time.Now().Add(-20 * time.Minute).Truncate(time.Second)
	system.RecordPast(t, f, "cam", system.Span{From: begin, To: begin.Add(80 * time.Second)})
	p := b.OpenPhone(t, f.URL+"/")
	tellFailure(t, p)
	fits := func(what string) {
		t.Helper()
		var wide []string
		if p.Eval(fmt.Sprintf("%s(%d)", tooWide, testenv.PhoneWidth), &wide); len(wide) > 0 {
			t.Errorf("%s: wider than the screen: %q", what, wide)
		}
	}
	p.Wait(2*testenv.Patience, "document.querySelector('#camera-cam')")
	p.Wait(2*testenv.Patience, tilePlays("socket"))
	fits("the wall")
	// A tile is at the edge. If it left parts out while the browser wants none, it would never get
	// them: it takes them, and plays on.
	tile := func() (m managed, r system.Player) {
		t.Helper()
		p.Eval(managedOf("#camera-gate video"), &m)
		for _, r = range system.Players(p) {
			if r.Camera == "gate" {
				break
			}
		}
		return m, r
	}
	_, first := tile()
	p.Eval("window.managed.forEach((m) => { m.held = performance.now() + 4000; m.ends = m.starts = m.late = 0; })", nil)
	p.Wait(testenv.Patience, managedOf("#camera-gate video")+"?.starts > 0")
	m, then := tile()
	played := then.CurrentTime - first.CurrentTime
	t.Logf("a tile: %+v: %.1f s of footage, %d stalls", m, played, then.Stalls-first.Stalls)
	if m.Ends != 1 || m.Late < 1 || played < 1 || then.Rebuilds > first.Rebuilds {
		t.Errorf("the browser wants no footage for 4 s: the tile gets %.1f s, and plays %.1f s; %+v, %v", m.Late, played, m, then.Errors)
	}

	middle := begin.Add(40 * time.Second)
	p.Eval(fmt.Sprintf("location.hash = '#cam?t=%s'", middle.UTC().Format("2006-01-02T15:04:05.000Z")), nil)
	p.Wait(2*testenv.Patience, taken+" !== null")
	fits("it plays")
	// Chromium makes no click of a tap that takes long, as on a machine that pauses, nor of one right
	// behind a pinch: it may have to come again.
	again := func(what string, tap func(), want string) {
		t.Helper()
		for range 10 {
			tap()
			if testenv.Poll(t, testenv.Patience/5, func() (ok bool) { p.Eval(want, &ok); return ok }) {
				return
			}
		}
		t.Fatalf("%s: taps do nothing", what)
	}
	again("pause", func() { p.Tap("#stage .tool.play") }, "!window.framelog.past().playing")
	fits("it stands")

	timeline := timebar{t, p}
	left, right := p.Box("#stage .bar")
	if left.X < 0 || right.X > testenv.PhoneWidth || right.X-left.X < testenv.PhoneWidth/2 || right.Y > testenv.PhoneHeight {
		t.Fatalf("the timeline is from %v to %v", left, right)
	}
	y := (left.Y + right.Y) / 2
	before, centre := timeline.long(), timeline.place(middle).X
	p.Touch([]testenv.Point{{X: centre - 20, Y: y}, {X: centre - 30, Y: y}, {X: centre - 40, Y: y}}, []testenv.Point{{X: centre + 20, Y: y}, {X: centre + 30, Y: y}, {X: centre + 40, Y: y}})
	if !testenv.Poll(t, testenv.Patience, func() bool { return (timeline.long() - before/2).Abs() < 10*time.Second }) {
		t.Errorf("two fingers zoom from %v to %v", before, timeline.long())
	}
	for timeline.long() > 2*time.Minute {
		again("the button that zooms", func() { p.Tap(`#stage [aria-label="Show less time"]`) },
			fmt.Sprintf("((end) => end('max') - end('min') < %d)((end) => Number(document.querySelector('#stage .bar').getAttribute('aria-value' + end)))", int(timeline.long().Seconds())))
	}
	for _, want := range []time.Time{middle.Add(-25 * time.Second), middle.Add(20 * time.Second)} {
		// The ends of the view are known to the second, and a pixel is less than one.
		again("a time on the bar", func() { p.Touch([]testenv.Point{timeline.place(want)}) }, fmt.Sprintf("Math.abs(%s - %d) < 1500", taken, want.UnixMilli()))
	}
	fits("after the taps")

	// The past is read ahead: it stops when the browser wants no more, and goes on when it does.
	// It begins with an empty buffer: one fragment between two places that were shown would join them.
	const past = "#stage .past video"
	key(p, "body", "l")
	p.Wait(testenv.Patience, managedOf(past)+" === undefined")
	p.Eval("(() => { const s = document.querySelector('.deck select[aria-label=Speed]'); s.value = '4'; s.dispatchEvent(new Event('change')); })()", nil)
	p.Eval(fmt.Sprintf("window.framelog.show(%d, true)", begin.Add(5*time.Second).UnixMilli()), nil)
	p.Wait(testenv.Patience, managedOf(past)+"?.ends >= 2 && "+managedOf(past)+"?.starts >= 2")
	p.Eval(managedOf(past), &m)
	var at int64
	p.Eval(taken, &at)
	t.Logf("the past: %+v, at %v", m, time.UnixMilli(at).Sub(begin))
	// What is on its way comes still: a fragment has 2 s. By itself the player would read 20 s ahead.
	if m.Late > 5 {
		t.Errorf("the browser wants no more footage, and the past gets %.1f s of it", m.Late)
	}
	noProblems(t, p)
}

// managed is what the stand-in for a phone's media source has told its player, see
// testenv.Browser.OpenPhone.
type managed struct {
	Ends, Starts int     // how often it wanted no more footage, and then some again
	Late         float64 // seconds of footage that it got meanwhile, at most
}

// managedOf is the one that a video has.
func managedOf(video string) string {
	return fmt.Sprintf("((v) => window.managed.filter((m) => m.video === v).map(({ends, starts, late}) => ({ends, starts, late}))[0])(document.querySelector('%s'))", video)
}
