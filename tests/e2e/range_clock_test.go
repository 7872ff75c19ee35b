package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/tests/oracle/pictures"
	"github.com/framelog/framelog/tests/system"
	"github.com/framelog/framelog/tests/testenv"
)

// Public time steps back by 3 s, inside a session or between two. A playlist and the clips of a range have
// all pictures of these times, those that were recorded before the step and those behind it.
func TestRangeWherePublicTimeStepsBack(t *testing.T) {
	t.Parallel()
	f := testenv.Up(t, testenv.UpOptions{})
	begin := time.Now().Add(-time.Hour).Truncate(time.Second)
	at := func(seconds int) time.Time { return begin.Add(time.Duration(seconds) * time.Second) }
	sessions := map[string]int{"one": 1, "two": 2} // by camera
	for id, n := range sessions {
		system.RecordPast(t, f, id, system.Span{From: at(0), To: at(10)}, system.Span{From: at(7), To: at(17), GoesOn: n == 1})
	}
	const tick = time.Second / system.PastFPS
	// shown are the times in the pictures of files or URLs.
	shown := func(inputs ...string) (times []time.Duration) {
		t.Helper()
		const width, height = 320, 180
		for _, input := range inputs {
			for _, luma := range pictures.Decode(t, input, "gray", width*height) {
				s, err := camsim.ReadStrip(luma, width, width, height)
				if err != nil {
					t.Fatalf("%s: picture %d: %v", input, len(times), err)
				}
				times = append(times, s.Time.Sub(begin))
			}
		}
		return times
	}
	// clips are the files of a range: one, or those that the answer lists.
	clips := func(url string) (paths []string) {
		t.Helper()
		status, b, err := testenv.Get(t, url)
		if err != nil {
			t.Fatal(err)
		}
		if status == http.StatusOK {
			path, _ := download(t, url)
			return []string{path}
		}
		var several struct{ Clips []struct{ Seq uint64 } }
		if err := json.Unmarshal(b, &several); err != nil || status != http.StatusConflict || len(several.Clips) != 2 {
			t.Fatalf("%s: %d %s, %v", url, status, b, err)
		}
		for _, c := range several.Clips {
			path, _ := download(t, fmt.Sprintf("%s&seq=%d", url, c.Seq))
			paths = append(paths, path)
		}
		return paths
	}
	var all []time.Duration // in the order of recording
	for _, s := range []span{{0, 10 * time.Second}, {7 * time.Second, 17 * time.Second}} {
		for d := s.from; d < s.to; d += tick {
			all = append(all, d)
		}
	}
	for id, n := range sessions {
		for _, in := range []span{{0, 17 * time.Second}, {7200 * time.Millisecond, 7900 * time.Millisecond}, {9500 * time.Millisecond, 11 * time.Second}} {
			playlist := f.URL + "/hls/" + id + "/index.m3u8" + in.query(begin)
			files := clips(f.URL + "/clip/" + id + ".mp4" + in.query(begin))
			if len(files) != n {
				t.Errorf("%s, %v to %v: %d clips of %d sessions", id, in.from, in.to, len(files), n)
			}
			for what, got := range map[string][]time.Duration{"the clips": shown(files...), "the playlist": shown(playlist)} {
				rest := got
				for _, d := range all {
					switch {
					case len(rest) > 0 && rest[0] == d:
						rest = rest[1:]
					case d >= in.from && d < in.to:
						t.Errorf("%s, %s of %v to %v: the picture of %v is missing, or at another place: %v", id, what, in.from, in.to, d, got)
					}
				}
				if len(rest) > 0 {
					t.Errorf("%s, %s of %v to %v: pictures in another order: %v", id, what, in.from, in.to, got)
				}
			}
		}
	}
}
