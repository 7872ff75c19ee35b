package assemble

import (
	"time"

	"github.com/framelog/framelog/schemas"
)

// Recorder takes chunks; *medialog.Writer is one. Its methods never block and
// are called from one goroutine. It assigns epoch, seq, session, layout id and
// target duration, and moves media time so that it never goes back.
type Recorder interface {
	// NewSession makes the next fragment (or gap) begin a new session. reason is why
	// nothing was recorded before it: schemas.AbsentCamera, …; "": no time is missing
	// before it, as when a clock was set.
	NewSession(reason string)
	// Write takes the next chunk of a fragment; Index 0 begins one, Last ends it.
	// The assembler sets Part, Video and Audio of c.Layout in every chunk. c.Start
	// is public time. DTS is media time from the assembler's own base, which is
	// the same for a whole session: the source's clock at the session's start.
	// After an error the rest of this fragment is not recorded. The assembler
	// still calls Write: the recorder counts refused chunks and makes gaps of
	// them.
	Write(c *schemas.Chunk) error
	// Truncate closes the unfinished fragment without a last chunk: entry
	// `truncated`.
	Truncate(reason string)
	// Gap records footage that was received and could not be made into chunks.
	// Adjacent gaps of successive calls are one run. media and duration are in
	// ticks of schemas.MediaTimescale, media from the assembler's base.
	Gap(start time.Time, media, duration int64, reason string)
	// Lost adds to what is missing inside the unfinished fragment.
	Lost(l schemas.Lost)
}
