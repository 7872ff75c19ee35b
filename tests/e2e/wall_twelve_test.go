package e2e

import (
	"flag"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/tests/system"
	"github.com/framelog/framelog/tests/testenv"
)

var wallFor = flag.Duration("wall", 0, "have TestWallOfTwelve watch the wall for so long, also in short mode (10m in long mode)")

const (
	atTheEdge = time.Second     // as far as a tile may be behind its camera
	backIn    = 3 * time.Second // how long a wall may take to be there again
)

// bigWall is a wall that is watched.
type bigWall struct {
	t      *testing.T
	page   *testenv.Page
	strain *testenv.Strain
	pauses *testenv.Pauses
	cams   map[string]*camsim.Camera
	seen   map[string][]look
	holds  []float64 // seconds in a buffer, the mean of all tiles, for each 10 s of watch
}

// held takes how many seconds a buffer had since the last call, the mean of all tiles.
func (w *bigWall) held() float64 {
	w.t.Helper()
	var mean float64
	w.page.Eval("((all) => all.reduce((a, b) => a + b, 0) / Math.max(1, all.length))(window.holds.splice(0))", &mean)
	return mean
}

// read takes what was seen since the last call.
func (w *bigWall) read() map[string][]look {
	w.t.Helper()
	var news map[string][]look
	w.page.Eval("window.tiles && (() => { const t = window.tiles; window.tiles = {}; return t; })()", &news)
	for id, looks := range news {
		w.seen[id] = append(w.seen[id], looks...)
	}
	return news
}

// limit is how long something may take on a machine as it was since from.
func (w *bigWall) limit(d time.Duration, from time.Time) time.Duration {
	return w.strain.Stretch(d) + w.pauses.Longest(from, time.Now())
}

// watch watches all tiles for d, and checks that they are at the edge.
func (w *bigWall) watch(what string, d time.Duration) {
	w.t.Helper()
	w.read()
	w.held()
	end := time.Now().Add(d)
	for time.Now().Before(end) {
		began := time.Now()
		<-time.After(min(10*time.Second, time.Until(end))) // the time that is measured
		news, limit := w.read(), w.limit(atTheEdge, began)
		var worst, latest time.Duration
		for id := range w.cams {
			by := delays(news[id])
			if len(by) == 0 {
				w.t.Errorf("%s: %s: the clock in the picture was never read", what, id)
				continue
			}
			p95 := by[len(by)*95/100]
			worst, latest = max(worst, p95), max(latest, by[len(by)-1])
			if p95 > limit {
				w.t.Errorf("%s: %s is %v behind its camera (p50 %v), limit %v", what, id, p95, by[len(by)/2], limit)
			}
		}
		w.holds = append(w.holds, w.held())
		w.t.Logf("%s: at most %v behind (p95; once %v), limit %v; %.1f s in a buffer", what, worst, latest, limit.Round(time.Millisecond), w.holds[len(w.holds)-1])
	}
}

// back waits until tiles show at the edge what was taken after from.
func (w *bigWall) back(what string, from time.Time, ids ...string) {
	w.t.Helper()
	left := map[string]bool{}
	for _, id := range ids {
		left[id] = true
	}
	last := from
	testenv.Wait(w.t, 2*testenv.Patience, what, func() bool {
		news, limit := w.read(), w.limit(atTheEdge, from)
		for id := range left {
			i := slices.IndexFunc(news[id], func(l look) bool {
				return l.Taken >= from.UnixMilli() && time.Duration(l.At-l.Taken)*time.Millisecond <= limit
			})
			if i >= 0 {
				delete(left, id)
				last = time.UnixMilli(max(last.UnixMilli(), news[id][i].At))
			}
		}
		return len(left) == 0
	})
	took, limit := last.Sub(from), w.limit(backIn, from)
	w.t.Logf("%s: back after %v, limit %v", what, took, limit.Round(time.Millisecond))
	if took > limit {
		w.t.Errorf("%s: the wall was back after %v, limit %v", what, took, limit)
	}
}

