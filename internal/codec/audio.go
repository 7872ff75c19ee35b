package codec

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/opus"

	"github.com/framelog/framelog/schemas"
)

// OpusConfig is an identification header of Opus without its magic (RFC 7845
// section 5.1), as in the log.
type OpusConfig struct {
	Channels   uint8
	PreSkip    uint16 // samples at 48 kHz
	InputRate  uint32 // Hz, of the encoder's input; decoders do not need it
	OutputGain int16  // dB, in 8.8 fixed point
	Family     uint8
	Mapping    []byte // stream count, coupled count and one byte for each channel, if Family is not 0
}

// OpusRate is the clock of Opus, which does not depend on the input (RFC 7587
// section 4.1).
const OpusRate = 48000

// ParseOpusConfig reads an identification header without its magic. Mapping is a
// slice of b.
func ParseOpusConfig(b []byte) (OpusConfig, error) {
	if len(b) < 11 {
		return OpusConfig{}, fmt.Errorf("codec: parse OpusHead: %w", errShort)
	}
	// Only the upper four bits of the version count. RFC 7845 is version 0.
	if b[0]>>4 != 0 {
		return OpusConfig{}, fmt.Errorf("codec: parse OpusHead: version %d, want 1", b[0])
	}
	c := OpusConfig{
		Channels: b[1], PreSkip: binary.LittleEndian.Uint16(b[2:]), InputRate: binary.LittleEndian.Uint32(b[4:]),
		OutputGain: int16(binary.LittleEndian.Uint16(b[8:])), Family: b[10],
	}
	if c.Channels == 0 {
		return OpusConfig{}, errors.New("codec: parse OpusHead: no channels")
	}
	if c.Family != 0 {
		n := 2 + int(c.Channels)
		if len(b) < 11+n {
			return OpusConfig{}, fmt.Errorf("codec: parse OpusHead: %w", errShort)
		}
		c.Mapping = b[11 : 11+n]
	} else if c.Channels > 2 {
		return OpusConfig{}, fmt.Errorf("codec: parse OpusHead: %d channels without a mapping", c.Channels)
	}
	return c, nil
}

// opusDuration returns the duration of an Opus packet in samples at 48 kHz, by
// its table of contents (RFC 6716 section 3.1). It returns 0 for bytes that are
// no packet: if there are none, or for more than the 120 ms that section 3.2.5
// allows.
func opusDuration(packet []byte) uint32 {
	d := opus.PacketDuration2(packet)
	if d <= 0 || d > OpusRate*120/1000 {
		return 0
	}
	return uint32(d)
}

// FrameDuration returns a function that returns the duration of a frame of an
// audio track, in ticks of the track's timescale. The duration is 0 for bytes
// that are no frame.
func FrameDuration(t schemas.Track) (func(frame []byte) uint32, error) {
	if t.Timescale == 0 {
		return nil, errors.New("codec: audio track has no timescale")
	}
	switch t.Codec {
	case schemas.AAC:
		var c mpeg4audio.AudioSpecificConfig // ISO/IEC 14496-3 section 1.6.2.1
		if err := c.Unmarshal(t.Config); err != nil {
			return nil, fmt.Errorf("codec: parse AudioSpecificConfig: %w", err)
		}
		if c.SampleRate <= 0 {
			return nil, fmt.Errorf("codec: parse AudioSpecificConfig: sample rate %d", c.SampleRate)
		}
		samples := int64(1024)
		if c.FrameLengthFlag {
			samples = 960
		}
		d := uint32(schemas.Rescale(samples, uint32(c.SampleRate), t.Timescale))
		return func(frame []byte) uint32 {
			if len(frame) == 0 {
				return 0
			}
			return d
		}, nil
	case schemas.Opus:
		return func(packet []byte) uint32 {
			return uint32(schemas.Rescale(int64(opusDuration(packet)), OpusRate, t.Timescale))
		}, nil
	default:
		return nil, errors.New("codec: not audio that the log takes: " + string(t.Codec))
	}
}
