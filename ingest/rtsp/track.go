package rtsp

import (
	"bytes"
	"math"

	"github.com/framelog/framelog/internal/rtspconn"
	"github.com/framelog/framelog/schemas"
)

// trackOf returns the log's track for a format. ok is false if the log has no
// codec for it, or if its description is incomplete.
func trackOf(id uint8, f *rtspconn.Format) (t schemas.Track, ok bool) {
	t = schemas.Track{ID: id, Codec: f.Codec, Config: f.Config}
	switch f.Codec {
	case schemas.MJPEG:
		t.Config = nil
	case schemas.Opus:
		if f.Channels != 1 {
			f.Channels = 2 // RFC 7587, 4.1: a receiver is always ready for two
		}
		t.Config = opusHead(uint8(f.Channels))
	case "":
		return t, false
	default:
	}
	if t.Codec.Video() {
		if f.Width <= 0 || f.Width > math.MaxUint16 || f.Height <= 0 || f.Height > math.MaxUint16 {
			return t, false
		}
		t.Timescale = schemas.MediaTimescale
		t.Width, t.Height = uint16(f.Width), uint16(f.Height)
	} else {
		if f.Rate <= 0 || f.Channels <= 0 || f.Channels > math.MaxUint8 {
			return t, false
		}
		t.Timescale = uint32(f.Rate)
		t.SampleRate, t.Channels = uint32(f.Rate), uint8(f.Channels)
	}
	if t.Codec != schemas.MJPEG && len(t.Config) == 0 {
		return t, false
	}
	return t, true
}

// opusHead returns the OpusHead of RFC 7845, 5.1 without its magic: version 1,
// no pre-skip (we receive the stream from its middle on), 48 kHz, no gain,
// mapping family 0.
func opusHead(channels uint8) []byte {
	return []byte{1, channels, 0, 0, 0x80, 0xbb, 0, 0, 0, 0, 0}
}

func sameTrack(a, b schemas.Track) bool {
	cfg := bytes.Equal(a.Config, b.Config)
	a.Config, b.Config = nil, nil
	return cfg && a.ID == b.ID && a.Codec == b.Codec && a.Timescale == b.Timescale &&
		a.Width == b.Width && a.Height == b.Height && a.SampleRate == b.SampleRate && a.Channels == b.Channels
}
