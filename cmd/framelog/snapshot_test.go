package main

import (
	"bytes"
	"fmt"
	"image/jpeg"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/egress/snapshot"
	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/processors/processorstest"
	"github.com/framelog/framelog/tests/oracle/hlscheck"
	"github.com/framelog/framelog/tests/oracle/pictures"
	"github.com/framelog/framelog/tests/system"
	"github.com/framelog/framelog/tests/testenv"
)

// checkSnapshots checks that the snapshot of a time has the frame number, which is in its
// pixels, that the camera's segment has at that time.
func checkSnapshots(t *testing.T, f *testenv.Framelog, camera string) {
	t.Helper()
	var width, height int
	f.Wait(t, testenv.Patience, "an exact snapshot", func() bool {
		_, width, height = snapshotOf(t, f, "/snapshot/"+camera+".jpg")
		return width == 640 // a thumbnail is 320 wide
	})
	playlist := f.URL + "/hls/" + camera + "/raw.m3u8"
	get := func(at string) (body []byte) {
		f.Wait(t, testenv.Patience, at, func() bool {
			code, b, err := testenv.Get(t, at)
			body = b
			return err == nil && code == http.StatusOK
		})
		return body
	}
	list, err := hlscheck.ParseMedia(string(get(playlist)))
	if err != nil {
		t.Fatal(err)
	}
	all := slices.DeleteFunc(list.Segments, func(s hlscheck.Segment) bool { return s.Gap })
	s := all[len(all)-1]
	media := append(get(system.Resolve(t, playlist, s.Map)), get(system.Resolve(t, playlist, s.URI))...)
	path := filepath.Join(t.TempDir(), "segment.mp4")
	if err := os.WriteFile(path, media, 0o600); err != nil {
		t.Fatal(err)
	}
	var frames []uint32 // of the segment's pictures
	for _, luma := range pictures.Decode(t, path, "gray", width*height) {
		strip, err := camsim.ReadStrip(luma, width, width, height)
		if err != nil {
			t.Fatal(err)
		}
		frames = append(frames, strip.Frame)
	}
	const frame = time.Second / 25
	for _, i := range []int{0, 1, len(frames) / 2, len(frames) - 1} {
		at := s.PDT.Add(time.Duration(frames[i]-frames[0])*frame + frame/2).Format(time.RFC3339Nano)
		var got camsim.Strip
		f.Wait(t, testenv.Patience, "the exact snapshot at "+at, func() bool {
			var w int
			got, w, _ = snapshotOf(t, f, "/snapshot/"+camera+".jpg?at="+url.QueryEscape(at))
			return w == width
		})
		if got.Frame != frames[i] {
			t.Errorf("picture %d of a segment of %d: its snapshot shows frame %d, want %d", i, len(frames), got.Frame, frames[i])
		}
	}
	if n := system.Metric(t, f.URL, "framelog_egress_snapshots_total", `result="exact"`); n < 5 {
		t.Errorf("%g exact snapshots are counted", n)
	}
}

// snapshotOf reads what is drawn into a snapshot, and its size; 0 if there is none.
func snapshotOf(t *testing.T, f *testenv.Framelog, path string) (s camsim.Strip, width, height int) {
	t.Helper()
	code, body, err := f.Get(t, path)
	if err != nil || code != http.StatusOK {
		t.Logf("%s: %d %s %v", path, code, body, err)
		return s, 0, 0
	}
	img, err := jpeg.Decode(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if s, err = camsim.ReadStripImage(img); err != nil {
		t.Fatal(err)
	}
	return s, img.Bounds().Dx(), img.Bounds().Dy()
}

// TestThumbnailAlone: a process thumbnail that runs alone decodes pictures for egress, also
// while its brokers are away, and for no page of another site.
func TestThumbnailAlone(t *testing.T) {
	t.Parallel()
	addr := fmt.Sprintf("127.0.0.1:%d", testenv.FreePort(t))
	p := testenv.Start(t, "thumbnail", exec.Command(testenv.Binary(t), "process", "thumbnail", "--http", addr, "--brokers", testenv.Refusing(t)))
	in := processorstest.Fragments(t, "one-chunk")[0]
	for footage, err := range in.Chunks(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		egress := &snapshot.Thumbnailer{Client: http.DefaultClient, URL: "http://" + addr}
		var b []byte
		var shown int64
		p.Wait(t, testenv.Patience, "a picture", func() bool {
			b, shown, err = egress.Picture(t.Context(), footage, in.Media, 64)
			return err == nil
		})
		if img, err := jpeg.Decode(bytes.NewReader(b)); err != nil || img.Bounds().Dx() != 64 || shown != in.Media {
			t.Errorf("%v at %d, %v; want a picture of width 64 at %d", img, shown, err, in.Media)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+addr+"/picture?media=0&width=0", strings.NewReader("hello"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Origin", "https://other.example")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("a page of another site gets %s", resp.Status)
	}
}
