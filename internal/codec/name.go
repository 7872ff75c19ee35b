package codec

import (
	"fmt"
	"math/bits"
	"strings"

	"github.com/framelog/framelog/schemas"
)

// Name is what RFC 6381 calls a track, as CODECS of a playlist and browsers
// have it: "avc1.64001f", "hvc1.1.6.L93.B0", "mp4a.40.2", "opus", "mjpg".
func Name(t schemas.Track) (string, error) {
	switch t.Codec {
	case schemas.H264:
		c, err := ParseAVCConfig(t.Config)
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("avc1.%02x%02x%02x", c.Profile, c.Compatibility, c.Level), nil
	case schemas.H265:
		c, err := ParseHEVCConfig(t.Config)
		if err != nil {
			return "", err
		}
		return hevcName(c), nil
	case schemas.AAC:
		c, err := ParseAACConfig(t.Config)
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("mp4a.40.%d", c.ObjectType), nil
	case schemas.Opus:
		return "opus", nil
	case schemas.MJPEG:
		return "mjpg", nil
	}
	return "", fmt.Errorf("codec: name track %d: unknown codec %q", t.ID, t.Codec)
}

// hevcName follows ISO/IEC 14496-15 annex E.3: profile space and profile,
// compatibility flags in reverse, tier and level, constraint bytes without the
// zeros at their end.
func hevcName(c HEVCConfig) string {
	var b strings.Builder
	b.WriteString("hvc1.")
	if c.ProfileSpace > 0 {
		b.WriteByte('A' + c.ProfileSpace - 1)
	}
	tier := 'L'
	if c.Tier {
		tier = 'H'
	}
	fmt.Fprintf(&b, "%d.%X.%c%d", c.Profile, bits.Reverse32(c.Compatibility), tier, c.Level)
	n := len(c.Constraints)
	for n > 0 && c.Constraints[n-1] == 0 {
		n--
	}
	for _, x := range c.Constraints[:n] {
		fmt.Fprintf(&b, ".%X", x)
	}
	return b.String()
}
