// Package share divides cameras among the processes of one role (ingest, a
// processor, the archive): it decides which process works on which camera, and
// how a camera goes from one process to another without a gap.
//
// A consumer group over the partitions of the registry's topic of cameras
// decides which cameras a process has (group.go). The life of one camera in one
// process is a state machine, a table without clocks and I/O (machine.go).
// [Cameras] holds the locks, timers and goroutines, and runs the work of the
// process's [Role] (cameras.go).
package share

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/schemas"
)

// ErrFenced is returned by [Work.Run]: another process has opened the camera's
// log, so later writes of this process have no effect.
var ErrFenced = errors.New("another process has taken over this camera's log")

// Reasons for a run: the reason in the `open` entry that it writes.
const (
	ReasonAssigned = "assigned" // the group gave the camera to this process when it joined
	ReasonMoved    = "moved"    // the group moved the camera here: another process had it
	ReasonAdded    = "added"    // the camera is new
	ReasonChanged  = "changed"  // the camera's record has changed
	ReasonDeserted = "deserted" // another process had opened the log and no longer writes
)

// Role makes the work of a process on its cameras. Its methods are called with
// the lock of Cameras held: they return soon and do not call Cameras.
type Role interface {
	// NewWork makes the work on a camera with this record. At most one work of
	// a camera runs at a time.
	NewWork(cam schemas.Camera) Work
	// Forget is called when nothing of a camera runs in this process any more.
	// removed reports that the registry does not have the camera any more. Then
	// this process removes what it has published about the camera (its status).
	Forget(camera string, removed bool)
}

// Work is the work on one camera.
type Work interface {
	// Run works until ctx ends, and leaves nothing behind when it returns. It
	// returns ErrFenced (wrapped or not) if another process has opened the log.
	// After any other return before ctx ends it is called again, RetryWait
	// later.
	//
	// Before each opening of the log it calls mayOpen, from any goroutine, and
	// opens only if that returns true: the camera may have gone to another
	// process, and opening the log would fence that process. A work may open when
	// it begins, or later (ingest: with the first keyframe), or several times. It
	// does not call mayOpen after it has returned.
	Run(ctx context.Context, reason string, mayOpen func() bool) error
	// WaitReclaim is called when Run has returned ErrFenced although the group
	// says that the camera is this process's. It returns nil when the log may be
	// opened again as far as the role can tell (ingest: no process writes it any
	// more), or ctx's error when ctx ends. The log is opened again only after the
	// group has confirmed, too, that this process is a member of its current
	// generation.
	WaitReclaim(ctx context.Context) error
	// Mute stops what the work publishes about the camera besides its log (ingest:
	// the status), or lets it go on. While a camera goes to another process, that
	// process publishes it. It is called with the lock of Cameras held and returns
	// soon.
	Mute(on bool)
}

// Changer is a [Work] that may go on when the camera's record changes.
type Changer interface {
	// Change reports whether the work goes on with this record, which it takes then. If
	// not, the work is stopped, and another one is made of the record. It is called with
	// the lock of Cameras held, and returns soon.
	Change(cam schemas.Camera) bool
}

// Purge is the record of what was purged of a camera id.
type Purge struct {
	schemas.Purge
	Wanted bool // the registry has a camera of this id, as far as this process has read
}

// Config is the settings of Cameras. The zero value of each field but Kafka,
// Group and Doing means its default.
type Config struct {
	Kafka kafka.Config
	// Group is the name of the consumer group, under Kafka's prefix:
	// "framelog-ingest".
	Group string
	// Instance is this process's name in the group (Kafka's group instance id,
	// KIP-345): a process that is started again with the same name within
	// SessionTimeout gets its cameras back at once. No two processes may have the
	// same name. Default: none; then a restarted process is a new member.
	Instance string
	// Doing is a participle for log lines that says what the process does to its
	// cameras: "recorded".
	Doing string

	// SessionTimeout is how long after the death of a process the others take
	// its cameras. Kafka's brokers allow 6s and more by default. Default 8s.
	SessionTimeout time.Duration
	// ReleaseWait is how long this process goes on with a camera that went to
	// another process, if that one does not begin. Default 30s.
	ReleaseWait time.Duration
	// HandOverWait is how long a process that ends goes on with its cameras, until
	// other processes have taken them. Default 10s.
	HandOverWait time.Duration
	// RetryWait is the pause before a failed run is started again. Default 500ms.
	RetryWait time.Duration
}

func (c Config) withDefaults() Config {
	c.SessionTimeout = cmp.Or(c.SessionTimeout, 8*time.Second)
	c.ReleaseWait = cmp.Or(c.ReleaseWait, 30*time.Second)
	c.HandOverWait = cmp.Or(c.HandOverWait, 10*time.Second)
	c.RetryWait = cmp.Or(c.RetryWait, 500*time.Millisecond)
	return c
}
