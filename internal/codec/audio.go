package codec

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/opus"

	"github.com/framelog/framelog/schemas"
)

// AACConfig is what an AudioSpecificConfig says (ISO/IEC 14496-3 section
// 1.6.2.1).
type AACConfig struct {
	ObjectType   int // of the outermost signalled extension: 2 is AAC-LC, 5 SBR, 29 PS
	SampleRate   int // Hz, of the core; SBR doubles it
	Channels     int // 0: told by the stream itself
	FrameSamples int // samples of one frame at SampleRate: 1024 or 960
}

// ParseAACConfig reads an AudioSpecificConfig.
func ParseAACConfig(b []byte) (AACConfig, error) {
	var a mpeg4audio.AudioSpecificConfig
	if err := a.Unmarshal(b); err != nil {
		return AACConfig{}, fmt.Errorf("codec: parse AudioSpecificConfig: %w", err)
	}
	if a.SampleRate <= 0 {
		return AACConfig{}, fmt.Errorf("codec: parse AudioSpecificConfig: sample rate %d", a.SampleRate)
	}
	c := AACConfig{ObjectType: int(a.Type), SampleRate: a.SampleRate, Channels: int(a.ChannelConfig), FrameSamples: 1024}
	if a.ExtensionType != 0 {
		c.ObjectType = int(a.ExtensionType)
	}
	if c.Channels == 7 {
		c.Channels = 8
	}
	if a.FrameLengthFlag {
		c.FrameSamples = 960
	}
	return c, nil
}

// BuildAACConfig makes the AudioSpecificConfig of AAC-LC.
func BuildAACConfig(rate, channels int) ([]byte, error) {
	n := uint8(channels)
	if channels == 8 {
		n = 7
	}
	b, err := mpeg4audio.AudioSpecificConfig{Type: mpeg4audio.ObjectTypeAACLC, SampleRate: rate, ChannelConfig: n, ChannelCount: channels}.Marshal()
	if err != nil {
		return nil, fmt.Errorf("codec: build AudioSpecificConfig: %w", err)
	}
	return b, nil
}

// OpusConfig is an identification header of Opus without its magic (RFC 7845
// section 5.1), as the log has it.
type OpusConfig struct {
	Channels   uint8
	PreSkip    uint16 // samples at 48 kHz
	InputRate  uint32 // Hz; says nothing about decoding
	OutputGain int16  // dB, in 8.8 fixed point
	Family     uint8
	Mapping    []byte // stream count, coupled count and a byte a channel, where Family is not 0
}

// OpusRate is the clock of Opus, whatever the input was (RFC 7587 section 4.1).
const OpusRate = 48000

// ParseOpusConfig reads an identification header without its magic. Mapping
// is a part of b.
func ParseOpusConfig(b []byte) (OpusConfig, error) {
	if len(b) < 11 {
		return OpusConfig{}, fmt.Errorf("codec: parse OpusHead: %w", errShort)
	}
	// The upper four bits are the version that counts; 0 is what RFC 7845 is.
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

// Marshal writes c down as the log has it.
func (c OpusConfig) Marshal() []byte {
	b := []byte{1, c.Channels}
	b = binary.LittleEndian.AppendUint16(b, c.PreSkip)
	b = binary.LittleEndian.AppendUint32(b, c.InputRate)
	b = binary.LittleEndian.AppendUint16(b, uint16(c.OutputGain))
	return append(append(b, c.Family), c.Mapping...)
}

// OpusDuration is how long an Opus packet sounds, in samples at 48 kHz, by its
// table of contents (RFC 6716 section 3.1). It is 0 for what is no packet:
// empty, or longer than the 120 ms that section 3.2.5 allows.
func OpusDuration(packet []byte) uint32 {
	d := opus.PacketDuration2(packet)
	if d <= 0 || d > OpusRate*120/1000 {
		return 0
	}
	return uint32(d)
}

// FrameDuration tells how long the frames of an audio track sound. The
// returned function gives a frame's duration in ticks of the track's
// timescale, 0 for what is no frame.
func FrameDuration(t schemas.Track) (func(frame []byte) uint32, error) {
	if t.Timescale == 0 {
		return nil, errors.New("codec: audio track has no timescale")
	}
	switch t.Codec {
	case schemas.AAC:
		c, err := ParseAACConfig(t.Config)
		if err != nil {
			return nil, err
		}
		d := uint32(schemas.Rescale(int64(c.FrameSamples), uint32(c.SampleRate), t.Timescale))
		return func(frame []byte) uint32 {
			if len(frame) == 0 {
				return 0
			}
			return d
		}, nil
	case schemas.Opus:
		return func(packet []byte) uint32 {
			return uint32(schemas.Rescale(int64(OpusDuration(packet)), OpusRate, t.Timescale))
		}, nil
	default:
		return nil, errors.New("codec: not audio that the log takes: " + string(t.Codec))
	}
}
