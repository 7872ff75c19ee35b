package camsim

import (
	"encoding/binary"
	"fmt"
	"strconv"

	"github.com/Eyevinn/mp4ff/avc"
	"github.com/Eyevinn/mp4ff/hevc"
	"github.com/bluenviron/gortsplib/v5/pkg/description"
	"github.com/bluenviron/gortsplib/v5/pkg/format"
	"github.com/bluenviron/gortsplib/v5/pkg/format/rtph264"
	"github.com/bluenviron/gortsplib/v5/pkg/format/rtph265"
	"github.com/bluenviron/gortsplib/v5/pkg/format/rtplpcm"
	"github.com/bluenviron/gortsplib/v5/pkg/format/rtpmjpeg"
	"github.com/bluenviron/gortsplib/v5/pkg/format/rtpmpeg4audio"
	"github.com/bluenviron/gortsplib/v5/pkg/format/rtpsimpleaudio"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"
	"github.com/framelog/framelog/schemas"
	"github.com/pion/rtp"
)

// NALUnits splits the sample of a track into its NAL units (4-byte lengths).
func NALUnits(sample []byte) ([][]byte, error) {
	var out [][]byte
	for len(sample) > 0 {
		if len(sample) < 4 {
			return nil, fmt.Errorf("camsim: split sample: %d bytes left over", len(sample))
		}
		n := binary.BigEndian.Uint32(sample)
		if uint64(n)+4 > uint64(len(sample)) {
			return nil, fmt.Errorf("camsim: split sample: NAL unit of %d bytes in %d", n, len(sample)-4)
		}
		if n > 0 {
			out = append(out, sample[4:4+n])
		}
		sample = sample[4+n:]
	}
	return out, nil
}

// ParameterSets returns the parameter sets in the decoder configuration of an
// H.264 or H.265 track: SPS, PPS, or VPS, SPS, PPS. Other codecs have none.
func ParameterSets(t schemas.Track) ([][]byte, error) {
	switch t.Codec {
	case schemas.H264:
		c, err := avc.DecodeAVCDecConfRec(t.Config)
		if err != nil {
			return nil, fmt.Errorf("camsim: read avcC: %w", err)
		}
		return append(append([][]byte{}, c.SPSnalus...), c.PPSnalus...), nil
	case schemas.H265:
		c, err := hevc.DecodeHEVCDecConfRec(t.Config)
		if err != nil {
			return nil, fmt.Errorf("camsim: read hvcC: %w", err)
		}
		var out [][]byte
		for _, k := range []hevc.NaluType{hevc.NALU_VPS, hevc.NALU_SPS, hevc.NALU_PPS} {
			out = append(out, c.GetNalusForType(k)...)
		}
		return out, nil
	default:
		return nil, nil
	}
}

// Slices returns the slice data of a video sample (only VCL NAL units), or the
// whole sample of another codec. These bytes must come out of the log
// unchanged.
func Slices(codec schemas.Codec, sample []byte) ([][]byte, error) {
	if codec != schemas.H264 && codec != schemas.H265 {
		return [][]byte{sample}, nil
	}
	nalus, err := NALUnits(sample)
	if err != nil {
		return nil, err
	}
	var out [][]byte
	for _, n := range nalus {
		if codec == schemas.H264 && n[0]&0x1f >= 1 && n[0]&0x1f <= 5 || codec == schemas.H265 && n[0]>>1&0x3f < 32 {
			out = append(out, n)
		}
	}
	return out, nil
}

// packetizer turns units of one track into RTP packets. The caller sets
// sequence numbers. Timestamps are relative to the unit's.
type packetizer struct {
	format format.Format
	sets   [][]byte // parameter sets to send before each sync unit
	encode func(u Unit, sets [][]byte) ([]*rtp.Packet, error)
}

