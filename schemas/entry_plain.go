package schemas

import (
	"encoding/binary"
	"math"
)

// plainEntry decodes an entry as this version writes it. ok is false for anything else that may be
// right too: then decode, which takes several times as long, decides. A playlist of a day has
// 43,000 entries.
func plainEntry(b []byte, w *wireEntry) (ok bool) {
	r := plain{b: b, ok: true}
	for n := r.length(0x80, 0xde); n > 0 && r.ok; n-- {
		switch string(r.bytes()) {
		case "v":
			w.V = int(r.signed(math.MaxInt32))
		case "k":
			w.Kind = Kind(r.text())
		case "pv":
			w.Prev = r.signed(math.MaxInt64)
		case "lf":
			w.Life = r.text()
		case "q":
			w.Seq = r.unsigned(math.MaxUint64)
		case "se":
			w.Session = r.unsigned(math.MaxUint64)
		case "ly":
			r.ok = r.ok && w.Layout == nil
			w.Layout = r.layout()
		case "cf":
			w.Config = r.text()
		case "og":
			w.OpenGOP = r.bool()
		case "st":
			w.Start = r.signed(math.MaxInt64)
		case "m":
			w.Media = r.signed(math.MaxInt64)
		case "d":
			w.Duration = r.signed(math.MaxInt64)
		case "by":
			w.Bytes = r.signed(math.MaxInt64)
		case "e":
			w.Epoch = r.signed(math.MaxInt64)
		case "p":
			w.Partition = int32(r.signed(math.MaxInt32))
		case "o":
			w.First = r.signed(math.MaxInt64)
		case "ol":
			w.Last = r.signed(math.MaxInt64)
		case "n":
			w.Chunks = uint32(r.unsigned(math.MaxUint32))
		case "lp":
			w.Packets = uint32(r.unsigned(math.MaxUint32))
		case "lu":
			w.Units = uint32(r.unsigned(math.MaxUint32))
		case "en":
			w.Ended = r.bool()
		case "r":
			w.Reason = r.text()
		case "ab":
			w.Absent = r.signed(math.MaxInt64)
		case "ar":
			w.AbsentWhy = r.text()
		case "ro":
			w.Role = Role(r.text())
		case "sc":
			r.ok = r.ok && w.Source == nil
			w.Source = r.copy()
		case "nt":
			w.Note = r.text()
		default: // those of rare entries, and of other versions
			return false
		}
	}
	return r.ok && w.V >= 1 && w.V <= Version
}

// plain reads MessagePack. What it does not expect sets ok to false.
type plain struct {
	b  []byte
	ok bool
}

// take returns the next n bytes, at least as many zeros if there are none.
func (r *plain) take(n int) []byte {
	if n > len(r.b) {
		r.ok, r.b = false, nil
		return make([]byte, n)
	}
	taken := r.b[:n]
	r.b = r.b[n:]
	return taken
}

// length reads the head of a map, an array or a string: fix is the first byte of those that are
// short (up to 15), and long that of those with a length of two bytes.
func (r *plain) length(fix, long byte) int {
	switch c := r.take(1)[0]; {
	case c&0xf0 == fix:
		return int(c & 0xf)
	case c == long:
		return int(binary.BigEndian.Uint16(r.take(2)))
	}
	r.ok = false
	return 0
}

func (r *plain) bytes() []byte {
	switch c := r.take(1)[0]; {
	case c&0xe0 == 0xa0:
		return r.take(int(c & 0x1f))
	case c == 0xd9:
		return r.take(int(r.take(1)[0]))
	case c == 0xda:
		return r.take(int(binary.BigEndian.Uint16(r.take(2))))
	}
	r.ok = false
	return nil
}

func (r *plain) text() string { return string(r.bytes()) }

func (r *plain) bool() bool {
	c := r.take(1)[0]
	r.ok = r.ok && (c == 0xc2 || c == 0xc3)
	return c == 0xc3
}

func (r *plain) unsigned(most uint64) (v uint64) {
	switch c := r.take(1)[0]; {
	case c <= 0x7f:
		v = uint64(c)
	case c == 0xcc:
		v = uint64(r.take(1)[0])
	case c == 0xcd:
		v = uint64(binary.BigEndian.Uint16(r.take(2)))
	case c == 0xce:
		v = uint64(binary.BigEndian.Uint32(r.take(4)))
	case c == 0xcf:
		v = binary.BigEndian.Uint64(r.take(8))
	default:
		r.ok = false
	}
	r.ok = r.ok && v <= most
	return v
}

// signed reads a number. Of those below 0 it takes -1 alone, in one byte, and those of 64 bits.
func (r *plain) signed(most int64) (v int64) {
	if len(r.b) > 0 {
		switch r.b[0] {
		case 0xff:
			r.b = r.b[1:]
			return -1
		case 0xd3:
			v = int64(binary.BigEndian.Uint64(r.take(9)[1:]))
			r.ok = r.ok && v <= most && v >= -most
			return v
		}
	}
	return int64(r.unsigned(uint64(most)))
}

func (r *plain) layout() *wireLayout {
	var w wireLayout
	for n := r.length(0x80, 0xde); n > 0 && r.ok; n-- {
		switch string(r.bytes()) {
		case "n":
			w.ID = uint32(r.unsigned(math.MaxUint32))
		case "td":
			w.Target = uint32(r.unsigned(math.MaxUint32))
		case "pt":
			w.Part = uint32(r.unsigned(math.MaxUint32))
		case "v":
			w.Video = Codec(r.text())
		case "a":
			w.Audio = Codec(r.text())
		case "d":
			w.Data = Codec(r.text())
		default:
			r.ok = false
		}
	}
	return &w
}

func (r *plain) copy() *wireCopy {
	var w wireCopy
	for n := r.length(0x80, 0xde); n > 0 && r.ok; n-- {
		switch string(r.bytes()) {
		case "e":
			w.Epoch = r.signed(math.MaxInt64)
		case "o":
			w.First = r.signed(math.MaxInt64)
		case "n":
			w.Chunks = uint32(r.unsigned(math.MaxUint32))
		default:
			r.ok = false
		}
	}
	return &w
}
