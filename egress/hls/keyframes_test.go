package hls

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testmedia"
)

// The multivariant playlist of a range names a playlist of its keyframes, and ffmpeg decodes
// exactly these pictures from it. A gap is listed as such.
func TestKeyframes(t *testing.T) {
	h265 := testmedia.Layout
	h265.Video = schemas.H265
	for name, c := range map[string]struct {
		layout schemas.Layout
		clip   testmedia.Clip
		codec  string
	}{
		"h264": {testmedia.Layout, testmedia.MakeClip(t, 5, true, testmedia.H264BFrames...), "avc1."},
		"h265": {h265, testmedia.MakeClip(t, 5, true, testmedia.H265BFrames...), "hvc1."},
	} {
		log := newFakeLog()
		p := testmedia.Place{Seq: testPlace.Seq, Session: 7, Epoch: 3, Layout: c.layout, Start: testmedia.Start}
		f := c.clip.Fragments(p, 5)
		f[2].Entry = gapOf(f[2].Entry)
		log.add("cam", f[0], f[1])
		log.entry("cam", f[2].Entry)
		log.add("cam", f[3], f[4])
		s, base := serve(t, Config{}, log)

		body := want(t, get(s, "/hls/cam/index.m3u8"+rangeQuery(0, 5)), http.StatusOK)
		line := last(body, "#EXT-X-I-FRAME-STREAM-INF:")
		_, uri, _ := strings.Cut(line, `URI="`)
		uri = strings.TrimSuffix(uri, `"`)
		if uri != "raw/keyframes.m3u8"+rangeQuery(0, 5) || !strings.Contains(line, `CODECS="`+c.codec) || strings.Contains(line, "mp4a") || !strings.Contains(line, "RESOLUTION=320x180") || !strings.Contains(line, "BANDWIDTH=") {
			t.Errorf("%s: %s", name, body)
		}
		list := want(t, get(s, "/hls/cam/"+uri), http.StatusOK)
		if !strings.Contains(list, "#EXT-X-I-FRAMES-ONLY\n") || !strings.HasSuffix(list, "#EXT-X-ENDLIST\n") || strings.Count(list, "#EXTINF:1.000000,\n") != 5 ||
			!strings.Contains(list, fmt.Sprintf("#EXT-X-GAP\n#EXTINF:1.000000,\nm1/%d.key.m4s\n", testPlace.Seq+2)) {
			t.Errorf("%s: %s", name, list)
		}
		all := testmedia.Hashes(t, c.clip.Path, testmedia.Pictures...)
		got := testmedia.Hashes(t, base+"/hls/cam/"+uri, testmedia.Pictures...)
		if want := []string{all[0], all[25], all[75], all[100]}; !slices.Equal(got, want) {
			t.Errorf("%s: keyframes %v, want %v", name, got, want)
		}
		for path, code := range map[string]int{
			fmt.Sprintf("m1/%d.key.m4s", testPlace.Seq+2): http.StatusNotFound,
			fmt.Sprintf("m1/%d.key.m4s", testPlace.Seq+9): http.StatusNotFound,
			"keyframes.m3u8": http.StatusBadRequest,
			"keyframes.m3u8?start=" + testmedia.Start.Add(-time.Hour).Format(time.RFC3339): http.StatusBadRequest,
		} {
			want(t, get(s, "/hls/cam/raw/"+path), code)
		}
	}
}
