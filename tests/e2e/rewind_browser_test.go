package e2e

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/tests/system"
	"github.com/framelog/framelog/tests/testenv"
)

// taken reads the strip in the picture of the past (see camsim.Strip), in ms since the epoch;
// null while there is none.
const taken = "(" + takenOf + ")(document.querySelector('#stage .past video'))"

type pastReport struct {
	Active, Playing, Waiting bool
	At, FirstPictureMs       *float64
	Errors                   []string
}

// shownPast waits for the picture after a seek, and checks that it is that of a time. It returns
// the milliseconds from the seek to the picture.
func shownPast(t *testing.T, p *testenv.Page, what string, want time.Time) float64 {
	t.Helper()
	p.Wait(2*testenv.Patience, "(({active, waiting, firstPictureMs}) => active && !waiting && firstPictureMs !== null)(window.framelog.past())")
	var got int64
	p.Eval(taken, &got)
	var r pastReport
	p.Eval("window.framelog.past()", &r)
	off := want.Sub(time.UnixMilli(got))
	t.Logf("%s: %v behind the picture's time, after %.0f ms", what, off, *r.FirstPictureMs)
	if off < 0 || off >= time.Second/system.PastFPS {
		t.Errorf("%s: the picture of %v, want that of %v", what, time.UnixMilli(got).UTC(), want.UTC())
	}
	return *r.FirstPictureMs
}

