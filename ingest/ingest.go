// Package ingest turns cameras into the log: a [Source] delivers access units,
// the [Assembler] makes chunks of them, a [Recorder] (the log's writer) takes
// them. One folder below holds each kind of source.
package ingest

import (
	"context"
	"time"

	"github.com/framelog/framelog/schemas"
)

// Source connects to one camera.
type Source interface {
	// Run makes one connection, delivers to s until it ends, and returns why.
	// It is called again and again, never twice at a time: a Source may
	// remember what works with its camera. All calls of s come from one
	// goroutine at a time. Run owns what it starts: when it returns, nothing
	// of it is left. Errors carry no secret.
	Run(ctx context.Context, s Sink) error
}

// Sink takes what a source delivers. Its methods never block; an error means
// that this connection is of no use and Run should return it.
type Sink interface {
	// Tracks tells the tracks that follow, before the first unit, and again
	// when a decoder configuration changes or a track comes or goes: each
	// call begins a session at the next keyframe.
	Tracks(tracks []schemas.Track) error
	// Unit takes one access unit of video or one frame of audio, in decode
	// order within its track. It keeps u.Data.
	Unit(u Unit) error
}

// Observer is a Sink that is told, too, what becomes of a connection besides
// its media. A [Source] asks its sink whether it is one; Observe is called from
// the goroutine that calls the sink, and does not block.
type Observer interface {
	Observe(e Event)
}

// Event is a step of a connection.
type Event struct {
	Kind      EventKind
	Transport string        // "tcp" or "udp"
	Err       error         // of EventFallback: why TCP is given up
	Units     uint64        // of EventDropped: how many
	FrameTime time.Duration // of EventFrameTime
	Problem   string        // of EventSound
}

// EventKind is what has happened.
type EventKind string

// The kinds of events, the steps in the order in which they come.
const (
	EventConnecting EventKind = "connecting"
	EventPlaying    EventKind = "playing"  // PLAY is accepted
	EventLive       EventKind = "live"     // units are delivered
	EventFallback   EventKind = "fallback" // TCP gave nothing: UDP comes next
	EventEnded      EventKind = "ended"
	// EventFrameTime: how long a picture lasts by the SDP, 0 where it does not
	// say; it comes before the tracks.
	EventFrameTime EventKind = "frame-time"
	// EventSound: what is wrong with the camera's sound, "" where nothing is, in
	// words for people. The pictures are recorded all the same.
	EventSound EventKind = "sound"
	// EventDropped: units were dropped because the queue between the source
	// and its sink was full.
	EventDropped EventKind = "dropped"
	// EventFrozen: the connection did not stop in time, so that its memory and
	// threads are still held.
	EventFrozen EventKind = "frozen"
)

// Unit is one access unit as it came from a camera: presentation time alone,
// since RTP carries no other.
type Unit struct {
	Track uint8
	// PTS is the extended RTP time, in the track's timescale; its origin is
	// the same instant for all tracks of a connection. It is exact: no skew
	// correction, no smoothing.
	PTS  int64
	Data []byte // as schemas.Codec says
	// Captured is ingest's wall clock when the unit arrived.
	Captured time.Time
	// CameraTime is the camera's own clock for the unit where RTCP sender
	// reports give it, else zero.
	CameraTime time.Time
	// Lost is how many RTP packets of this track are known to be missing
	// since the unit before; Broken says that this unit itself is damaged.
	Lost   uint32
	Broken bool
}

// Recorder takes chunks; *medialog.Writer is one. Its methods never block and
// are called from one goroutine. It assigns epoch, seq, session, layout id and
// target duration, and moves media time so that it never goes back.
type Recorder interface {
	// NewSession makes the next fragment (or gap) begin a new session.
	NewSession()
	// Write takes the next chunk of a fragment; Index 0 begins one, Last ends
	// it. Of c.Layout, Part, Video and Audio are the assembler's to set, in
	// every chunk. c.Start is public time, and DTS media time by a base of
	// the assembler's own, the same for a whole session: the wall clock at the
	// session's start. An error means that this fragment is not recorded any
	// further: the assembler goes on calling Write all the same (the recorder
	// counts what is refused and makes gaps of it).
	Write(c *schemas.Chunk) error
	// Truncate closes the open fragment without a last chunk: entry
	// `truncated`.
	Truncate(reason string)
	// Gap records footage that was received and could not be made into
	// chunks. Successive calls that touch are one run. media and duration are
	// in ticks of schemas.MediaTimescale, media by the assembler's base.
	Gap(start time.Time, media, duration int64, reason string)
	// Lost adds to what is missing inside the open fragment.
	Lost(l schemas.Lost)
}
