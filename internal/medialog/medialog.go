// Package medialog is the typed log over Kafka. A [Writer] is for the one process
// that records a camera, a [Follower] for the one that writes a rendition. Readers have
// a tail ([Log.Tail]), which follows a camera live, and a store ([Log.Entries],
// [Log.Chunks]), which reads any range through the index. The contract of the log is
// decided in protocol.go, settle.go, plan.go, provisional.go, core.go and follow.go, with
// the files core_*.go and follow_entry.go, without input or output. The other files move
// bytes.
package medialog

import (
	"context"
	"iter"
	"time"

	"github.com/framelog/framelog/schemas"
)

// Store reads what was recorded of a topic, through its index. The log in Kafka is one
// store; an archive of older footage is another. Stores may be asked from several
// goroutines.
//
// An entry is visible while its media exist. Partitions expire separately: all entries
// before the newest one whose media have expired are not visible either. Bounds and
// Entries agree about this.
//
// Beside the errors that a method names it returns ctx's, ErrNoTopic if the topic does
// not exist, schemas.ErrNewer, and those of Kafka or of the file system.
type Store interface {
	// Entries yields the visible entries in r that take a seq (whole, truncated and
	// gap), in seq order, each seq once. Seqs are dense but for declared holes
	// (schemas.Entry.From). A run of gaps comes as one entry a seq. An error is the
	// last element.
	Entries(ctx context.Context, t schemas.Topic, r Range) iter.Seq2[schemas.Entry, error]
	// Entry returns the entry of a seq whose media can be read now. Errors: ErrExpired
	// if its media have expired, or if the seq is below those of all entries;
	// ErrBeyond, with the entry; ErrNotFound if the seq is above the newest entry, or
	// in a hole.
	Entry(ctx context.Context, t schemas.Topic, seq uint64) (schemas.Entry, error)
	// Chunks yields the chunks of the copy that e names, in order, and none for a
	// gap. Sample data are slices of what was fetched, as in an [Event]. Errors:
	// ErrExpired if the media are removed, also in the middle.
	Chunks(ctx context.Context, t schemas.Topic, e schemas.Entry) iter.Seq2[*schemas.Chunk, error]
	// Bounds returns the oldest and the newest visible entry. Errors: ErrNotFound if
	// there is none.
	Bounds(ctx context.Context, t schemas.Topic) (oldest, newest schemas.Entry, err error)
}

// Range is a range of a topic. An entry is in it if all its limits admit the entry. A
// limit that is zero admits all, so the zero Range is everything.
type Range struct {
	FromSeq, ToSeq uint64 // both inclusive
	// From and To are public time. They admit the entries whose footage, [Start, End),
	// overlaps [From, To). Footage without a duration counts at its Start. Public time
	// may step back from one session to the next, so these entries need not be
	// neighbours. They are found while the clocks of the hosts that record are at most
	// 1 h apart.
	From, To time.Time
}

// Position is where a tail starts.
type Position struct {
	// Back is how much footage before the live edge comes first, as entries, measured in
	// media time. The newest entry comes in any case, if there is one.
	Back time.Duration
	// Seq, if not 0, is the first entry instead. If it has expired, the tail starts
	// with the oldest entry.
	Seq uint64
	// Time, if not zero: the tail starts at the last fragment that starts at or
	// before it. Where public time steps back, that is the one with the highest seq.
	Time time.Time
}

// Event is one event of a tail. Exactly one field is set.
type Event struct {
	// Entry is the next valid entry. Seqs are in order, and dense but for declared holes
	// (schemas.Entry.From) and for what expires before the tail is live.
	Entry *schemas.Entry
	// Chunk is a provisional chunk of the latest epoch, of a seq above all entries so
	// far, in order within its fragment and from index 0 on. The entry of its seq
	// confirms it, or names other chunks. Its sample data are slices of what was
	// fetched: a reader that keeps one keeps all of that in memory.
	Chunk *schemas.Chunk
	// Opened: a new writer has opened the topic. Provisional chunks so far are void,
	// unless an entry names them later. A tail begins with the writer of the newest entry;
	// if its `open` is far behind, only Offset is known. Writers that have opened the
	// topic since come before the tail is live.
	Opened *schemas.Entry
	// Live: all that stood in the log when the tail began has come.
	Live bool
}
