package e2e

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/tests/oracle/media"
	"github.com/framelog/framelog/tests/system"
	"github.com/framelog/framelog/tests/testenv"
)

// In one range a camera is away for some seconds, comes back with another resolution, and then
// the broker is killed and starts again. ffmpeg and hls.js with its defaults play the range from
// end to end: every picture that the camera sent, and where the camera was away the next one.
func TestRangeOverTrouble(t *testing.T) {
	b := testenv.Chromium(t)
	const first, second, away = 3, 9, 2 // seconds
	const other = 500                   // the number of the first picture after the absence
	encoder := []string{"-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-sc_threshold", "0"}
	files := []string{numbered(t, 0, first, "320x240", encoder...), numbered(t, other, second, "640x360", encoder...)}
	listen := fmt.Sprintf("127.0.0.1:%d", testenv.FreePort(t))
	serve := func(file string) *camsim.Server {
		return system.Serve(t, camsim.Config{Listen: listen, Cameras: []camsim.CameraConfig{{Path: "cam", Feed: system.Load(t, file), HangUp: true}}})
	}
	over := func(s *camsim.Server) { // until the camera has sent all, and does not come back by itself
		t.Helper()
		cam := s.Camera("cam")
		testenv.Wait(t, 2*testenv.Patience, "a client of the camera", func() bool { return cam.Clients() > 0 })
		s.Down()
		testenv.Wait(t, 2*testenv.Patience, "the clip's end", func() bool { return cam.Over() && cam.Clients() == 0 })
	}

	s := serve(files[0])
	f := testenv.Up(t, testenv.UpOptions{Config: system.Cameras(map[string]string{"cam": s.URL("cam")})})
	multivariant := system.Multivariant(f.URL, "cam")
	over(s)
	s.Close()
	<-time.After(away * time.Second) // the absence
	s = serve(files[1])
	recorded := func(seconds int) (p *system.Playlist) {
		t.Helper()
		testenv.Wait(t, 2*testenv.Patience, fmt.Sprint(seconds, " s of footage"), func() bool {
			p = system.MediaPlaylist(t, multivariant)
			return footage(p) >= seconds
		})
		return p
	}
	recorded(first + 1)
	if n := f.Kill(t, "broker"); n != 1 || s.Camera("cam").Over() {
		t.Fatalf("%d brokers are killed; the camera has sent all before: %v", n, s.Camera("cam").Over())
	}
	over(s)

	// The index has the absence, and nothing else is missing.
	all := recorded(first + second).Segments
	var hole time.Duration
	for i, s := range all {
		if s.Gap {
			hole += s.Duration
		}
		if gap := i >= first && i < len(all)-second; s.Gap != gap || !gap && s.Duration.Round(time.Millisecond) != time.Second {
			t.Errorf("segment %d of %d: %v long, a gap: %v", i, len(all), s.Duration, s.Gap)
		}
	}
	end := all[len(all)-1]
	if hole < away*time.Second || end.Map == all[0].Map || end.DiscSeq != all[0].DiscSeq+1 {
		t.Errorf("the camera was away for %v; there are sessions %d to %d, of %s and %s", hole, all[0].DiscSeq, end.DiscSeq, all[0].Map, end.Map)
	}
	long := end.PDT.Add(end.Duration).Sub(all[0].PDT)
	url := "/hls/cam/index.m3u8" + span{0, long}.query(all[0].PDT)

	var want []testenv.Hash
	for _, file := range files {
		want = append(want, testenv.FrameHashes(t, file, testenv.HashOptions{NoAudio: true}).Video...)
	}
	got := testenv.FrameHashes(t, f.URL+url, testenv.HashOptions{NoAudio: true, Output: []string{"-autoscale", "0"}}).Video
	if d := media.Diff(want, got); d != "" {
		t.Errorf("ffmpeg: %s", d)
	}

	p := b.Open(t, playerPage(t, f.URL))
	began := time.Now()
	p.Eval(fmt.Sprintf("load(%q, {}), watch(), v.playbackRate = 2, v.play()", url), nil)
	p.Wait(2*testenv.Patience, "v.ended || errors.some((e) => e.endsWith('(fatal)'))")
	t.Logf("hls.js plays %v in %v, %v of it absence", long, time.Since(began), hole)
	noFatal(t, p, "hls.js")
	var played struct {
		Ended  bool
		Length float64
		Frames int
		Last   int
		Seen   []int
		Errors []string
	}
	p.Eval("({ended: v.ended, length: v.duration, frames: v.getVideoPlaybackQuality().totalVideoFrames, last: number(), seen, errors})", &played)
	const pictures, before, last = (first + second) * 25, first * 25, other + second*25 - 1
	if !played.Ended || math.Abs(played.Length-long.Seconds()) > 0.04 {
		t.Errorf("hls.js: ended is %v; %.3f s, want %v", played.Ended, played.Length, long)
	}
	// It jumps over the absence, and over little of the pictures around it.
	if !slices.Contains(played.Errors, "bufferSeekOverHole") || played.Frames < pictures-12 || played.Frames > pictures {
		t.Errorf("hls.js decoded %d pictures of %d; %v", played.Frames, pictures, played.Errors)
	}
	if played.Last != last || len(played.Seen) < 20 || !slices.IsSorted(played.Seen) {
		t.Errorf("hls.js shows the pictures %v, and %d in the end; want %d", played.Seen, played.Last, last)
	}
	// Pictures at the borders of the absence and of segments, and inside.
	for _, n := range []int{0, 24, 61, before - 1, before, before + 24, before + 111, pictures - 1} {
		at, number, shown := (float64(n)+0.5)/25, n, 0
		if n >= before {
			at, number = at+hole.Seconds(), n+other-before
		}
		if p.Eval(fmt.Sprintf("at(%f)", at), &shown); shown != number {
			t.Errorf("hls.js shows picture %d at %.2f s, want %d", shown, at, number)
		}
	}
}
