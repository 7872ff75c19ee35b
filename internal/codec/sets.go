package codec

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/Eyevinn/mp4ff/avc"
	"github.com/Eyevinn/mp4ff/hevc"
	"github.com/bluenviron/mediacommon/v2/pkg/bits"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h265"

	"github.com/framelog/framelog/schemas"
)

// ParameterSetList holds the parameter sets of a stream of H.264 or H.265, each with an id of
// its own, in the order in which the ids came first.
type ParameterSetList struct {
	codec  schemas.Codec
	sets   []parameterSet
	config []byte // nil: must be made
	size   int
}

type parameterSet struct {
	kind byte // nal_unit_type
	id   uint32
	nal  []byte
}

// maxParameterSets is more than a camera uses. (H.264 allows 32 SPS and 256 PPS.)
const maxParameterSets = 64

// NewParameterSetList returns an empty list. The codec is H264 or H265.
func NewParameterSetList(c schemas.Codec) *ParameterSetList { return &ParameterSetList{codec: c} }

// Takes reports whether nal is a parameter set, as far as its kind tells.
func (l *ParameterSetList) Takes(nal []byte) bool {
	_, ok := l.kind(nal)
	return ok
}

// Add takes a parameter set, which replaces the one of its id. It reports whether nal is a
// parameter set. One that cannot be read changes nothing.
func (l *ParameterSetList) Add(nal []byte) bool {
	kind, ok := l.kind(nal)
	if !ok {
		return false
	}
	if slices.ContainsFunc(l.sets, func(s parameterSet) bool { return s.kind == kind && bytes.Equal(s.nal, nal) }) {
		return true
	}
	id, ok := parameterSetID(l.codec, kind, nal)
	if !ok {
		return true
	}
	set := parameterSet{kind: kind, id: id, nal: bytes.Clone(nal)}
	at := slices.IndexFunc(l.sets, func(s parameterSet) bool { return s.kind == kind && s.id == id })
	switch {
	case at >= 0:
		l.sets[at] = set
	case len(l.sets) < maxParameterSets:
		l.sets = append(l.sets, set)
		slices.SortStableFunc(l.sets, func(a, b parameterSet) int { return int(a.kind) - int(b.kind) })
	default:
		return true
	}
	l.config = nil
	return true
}

func (l *ParameterSetList) kind(nal []byte) (byte, bool) {
	switch {
	case len(nal) < 2:
		return 0, false
	case l.codec == schemas.H264:
		t := nal[0] & 0x1f
		return t, t == byte(h264.NALUTypeSPS) || t == byte(h264.NALUTypePPS)
	}
	t := nal[0] >> 1 & 0x3f
	return t, t >= byte(h265.NALUType_VPS_NUT) && t <= byte(h265.NALUType_PPS_NUT)
}

// parameterSetID reads the id of a parameter set (ITU-T H.264 section 7.3.2, H.265 section
// 7.3.2).
func parameterSetID(c schemas.Codec, kind byte, nal []byte) (uint32, bool) {
	switch {
	case c == schemas.H264 && kind == byte(h264.NALUTypeSPS):
		var s h264.SPS
		err := s.Unmarshal(nal)
		return s.ID, err == nil
	case c == schemas.H264:
		return golomb(nal[1:])
	case kind == byte(h265.NALUType_VPS_NUT):
		if len(nal) < 3 {
			return 0, false
		}
		return uint32(nal[2] >> 4), true
	case kind == byte(h265.NALUType_SPS_NUT):
		var s h265.SPS
		err := s.Unmarshal(nal)
		return uint32(s.ID), err == nil
	}
	return golomb(nal[2:])
}

// golomb reads the Exp-Golomb code at the beginning of b, which is below 256.
func golomb(b []byte) (uint32, bool) {
	at := 0
	n, err := bits.ReadGolombUnsigned(b[:min(len(b), 4)], &at)
	return n, err == nil && n < 256
}

// Config returns the decoder configuration, as schemas.Track.Config; nil while sets are
// missing. It is the same slice until a set changes.
func (l *ParameterSetList) Config() []byte {
	if l.config == nil {
		l.config = l.make()
		l.size = 0
		for _, s := range l.sets {
			l.size += 4 + len(s.nal)
		}
	}
	return l.config
}

func (l *ParameterSetList) make() []byte {
	if l.codec == schemas.H264 {
		return l.avc()
	}
	return l.hevc()
}

func (l *ParameterSetList) of(kind byte) (nals [][]byte) {
	for _, s := range l.sets {
		if s.kind == kind {
			nals = append(nals, s.nal)
		}
	}
	return nals
}

// avc returns an AVCDecoderConfigurationRecord (ISO/IEC 14496-15 section 5.3.3.1).
func (l *ParameterSetList) avc() []byte {
	sps, pps := l.of(byte(h264.NALUTypeSPS)), l.of(byte(h264.NALUTypePPS))
	if len(sps) == 0 || len(pps) == 0 {
		return nil
	}
	r := avc.DecConfRec{ // an SPS that could be read has its first three bytes
		AVCProfileIndication: sps[0][1], ProfileCompatibility: sps[0][2], AVCLevelIndication: sps[0][3],
		SPSnalus: sps, PPSnalus: pps, NoTrailingInfo: true, // as GStreamer writes it
	}
	var b bytes.Buffer
	if r.Encode(&b) != nil {
		return nil
	}
	return b.Bytes()
}

// hevc returns an HEVCDecoderConfigurationRecord (ISO/IEC 14496-15 section 8.3.3.1).
func (l *ParameterSetList) hevc() []byte {
	vps, sps, pps := l.of(byte(h265.NALUType_VPS_NUT)), l.of(byte(h265.NALUType_SPS_NUT)), l.of(byte(h265.NALUType_PPS_NUT))
	if len(vps) == 0 || len(sps) == 0 || len(pps) == 0 {
		return nil
	}
	r, err := hevc.CreateHEVCDecConfRec(vps, sps, pps, false, false, false, true) // sets may also be in band
	if err != nil {
		return nil
	}
	// Behind the header: sps_video_parameter_set_id, sps_max_sub_layers_minus1,
	// sps_temporal_id_nesting_flag.
	r.NumTemporalLayers, r.TemporalIDNested = sps[0][2]>>1&7+1, sps[0][2]&1
	var b bytes.Buffer
	if r.Encode(&b) != nil {
		return nil
	}
	return b.Bytes()
}

// Size returns how many bytes [ParameterSetList.Append] adds, after Config.
func (l *ParameterSetList) Size() int { return l.size }

// Append appends all sets to an access unit, each after its length.
func (l *ParameterSetList) Append(au []byte) []byte {
	for _, s := range l.sets {
		au = AppendNAL(au, s.nal)
	}
	return au
}

// AppendNAL appends a NAL unit to an access unit, after its length.
func AppendNAL(au, nal []byte) []byte {
	return append(binary.BigEndian.AppendUint32(au, uint32(len(nal))), nal...)
}

// BeginsAtSlice reports whether a NAL unit is a slice of a picture at which a decoder can
// begin, if it has the parameter sets: an IDR of H.264, an IRAP of H.265.
func BeginsAtSlice(c schemas.Codec, nal []byte) bool {
	switch {
	case len(nal) == 0:
		return false
	case c == schemas.H264:
		return nal[0]&0x1f == 5
	}
	t := nal[0] >> 1 & 0x3f
	return t >= 16 && t <= 21
}
