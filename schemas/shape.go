package schemas

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Limits of a record that is decoded, besides those of its fields. A record comes from
// outside, and the msgpack library trusts the lengths in it.
const (
	maxDepth    = 16         // of maps and arrays in one another
	maxElements = MaxSamples // of one array, and pairs of one map
)

// shapeOf walks through the first value of b (MessagePack specification, "Formats")
// and returns its length in bytes. It returns an error if the value is incomplete or
// beyond the limits. Without it, a few bytes that announce an array of four thousand
// million elements, or some megabytes of nested arrays, end the process.
func shapeOf(b []byte) (int, error) {
	all := len(b)
	var left [maxDepth + 1]uint64 // values still to come, at each depth
	left[0] = 1
	for depth := 0; depth >= 0; {
		if left[depth] == 0 {
			depth--
			continue
		}
		left[depth]--
		if len(b) == 0 {
			return 0, io.ErrUnexpectedEOF
		}
		size, values, err := shape(b)
		if err != nil {
			return 0, err
		}
		if size > uint64(len(b)) || values > uint64(len(b))-size {
			return 0, io.ErrUnexpectedEOF
		}
		b = b[size:]
		if values == 0 {
			continue
		}
		if depth++; depth > maxDepth {
			return 0, fmt.Errorf("maps and arrays are more than %d deep", maxDepth)
		}
		left[depth] = values
	}
	return all - len(b), nil
}

// shape returns the size in bytes of the value at the start of b. For a map or an
// array it is the size of the head, and values is the number of the values that
// follow.
func shape(b []byte) (size, values uint64, err error) {
	c := b[0]
	switch {
	case c <= 0x7f, c >= 0xe0, c == 0xc0, c == 0xc2, c == 0xc3: // small number, nil, boolean
		return 1, 0, nil
	case c <= 0x8f:
		return 1, 2 * uint64(c&0x0f), nil
	case c <= 0x9f:
		return 1, uint64(c & 0x0f), nil
	case c <= 0xbf: // short text
		return 1 + uint64(c&0x1f), 0, nil
	case c == 0xc1:
		return 0, 0, errors.New("no value begins with the byte 0xc1")
	case c >= 0xca && c <= 0xcb: // float of 4, 8
		return 1 + 4<<(c-0xca), 0, nil
	case c >= 0xcc && c <= 0xcf: // unsigned of 1, 2, 4, 8
		return 1 + 1<<(c-0xcc), 0, nil
	case c >= 0xd0 && c <= 0xd3: // signed of 1, 2, 4, 8
		return 1 + 1<<(c-0xd0), 0, nil
	case c >= 0xd4 && c <= 0xd8: // extension of 1 to 16, and its type
		return 2 + 1<<(c-0xd4), 0, nil
	}
	// All others have a length of 1, 2 or 4 bytes after the first byte.
	var width, head, each uint64 // of the length; of what follows it; values for each one
	switch {
	case c <= 0xc6: // bytes
		width = 1 << (c - 0xc4)
	case c <= 0xc9: // extension, and its type
		width, head = 1<<(c-0xc7), 1
	case c <= 0xdb: // text
		width = 1 << (c - 0xd9)
	case c <= 0xdd: // array
		width, each = 2<<(c-0xdc), 1
	default: // map
		width, each = 2<<(c-0xde), 2
	}
	if uint64(len(b)) < 1+width {
		return 0, 0, io.ErrUnexpectedEOF
	}
	var n [4]byte
	copy(n[4-width:], b[1:1+width])
	length := uint64(binary.BigEndian.Uint32(n[:]))
	if each == 0 {
		return 1 + width + head + length, 0, nil
	}
	if length > maxElements {
		return 0, 0, fmt.Errorf("%d elements, at most %d", length, maxElements)
	}
	return 1 + width, each * length, nil
}
