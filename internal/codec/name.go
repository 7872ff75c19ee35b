package codec

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"strings"

	"github.com/framelog/framelog/schemas"
)

// Name is what RFC 6381 calls a track, as CODECS of a playlist and browsers
// have it: "avc1.64001F", "hvc1.1.6.L93.B0", "mp4a.40.2", "opus", "mjpg". It
// looks at no more of the configuration than the name tells.
func Name(t schemas.Track) (string, error) {
	b := t.Config
	short := func() error { return fmt.Errorf("codec: name track %d: configuration of %d bytes", t.ID, len(b)) }
	switch t.Codec {
	case schemas.H264:
		if len(b) < 4 {
			return "", short()
		}
		return fmt.Sprintf("avc1.%02X%02X%02X", b[1], b[2], b[3]), nil
	case schemas.H265:
		if len(b) < 13 {
			return "", short()
		}
		return hevcName([13]byte(b)), nil
	case schemas.AAC:
		if len(b) < 2 {
			return "", short()
		}
		kind := int(b[0] >> 3)
		if kind == 31 { // ISO/IEC 14496-3 table 1.17: the escape
			kind = 32 + int(b[0]&7)<<3 + int(b[1]>>5)
		}
		return fmt.Sprintf("mp4a.40.%d", kind), nil
	case schemas.Opus:
		return "opus", nil
	case schemas.MJPEG:
		return "mjpg", nil
	default:
		return "", fmt.Errorf("codec: name track %d: unknown codec %q", t.ID, t.Codec)
	}
}

// hevcName reads the head of an hvcC and follows ISO/IEC 14496-15 annex E.3:
// profile space and profile, compatibility flags in reverse, tier and level,
// constraint bytes without the zeros at their end.
func hevcName(head [13]byte) string {
	var b strings.Builder
	b.WriteString("hvc1.")
	if space := head[1] >> 6; space > 0 {
		b.WriteByte('A' + space - 1)
	}
	tier := 'L'
	if head[1]&0x20 != 0 {
		tier = 'H'
	}
	fmt.Fprintf(&b, "%d.%X.%c%d", head[1]&0x1f, bits.Reverse32(binary.BigEndian.Uint32(head[2:])), tier, head[12])
	constraints := head[6:12]
	for len(constraints) > 0 && constraints[len(constraints)-1] == 0 {
		constraints = constraints[:len(constraints)-1]
	}
	for _, x := range constraints {
		fmt.Fprintf(&b, ".%X", x)
	}
	return b.String()
}
