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

	// view is what the timeline shows, to the second.
	view := func() (from, to time.Time) {
		t.Helper()
		var seconds [2]int64
		p.Eval("['min', 'max'].map((end) => Number(document.querySelector('#stage .bar').getAttribute('aria-value' + end)))", &seconds)
		return time.Unix(seconds[0], 0), time.Unix(seconds[1], 0)
	}
	long := func() time.Duration {
		from, to := view()
		return to.Sub(from)
	}
	left, right := p.Box("#stage .bar")
	if left.X < 0 || right.X > testenv.PhoneWidth || right.X-left.X < testenv.PhoneWidth/2 || right.Y > testenv.PhoneHeight {
		t.Fatalf("the timeline is from %v to %v", left, right)
	}
	y := (left.Y + right.Y) / 2
	// place is where a time stands on the bar.
	place := func(at time.Time) testenv.Point {
		from, to := view()
		return testenv.Point{X: left.X + (right.X-left.X)*at.Sub(from).Seconds()/to.Sub(from).Seconds(), Y: y}
	}

	before, centre := long(), place(middle).X
	p.Touch([]testenv.Point{{X: centre - 20, Y: y}, {X: centre - 30, Y: y}, {X: centre - 40, Y: y}}, []testenv.Point{{X: centre + 20, Y: y}, {X: centre + 30, Y: y}, {X: centre + 40, Y: y}})
	if !testenv.Poll(t, testenv.Patience, func() bool { return (long() - before/2).Abs() < 10*time.Second }) {
		t.Errorf("two fingers zoom from %v to %v", before, long())
	}
	for long() > 2*time.Minute {
		again("the button that zooms", func() { p.Tap(`#stage [aria-label="Show less time"]`) },
			fmt.Sprintf("((end) => end('max') - end('min') < %d)((end) => Number(document.querySelector('#stage .bar').getAttribute('aria-value' + end)))", int(long().Seconds())))
	}
	for _, want := range []time.Time{middle.Add(-25 * time.Second), middle.Add(20 * time.Second)} {
		// The ends of the view are known to the second, and a pixel is less than one.
		again("a time on the bar", func() { p.Touch([]testenv.Point{place(want)}) }, fmt.Sprintf("Math.abs(%s - %d) < 1500", taken, want.UnixMilli()))
	}
	fits("after the taps")
	noProblems(t, p)
}
