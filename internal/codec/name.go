package codec

import (
	"fmt"
	"strings"

	"github.com/Eyevinn/mp4ff/avc"
	"github.com/Eyevinn/mp4ff/hevc"

	"github.com/framelog/framelog/schemas"
)

// Name returns the codec string of a track (RFC 6381) for playlists and
// browsers: "avc1.64001F", "hvc1.1.6.L93.B0", "mp4a.40.2", "opus", "mp4v.6C". It
// fails if the decoder configuration cannot be read.
func Name(t schemas.Track) (string, error) {
	b := t.Config
	switch t.Codec {
	case schemas.H264: // ISO/IEC 14496-15 annex E.2
		r, err := avcConfig(b)
		if err != nil {
			return "", err
		}
		return avc.CodecString("avc1", &avc.SPS{
			Profile: uint32(r.AVCProfileIndication), ProfileCompatibility: uint32(r.ProfileCompatibility), Level: uint32(r.AVCLevelIndication),
		}), nil
	case schemas.H265: // ISO/IEC 14496-15 annex E.3
		r, err := hevcConfig(b)
		if err != nil {
			return "", err
		}
		name := hevc.CodecString("hvc1", &hevc.SPS{ProfileTierLevel: hevc.ProfileTierLevel{
			GeneralProfileSpace: r.GeneralProfileSpace, GeneralTierFlag: r.GeneralTierFlag, GeneralProfileIDC: r.GeneralProfileIDC,
			GeneralProfileCompatibilityFlags: r.GeneralProfileCompatibilityFlags, GeneralLevelIDC: r.GeneralLevelIDC,
			GeneralConstraintIndicatorFlags: r.GeneralConstraintIndicatorFlags,
		}})
		return strings.TrimSuffix(name, ".0"), nil // constraints that are all zero are left out
	case schemas.AAC: // RFC 6381 section 3.3
		if len(b) < 2 {
			return "", fmt.Errorf("codec: name track %d: configuration of %d bytes", t.ID, len(b))
		}
		kind := int(b[0] >> 3)
		if kind == 31 { // ISO/IEC 14496-3 table 1.17: the escape
			kind = 32 + int(b[0]&7)<<3 + int(b[1]>>5)
		}
		return fmt.Sprintf("mp4a.40.%d", kind), nil
	case schemas.Opus:
		return "opus", nil
	case schemas.MJPEG:
		return "mp4v.6C", nil // the object type of JPEG in MP4
	default:
		return "", fmt.Errorf("codec: name track %d: unknown codec %q", t.ID, t.Codec)
	}
}
