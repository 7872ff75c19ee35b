package e2e

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/framelog/framelog/processors"
	"github.com/framelog/framelog/tests/system"
	"github.com/framelog/framelog/tests/testenv"
)

// takenOf is a function that reads the strip in a video (see camsim.Strip), in ms since the epoch;
// null while there is no picture.
const takenOf = `(v) => {
  if (!v.videoWidth || v.seeking || v.readyState < 2) return null;
  const c = document.createElement('canvas'), w = c.width = v.videoWidth, h = c.height = v.videoHeight, s = Math.floor(w / 40);
  const g = c.getContext('2d', {willReadFrequently: true});
  g.drawImage(v, 0, 0);
  const bit = (n) => {
    const p = g.getImageData((n % 40) * s + (s >> 1), h - 2 * s + Math.floor(n / 40) * s + (s >> 1), 1, 1).data;
    return p[0] + p[1] + p[2] > 381 ? 1 : 0;
  };
  let time = 0;
  for (let n = 0; n < 42; n++) time = time * 2 + bit(n);
  return time;
}`

// besides are the times in the pictures of the past of all cameras beside each other.
const besides = `[...document.querySelectorAll('#stage .past video')].map(` + takenOf + `)`

// Cameras beside each other show the same time: while they play at any speed, when they are
// paused, stepped and sought. Each has its own boxes. A camera that has no footage at a time is
// not waited for, and comes back when it has.
func TestPageShowsCamerasTogether(t *testing.T) {
	strain, pauses := testenv.WatchStrain(t), testenv.WatchPauses(t)
	b := testenv.Chromium(t)
	f := testenv.Up(t, testenv.UpOptions{})
	const fps = 20
	now := time.Now().Truncate(time.Second)
	at := now.Add(-time.Hour)
	span := func(from, to time.Duration) system.Span {
		return system.Span{From: at.Add(from), To: at.Add(to), FPS: fps}
	}
	// Their fragments begin at different times, and one is away from the 30th second to the 36th.
	system.RecordPast(t, f, "gate", span(0, 60*time.Second))
	system.RecordPast(t, f, "yard", span(-730*time.Millisecond, 30*time.Second), span(36*time.Second, 60*time.Second))
	boxes, err := processors.NewRunner(finder(new(atomic.Bool)), processors.Config{Brokers: []string{f.Broker}})
	if err == nil {
		err = boxes.Backfill(t.Context(), processors.Backfill{From: at.Add(-time.Second), To: at.Add(time.Minute)})
	}
	if err != nil {
		t.Fatal(err)
	}
	p := b.Open(t, f.URL+"/#gate,yard?t="+at.Add(5*time.Second).UTC().Format(time.RFC3339))
	tellFailure(t, p)

	// read reads all pictures at once; -1 where there is none.
	read := func() [2]int64 {
		var all []*int64
		p.Eval(besides, &all)
		got := [2]int64{-1, -1}
		for i, v := range all {
			if v != nil && i < 2 {
				got[i] = *v
			}
		}
		return got
	}
	// sample reads all pictures ten times a second until it has so many pairs, and compares them.
	sample := func(what string, pairs int) {
		t.Helper()
		began := time.Now()
		p.Eval(fmt.Sprintf(`new Promise((done) => {
		  const all = [], end = performance.now() + %d;
		  const timer = setInterval(() => {
		    const [a, b] = %s;
		    if (a !== null && b !== null) all.push([a, b]);
		    if (all.length >= %d || performance.now() > end) clearInterval(timer), window.sampled = all, done(0);
		  }, 100);
		})`, testenv.Patience.Milliseconds(), besides, pairs), nil)
		var all [][2]int64
		p.Eval("window.sampled", &all)
		limit := strain.Stretch(100 * time.Millisecond).Milliseconds()
		within, most := 0, int64(0)
		for _, x := range all {
			off := max(x[0]-x[1], x[1]-x[0])
			if most = max(most, off); off <= 100 {
				within++
			}
			if off > limit {
				t.Logf("%s: the pictures are of %v and %v", what, clock(x[0]), clock(x[1]))
			}
		}
		if len(all) < pairs || all[0] == all[len(all)-1] {
			t.Fatalf("%s: the pictures do not change: %v", what, all)
		}
		t.Logf("%s: %d of %d within 100 ms, at most %d ms apart", what, within, len(all), most)
		stood := pauses.Longest(began.Add(-2*time.Second), time.Now())
		if bad := len(all) - within; strain.Factor() < 2 && stood < 500*time.Millisecond && bad > len(all)/10 {
			t.Errorf("%s: the pictures are further apart than 100 ms in %d of %d looks", what, bad, len(all))
		}
		if most > max(2*limit, 1000)+stood.Milliseconds() {
			t.Errorf("%s: the pictures are %d ms apart", what, most)
		}
	}
	running := "(({active, playing, waiting, beside}) => active && playing && !waiting && beside.every((b) => b.state === 'plays'))(window.framelog.past())"
	still := func(what string, want time.Time) {
		t.Helper()
		p.Wait(2*testenv.Patience, "(({active, playing, waiting, beside}) => active && !playing && !waiting && beside.every((b) => b.at !== null && b.state === 'plays'))(window.framelog.past())")
		// Each shows the picture of the time: its fragments may begin at another one.
		for i, got := range read() {
			if off := want.Sub(time.UnixMilli(got)); off < 0 || off >= time.Second/fps {
				t.Errorf("%s: camera %d shows %v, want %v", what, i, time.UnixMilli(got).UTC(), want.UTC())
			}
		}
	}

	p.Wait(2*testenv.Patience, "document.querySelector('#stage .bar canvas')")
	p.Wait(2*testenv.Patience, running)
	sample("played", 50)
	// A time in the midst of a picture of each camera: a player stands within 5 ms of it.
	for i := range 5 {
		if i > 0 {
			p.Eval(fmt.Sprintf("window.framelog.show(%d, true)", at.Add(5*time.Second).UnixMilli()), nil)
			p.Wait(2*testenv.Patience, running)
			p.Wait(testenv.Patience, fmt.Sprintf("Math.min(...%s) > %d", besides, at.Add(5500*time.Millisecond).UnixMilli()))
		}
		p.Eval(fmt.Sprintf("window.framelog.show(%d, false)", at.Add(12_335*time.Millisecond).UnixMilli()), nil)
		still("sought while it plays", at.Add(12_335*time.Millisecond))
	}
	// The box over each is that of its picture.
	p.Wait(2*testenv.Patience, fmt.Sprintf(`[...document.querySelectorAll('#stage .past')].filter((past) => {
	  const off = (%s)(past, (%s)(past.querySelector('video')));
	  return off !== null && off < %d;
	}).length === 2`, boxOff, takenOf, 2*step.Milliseconds()))
	for _, c := range []struct {
		key string
		by  int64
	}{{".", 1}, {".", 1}, {",", -1}} {
		before := read()
		key(p, "body", c.key)
		want := before[0] + c.by*1000/fps
		p.Wait(testenv.Patience, fmt.Sprintf("Math.abs(%s[0] - %d) < 1", besides, want))
		p.Wait(testenv.Patience, fmt.Sprintf("Math.abs(%s[1] - %d) < 1", besides, before[1]+c.by*1000/fps))
	}
	key(p, "body", " ")
	p.Wait(testenv.Patience, running)
	for _, speed := range []string{"2", "0.5", "4"} {
		p.Eval(fmt.Sprintf("window.framelog.show(%d, true)", at.Add(5*time.Second).UnixMilli()), nil)
		p.Eval(fmt.Sprintf("(() => { const s = document.querySelector('.deck select[aria-label=Speed]'); s.value = '%s'; s.dispatchEvent(new Event('change')); })()", speed), nil)
		p.Wait(2*testenv.Patience, running)
		sample("at "+speed+"×", 30)
	}
	p.Eval("(() => { const s = document.querySelector('.deck select[aria-label=Speed]'); s.value = '1'; s.dispatchEvent(new Event('change')); })()", nil)

	// The address names both, and the time.
	var hash string
	p.Eval("location.hash", &hash)
	if !strings.HasPrefix(hash, "#gate,yard?t="+at.UTC().Format("2006-01-02T")) {
		t.Errorf("the address is %s", hash)
	}

	// Through the hole of one: the other goes on.
	p.Eval(fmt.Sprintf("window.framelog.show(%d, true)", at.Add(28*time.Second).UnixMilli()), nil)
	p.Wait(2*testenv.Patience, "window.framelog.past().beside[1].state === 'absent'")
	p.Wait(2*testenv.Patience, fmt.Sprintf("%s[0] > %d", besides, at.Add(32*time.Second).UnixMilli()))
	var says string
	p.Eval("document.querySelectorAll('#stage .past')[1].querySelector('.veil:not([hidden])')?.textContent ?? ''", &says)
	if says != "Nothing recorded" {
		t.Errorf("the camera without footage says %q", says)
	}
	p.Wait(2*testenv.Patience, "window.framelog.past().beside[1].state === 'plays'")
	sample("behind the hole", 30)
	if got := read(); got[1] < at.Add(36*time.Second).UnixMilli() {
		t.Errorf("the camera comes back with the picture of %v", time.UnixMilli(got[1]).UTC())
	}
	for _, x := range p.Problems() {
		if !strings.Contains(x, "404") && !strings.Contains(x, "503") {
			t.Errorf("console: %s", x)
		}
	}
}
