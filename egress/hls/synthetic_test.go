package hls

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

// Configurations as encoders gave them: 320x180, H.264 main profile.
var (
	avcSPS = unhex("674d400decaa0a0cfd808800000300080000030190478a1524")
	avcPPS = unhex("68ea8f2c")
	avcC   = append(append(append([]byte{1, 0x4d, 0x40, 0x0d, 0xff, 0xe1, 0, byte(len(avcSPS))}, avcSPS...), 1, 0, byte(len(avcPPS))), avcPPS...)
)

// synthetic is fragments of frames that no decoder would take, for all that
// does not decode: 25 frames a second, a fragment a second, chunks of 5
// frames, sound of 48 kHz in frames of 960.
func synthetic(p place, n int) []fragmentData {
	c := clip{tracks: []schemas.Track{
		{ID: schemas.VideoTrack, Codec: schemas.H264, Timescale: schemas.MediaTimescale, Config: avcC, Width: 320, Height: 180},
	}, samples: map[uint8][]schemas.Sample{}}
	for i := range 25 * n {
		kind := byte(0x41)
		if i%25 == 0 {
			kind = 0x65
		}
		c.samples[schemas.VideoTrack] = append(c.samples[schemas.VideoTrack], schemas.Sample{
			DTS: int64(i) * 3600, Duration: 3600, PTSOffset: []int32{0, 3600, -1800}[i%3], Sync: i%25 == 0,
			Data: []byte{0, 0, 0, 4, kind, byte(i), byte(p.session), byte(p.epoch)},
		})
	}
	if p.layout.Audio != "" {
		c.tracks = append(c.tracks, schemas.Track{
			ID: schemas.AudioTrack, Codec: schemas.AAC, Timescale: 48000, Config: []byte{0x11, 0x90}, SampleRate: 48000, Channels: 2,
		})
		for i := range 50 * n {
			c.samples[schemas.AudioTrack] = append(c.samples[schemas.AudioTrack], schemas.Sample{
				DTS: int64(i) * 960, Duration: 960, Sync: true, Data: []byte{0x21, byte(i), 0x10},
			})
		}
	}
	return c.fragments(p, 5)
}

// gapAt is a gap entry of d after e.
func gapAt(e schemas.Entry, d time.Duration) schemas.Entry {
	return schemas.Entry{
		Kind: schemas.KindGap, Seq: e.Seq + 1, Session: e.Session, Layout: e.Layout, Start: e.End(),
		Media: e.MediaEnd(), Duration: schemas.Ticks(d), Reason: schemas.ReasonBudget,
	}
}

// after is the place that follows an entry in the same session.
func after(e schemas.Entry, p place) place {
	p.seq, p.start = e.Seq+1, e.End()
	return p
}
