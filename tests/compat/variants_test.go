package compat

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/processors"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/system"
	"github.com/framelog/framelog/tests/testenv"
)

// smaller is a processor of tests: it gives each picture of a clip the picture of another
// clip, which shows the same in another size.
type smaller struct {
	track schemas.Track
	units map[string]camsim.Unit // by the hash of the picture's slices in the first clip
}

func newSmaller(t *testing.T, from, to *camsim.Clip) *smaller {
	t.Helper()
	s := &smaller{track: to.Media[0], units: map[string]camsim.Unit{}}
	a, b := from.Of(schemas.VideoTrack), to.Of(schemas.VideoTrack)
	if len(a) != len(b) {
		t.Fatalf("%d pictures, and %d smaller ones", len(a), len(b))
	}
	for i := range a {
		s.units[schemas.UnitHash(slices264(a[i].Data))] = b[i]
	}
	return s
}

// slices264 returns the slices of an access unit of H.264, without what may stand between.
func slices264(unit []byte) (all []byte) {
	for len(unit) >= 4 {
		n := 4 + int(unit[0])<<24 + int(unit[1])<<16 + int(unit[2])<<8 + int(unit[3])
		if n <= 4 || n > len(unit) {
			return all
		}
		if kind := unit[4] & 31; kind >= 1 && kind <= 5 {
			all = append(all, unit[4:n]...)
		}
		unit = unit[n:]
	}
	return all
}

func (s *smaller) process(ctx context.Context, in *processors.Fragment, out *processors.Output) error {
	for c, err := range in.Chunks(ctx) {
		if err != nil {
			return err
		}
		d := *c
		if d.Index == 0 {
			t := s.track
			t.ID, t.Timescale = schemas.VideoTrack, schemas.MediaTimescale
			d.Tracks = []schemas.Track{t}
		}
		run := schemas.Run{Track: schemas.VideoTrack}
		for _, x := range c.Video() {
			u, ok := s.units[schemas.UnitHash(slices264(x.Data))]
			if !ok || u.Sync != x.Sync {
				return fmt.Errorf("picture of media time %d: in the clip %v, a keyframe there %v", x.DTS, ok, u.Sync)
			}
			x.Data = u.Data
			run.Samples = append(run.Samples, x)
		}
		d.Runs = []schemas.Run{run}
		if err := out.Write(ctx, &d); err != nil {
			return err
		}
	}
	return nil
}

// mp4 makes an MP4 file of a clip.
func (c clip) mp4(t *testing.T, args ...string) *camsim.Clip {
	t.Helper()
	path := filepath.Join(t.TempDir(), "clip.mp4")
	cmd := exec.CommandContext(t.Context(), testenv.Tool(t, "ffmpeg", "ffmpeg"),
		append(append([]string{"-hide_banner", "-loglevel", "error", "-i", c.path, "-an"}, args...), path)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg: %v\n%s", err, out)
	}
	return system.Load(t, path)
}

// A camera has a variant. The multivariant playlist says what each is, and hls.js, with
// low latency and without, switches both ways without a stall. When the variant gets no more
// footage, raw plays on.
func TestVariants(t *testing.T) {
	testenv.Long(t)
	pauses, strain := testenv.WatchPauses(t), testenv.WatchStrain(t)
	p := piece{Long: time.Minute}.withDefaults()
	c := makeClip(t, 0, 0, p)
	small := p
	small.Size = "320x180"
	large, little := c.mp4(t, "-c", "copy"), c.mp4(t, append([]string{"-vf", "scale=320:180"}, small.encoder()...)...)
	_, url := system.Camera(t, camsim.CameraConfig{Feed: large.With(true, 1)})
	b := testenv.Chromium(t)
	f := testenv.Up(t, testenv.UpOptions{Config: system.Cameras(map[string]string{"cam": url})})

	variant := processors.Processor{Name: "smaller", Outputs: []processors.Rendition{processors.Variant("small")}, Process: newSmaller(t, large, little).process}
	stop := system.Process(t, f.Broker, variant)
	listed := func() (lines []string) {
		status, body, err := testenv.Get(t, f.URL+"/hls/cam/index.m3u8")
		if err != nil || status != http.StatusOK {
			return nil
		}
		for line := range strings.Lines(string(body)) {
			if !strings.HasPrefix(line, "#EXTM3U") && !strings.HasPrefix(line, "#EXT-X-VERSION") {
				lines = append(lines, strings.TrimSpace(line))
			}
		}
		return lines
	}
	testenv.Wait(t, 2*testenv.Patience, "the variant", func() bool { return len(listed()) == 4 })
	time.Sleep(12 * time.Second) // some footage to measure and to buffer
	lines := listed()
	for i, w := range []struct {
		name, size string
		clip       *camsim.Clip
	}{{"raw", "640x360", large}, {"small", "320x180", little}} {
		checkLine(t, f, lines[2*i], w.name, w.size, w.clip)
		if lines[2*i+1] != w.name+".m3u8" {
			t.Errorf("URI %s, want that of %s", lines[2*i+1], w.name)
		}
	}

	var pages []*page
	var tabs []*testenv.Page
	for _, name := range []string{"hls.js low latency", "hls.js"} {
		x := newPage(t, name, f.URL, "cam")
		pages, tabs = append(pages, x), append(tabs, b.Open(t, x.url))
	}
	began := time.Now()
	for i, tab := range tabs {
		tab.Wait(2*testenv.Patience, "window.player && player.levels.length === 2 && document.querySelector('video').currentTime > 0")
		t.Logf("%s plays after %v", pages[i].name, time.Since(began).Round(time.Millisecond))
	}
	time.Sleep(5 * time.Second)
	from := time.Now()
	checkReports(t, f)
	to := func(level, width int) {
		t.Helper()
		for i, tab := range tabs {
			begun := time.Now()
			tab.Eval(fmt.Sprintf("player.loadLevel = %d, 0", level), nil)
			tab.Wait(testenv.Patience, fmt.Sprintf("document.querySelector('video').videoWidth === %d", width))
			t.Logf("%s shows %d pixels after %v", pages[i].name, width, time.Since(begun).Round(time.Millisecond))
		}
		time.Sleep(4 * time.Second)
	}
	for range 3 {
		to(0, 320)
		to(1, 640)
	}
	stop()
	time.Sleep(20 * time.Second) // the variant is late by now
	if got := listed(); len(got) != 2 {
		t.Errorf("a variant that is late is listed: %v", got)
	}
	stop = system.Process(t, f.Broker, variant)
	testenv.Wait(t, 2*testenv.Patience, "the variant again", func() bool { return len(listed()) == 4 })
	to(0, 320)
	to(1, 640)
	stop()

	limit := strain.Stretch(1500*time.Millisecond) + pauses.Longest(from, time.Now())
	for _, x := range pages {
		x.mu.Lock()
		for _, z := range x.freezes {
			at, d := time.UnixMilli(z[0]), time.Duration(z[1]-z[0])*time.Millisecond
			for _, s := range x.still { // the page stood still, not the player
				if a, b := max(z[0], s[0]), min(z[1], s[1]); b > a {
					d -= time.Duration(b-a) * time.Millisecond
				}
			}
			if at.After(from) && d > limit {
				t.Errorf("%s: no new picture for %v at %v, limit %v", x.name, d, at.Format("15:04:05.000"), limit)
			}
		}
		for _, e := range x.latest.Errors {
			if strings.Contains(e, "FATAL") {
				t.Errorf("%s: %s", x.name, e)
			}
		}
		t.Logf("%s: %d pictures, %d freezes of over 300 ms, errors %v", x.name, x.latest.Pictures, len(x.freezes), x.latest.Errors)
		x.mu.Unlock()
		if t.Failed() {
			t.Log(x.tell())
		}
	}
}

