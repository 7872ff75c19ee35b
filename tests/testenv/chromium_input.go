package testenv

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/heapprofiler"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// Click clicks the element that a CSS selector names, as a person with a mouse does.
func (p *Page) Click(selector string) {
	p.t.Helper()
	p.do("click "+selector, chromedp.Click(chromedp.CSS(selector)))
}

// The screen of [Browser.OpenPhone], in CSS pixels.
const (
	PhoneWidth  = 390
	PhoneHeight = 844
)

// managedOnly leaves a page the media source of iPhones alone: it is a ManagedMediaSource, and
// opens only in an element whose remote playback is disabled. As Safari does, it says that it
// wants no more footage while much is in the buffer, and again when there is little. Safari's
// limits are 30 s and 10 s: these are lower, so that they are reached soon. It takes what is
// appended meanwhile, as Safari does. window.managed has all of them, with how often each has
// said so, and the most seconds that were appended while it wanted none. With held it wants none
// until then.
const managedOnly = `{
  const much = 6, little = 3; // s
  const Plain = MediaSource, urls = new Map(), makeURL = URL.createObjectURL;
  delete window.MediaSource;
  URL.createObjectURL = (of) => {
    const url = makeURL.call(URL, of);
    urls.set(of, url);
    return url;
  };
  window.managed = [];
  document.addEventListener('seeking', ({ target }) => {
    for (const m of window.managed) {
      if (m.video !== target) continue;
      m.from = Infinity;
      m.look(); // at the next look the seek may be over, and the buffer full
    }
  }, true);
  window.ManagedMediaSource = class ManagedMediaSource extends Plain {
    streaming = true;
    ends = 0;
    starts = 0;
    late = 0;
    from = Infinity; // the end of the buffer when it wanted no more; not known behind a seek
    held = 0; // by performance.now()

    constructor() {
      super();
      window.managed.push(this);
      setInterval(() => this.look(), 50);
    }

    get video() {
      return this.readyState === 'open' ? [...document.querySelectorAll('video')].find((v) => v.currentSrc === urls.get(this)) : undefined;
    }

    look() {
      const { video } = this;
      if (!video) return;
      const { buffered, currentTime: at, seeking } = video, held = performance.now() < this.held;
      let end = at;
      for (let i = 0; i < buffered.length; i++) if (buffered.start(i) <= at + 0.1) end = Math.max(end, buffered.end(i));
      if (!this.streaming && !seeking) this.late = Math.max(this.late, end - this.from);
      if (this.streaming && !seeking && buffered.length && (held || end - at > much)) {
        this.streaming = false;
        this.ends++;
        this.from = end;
        this.dispatchEvent(new Event('endstreaming'));
      } else if (!this.streaming && !held && end - at < little) {
        this.streaming = true;
        this.starts++;
        this.dispatchEvent(new Event('startstreaming'));
      }
    }
  };
  const src = Object.getOwnPropertyDescriptor(HTMLMediaElement.prototype, 'src');
  Object.defineProperty(HTMLMediaElement.prototype, 'src', {...src, set(url) {
    src.set.call(this, this.disableRemotePlayback ? url : 'data:,remote playback is not disabled');
  }});
}`

// OpenWith is Open, and runs a script in the page before the page's own.
func (b *Browser) OpenWith(t testing.TB, script, url string) *Page {
	t.Helper()
	p := b.Open(t, "about:blank")
	p.runFirst(script)
	p.do("open "+url, chromedp.Navigate(url))
	return p
}

// runFirst runs a script in each page that the tab opens from now on, before the page's own.
func (p *Page) runFirst(script string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, 2*Patience)
	defer cancel()
	if _, err := chromedp.Call(ctx, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: script}); err != nil {
		p.t.Fatalf("testenv: page: run a script before all others: %v", err)
	}
}

