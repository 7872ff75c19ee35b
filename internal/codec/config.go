package codec

import (
	"errors"
	"fmt"
	"slices"

	"github.com/Eyevinn/mp4ff/avc"
	"github.com/Eyevinn/mp4ff/hevc"

	"github.com/framelog/framelog/schemas"
)

var (
	errShort  = errors.New("record ends too early")
	errNoSets = errors.New("no parameter sets")
)

// ParameterSets returns the NAL units of a decoder configuration in its order. A
// decoder without configuration needs them before a picture. They are slices of
// config. It fails for records without parameter sets, for records whose NAL unit
// lengths do not have the log's 4 bytes, and for codecs without parameter sets.
func ParameterSets(c schemas.Codec, config []byte) ([][]byte, error) {
	switch c {
	case schemas.H264:
		r, err := avcConfig(config)
		return slices.Concat(r.SPSnalus, r.PPSnalus), err
	case schemas.H265:
		r, err := hevcConfig(config)
		var units [][]byte
		for _, a := range r.NaluArrays {
			units = append(units, a.Nalus...)
		}
		return units, err
	default:
		return nil, errors.New("codec: read parameter sets: no such thing in " + string(c))
	}
}

// avcConfig reads an AVCDecoderConfigurationRecord, the body of avcC (ISO/IEC
// 14496-15 section 5.3.3.1). Its NAL units are slices of b.
func avcConfig(b []byte) (avc.DecConfRec, error) {
	r, err := avc.DecodeAVCDecConfRec(b)
	if errors.Is(err, avc.ErrCannotParseAVCExtension) {
		err = nil // the field after the parameter sets is not needed
	}
	if err == nil {
		err = checkSets(r.SPSnalus, r.PPSnalus)
	}
	if err != nil {
		return avc.DecConfRec{}, fmt.Errorf("codec: parse avcC: %w", err)
	}
	return r, nil
}

// hevcConfig reads an HEVCDecoderConfigurationRecord, the body of hvcC (ISO/IEC
// 14496-15 section 8.3.3.1). Its NAL units are slices of b.
func hevcConfig(b []byte) (hevc.DecConfRec, error) {
	r, err := hevc.DecodeHEVCDecConfRec(b)
	if err == nil {
		err = checkSets(r.GetNalusForType(hevc.NALU_VPS), r.GetNalusForType(hevc.NALU_SPS), r.GetNalusForType(hevc.NALU_PPS))
	}
	if err != nil {
		return hevc.DecConfRec{}, fmt.Errorf("codec: parse hvcC: %w", err)
	}
	return r, nil
}

// checkSets fails if a kind of parameter sets is missing, or one is empty.
func checkSets(kinds ...[][]byte) error {
	for _, sets := range kinds {
		if len(sets) == 0 {
			return errNoSets
		}
		if slices.ContainsFunc(sets, func(nal []byte) bool { return len(nal) == 0 }) {
			return errShort
		}
	}
	return nil
}
