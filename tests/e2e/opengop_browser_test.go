package e2e

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/system"
	"github.com/framelog/framelog/tests/testenv"
)

// numbered makes a clip that shows the number of each picture, from first on, in its upper left
// 320x32 pixels: one square for each bit, the lowest first, black or white.
func numbered(t *testing.T, first, seconds int, size string, encoder ...string) string {
	t.Helper()
	bin := testenv.Tool(t, "ffmpeg", "ffmpeg")
	path := filepath.Join(t.TempDir(), "numbered.mp4")
	args := []string{
		"-nostdin", "-v", "error", "-f", "lavfi", "-i",
		fmt.Sprintf(`color=black:size=320x32:rate=25:duration=%d,format=gray,geq=lum=255*mod(floor((N+%d)/pow(2\,floor(X/32)))\,2)[n];`+
			`testsrc2=size=%s:rate=25:duration=%[1]d[p];[p][n]overlay`, seconds, first, size),
		"-pix_fmt", "yuv420p", "-threads", "2",
	}
	args = append(append(args, encoder...), "-movflags", "+faststart", path)
	if out, err := exec.CommandContext(t.Context(), bin, args...).CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg: %v\n%s", err, out)
	}
	return path
}

// player is a page with hls.js. load plays a playlist, number reads the picture
// that is shown, and at gives the number of the picture at a time in seconds.
const player = `<!doctype html><video muted width=320 height=240></video><script src="/hls.js"></script><script>
const v = document.querySelector('video'), c = document.createElement('canvas'), g = c.getContext('2d', {willReadFrequently: true});
c.width = 320; c.height = 32;
window.errors = [];
const load = (url, config) => {
  window.hls = new Hls(config);
  hls.on(Hls.Events.ERROR, (_, d) => errors.push(d.details + (d.fatal ? ' (fatal)' : '')));
  hls.loadSource(url); hls.attachMedia(v);
};
const number = () => {
  g.drawImage(v, 0, 0, 320, 32, 0, 0, 320, 32);
  let n = 0;
  for (let i = 9; i >= 0; i--) n = 2 * n + (g.getImageData(i * 32 + 16, 16, 1, 1).data[0] > 127 ? 1 : 0);
  return n;
};
const at = (t) => new Promise((done) => {
  const late = setTimeout(() => done(-1), 10000);
  const look = (_, {mediaTime}) => {
    if (Math.abs(mediaTime - t) > 1 / 25) return v.requestVideoFrameCallback(look); // the one before
    clearTimeout(late);
    done(number());
  };
  v.requestVideoFrameCallback(look);
  v.currentTime = t;
});
window.seen = [];
const watch = () => v.requestVideoFrameCallback(() => { seen.push(number()); watch(); });
const numbers = async (from, n) => {
  const all = [];
  for (let i = 0; i < n; i++) all.push(await at(from + (i + 0.5) / 25));
  return all;
};
</script>`

// playerPage serves the player, hls.js, and all else from framelog; playlists
// under /from/N.m3u8 are the camera's with the first N segments left out, and an
// end.
func playerPage(t *testing.T, framelog string) string {
	t.Helper()
	hlsjs := filepath.Join(testenv.Root(t), "web/node_modules/hls.js/dist/hls.min.js")
	if _, err := os.Stat(hlsjs); err != nil {
		testenv.Missing(t, "hls.js is not installed (make build): %v", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/favicon.ico", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, player)
	})
	mux.HandleFunc("/hls.js", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, hlsjs) })
	mux.HandleFunc("/from/{playlist}", func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.Atoi(strings.TrimSuffix(r.PathValue("playlist"), ".m3u8"))
		if err != nil {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/vnd.apple.mpegurl")
		fmt.Fprint(w, bounded(get(t, framelog+"/hls/cam/raw.m3u8"), n))
	})
	mux.Handle("/hls/", proxy(t, framelog))
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.URL
}

