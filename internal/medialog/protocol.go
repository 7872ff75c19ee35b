package medialog

import (
	"fmt"

	"github.com/framelog/framelog/schemas"
)

// The contract of the log is decided here, in settle.go, plan.go and provisional.go,
// as pure functions over records, without input or output: which entry of a seq
// counts (sequence), which chunks belong to an entry (selection), what a new writer
// settles (settle) and where it goes on (plan), which provisional chunks a reader
// shows (provisional). Which entry is void, schemas.Judge decides. Writer, tail
// and store call them. The simulation in sim_test.go drives them through
// thousands of schedules.

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
