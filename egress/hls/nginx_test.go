package hls

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/framelog/framelog/tests/testenv"
	"github.com/framelog/framelog/tests/testmedia"
)

// upstream counts the requests that reach the server, by path.
type upstream struct {
	server http.Handler
	mu     sync.Mutex
	count  map[string]int
	total  atomic.Int64
}

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/v1/authorize" {
		return // everybody may do everything
	}
	u.mu.Lock()
	u.count[r.URL.Path]++
	u.mu.Unlock()
	u.total.Add(1)
	u.server.ServeHTTP(w, r)
}

func (u *upstream) of(path string) int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.count[path]
}

func fetch(t *testing.T, url string, header ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(b)
}

func TestNginx(t *testing.T) {
	dir := t.TempDir()
	log := newFakeLog()
	clip := testmedia.MakeClip(t, 9, true, testmedia.H264BFrames...)
	p := testmedia.Place{Seq: 500, Session: 3, Epoch: 2, Layout: testmedia.Layout, Start: testmedia.Start}
	f := clip.Fragments(p, 5)
	log.add("cam", f[:2]...)
	s, direct := serve(t, Config{Mode: Always, Dir: dir, Reserve: 1}, log)
	up := &upstream{server: s, count: map[string]int{}}
	web := httptest.NewServer(up)
	t.Cleanup(web.Close)
	base := testenv.Nginx(t, dir, web.URL)

	path := func(i int) string { return fmt.Sprintf("/hls/cam/raw/m1/%d.m4s", f[i].Entry.Seq) }
	check := func(res *http.Response, body, path string) {
		t.Helper()
		plain, want := fetch(t, direct+path)
		if res.StatusCode != 200 || body != want {
			t.Errorf("%s: status %d, %d bytes, want %d", path, res.StatusCode, len(body), len(want))
		}
		for _, h := range []string{"Cache-Control", "Content-Type", "Etag", "Last-Modified", "Content-Length"} {
			if a, b := res.Header.Values(h), plain.Header.Values(h); !slices.Equal(a, b) {
				t.Errorf("%s: %s is %q, the server's own %q", path, h, a, b)
			}
		}
	}

	// Files are served without asking.
	if res, _ := fetch(t, base+"/hls/cam/raw.m3u8"); res.StatusCode != 200 {
		t.Fatalf("playlist: %s", res.Status)
	}
	// A segment is listed once everything before it is written.
	for _, f := range f[2:] {
		log.add("cam", f)
		if res, _ := fetch(t, fmt.Sprintf("%s/hls/cam/raw.m3u8?_HLS_msn=%d", base, f.Entry.Seq)); res.StatusCode != 200 {
			t.Fatalf("reload: %s", res.Status)
		}
	}
	before := up.total.Load()
	initPath := "/hls/cam/raw/m1/init-" + f[0].Entry.Config + ".mp4"
	for _, path := range []string{path(5), path(6), initPath} {
		res, body := fetch(t, base+path)
		check(res, body, path)
	}
	if up.total.Load() != before {
		t.Error("a file was asked of the server")
	}
	if res, body := fetch(t, base+path(5), "Range", "bytes=4-7"); res.StatusCode != 206 || body != "moof" {
		t.Errorf("range of a file: %d %q", res.StatusCode, body)
	}

	// A segment without a file is made once for all requests, and kept.
	if err := os.Remove(filepath.Join(dir, path(5))); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			res, body := fetch(t, base+path(5))
			check(res, body, path(5))
		})
	}
	all.Wait()
	if n := up.of(path(5)); n != 1 {
		t.Errorf("%d requests reached the server for one segment", n)
	}
	if res, body := fetch(t, base+path(5), "Range", "bytes=4-7"); res.StatusCode != 206 || body != "moof" {
		t.Errorf("range out of the cache: %d %q", res.StatusCode, body)
	}

	// Errors are not kept.
	missing := "/hls/cam/raw/m1/99999.m4s"
	for range 2 {
		if res, _ := fetch(t, base+missing); res.StatusCode != 404 || res.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("missing segment: %d, %q", res.StatusCode, res.Header.Get("Cache-Control"))
		}
	}
	if n := up.of(missing); n != 2 {
		t.Errorf("an error was kept: %d requests reached the server", n)
	}

	// Playlists are not kept, and come compressed as the server made them.
	n := up.of("/hls/cam/raw.m3u8")
	for range 2 {
		res, _ := fetch(t, base+"/hls/cam/raw.m3u8", "Accept-Encoding", "gzip")
		if res.Header.Get("Content-Encoding") != "gzip" || res.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("playlist: %v", res.Header)
		}
	}
	if up.of("/hls/cam/raw.m3u8") != n+2 {
		t.Error("a playlist was kept")
	}

	// Blocking requests go through side by side, without a lock's delay.
	next := testmedia.Synthetic(testmedia.After(f[8].Entry, p), 1)[0]
	answered := make([]time.Time, 4)
	arrived := up.total.Load()
	for i := range answered {
		all.Go(func() {
			res, _ := fetch(t, fmt.Sprintf("%s/hls/cam/raw/m1/%d.2.0.m4s", base, next.Entry.Seq))
			if res.StatusCode != 200 {
				t.Errorf("hinted part: %s", res.Status)
			}
			answered[i] = time.Now()
		})
	}
	for up.total.Load() < arrived+4 {
		time.Sleep(time.Millisecond) // until all are on their way
	}
	came := time.Now()
	log.chunk("cam", next.Chunks[0])
	all.Wait()
	t.Logf("blocking parts answered within %v", slices.MaxFunc(answered, time.Time.Compare).Sub(came))

	// ffmpeg gets the source's frames through Nginx.
	want := testmedia.Hashes(t, clip.Path, testmedia.Pictures...)
	if got := testmedia.Hashes(t, base+"/hls/cam/raw.m3u8", testmedia.Pictures...); !slices.Equal(got, want) {
		t.Errorf("%d frames through Nginx, want %d", len(got), len(want))
	}
}