// noFatal checks that hls.js in a page of playerPage had no fatal error.
func noFatal(t *testing.T, p *testenv.Page, what string) {
	t.Helper()
	var errors []string
	p.Eval("errors.filter((e) => e.endsWith('(fatal)'))", &errors)
	if len(errors) > 0 {
		t.Errorf("%s: %v", what, errors)
	}
}

func proxy(t *testing.T, to string) http.Handler {
	t.Helper()
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	p := httputil.NewSingleHostReverseProxy(u)
	p.ErrorLog = log.New(io.Discard, "", 0) // players may leave before the end of an answer
	return p
}

// bounded makes a playlist with an end of a live playlist of one session, without
// parts and without the first n segments, so that a player begins with segment n.
func bounded(live string, n int) string {
	var b strings.Builder
	b.WriteString("#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:4\n")
	segment := 0
	for line := range strings.Lines(live) {
		switch {
		case strings.HasPrefix(line, "#EXT-X-MAP:"):
			b.WriteString(strings.Replace(line, `URI="`, `URI="/hls/cam/`, 1))
		case strings.HasPrefix(line, "#EXTINF:") && segment >= n:
			b.WriteString(line)
		case !strings.HasPrefix(line, "#"):
			if segment >= n {
				b.WriteString("/hls/cam/" + line)
			}
			segment++
		}
	}
	b.WriteString("#EXT-X-ENDLIST\n")
	return b.String()
}

// hls.js in Chromium plays a camera's open GOPs, live and from any segment. Each
// picture is the right one, also in the first segment that the player has, which is
// at time 0. No B picture is a reference here: Chromium fails if pictures after the
// first drop references from before it.
func TestBrowserPlaysOpenGOPs(t *testing.T) {
	b := testenv.Chromium(t)
	file := numbered(t, 0, 12, "320x240", "-c:v", "libx264", "-preset", "veryfast",
		"-x264-params", "keyint=27:min-keyint=27:scenecut=0:bframes=3:b-adapt=0:b-pyramid=none:open-gop=1")
	clip := system.Load(t, file)
	starts := gopStarts(clip)[1:] // ingest joins the camera at the second
	last := len(clip.Of(schemas.VideoTrack)) - 1
	cam, url := system.Camera(t, camsim.CameraConfig{Feed: from(t, clip, 1), HangUp: true})
	cam.Refuse(true) // until the browser is there
	f := testenv.Up(t, testenv.UpOptions{Config: system.Cameras(map[string]string{"cam": url})})
	b.Open(t, f.URL+"/healthz") // the browser's first tab takes its time
	cam.Refuse(false)
	base := playerPage(t, f.URL)
	multivariant := system.Multivariant(f.URL, "cam")

	testenv.Wait(t, testenv.Patience, "some segments", func() bool {
		p := system.MediaPlaylist(t, multivariant)
		return p != nil && len(p.Segments) >= 4
	})
	live := b.Open(t, base)
	live.Eval("load('/hls/cam/index.m3u8', {lowLatencyMode: true}), watch(), v.play()", nil)
	testenv.Wait(t, 2*testenv.Patience, "the clip's end", cam.Over)
	settled(t, multivariant, time.Duration(last+1-starts[0].shown)*time.Second/25)
	live.Wait(testenv.Patience, fmt.Sprintf("seen.at(-1) >= %d", last-5))
	var seen []int
	live.Eval("seen", &seen)
	if !slices.IsSorted(seen) || len(seen) < 25 {
		t.Errorf("live: pictures %v", seen)
	}
	noFatal(t, live, "live")

	for i, s := range starts[:3] {
		p := b.Open(t, base)
		p.Eval(fmt.Sprintf("load('/from/%d.m3u8', {startPosition: 0})", i), nil)
		p.Wait(2*testenv.Patience, "v.buffered.length > 0 && v.buffered.end(0) > 3")
		var got, want []int
		p.Eval("numbers(v.buffered.start(0), 40)", &got)
		for n := range 40 {
			want = append(want, s.shown+n)
		}
		if !slices.Equal(got, want) {
			t.Errorf("from segment %d: pictures %v, want %v", i, got, want)
		}
		noFatal(t, p, fmt.Sprintf("from segment %d", i))
	}
}
