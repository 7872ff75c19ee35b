package schemas

import (
	"encoding/binary"
	"hash/maphash"
	"math"
	"sync/atomic"
)

// plainEntry decodes an entry as this version writes it. ok is false for anything else that may be
// right too: then slowEntry, which takes several times as long, decides. A playlist of a day has
// 43,000 entries.
func plainEntry(b []byte, e *Entry) (ok bool) {
	r := plain{b: b, ok: true}
	version, layout, source := int64(0), false, false
	for n := r.length(0x80, 0xde); n > 0 && r.ok; n-- {
		switch string(r.bytes()) {
		case "v":
			version = r.signed(math.MaxInt32)
		case "k":
			e.Kind = Kind(r.text())
		case "pv":
			e.Prev = r.signed(math.MaxInt64)
		case "lf":
			e.Life = r.text()
		case "q":
			e.Seq = r.unsigned(math.MaxUint64)
		case "se":
			e.Session = r.unsigned(math.MaxUint64)
		case "ly":
			r.ok = r.ok && !layout
			layout = true
			r.layout(&e.Layout)
		case "cf":
			e.Config = r.text()
		case "og":
			e.OpenGOP = r.bool()
		case "st":
			e.Start = fromMicros(r.signed(math.MaxInt64))
		case "m":
			e.Media = r.signed(math.MaxInt64)
		case "d":
			e.Duration = r.signed(math.MaxInt64)
		case "by":
			e.Bytes = r.signed(math.MaxInt64)
		case "e":
			e.Epoch = r.signed(math.MaxInt64)
		case "p":
			e.Partition = int32(r.signed(math.MaxInt32))
		case "o":
			e.First = r.signed(math.MaxInt64)
		case "ol":
			e.Last = r.signed(math.MaxInt64)
		case "n":
			e.Chunks = uint32(r.unsigned(math.MaxUint32))
		case "lp":
			e.Lost.Packets = uint32(r.unsigned(math.MaxUint32))
		case "lu":
			e.Lost.Units = uint32(r.unsigned(math.MaxUint32))
		case "en":
			e.Ended = r.bool()
		case "r":
			e.Reason = r.text()
		case "ab":
			e.Absent = r.signed(math.MaxInt64)
		case "ar":
			e.AbsentReason = r.text()
		case "ro":
			e.Role = Role(r.text())
		case "sc":
			r.ok = r.ok && !source
			source = true
			r.copy(&e.Source)
		case "nt":
			e.Note = string(r.bytes())
		default: // those of rare entries, and of other versions
			return false
		}
	}
	return r.ok && version >= 1 && version <= Version
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

// text reads a text that other entries are likely to repeat.
func (r *plain) text() string { return repeated(r.bytes()) }

// texts are those that entries repeat: kinds, codecs, lives, configurations. The place of a text is a
// hash of it. Of two texts with the same place it has the newer one.
var (
	texts    [256]atomic.Pointer[string]
	textSeed = maphash.MakeSeed()
)

// repeated returns a text without a new allocation if it came lately.
func repeated(b []byte) string {
	const longest = 64
	if len(b) == 0 || len(b) > longest {
		return string(b)
	}
	place := &texts[maphash.Bytes(textSeed, b)%uint64(len(texts))]
	if have := place.Load(); have != nil && *have == string(b) {
		return *have
	}
	text := string(b)
	place.Store(&text)
	return text
}

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

func (r *plain) layout(l *Layout) {
	for n := r.length(0x80, 0xde); n > 0 && r.ok; n-- {
		switch string(r.bytes()) {
		case "n":
			l.ID = uint32(r.unsigned(math.MaxUint32))
		case "td":
			l.Target = uint32(r.unsigned(math.MaxUint32))
		case "pt":
			l.Part = uint32(r.unsigned(math.MaxUint32))
		case "v":
			l.Video = Codec(r.text())
		case "a":
			l.Audio = Codec(r.text())
		case "d":
			l.Data = Codec(r.text())
		default:
			r.ok = false
		}
	}
}

func (r *plain) copy(c *Copy) {
	for n := r.length(0x80, 0xde); n > 0 && r.ok; n-- {
		switch string(r.bytes()) {
		case "e":
			c.Epoch = r.signed(math.MaxInt64)
		case "o":
			c.First = r.signed(math.MaxInt64)
		case "n":
			c.Chunks = uint32(r.unsigned(math.MaxUint32))
		default:
			r.ok = false
		}
	}
}
