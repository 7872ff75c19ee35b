package assemble

import (
	"fmt"
	"testing"
	"time"

	"github.com/framelog/framelog/ingest"
	"github.com/framelog/framelog/schemas"
)

// A frame of sound begins exactly with a picture, and two processes have a connection to
// the camera. Each one rounds the times of its sound. What one records up to the picture
// and the other one from there on is all sound, once.
func TestHandoverHasSoundOnce(t *testing.T) {
	const frames, seam, size = 20, 10, 1024
	take := func(rounded, from, limit int64) (got []byte) {
		s, err := newSound(schemas.Track{ID: schemas.AudioTrack, Codec: schemas.AAC, Timescale: 48000, Config: []byte{0x11, 0x90}}, (*Metrics)(nil).camera("yard"))
		if err != nil {
			t.Fatal(err)
		}
		for i := range frames {
			u := ingest.Unit{Track: schemas.AudioTrack, PTS: int64(i)*size + rounded, Data: []byte{byte(i)}, Captured: time.Unix(0, int64(i))}
			s.push(&u, size, time.Hour)
		}
		s.from, s.aligned = from, true
		var c schemas.Chunk
		s.takeRun(&c, limit)
		for _, r := range c.Runs {
			for _, x := range r.Samples {
				got = append(got, x.Data...)
			}
		}
		return got
	}
	var want []byte
	for i := range frames {
		want = append(want, byte(i))
	}
	for _, before := range []int64{-2, 0, 2} {
		for _, after := range []int64{-2, 0, 2} {
			t.Run(fmt.Sprintf("%d,%d", before, after), func(t *testing.T) {
				got := append(take(before, -size, seam*size), take(after, seam*size, frames*size)...)
				if string(got) != string(want) {
					t.Errorf("%v, want %v", got, want)
				}
			})
		}
	}
}
