package egress

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/framelog/framelog/egress/access"
)

// sent is the headers of a request: "Name: value" each.
type sent []string

func (s sent) request(method, url string) *http.Request {
	r := httptest.NewRequest(method, url, strings.NewReader(`{}`))
	for _, h := range s {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	return r
}

func TestGuard(t *testing.T) {
	loopback := Guard{Loopback: true, Hosts: []string{"cams.example", "fd00::1"}}
	portal := Guard{Loopback: true, Hosts: []string{"cams.example"}, Origins: []string{"https://portal.example", "http://localhost:3000"}}
	link := sent{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"}
	const (
		segment = "http://localhost:8080/hls/yard/raw/m1/7.m4s"
		camera  = "http://localhost:8080/v1/cameras/yard"
		evil    = "Origin: https://evil.example"
		listed  = "Origin: https://portal.example"
	)
	for _, c := range []struct {
		name   string
		guard  Guard
		method string
		url    string
		sent   sent
		code   int    // 0: let through
		allow  string // Access-Control-Allow-Origin
	}{
		{"curl", loopback, "PUT", "http://127.0.0.1:8080/v1/cameras/yard", nil, 0, ""},
		{"own page", loopback, "PUT", camera, sent{"Origin: http://localhost:8080", "Sec-Fetch-Site: same-origin"}, 0, ""},
		{"own page, older browser", loopback, "PUT", camera, sent{"Origin: http://localhost:8080"}, 0, ""},
		{"page of another site", loopback, "PUT", camera, sent{evil, "Sec-Fetch-Site: cross-site"}, 403, ""},
		{"page of another site, older browser", loopback, "DELETE", camera, sent{evil}, 403, ""},
		{"page of another port", loopback, "DELETE", camera, sent{"Sec-Fetch-Site: same-site", "Origin: http://localhost:3000"}, 403, ""},
		{"listed site writes", portal, "PUT", camera, sent{listed, "Sec-Fetch-Site: cross-site"}, 403, ""},
		{"listed site writes, older browser", portal, "DELETE", camera, sent{listed}, 403, ""},

		{"rebound name", loopback, "GET", "http://evil.example:8080/v1/cameras", nil, 421, ""},
		{"rebound name writes", loopback, "PUT", "http://evil.example:8080/v1/cameras/yard", sent{"Sec-Fetch-Site: same-origin"}, 421, ""},
		{"rebound name, of a listed site", portal, "GET", "http://evil.example:8080/v1/cameras", sent{listed}, 421, ""},
		{"name like an address", loopback, "GET", "http://127.0.0.1.evil.example/", nil, 421, ""},
		{"ipv6", loopback, "GET", "http://[::1]:8080/", nil, 0, ""},
		{"ipv6 without port", loopback, "GET", "http://[::1]/", nil, 0, ""},
		{"rest of 127/8", loopback, "GET", "http://127.8.9.10/", nil, 0, ""},
		{"localhost in capitals", loopback, "GET", "http://LocalHost./", nil, 0, ""},
		{"no host", loopback, "GET", "/", sent{"Host: "}, 421, ""},
		{"the proxy's name", loopback, "GET", "http://cams.example:443/", nil, 0, ""},
		{"the proxy's address", loopback, "GET", "http://[FD00::1]/", nil, 0, ""},
		{"not on the loopback", Guard{}, "GET", "http://cams.example/", nil, 0, ""},
		{"not on the loopback, other site writes", Guard{}, "PUT", "http://cams.example/v1/cameras/yard", sent{evil}, 403, ""},

		{"player that is no browser", loopback, "GET", segment, nil, 0, ""},
		{"own page reads", loopback, "GET", segment, sent{"Sec-Fetch-Site: same-origin"}, 0, ""},
		{"own page reads through a proxy with TLS", loopback, "GET", "http://cams.example/hls/yard/raw.m3u8", sent{"Origin: https://cams.example"}, 0, ""},
		{"address typed by a person", loopback, "GET", segment, sent{"Sec-Fetch-Site: none", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"}, 0, ""},
		{"fetch of another site", loopback, "GET", segment, sent{evil, "Sec-Fetch-Site: cross-site"}, 403, ""},
		{"fetch of another site, older browser", loopback, "GET", segment, sent{evil}, 403, ""},
		{"fetch of another site, HEAD", loopback, "HEAD", segment, sent{evil}, 403, ""},
		{"fetch of another site, not on the loopback", Guard{}, "GET", "http://cams.example/hls/yard/raw.m3u8", sent{evil}, 403, ""},
		{"fetch of another port", loopback, "GET", segment, sent{"Origin: http://localhost:3000", "Sec-Fetch-Site: same-site"}, 403, ""},
		{"fetch of a file or a sandbox", portal, "GET", segment, sent{"Origin: null", "Sec-Fetch-Site: cross-site"}, 403, ""},
		{"list of another site", loopback, "GET", "http://localhost:8080/v1/cameras", sent{evil, "Sec-Fetch-Site: cross-site"}, 403, ""},
		{"stream of another site", loopback, "GET", "http://localhost:8080/v1/cameras/events", sent{evil, "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: cors"}, 403, ""},
		{"video of another site", loopback, "GET", segment, sent{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: video"}, 403, ""},
		{"image of another port", loopback, "GET", segment, sent{"Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image"}, 403, ""},
		{"script of another site", loopback, "GET", "http://localhost:8080/assets/app.js", sent{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: script"}, 403, ""},
		{"frame of another site", loopback, "GET", "http://localhost:8080/", sent{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe"}, 403, ""},
		{"link to the page", loopback, "GET", "http://localhost:8080/", link, 0, ""},
		{"link to the list", loopback, "GET", "http://localhost:8080/v1/cameras", link, 403, ""},
		{"link to a playlist", loopback, "GET", "http://localhost:8080/hls/yard/index.m3u8", link, 403, ""},
		{"form sent to the page", loopback, "POST", "http://localhost:8080/", link, 403, ""},

		{"listed site reads", portal, "GET", segment, sent{listed, "Sec-Fetch-Site: cross-site"}, 0, "https://portal.example"},
		{"listed site reads, older browser", portal, "GET", segment, sent{listed}, 0, "https://portal.example"},
		{"listed port reads", portal, "GET", segment, sent{"Origin: http://localhost:3000", "Sec-Fetch-Site: same-site"}, 0, "http://localhost:3000"},
		{"other port than the listed one", portal, "GET", segment, sent{"Origin: http://localhost:3001", "Sec-Fetch-Site: same-site"}, 403, ""},
		{"begins as the listed one", portal, "GET", segment, sent{"Origin: https://portal.example.evil.example"}, 403, ""},
		{"without TLS", portal, "GET", segment, sent{"Origin: http://portal.example"}, 403, ""},
		{"preflight", portal, "OPTIONS", segment, sent{listed, "Access-Control-Request-Method: GET", "Access-Control-Request-Headers: range"}, 204, "https://portal.example"},
		{"preflight of another site", portal, "OPTIONS", segment, sent{evil, "Access-Control-Request-Method: GET"}, 403, ""},
		{"preflight, none listed", loopback, "OPTIONS", segment, sent{listed, "Access-Control-Request-Method: GET"}, 403, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			passed := false
			h := c.guard.Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				passed = true
				w.Header().Add("Vary", "Accept-Encoding")
			}))
			r := c.sent.request(c.method, c.url)
			if c.name == "no host" {
				r.Host = ""
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if passed != (c.code == 0) || c.code != 0 && w.Code != c.code {
				t.Errorf("%d %s", w.Code, w.Body)
			}
			head := w.Header()
			if c.code >= 400 && (!strings.Contains(w.Body.String(), `"remedy"`) || head.Get("Cache-Control") != "no-store") {
				t.Errorf("refused with %v %s", head, w.Body)
			}
			if got := head.Values("Access-Control-Allow-Origin"); strings.Join(got, ",") != c.allow {
				t.Errorf("allows %q, want %q", got, c.allow)
			}
			if !strings.HasPrefix(strings.Join(head.Values("Vary"), ","), "Origin") || head.Get("Cross-Origin-Resource-Policy") != "same-origin" {
				t.Errorf("headers %v", head)
			}
			if preflight := c.code == 204; preflight != (head.Get("Access-Control-Allow-Headers") == "Range, Authorization") || preflight != (head.Get("Access-Control-Allow-Methods") == "GET, HEAD") {
				t.Errorf("preflight: %v", head)
			}
		})
	}
}

// TestMetrics: metrics are for those who may operate the server, and for no other
// site's page.
func TestMetrics(t *testing.T) {
	for _, c := range []struct {
		name  string
		allow bool
		sent  sent
		code  int
	}{
		{"operator", true, nil, 200},
		{"anybody else", false, nil, 403},
		{"page of another site", true, sent{"Origin: https://evil.example"}, 403},
		{"page of a listed site", true, sent{"Origin: https://portal.example"}, 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := Guard{Origins: []string{"https://portal.example"}, Policy: access.Policy{Authorize: func(_ *http.Request, camera, rendition string, a access.Action) bool {
				if camera+rendition != "" || a != access.Operate {
					t.Errorf("asked for %q %q %s", camera, rendition, a)
				}
				return c.allow
			}}}
			w := httptest.NewRecorder()
			g.Metrics(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})).ServeHTTP(w, c.sent.request("GET", "http://localhost/metrics"))
			if w.Code != c.code {
				t.Errorf("%d, want %d", w.Code, c.code)
			}
		})
	}
}