// OpenPhone is Open on a phone: its screen is small, and is touched. It has a ManagedMediaSource
// and no MediaSource, as iPhones.
func (b *Browser) OpenPhone(t testing.TB, url string) *Page {
	t.Helper()
	p := b.Open(t, "about:blank")
	p.runFirst(managedOnly)
	p.do("be a phone", chromedp.EmulateViewport(PhoneWidth, PhoneHeight, chromedp.EmulateMobile, chromedp.EmulateScale(2),
		func(_ *emulation.SetDeviceMetricsOverrideParams, touch *emulation.SetTouchEmulationEnabledParams) {
			touch.Enabled, touch.MaxTouchPoints = true, 5
		}), chromedp.Navigate(url))
	return p
}

// Point is a place on the screen in CSS pixels.
type Point struct{ X, Y float64 }

// Touch puts fingers on the screen, moves each along its path, and lifts them all. All paths have
// as many points.
func (p *Page) Touch(paths ...[]Point) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, 2*Patience)
	defer cancel()
	send := func(kind input.DispatchTouchEventType, points []*input.TouchPoint) {
		if _, err := chromedp.Call(ctx, input.DispatchTouchEvent, input.DispatchTouchEventParams{Type: kind, TouchPoints: points}); err != nil {
			p.t.Fatalf("testenv: page: touch: %v", err)
		}
	}
	kind := input.DispatchTouchEventTypeTouchStart
	for i := range paths[0] {
		points := []*input.TouchPoint{}
		for finger, path := range paths {
			id := float64(finger)
			points = append(points, &input.TouchPoint{X: path[i].X, Y: path[i].Y, ID: &id})
		}
		send(kind, points)
		kind = input.DispatchTouchEventTypeTouchMove
	}
	send(input.DispatchTouchEventTypeTouchEnd, []*input.TouchPoint{})
}

// Hover moves the mouse to a place.
func (p *Page) Hover(at Point) {
	p.t.Helper()
	p.mouse(input.DispatchMouseEventParams{Type: input.DispatchMouseEventTypeMouseMoved, X: at.X, Y: at.Y})
}

// Wheel turns the mouse's wheel at a place, down by so many pixels.
func (p *Page) Wheel(at Point, down float64) {
	p.t.Helper()
	const across = 1e-9 // Chromium wants both, and what is 0 is not sent
	p.mouse(input.DispatchMouseEventParams{Type: input.DispatchMouseEventTypeMouseWheel, X: at.X, Y: at.Y, DeltaX: across, DeltaY: down})
}

func (p *Page) mouse(e input.DispatchMouseEventParams) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, 2*Patience)
	defer cancel()
	if _, err := chromedp.Call(ctx, input.DispatchMouseEvent, e); err != nil {
		p.t.Fatalf("testenv: page: %s: %v", e.Type, err)
	}
}

// Box returns where the element is that a CSS selector names: its upper left and lower right.
func (p *Page) Box(selector string) (from, to Point) {
	p.t.Helper()
	var box [2]Point
	p.Eval(fmt.Sprintf("(({left, top, right, bottom}) => [{x: left, y: top}, {x: right, y: bottom}])(document.querySelector(%q).getBoundingClientRect())", selector), &box)
	return box[0], box[1]
}

// Tap touches the middle of the element that a CSS selector names.
func (p *Page) Tap(selector string) {
	p.t.Helper()
	from, to := p.Box(selector)
	p.Touch([]Point{{(from.X + to.X) / 2, (from.Y + to.Y) / 2}})
}

// Press presses keys, as a person does.
func (p *Page) Press(keys string) {
	p.t.Helper()
	p.do("press "+keys, chromedp.KeyEvent(keys))
}

// Download returns the one file that the page saves while f runs, and its name.
func (p *Page) Download(t testing.TB, f func()) (name string, content []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, 2*Patience)
	defer cancel()
	dir, events := t.TempDir(), true
	begun, progress := chromedp.Events(ctx, browser.DownloadWillBegin), chromedp.Events(ctx, browser.DownloadProgress)
	if _, err := chromedp.Call(ctx, browser.SetDownloadBehavior, browser.SetDownloadBehaviorParams{
		Behavior: browser.SetDownloadBehaviorBehaviorAllowAndName, DownloadPath: dir, EventsEnabled: &events,
	}); err != nil {
		t.Fatalf("testenv: page: allow downloads: %v", err)
	}
	f()
	for e, err := range begun {
		if err != nil {
			t.Fatalf("testenv: page: wait for a download: %v", err)
		}
		name = e.SuggestedFilename
		break
	}
	for e, err := range progress {
		if err != nil {
			t.Fatalf("testenv: page: wait for the end of a download: %v", err)
		}
		if e.State != browser.DownloadProgressStateCompleted {
			continue
		}
		if content, err = os.ReadFile(filepath.Join(dir, e.GUID)); err != nil {
			t.Fatalf("testenv: page: read a download: %v", err)
		}
		break
	}
	return name, content
}

