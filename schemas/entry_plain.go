package schemas

import (
	"fmt"
	"math"

	"github.com/framelog/framelog/schemas/quickpack"
)

// DecodeEntry decodes the value of a record of an index topic. Offset stays 0.
func DecodeEntry(b []byte) (Entry, error) {
	var e Entry
	if !plainEntry(b, &e) {
		var err error
		if e, err = slowEntry(b); err != nil {
			return Entry{}, fmt.Errorf("schemas: decode entry: %w", err)
		}
	}
	if err := e.check(); err != nil {
		return Entry{}, fmt.Errorf("schemas: decode entry %d: %w", e.Seq, err)
	}
	return e, nil
}

// plainEntry decodes an entry as this version writes it. ok is false for anything else that may be
// right too: then slowEntry, which takes several times as long, decides. A playlist of a day has
// 43,000 entries.
func plainEntry(b []byte, e *Entry) (ok bool) {
	r := quickpack.New(b)
	version, layout, source := int64(0), false, false
	for n := r.Map(); n > 0 && r.OK(); n-- {
		switch string(r.Bytes()) {
		case "v":
			version = r.Signed(math.MaxInt32)
		case "k":
			e.Kind = Kind(r.Text())
		case "pv":
			e.Prev = r.Number()
		case "lf":
			e.Life = r.Text()
		case "q":
			e.Seq = r.Unsigned(math.MaxUint64)
		case "se":
			e.Session = r.Unsigned(math.MaxUint64)
		case "ly":
			if layout {
				return false
			}
			layout = true
			plainLayout(&r, &e.Layout)
		case "cf":
			e.Config = r.Text()
		case "og":
			e.OpenGOP = r.Bool()
		case "st":
			e.Start = fromMicros(r.Number())
		case "m":
			e.Media = r.Number()
		case "d":
			e.Duration = r.Number()
		case "by":
			e.Bytes = r.Number()
		case "e":
			e.Epoch = r.Number()
		case "p":
			e.Partition = int32(r.Signed(math.MaxInt32))
		case "o":
			e.First = r.Number()
		case "ol":
			e.Last = r.Number()
		case "n":
			e.Chunks = uint32(r.Unsigned(math.MaxUint32))
		case "lp":
			e.Lost.Packets = uint32(r.Unsigned(math.MaxUint32))
		case "lu":
			e.Lost.Units = uint32(r.Unsigned(math.MaxUint32))
		case "en":
			e.Ended = r.Bool()
		case "r":
			e.Reason = r.Text()
		case "ab":
			e.Absent = r.Number()
		case "ar":
			e.AbsentReason = r.Text()
		case "ro":
			e.Role = Role(r.Text())
		case "sc":
			if source {
				return false
			}
			source = true
			plainCopy(&r, &e.Source)
		case "nt":
			e.Note = string(r.Bytes())
		default: // those of rare entries, and of other versions
			return false
		}
	}
	return r.OK() && version >= 1 && version <= Version
}

func plainLayout(r *quickpack.Reader, l *Layout) {
	for n := r.Map(); n > 0 && r.OK(); n-- {
		switch string(r.Bytes()) {
		case "n":
			l.ID = uint32(r.Unsigned(math.MaxUint32))
		case "td":
			l.Target = uint32(r.Unsigned(math.MaxUint32))
		case "pt":
			l.Part = uint32(r.Unsigned(math.MaxUint32))
		case "v":
			l.Video = Codec(r.Text())
		case "a":
			l.Audio = Codec(r.Text())
		case "d":
			l.Data = Codec(r.Text())
		default:
			r.Fail()
		}
	}
}

func plainCopy(r *quickpack.Reader, c *Copy) {
	for n := r.Map(); n > 0 && r.OK(); n-- {
		switch string(r.Bytes()) {
		case "e":
			c.Epoch = r.Number()
		case "o":
			c.First = r.Number()
		case "n":
			c.Chunks = uint32(r.Unsigned(math.MaxUint32))
		default:
			r.Fail()
		}
	}
}
