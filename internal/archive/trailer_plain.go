package archive

import "github.com/framelog/framelog/schemas/quickpack"

// plainTrailer decodes a last box as this version writes it. Its slices are parts of b. ok is false for
// anything else that may be right too: then msgpack.Unmarshal, which takes several times as long,
// decides. The playlist of a day reads 1,440 of them.
func plainTrailer(b []byte, t *trailer) (ok bool) {
	r := quickpack.New(b)
	for n := r.Map(); n > 0 && r.OK(); n-- {
		switch string(r.Bytes()) {
		case "v":
			t.Version = int(r.Number())
		case "m":
			t.Muxer = r.Text()
		case "c":
			t.Camera = r.Text()
		case "r":
			t.Rendition = r.Text()
		case "h":
			t.Header = r.Bytes()
		case "e":
			n := r.Array()
			if t.Entries != nil {
				return false
			}
			t.Entries = make([]segment, n)
			for i := 0; i < n && r.OK(); i++ {
				plainSegment(&r, &t.Entries[i])
			}
		default:
			return false
		}
	}
	return r.End()
}

func plainSegment(r *quickpack.Reader, s *segment) {
	for n := r.Map(); n > 0 && r.OK(); n-- {
		switch string(r.Bytes()) {
		case "e":
			s.Entry = r.Bytes()
		case "o":
			s.Offset = r.Number()
		case "a":
			s.At = r.Number()
		case "n":
			s.Size = r.Number()
		case "s":
			s.Sum = r.Bytes()
		case "f":
			s.First = r.Bytes()
		case "t":
			if s.Spans != nil {
				r.Fail()
			}
			for n := r.Array(); n > 0 && r.OK(); n-- {
				s.Spans = append(s.Spans, r.Number())
			}
		default:
			r.Fail()
		}
	}
}
