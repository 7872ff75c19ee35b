package archive

import (
	"encoding/binary"
	"math"
)

// plainTrailer decodes a last box as this version writes it. Its slices are parts of b. ok is false for
// anything else that may be right too: then msgpack.Unmarshal, which takes several times as long,
// decides. The playlist of a day reads 1,440 of them.
func plainTrailer(b []byte, t *trailer) (ok bool) {
	r := plain{b: b, ok: true}
	for n := r.length(0x80, 0xde); n > 0 && r.ok; n-- {
		switch string(r.bytes()) {
		case "v":
			t.Version = int(r.number())
		case "m":
			t.Muxer = string(r.bytes())
		case "c":
			t.Camera = string(r.bytes())
		case "r":
			t.Rendition = string(r.bytes())
		case "h":
			t.Header = r.bytes()
		case "e":
			n := r.length(0x90, 0xdc)
			r.ok = r.ok && t.Entries == nil
			t.Entries = make([]segment, n)
			for i := 0; i < n && r.ok; i++ {
				r.segment(&t.Entries[i])
			}
		default:
			return false
		}
	}
	return r.ok && len(r.b) == 0
}

// plain reads MessagePack. What it does not expect sets ok to false.
type plain struct {
	b  []byte
	ok bool
}

func (r *plain) segment(s *segment) {
	for n := r.length(0x80, 0xde); n > 0 && r.ok; n-- {
		switch string(r.bytes()) {
		case "e":
			s.Entry = r.bytes()
		case "o":
			s.Offset = r.number()
		case "a":
			s.At = r.number()
		case "n":
			s.Size = r.number()
		case "s":
			s.Sum = r.bytes()
		case "f":
			s.First = r.bytes()
		case "t":
			r.ok = r.ok && s.Spans == nil
			for n := r.length(0x90, 0xdc); n > 0 && r.ok; n-- {
				s.Spans = append(s.Spans, r.number())
			}
		default:
			r.ok = false
		}
	}
}

// take returns the next n bytes, nil if there are less.
func (r *plain) take(n int) []byte {
	if n > len(r.b) {
		r.ok, r.b = false, nil
		return nil
	}
	taken := r.b[:n:n]
	r.b = r.b[n:]
	return taken
}

// uint reads a number of n bytes.
func (r *plain) uint(n int) (v uint64) {
	for _, c := range r.take(n) {
		v = v<<8 | uint64(c)
	}
	return v
}

// length reads the head of a map or an array: fix is the first byte of those that are short (up to
// 15), and long that of those with a length of two bytes.
func (r *plain) length(fix, long byte) int {
	switch c := byte(r.uint(1)); {
	case c&0xf0 == fix:
		return int(c & 0xf)
	case c == long:
		return int(r.uint(2))
	}
	r.ok = false
	return 0
}

// bytes reads a text or bytes.
func (r *plain) bytes() []byte {
	switch c := byte(r.uint(1)); {
	case c&0xe0 == 0xa0:
		return r.take(int(c & 0x1f))
	case c == 0xd9, c == 0xc4:
		return r.take(int(r.uint(1)))
	case c == 0xda, c == 0xc5:
		return r.take(int(r.uint(2)))
	}
	r.ok = false
	return nil
}

// number reads a number that is written with 64 bits, or is short and not below 0.
func (r *plain) number() int64 {
	var v uint64
	switch c := byte(r.uint(1)); {
	case c <= 0x7f:
		return int64(c)
	case c == 0xd3 && len(r.b) >= 8:
		v = binary.BigEndian.Uint64(r.take(8))
		return int64(v)
	case c >= 0xcc && c <= 0xcf:
		v = r.uint(1 << (c - 0xcc))
		r.ok = r.ok && v <= math.MaxInt64
		return int64(v)
	}
	r.ok = false
	return 0
}
