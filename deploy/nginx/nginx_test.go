package nginx_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/framelog/framelog/tests/testenv"
)

// TestWhatIsPublished: what viewers need goes through, under the name that they
// asked for; nothing that changes anything does, nor does what is for operators.
func TestWhatIsPublished(t *testing.T) {
	var mu sync.Mutex
	var asked []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
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
		{"GET", "/v1/events", 200},
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
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		mu.Lock()
		got := strings.Join(asked, ", ")
		mu.Unlock()
		want := ""
		if c.code == http.StatusOK {
			want = c.method + " cams.example" + c.path
		}
		if err != nil || resp.StatusCode != c.code || got != want {
			t.Errorf("%s %s: %d %v, Framelog was asked for %q, want %d and %q", c.method, c.path, resp.StatusCode, err, got, c.code, want)
		}
		if c.code == http.StatusForbidden && !strings.Contains(string(body), `"remedy"`) {
			t.Errorf("%s %s: %s", c.method, c.path, body)
		}
	}
}