// The page shows the picture of any time of a day: after a click, a key, or with an address that
// somebody has sent. Where nothing was recorded it goes to the next footage.
func TestPageShowsThePast(t *testing.T) {
	b := testenv.Chromium(t)
	f := testenv.Up(t, testenv.UpOptions{})
	now := time.Now().Truncate(time.Second)
	var spans []system.Span // 20 seconds of each second hour
	for h := 23; h >= 1; h -= 2 {
		at := now.Add(-time.Duration(h) * time.Hour)
		spans = append(spans, system.Span{From: at, To: at.Add(20 * time.Second)})
	}
	spans[5].To = spans[5].From.Add(90 * time.Second) // for the keys that move by a minute
	system.RecordPast(t, f, "cam", spans...)
	p := b.Open(t, f.URL+"/#cam")
	tellFailure(t, p)
	p.Wait(2*testenv.Patience, "document.querySelector('#stage .bar canvas')")

	const frame = time.Second / system.PastFPS
	shown := func(what string, want time.Time) float64 {
		t.Helper()
		return shownPast(t, p, what, want)
	}

	rng := rand.New(rand.NewPCG(uint64(now.Unix()), 1))
	var took []float64
	for i := range 20 {
		s := spans[rng.IntN(len(spans))]
		at := s.From.Add(time.Duration(rng.Int64N(19_500)) * time.Millisecond)
		p.Eval(fmt.Sprintf("window.framelog.show(%d, false)", at.UnixMilli()), nil)
		took = append(took, shown(fmt.Sprint("seek ", i), at))
	}
	slices.Sort(took)
	t.Logf("from a seek to its picture: p50 %.0f ms, p95 %.0f ms", took[len(took)/2], took[len(took)*19/20])

	// Keys move from there: by pictures, and by seconds.
	at := spans[5].From.Add(10*time.Second + 30*time.Millisecond)
	p.Eval(fmt.Sprintf("location.hash = '#cam?t=%s'", at.UTC().Format("2006-01-02T15:04:05.000Z")), nil)
	// The page learns from playing how long a picture is. A busy machine shows not every one.
	p.Wait(2*testenv.Patience, fmt.Sprintf("%s >= %d", taken, at.Add(3*time.Second).UnixMilli()))
	key(p, "body", " ")
	p.Wait(testenv.Patience, "!window.framelog.past().playing")
	p.Eval(fmt.Sprintf("window.framelog.show(%d, false)", at.UnixMilli()), nil)
	shown("address", at)
	for _, c := range []struct {
		keys []string
		by   time.Duration
	}{
		{[]string{"."}, frame},
		{[]string{".", "."}, 2 * frame},
		{[]string{","}, -frame},
		{[]string{",", ",", "."}, -frame},
		{[]string{"ArrowLeft"}, -5 * time.Second},
		{[]string{"ArrowRight"}, 5 * time.Second},
		{[]string{"Shift+ArrowRight"}, time.Minute},
		{[]string{"Shift+ArrowLeft"}, -time.Minute},
	} {
		var before, after int64
		p.Eval(taken, &before)
		key(p, "body", c.keys...)
		want := time.UnixMilli(before).Add(c.by).UnixMilli()
		p.Wait(testenv.Patience, fmt.Sprintf("Math.abs(%s - %d) < 1", taken, want))
		if p.Eval(taken, &after); after != want {
			t.Errorf("%s: from %v to %v", c.keys, time.UnixMilli(before).UTC(), time.UnixMilli(after).UTC())
		}
	}

	checkView(t, p)

	// Between two spans there is nothing. The footage after it is shown, and the page says so.
	p.Eval(fmt.Sprintf("window.framelog.show(%d, false)", spans[5].To.Add(10*time.Minute).UnixMilli()), nil)
	p.Wait(2*testenv.Patience, "/^Nothing recorded/.test(document.querySelector('#stage .notice').textContent)")
	shown("next footage", spans[6].From)

	// The button selects one range: the next click shows a time again.
	p.Eval(`(() => {
	  const bar = document.querySelector('#stage .bar'), {left, top, width} = bar.getBoundingClientRect();
	  const at = (type, part) => bar.dispatchEvent(new PointerEvent(type, {bubbles: true, button: 0, pointerId: 1, clientX: left + part * width, clientY: top + 40}));
	  document.querySelector('[aria-label="Select a range"]').click();
	  at('pointerdown', 0.2), at('pointermove', 0.25), at('pointermove', 0.3), at('pointerup', 0.3);
	})()`, nil)
	p.Wait(testenv.Patience, "/start=.+&end=/.test(document.querySelector('#stage .cut:not([hidden]) a').href)")
	p.Wait(testenv.Patience, `document.querySelector('[aria-label="Select a range"]').getAttribute('aria-pressed') === 'false'`)
	// Escape ends the selection, and not the large view.
	key(p, "body", "Escape")
	p.Wait(testenv.Patience, "document.querySelector('#stage .range').hidden && document.querySelector('#stage .cut').hidden")
	var open bool
	if p.Eval("!document.getElementById('stage').hidden", &open); !open {
		t.Error("Escape closes the large view, which has a selection")
	}

	// It plays on into the next span.
	p.Eval(fmt.Sprintf("window.framelog.show(%d, true)", spans[5].To.Add(-2*time.Second).UnixMilli()), nil)
	p.Wait(2*testenv.Patience, fmt.Sprintf("%s >= %d", taken, spans[6].From.UnixMilli()))

	// Keys of the timeline go to its ends: the oldest footage, and what is live.
	key(p, "#stage .bar", "Home")
	p.Wait(2*testenv.Patience, fmt.Sprintf("window.framelog.past().playing && %[1]s >= %[2]d && %[1]s < %[3]d", taken, spans[0].From.UnixMilli(), spans[0].To.UnixMilli()))
	key(p, "#stage .bar", "End")
	p.Wait(testenv.Patience, "!window.framelog.past().active && document.querySelector('#stage button.live').getAttribute('aria-pressed') === 'true' && location.hash === '#cam'")
	if from, to := (timebar{t, p}).view(); time.Now().Before(from) || time.Now().After(to) {
		t.Errorf("live, the timeline shows %v to %v", from.UTC(), to.UTC())
	}
	key(p, "body", "Escape")
	p.Wait(testenv.Patience, "document.getElementById('stage').hidden && document.querySelector('#camera-cam').checkVisibility() && location.hash === ''")
	for _, x := range p.Problems() {
		// Where nothing was recorded there is no playlist. An overloaded server says so.
		// Nothing here makes thumbnails, which the page asks for once: 501.
		if !strings.Contains(x, "404") && !strings.Contains(x, "503") && !strings.Contains(x, "/snapshot/") {
			t.Errorf("console: %s", x)
		}
	}
}

