package nginx_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/framelog/framelog/deploy/nginx"
	"github.com/framelog/framelog/egress"
	"github.com/framelog/framelog/tests/testenv"
)

// send sends a request with further headers, names and values. It returns the answer and its
// body, and follows no redirect.
func send(t *testing.T, req *http.Request, header []string) (*http.Response, string) {
	t.Helper()
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

// TestWhatIsPublished: what viewers need goes through, under the name that they
// asked for; nothing that changes anything does, nor does what is for operators.
func TestWhatIsPublished(t *testing.T) {
	var mu sync.Mutex
	var asked []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/authorize" {
			return // everybody may do everything
		}
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, r.Method+" "+r.Host+r.URL.Path)
		_, _ = io.WriteString(w, "framelog")
	}))
	t.Cleanup(srv.Close)
	base := testenv.Nginx(t, "", srv.URL)
	for _, c := range []struct {
		method, path string
		code         int // 200: Framelog was asked
	}{
		{"GET", "/", 200},
		{"GET", "/assets/app-1.js", 200},
		{"GET", "/hls/yard/index.m3u8", 200},
		{"OPTIONS", "/hls/yard/raw.m3u8", 200},
		{"GET", "/hls/yard/raw/m1/7.m4s", 200},
		{"GET", "/hls/yard/raw/m1/7.2.0.m4s", 200},
		{"GET", "/v1/cameras", 200},
		{"HEAD", "/v1/cameras/yard", 200},
		{"GET", "/v1/cameras/events", 200},
		{"GET", "/v1/events", 200},
		{"GET", "/v1/events/yard", 200},
		{"GET", "/snapshot/yard.jpg", 200},
		{"GET", "/clip/yard.mp4", 200},
		{"GET", "/clip/yard/720p.mp4", 200},
		{"GET", "/live", 200},
		{"POST", "/v1/session", 200},
		{"DELETE", "/v1/session", 200},
		{"GET", "/v1/session/oidc", 200},
		{"POST", "/v1/share/yard/raw", 200},
		{"GET", "/s/link/hls/yard/raw.m3u8", 200},
		{"GET", "/v1/authorize", 404},
		{"GET", "/framelog-authorize", 404},
		{"PUT", "/v1/cameras/yard", 403},
		{"DELETE", "/v1/cameras/yard", 403},
		{"POST", "/v1/cameras", 403},
		{"PUT", "/v1/../v1/cameras/yard", 403},
		{"GET", "/metrics", 404},
		{"GET", "/hls/../metrics", 404},
		{"GET", "/%6detrics", 404},
		{"GET", "/readyz", 404},
		{"GET", "/healthz", 404},
		{"GET", "/debug/pprof/", 404},
	} {
		mu.Lock()
		asked = nil
		mu.Unlock()
		req, err := http.NewRequestWithContext(t.Context(), c.method, base+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = "cams.example"
		resp, body := send(t, req, nil)
		mu.Lock()
		got := strings.Join(asked, ", ")
		mu.Unlock()
		want := ""
		if c.code == http.StatusOK {
			want = c.method + " cams.example" + c.path
		}
		if resp.StatusCode != c.code || got != want {
			t.Errorf("%s %s: %d, Framelog was asked for %q, want %d and %q", c.method, c.path, resp.StatusCode, got, c.code, want)
		}
		if c.code == http.StatusForbidden && !strings.Contains(body, `"remedy"`) {
			t.Errorf("%s %s: %s", c.method, c.path, body)
		}
	}
}

