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

// SplitNALs returns the NAL units of an access unit, as slices of it.
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

// JoinNALs makes an access unit of NAL units. It reverses [SplitNALs].
func JoinNALs(nals [][]byte) []byte {
	n := 0
	for _, nal := range nals {
		n += 4 + len(nal)
	}
	au := make([]byte, 0, n)
	for _, nal := range nals {
		au = AppendNAL(au, nal)
	}
	return au
}

// Picture is the role of an access unit in random access.
type Picture uint8

// Kinds of pictures.
const (
	// Trailing is a picture that needs others and is of no kind below.
	Trailing Picture = iota
	// Start is a picture at which a decoder can always begin: an IDR of
	// H.264; an IDR or BLA of H.265; every JPEG image.
	Start
	// CRA is an H.265 clean random access picture. A decoder can begin there,
	// but RASL pictures that follow it would not decode then.
	CRA
	// Recovery is an H.264 I picture that is no IDR, with a recovery point of 0
	// frames: a decoder that begins there shows correct pictures from this one
	// on, but pictures that follow it and are shown before it need not decode.
	Recovery
	// RADL is an H.265 leading picture that decodes from its CRA or IDR alone.
	RADL
	// RASL is an H.265 leading picture that refers to pictures before its CRA.
	RASL
)

// Unit describes an access unit of video.
type Unit struct {
	Picture Picture
	// ParameterSets: the unit has an SPS, a PPS or a VPS in band.
	ParameterSets bool
	// Refresh: a gradual refresh begins here. A decoder that begins
	// with this picture shows correct ones only some pictures later. Players
	// cannot begin there.
	Refresh bool
	// Intra: an H.264 picture that is neither Start nor Recovery begins with an I
	// slice. Later pictures may need those before it.
	Intra bool
	// ReferenceB: an H.264 picture begins with a B slice, and others refer to it.
	// Such streams usually name the pictures that are no references any more, also
	// pictures before a random access point.
	ReferenceB bool
}

// Classify describes an access unit of video. Errors: [ErrNAL], [ErrNoPicture], and
// one for codecs that are not video. A decoder cannot use such a unit.
func Classify(c schemas.Codec, au []byte) (Unit, error) {
	switch c {
	case schemas.H264:
		return classify264(au)
	case schemas.H265:
		return classify265(au)
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

// eachNAL calls f for all NAL units of an access unit, also after the first slice:
// a wrong length anywhere makes the unit useless.
func eachNAL(au []byte, f func(nal []byte)) error {
	for len(au) > 0 {
		nal, rest, err := NextNAL(au)
		if err != nil {
			return err
		}
		f(nal)
		au = rest
	}
	return nil
}

// classify264 reads nal_unit_type (ITU-T H.264 table 7-1).
func classify264(au []byte) (Unit, error) {
	var u Unit
	var point recovery
	found, kind := false, sliceOther
	err := eachNAL(au, func(nal []byte) {
		switch nal[0] & 0x1f {
		case 1, 2: // slice, and data partition A, which B and C need
			if !found {
				found, kind = true, sliceKind264(nal)
				u.ReferenceB = kind == sliceB && nal[0]&0x60 != 0 // nal_ref_idc
			}
		case 5:
			if !found {
				found, u.Picture = true, Start
			}
		case 6:
			if !found && !point.found {
				point = recovery264(nal)
			}
		case 7, 8, 13:
			u.ParameterSets = true
		}
	})
	switch {
	case err != nil:
		return Unit{}, err
	case !found:
		return Unit{}, ErrNoPicture
	case u.Picture == Start:
	case point.found && point.count > 0:
		u.Refresh = true
	case point.found && kind == sliceI:
		u.Picture = Recovery
	default:
		u.Intra = kind == sliceI
	}
	return u, nil
}

// classify265 reads nal_unit_type (ITU-T H.265 table 7-1). It ignores units of
// other layers than the base.
func classify265(au []byte) (Unit, error) {
	var u Unit
	var point recovery
	found := false
	err := eachNAL(au, func(nal []byte) {
		if len(nal) < 2 || nal[0]&1 != 0 || nal[1]>>3 != 0 {
			return
		}
		switch t := nal[0] >> 1 & 0x3f; {
		case t <= 9 || t >= 16 && t <= 21:
			if !found {
				found, u.Picture = true, picture265(t)
			}
		case t == 39:
			if !found && !point.found {
				point = recovery265(nal)
			}
		case t >= 32 && t <= 34:
			u.ParameterSets = true
		}
	})
	switch {
	case err != nil:
		return Unit{}, err
	case !found:
		return Unit{}, ErrNoPicture
	}
	u.Refresh = point.found && u.Picture == Trailing
	return u, nil
}

// picture265 returns the kind of picture for the nal_unit_type of a slice.
func picture265(t byte) Picture {
	switch t {
	case 6, 7:
		return RADL
	case 8, 9:
		return RASL
	case 16, 17, 18, 19, 20:
		return Start
	case 21:
		return CRA
	}
	return Trailing
}
