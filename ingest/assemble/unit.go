package assemble

import (
	"time"

	"github.com/framelog/framelog/internal/codec"
)

// unit is an access unit of video on its way to a chunk.
type unit struct {
	data     []byte
	pts      int64 // extended RTP time, without the steps of the camera's clock
	dts      int64 // media time
	captured time.Time
	camera   time.Time
	picture  codec.Picture
	start    bool // a fragment can begin here
	openGOP  bool // but its leading pictures need the fragment before
}
