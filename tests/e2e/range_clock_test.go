package e2e

import (
	"testing"
	"time"

	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/tests/oracle/pictures"
	"github.com/framelog/framelog/tests/system"
	"github.com/framelog/framelog/tests/testenv"
)

// Public time steps back by 3 s inside a session. A playlist and a clip of a range have all
// pictures of these times, those that were recorded before the step and those behind it.
func TestRangeWherePublicTimeStepsBack(t *testing.T) {
	t.Parallel()
	f := testenv.Up(t, testenv.UpOptions{})
	begin := time.Now().Add(-time.Hour).Truncate(time.Second)
	at := func(seconds int) time.Time { return begin.Add(time.Duration(seconds) * time.Second) }
	system.RecordPast(t, f, "cam", system.Span{From: at(0), To: at(10)}, system.Span{From: at(7), To: at(17), GoesOn: true})
	const tick = time.Second / system.PastFPS
	// shown are the times in the pictures of a file or URL.
	shown := func(input string) (times []time.Duration) {
		t.Helper()
		const width, height = 320, 180
		for _, luma := range pictures.Decode(t, input, "gray", width*height) {
			s, err := camsim.ReadStrip(luma, width, width, height)
			if err != nil {
				t.Fatalf("%s: picture %d: %v", input, len(times), err)
			}
			times = append(times, s.Time.Sub(begin))
		}
		return times
	}
	var all []time.Duration // in the order of recording
	for _, s := range []span{{0, 10 * time.Second}, {7 * time.Second, 17 * time.Second}} {
		for d := s.from; d < s.to; d += tick {
			all = append(all, d)
		}
	}
	for _, in := range []span{{0, 17 * time.Second}, {7200 * time.Millisecond, 7900 * time.Millisecond}, {9500 * time.Millisecond, 11 * time.Second}} {
		path, _ := download(t, f.URL+"/clip/cam.mp4"+in.query(begin))
		for what, got := range map[string][]time.Duration{"the clip": shown(path), "the playlist": shown(f.URL + "/hls/cam/index.m3u8" + in.query(begin))} {
			rest := got
			for _, d := range all {
				switch {
				case len(rest) > 0 && rest[0] == d:
					rest = rest[1:]
				case d >= in.from && d < in.to:
					t.Errorf("%s of %v to %v lacks the picture of %v, or has it at another place: %v", what, in.from, in.to, d, got)
				}
			}
			if len(rest) > 0 {
				t.Errorf("%s of %v to %v: pictures in another order: %v", what, in.from, in.to, got)
			}
		}
	}
}
