package native

import (
	"slices"

	"github.com/bluenviron/gortsplib/v5/pkg/format/rtpmpeg4audio"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"

	"github.com/framelog/framelog/internal/codec"
	"github.com/framelog/framelog/internal/rtspconn"
	"github.com/framelog/framelog/schemas"
)

// depayloader makes frames of the packets of a track.
type depayloader interface {
	// push takes the next packet, its extended RTP time, and how many packets are missing
	// before it. It calls emit with each new format and each frame.
	push(p *packet, ext int64, missing uint16, emit emit)
}

// emit takes a format or a frame; the other one is nil.
type emit func(f *rtspconn.Format, u *frame)

// frame is an access unit of video or a frame of audio.
type frame struct {
	ext     int64 // extended RTP time of its packets
	after   int64 // how much later it is than ext, in ticks of the track's timescale
	data    []byte
	damaged bool
	skipped uint32 // packets since the frame before that were left out because they are too many
}

func newDepayloader(s *stream) depayloader {
	switch s.Encoding {
	case "H264":
		return newVideo(schemas.H264, s.parameterSets())
	case "H265":
		return newVideo(schemas.H265, s.parameterSets())
	case "JPEG":
		return &mjpeg{}
	case "MPEG4-GENERIC":
		return newAAC(s)
	case "OPUS":
		return &opus{mono: s.parameters["sprop-stereo"] == "0"}
	}
	return none{}
}

// none is for sound that cannot be read as what it is announced.
type none struct{}

func (none) push(*packet, int64, uint16, emit) {}

// aac makes frames of packets (RFC 3640).
type aac struct {
	decoder rtpmpeg4audio.Decoder
	format  *rtspconn.Format // nil: it was told
	samples int64            // of a frame
}

func newAAC(s *stream) depayloader {
	config := s.config()
	var c mpeg4audio.AudioSpecificConfig
	if c.Unmarshal(config) != nil || c.SampleRate <= 0 || s.number("sizelength") == 0 {
		return none{}
	}
	channels := int(c.ChannelConfig)
	if channels == 7 {
		channels = 8 // ISO/IEC 14496-3, table 1.19
	}
	a := &aac{
		decoder: rtpmpeg4audio.Decoder{SizeLength: s.number("sizelength"), IndexLength: s.number("indexlength"), IndexDeltaLength: s.number("indexdeltalength")},
		format:  &rtspconn.Format{Codec: schemas.AAC, Config: config, Rate: c.SampleRate, Channels: channels},
		samples: 1024,
	}
	if c.FrameLengthFlag {
		a.samples = 960
	}
	return a
}

func (a *aac) push(p *packet, ext int64, _ uint16, emit emit) {
	frames, err := a.decoder.Decode(p)
	if err != nil {
		return
	}
	if a.format != nil {
		emit(a.format, nil)
		a.format = nil
	}
	for i, data := range frames {
		emit(nil, &frame{ext: ext, after: int64(i) * a.samples, data: slices.Clone(data)})
	}
}

// opus takes frames out of packets (RFC 7587).
type opus struct {
	mono bool
	told bool
}

func (o *opus) push(p *packet, ext int64, _ uint16, emit emit) {
	if len(p.Payload) == 0 {
		return
	}
	if !o.told {
		o.told = true
		channels := 2
		if o.mono {
			channels = 1
		}
		emit(&rtspconn.Format{Codec: schemas.Opus, Rate: codec.OpusRate, Channels: channels}, nil)
	}
	emit(nil, &frame{ext: ext, data: slices.Clone(p.Payload)})
}
