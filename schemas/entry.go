package schemas

import "time"

// Kind is the kind of an index entry.
type Kind string

// The kinds of entries.
const (
	KindOpen      Kind = "open"      // a writer fences all earlier ones; its offset is the writer's epoch
	KindWhole     Kind = "whole"     // a complete fragment
	KindTruncated Kind = "truncated" // the playable prefix of a fragment
	KindGap       Kind = "gap"       // footage that was received and could not be kept
	KindFrom      Kind = "from"      // derived topics only: the first seq of the rendition
)

// Reasons of gaps and truncations. A reader must take others too.
const (
	ReasonBudget      = "budget"      // the camera's byte budget was full: Kafka away or too slow
	ReasonStorage     = "storage"     // less disk was free than the reserve
	ReasonCrash       = "crash"       // the writer crashed; its successor settled the fragment
	ReasonCap         = "cap"         // the fragment reached its cap in time or bytes
	ReasonTooLarge    = "too-large"   // a chunk is larger than the topic takes
	ReasonProduce     = "produce"     // Kafka refused a chunk
	ReasonSource      = "source"      // the source ended or broke inside a fragment
	ReasonKeyframe    = "keyframe"    // footage after a cap or a loss, up to the next keyframe
	ReasonAbsent      = "absent"      // nothing was received before the session that follows
	ReasonFiltered    = "filtered"    // a processor decided to give no output
	ReasonDeadLetter  = "dead-letter" // a processor failed at every attempt
	ReasonIndexBehind = "index"       // more fragments awaited their entry than index_pending allows
)

// Entry is one record of an index topic, the commit log of a camera.
type Entry struct {
	// Offset is the entry's offset in the index. It is not in the record: readers
	// set it.
	Offset int64

	Kind Kind
	// Prev is the offset of the entry that this writer appended before (of its
	// `open`, for its first). It is -1 in an `open` and in derived topics. An `open`
	// between Prev and the entry makes the entry void.
	Prev    int64
	Seq     uint64
	Session uint64
	Layout  Layout
	// Config names the decoder configuration (ConfigHash).
	Config string
	// OpenGOP is Chunk.OpenGOP of the fragment's chunk 0. A player that joins here
	// leaves the leading pictures out.
	OpenGOP  bool
	Start    time.Time // public time
	Media    int64     // media time of the first video sample, ticks of MediaTimescale
	Duration int64     // ticks of MediaTimescale
	Bytes    int64     // of samples

	// The copy that counts, for whole and truncated.
	Epoch       int64  // of its chunks
	Writer      string // of its chunks, in derived topics; in an open: who opens
	Partition   int32
	First, Last int64  // offsets of its first and last chunk
	Chunks      uint32 // number of chunks

	Lost   Lost
	Ended  bool   // the source ended with this fragment (Chunk.Ended)
	Reason string // of open, truncated and gap
	Host   string // of open
}

// Lost counts what is missing inside a fragment, as far as ingest knows.
type Lost struct {
	Packets uint32 // RTP packets
	Units   uint32 // access units that were dropped as damaged
}

// Playable reports whether the entry has media.
func (e *Entry) Playable() bool { return e.Kind == KindWhole || e.Kind == KindTruncated }

// Footage reports whether the entry takes a seq: whole, truncated and gap do.
func (e *Entry) Footage() bool { return e.Playable() || e.Kind == KindGap }

// End returns the public time at which the entry's footage ends.
func (e *Entry) End() time.Time { return e.Start.Add(FromTicks(e.Duration)) }

// MediaEnd returns the media time at which the entry's footage ends.
func (e *Entry) MediaEnd() int64 { return e.Media + e.Duration }