func newPacketizer(t schemas.Track, payloadType uint8) (*packetizer, error) {
	sets, err := ParameterSets(t)
	if err != nil {
		return nil, err
	}
	p := &packetizer{sets: sets}
	nalus := func(encode func([][]byte) ([]*rtp.Packet, error)) func(Unit, [][]byte) ([]*rtp.Packet, error) {
		return func(u Unit, sets [][]byte) ([]*rtp.Packet, error) {
			n, err := NALUnits(u.Data)
			if err != nil {
				return nil, err
			}
			return encode(append(append([][]byte{}, sets...), n...))
		}
	}
	plain := func(encode func([]byte) ([]*rtp.Packet, error)) func(Unit, [][]byte) ([]*rtp.Packet, error) {
		return func(u Unit, _ [][]byte) ([]*rtp.Packet, error) { return encode(u.Data) }
	}
	switch t.Codec {
	case schemas.H264:
		if len(sets) < 2 {
			return nil, fmt.Errorf("camsim: track %d: avcC with %d parameter sets", t.ID, len(sets))
		}
		p.format = &format.H264{PayloadTyp: payloadType, SPS: sets[0], PPS: sets[1], PacketizationMode: 1}
		e := &rtph264.Encoder{PayloadType: payloadType, PacketizationMode: 1}
		p.encode, err = nalus(e.Encode), e.Init()
	case schemas.H265:
		if len(sets) < 3 {
			return nil, fmt.Errorf("camsim: track %d: hvcC with %d parameter sets", t.ID, len(sets))
		}
		p.format = &format.H265{PayloadTyp: payloadType, VPS: sets[0], SPS: sets[1], PPS: sets[2]}
		e := &rtph265.Encoder{PayloadType: payloadType}
		p.encode, err = nalus(e.Encode), e.Init()
	case schemas.MJPEG:
		p.format = &format.MJPEG{}
		e := &rtpmjpeg.Encoder{}
		p.encode, err = plain(e.Encode), e.Init()
	case schemas.AAC:
		var c mpeg4audio.AudioSpecificConfig
		if err := c.Unmarshal(t.Config); err != nil {
			return nil, fmt.Errorf("camsim: track %d: read AudioSpecificConfig: %w", t.ID, err)
		}
		p.format = &format.MPEG4Audio{PayloadTyp: payloadType, Config: &c, SizeLength: 13, IndexLength: 3, IndexDeltaLength: 3}
		e := &rtpmpeg4audio.Encoder{PayloadType: payloadType, SizeLength: 13, IndexLength: 3, IndexDeltaLength: 3}
		p.encode = plain(func(b []byte) ([]*rtp.Packet, error) { return e.Encode([][]byte{b}) })
		err = e.Init()
	case schemas.Opus:
		p.format = &format.Opus{PayloadTyp: payloadType, ChannelCount: int(max(t.Channels, 1))}
		e := &rtpsimpleaudio.Encoder{PayloadType: payloadType}
		p.encode = plain(func(b []byte) ([]*rtp.Packet, error) {
			pkt, err := e.Encode(b)
			return []*rtp.Packet{pkt}, err
		})
		err = e.Init()
	case PCMU, PCMA:
		payloadType = 0
		if t.Codec == PCMA {
			payloadType = 8
		}
		p.format = &format.G711{PayloadTyp: payloadType, MULaw: t.Codec == PCMU, SampleRate: int(t.Timescale), ChannelCount: int(max(t.Channels, 1))}
		e := &rtplpcm.Encoder{PayloadType: payloadType, BitDepth: 8, ChannelCount: int(max(t.Channels, 1))}
		p.encode, err = plain(e.Encode), e.Init()
	case RTP:
		f := &format.Generic{PayloadTyp: payloadType, RTPMa: string(t.Config)}
		if static, err := strconv.ParseUint(f.RTPMa, 10, 7); err == nil {
			payloadType = uint8(static)
			f.PayloadTyp, f.RTPMa = payloadType, ""
		}
		p.format = f
		p.encode = plain(func(b []byte) ([]*rtp.Packet, error) {
			return []*rtp.Packet{{Header: rtp.Header{Version: 2, PayloadType: payloadType}, Payload: b}}, nil
		})
		err = f.Init()
	default:
		return nil, fmt.Errorf("camsim: track %d: unknown codec %q", t.ID, t.Codec)
	}
	if err != nil {
		return nil, fmt.Errorf("camsim: track %d: %w", t.ID, err)
	}
	return p, nil
}

func (p *packetizer) media(c schemas.Codec) *description.Media {
	m := &description.Media{Type: description.MediaTypeAudio, Formats: []format.Format{p.format}}
	if c.Video() {
		m.Type = description.MediaTypeVideo
	}
	return m
}
