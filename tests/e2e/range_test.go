package e2e

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/tests/oracle/media"
	"github.com/framelog/framelog/tests/system"
	"github.com/framelog/framelog/tests/testenv"
)

// A past range has the frames that the camera sent then, those of whole segments.
func TestRanges(t *testing.T) {
	file := testenv.Clip{Seconds: 8, BFrames: 2, Audio: "aac", FPS: 25}.File(t)
	cam, source := system.Camera(t, camsim.CameraConfig{Feed: system.Load(t, file), HangUp: true})
	f := testenv.Up(t, testenv.UpOptions{Config: system.Cameras(map[string]string{"cam": source})})
	base := testenv.Nginx(t, "", f.URL)
	testenv.Wait(t, 2*testenv.Patience, "the clip's end", cam.Over)
	live := settled(t, system.Multivariant(base, "cam"), 8*time.Second).Segments
	frames := testenv.FrameHashes(t, file, testenv.HashOptions{NoAudio: true}).Video
	begin := live[0].PDT
	query := func(from, to time.Duration) string {
		v := url.Values{"start": {begin.Add(from).Format(time.RFC3339Nano)}, "end": {begin.Add(to).Format(time.RFC3339Nano)}}
		return "?" + v.Encode()
	}
	// index is the first frame that is shown at a time or later.
	index := func(at time.Duration) int { return int((at*25 + time.Second - 1) / time.Second) }

	for _, c := range [][2]time.Duration{{2400 * time.Millisecond, 5600 * time.Millisecond}, {0, 3 * time.Second}, {6520 * time.Millisecond, 7 * time.Second}} {
		want := frames[index(c[0]):index(c[1])]
		got := testenv.FrameHashes(t, base+"/hls/cam/index.m3u8"+query(c[0], c[1]), testenv.HashOptions{NoAudio: true}).Video
		from, d := media.Window(frames, got)
		if d != "" || from > index(c[0]) || from+len(got) < index(c[1]) || len(got) > len(want)+2*25 {
			t.Errorf("HLS of %v: %s; frames %d to %d, want %d to %d and not much more", c, d, from, from+len(got), index(c[0]), index(c[1]))
		}
	}
	for url, want := range map[string]int{"index.m3u8" + query(-time.Hour, -59*time.Minute): http.StatusNotFound, "raw.m3u8?start=yesterday": http.StatusBadRequest} {
		if status, b, err := testenv.Get(t, base+"/hls/cam/"+url); err != nil || status != want {
			t.Errorf("%s: %d, %v, %.200s", url, status, err, b)
		}
	}
}