// checkLine checks a line of the multivariant playlist against the clip and the segments.
func checkLine(t *testing.T, f *testenv.Framelog, line, name, size string, c *camsim.Clip) {
	t.Helper()
	codec := "avc1." + strings.ToUpper(hex.EncodeToString(c.Media[0].Config[1:4]))
	for _, want := range []string{"RESOLUTION=" + size, fmt.Sprintf("CODECS=%q", codec), "FRAME-RATE=30.000"} {
		if !strings.Contains(line, want) {
			t.Errorf("%s: no %s in %s", name, want, line)
		}
	}
	var peak, average int64
	if _, err := fmt.Sscanf(line, "#EXT-X-STREAM-INF:BANDWIDTH=%d,AVERAGE-BANDWIDTH=%d,", &peak, &average); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	status, body, err := testenv.Get(t, f.URL+"/hls/cam/"+name+".m3u8")
	if err != nil || status != http.StatusOK {
		t.Fatal(status, err)
	}
	var most, sum, seconds float64
	duration := 0.0
	for l := range strings.Lines(string(body)) {
		l = strings.TrimSpace(l)
		if s, ok := strings.CutPrefix(l, "#EXTINF:"); ok {
			if _, err := fmt.Sscanf(s, "%f,", &duration); err != nil {
				t.Fatal(err)
			}
		}
		if !strings.HasSuffix(l, ".m4s") || strings.HasPrefix(l, "#") {
			continue
		}
		_, segment, err := testenv.Get(t, f.URL+"/hls/cam/"+l)
		if err != nil {
			t.Fatal(err)
		}
		bits := float64(8 * len(segment))
		most, sum, seconds = max(most, bits/duration), sum+bits, seconds+duration
	}
	t.Logf("%s: BANDWIDTH %d of at most %.0f bit/s, AVERAGE-BANDWIDTH %d of %.0f", name, peak, most, average, sum/seconds)
	// The segments are of two seconds or more of a moving window, so the playlist may have
	// been made of others; boxes are counted at an upper estimate.
	if float64(peak) < 0.9*most || float64(peak) > 1.5*most || float64(average) < 0.8*sum/seconds || float64(average) > 1.3*sum/seconds {
		t.Errorf("%s: its segments have %.0f bit/s at most, %.0f on average: %s", name, most, sum/seconds, line)
	}
}

// checkReports checks that each media playlist tells how far the other one is.
func checkReports(t *testing.T, f *testenv.Framelog) {
	t.Helper()
	for name, other := range map[string]string{"raw": "small", "small": "raw"} {
		_, body, err := testenv.Get(t, f.URL+"/hls/cam/"+name+".m3u8")
		if err != nil {
			t.Fatal(err)
		}
		_, rest, ok := strings.Cut(string(body), "#EXT-X-RENDITION-REPORT:URI=\""+other+".m3u8\",LAST-MSN=")
		var reported, part, newest uint64
		if _, err := fmt.Sscanf(rest, "%d,LAST-PART=%d", &reported, &part); !ok || err != nil {
			t.Errorf("%s has no report of %s: %v\n%s", name, other, err, body)
			continue
		}
		_, body, err = testenv.Get(t, f.URL+"/hls/cam/"+other+".m3u8")
		if err != nil {
			t.Fatal(err)
		}
		if i := strings.LastIndex(string(body), "#EXT-X-PART:"); i >= 0 {
			_, uri, _ := strings.Cut(string(body[i:]), other+"/m1/")
			_, _ = fmt.Sscanf(uri, "%d.", &newest)
		}
		if newest < reported || newest > reported+1 {
			t.Errorf("%s reports segment %d of %s, whose newest part is of %d", name, reported, other, newest)
		}
	}
}
