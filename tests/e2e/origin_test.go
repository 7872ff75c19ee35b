package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/tests/system"
	"github.com/framelog/framelog/tests/testenv"
)

// tries is a page that tries what a page can: it resolves to what worked.
const tries = `(async (base, playlist, segment) => {
  const worked = [];
  const attempt = async (name, f) => { try { if (await f()) worked.push(name); } catch { /* refused */ } };
  const embed = (tag, url) => new Promise((done) => {
    const e = document.createElement(tag);
    e.onload = () => done(true);
    e.onerror = () => done(false);
    e.src = url;
    document.body.append(e);
  });
  const read = async (path, init) => { const r = await fetch(base + path, init); return r.ok && (await r.arrayBuffer()).byteLength > 0; };
  await attempt('page', () => read('/'));
  await attempt('list', () => read('/v1/cameras'));
  await attempt('metrics', () => read('/metrics'));
  await attempt('playlist', () => read(playlist));
  await attempt('segment', () => read(segment));
  await attempt('ranges', () => read(segment, { headers: { Range: 'bytes=0-3,8-11' } })); // a browser sends a preflight request first
  await attempt('stream', () => new Promise((done) => {
    const s = new EventSource(base + '/v1/cameras/events');
    s.addEventListener('cameras', () => { s.close(); done(true); });
    s.onerror = () => { s.close(); done(false); };
  }));
  await attempt('image', () => embed('img', base + icon));
  await attempt('script', () => embed('script', base + script));
  await attempt('change', async () => (await fetch(base + '/v1/cameras/spare', { method: 'DELETE' })).ok);
  return worked;
})`

// Pages of other sites read nothing of a running Framelog. Pages of a listed site
// read, and change nothing. Clients that are no browsers read. A link of any site
// opens the page. The test tries it in a browser and with the headers that browsers
// send.
func TestOtherSites(t *testing.T) {
	site := func() (url string) {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, `<!doctype html><title>Another site</title><body>`)
		}))
		t.Cleanup(s.Close)
		return s.URL
	}
	// Another port is another origin of the same site, another name another site.
	port := site()
	name := strings.Replace(site(), "127.0.0.1", "localhost", 1)
	portal := site()
	live, err := camsim.NewLive(t.Context(), camsim.LiveConfig{Width: 320, Height: 180, KeyInterval: 13})
	if err != nil {
		t.Fatal(err)
	}
	_, url := system.Camera(t, camsim.CameraConfig{Feed: live})
	f := testenv.Up(t, testenv.UpOptions{Config: system.Cameras(map[string]string{"cam": url}) + fmt.Sprintf("\negress: {origins: [%q]}", portal)})
	const media = "/hls/cam/raw.m3u8"
	segment := ""
	testenv.Wait(t, testenv.Patience, "a segment", func() bool {
		p := system.MediaPlaylist(t, system.Multivariant(f.URL, "cam"))
		if p == nil {
			return false
		}
		for _, s := range p.Segments {
			if !s.Gap {
				segment = "/hls/cam/" + s.URI
				return true
			}
		}
		return false
	})

	ask := func(path string, header ...string) (int, http.Header) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, f.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i+1 < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode, resp.Header
	}
	for _, path := range []string{media, "/hls/cam/index.m3u8", segment, "/v1/cameras", "/v1/cameras/cam", "/v1/cameras/events", "/metrics"} {
		listed := 200
		if path == "/metrics" {
			listed = 403
		}
		for origin, want := range map[string]int{"": 200, f.URL: 200, portal: listed, port: 403, name: 403, "https://evil.example": 403} {
			header := []string{"Origin", origin}
			if origin == "" {
				header = nil
			}
			code, h := ask(path, header...)
			allow := strings.Join(h.Values("Access-Control-Allow-Origin"), ",")
			if code != want || (origin == portal && want == 200) != (allow == portal) || origin != portal && allow != "" {
				t.Errorf("%s for %q: %d, allows %q", path, origin, code, allow)
			}
			if !slices.Contains(h.Values("Vary"), "Origin") {
				t.Errorf("%s for %q: Vary %q", path, origin, h.Values("Vary"))
			}
		}
	}

	// A camera that a page could remove.
	system.PutCamera(t, f.URL, "spare", `{"url":"rtsp://127.0.0.1:1/","disabled":true}`)

	b := testenv.Chromium(t)
	var assets []string
	b.Open(t, f.URL).Eval(`[...document.querySelectorAll('link[rel=icon], script[src]')].map((e) => new URL(e.href || e.src).pathname)`, &assets)
	asset := func(ext string) string {
		i := slices.IndexFunc(assets, func(s string) bool { return strings.HasSuffix(s, ext) })
		if i < 0 {
			t.Fatalf("the page has no %s: %v", ext, assets)
		}
		b, _ := json.Marshal(assets[i])
		return string(b)
	}
	try := "const icon = " + asset(".svg") + ", script = " + asset(".js") + "; "
	can := func(who string, p *testenv.Page, want string) {
		t.Helper()
		var worked []string
		p.Eval(fmt.Sprintf("(() => { %s return %s(%q, %q, %q) })()", try, tries, f.URL, media, segment), &worked)
		slices.Sort(worked)
		if got := strings.Join(worked, " "); got != want {
			t.Errorf("%s can: %s, want %q", who, got, want)
		}
	}
	can("another port", b.Open(t, port), "")
	can("another name", b.Open(t, name), "")
	can("a listed site", b.Open(t, portal), "list page playlist ranges segment stream")
	p := b.Open(t, name)
	p.Eval(fmt.Sprintf("void (location.href = %q)", f.URL+"/"), nil)
	p.Wait(testenv.Patience, "document.title === 'Framelog' && window.framelog && window.framelog.cameras().length === 2")
	if code, _ := ask("/v1/cameras/spare"); code != http.StatusOK {
		t.Errorf("the camera that no other site may remove: %d", code)
	}
	can("the page", p, "change image list metrics page playlist ranges script segment stream")
}
