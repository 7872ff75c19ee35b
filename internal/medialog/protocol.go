package medialog

import (
	"fmt"

	"github.com/framelog/framelog/schemas"
)

// The contract of the log is decided here, in settle.go, plan.go and provisional.go,
// as pure functions over records, without input or output: which entry is void
// (judge), which entry of a seq counts (sequence), which chunks belong to an
// entry (selection), what a new writer settles (settle) and where it goes on
// (plan), which provisional chunks a reader shows (provisional). Writer, tail
// and store call them. The simulation in sim_test.go drives them through
// thousands of schedules.

// verdict is the result of judge.feed for an entry.
type verdict int

const (
	valid verdict = iota
	void
	// unknown: an `open` may stand between the entry's prev and the first record
	// that the judge has seen. The caller must look there.
	unknown
)

// judge decides which entries of an index are void. It is fed with every record
// from some offset on, in order.
type judge struct {
	start    int64 // the first offset that was fed
	lastOpen int64 // the newest `open` that was fed; -1: none
	fed      bool
}

// skip feeds a record that is no entry.
func (j *judge) skip(offset int64) {
	if !j.fed {
		j.start, j.lastOpen, j.fed = offset, -1, true
	}
}

// feed judges the next record. An `open` is always valid.
func (j *judge) feed(e *schemas.Entry) verdict {
	j.skip(e.Offset)
	switch {
	case e.Kind == schemas.KindOpen:
		j.lastOpen = e.Offset
		return valid
	case e.Prev < 0 || e.Prev >= e.Offset:
		return void // no correct writer makes such a record
	case e.Prev == e.Offset-1:
		return valid // no record stands between
	case j.lastOpen > e.Prev:
		return void
	case e.Prev+1 >= j.start:
		return valid // all records between were fed, and none was an `open`
	}
	return unknown
}

// sequence passes the first valid entry of each seq, in order.
type sequence struct {
	last uint64
	any  bool // an entry has passed
}

func (s *sequence) pass(e *schemas.Entry) bool {
	if !e.Footage() || (s.any && e.Seq <= s.last) {
		return false
	}
	s.last, s.any = e.Seq, true
	return true
}

// selection picks the chunks of the copy that an entry names, from the records
// between its first and its last offset. Chunks of other copies may stand there.
type selection struct{ next uint32 }

func (s *selection) take(e *schemas.Entry, c *schemas.Chunk) bool {
	if c.Seq != e.Seq || c.Epoch != e.Epoch || c.Index != s.next || s.next >= e.Chunks {
		return false
	}
	s.next++
	return true
}

func (s *selection) complete(e *schemas.Entry) error {
	if s.next != e.Chunks {
		// The partition was cut back, and has other records at these offsets.
		return fmt.Errorf("medialog: fragment %d: %d chunks of %d are there: %w", e.Seq, s.next, e.Chunks, ErrExpired)
	}
	return nil
}
