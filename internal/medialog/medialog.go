// Package medialog is the typed log over Kafka: a [Writer] for the one process
// that records a camera, and for everybody else a tail ([Log.Tail]) that
// follows it live and a store ([Log.Entries], [Log.Chunks]) that reads any
// range of it through the index. The protocol's decisions stand in protocol.go
// as pure functions over records; everything else here moves bytes.
package medialog

import (
	"context"
	"iter"
	"time"

	"github.com/framelog/framelog/schemas"
)

// Store reads ranges of a topic through its index. The Kafka log is one.
type Store interface {
	// Entries yields the valid entries that take a seq (whole, truncated and
	// gap), in seq order, each seq once, that lie in r.
	Entries(ctx context.Context, t schemas.Topic, r Range) iter.Seq2[schemas.Entry, error]
	// Chunks yields the chunks of the copy that e names, in order. An entry
	// whose media Kafka has removed gives ErrExpired; a gap gives no chunk.
	// Sample data are part of what was fetched, as in an [Event].
	Chunks(ctx context.Context, t schemas.Topic, e schemas.Entry) iter.Seq2[*schemas.Chunk, error]
}

// Range is a part of a topic: by seq where ToSeq is not 0, else by public
// time. The zero Range is everything.
type Range struct {
	FromSeq, ToSeq uint64    // both inclusive
	From, To       time.Time // from the last fragment that starts at or before From, to the last that starts before To; zero: no bound
}

// Position is where a tail starts.
type Position struct {
	// Back is how much footage before the live edge is given as entries
	// first, in time; at least the newest entry is, where there is one.
	Back time.Duration
	// Seq, where not 0, is the first entry instead. Where it has expired the
	// tail starts with the oldest entry left.
	Seq uint64
	// Time, where not zero, starts at the last fragment that starts at or
	// before it.
	Time time.Time
}

// Event is one thing that a tail tells. Exactly one field is set.
type Event struct {
	// Entry is the next valid entry: seqs are dense and in order (but for a
	// camera whose index was removed and begun again).
	Entry *schemas.Entry
	// Chunk is a provisional chunk of the latest epoch, of a seq above every
	// entry told so far, in order within its fragment and from index 0 on.
	// The entry of its seq confirms it, or names other chunks. Its sample data
	// are part of what was fetched: who keeps them long keeps all of that.
	Chunk *schemas.Chunk
	// Opened: a new writer has the camera. What was provisional is void
	// unless an entry names it later.
	Opened *schemas.Entry
	// Live: what stood in the log when the tail began has been told.
	Live bool
}
