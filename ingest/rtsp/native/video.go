package native

import (
	"errors"

	"github.com/bluenviron/gortsplib/v5/pkg/format/rtph264"
	"github.com/bluenviron/gortsplib/v5/pkg/format/rtph265"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"

	"github.com/framelog/framelog/internal/codec"
	"github.com/framelog/framelog/internal/rtspconn"
	"github.com/framelog/framelog/schemas"
)

// video makes access units of packets of H.264 (RFC 6184) or H.265 (RFC 7798). Parameter sets
// are taken out of the stream, and stand again before each picture at which a decoder can
// begin, so that they are in band and in the decoder configuration. As with GStreamer, those of
// H.264 stand before the SEI of the picture.
type video struct {
	codec   schemas.Codec
	decoder func() decode // makes one that holds nothing
	decode  decode
	begins  func(payload []byte) bool // whether a payload begins an access unit, as far as it shows it
	sets    *codec.ParameterSetList
	told    []byte // the configuration of the format that was told

	open    bool  // packets of a unit have come, and not its last
	ext     int64 // time of the unit
	nals    [][]byte
	fresh   [][]byte // parameter sets of the unit
	size    int
	damaged bool
	garbled bool // some of its packets cannot be read, so its parameter sets are not trusted
	sei     int  // index of the first SEI of H.264 in nals; -1: none
	key     int  // index in nals where parameter sets are put before a random access point; -1: none

	held    int    // bytes of the packets that the unit, and the fragments in decode, keep in memory
	pending bool   // there are fragments in decode
	full    bool   // the unit has reached a limit: it is finished, and the rest of it is skipped
	skipped uint32 // packets, since the last frame
}

// decode takes the payload of a packet and returns the NAL units that are complete with it.
type decode func(p *packet) (nals [][]byte, err error)

// maxUnit and maxNALs bound an access unit while it is made: the bytes of its packets, and its
// NAL units. What has come of a larger one is damaged, and its other packets are skipped and
// counted as lost.
const (
	maxUnit = 8 << 20
	maxNALs = 2048
)

func newVideo(c schemas.Codec, sets [][]byte) *video {
	v := &video{codec: c, sets: codec.NewParameterSetList(c), sei: -1, key: -1}
	if c == schemas.H264 {
		v.decoder = func() decode { return (&rtph264.Decoder{PacketizationMode: 1}).Decode }
		v.begins = begins264
	} else {
		v.decoder = func() decode { return (&rtph265.Decoder{}).Decode }
		v.begins = begins265
	}
	v.decode = v.decoder()
	for _, nal := range sets {
		v.sets.Add(nal)
	}
	return v
}

func (v *video) push(p *packet, ext int64, missing uint16, emit emit) {
	if missing > 0 && v.open {
		v.damaged = true
	}
	if v.open && ext != v.ext {
		v.finish(emit) // its last packet had no marker, or is missing
	}
	if !v.open {
		v.open, v.ext, v.damaged, v.full = true, ext, missing > 0 && !v.begins(p.Payload), false
	}
	if v.full {
		v.skipped++
	} else {
		v.read(p)
		if v.held > maxUnit || len(v.nals)+len(v.fresh) > maxNALs {
			v.cut(emit)
		}
	}
	if p.Marker {
		v.finish(emit)
	}
}

// read takes the NAL units that a packet completes.
func (v *video) read(p *packet) {
	v.held += p.MarshalSize()
	// The first bit of each NAL unit is 0.
	if len(p.Payload) > 0 && p.Payload[0]&0x80 != 0 {
		v.damaged, v.garbled = true, true
		return
	}
	// With the marker the library gives the NAL units that are complete at once. It would
	// collect a whole unit else, across a missing marker.
	last := *p
	last.Marker = true
	nals, err := v.decode(&last)
	switch {
	case err == nil:
		v.pending = false
		v.add(nals)
	case errors.Is(err, rtph264.ErrMorePacketsNeeded) || errors.Is(err, rtph265.ErrMorePacketsNeeded):
		v.pending = true
	default:
		v.damaged, v.garbled = true, true
	}
}

func (v *video) add(nals [][]byte) {
	for _, nal := range nals {
		switch {
		case len(nal) == 0:
			continue
		case v.sets.Takes(nal):
			v.fresh = append(v.fresh, nal)
			continue
		case v.codec == schemas.H264 && v.sei < 0 && nal[0]&0x1f == byte(h264.NALUTypeSEI):
			v.sei = len(v.nals)
		case v.key < 0 && codec.BeginsAtSlice(v.codec, nal):
			v.key = len(v.nals)
			if v.sei >= 0 {
				v.key = v.sei // a message may refer to the parameter sets (ITU-T H.264, 7.4.1.2.1)
			}
		}
		v.nals = append(v.nals, nal)
		v.size += 4 + len(nal)
	}
}

// cut finishes a unit that has reached a limit. Its other packets are skipped.
func (v *video) cut(emit emit) {
	v.damaged, v.garbled = true, true
	none := len(v.nals) == 0
	v.finish(emit)
	if none && v.told != nil { // all of it is one NAL unit that is too large
		emit(nil, v.frame(nil))
	}
	v.decode, v.pending, v.held = v.decoder(), false, 0
	v.open, v.full = true, true
}

// finish ends the unit.
func (v *video) finish(emit emit) {
	nals, key, size := v.nals, v.key, v.size
	if !v.garbled {
		for _, nal := range v.fresh {
			v.sets.Add(nal)
		}
	}
	if len(nals) > 0 || !v.pending {
		v.held = 0 // fragments in decode are newer than the unit's NAL units, so they stay bounded
	}
	clear(v.fresh)
	v.open, v.garbled, v.nals, v.fresh, v.sei, v.key, v.size = false, false, v.nals[:0], v.fresh[:0], -1, -1, 0
	defer clear(nals)
	if len(nals) == 0 {
		return
	}
	config := v.sets.Config()
	if config == nil {
		return // nobody can decode it
	}
	if string(config) != string(v.told) {
		info, err := codec.Video(v.codec, config)
		if err != nil {
			return
		}
		v.told = config
		emit(&rtspconn.Format{Codec: v.codec, Config: config, Width: info.Width, Height: info.Height}, nil)
	}
	data := make([]byte, 0, size+v.sets.Size())
	for i, nal := range nals {
		if i == key {
			data = v.sets.Append(data)
		}
		data = codec.AppendNAL(data, nal)
	}
	emit(nil, v.frame(data))
}

// frame makes a frame of the unit.
func (v *video) frame(data []byte) *frame {
	f := &frame{ext: v.ext, data: data, damaged: v.damaged, skipped: v.skipped}
	v.skipped = 0
	return f
}

// begins264 reads RFC 6184, 5.2. The first slice of a unit has first_mb_in_slice 0, one bit
// that is set.
func begins264(p []byte) bool {
	const fragment = 28
	switch {
	case len(p) < 3:
		return false
	case p[0]&0x1f == fragment:
		return p[1]&0x80 != 0 && (p[1]&0x1f > 5 || p[2]&0x80 != 0)
	}
	return p[0]&0x1f > 5 || p[1]&0x80 != 0
}

// begins265 reads RFC 7798, 4.4, and first_slice_segment_in_pic_flag.
func begins265(p []byte) bool {
	const fragment = 49
	switch {
	case len(p) < 4:
		return false
	case p[0]>>1&0x3f == fragment:
		return p[2]&0x80 != 0 && (p[2]&0x3f > 31 || p[3]&0x80 != 0)
	}
	return p[0]>>1&0x3f > 31 || p[2]&0x80 != 0
}
