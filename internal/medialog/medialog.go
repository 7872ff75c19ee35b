// Package medialog is the typed log over Kafka. A [Writer] is for the one process
// that records a camera. Readers have a tail ([Log.Tail]), which follows a camera
// live, and a store ([Log.Entries], [Log.Chunks]), which reads any range through the
// index. The contract of the log is decided in protocol.go, settle.go,
// provisional.go and core.go, without input or output. The other files move bytes.
package medialog

import (
	"context"
	"iter"
	"time"

	"github.com/framelog/framelog/schemas"
)

// Store reads ranges of a topic through its index. The Kafka log is one.
type Store interface {
	// Entries yields the valid entries in r that take a seq (whole, truncated and
	// gap), in seq order, each seq once.
	Entries(ctx context.Context, t schemas.Topic, r Range) iter.Seq2[schemas.Entry, error]
	// Chunks yields the chunks of the copy that e names, in order, and none for a
	// gap. The error is ErrExpired if Kafka has removed the media. Sample data are
	// slices of what was fetched, as in an [Event].
	Chunks(ctx context.Context, t schemas.Topic, e schemas.Entry) iter.Seq2[*schemas.Chunk, error]
}

// Range is a range of a topic: by seq if ToSeq is not 0, else by public time. The
// zero Range is everything.
type Range struct {
	FromSeq, ToSeq uint64    // both inclusive
	From, To       time.Time // from the last fragment that starts at or before From, to the last that starts before To; zero: no bound
}

// Position is where a tail starts.
type Position struct {
	// Back is how much footage before the live edge comes first, as entries. The
	// newest entry comes in any case, if there is one.
	Back time.Duration
	// Seq, if not 0, is the first entry instead. If it has expired, the tail starts
	// with the oldest entry.
	Seq uint64
	// Time, if not zero: the tail starts at the last fragment that starts at or
	// before it.
	Time time.Time
}

// Event is one event of a tail. Exactly one field is set.
type Event struct {
	// Entry is the next valid entry. Seqs are dense and in order, unless the
	// camera's index was deleted or emptied.
	Entry *schemas.Entry
	// Chunk is a provisional chunk of the latest epoch, of a seq above all entries so
	// far, in order within its fragment and from index 0 on. The entry of its seq
	// confirms it, or names other chunks. Its sample data are slices of what was
	// fetched: a reader that keeps one keeps all of that in memory.
	Chunk *schemas.Chunk
	// Opened: a new writer has opened the topic. Provisional chunks so far are void,
	// unless an entry names them later.
	Opened *schemas.Entry
	// Live: all that stood in the log when the tail began has come.
	Live bool
}
