package codec

import (
	"github.com/bluenviron/mediacommon/v2/pkg/bits"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
)

// recovery is a recovery point SEI message. A decoder that begins at its picture
// shows correct pictures from count pictures later on. H.264 counts in decoding
// order. H.265 counts in output order, where count may be below 0.
type recovery struct {
	found bool
	count int64
}

// seiRecovery is the payloadType of a recovery point (ITU-T H.264 section D.1,
// ITU-T H.265 section D.2.1).
const seiRecovery = 6

// maxSEI is how many bytes of an SEI NAL unit are read. A recovery point is near
// its beginning; large units hold user data.
const maxSEI = 4096

// recovery264 looks for a recovery point in an SEI NAL unit of H.264.
func recovery264(nal []byte) recovery {
	return findRecovery(nal, 1, func(b []byte) (int64, error) {
		at := 0
		n, err := bits.ReadGolombUnsigned(b, &at)
		return int64(n), err
	})
}

// recovery265 looks for a recovery point in a prefix SEI NAL unit of H.265.
func recovery265(nal []byte) recovery {
	return findRecovery(nal, 2, func(b []byte) (int64, error) {
		at := 0
		n, err := bits.ReadGolombSigned(b, &at)
		return int64(n), err
	})
}

// findRecovery searches the messages of an SEI NAL unit (ITU-T H.264 section
// 7.3.2.3.1). header is the length of the NAL unit's header in bytes. Bytes that
// are no SEI messages end the search.
func findRecovery(nal []byte, header int, read func(payload []byte) (int64, error)) recovery {
	if len(nal) <= header {
		return recovery{}
	}
	b := h264.EmulationPreventionRemove(nal[header:min(len(nal), header+maxSEI)])
	for len(b) >= 2 {
		kind, rest := seiNumber(b)
		size, rest := seiNumber(rest)
		if rest == nil || size > len(rest) {
			return recovery{}
		}
		if kind == seiRecovery {
			n, err := read(rest[:size])
			if err != nil {
				return recovery{}
			}
			return recovery{found: true, count: n}
		}
		b = rest[size:]
	}
	return recovery{}
}

// seiNumber reads a number: the sum of a run of bytes 255 and a smaller last
// byte. rest is nil if the last byte is missing.
func seiNumber(b []byte) (n int, rest []byte) {
	for i, x := range b {
		n += int(x)
		if x != 255 {
			return n, b[i+1:]
		}
	}
	return 0, nil
}

// sliceKind is a type of slices.
type sliceKind uint8

const (
	sliceOther sliceKind = iota // P, SP, or unreadable
	sliceB
	sliceI // or SI
)

// sliceKind264 reads slice_type in the header of a slice of H.264 (ITU-T H.264
// section 7.3.3 and table 7-6).
func sliceKind264(nal []byte) sliceKind {
	// Two numbers of at most 65 bits. One byte in three may be emulation prevention.
	b := h264.EmulationPreventionRemove(nal[1:min(len(nal), 32)])
	at := 0
	if _, err := bits.ReadGolombUnsigned(b, &at); err != nil { // first_mb_in_slice
		return sliceOther
	}
	t, err := bits.ReadGolombUnsigned(b, &at)
	switch {
	case err != nil || t > 9:
	case t%5 == 1:
		return sliceB
	case t%5 == 2 || t%5 == 4:
		return sliceI
	}
	return sliceOther
}
