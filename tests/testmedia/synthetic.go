package testmedia

import (
	"encoding/hex"
	"time"

	"github.com/framelog/framelog/schemas"
)

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// A configuration as an encoder gave it: 320x180, H.264 main profile. AVCC is the
// body of avcC.
var (
	SPS  = unhex("674d400decaa0a0cfd808800000300080000030190478a1524")
	PPS  = unhex("68ea8f2c")
	AVCC = append(append(append([]byte{1, 0x4d, 0x40, 0x0d, 0xff, 0xe1, 0, byte(len(SPS))}, SPS...), 1, 0, byte(len(PPS))), PPS...)
)

// Synthetic makes n fragments of frames that no decoder takes, for tests that
// decode nothing: 25 frames a second, a fragment a second, chunks of 5 frames,
// sound of 48 kHz in frames of 960 samples.
func Synthetic(p Place, n int) []Fragment {
	c := Clip{Tracks: []schemas.Track{
		{ID: schemas.VideoTrack, Codec: schemas.H264, Timescale: schemas.MediaTimescale, Config: AVCC, Width: 320, Height: 180},
	}, Samples: map[uint8][]schemas.Sample{}}
	for i := range 25 * n {
		kind := byte(0x41)
		if i%25 == 0 {
			kind = 0x65
		}
		c.Samples[schemas.VideoTrack] = append(c.Samples[schemas.VideoTrack], schemas.Sample{
			DTS: int64(i) * 3600, Duration: 3600, PTSOffset: []int32{0, 3600, -1800}[i%3], Sync: i%25 == 0,
			Data: []byte{0, 0, 0, 4, kind, byte(i), byte(p.Session), byte(p.Epoch)},
		})
	}
	if p.Layout.Audio != "" {
		c.Tracks = append(c.Tracks, schemas.Track{
			ID: schemas.AudioTrack, Codec: schemas.AAC, Timescale: 48000, Config: []byte{0x11, 0x90}, SampleRate: 48000, Channels: 2,
		})
		for i := range 50 * n {
			c.Samples[schemas.AudioTrack] = append(c.Samples[schemas.AudioTrack], schemas.Sample{
				DTS: int64(i) * 960, Duration: 960, Sync: true, Data: []byte{0x21, byte(i), 0x10},
			})
		}
	}
	return c.Fragments(p, 5)
}

// GapAt is the entry of a gap of d behind e.
func GapAt(e schemas.Entry, d time.Duration) schemas.Entry {
	return schemas.Entry{
		Kind: schemas.KindGap, Seq: e.Seq + 1, Session: e.Session, Layout: e.Layout, Start: e.End(),
		Media: e.MediaEnd(), Duration: schemas.Ticks(d), Reason: schemas.ReasonBudget,
	}
}

// After is the place behind an entry, in the same session.
func After(e schemas.Entry, p Place) Place {
	p.Seq, p.Start = e.Seq+1, e.End()
	return p
}
