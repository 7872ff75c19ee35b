package compat

import (
	"context"
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/framelog/framelog/tests/testenv"
)

// report is what a page posts; times are milliseconds since the Unix epoch.
// Samples, freezes and the times in which the page stood still are those since the
// last report.
type report struct {
	Began, Now, FirstAt, LastAt int64
	Pictures, Unread            int
	Samples                     [][3]int64
	Freezes, Still              [][2]int64
	Errors                      []string
	CurrentTime                 float64
	Width                       int
	Behind                      *float64
	Buffered                    string
	Rate                        float64
	Sound, Dropped              int
}

// request is one request of a page to Framelog.
type request struct {
	at, took time.Duration // since the page's server began
	path     string
	status   int
	bytes    int
}

// page is one player in a browser. Each has an origin of its own, because browsers
// open few connections to one origin, and so that requests of each can be told
// apart.
type page struct {
	name string
	url  string

	mu       sync.Mutex
	latest   report
	samples  []seen
	freezes  [][2]int64
	still    [][2]int64
	requests []request
	playlist string // the latest media playlist
	loads    int    // of the page itself
	over     bool   // nothing more is recorded
}

// modules are the players' files in npm's packages.
func modules(t *testing.T) string {
	t.Helper()
	testenv.Tool(t, "npm", "npm")
	dir := filepath.Join(testenv.Root(t), "tests/compat/web")
	done := filepath.Join(dir, "node_modules/.done")
	err := testenv.Locked(t, filepath.Join(testenv.Cache(t), "compat-web.lock"), func() error {
		lock, err := os.Stat(filepath.Join(dir, "package-lock.json"))
		if err != nil {
			return err
		}
		if at, err := os.Stat(done); err == nil && at.ModTime().After(lock.ModTime()) {
			return nil
		}
		cmd := exec.CommandContext(t.Context(), "npm", "ci", "--no-audit", "--no-fund", "--loglevel=error")
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("npm ci: %w\n%s", err, out)
		}
		return os.WriteFile(done, nil, 0o644)
	})
	if err != nil {
		t.Fatalf("install players: %v", err)
	}
	return dir
}

// newPage serves a player of framelog's camera. name is as in player.js.
func newPage(t *testing.T, name, framelog, camera string) *page {
	t.Helper()
	dir := modules(t)
	p := &page{name: name}
	to, err := url.Parse(framelog)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Header.Del("Accept-Encoding") // so that the test can read playlists
		},
		FlushInterval: -1,
		ErrorHandler:  func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	began := time.Now()
	mux := http.NewServeMux()
	mux.Handle("/lib/", http.StripPrefix("/lib/", http.FileServer(http.Dir(filepath.Join(dir, "node_modules")))))
	files := http.FileServer(http.Dir(dir))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/player.html" {
			p.mu.Lock()
			p.loads++
			p.mu.Unlock()
		}
		files.ServeHTTP(w, r)
	})
	mux.HandleFunc("POST /report", p.take)
	mux.HandleFunc("/hls/", func(w http.ResponseWriter, r *http.Request) {
		l := &listener{ResponseWriter: w, keep: strings.HasSuffix(r.URL.Path, ".m3u8") && !strings.HasSuffix(r.URL.Path, "/index.m3u8")}
		at := time.Now()
		proxy.ServeHTTP(l, r)
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.over {
			return
		}
		p.requests = append(p.requests, request{at.Sub(began), time.Since(at), r.URL.RequestURI(), l.status, l.bytes})
		if l.keep && l.status == http.StatusOK {
			p.playlist = string(l.body)
		}
	})
	s := httptest.NewServer(mux)
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	p.url = s.URL + "/player.html?player=" + url.QueryEscape(name) + "&url=" + url.QueryEscape("/hls/"+camera+"/index.m3u8")
	return p
}

// listener records the answers.
type listener struct {
	http.ResponseWriter
	status, bytes int
	keep          bool
	body          []byte
}

func (l *listener) WriteHeader(s int) {
	l.status = s
	l.ResponseWriter.WriteHeader(s)
}

