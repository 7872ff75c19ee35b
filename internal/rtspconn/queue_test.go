package rtspconn

import (
	"fmt"
	"testing"

	"github.com/framelog/framelog/internal/codec/codectest"
	"github.com/framelog/framelog/schemas"
)

// Behind what is dropped video goes on at any picture at which a decoder can
// begin, and where none comes it goes on too: somebody must be told.
func TestQueueGoesOn(t *testing.T) {
	key, recovery, refresh, other := codectest.Unit264(true, 1, 20), codectest.Recovery264(0, true, 1, 20), codectest.Recovery264(9, false, 1, 20), codectest.Unit264(false, 1, 20)
	const idr, cra, rasl, trail = 20, 21, 8, 1
	h265 := func(typ byte) []byte { return codectest.Unit265(typ, 1, 20) }
	for _, c := range []struct {
		name        string
		codec       schemas.Codec
		other, unit []byte
		want        bool
	}{
		{"IDR", schemas.H264, other, key, true},
		{"recovery point", schemas.H264, other, recovery, true},
		{"gradual refresh", schemas.H264, other, refresh, false},
		{"H.265 IDR", schemas.H265, h265(trail), h265(idr), true},
		{"CRA", schemas.H265, h265(trail), h265(cra), true},
		{"RASL", schemas.H265, h265(trail), h265(rasl), false},
	} {
		q := NewQueue(1, 1<<20)
		put := func(unit []byte) (taken bool) {
			q.Put(Item{Track: schemas.VideoTrack, Unit: Unit{Data: unit}}, c.codec)
			return len(q.items) > 0
		}
		put(c.other)
		put(c.other) // no room
		q.Take()
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

func nal(header ...byte) []byte {
	return append([]byte{0, 0, 0, byte(len(header) + 3)}, append(header, 1, 2, 3)...)
}

func TestQueueDropsToTheNextRandomAccessPoint(t *testing.T) {
	q := NewQueue(3, 1000)
	unit := func(track uint8, n int, idr bool) {
		d := nal(0x41)
		if idr {
			d = append(nal(0x67), nal(0x65)...)
		}
		q.Put(Item{Track: track, Packets: 2, Unit: Unit{PTS: int64(n), Data: d}}, schemas.H264)
	}
	told := func() (s string) {
		for _, it := range q.Take() {
			s += fmt.Sprintf("%d:%d/%d ", it.Track, it.Unit.PTS, it.Unit.Lost)
		}
		return s
	}
	unit(1, 0, true)
	unit(1, 1, false)
	unit(2, 2, false)
	unit(1, 3, false) // no room
	unit(2, 4, false) // no room
	if got := told(); got != "1:0/0 1:1/0 2:2/0 " {
		t.Error(got)
	}
	unit(1, 5, false) // refers to what was dropped
	unit(2, 6, false)
	unit(1, 7, true)
	unit(1, 8, false)
	if got := told(); got != "2:6/2 1:7/4 1:8/0 " {
		t.Error(got)
	}
	if q.Dropped() != 3 {
		t.Errorf("%d dropped", q.Dropped())
	}
	// By bytes.
	q.Put(Item{Track: 1, Unit: Unit{Data: make([]byte, 1001)}}, schemas.MJPEG)
	if got := told(); got != "" {
		t.Error(got)
	}
}

func FuzzRandomAccess(f *testing.F) {
	f.Add(nal(0x65))
	f.Add([]byte{0, 0, 0, 9, 1})
	f.Add([]byte{255, 255, 255, 255, 5, 0})
	f.Fuzz(func(_ *testing.T, b []byte) {
		randomAccess(schemas.H264, b)
		randomAccess(schemas.H265, b)
	})
}
