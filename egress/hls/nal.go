package hls

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/framelog/framelog/schemas"
)

// sets is the parameter sets of a decoder configuration, in its order, as NAL
// units with 4-byte lengths.
type sets struct{ units []byte }

var errShortConfig = errors.New("decoder configuration is cut short")

// parameterSets reads them from an avcC (ISO/IEC 14496-15 section 5.3.3.1) or
// hvcC (section 8.3.3.1).
func parameterSets(t schemas.Track) (sets, error) {
	var s sets
	b := t.Config
	take := func(n int) error {
		for range n {
			if len(b) < 2 {
				return errShortConfig
			}
			size := int(binary.BigEndian.Uint16(b))
			if size == 0 || len(b) < 2+size {
				return errShortConfig
			}
			s.units = binary.BigEndian.AppendUint32(s.units, uint32(size))
			s.units = append(s.units, b[2:2+size]...)
			b = b[2+size:]
		}
		return nil
	}
	switch t.Codec {
	case schemas.H264:
		if len(b) < 7 {
			return s, errShortConfig
		}
		if b[4]&3 != 3 {
			return s, fmt.Errorf("NAL unit lengths of %d bytes, the log has 4", b[4]&3+1)
		}
		n := int(b[5] & 31)
		b = b[6:]
		if err := take(n); err != nil {
			return s, err
		}
		if len(b) < 1 {
			return s, errShortConfig
		}
		n = int(b[0])
		b = b[1:]
		return s, take(n)
	case schemas.H265:
		if len(b) < 23 {
			return s, errShortConfig
		}
		if b[21]&3 != 3 {
			return s, fmt.Errorf("NAL unit lengths of %d bytes, the log has 4", b[21]&3+1)
		}
		arrays := int(b[22])
		b = b[23:]
		for range arrays {
			if len(b) < 3 {
				return s, errShortConfig
			}
			n := int(binary.BigEndian.Uint16(b[1:]))
			b = b[3:]
			if err := take(n); err != nil {
				return s, err
			}
		}
		return s, nil
	default:
		return s, nil
	}
}

// NAL unit types: Rec. ITU-T H.264 table 7-1, H.265 table 7-1.
const (
	nalSPS  byte = 7
	nalPPS  byte = 8
	nalAUD  byte = 9
	nal5VPS byte = 32
	nal5SPS byte = 33
	nal5PPS byte = 34
	nal5AUD byte = 35
)

// withParameterSets is samples with the configuration's parameter sets before
// each sync sample that lacks any kind of them. It changes nothing in place.
func withParameterSets(t schemas.Track, samples []schemas.Sample) ([]schemas.Sample, error) {
	if t.Codec != schemas.H264 && t.Codec != schemas.H265 {
		return samples, nil
	}
	copied := false
	for i := range samples {
		if !samples[i].Sync {
			continue
		}
		at, complete := scan(t.Codec, samples[i].Data)
		if complete {
			continue
		}
		s, err := parameterSets(t)
		if err != nil {
			return nil, err
		}
		if !copied {
			samples, copied = append([]schemas.Sample(nil), samples...), true
		}
		old := samples[i].Data
		data := make([]byte, 0, len(old)+len(s.units))
		data = append(data, old[:at]...)
		data = append(data, s.units...)
		samples[i].Data = append(data, old[at:]...)
	}
	return samples, nil
}

// scan looks through an access unit: at is where parameter sets belong (after
// a delimiter, which must be first), complete whether it has all kinds before
// its first slice. Bytes that are no NAL units end the look.
func scan(codec schemas.Codec, au []byte) (at int, complete bool) {
	var seen [3]bool
	for pos := 0; pos+4 < len(au); {
		size := int(binary.BigEndian.Uint32(au[pos:]))
		if size <= 0 || size > len(au)-pos-4 {
			break
		}
		var kind byte
		if codec == schemas.H264 {
			seen[0] = true
			switch kind = au[pos+4] & 31; kind {
			case nalSPS:
				seen[1] = true
			case nalPPS:
				seen[2] = true
			case nalAUD:
				at = delimiterEnd(at, pos, size)
			}
			if kind >= 1 && kind <= 5 {
				break
			}
		} else {
			switch kind = au[pos+4] >> 1 & 63; kind {
			case nal5VPS:
				seen[0] = true
			case nal5SPS:
				seen[1] = true
			case nal5PPS:
				seen[2] = true
			case nal5AUD:
				at = delimiterEnd(at, pos, size)
			}
			if kind < nal5VPS {
				break
			}
		}
		pos += 4 + size
	}
	return at, seen == [3]bool{true, true, true}
}

func delimiterEnd(at, pos, size int) int {
	if pos == 0 {
		return 4 + size
	}
	return at
}
