package assemble

import (
	"errors"
	"time"

	"github.com/framelog/framelog/internal/codec"
)

// ErrUnsupported: what the camera sends cannot be recorded.
var ErrUnsupported = errors.New("camera sends what cannot be recorded")

// Unit is one access unit as a source delivers it: presentation time alone,
// since RTP carries no other.
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

// unit is an access unit of video on its way to a chunk.
type unit struct {
	data     []byte
	pts      int64 // extended RTP time, moved over steps of the camera's clock
	dts      int64 // media time
	captured time.Time
	camera   time.Time
	picture  codec.Picture
	start    bool // a fragment can begin here
	openGOP  bool // but its leading pictures need the fragment before
}
