package hls

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testmedia"
)

// seqsOf returns the first and the last seq of the segments of a playlist, and checks that they are
// dense.
func seqsOf(t *testing.T, playlist string) (first, last int) {
	t.Helper()
	first = -1
	for s := range strings.FieldsSeq(strings.ReplaceAll(segmentsOf(playlist), "|", "")) {
		n := 0
		if _, err := fmt.Sscanf(strings.Trim(s, "()"), "%d", &n); err != nil {
			t.Fatal(err)
		}
		switch {
		case first < 0:
			first = n
		case n != last+1:
			t.Errorf("segment %d behind %d:\n%s", n, last, playlist)
		}
		last = n
	}
	return first, last
}

// With dvr a live playlist begins earlier, and is the same otherwise: it goes on, its updates
// are small, and each fragment is read from the index once. It begins behind a hole, and behind
// what has expired.
func TestDVR(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(testmedia.Start.Add(time.Hour))) // of the bubble's time
		log := newFakeLog()
		f := testmedia.Synthetic(testPlace, 130)
		for i := range f {
			if i >= 80 {
				f[i].Entry.Session++
			}
		}
		f[90].Entry = gapOf(f[90].Entry)
		log.add("cam", f[:20]...)
		log.add("cam", f[21:100]...) // 20 is in a hole
		s := run(t, Config{Window: 10 * time.Second}, log)

		playlist := func(query string, wantFirst, wantLast int) string {
			t.Helper()
			body := want(t, get(s, "/hls/cam/raw.m3u8"+query), http.StatusOK)
			first, last := seqsOf(t, body)
			if first != wantFirst || last != wantLast {
				t.Errorf("%s: %d to %d, want %d to %d", query, first, last, wantFirst, wantLast)
			}
			return body
		}
		playlist("", 90, 99)
		before := log.lookups
		body := playlist("?dvr=1m", 40, 99)
		playlist("?dvr=30s", 70, 99)
		if n := log.lookups - before; n != 1 {
			t.Errorf("%d reads of the index for the first playlists", n)
		}
		if strings.Contains(body, "ENDLIST") || !strings.Contains(body, "CAN-BLOCK-RELOAD=YES") || !strings.Contains(body, fmt.Sprintf("#EXT-X-MEDIA-SEQUENCE:%d\n#EXT-X-DISCONTINUITY-SEQUENCE:%d\n", testPlace.Seq+40, testPlace.Session)) {
			t.Error(body)
		}
		if segments := segmentsOf(body); !strings.Contains(segments, "78 79 | 80 81") || !strings.Contains(segments, "89 (90) 91") {
			t.Error(segments)
		}
		playlist("?dvr=5m", 21, 99)
		playlist("?dvr=5s", 90, 99) // not less than the window
		keys := want(t, get(s, "/hls/cam/raw/keyframes.m3u8?dvr=1m"), http.StatusOK)
		if !strings.Contains(keys, fmt.Sprintf("#EXT-X-MEDIA-SEQUENCE:%d\n#EXT-X-DISCONTINUITY-SEQUENCE:%d\n", testPlace.Seq+40, testPlace.Session)) ||
			strings.Contains(keys, "ENDLIST") || strings.Contains(keys, "PLAYLIST-TYPE") || strings.Count(keys, "#EXTINF:") != 60 ||
			strings.Count(keys, "#EXT-X-DISCONTINUITY\n") != 1 || !strings.Contains(keys, fmt.Sprintf("#EXT-X-GAP\n#EXTINF:1.000000,\nm1/%d.key.m4s\n", testPlace.Seq+90)) ||
			!strings.HasSuffix(keys, fmt.Sprintf("\nm1/%d.key.m4s\n", testPlace.Seq+99)) {
			t.Error(keys)
		}

		// It moves on, and so does its beginning.
		before = log.lookups
		for i := 100; i < 130; i++ {
			log.add("cam", f[i])
			playlist(fmt.Sprintf("?dvr=50s&_HLS_msn=%d", testPlace.Seq+uint64(i)), i-49, i)
			playlist("?dvr=5m", 21, i)
		}
		if n := log.lookups - before; n > 31 {
			t.Errorf("%d reads of the index for 30 fragments", n)
		}
		update := want(t, get(s, fmt.Sprintf("/hls/cam/raw.m3u8?dvr=40s&_HLS_msn=%d&_HLS_skip=YES", testPlace.Seq+129)), http.StatusOK)
		if first, _ := seqsOf(t, update); first != 118 || !strings.Contains(update, "#EXT-X-SKIP:SKIPPED-SEGMENTS=28\n") {
			t.Error(update)
		}

		// Shaka counts only the discontinuities that it sees, so none is skipped.
		update = want(t, get(s, fmt.Sprintf("/hls/cam/raw.m3u8?dvr=5m&_HLS_msn=%d&_HLS_skip=YES", testPlace.Seq+129)), http.StatusOK)
		if first, _ := seqsOf(t, update); first != 80 || !strings.Contains(update, "#EXT-X-SKIP:SKIPPED-SEGMENTS=59\n") {
			t.Error(update)
		}

		body = want(t, get(s, "/hls/cam/index.m3u8?dvr=90m"), http.StatusOK)
		if uri := streams(body); len(uri) != 1 || uri[0] != "raw.m3u8?dvr=1h30m0s" || !strings.Contains(body, `URI="raw/keyframes.m3u8?dvr=1h30m0s"`) {
			t.Error(body)
		}

		log.expire("cam", testPlace.Seq+100)
		time.Sleep(checkPast + time.Second)
		log.add("cam", moved(f[129].Entry, f[129], f[129].Entry.End(), testPlace.Seq+130))
		synctest.Wait()
		playlist("?dvr=5m", 100, 130)
		for query, text := range map[string]string{
			"?dvr=2": `"2" is no length of time`, "?dvr=-1h": "is no length of time", "?dvr=48h": "longer than 6h0m0s", "?dvr=1500ms": "whole seconds", "?dvr=": "is no length of time",
		} {
			for _, path := range []string{"raw", "index", "raw/keyframes"} {
				if body := want(t, get(s, "/hls/cam/"+path+".m3u8"+query), http.StatusBadRequest); !strings.Contains(body, text) {
					t.Errorf("%s: %s", query, body)
				}
			}
		}
	})
}

// gapOf makes an entry a gap.
func gapOf(e schemas.Entry) schemas.Entry {
	return schemas.Entry{
		Kind: schemas.KindGap, Seq: e.Seq, Session: e.Session, Layout: e.Layout, Start: e.Start, Media: e.Media, Duration: e.Duration, Reason: schemas.ReasonBudget,
	}
}
