package e2e

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/tests/system"
	"github.com/framelog/framelog/tests/testenv"
)

// A session of a camera with sound ends right after a keyframe. Its last segment
// has a picture or two, and no sound, because sound comes later than pictures. The
// page goes on with the next session all the same.
func TestCutBehindAKeyframe(t *testing.T) { system.Engines(t, testCutBehindAKeyframe) }

func testCutBehindAKeyframe(t *testing.T, engine string) {
	strain, pauses := testenv.WatchStrain(t), testenv.WatchPauses(t)
	b := testenv.Chromium(t)
	live, err := camsim.NewLive(t.Context(), camsim.LiveConfig{Width: 640, Height: 360, KeyInterval: 25, Audio: true})
	if err != nil {
		t.Fatal(err)
	}
	cam, url := system.Camera(t, camsim.CameraConfig{Feed: live, SentLimit: 100_000})
	f := system.Up(t, engine, testenv.UpOptions{Config: system.Cameras(map[string]string{"cam": url})})
	p := b.Open(t, testenv.Nginx(t, "", f.URL)+"/#cam")
	tellFailure(t, p)
	const playing = "window.framelog && window.framelog.players().some(p => p.mode === 'focus' && p.state === 'playing')"
	p.Wait(2*testenv.Patience, playing)
	p.Eval(sampler, nil)

	// watched waits until the browser has shown n more pictures.
	watched := func(n int) {
		t.Helper()
		var from int
		p.Eval("window.seen.length", &from)
		p.Wait(2*testenv.Patience, fmt.Sprintf("new Set(window.seen.slice(%d).map(s => s.taken)).size >= %d", from, n))
	}

	const short = 2 * 40 * time.Millisecond
	cuts, rounds := 0, 0
	for ; cuts < 3 && rounds < 12; rounds++ {
		watched(20)
		cam.Refuse(true)
		// The camera stalls by itself: on a busy machine the test would see the
		// keyframe too late.
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
		// The playlist may show the session's end a little later than the page. Some
		// sessions do not end as wanted; they do not count.
		if testenv.Poll(t, 5*time.Second, func() bool {
			m := system.MediaPlaylist(t, system.Multivariant(f.URL, "cam"))
			return m != nil && len(m.Segments) > 0 && m.Segments[len(m.Segments)-1].Duration <= short
		}) {
			cuts++
		}
		cam.Refuse(false)
		p.Wait(2*testenv.Patience, "window.framelog.cameras()[0].status.state === 'live'")
		p.Wait(2*testenv.Patience, playing)
		watched(20)
	}
	if cuts == 0 {
		t.Fatalf("no session ended right after a keyframe, in %d", rounds)
	}
	all := looks(p)
	away := holes(cam.Sent(), 500*time.Millisecond)
	patience := strain.Stretch(longestStall) + pauses.Longest(time.Time{}, time.Now())
	t.Logf("%d of %d sessions ended right after a keyframe; the picture may stand still for %v", cuts, rounds, patience.Round(time.Millisecond))
	for _, s := range stalls(all, away, 500*time.Millisecond) {
		t.Logf("the picture stood still %s", s)
	}
	for _, s := range stalls(all, away, patience) {
		t.Errorf("stalled: %s", s)
	}
	if r := system.Focused(p); r.FatalErrors > 0 || slices.ContainsFunc(r.Errors, func(e string) bool { return e == "made anew: no progress" }) {
		t.Errorf("errors: %v", r.Errors)
	}
	noProblems(t, p)
}
