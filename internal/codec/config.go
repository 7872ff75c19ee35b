package codec

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"

	"github.com/framelog/framelog/schemas"
)

// AVCConfig is an AVCDecoderConfigurationRecord, the body of avcC (ISO/IEC
// 14496-15 section 5.3.3.1).
type AVCConfig struct {
	Profile, Compatibility, Level byte
	LengthSize                    int // bytes of a NAL unit's length; the log has 4
	SPS, PPS                      [][]byte
}

var errShort = errors.New("record ends too early")

// ParseAVCConfig reads the body of avcC. The slices are parts of b.
func ParseAVCConfig(b []byte) (AVCConfig, error) {
	c, err := parseAVC(b)
	if err != nil {
		return AVCConfig{}, fmt.Errorf("codec: parse avcC: %w", err)
	}
	return c, nil
}

func parseAVC(b []byte) (AVCConfig, error) {
	if len(b) < 7 {
		return AVCConfig{}, errShort
	}
	if b[0] != 1 {
		return AVCConfig{}, fmt.Errorf("version %d, want 1", b[0])
	}
	c := AVCConfig{Profile: b[1], Compatibility: b[2], Level: b[3], LengthSize: int(b[4]&3) + 1}
	var err error
	rest := b[6:]
	if c.SPS, rest, err = takeNALs(rest, int(b[5]&0x1f)); err != nil {
		return AVCConfig{}, err
	}
	if len(rest) < 1 {
		return AVCConfig{}, errShort
	}
	if c.PPS, _, err = takeNALs(rest[1:], int(rest[0])); err != nil {
		return AVCConfig{}, err
	}
	if len(c.SPS) == 0 || len(c.PPS) == 0 {
		return AVCConfig{}, errors.New("no parameter sets")
	}
	return c, nil
}

// takeNALs reads n NAL units that stand behind 2-byte lengths.
func takeNALs(b []byte, n int) (nals [][]byte, rest []byte, err error) {
	for range n {
		if len(b) < 2 {
			return nil, nil, errShort
		}
		size := int(binary.BigEndian.Uint16(b))
		if size == 0 || size > len(b)-2 {
			return nil, nil, errShort
		}
		nals, b = append(nals, b[2:2+size:2+size]), b[2+size:]
	}
	return nals, b, nil
}

// BuildAVCConfig makes the body of avcC from parameter sets, with 4-byte
// lengths.
func BuildAVCConfig(sps, pps [][]byte) ([]byte, error) {
	if len(sps) == 0 || len(pps) == 0 || len(sps) > 31 || len(pps) > 255 || len(sps[0]) < 4 {
		return nil, errors.New("codec: build avcC: want 1 to 31 SPS and 1 to 255 PPS")
	}
	b := []byte{1, sps[0][1], sps[0][2], sps[0][3], 0xfc | 3, 0xe0 | byte(len(sps))}
	b, err := appendNALs(b, sps)
	if err != nil {
		return nil, fmt.Errorf("codec: build avcC: %w", err)
	}
	if b, err = appendNALs(append(b, byte(len(pps))), pps); err != nil {
		return nil, fmt.Errorf("codec: build avcC: %w", err)
	}
	switch profile := sps[0][1]; profile {
	case 100, 110, 122, 144:
		// High profiles repeat the sample format at the end.
		var s h264.SPS
		if err := s.Unmarshal(sps[0]); err != nil {
			return nil, fmt.Errorf("codec: build avcC: %w", err)
		}
		b = append(b, 0xfc|byte(s.ChromaFormatIdc&3), 0xf8|byte(s.BitDepthLumaMinus8&7), 0xf8|byte(s.BitDepthChromaMinus8&7), 0)
	}
	return b, nil
}

func appendNALs(b []byte, nals [][]byte) ([]byte, error) {
	for _, nal := range nals {
		if len(nal) == 0 || len(nal) > 0xffff {
			return nil, fmt.Errorf("parameter set of %d bytes", len(nal))
		}
		b = binary.BigEndian.AppendUint16(b, uint16(len(nal)))
		b = append(b, nal...)
	}
	return b, nil
}

// HEVCConfig is an HEVCDecoderConfigurationRecord, the body of hvcC (ISO/IEC
// 14496-15 section 8.3.3.1).
type HEVCConfig struct {
	ProfileSpace  uint8
	Tier          bool // high tier
	Profile       uint8
	Compatibility uint32
	Constraints   [6]byte
	Level         uint8
	LengthSize    int // bytes of a NAL unit's length; the log has 4
	VPS, SPS, PPS [][]byte
	Units         [][]byte // of all arrays in the record's order, SEI messages too
}

const hvccHeader = 23