// Played is what a <video> tells of a file that it has played.
type Played struct {
	Long     time.Duration
	First    time.Duration // when the first picture that it showed is shown
	Pictures int           // decoded
}

// PlayFile plays the file at a URL in a <video>, from its begin to its end.
func (p *Page) PlayFile(url string) Played {
	p.t.Helper()
	var played struct {
		Long, First float64
		Pictures    int
	}
	p.Eval(fmt.Sprintf(`new Promise((resolve, reject) => {
		const video = document.createElement('video');
		let first;
		video.muted = true;
		video.requestVideoFrameCallback((_, { mediaTime }) => { first = mediaTime; video.play(); });
		video.onended = () => resolve({ long: video.duration, first, pictures: video.getVideoPlaybackQuality().totalVideoFrames });
		video.onerror = () => reject(new Error(video.error.message));
		video.preload = 'auto';
		video.src = %q;
		document.body.append(video);
	})`, url), &played)
	d := func(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }
	return Played{d(played.Long), d(played.First), played.Pictures}
}

// FilePictures returns hashes of pictures of the file at a URL, as a <video> that stands at these
// times shows them: the SHA-256 of what its decoder gave, in planes of Y, U and V. Each time is one
// of another picture.
func (p *Page) FilePictures(url string, at ...time.Duration) (hashes []Hash) {
	p.t.Helper()
	seconds := make([]float64, len(at))
	for i, d := range at {
		seconds[i] = d.Seconds()
	}
	times, err := json.Marshal(seconds)
	if err != nil {
		p.t.Fatalf("testenv: page: %v", err)
	}
	p.Eval(fmt.Sprintf(`(async () => {
		const video = document.createElement('video'), hashes = [];
		const told = (what) => new Promise((resolve, reject) => {
			video.addEventListener(what, resolve, { once: true });
			video.onerror = () => reject(new Error(video.error.message));
		});
		video.muted = true;
		video.preload = 'auto';
		video.src = %q;
		document.body.append(video);
		await told('loadeddata');
		let before;
		for (const at of %s) {
			const there = told('seeked');
			video.currentTime = at;
			await there;
			let picture = new VideoFrame(video);
			while (picture.timestamp === before) { // the new one may come a moment after 'seeked'
				picture.close();
				await new Promise((resolve) => requestAnimationFrame(resolve));
				picture = new VideoFrame(video);
			}
			before = picture.timestamp;
			if (picture.format !== 'I420') throw new Error('the pictures are ' + picture.format);
			const planes = new Uint8Array(picture.allocationSize());
			await picture.copyTo(planes);
			picture.close();
			const sum = new Uint8Array(await crypto.subtle.digest('SHA-256', planes));
			hashes.push({ sum: [...sum].map((b) => b.toString(16).padStart(2, '0')).join('') });
		}
		video.remove();
		return hashes;
	})()`, url, times), &hashes)
	return hashes
}

// Heap returns the bytes that JavaScript holds, buffers included, without garbage.
func (p *Page) Heap() int64 {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, 2*Patience)
	defer cancel()
	if _, err := chromedp.Call(ctx, heapprofiler.CollectGarbage, cdp.Empty{}); err != nil {
		p.t.Fatalf("testenv: page: collect garbage: %v", err)
	}
	usage, err := chromedp.Call(ctx, runtime.GetHeapUsage, cdp.Empty{})
	if err != nil {
		p.t.Fatalf("testenv: page: get heap usage: %v", err)
	}
	return int64(usage.UsedSize + usage.BackingStorageSize)
}
