package hls

import (
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/framelog/framelog/tests/testmedia"
)

// FuzzRequests: whatever is asked for below /hls/ of footage that can be read, nothing panics, and the
// answer is a playlist or media of the camera, or the client's fault. It is 503 only if footage is
// waited for that does not come. Size, time and reads of the index are bounded.
func FuzzRequests(f *testing.F) {
	const fragments = 12
	next := strings.TrimPrefix(playlist0, "/hls/") // the live playlist
	for _, s := range [][2]string{
		{next, ""},
		{next, "_HLS_msn=1790000012"},
		{next, "_HLS_msn=1790000012&_HLS_part=0&_HLS_skip=YES"},
		{next, "_HLS_msn=1790000005&_HLS_part=2147483647&_HLS_skip=v2"},
		{next, "_HLS_msn=9223372036854775807&_HLS_part=0"},
		{next, "_HLS_msn=18446744073709551615"},
		{next, "_HLS_msn=-1"},
		{next, "_HLS_part=0"},
		{next, "_HLS_skip=maybe"},
		{next, "_HLS_msn=1790000003&_HLS_msn=x"},
		{next, "dvr=1h"},
		{next, "dvr=6h&_HLS_msn=1790000012&_HLS_skip=YES"},
		{next, "dvr=2562047h47m16s"},
		{next, "dvr=-1s"},
		{next, "dvr=1ns"},
		{next, "dvr=1h&start=-1m"},
		{next, "start=-1m"},
		{next, "start=-87600h"},
		{next, "start=-24h&end=-1s&_HLS_msn=7"},
		{next, "start=2026-03-01T12:00:00Z&end=2026-03-01T12:00:05.5Z"},
		{next, "start=9999-12-31T23:59:59Z&end=0001-01-01T00:00:00Z"},
		{next, "end=-1m"},
		{next, "start=%ff&end=\x00"},
		{next, "%zz&start=-1m;end=-1s"},
		{"cam/index.m3u8", "start=-1m"},
		{"cam/index.m3u8", "dvr=1h"},
		{"cam/raw/index.m3u8", "dvr=1h&_HLS_msn=7"},
		{"cam/raw/keyframes.m3u8", "start=-1m"},
		{"cam/raw/keyframes.m3u8", "dvr=30s"},
		{"cam/raw/keyframes.m3u8", ""},
		{"cam/raw/m1/1790000003.m4s", "start=-1m"},
		{"cam/raw/m1/1790000003.9.0.m4s", "_HLS_msn=1"},
		{"cam/raw/m1/1790000003.9.5.m4s", ""},
		{"cam/raw/m1/1790000012.9.0.m4s", ""},
		{"cam/raw/m1/1790000003.key.m4s", ""},
		{"cam/720p.m3u8", "start=-1m"},
		{"other/raw.m3u8", "start=-1m"},
		{"nobody/raw.m3u8", "dvr=1h"},
	} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, path, query string) {
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(time.Until(testmedia.Start.Add((fragments + 1) * time.Second))) // of the bubble's time
			log := newFakeLog()
			all := testmedia.Synthetic(testPlace, fragments)
			all[4].Entry = gapOf(all[4].Entry)
			for i := 6; i < fragments; i++ {
				all[i].Entry.Session++
			}
			log.add("cam", all...)
			s := run(t, Config{Known: func(camera string) bool { return camera != "nobody" }, Window: 6 * time.Second}, log)
			r := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
			r.URL = &url.URL{Path: "/hls/" + path, RawQuery: query}
			w, began := httptest.NewRecorder(), time.Now()
			s.ServeHTTP(w, r)
			body, took := w.Body.String(), time.Since(began)
			playlist := strings.HasPrefix(body, "#EXTM3U\n")
			switch {
			case w.Code == 200 && (len(body) > 1<<16 || strings.HasSuffix(path, ".m3u8") != playlist || len(strings.Fields(segmentsOf(body))) > fragments+2):
				t.Errorf("%q %q: %d bytes: %.3000s", path, query, len(body), body)
			case w.Code == 503 && took < time.Second, w.Code != 200 && w.Code != 400 && w.Code != 404 && w.Code != 503:
				t.Errorf("%q %q: %d after %v: %.300s", path, query, w.Code, took, body)
			case w.Code != 200 && (len(body) > 300+6*len(path)+6*len(query) || w.Header().Get("Cache-Control") != "no-store"):
				t.Errorf("%q %q: %d, %d bytes: %.300s %v", path, query, w.Code, len(body), body, w.Header())
			}
			if n := log.reads(); took > 40*time.Second || n > 20 {
				t.Errorf("%q %q: %v and %d reads of the index", path, query, took, n)
			}
		})
	})
}
