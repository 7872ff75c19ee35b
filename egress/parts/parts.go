// Package parts has the words in which package hls, which has the parts of followed cameras
// in memory, gives them to package live, which sends them over a socket. A part is one chunk
// of the log as CMAF, with the same bytes as at its HLS URL.
package parts

import (
	"context"
	"errors"
	"time"
)

// Reasons why a [Viewer] ends, or does not begin.
var (
	ErrNotFound   = errors.New("parts: there is no such camera or rendition")
	ErrBusy       = errors.New("parts: too many cameras are followed")
	ErrAway       = errors.New("parts: the log does not answer")
	ErrUnplayable = errors.New("parts: this footage has no parts")
	ErrClosed     = errors.New("parts: the server is closing")
)

// Position names a part of a camera's rendition. The same position has the same bytes on
// every server, for ever.
type Position struct {
	Seq   uint64 `json:"seq"`
	Epoch int64  `json:"epoch"` // of the writer
	Part  uint32 `json:"part"`
}

// Fragment is what is known of a fragment when its first part comes.
type Fragment struct {
	Seq     uint64    `json:"seq"`
	Epoch   int64     `json:"epoch"`
	Session uint64    `json:"session"`
	Config  string    `json:"config"` // hash of its decoder configuration
	Media   int64     `json:"media"`  // media time at which it starts, in ticks of schemas.MediaTimescale
	Start   time.Time `json:"start"`  // public time of Media
}

// Reason tells why footage is left out.
type Reason string

// The reasons.
const (
	Gap      Reason = "gap"      // it was not recorded: the log has a gap here
	Hole     Reason = "hole"     // the log has nothing here: a writer began behind a hole
	Replaced Reason = "replaced" // the log counts another copy of the fragment than the one that the viewer has begun
	Behind   Reason = "behind"   // the viewer was too slow, or away for too long
	Lost     Reason = "lost"     // it cannot be read any more
)

// LeftOut is footage that a viewer does not get: from one part on, up to and without
// fragment To.
type LeftOut struct {
	Reason Reason   `json:"reason"`
	From   Position `json:"from"`
	To     uint64   `json:"to"` // seq
	// Cause is the log's reason for a gap.
	Cause string `json:"cause,omitempty"`
}

// Step is what a viewer gets next: a part, or the word that some are left out.
type Step struct {
	LeftOut  *LeftOut // nil: Data is the part
	Fragment Fragment
	Part     uint32 // its number in the fragment
	Data     []byte // never changes, and is shared by all viewers
}

// Init is an init segment. Its decoder configuration is that of all fragments which name it.
type Init struct {
	Codecs string // as in RFC 6381
	Data   []byte
}

// Viewer follows one rendition of a camera for one client. It is used by one goroutine.
type Viewer interface {
	// Next returns what comes next. It does not wait for footage: if there is nothing yet,
	// changed is not nil, and is closed when there may be something. Next may read a file or
	// the log. Errors: ErrUnplayable, ErrAway, ErrClosed, ctx's.
	Next(ctx context.Context) (step Step, changed <-chan struct{}, err error)
	// Init returns the init segment of the fragment that Next has returned last.
	Init(ctx context.Context) (Init, error)
	// Close ends it.
	Close()
}
