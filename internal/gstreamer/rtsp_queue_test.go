package gstreamer

import (
	"testing"

	"github.com/framelog/framelog/internal/codec/codectest"
	"github.com/framelog/framelog/schemas"
)

// Behind what is dropped video goes on at any picture at which a decoder can
// begin, and where none comes it goes on too: somebody must be told.
func TestRTSPQueueGoesOn(t *testing.T) {
	key, recovery, refresh, other := codectest.Unit264(true, 1, 20), codectest.Recovery264(0, true, 1, 20), codectest.Recovery264(9, false, 1, 20), codectest.Unit264(false, 1, 20)
	const idr, cra, rasl, trail = 20, 21, 8, 1
	h265 := func(typ byte) []byte { return codectest.Unit265(typ, 1, 20) }
	for _, c := range []struct {
		name, media string
		other, unit []byte
		want        bool
	}{
		{"IDR", "video/x-h264", other, key, true},
		{"recovery point", "video/x-h264", other, recovery, true},
		{"gradual refresh", "video/x-h264", other, refresh, false},
		{"H.265 IDR", "video/x-h265", h265(trail), h265(idr), true},
		{"CRA", "video/x-h265", h265(trail), h265(cra), true},
		{"RASL", "video/x-h265", h265(trail), h265(rasl), false},
	} {
		q := newRTSPQueue(1, 1<<20)
		put := func(unit []byte) (taken bool) {
			q.put(RTSPItem{Track: schemas.VideoTrack, Unit: RTSPUnit{Data: unit}}, c.media)
			return len(q.items) > 0
		}
		put(c.other)
		put(c.other) // no room
		q.take()
		if put(c.other) {
			t.Errorf("%s: video goes on at a picture that needs what was dropped", c.name)
		}
		if got := put(c.unit); got != c.want {
			t.Errorf("%s: video goes on: %v", c.name, got)
		}
		n := 0
		for ; len(q.items) == 0 && n < 2*maxSkip; n++ {
			put(c.other)
		}
		if len(q.items) == 0 {
			t.Errorf("%s: video does not go on after %d units", c.name, n)
		}
	}
}
