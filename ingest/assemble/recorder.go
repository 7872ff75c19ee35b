package assemble

import (
	"time"

	"github.com/framelog/framelog/schemas"
)

// Recorder takes chunks; *medialog.Writer is one. Its methods never block and
// are called from one goroutine. It assigns epoch, seq, session, layout id and
// target duration, and moves media time so that it never goes back.
type Recorder interface {
	// NewSession makes the next fragment (or gap) begin a new session.
	NewSession()
	// Write takes the next chunk of a fragment; Index 0 begins one, Last ends
	// it. Of c.Layout, Part, Video and Audio are the assembler's to set, in
	// every chunk. c.Start is public time, and DTS media time by a base of
	// the assembler's own, the same for a whole session: the source's clock at
	// the session's start. An error means that this fragment is not recorded
	// any further: the assembler goes on calling Write all the same (the
	// recorder counts what is refused and makes gaps of it).
	Write(c *schemas.Chunk) error
	// Truncate closes the unfinished fragment without a last chunk: entry
	// `truncated`.
	Truncate(reason string)
	// Gap records footage that was received and could not be made into
	// chunks. Successive calls that touch are one run. media and duration are
	// in ticks of schemas.MediaTimescale, media by the assembler's base.
	Gap(start time.Time, media, duration int64, reason string)
	// Lost adds to what is missing inside the unfinished fragment.
	Lost(l schemas.Lost)
}
