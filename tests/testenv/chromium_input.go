package testenv

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/heapprofiler"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// Click clicks the element that a CSS selector names, as a person with a mouse does.
func (p *Page) Click(selector string) {
	p.t.Helper()
	p.do("click "+selector, chromedp.Click(chromedp.CSS(selector)))
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
