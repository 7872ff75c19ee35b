package hls

import (
	"fmt"
	"math/bits"
	"strings"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h265"

	"github.com/framelog/framelog/schemas"
)

// Codecs is the CODECS attribute (RFC 6381) of tracks.
func Codecs(tracks []schemas.Track) string {
	var all []string
	for _, t := range tracks {
		if s := codecString(t); s != "" {
			all = append(all, s)
		}
	}
	return strings.Join(all, ",")
}

func codecString(t schemas.Track) string {
	switch t.Codec {
	case schemas.H264:
		if len(t.Config) >= 4 {
			return fmt.Sprintf("avc1.%02X%02X%02X", t.Config[1], t.Config[2], t.Config[3])
		}
	case schemas.H265:
		if len(t.Config) >= 13 {
			return hevcString(t.Config)
		}
	case schemas.AAC:
		if len(t.Config) >= 2 {
			kind := int(t.Config[0] >> 3)
			if kind == 31 { // ISO/IEC 14496-3 table 1.17: the escape
				kind = 32 + int(t.Config[0]&7)<<3 + int(t.Config[1]>>5)
			}
			return fmt.Sprintf("mp4a.40.%d", kind)
		}
	case schemas.Opus:
		return "opus"
	}
	return ""
}

// hevcString is that of ISO/IEC 14496-15 annex E.3.
func hevcString(c []byte) string {
	var b strings.Builder
	b.WriteString("hvc1.")
	if space := c[1] >> 6; space > 0 {
		b.WriteByte('A' + space - 1)
	}
	compat := uint32(c[2])<<24 | uint32(c[3])<<16 | uint32(c[4])<<8 | uint32(c[5])
	tier := byte('L')
	if c[1]&0x20 != 0 {
		tier = 'H'
	}
	fmt.Fprintf(&b, "%d.%X.%c%d", c[1]&31, bits.Reverse32(compat), tier, c[12])
	constraints := c[6:12]
	for len(constraints) > 0 && constraints[len(constraints)-1] == 0 {
		constraints = constraints[:len(constraints)-1]
	}
	for _, x := range constraints {
		fmt.Fprintf(&b, ".%X", x)
	}
	return b.String()
}

// frameRate is the frames a second that the video's parameter sets state, or 0
// where they state none that could be true.
func frameRate(tracks []schemas.Track) float64 {
	for _, t := range tracks {
		s, err := parameterSets(t)
		if err != nil {
			continue
		}
		fps := 0.0
		for _, unit := range s.each() {
			switch {
			case t.Codec == schemas.H264 && unit[0]&31 == nalSPS:
				var sps h264.SPS
				if sps.Unmarshal(unit) == nil {
					fps = sps.FPS()
				}
			case t.Codec == schemas.H265 && unit[0]>>1&63 == nal5SPS:
				var sps h265.SPS
				if sps.Unmarshal(unit) == nil {
					fps = sps.FPS()
				}
			}
		}
		if fps >= 1 && fps <= 240 {
			return fps
		}
	}
	return 0
}

// each is the units without their lengths.
func (s sets) each() [][]byte {
	var all [][]byte
	for b := s.units; len(b) > 4; {
		n := int(uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3]))
		all = append(all, b[4:4+n])
		b = b[4+n:]
	}
	return all
}
