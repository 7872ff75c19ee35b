package native

import (
	"encoding/binary"
	"errors"
	"slices"

	"github.com/bluenviron/gortsplib/v5/pkg/format/rtpmpeg4audio"
	"github.com/bluenviron/mediacommon/v2/pkg/bits"
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

	// The last frame that did not end with its packet.
	at    int64  // extended RTP time
	parts []byte // the fragments that have come; empty: the decoder has them, or there are none
	skip  bool   // it is damaged, and its other packets say no more
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
	if len(p.Payload) == 0 {
		return
	}
	if a.skip && ext == a.at {
		a.skip = !p.Marker
		return
	}
	a.skip = false
	if len(a.parts) > 0 && ext != a.at { // its last fragments are missing
		a.damage(emit)
	}
	a.at = ext
	var frames [][]byte
	whole, err := a.join(p)
	if err == nil {
		frames, err = a.decoder.Decode(whole)
	}
	switch {
	case errors.Is(err, rtpmpeg4audio.ErrMorePacketsNeeded):
		return
	case err != nil:
		a.skip = !p.Marker
		a.damage(emit)
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

// damage tells that a frame cannot be read. Before the first frame there is no format that it
// could belong to, and it tells nothing.
func (a *aac) damage(emit emit) {
	a.parts = a.parts[:0]
	if a.format == nil {
		emit(nil, &frame{ext: a.at, damaged: true})
	}
}

var errFragments = errors.New("the fragments do not make the frame")

// join collects the fragments of a frame where each has the size of the whole frame (RFC 3640,
// 3.2.1.1), and returns them as one packet. It returns any other packet as it is. Among these
// are fragments that have their own size: some cameras send them, and the decoder expects them.
func (a *aac) join(p *packet) (*packet, error) {
	size, data := a.single(p.Payload)
	if size <= len(data) && len(a.parts) == 0 {
		return p, nil
	}
	a.parts = append(a.parts, data...)
	switch {
	case size > mpeg4audio.MaxAccessUnitSize, len(a.parts) > size, len(a.parts) < size && p.Marker:
		return nil, errFragments
	case len(a.parts) < size:
		return nil, rtpmpeg4audio.ErrMorePacketsNeeded
	}
	whole := &packet{Header: p.Header, Payload: slices.Concat(p.Payload[:len(p.Payload)-len(data)], a.parts)}
	whole.Marker = true
	a.parts = a.parts[:0]
	return whole, nil
}

// single returns the size that the header of a packet's only frame names, and what of that frame
// the packet has. The size is 0 if the packet has another number of frames, or none.
func (a *aac) single(payload []byte) (size int, data []byte) {
	n := a.decoder.SizeLength + a.decoder.IndexLength // bits of the header
	head := 2 + (n+7)/8
	if len(payload) < head || int(binary.BigEndian.Uint16(payload)) != n {
		return 0, nil
	}
	pos := 16
	v, err := bits.ReadBits(payload, &pos, a.decoder.SizeLength)
	if err != nil {
		return 0, nil
	}
	return int(v), payload[head:]
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
