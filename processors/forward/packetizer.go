package forward

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/bluenviron/gortsplib/v5/pkg/description"
	"github.com/bluenviron/gortsplib/v5/pkg/format"
	"github.com/bluenviron/gortsplib/v5/pkg/format/rtph264"
	"github.com/bluenviron/gortsplib/v5/pkg/format/rtph265"
	"github.com/bluenviron/gortsplib/v5/pkg/format/rtpmjpeg"
	"github.com/bluenviron/gortsplib/v5/pkg/format/rtpmpeg4audio"
	"github.com/bluenviron/gortsplib/v5/pkg/format/rtpsimpleaudio"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"
	"github.com/pion/rtp"

	"github.com/framelog/framelog/internal/codec"
	"github.com/framelog/framelog/schemas"
)

// packetizer makes RTP packets of the samples of a track. Their timestamps are relative to
// the sample's.
type packetizer struct {
	format  format.Format
	packets func(schemas.Sample) ([]*rtp.Packet, error)
}

func newPacketizer(t schemas.Track, payloadType uint8) (packetizer, error) {
	p, err := packetizers[t.Codec](t, payloadType)
	if err != nil {
		return p, fmt.Errorf("track %s: %w", t.Codec, err)
	}
	return p, nil
}

var packetizers = map[schemas.Codec]func(schemas.Track, uint8) (packetizer, error){
	schemas.H264: packH264, schemas.H265: packH265, schemas.MJPEG: packMJPEG, schemas.AAC: packAAC, schemas.Opus: packOpus,
}

func (p packetizer) media(c schemas.Codec) *description.Media {
	m := &description.Media{Type: description.MediaTypeAudio, Formats: []format.Format{p.format}}
	if c.Video() {
		m.Type = description.MediaTypeVideo
	}
	return m
}

func packH264(t schemas.Track, payloadType uint8) (packetizer, error) {
	sets, err := codec.ParameterSets(t.Codec, t.Config)
	if err != nil {
		return packetizer{}, err
	}
	kind := func(n byte) []byte { return first(sets, func(nal []byte) bool { return nal[0]&0x1f == n }) }
	e := &rtph264.Encoder{PayloadType: payloadType, PacketizationMode: 1}
	return packetizer{
		&format.H264{PayloadTyp: payloadType, PacketizationMode: 1, SPS: kind(7), PPS: kind(8)}, units(sets, e.Encode),
	}, e.Init()
}

func packH265(t schemas.Track, payloadType uint8) (packetizer, error) {
	sets, err := codec.ParameterSets(t.Codec, t.Config)
	if err != nil {
		return packetizer{}, err
	}
	kind := func(n byte) []byte { return first(sets, func(nal []byte) bool { return nal[0]>>1&0x3f == n }) }
	e := &rtph265.Encoder{PayloadType: payloadType}
	return packetizer{
		&format.H265{PayloadTyp: payloadType, VPS: kind(32), SPS: kind(33), PPS: kind(34)}, units(sets, e.Encode),
	}, e.Init()
}

func first(sets [][]byte, is func([]byte) bool) []byte {
	if i := slices.IndexFunc(sets, is); i >= 0 {
		return sets[i]
	}
	return nil
}

// units packetizes access units of NAL units, with the parameter sets before each one at
// which a decoder can begin.
func units(sets [][]byte, encode func([][]byte) ([]*rtp.Packet, error)) func(schemas.Sample) ([]*rtp.Packet, error) {
	return func(s schemas.Sample) ([]*rtp.Packet, error) {
		nals, err := codec.SplitNALs(s.Data)
		if err != nil {
			return nil, err
		}
		if s.Sync {
			nals = slices.Concat(sets, nals)
		}
		return encode(nals)
	}
}

// maxJPEG is the largest width and height of RTP (RFC 2435 section 3.1.5).
const maxJPEG = 2040

func packMJPEG(t schemas.Track, _ uint8) (packetizer, error) {
	if t.Width%8 != 0 || t.Height%8 != 0 || t.Width > maxJPEG || t.Height > maxJPEG {
		return packetizer{}, fmt.Errorf("pictures of %dx%d: RTP takes sizes up to %d that are multiples of 8 (RFC 2435 section 3.1.5)", t.Width, t.Height, maxJPEG)
	}
	e := &rtpmjpeg.Encoder{}
	return packetizer{&format.MJPEG{}, func(s schemas.Sample) (packets []*rtp.Packet, err error) {
		defer func() {
			if r := recover(); r != nil { // the encoder says so of images that it does not know
				err = fmt.Errorf("a JPEG image that RTP does not carry: %v", r)
			}
		}()
		image, err := twoTables(s.Data)
		if err != nil {
			return nil, err
		}
		return e.Encode(image)
	}}, e.Init()
}

// Markers of JPEG (ISO/IEC 10918-1 table B.1), and the length of a segment with one table.
const (
	markerDQT = 0xdb
	markerSOS = 0xda
	oneTable  = 2 + 1 + 64
)

// twoTables returns an image with a quantization table for brightness and one for colour.
// Receivers of RTP expect both (RFC 2435 section 4.2), and some encoders share one.
func twoTables(image []byte) ([]byte, error) {
	tables, at := 0, 0
	for i := 2; i+4 <= len(image) && image[i] == 0xff && image[i+1] != markerSOS; {
		end := i + 2 + int(binary.BigEndian.Uint16(image[i+2:]))
		if end > len(image) {
			return nil, errors.New("a JPEG image is cut off")
		}
		if image[i+1] == markerDQT {
			tables += (end - i - 4) / 65
			at = end
		}
		i = end
	}
	if tables != 1 {
		return image, nil
	}
	second := append([]byte{0xff, markerDQT, 0, oneTable, 1}, image[at-64:at]...)
	return slices.Concat(image[:at], second, image[at:]), nil
}

func packAAC(t schemas.Track, payloadType uint8) (packetizer, error) {
	var c mpeg4audio.AudioSpecificConfig
	if err := c.Unmarshal(t.Config); err != nil {
		return packetizer{}, err
	}
	// The lengths of mode AAC-hbr (RFC 3640 section 3.3.6).
	const size, index = 13, 3
	e := &rtpmpeg4audio.Encoder{PayloadType: payloadType, SizeLength: size, IndexLength: index, IndexDeltaLength: index}
	return packetizer{
		&format.MPEG4Audio{PayloadTyp: payloadType, Config: &c, SizeLength: size, IndexLength: index, IndexDeltaLength: index},
		func(s schemas.Sample) ([]*rtp.Packet, error) { return e.Encode([][]byte{s.Data}) },
	}, e.Init()
}

func packOpus(t schemas.Track, payloadType uint8) (packetizer, error) {
	if t.Channels > 2 {
		return packetizer{}, errors.New("sound in Opus with more than two channels has no RTP format (RFC 7587)")
	}
	e := &rtpsimpleaudio.Encoder{PayloadType: payloadType}
	return packetizer{
		&format.Opus{PayloadTyp: payloadType, ChannelCount: int(max(t.Channels, 1))},
		func(s schemas.Sample) ([]*rtp.Packet, error) {
			p, err := e.Encode(s.Data)
			return []*rtp.Packet{p}, err
		},
	}, e.Init()
}