// A wall of twelve cameras in Chromium, with the demo's small pictures. Each tile is at the
// edge all the time, and memory and buffers do not grow. Whatever happens to a camera, to
// egress or to the network: soon after it is over, each tile is at the edge again.
func TestWallOfTwelve(t *testing.T) {
	watched := *wallFor
	if watched == 0 {
		testenv.Long(t)
		watched = 10 * time.Minute
	}
	b := testenv.Chromium(t)
	live := func(width, height int) *camsim.Live {
		cfg := camsim.Demo()[0].Sub
		cfg.Width, cfg.Height, cfg.MaxLate = width, height, 2*time.Second
		l, err := camsim.NewLive(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	w := &bigWall{t: t, strain: testenv.WatchStrain(t), pauses: testenv.WatchPauses(t), cams: map[string]*camsim.Camera{}, seen: map[string][]look{}}
	urls := map[string]string{}
	first := live(320, 180)
	for i := range 12 {
		id, feed := fmt.Sprintf("cam-%02d", i), first
		if i > 0 {
			feed = live(320, 180)
		}
		w.cams[id], urls[id] = system.Camera(t, camsim.CameraConfig{Feed: feed, SentLimit: 100_000})
	}
	ids := slices.Sorted(maps.Keys(urls))
	f := testenv.Up(t, testenv.UpOptions{Config: system.Cameras(urls)})
	network := testenv.SlowNetworkTo(t, testenv.Nginx(t, "", f.URL))
	p := b.Open(t, network.URL+"/")
	w.page = p
	tellFailure(t, p)
	p.Eval("document.getElementById('cameras').style.cssText = 'grid-template-columns: repeat(4, 1fr)'", nil) // all in sight
	p.Wait(2*testenv.Patience, "window.framelog && window.framelog.players().filter(p => p.mode === 'wall' && p.via === 'socket' && p.state === 'playing' && p.frames > 0).length === 12")
	p.Eval(tilesSampler, nil)
	w.back("at first", time.Now(), ids...)

	from := time.Now()
	minute := min(watched/5, time.Minute)
	w.watch("at rest", minute)
	heap, early := p.Heap(), mean(w.holds)
	w.watch("at rest", watched-minute)
	late := mean(w.holds[len(w.holds)-int(max(1, minute/(10*time.Second))):])
	t.Logf("a buffer holds %.1f s in the last %v, and held %.1f s in the first", late, minute, early)
	if late > early*5/4+0.5 {
		t.Errorf("buffers grow: one holds %.1f s in the last %v, and held %.1f s in the first", late, minute, early)
	}
	for id, cam := range w.cams {
		for _, s := range stalls(w.seen[id], holes(cam.Sent(), 500*time.Millisecond), w.limit(atTheEdge, from)) {
			t.Errorf("%s stood still: %s", id, s)
		}
	}
	clear(w.seen)
	// Garbage that waits for its finalizers is no leak.
	if now := p.Heap(); now > heap*5/4+1<<20 {
		t.Errorf("the page holds %d KiB of JavaScript, and held %d KiB", now>>10, heap>>10)
	} else {
		t.Logf("the page holds %d KiB of JavaScript, and held %d KiB", now>>10, heap>>10)
	}

	cam := w.cams[ids[0]]
	cam.Refuse(true)
	cam.Drop()
	p.Wait(2*testenv.Patience, "window.framelog.cameras().find(c => c.id === '"+ids[0]+"').status.state !== 'live'")
	gone := time.Now()
	cam.Refuse(false)
	var again time.Time
	testenv.Wait(t, 2*testenv.Patience, "the camera's next connection", func() bool {
		for _, s := range cam.Sent() {
			if s.Peers > 0 && s.Sync && s.At.After(gone) {
				again = s.At
				return true
			}
		}
		return false
	})
	w.back("a camera comes back", again, ids[0])

	wide := live(480, 270)
	again = time.Now()
	cam.Switch(wide)
	first.Close()
	w.back("another resolution", again, ids[0])
	p.Wait(testenv.Patience, "document.querySelector('#camera-"+ids[0]+" video').videoWidth === 480")

	if f.Kill(t, "egress") == 0 {
		t.Fatal("there is no egress")
	}
	gone = time.Now()
	testenv.Wait(t, 2*testenv.Patience, "the next egress", func() bool {
		code, _, err := testenv.Get(t, f.URL+"/v1/cameras")
		return err == nil && code == http.StatusOK && time.Since(gone) > 100*time.Millisecond
	})
	w.back("egress was killed", time.Now(), ids...)

	// A third of what the cameras send comes through, late.
	network.Set(12*150_000/8/3, 200*time.Millisecond)
	<-time.After(10 * time.Second) // a fault must last to be one
	again = time.Now()
	network.Set(0, 0)
	w.back("the network was slow", again, ids...)

	w.watch("after all that", 10*time.Second)
	var held float64
	p.Eval("window.held", &held)
	t.Logf("a buffer held at most %.1f s", held)
	if held > 20 {
		t.Errorf("a buffer held %.1f s", held)
	}
	if now := p.Heap(); now > heap*3/2+1<<20 {
		t.Errorf("the page holds %d KiB of JavaScript in the end, and held %d KiB", now>>10, heap>>10)
	}
	for _, r := range system.Players(p) {
		t.Logf("%s: %d stalls, %d times made anew: %s", r.Camera, r.Stalls, r.Rebuilds, strings.Join(r.Errors, "; "))
	}
}

func mean(all []float64) (m float64) {
	for _, x := range all {
		m += x / float64(len(all))
	}
	return m
}

// A camera with a keyframe every 8 s is seen at once, from its newest keyframe on, and the
// page says how far behind it is until it is at the edge. It comes there by playing faster.
func TestFirstPictureOfLongGOPs(t *testing.T) {
	strain, pauses := testenv.WatchStrain(t), testenv.WatchPauses(t)
	b := testenv.Chromium(t)
	l, err := camsim.NewLive(t.Context(), camsim.LiveConfig{Width: 320, Height: 180, FPS: 10, KeyInterval: 80, Bitrate: 150, MaxLate: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	cam, url := system.Camera(t, camsim.CameraConfig{Feed: l})
	f := testenv.Up(t, testenv.UpOptions{Config: system.Cameras(map[string]string{"cam": url})})
	b.Open(t, f.URL+"/healthz") // the browser's first tab takes its time
	for range 4 {
		if firstOfLongGOP(t, b, f, cam, strain, pauses) {
			return
		}
		t.Log("the next keyframe came before the first picture: once more")
	}
	t.Error("in each try the next keyframe came first")
}

// firstOfLongGOP opens the page in the middle of a GOP. It returns false if the next GOP began
// before the first picture was there: then its age tells nothing.
func firstOfLongGOP(t *testing.T, b *testenv.Browser, f *testenv.Framelog, cam *camsim.Camera, strain *testenv.Strain, pauses *testenv.Pauses) bool {
	newest := func() (key time.Time) {
		for _, s := range cam.Sent() {
			if s.Sync && s.Peers > 0 {
				key = s.At
			}
		}
		return key
	}
	testenv.Wait(t, 2*testenv.Patience, "a GOP that began 4 to 5 s ago", func() bool {
		age := time.Since(newest())
		return age > 4*time.Second && age < 5*time.Second && system.MediaPlaylist(t, system.Multivariant(f.URL, "cam")) != nil
	})
	// What the tile says, ten times a second from the first picture on.
	key, began := newest(), time.Now()
	p := b.Open(t, f.URL+"/")
	tellFailure(t, p)
	p.Eval(`(() => {`+readsStrip+`
		window.said = [];
		let seeks = 0;
		document.addEventListener('seeking', () => { seeks++; }, true);
		setInterval(() => {
			const v = document.querySelector('.tile video'), read = v && v.played.length ? strip(v) : null;
			if (read) window.said.push({at: read.at, taken: read.taken, ahead: read.ahead, seeks, open: performance.now(), behind: document.querySelector('.tile .behind').textContent, rate: v.playbackRate, stalls: window.framelog.players()[0].stalls});
		}, 50);
	})()`, nil)
	var said []saying
	p.Wait(2*testenv.Patience, "window.said.length > 0")
	limit := strain.Stretch(time.Second) + pauses.Longest(began, time.Now())
	p.Wait(2*testenv.Patience, "window.said.length && (() => { const l = window.said[window.said.length - 1]; return l.at - l.taken < 1000 && l.ahead < 500; })()")
	p.Eval("window.said", &said)
	first, last := said[0], said[len(said)-1]
	shown := time.Duration(first.Open * float64(time.Millisecond))
	t.Logf("first picture %v after the page was opened, limit %v: it was %v old and said %q; after %v it is %v behind",
		shown.Round(time.Millisecond), limit.Round(time.Millisecond), time.Duration(first.At-first.Taken)*time.Millisecond, first.Behind,
		time.Duration(last.At-first.At)*time.Millisecond, time.Duration(last.At-last.Taken)*time.Millisecond)
	if shown > limit {
		t.Errorf("the first picture came %v after the page was opened, limit %v", shown, limit)
	}
	for _, s := range cam.Sent() {
		if s.Sync && s.At.After(key) && s.At.Before(time.UnixMilli(first.At)) {
			return false
		}
	}
	if first.At-first.Taken < 2000 {
		t.Errorf("the first picture was %d ms old: it was not the newest keyframe", first.At-first.Taken)
	}
	slow := strain.Stretch(time.Second) + pauses.Longest(began, time.Now())
	checkCatchingUp(t, said, slow)
	// The number is drawn when the picture is there, and then once a second.
	for i, s := range said {
		var behind float64
		if _, err := fmt.Sscanf(s.Behind, "%f s", &behind); err != nil || behind < 2 {
			continue
		}
		after := time.Duration(s.At-first.At) * time.Millisecond
		t.Logf("%v after the first picture the page says %q, it is %v", after, s.Behind, s.delay())
		if after > slow {
			t.Errorf("the page said %v after the first picture how far behind it is, limit %v", after, slow)
		}
		checkSaid(t, said[i:], slow)
		return true
	}
	t.Errorf("the page never said how far behind it is: %+v", said[:min(len(said), 10)])
	return true
}

// saying is one look at a tile: the picture that it shows, and what it says of it.
type saying struct {
	At     int64   `json:"at"`     // ms since the epoch
	Taken  int64   `json:"taken"`  // when the camera took the picture, likewise
	Open   float64 `json:"open"`   // ms since the page was opened
	Behind string  `json:"behind"` // how far behind the picture is, in words
	Ahead  int64   `json:"ahead"`  // ms in the buffer behind the picture
	Rate   float64 `json:"rate"`   // of the video
	Seeks  int     `json:"seeks"`  // how often the video has jumped
	Stalls int     `json:"stalls"` // how often the picture has stopped
}

func (s saying) delay() time.Duration { return time.Duration(s.At-s.Taken) * time.Millisecond }

// checkCatchingUp checks that a picture comes to the edge by playing faster, and leaves nothing out.
// slow is how long a second may take on this machine.
func checkCatchingUp(t *testing.T, said []saying, slow time.Duration) {
	t.Helper()
	const fastest, filling = 3, 500 * time.Millisecond // see edge.ts
	first := said[0]
	rates := []float64{first.Rate}
	for i, s := range said[1:] {
		since := time.Duration(s.At-first.At) * time.Millisecond
		if i > 0 && s.Ahead < 500 {
			t.Logf("at the edge after %v; on the way it stopped %d times and played with %v", since, s.Stalls, rates)
			return
		}
		went, took := s.Taken-said[i].Taken, s.At-said[i].At
		if s.Rate != said[i].Rate {
			rates = append(rates, s.Rate)
		}
		// The pictures are 100 ms apart. A browser that is slow shows an old one.
		if s.Seeks > first.Seeks || went < 0 || went > fastest*(took+slow.Milliseconds()/2)+500 {
			t.Errorf("%v after the first picture the next one, %d ms later, is of %d ms later; %d stalls, %d seeks", since, took, went, s.Stalls, s.Seeks)
		}
		if s.delay() > 2*time.Second && since > filling+slow/2 && s.Rate <= 1 {
			t.Errorf("%v after the first picture it is %v behind and plays with %v", since, s.delay(), s.Rate)
		}
	}
	t.Errorf("it is never at the edge; it played with %v", rates)
}

// checkSaid checks each number that a tile says when it is new: it is drawn once a second.
func checkSaid(t *testing.T, said []saying, slow time.Duration) {
	t.Helper()
	for i, s := range said {
		if i > 0 && s.Behind == said[i-1].Behind {
			continue
		}
		var behind float64
		if _, err := fmt.Sscanf(s.Behind, "%f s", &behind); err != nil {
			t.Errorf("the page says %q", s.Behind)
			continue
		}
		if off := s.delay() - time.Duration(behind*float64(time.Second)); off.Abs() > slow {
			t.Errorf("the page says %q, it is %v", s.Behind, s.delay())
		}
	}
}
