package hls

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testmedia"
)

// rangeQuery is the query of a range, in seconds from the start of the clips.
func rangeQuery(from, to float64) string {
	at := func(s float64) string {
		return testmedia.Start.Add(time.Duration(s * float64(time.Second))).Format(time.RFC3339Nano)
	}
	return "?start=" + at(from) + "&end=" + at(to)
}

// segmentsOf are the seqs of a playlist's segments, from the first one of the test on. A
// discontinuity is "|", a gap is in brackets.
func segmentsOf(playlist string) string {
	var all []string
	gap := false
	for l := range strings.Lines(playlist) {
		switch l = strings.TrimSpace(l); {
		case l == "#EXT-X-DISCONTINUITY":
			all = append(all, "|")
		case l == "#EXT-X-GAP":
			gap = true
		case strings.HasSuffix(l, ".m4s"):
			var seq uint64
			_, _ = fmt.Sscanf(l[strings.LastIndex(l, "/")+1:], "%d.m4s", &seq)
			one := fmt.Sprint(int64(seq - testPlace.Seq))
			if gap {
				one = "(" + one + ")"
			}
			all, gap = append(all, one), false
		}
	}
	return strings.Join(all, " ")
}

// A range holds what overlaps it, has an end, and the same segments as the live playlist.
func TestRange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(testmedia.Start.Add(time.Hour))) // of the bubble's time
		log := newFakeLog()
		f := testmedia.Synthetic(testPlace, 10)
		last := f[9].Entry
		f[4].Entry = testmedia.GapAt(f[3].Entry, time.Second)
		for i := 6; i < 10; i++ {
			f[i].Entry.Session++
		}
		log.add("cam", f[:8]...)
		log.add("cam", f[9]) // 8 is in a hole
		log.expire("cam", testPlace.Seq+1)
		s := run(t, Config{}, log)

		for _, c := range []struct {
			from, to float64
			segments string
			offset   string
		}{
			{2.5, 3.5, "2 3", "0.500000"},
			{2, 3, "2", "0.000000"},
			{3.5, 9.99, "3 (4) 5 | 6 7 | 9", "0.500000"},
			{-3000, 2, "1", "0.000000"}, // 0 has expired
		} {
			body := want(t, get(s, "/hls/cam/index.m3u8"+rangeQuery(c.from, c.to)), 200)
			uri := streams(body)
			if len(uri) != 1 || uri[0] != "raw.m3u8"+rangeQuery(c.from, c.to) || !strings.Contains(body, "BANDWIDTH=") || !strings.Contains(body, `CODECS="avc1.4D400D,mp4a.40.2",RESOLUTION=320x180`) {
				t.Errorf("%v to %v: %s", c.from, c.to, body)
			}
			body = want(t, get(s, "/hls/cam/"+uri[0]), 200)
			if got := segmentsOf(body); got != c.segments {
				t.Errorf("%v to %v: segments %s, want %s", c.from, c.to, got, c.segments)
			}
			if !strings.Contains(body, "#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-START:TIME-OFFSET="+c.offset+",PRECISE=YES\n") || !strings.HasSuffix(body, "#EXT-X-ENDLIST\n") || strings.Contains(body, "EXT-X-PART") || strings.Contains(body, "SERVER-CONTROL") {
				t.Errorf("%v to %v:\n%s", c.from, c.to, body)
			}
		}

		// Without an end it ends now, and a time may count from now.
		now := time.Now()
		log.add("cam", moved(last, f[9], now.Add(-2*time.Second), testPlace.Seq+20), moved(last, f[9], now.Add(-time.Second), testPlace.Seq+21))
		for query, segments := range map[string]string{
			"?start=-1500ms":           "20 21",
			"?start=-1500ms&end=-500s": "",
			fmt.Sprintf("?start=%d&end=%d", now.Unix()-2, now.Unix()-1): "20",
		} {
			w := get(s, "/hls/cam/raw.m3u8"+query)
			if got := segmentsOf(w.Body.String()); got != segments {
				t.Errorf("%s: %s, want %s: %s", query, got, segments, w.Body)
			}
		}
	})
}

// The playlist of a range that gets no more footage is made once, and again when footage has expired.
func TestRangeIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(testmedia.Start.Add(time.Hour))) // of the bubble's time
		log := newFakeLog()
		log.add("cam", testmedia.Synthetic(testPlace, 10)...)
		s := run(t, Config{}, log)
		read := func(path, segments string) (lookups int) {
			t.Helper()
			before := log.reads()
			if got := segmentsOf(want(t, get(s, path), 200)); got != segments {
				t.Errorf("%s: segments %s, want %s", path, got, segments)
			}
			return log.reads() - before
		}
		path := "/hls/cam/raw.m3u8" + rangeQuery(2, 5)
		for range 2 {
			if n := read(path, "2 3 4"); n == 0 {
				t.Error("a range that may get footage was not read")
			}
		}
		time.Sleep(rangeSettles)
		if n := read(path, "2 3 4"); n == 0 {
			t.Error("the range was not read")
		}
		if n := read(path, "2 3 4"); n > 0 {
			t.Errorf("it was read again: %d", n)
		}
		if n := read("/hls/cam/raw.m3u8"+rangeQuery(2, 6), "2 3 4 5"); n == 0 {
			t.Error("another range was not read")
		}
		log.expire("cam", testPlace.Seq+3)
		if n := read(path, "3 4"); n == 0 {
			t.Error("a range that has begun to expire was not read")
		}
		if n := read(path, "3 4"); n > 0 {
			t.Errorf("it was read again: %d", n)
		}
		time.Sleep(keepRange)
		if n := read(path, "3 4"); n == 0 {
			t.Error("after a while it was not read again")
		}
	})
}

