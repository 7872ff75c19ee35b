package codec

import (
	"encoding/binary"
	"errors"

	"github.com/framelog/framelog/schemas"
)

// ErrNAL is returned for an access unit whose NAL unit lengths do not add up.
var ErrNAL = errors.New("codec: NAL unit lengths do not fit the access unit")

// ErrNoPicture is returned for an access unit without a coded picture.
var ErrNoPicture = errors.New("codec: access unit holds no picture")

// NextNAL takes the first NAL unit off an access unit in the form of the log:
// each unit after its length in 4 bytes (ISO/IEC 14496-15 section 5.3.4.2).
// Lengths of zero and lengths beyond the end give [ErrNAL].
func NextNAL(au []byte) (nal, rest []byte, err error) {
	if len(au) < 4 {
		return nil, nil, ErrNAL
	}
	n := binary.BigEndian.Uint32(au)
	if n == 0 || uint64(n) > uint64(len(au)-4) {
		return nil, nil, ErrNAL
	}
	return au[4 : 4+n : 4+n], au[4+n:], nil
}

// SplitNALs is all NAL units of an access unit, as slices of it.
func SplitNALs(au []byte) ([][]byte, error) {
	var nals [][]byte
	for len(au) > 0 {
		nal, rest, err := NextNAL(au)
		if err != nil {
			return nil, err
		}
		nals, au = append(nals, nal), rest
	}
	return nals, nil
}

// JoinNALs makes an access unit of NAL units: the reverse of [SplitNALs].
func JoinNALs(nals [][]byte) []byte {
	n := 0
	for _, nal := range nals {
		n += 4 + len(nal)
	}
	au := make([]byte, 0, n)
	for _, nal := range nals {
		au = binary.BigEndian.AppendUint32(au, uint32(len(nal)))
		au = append(au, nal...)
	}
	return au
}

// Picture says what part an access unit plays in random access.
type Picture uint8

// Kinds of pictures.
const (
	// Trailing is any picture that needs others and has no rule of its own.
	Trailing Picture = iota
	// Start is a picture at which a decoder can always begin: an IDR of
	// H.264; an IDR or BLA of H.265; every JPEG image.
	Start
	// CRA is an H.265 clean random access picture. A decoder can begin there,
	// but RASL pictures that follow it would not decode, so it opens a
	// fragment only where none follows.
	CRA
	// RADL is an H.265 leading picture that decodes from its CRA or IDR alone.
	RADL
	// RASL is an H.265 leading picture that refers to pictures before its CRA.
	RASL
)

// Unit is what an access unit of video holds.
type Unit struct {
	Picture Picture
	// ParameterSets says that it carries an SPS, a PPS or a VPS in band.
	ParameterSets bool
}

// Classify looks into an access unit of video. The errors are [ErrNAL],
// [ErrNoPicture] and one for codecs that are not video: such a unit is of no
// use to a decoder.
func Classify(c schemas.Codec, au []byte) (Unit, error) {
	switch c {
	case schemas.H264:
		return classify(au, h264Type)
	case schemas.H265:
		return classify(au, h265Type)
	case schemas.MJPEG:
		// Start of image, ISO/IEC 10918-1 section B.1.1.3.
		if len(au) < 4 || au[0] != 0xff || au[1] != 0xd8 {
			return Unit{}, ErrNoPicture
		}
		return Unit{Picture: Start}, nil
	default:
		return Unit{}, errors.New("codec: classify access unit: not video: " + string(c))
	}
}

type nalClass uint8

const (
	nalOther nalClass = iota
	nalParameters
	nalPicture
)

// classify walks over all NAL units even after the first slice, since a wrong
// length behind it makes the unit as useless as one before it.
func classify(au []byte, typ func(nal []byte) (nalClass, Picture)) (Unit, error) {
	var u Unit
	found := false
	for len(au) > 0 {
		nal, rest, err := NextNAL(au)
		if err != nil {
			return Unit{}, err
		}
		au = rest
		switch class, p := typ(nal); class {
		case nalParameters:
			u.ParameterSets = true
		case nalPicture:
			if !found {
				u.Picture, found = p, true
			}
		case nalOther:
		}
	}
	if !found {
		return Unit{}, ErrNoPicture
	}
	return u, nil
}

// h264Type reads nal_unit_type (ITU-T H.264 table 7-1).
func h264Type(nal []byte) (nalClass, Picture) {
	switch nal[0] & 0x1f {
	case 1, 2: // slice, and partition A, without which B and C are nothing
		return nalPicture, Trailing
	case 5:
		return nalPicture, Start
	case 7, 8, 13:
		return nalParameters, 0
	}
	return nalOther, 0
}

// h265Type reads nal_unit_type (ITU-T H.265 table 7-1). Units of other layers
// than the base are not looked at.
func h265Type(nal []byte) (nalClass, Picture) {
	if len(nal) < 2 || nal[0]&1 != 0 || nal[1]>>3 != 0 {
		return nalOther, 0
	}
	switch t := nal[0] >> 1 & 0x3f; {
	case t == 6 || t == 7:
		return nalPicture, RADL
	case t == 8 || t == 9:
		return nalPicture, RASL
	case t <= 5:
		return nalPicture, Trailing
	case t >= 16 && t <= 20:
		return nalPicture, Start
	case t == 21:
		return nalPicture, CRA
	case t >= 32 && t <= 34:
		return nalParameters, 0
	}
	return nalOther, 0
}
