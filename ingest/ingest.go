// Package ingest records cameras into the log: a [Source] delivers access units,
// package assemble makes chunks of them, and the log's writer takes the chunks.
// Package camera runs all of this for each camera. Each kind of source has its own
// package.
package ingest

import (
	"context"
	"time"

	"github.com/framelog/framelog/schemas"
)

// Source connects to one camera.
type Source interface {
	// Run makes one connection, delivers to s until the connection ends, and returns
	// why it ended. It is called again and again, never twice at a time: a Source
	// may remember what works with its camera. All calls of s come from one
	// goroutine at a time. When Run returns, everything that it started has ended.
	// Errors hold no secret.
	Run(ctx context.Context, s Sink) error
	// Live reports whether the source's clock (Sink.Tick, Unit.Captured) is the wall
	// clock. Then a session ends where the footage does not keep up with it. A file,
	// an upload or a replay is not live: its clock is the time of its footage, however
	// fast it is delivered.
	Live() bool
}

// Sink takes what a source delivers. Its methods never block. An error means that
// this connection is of no use, and Run returns it.
type Sink interface {
	// Tracks announces the tracks that follow. It is called before the first unit,
	// and again if a decoder configuration changes or a track comes or goes. Each
	// call begins a session at the next keyframe.
	Tracks(tracks []schemas.Track) error
	// Unit takes one access unit of video or one frame of audio, in decode
	// order within its track. It keeps u.Data.
	Unit(u Unit) error
	// Tick tells the time by the source's clock. A source calls it about once a
	// second of that clock, from Run's start to its end, also while no unit comes:
	// with it the sink notices missing keyframes and missing sound, and, for a live
	// source, that this process stood still.
	Tick(now time.Time) error
}

// Observer is a Sink that is also told of the steps of a connection. A [Source] checks
// whether its sink is one. Observe is called from the goroutine that calls the sink,
// and does not block.
type Observer interface {
	Observe(e Event)
}

// Recorder is a Sink that also takes chunks. A [Source] whose footage consists of chunks
// already checks whether its sink is one. It then calls these methods instead of Tracks
// and Unit, from one goroutine. Chunks, sessions, gaps and losses are as those of
// assemble.Recorder.
type Recorder interface {
	// Begin opens the camera's log, and waits until no other process can change it and
	// all that this process wrote has its entry. From then on the log tells where a
	// source that can repeat its footage has to go on. An unfinished fragment is closed.
	Begin(ctx context.Context) error
	// NewSession makes the next fragment or gap begin a session.
	NewSession(absent string)
	// Chunk waits until the log has room for c, and writes it. It keeps c. A chunk that the
	// log refuses nevertheless becomes a gap, and is no error.
	Chunk(ctx context.Context, c *schemas.Chunk) error
	Truncate(reason string)
	Gap(start time.Time, media, duration int64, reason string)
	Lost(l schemas.Lost)
}

// Event is a step of a connection.
type Event struct {
	Kind      EventKind
	Transport string        // "tcp" or "udp"
	Err       error         // of EventFallback: why TCP is not used any more; of EventEngine and EventLeftOut
	Units     uint64        // of EventDropped: how many
	FrameTime time.Duration // of EventFrameTime
	Problem   string        // of EventSound and EventLeftOut
}

// EventKind is what has happened.
type EventKind string

// The kinds of events, the steps in the order in which they come.
const (
	EventConnecting EventKind = "connecting"
	EventPlaying    EventKind = "playing"    // PLAY is accepted
	EventDelivering EventKind = "delivering" // units come
	EventFallback   EventKind = "fallback"   // TCP gave nothing: UDP comes next
	EventEnded      EventKind = "ended"
	// EventFrameTime: how long a picture lasts by the SDP; 0: it does not say. It
	// comes before the tracks.
	EventFrameTime EventKind = "frame-time"
	// EventSound: what is wrong with the camera's sound, in words for people; "":
	// nothing. The pictures are recorded in any case.
	EventSound EventKind = "sound"
	// EventLeftOut: what a source leaves out of its footage, and why, in words for people.
	EventLeftOut EventKind = "left-out"
	// EventDropped: units were dropped because the queue between the source
	// and its sink was full.
	EventDropped EventKind = "dropped"
	// EventEngine: another engine works with the camera from now on; Err says why.
	EventEngine EventKind = "engine"
	// EventUnreleased: the engine has not released the connection in time, so it
	// still holds memory and threads.
	EventUnreleased EventKind = "unreleased"
)

// Unit is one access unit of video or one frame of audio. It has only a presentation
// time, since RTP has no decode time.
type Unit struct {
	Track uint8
	// PTS is the extended RTP time, in the track's timescale; its origin is
	// the same instant for all tracks of a connection. It is exact: no skew
	// correction, no smoothing.
	PTS  int64
	Data []byte // as schemas.Codec says
	// Captured is when the unit was captured, by the source's clock: of a live
	// source the wall clock when it arrived, of a file or a replay the time of
	// the footage. The public time of a session is that of its first unit.
	Captured time.Time
	// CameraTime is the camera's own clock for the unit if RTCP sender
	// reports give it, else zero.
	CameraTime time.Time
	// Lost is how many RTP packets of this track are known to be missing
	// since the unit before; Broken means that this unit itself is damaged.
	Lost   uint32
	Broken bool
}