func (l *listener) Write(b []byte) (int, error) {
	if l.status == 0 {
		l.status = http.StatusOK
	}
	n, err := l.ResponseWriter.Write(b)
	l.bytes += n
	if l.keep {
		l.body = append(l.body, b...)
	}
	return n, err
}

// Unwrap lets the proxy flush.
func (l *listener) Unwrap() http.ResponseWriter { return l.ResponseWriter }

func (p *page) take(w http.ResponseWriter, r *http.Request) {
	var x report
	if err := json.NewDecoder(r.Body).Decode(&x); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return
	}
	for _, s := range x.Samples {
		p.samples = append(p.samples, seen{At: time.UnixMilli(s[0]), Frame: int(s[2]), Shown: time.Duration(s[1]) * time.Millisecond})
	}
	p.freezes = append(p.freezes, x.Freezes...)
	p.still = append(p.still, x.Still...)
	p.latest = x
}

// end makes what the page has recorded final. Its player may go on.
func (p *page) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
}

func (p *page) seen() []seen {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]seen(nil), p.samples...)
}

func (p *page) report() report {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.latest
}

// tell describes a page's requests and their answers, for a test that has failed.
func (p *page) tell() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "%+v\n", p.latest.Errors)
	for _, f := range p.freezes {
		fmt.Fprintf(&b, "no new picture from %s to %s\n", time.UnixMilli(f[0]).Format("15:04:05.000"), time.UnixMilli(f[1]).Format("15:04:05.000"))
	}
	for _, r := range p.requests {
		if r.status != http.StatusOK || r.took > time.Second {
			fmt.Fprintf(&b, "%6.2f s: %d after %.2f s, %d bytes: %s\n", r.at.Seconds(), r.status, r.took.Seconds(), r.bytes, r.path)
		}
	}
	return b.String() + p.playlist
}

// wall is a page that shows pages side by side.
func wall(t *testing.T, pages []*page) string {
	t.Helper()
	var b strings.Builder
	b.WriteString(`<!doctype html><meta charset="utf-8"><style>body { margin: 0 } iframe { border: 0; width: 600px; height: 340px }</style>`)
	for _, p := range pages {
		fmt.Fprintf(&b, `<iframe allow="autoplay" src="%s"></iframe>`, html.EscapeString(p.url))
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write([]byte(b.String()))
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// firefox starts a headless Firefox, with a profile of its own, that shows url.
func firefox(t *testing.T, url string) *testenv.Process {
	t.Helper()
	bin := testenv.Tool(t, "firefox-esr", "firefox-esr")
	dir, err := os.MkdirTemp("", "framelog-firefox-") //nolint:usetesting // its last processes write to it while they end
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for end := time.Now().Add(10 * time.Second); os.RemoveAll(dir) != nil && time.Now().Before(end); {
			time.Sleep(20 * time.Millisecond)
		}
	})
	prefs := ""
	for _, p := range []string{
		`"media.autoplay.default", 0`, `"media.autoplay.blocking_policy", 0`, `"datareporting.policy.dataSubmissionEnabled", false`,
		`"toolkit.telemetry.enabled", false`, `"app.update.enabled", false`, `"browser.shell.checkDefaultBrowser", false`,
		`"browser.startup.homepage_override.mstone", "ignore"`, `"network.captive-portal-service.enabled", false`,
		`"network.connectivity-service.enabled", false`, `"browser.safebrowsing.update.enabled", false`, `"extensions.update.enabled", false`,
		`"services.settings.server", "data:,"`, `"media.gmp-manager.updateEnabled", false`, `"browser.tabs.remote.autostart", true`,
		`"dom.min_background_timeout_value", 4`, `"privacy.reduceTimerPrecision", false`, `"browser.aboutwelcome.enabled", false`,
	} {
		prefs += "user_pref(" + p + ");\n"
	}
	if err := os.WriteFile(filepath.Join(dir, "user.js"), []byte(prefs), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(context.Background(), bin, "--headless", "--no-remote", "--profile", dir, "--window-size", "1280,800", url)
	cmd.Env = append(os.Environ(), "HOME="+dir, "MOZ_CRASHREPORTER_DISABLE=1")
	return testenv.Start(t, "firefox", cmd)
}
