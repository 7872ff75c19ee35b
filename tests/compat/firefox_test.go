package compat

import (
	"net/http"
	"testing"
	"time"

	"github.com/framelog/framelog/tests/testenv"
)

// Firefox begins to play each time it is started: in some browsers the first
// decoder of a profile is slow, or never starts.
func TestFirefoxBegins(t *testing.T) {
	testenv.Long(t)
	const starts = 12
	c := makeClip(t, 0, 0, piece{GOP: time.Second, Long: 30 * time.Second})
	r, f := startRelay(t), testenv.Up(t, testenv.UpOptions{})
	sound := beeps(t, c.long(), "m4a", "-c:a", "aac", "-b:a", "64k")
	c.again = -1
	r.publish(t, "cam", c, sound)
	put(t, f, "cam", r.url("cam"))
	testenv.Wait(t, testenv.Patience, "the playlist", func() bool {
		status, _, err := f.Get(t, "/hls/cam/index.m3u8")
		return err == nil && status == http.StatusOK
	})
	for n := range starts {
		p := newPage(t, inFirefox[0], f.URL, "cam")
		began := time.Now()
		b := firefox(t, wall(t, []*page{p}))
		for p.report().FirstAt == 0 && time.Since(began) < 40*time.Second {
			select {
			case <-time.After(50 * time.Millisecond): // the browser begins
			case <-b.Done():
				t.Fatalf("Firefox ended:\n%s", b.Log.Tail(20))
			}
		}
		x := p.report()
		if x.FirstAt == 0 {
			t.Errorf("start %d: no picture: %+v\n%s", n, x, p.tell())
		} else {
			t.Logf("start %d: page after %d ms, picture after %d ms more", n, x.Began-began.UnixMilli(), x.FirstAt-x.Began)
		}
		b.KillTree()
	}
}
