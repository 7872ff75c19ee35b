package schemas

import (
	"fmt"
	"iter"
	"time"
)

// Kind is the kind of an index entry.
type Kind string

// The kinds of entries.
const (
	KindOpen      Kind = "open"      // a writer fences all earlier ones; its offset is the writer's epoch
	KindWhole     Kind = "whole"     // a complete fragment
	KindTruncated Kind = "truncated" // the playable prefix of a fragment
	KindGap       Kind = "gap"       // footage that was received and could not be kept
	KindLeft      Kind = "left"      // the writer of a rendition, which worked on Seq alone, has given that up without a failure
)

// Reasons of gaps and truncations. A reader must take others too.
const (
	ReasonHandover    = "handover"    // another writer goes on with the access unit behind the fragment's end
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
	ReasonSkipped     = "skipped"     // a processor was too far behind, and left it out
	ReasonExpired     = "expired"     // retention removed the source before a processor had read it
	ReasonIndexBehind = "index"       // more fragments awaited their entry than index_pending allows
)

// Reasons of an absence: why nothing was recorded before a session. A reader must take
// others too.
const (
	AbsentCamera   = "camera"   // the camera was away, or sent nothing that can be recorded
	AbsentRestart  = "restart"  // no process recorded the camera
	AbsentHandover = "handover" // another process took over
	AbsentFrozen   = "frozen"   // the process that records stood still
	AbsentDisabled = "disabled" // the camera was disabled or removed
)

// Role is what a rendition is for. It is empty in raw.
type Role string

// The roles of renditions.
const (
	RoleVariant     Role = "variant"     // the same content; the only one that a camera's multivariant playlist lists
	RoleAlternative Role = "alternative" // other content or other rights, as a redacted picture
	RoleData        Role = "data"        // timed metadata
	RoleDeadLetter  Role = "dead-letter" // fragments at which a processor failed
)

// MaxNote is the most bytes of an entry's note. MaxGapRun is the most seqs of one gap
// entry.
const (
	MaxNote   = 1024
	MaxGapRun = 4096
)

// Entry is one record of an index topic, the commit log of a camera.
type Entry struct {
	// Offset is the entry's offset in the index. It is not in the record: readers
	// set it.
	Offset int64

	Kind Kind
	// Prev is the offset of the entry that this writer appended before (of its
	// `open`, for its first). It is -1 in an `open`. An `open` between Prev and the
	// entry makes the entry void.
	Prev int64
	// Life is a random name of the camera's footage, from its first `open` to its
	// purge. Renditions have their source's. An `open` without From may have none: its
	// writer has not read the index yet.
	Life    string
	Seq     uint64 // of the `open` of a rendition: the fragment whose work begins; of a `left`: the one that is given up
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
	Epoch       int64 // of its chunks
	Partition   int32
	First, Last int64  // offsets of its first and last chunk
	Chunks      uint32 // number of chunks

	Lost   Lost
	Ended  bool   // the source ended with this fragment (Chunk.Ended)
	Reason string // of truncated and gap; of an open: its cause

	// Absent is how long nothing was recorded before this entry, in ticks of
	// MediaTimescale, and AbsentReason why. Only the first entry of a session has them.
	// An `open` has AbsentReason alone: its writer does not know the time yet.
	Absent       int64
	AbsentReason string

	// Of an `open`; Writer and Host also of a `left`.
	Writer string // who opens
	Host   string // of the writer
	// From, if not 0, is the seq with which this writer begins although the one before
	// it has no entry. Seqs are dense but for the holes right before a From.
	From uint64
	// Unit names the first access unit that this writer has (UnitHash). If the writer before
	// it has given this unit an entry, this writer records from a later one on.
	Unit      string
	Processor string // of a rendition: what makes it
	// Attempt, of a rendition, is how often the work on Seq has failed. If the cause is
	// "start", and the record before is an `open` with the cause "alone", there is one
	// failure more: the process that worked alone has ended without a word.
	Attempt uint32

	// Of a rendition.
	Role   Role
	Source Copy   // what the fragment was made of
	Note   string // JSON, at most MaxNote bytes: what a timeline shows of the fragment

	// Run, of a gap, is not nil if the entry stands for several seqs from Seq on. See
	// Expand.
	Run *GapRun
}

// Copy names one copy of a fragment of the source.
type Copy struct {
	Epoch  int64
	First  int64  // offset of its first chunk; 0 for a gap
	Chunks uint32 // 0 for a gap
}

// GapRun is how long each gap of a run is, in ticks of MediaTimescale. Their sum is the
// entry's Duration. There are 2 to MaxGapRun.
type GapRun struct{ Durations []int64 }

// Expand yields the entries that e stands for: one for each seq of a run of gaps, else
// e itself. All have e's Offset and Prev.
func (e *Entry) Expand() iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		if e.Run == nil {
			yield(*e)
			return
		}
		one, start, at := *e, e.Start, int64(0)
		one.Run = nil
		for i, d := range e.Run.Durations {
			one.Seq, one.Start, one.Media, one.Duration = e.Seq+uint64(i), start.Add(FromTicks(at)), e.Media+at, d
			if i > 0 {
				one.Absent, one.AbsentReason = 0, ""
			}
			if !yield(one) {
				return
			}
			at += d
		}
	}
}

// LastSeq returns the seq of the last fragment that e stands for.
func (e *Entry) LastSeq() uint64 {
	if e.Run == nil {
		return e.Seq
	}
	return e.Seq + uint64(len(e.Run.Durations)) - 1
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

// check refuses values that no writer writes and that readers cannot use.
func (e *Entry) check() error {
	switch {
	case e.Duration < 0 || e.Bytes < 0:
		return fmt.Errorf("duration %d, %d bytes", e.Duration, e.Bytes)
	case e.Absent < 0:
		return fmt.Errorf("absent for %d", e.Absent)
	case len(e.Note) > MaxNote:
		return fmt.Errorf("a note of %d bytes, at most %d", len(e.Note), MaxNote)
	case e.Run != nil:
		return e.checkRun()
	case !e.Playable():
		return nil
	case e.Partition < 0 || e.First < 0 || e.Last < e.First:
		return fmt.Errorf("chunks at offsets %d to %d of partition %d", e.First, e.Last, e.Partition)
	case e.Chunks == 0 || int64(e.Chunks)-1 > e.Last-e.First:
		return fmt.Errorf("%d chunks at offsets %d to %d", e.Chunks, e.First, e.Last)
	}
	return nil
}

func (e *Entry) checkRun() error {
	n := len(e.Run.Durations)
	if e.Kind != KindGap || n < 2 || n > MaxGapRun {
		return fmt.Errorf("%s of %d seqs", e.Kind, n)
	}
	left := e.Duration
	for _, d := range e.Run.Durations {
		if d < 0 || d > left {
			return fmt.Errorf("the gaps of a run last %d and more, their entry %d", d, e.Duration)
		}
		left -= d
	}
	if left != 0 {
		return fmt.Errorf("the gaps of a run last %d less than their entry", left)
	}
	return nil
}