// TestOtherSites: pages of the sites that are named read what is kept, as a file, in
// the cache and from Framelog; those of others read nothing; and no answer that is
// kept for one is given to another.
func TestOtherSites(t *testing.T) {
	const portal, other, evil = "https://portal.example", "http://localhost:3000", "https://evil.example"
	var mu sync.Mutex
	var asked []string
	g := egress.Guard{Loopback: true, Hosts: []string{"cams.example"}, Origins: []string{portal, other}}
	srv := httptest.NewServer(g.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked = append(asked, r.URL.Path)
		mu.Unlock()
		if strings.HasSuffix(r.URL.Path, ".m3u8") {
			w.Header().Set("Cache-Control", "no-store")
		} else {
			w.Header().Set("Cache-Control", "public, immutable, max-age=3600")
		}
		if strings.Contains(r.URL.Path, "/404") {
			w.Header().Set("Cache-Control", "no-store")
			w.WriteHeader(http.StatusNotFound)
		}
		_, _ = io.WriteString(w, "framelog")
	})))
	t.Cleanup(srv.Close)
	files := t.TempDir()
	const file, kept, missing, playlist = "/hls/yard/raw/m1/7.m4s", "/hls/yard/raw/m1/8.m4s", "/hls/yard/raw/m1/404.m4s", "/hls/yard/raw.m3u8"
	if err := os.MkdirAll(filepath.Join(files, filepath.Dir(file)), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(files, file), []byte("framelog"), 0o600); err != nil {
		t.Fatal(err)
	}
	base := testenv.NginxWith(t, nginx.Settings{Files: files, Origins: []string{portal, other}}, srv.URL)
	ask := func(method, path string, header ...string) (*http.Response, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, base+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = "cams.example"
		return send(t, req, header)
	}
	for _, c := range []struct {
		name   string
		header []string
		code   int
		allow  string
	}{
		{"a listed site", []string{"Origin", portal, "Sec-Fetch-Site", "cross-site"}, 200, portal},
		{"another listed site, after the first", []string{"Origin", other, "Sec-Fetch-Site", "same-site"}, 200, other},
		{"no browser", nil, 200, ""},
		{"own page", []string{"Sec-Fetch-Site", "same-origin"}, 200, ""},
		{"own page in an older browser", []string{"Origin", "https://cams.example"}, 200, ""},
		{"typed address", []string{"Sec-Fetch-Site", "none"}, 200, ""},
		{"a listed site in an older browser", []string{"Origin", portal}, 200, portal},
		{"another site", []string{"Origin", evil, "Sec-Fetch-Site", "cross-site"}, 403, ""},
		{"another site in an older browser", []string{"Origin", evil}, 403, ""},
		{"another port", []string{"Origin", "http://cams.example:3000", "Sec-Fetch-Site", "same-site"}, 403, ""},
		{"begins as our own", []string{"Origin", "https://cams.example.evil.example"}, 403, ""},
		{"ends as our own", []string{"Origin", "https://evil.example cams.example"}, 403, ""},
		{"no origin", []string{"Origin", "null", "Sec-Fetch-Site", "cross-site"}, 403, ""},
		{"video of another site", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "video"}, 403, ""},
		{"link of another site", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}, 403, ""},
	} {
		for _, path := range []string{file, kept, playlist, missing} {
			resp, body := ask("GET", path, c.header...)
			code, want := c.code, "framelog"
			if code == 200 && path == missing {
				code = 404
			}
			if code == 403 {
				want = `"remedy"`
			}
			head := resp.Header
			if resp.StatusCode != code || !strings.Contains(body, want) {
				t.Errorf("%s, %s: %d %s, want %d", c.name, path, resp.StatusCode, body, code)
			}
			if got := strings.Join(head.Values("Access-Control-Allow-Origin"), ","); got != c.allow {
				t.Errorf("%s, %s: allows %q, want %q", c.name, path, got, c.allow)
			}
			if v, p := head.Values("Vary"), head.Values("Cross-Origin-Resource-Policy"); len(v) != 1 || v[0] != "Origin" || len(p) != 1 || p[0] != "same-origin" {
				t.Errorf("%s, %s: headers %v", c.name, path, head)
			}
			if code != 200 && head.Get("Cache-Control") != "no-store" {
				t.Errorf("%s, %s: Cache-Control %q", c.name, path, head.Get("Cache-Control"))
			}
		}
	}
	mu.Lock()
	n := strings.Count(strings.Join(asked, " ")+" ", kept+" ")
	if n != 1 || slices.Contains(asked, file) {
		t.Errorf("Framelog was asked %d times for one segment; all: %v", n, asked)
	}
	mu.Unlock()

	for _, path := range []string{file, kept, playlist} {
		for origin, code := range map[string]int{portal: 204, evil: 403} {
			resp, _ := ask("OPTIONS", path, "Origin", origin, "Access-Control-Request-Method", "GET", "Access-Control-Request-Headers", "range")
			head := resp.Header
			if allow := strings.Join(head.Values("Access-Control-Allow-Origin"), ","); resp.StatusCode != code || (allow == portal) != (code == 204) ||
				(head.Get("Access-Control-Allow-Headers") == "Range, Authorization") != (code == 204) || len(head.Values("Vary")) != 1 {
				t.Errorf("preflight of %s for %s: %d %v", path, origin, resp.StatusCode, head)
			}
		}
	}

	// The page can be linked to.
	if resp, _ := ask("GET", "/", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"); resp.StatusCode != 200 {
		t.Errorf("link to the page: %d", resp.StatusCode)
	}
}
