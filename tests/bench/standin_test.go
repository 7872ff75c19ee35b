package bench

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
)

// standInVariable makes this test program a stand-in for MediaMTX.
const standInVariable = "FRAMELOG_TEST_BENCH_STANDIN"

// standInConfig has the settings of MediaMTX that are used, with their types.
type standInConfig struct {
	LogLevel       string `yaml:"logLevel"`
	RTSP           bool   `yaml:"rtsp"`
	RTMP           bool   `yaml:"rtmp"`
	WebRTC         bool   `yaml:"webrtc"`
	SRT            bool   `yaml:"srt"`
	HLS            bool   `yaml:"hls"`
	HLSAddress     string `yaml:"hlsAddress"`
	HLSVariant     string `yaml:"hlsVariant"`
	HLSAlwaysRemux bool   `yaml:"hlsAlwaysRemux"`
	PathDefaults   struct {
		RTSPTransport string `yaml:"rtspTransport"`
		Record        bool   `yaml:"record"`
		RecordFormat  string `yaml:"recordFormat"`
		RecordPath    string `yaml:"recordPath"`
	} `yaml:"pathDefaults"`
	Paths map[string]struct {
		Source string `yaml:"source"`
	} `yaml:"paths"`
}

// standIn does what the benchmark needs of MediaMTX, without media: it lets files grow, and
// serves playlists of the same form, to viewers without cookies by a session in the query.
func standIn(config string) error {
	raw, err := os.ReadFile(config)
	if err != nil {
		return err
	}
	var c standInConfig
	if err := yaml.UnmarshalWithOptions(raw, &c, yaml.Strict()); err != nil {
		return err
	}
	d := c.PathDefaults
	if !c.HLS || c.HLSVariant != "lowLatency" || !d.Record || d.RecordFormat != "fmp4" || d.RTSPTransport != "tcp" || !strings.Contains(d.RecordPath, "/%path/") {
		return fmt.Errorf("stand-in: unexpected configuration %+v", c)
	}
	var files []string
	for name, p := range c.Paths {
		if !strings.HasPrefix(p.Source, "rtsp://") {
			return fmt.Errorf("stand-in: source of %s: %q", name, p.Source)
		}
		dir, _, _ := strings.Cut(d.RecordPath, "%path")
		files = append(files, filepath.Join(dir, name, "1.mp4"))
		if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
			return err
		}
	}
	var parts atomic.Int64 // that are there, of each camera
	failed := make(chan error, 2)
	go func() {
		for range time.Tick(20 * time.Millisecond) {
			for _, f := range files {
				if err := appendTo(f, make([]byte, 1000)); err != nil {
					failed <- err
				}
			}
			parts.Add(1)
		}
	}()
	http.HandleFunc("GET /{camera}/{file}", func(w http.ResponseWriter, r *http.Request) { serveStandIn(w, r, &parts) })
	go func() { failed <- http.ListenAndServe(c.HLSAddress, nil) }()
	return <-failed
}

func appendTo(file string, data []byte) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

// Of the playlists of the stand-in: segments of five parts, of which seven are listed, and the
// parts of the last two.
const standInParts, standInSegments = 5, 7

func serveStandIn(w http.ResponseWriter, r *http.Request, there *atomic.Int64) {
	file, q := r.PathValue("file"), r.URL.Query()
	switch {
	case file == "index.m3u8" && q.Get("cookieCheck") == "":
		http.Redirect(w, r, r.URL.Path+"?cookieCheck=1", http.StatusFound)
		return
	case file == "index.m3u8":
		fmt.Fprint(w, "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-INDEPENDENT-SEGMENTS\n\n#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS=\"avc1.64001f\"\nmain_stream.m3u8?session=s\n")
		return
	case q.Get("session") != "s":
		http.Error(w, "authentication error", http.StatusUnauthorized)
		return
	case strings.HasPrefix(file, "part"):
		n, err := strconv.ParseInt(strings.TrimSuffix(file[len("part"):], ".mp4"), 10, 64)
		if err != nil || n >= there.Load() {
			http.NotFound(w, r)
			return
		}
		fmt.Fprint(w, file)
		return
	}
	if q.Has("_HLS_msn") {
		msn, err1 := strconv.ParseInt(q.Get("_HLS_msn"), 10, 64)
		part, err2 := strconv.ParseInt(q.Get("_HLS_part"), 10, 64)
		if errors.Join(err1, err2) != nil || msn*standInParts+part > there.Load() {
			http.Error(w, "not the next part", http.StatusBadRequest)
			return
		}
		for there.Load() <= msn*standInParts+part {
			time.Sleep(time.Millisecond) // the answer waits for the part
		}
	}
	n := there.Load()
	seq := n / standInParts
	first := max(0, seq-standInSegments)
	fmt.Fprintf(w, "#EXTM3U\n#EXT-X-VERSION:10\n#EXT-X-TARGETDURATION:1\n#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=0.05000,CAN-SKIP-UNTIL=0.6\n#EXT-X-MEDIA-SEQUENCE:%d\n", first)
	if q.Get("_HLS_skip") == "YES" && seq-2 > first { // what is skipped has no parts
		fmt.Fprint(w, "#EXT-X-SKIP:SKIPPED-SEGMENTS=1\n")
		first++
	}
	for s := first; s <= seq; s++ {
		for p := s * standInParts; s >= seq-2 && p < min(n, (s+1)*standInParts); p++ {
			fmt.Fprintf(w, "#EXT-X-PART:DURATION=0.02000,URI=\"part%d.mp4?session=s\",INDEPENDENT=YES\n", p)
		}
		if s < seq {
			fmt.Fprintf(w, "#EXTINF:0.10000,\nseg%d.mp4?session=s\n", s)
		}
	}
	fmt.Fprintf(w, "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"part%d.mp4?session=s\"\n", n)
}

// The benchmark starts MediaMTX as its documentation says, sees its recordings grow, and a
// viewer gets each part once. What MediaMTX itself does is not tested: a stand-in is.
func TestMediaMTXStandIn(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(standInVariable, "1")
	before := *flags.mediamtx
	*flags.mediamtx = self
	t.Cleanup(func() { *flags.mediamtx = before })
	c := &cameras{n: 2, urls: []string{"rtsp://127.0.0.1:1/0", "rtsp://127.0.0.1:1/1"}, bits: 8000}
	m := startMediaMTX(t, c, true)
	defer m.stop()
	w := newWatchers(t, c)
	ctx, got := t.Context(), make(chan string, 1000)
	go func() {
		if err := w.watch(w.ctx, m.url+"/"+cameraID(1)+"/index.m3u8", func(part []byte, _ time.Time) error {
			got <- string(part)
			return nil
		}); err != nil && w.ctx.Err() == nil {
			w.fail(err)
		}
	}()
	var all []string
	for len(all) < 30 && w.failed() == 0 {
		select {
		case p := <-got:
			all = append(all, p)
		case <-time.After(time.Minute):
			t.Fatalf("no parts come after %v", all)
		case <-ctx.Done():
			return
		}
	}
	w.stop()
	for _, err := range w.failures {
		t.Error(err)
	}
	if len(all) == 0 {
		return
	}
	first := 0
	if _, err := fmt.Sscanf(all[0], "part%d.mp4", &first); err != nil {
		t.Fatal(err)
	}
	for i, p := range all {
		if want := fmt.Sprintf("part%d.mp4", first+i); p != want {
			t.Fatalf("part %d is %q, want %q", i, p, want)
		}
	}
	if n := m.segments(nil); n < 4 { // of 2 kB
		t.Errorf("%d segments are recorded", n)
	}
}
