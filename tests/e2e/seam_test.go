package e2e

import (
	"slices"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/tests/testenv"
)

// A camera with sound ends right behind a keyframe, so that the last segment of
// its session is a picture or two, and has no sound, which comes later than
// pictures do. The page goes on with the next session all the same.
func TestCutBehindAKeyframe(t *testing.T) {
	strain, pauses := testenv.WatchStrain(t), testenv.WatchPauses(t)
	b := testenv.Chromium(t)
	live, err := camsim.NewLive(t.Context(), camsim.LiveConfig{Width: 640, Height: 360, KeyInterval: 25, Audio: true})
	if err != nil {
		t.Fatal(err)
	}
	cam, url := camera(t, camsim.CameraConfig{Feed: live, SentLimit: 100_000})
	f := testenv.Up(t, testenv.UpOptions{Config: cameras(map[string]string{"cam": url})})
	p := b.Open(t, testenv.Nginx(t, "", f.URL)+"/#cam")
	tellFailure(t, p)
	const playing = "window.framelog && window.framelog.players().some(p => p.mode === 'focus' && p.state === 'playing')"
	p.Wait(2*testenv.Patience, playing)
	p.Eval(sampler, nil)

	const short = 2 * 40 * time.Millisecond
	cuts, rounds := 0, 0
	for ; cuts < 3 && rounds < 12; rounds++ {
		<-time.After(3 * time.Second) // the browser looks on
		cam.Refuse(true)
		// By itself, since on a busy machine a look at what it sent comes too
		// late.
		select {
		case <-cam.StallBehindKey():
		case <-time.After(testenv.Patience):
			t.Fatal("no keyframe")
		}
		testenv.Wait(t, testenv.Patience, "the keyframe on its way", cam.Flushed)
		cam.Drop()
		testenv.Wait(t, testenv.Patience, "the end of the connection", func() bool { return cam.Clients() == 0 })
		cam.Stall(false)
		p.Wait(2*testenv.Patience, "window.framelog.cameras()[0].status.state !== 'live'")
		// The playlist may tell of the end a little later than the page.
		for end := time.Now().Add(5 * time.Second); time.Now().Before(end); <-time.After(20 * time.Millisecond) {
			m := playlist(t, f.URL+"/hls/cam/index.m3u8")
			if m != nil && len(m.Segments) > 0 && m.Segments[len(m.Segments)-1].Duration <= short {
				cuts++
				break
			}
		}
		cam.Refuse(false)
		p.Wait(2*testenv.Patience, "window.framelog.cameras()[0].status.state === 'live'")
		<-time.After(3 * time.Second) // the browser looks on
		p.Wait(2*testenv.Patience, playing)
	}
	if cuts == 0 {
		t.Fatalf("no session ended right behind a keyframe, in %d", rounds)
	}
	all := looks(p)
	away := holes(cam.Sent(), 500*time.Millisecond)
	patience := strain.Stretch(longestStall) + pauses.Longest(time.Time{}, time.Now())
	t.Logf("%d of %d sessions ended right behind a keyframe; the picture may stand for %v", cuts, rounds, patience.Round(time.Millisecond))
	for _, s := range stalls(all, away, 500*time.Millisecond) {
		t.Logf("the picture stood %s", s)
	}
	for _, s := range stalls(all, away, patience) {
		t.Errorf("stalled: %s", s)
	}
	if r := focused(p); r.FatalErrors > 0 || slices.ContainsFunc(r.Errors, func(e string) bool { return e == "made anew: no progress" }) {
		t.Errorf("errors: %v", r.Errors)
	}
	noProblems(t, p)
}