// checkView checks what keys and the wheel do with the view of the timeline, while a picture of the
// past stands.
func checkView(t *testing.T, p *testenv.Page) {
	t.Helper()
	timeline := timebar{t, p}
	var shown int64
	p.Eval(taken, &shown)
	near := func(a, b, most float64) bool { return math.Abs(a-b) <= most }
	const exact = 0.002 // of the view: its ends are known to the second
	for _, c := range []struct {
		element, key string
		length       float64 // of the view, by that before
		moved        float64 // by how much of its length
	}{
		{"body", "+", 0.5, 0},
		{"body", "-", 2, 0},
		{"body", "=", 0.5, 0},
		{"body", "-", 2, 0},
		{"#stage .bar", "PageUp", 1, -0.5},
		{"#stage .bar", "PageDown", 1, 0.5},
		{"body", "PageUp", 1, 0},
		{"body", "End", 1, 0}, // where they mean what they mean on any page
	} {
		long, part := timeline.long(), timeline.part(time.UnixMilli(shown))
		key(p, c.element, c.key)
		if now := timeline.long().Seconds() / long.Seconds(); !near(now, c.length, exact) {
			t.Errorf("%s: the timeline is %.3f times as long, want %v", c.key, now, c.length)
		}
		// The time that is shown keeps its place if the view is not moved.
		if now := timeline.part(time.UnixMilli(shown)); !near(now, part-c.moved, exact) {
			t.Errorf("%s: the time that is shown stands at %.3f of the timeline, and stood at %.3f", c.key, now, part)
		}
	}
	var now int64
	if p.Eval(taken, &now); now != shown {
		t.Errorf("another view shows another picture: that of %v, and before that of %v", time.UnixMilli(now).UTC(), time.UnixMilli(shown).UTC())
	}

	// The wheel zooms around the time at which the pointer is.
	p.Eval("document.querySelector('#stage .bar').scrollIntoView({block: 'nearest'})", nil)
	for _, down := range []float64{-500 * math.Ln2, 500 * math.Ln2} {
		from, to := timeline.view()
		pointer := from.Add(to.Sub(from) * 4 / 5)
		want := to.Sub(from).Seconds() * math.Exp(down*0.002)
		p.Wheel(timeline.place(pointer), down)
		if !testenv.Poll(t, testenv.Patience, func() bool { return near(timeline.long().Seconds(), want, want/50) }) {
			t.Errorf("the wheel zooms from %v to %v, want %.0f s", to.Sub(from), timeline.long(), want)
		}
		if part := timeline.part(pointer); !near(part, 0.8, 2*exact) {
			t.Errorf("the wheel moves the time under the pointer from 0.8 to %.3f of the timeline", part)
		}
	}
}

