package assemble

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/framelog/framelog/ingest"
	"github.com/framelog/framelog/internal/codec/codectest"
	"github.com/framelog/framelog/schemas"
)

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// stream is a camera of the imagination.
type stream struct {
	frame   float64 // ticks a picture
	gop     int     // pictures
	codec   schemas.Codec
	config  []byte
	aac     bool
	jitter  int64 // of video timestamps, ticks
	reorder []int // order of display within a pattern, in decoding order: {0} is none
	size    int   // bytes a picture
	seed    uint64
}

func (s stream) tracks() []schemas.Track {
	c := s.codec
	if c == "" {
		c = schemas.H264
	}
	config := s.config
	if config == nil && c == schemas.H264 {
		config = codectest.H264{Reorder: 0}.Config()
	}
	tracks := []schemas.Track{{ID: schemas.VideoTrack, Codec: c, Timescale: schemas.MediaTimescale, Config: config, Width: 320, Height: 240}}
	if s.aac {
		tracks = append(tracks, schemas.Track{ID: schemas.AudioTrack, Codec: schemas.AAC, Timescale: 48000, Config: []byte{0x11, 0x90}, SampleRate: 48000, Channels: 2})
	}
	return tracks
}

// units is what the camera sends over d, by arrival.
func (s stream) units(d time.Duration) []ingest.Unit {
	rnd := rand.New(rand.NewPCG(s.seed, 1))
	pattern := s.reorder
	if pattern == nil {
		pattern = []int{0}
	}
	size := max(s.size, 16)
	var us []ingest.Unit
	const origin = 1 << 33
	total := int(float64(schemas.Ticks(d)) / s.frame)
	for i := 0; i < total; i++ {
		key := i%s.gop == 0
		shown := i
		if in := i % s.gop; in > 0 {
			// The pattern repeats behind the keyframe; what does not fill it
			// is not reordered.
			block := (in - 1) / len(pattern) * len(pattern)
			if block+len(pattern) <= s.gop-1 {
				shown = i - in + 1 + block + pattern[(in-1)%len(pattern)]
			}
		}
		pts := origin + int64(float64(shown)*s.frame+0.5)
		if s.jitter > 0 && i > 0 {
			pts += rnd.Int64N(2*s.jitter+1) - s.jitter
		}
		data := codectest.Unit264(key, uint64(i), size)
		if s.codec == schemas.MJPEG {
			data = append([]byte{0xff, 0xd8, 0xff, 0xe0}, data...)
		}
		us = append(us, ingest.Unit{
			Track: schemas.VideoTrack, PTS: pts, Data: data,
			Captured: epoch.Add(schemas.FromTicks(int64(float64(i) * s.frame))),
		})
	}
	if s.aac {
		for i := int64(0); i*1024*90/48 < schemas.Ticks(d)*1000/1000; i++ {
			us = append(us, ingest.Unit{
				Track: schemas.AudioTrack, PTS: origin*48/90 + 1 + i*1024, Data: codectest.Unit264(false, 1<<40|uint64(i), 16),
				Captured: epoch.Add(time.Duration(i*1024+1024) * time.Second / 48000),
			})
		}
	}
	slices.SortStableFunc(us, func(a, b ingest.Unit) int { return a.Captured.Compare(b.Captured) })
	return us
}

// run gives units to a new assembler, and flushes.
func run(t testing.TB, cfg Config, tracks []schemas.Track, us []ingest.Unit, m *memory) *Assembler {
	t.Helper()
	m.t = t
	a := New(cfg, m, nil)
	feed(t, a, tracks, us)
	a.Flush()
	return a
}

func feed(t testing.TB, a *Assembler, tracks []schemas.Track, us []ingest.Unit) {
	t.Helper()
	if tracks != nil {
		if err := a.Tracks(tracks); err != nil {
			t.Fatal(err)
		}
	}
	for _, u := range us {
		if err := a.Unit(u); err != nil {
			t.Fatal(err)
		}
	}
}

// only is the units of one track.
func only(us []ingest.Unit, track uint8) []ingest.Unit {
	return slices.DeleteFunc(slices.Clone(us), func(u ingest.Unit) bool { return u.Track != track })
}

// wantAll reports whether the samples are exactly the units, in their order.
func wantAll(t testing.TB, got []schemas.Sample, want []ingest.Unit) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d samples of %d units", len(got), len(want))
	}
	for i := range min(len(got), len(want)) {
		if string(got[i].Data) != string(want[i].Data) {
			t.Errorf("sample %d of %d is not unit %d", i, len(got), i)
			return
		}
	}
}