// Kept playlists take no more memory than the configuration says. What goes for others is counted.
func TestRangeCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(testmedia.Start.Add(time.Hour + rangeSettles))) // of the bubble's time
		log := newFakeLog()
		log.add("cam", testmedia.Synthetic(testPlace, 10)...)
		s := run(t, Config{RangeCache: 800}, log)
		one, other := "/hls/cam/raw.m3u8"+rangeQuery(2, 5), "/hls/cam/raw.m3u8"+rangeQuery(2, 6)
		read := func(path string) (lookups int) {
			before := log.reads()
			want(t, get(s, path), 200)
			return log.reads() - before
		}
		read(one)
		size := s.ranges.size()
		if n := read(one); size < 401 || size > 800 || n > 0 {
			t.Fatalf("a playlist of %d bytes was read again: %d", size, n)
		}
		read(other)
		if n := read(one); n == 0 || s.ranges.size() > 800 || testutil.ToFloat64(s.metrics.unranged) != 2 {
			t.Errorf("%d reads, %d bytes are kept, %v have gone", n, s.ranges.size(), testutil.ToFloat64(s.metrics.unranged))
		}
	})
}

// moved is a fragment at another time.
func moved(e schemas.Entry, f testmedia.Fragment, start time.Time, seq uint64) testmedia.Fragment {
	e.Seq, e.Start, e.Session = seq, start, e.Session+1
	return testmedia.Fragment{Entry: e, Chunks: f.Chunks}
}

func TestRangesThatAreWrong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(testmedia.Start.Add(time.Hour))) // of the bubble's time
		log := newFakeLog()
		log.add("cam", testmedia.Synthetic(testPlace, 3)...)
		s := run(t, Config{Known: func(camera string) bool { return camera != "nobody" }}, log)
		for url, wants := range map[string]struct {
			code int
			text string
		}{
			"cam/index.m3u8?start=yesterday":          {http.StatusBadRequest, `start: "yesterday" is no time; give RFC 3339`},
			"cam/raw.m3u8?start=-5m&end=1":            {http.StatusBadRequest, `end: "1" is no time`},
			"cam/raw.m3u8?end=-5m":                    {http.StatusBadRequest, `start: "" is no time`},
			"cam/raw.m3u8?start=-5m&end=-6m":          {http.StatusBadRequest, "ends before it begins"},
			"cam/raw.m3u8?start=2099-01-01T00:00:00Z": {http.StatusBadRequest, "in the future"},
			"cam/raw.m3u8?start=-87600h":              {http.StatusBadRequest, "the range is longer than 24h0m0s; ask for a shorter one, or raise egress.max_range"},
			"cam/raw.m3u8" + rangeQuery(60, 120):      {http.StatusNotFound, `camera "cam" has no footage from 2026-03-01T12:01:00Z to 2026-03-01T12:02:00Z`},
			"cam/index.m3u8" + rangeQuery(60, 120):    {http.StatusNotFound, `camera "cam" has no footage from`},
			"other/index.m3u8" + rangeQuery(0, 1):     {http.StatusNotFound, `camera "other" has no footage from`},
			"nobody/index.m3u8" + rangeQuery(0, 1):    {http.StatusNotFound, `no camera "nobody"`},
			"cam/720p.m3u8" + rangeQuery(0, 1):        {http.StatusNotFound, `camera "cam" has no rendition "720p"`},
		} {
			if body := want(t, get(s, "/hls/"+url), wants.code); !strings.Contains(body, wants.text) {
				t.Errorf("%s: %s, want %s", url, body, wants.text)
			}
		}
		log.fail(errors.New("the brokers are away"))
		if body := want(t, get(s, "/hls/cam/raw.m3u8"+rangeQuery(0, 1)), http.StatusServiceUnavailable); !strings.Contains(body, "did not answer") {
			t.Errorf("without brokers: %s", body)
		}
	})
}

// collect keeps all entries in order, however many there are.
func TestCollect(t *testing.T) {
	for _, n := range []int{0, 1, 1023, 1024, 1025, 2048, 5000} {
		all, err := collect(func(yield func(schemas.Entry, error) bool) {
			for i := range n {
				if !yield(schemas.Entry{Seq: uint64(i)}, nil) {
					return
				}
			}
		})
		if err != nil || len(all) != n {
			t.Fatalf("%d of %d, %v", len(all), n, err)
		}
		for i, e := range all {
			if e.Seq != uint64(i) {
				t.Fatalf("%d of %d is %d", i, n, e.Seq)
			}
		}
	}
	if _, err := collect(func(yield func(schemas.Entry, error) bool) { yield(schemas.Entry{}, errLost) }); !errors.Is(err, errLost) {
		t.Error(err)
	}
}