// A selected range in which the camera has connected again needs several files. The page offers
// them, and each has its footage. Of a range that is too long it says so.
func TestPageOffersTheClipsOfARange(t *testing.T) {
	b := testenv.Chromium(t)
	f := testenv.Up(t, testenv.UpOptions{Config: "egress: {max_range: 1h}\n"})
	at := time.Now().Add(-time.Hour).Truncate(time.Second)
	spans := []system.Span{{From: at, To: at.Add(4 * time.Second)}, {From: at.Add(10 * time.Second), To: at.Add(16 * time.Second)}}
	system.RecordPast(t, f, "cam", spans...)
	address := func(from, to time.Time) string {
		return "#cam?t=" + from.UTC().Format(time.RFC3339) + "&to=" + to.UTC().Format(time.RFC3339)
	}
	p := b.Open(t, f.URL+"/"+address(at.Add(time.Second), at.Add(14*time.Second)))
	tellFailure(t, p)
	const save = "#stage .cut:not([hidden]) a.primary"
	p.Wait(2*testenv.Patience, "document.querySelector('"+save+"')")
	p.Click(save)
	p.Wait(testenv.Patience, "document.querySelectorAll('#stage .cut li a').length === 2 && document.querySelector('#stage .cut .answer').checkVisibility()")
	for i, s := range []system.Span{{From: at.Add(time.Second), To: spans[0].To}, {From: spans[1].From, To: at.Add(14 * time.Second)}} {
		name, content := p.Download(t, func() { p.Click(fmt.Sprintf("#stage .cut li:nth-child(%d) a", i+1)) })
		file := filepath.Join(t.TempDir(), "clip.mp4")
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		video, ok := testenv.Probe(t, file).Stream("video")
		var pictures int
		if _, err := fmt.Sscan(video.Frames, &pictures); !ok || err != nil {
			t.Fatalf("%s: %+v, %v", name, video, err)
		}
		// A clip begins with a keyframe.
		least := int(s.To.Sub(s.From).Seconds() * system.PastFPS)
		if pictures < least || pictures > least+2*system.PastFPS {
			t.Errorf("%s has %d pictures, want those of %v", name, pictures, s.To.Sub(s.From))
		}
	}

	// What lies in one session is downloaded at once.
	p.Eval(fmt.Sprintf("location.hash = '%s'", address(spans[1].From, at.Add(14*time.Second))), nil)
	p.Wait(testenv.Patience, "document.querySelector('#stage .cut ul').hidden")
	if name, content := p.Download(t, func() { p.Click(save) }); !strings.HasPrefix(name, "cam-") || len(content) == 0 {
		t.Errorf("%q has %d bytes", name, len(content))
	}

	p.Eval(fmt.Sprintf("location.hash = '%s'", address(at.Add(-3*time.Hour), at)), nil)
	p.Wait(testenv.Patience, "/start=.+&end=/.test(document.querySelector('"+save+"').href) && document.querySelector('#stage .cut .answer').hidden")
	p.Click(save)
	p.Wait(testenv.Patience, "/range is longer than 1h/.test(document.querySelector('#stage .cut .answer').textContent)")
}

// Of a day of footage without a break, whose first half is in the archive alone, the page shows
// the picture of any time.
func TestPageShowsADay(t *testing.T) {
	testenv.Long(t)
	b := testenv.Chromium(t)
	f := testenv.Up(t, testenv.UpOptions{Config: "archive: {enabled: false}\n"}) // this test archives
	end := time.Now().Add(-5 * time.Minute).Truncate(time.Minute)
	day := system.Span{From: end.Add(-24 * time.Hour), To: end}
	rng := rand.New(rand.NewPCG(uint64(end.Unix()), 2))
	var times []time.Time
	for i := range 20 { // half of them in each half
		half := time.Duration(i%2) * 12 * time.Hour
		times = append(times, day.From.Add(half+time.Duration(rng.Int64N(int64(12*time.Hour/time.Millisecond)))*time.Millisecond))
	}
	system.RecordLong(t, f, "cam", day, times...)
	entries := archiveAll(t, f, "cam")
	border := entries[len(entries)/2]
	expire(t, f, "cam", entries, border.Seq)
	expireIndex(t, f, border)
	f.Kill(t, "egress") // it has segments in memory
	f.Wait(t, testenv.Patience, "egress", func() bool {
		status, _, err := f.Get(t, "/v1/cameras/cam")
		return err == nil && status == http.StatusOK
	})

	p := b.Open(t, f.URL+"/#cam")
	tellFailure(t, p)
	p.Wait(2*testenv.Patience, "document.querySelector('#stage .bar canvas')")
	var took []float64
	for i, at := range times {
		p.Eval(fmt.Sprintf("window.framelog.show(%d, false)", at.UnixMilli()), nil)
		where := "archive"
		if !at.Before(border.Start) {
			where = "log"
		}
		took = append(took, shownPast(t, p, fmt.Sprintf("seek %d, in the %s", i, where), at))
	}
	slices.Sort(took)
	t.Logf("%d fragments; from a seek to its picture: p50 %.0f ms, p95 %.0f ms", len(entries), took[len(took)/2], took[len(took)*19/20])
}
