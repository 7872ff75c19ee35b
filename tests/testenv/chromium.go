package testenv

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// Browser is a headless Chromium with a profile of its own.
type Browser struct{ ctx context.Context } // chromedp keeps its state there

// Page is one tab.
type Page struct {
	t   testing.TB
	ctx context.Context // chromedp keeps its state there

	mu       sync.Mutex
	console  []string
	problems []string
}

// Chromium starts a headless browser that plays video without a gesture and calls
// no server of its makers. The test is skipped if Chromium is not a package (Ubuntu
// has only a snap, which cannot run here).
func Chromium(t testing.TB) *Browser {
	t.Helper()
	SkipShort(t, "Chromium")
	opts := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(chromiumPath(t)),
		chromedp.UserDataDir(chromiumProfile(t)),
		chromedp.WindowSize(1280, 800),
		chromedp.WSURLReadTimeout(2 * Patience),
	}
	for _, f := range []string{
		"no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "no-default-browser-check",
		"disable-background-networking", "disable-component-update", "disable-sync", "disable-default-apps",
		"disable-extensions", "disable-dev-shm-usage", "mute-audio",
		// A tab in the background must go on like one in front.
		"disable-background-timer-throttling", "disable-backgrounding-occluded-windows", "disable-renderer-backgrounding",
	} {
		opts = append(opts, chromedp.Flag(f, true))
	}
	opts = append(opts, chromedp.Flag("headless", "new"), chromedp.Flag("autoplay-policy", "no-user-gesture-required"))
	alloc, cancelAlloc := chromedp.NewExecAllocator(context.Background(), opts...)
	ctx, cancel := chromedp.NewContext(alloc)
	t.Cleanup(func() {
		done, stop := context.WithTimeout(ctx, 10*time.Second)
		defer stop()
		_ = chromedp.Cancel(done) // asks it to close; cancelAlloc kills what is left
		cancel()
		cancelAlloc()
	})
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("testenv: start Chromium: %v", err)
	}
	return &Browser{ctx: ctx}
}

func chromiumPath(t testing.TB) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		target, err := filepath.EvalSymlinks(path)
		if err == nil && !strings.Contains(target, "snap") && !wrapsSnap(target) {
			return path
		}
	}
	if b, _ := os.ReadFile("/etc/os-release"); strings.Contains(string(b), "\nID=debian\n") {
		Missing(t, "chromium is not installed (Debian package chromium)")
	}
	t.Skip("testenv: Chromium is not a package here (on Ubuntu it is a snap); browser tests need Debian's")
	return ""
}

// wrapsSnap reports whether path is Ubuntu's transitional package: a short script.
func wrapsSnap(path string) bool {
	b, err := os.ReadFile(path)
	return err == nil && len(b) < 1<<16 && strings.Contains(string(b), "/snap/bin")
}

// chromiumProfile is a fresh folder. The browser's last processes write to it
// while they end, so removing it may take more than one try.
func chromiumProfile(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "framelog-chromium-") //nolint:usetesting // t.TempDir fails the test if one try is not enough
	if err != nil {
		t.Fatalf("testenv: make profile: %v", err)
	}
	t.Cleanup(func() {
		// The test's context is done by now, so Poll would not wait.
		for end := time.Now().Add(Patience); os.RemoveAll(dir) != nil && time.Now().Before(end); {
			time.Sleep(20 * time.Millisecond)
		}
	})
	return dir
}

// Open opens a tab at url and waits for the page's load event.
func (b *Browser) Open(t testing.TB, url string) *Page {
	t.Helper()
	ctx, cancel := chromedp.NewContext(b.ctx)
	p := &Page{t: t, ctx: ctx}
	// The tab lives as long as the context of its first step: no time-out here.
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("testenv: open tab: %v", err)
	}
	messages := chromedp.Console(ctx)
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		for m, err := range messages {
			if err != nil {
				return
			}
			p.take(m)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-drained
	})
	p.do("open "+url, chromedp.Navigate(url))
	return p
}

func (p *Page) take(m chromedp.ConsoleMessage) {
	p.mu.Lock()
	defer p.mu.Unlock()
	line := strings.TrimSpace(fmt.Sprintf("%s %s: %s %s", m.Source, m.Type, m.Text, m.URL))
	p.console = append(p.console, line)
	if m.Type == chromedp.ConsoleError || m.IsException() {
		p.problems = append(p.problems, line)
	}
}

// Eval runs a JavaScript expression, awaits it if it is a promise, and writes its
// value to result (a pointer as for json.Unmarshal, or nil).
func (p *Page) Eval(expression string, result any) {
	p.t.Helper()
	if err := p.eval(expression, result); err != nil {
		p.t.Fatalf("testenv: page: evaluate %s: %v\nconsole:\n%s", expression, err, strings.Join(p.Console(), "\n"))
	}
}

func (p *Page) eval(expression string, result any) error {
	ctx, cancel := context.WithTimeout(p.ctx, 2*Patience)
	defer cancel()
	b, err := chromedp.Run(ctx, chromedp.Evaluate[[]byte](expression, chromedp.EvalAwaitPromise))
	if err == nil && result != nil {
		err = json.Unmarshal(b, result)
	}
	return err
}

// Wait polls a JavaScript condition. The page may be loaded anew meanwhile.
func (p *Page) Wait(timeout time.Duration, condition string) {
	p.t.Helper()
	if !Poll(p.t, timeout, func() bool {
		var ok bool
		err := p.eval("!!("+condition+")", &ok)
		if err != nil && !strings.Contains(err.Error(), "navigated") {
			p.t.Fatalf("testenv: page: evaluate %s: %v\nconsole:\n%s", condition, err, strings.Join(p.Console(), "\n"))
		}
		return ok && err == nil
	}) {
		p.t.Fatalf("testenv: page: waited %v for %s\nconsole:\n%s", timeout, condition, strings.Join(p.Console(), "\n"))
	}
}

// Screenshot returns what the page shows, as PNG.
func (p *Page) Screenshot() []byte {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, 2*Patience)
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err != nil {
		p.t.Fatalf("testenv: page: take a screenshot: %v", err)
	}
	return png
}

// Console returns all that the page has written to its console.
func (p *Page) Console() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.console...)
}

// Problems returns the errors among them, uncaught exceptions and failed requests
// too.
func (p *Page) Problems() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.problems...)
}

func (p *Page) do(what string, steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, 2*Patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		p.t.Fatalf("testenv: page: %s: %v\nconsole:\n%s", what, err, strings.Join(p.Console(), "\n"))
	}
}
