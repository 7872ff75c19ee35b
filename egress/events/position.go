package events

import (
	"slices"
	"strconv"
	"strings"
)

// position is the offset of the next record of each partition of the topic. As text it is
// the id of an event in a stream: a reader that sends it back goes on behind that event.
type position []int64

// parsePosition reads an id; nil if it is none.
func parsePosition(id string) position {
	if id == "" {
		return nil
	}
	var p position
	for s := range strings.SplitSeq(id, ".") {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n < 0 {
			return nil
		}
		p = append(p, n)
	}
	return p
}

func (p position) String() string {
	var b []byte
	for i, n := range p {
		if i > 0 {
			b = append(b, '.')
		}
		b = strconv.AppendInt(b, n, 10)
	}
	return string(b)
}

// pass moves the position behind a record. It returns false if the record is before it.
func (p position) pass(partition int32, offset int64) bool {
	if int(partition) >= len(p) || offset < p[partition] {
		return false
	}
	p[partition] = offset + 1
	return true
}

// reaches reports whether p is at or behind q in each partition.
func (p position) reaches(q position) bool {
	for i, n := range p {
		if n < q[i] {
			return false
		}
	}
	return true
}

// clamp moves each offset between begin and end. If one was moved, records are missing.
func (p position) clamp(begin, end position) (moved bool) {
	for i := range p {
		n := min(max(p[i], begin[i]), end[i])
		moved = moved || n != p[i]
		p[i] = n
	}
	return moved
}

func (p position) clone() position { return slices.Clone(p) }