// ParameterSets is the NAL units of a decoder configuration in its order: what
// goes before a picture for a decoder that has no configuration. Lengths other
// than the log's 4 bytes are an error.
func ParameterSets(c schemas.Codec, config []byte) ([][]byte, error) {
	switch c {
	case schemas.H264:
		a, err := ParseAVCConfig(config)
		if err != nil {
			return nil, err
		}
		return slices.Concat(a.SPS, a.PPS), checkLengths("avcC", a.LengthSize)
	case schemas.H265:
		h, err := ParseHEVCConfig(config)
		if err != nil {
			return nil, err
		}
		return h.Units, checkLengths("hvcC", h.LengthSize)
	default:
		return nil, errors.New("codec: read parameter sets: no such thing in " + string(c))
	}
}

func checkLengths(record string, size int) error {
	if size != 4 {
		return fmt.Errorf("codec: %s has NAL unit lengths of %d bytes, want 4", record, size)
	}
	return nil
}

// ParseHEVCConfig reads the body of hvcC. The slices are parts of b.
func ParseHEVCConfig(b []byte) (HEVCConfig, error) {
	c, err := parseHEVC(b)
	if err != nil {
		return HEVCConfig{}, fmt.Errorf("codec: parse hvcC: %w", err)
	}
	return c, nil
}

func parseHEVC(b []byte) (HEVCConfig, error) {
	if len(b) < hvccHeader {
		return HEVCConfig{}, errShort
	}
	// Files of 0 exist, made before the standard was final.
	if b[0] > 1 {
		return HEVCConfig{}, fmt.Errorf("version %d, want 1", b[0])
	}
	c := HEVCConfig{
		ProfileSpace: b[1] >> 6, Tier: b[1]&0x20 != 0, Profile: b[1] & 0x1f,
		Compatibility: binary.BigEndian.Uint32(b[2:]),
		Constraints:   [6]byte(b[6:12]),
		Level:         b[12],
		LengthSize:    int(b[21]&3) + 1,
	}
	rest := b[hvccHeader:]
	for range int(b[22]) {
		if len(rest) < 3 {
			return HEVCConfig{}, errShort
		}
		typ, n := rest[0]&0x3f, int(binary.BigEndian.Uint16(rest[1:]))
		nals, left, err := takeNALs(rest[3:], n)
		if err != nil {
			return HEVCConfig{}, err
		}
		rest = left
		c.Units = append(c.Units, nals...)
		switch typ {
		case 32:
			c.VPS = append(c.VPS, nals...)
		case 33:
			c.SPS = append(c.SPS, nals...)
		case 34:
			c.PPS = append(c.PPS, nals...)
		}
	}
	if len(c.VPS) == 0 || len(c.SPS) == 0 || len(c.PPS) == 0 {
		return HEVCConfig{}, errors.New("no parameter sets")
	}
	return c, nil
}

// BuildHEVCConfig makes the body of hvcC from parameter sets, with 4-byte
// lengths and complete arrays.
func BuildHEVCConfig(vps, sps, pps [][]byte) ([]byte, error) {
	if len(vps) == 0 || len(sps) == 0 || len(pps) == 0 {
		return nil, errors.New("codec: build hvcC: want a VPS, an SPS and a PPS")
	}
	s, err := parseH265SPS(sps[0])
	if err != nil {
		return nil, fmt.Errorf("codec: build hvcC: %w", err)
	}
	// The general profile, tier and level stand byte-aligned behind the NAL
	// header and one byte (ITU-T H.265 section 7.3.2.2.1).
	ptl := h264.EmulationPreventionRemove(sps[0])[3:]
	if len(ptl) < 12 {
		return nil, fmt.Errorf("codec: build hvcC: %w", errShort)
	}
	b := append(make([]byte, 0, 256), 1)
	b = append(b, ptl[:12]...)
	b = append(b, 0xf0, 0, 0xfc, 0xfc|byte(s.ChromaFormatIdc&3),
		0xf8|byte(s.BitDepthLumaMinus8&7), 0xf8|byte(s.BitDepthChromaMinus8&7), 0, 0)
	nesting := byte(0)
	if s.TemporalIDNestingFlag {
		nesting = 4
	}
	b = append(b, (s.MaxSubLayersMinus1+1)&7<<3|nesting|3, 3)
	for i, nals := range [][][]byte{vps, sps, pps} {
		b = append(b, 0x80|byte(32+i))
		b = binary.BigEndian.AppendUint16(b, uint16(len(nals)))
		if b, err = appendNALs(b, nals); err != nil {
			return nil, fmt.Errorf("codec: build hvcC: %w", err)
		}
	}
	return b, nil
}
