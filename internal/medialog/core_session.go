package medialog

import (
	"time"

	"github.com/framelog/framelog/schemas"
)

// beginSession makes the next fragment or gap begin a session. reason is why nothing
// was recorded before it; "": no time is missing there, or it is the writer's first
// session and newCore was told the reason.
func (c *core) beginSession(reason string) {
	c.newSession = true
	if c.begun || reason != "" {
		c.why = reason
	}
}

// startSession begins a session at public time start and media time media, if one is
// due, and reports whether it did. If media time would go back, the session's chunks are
// moved.
func (c *core) startSession(start time.Time, media int64) bool {
	if !c.newSession {
		return false
	}
	c.shift, c.publicShift = max(0, c.mediaEnd-media), 0
	if c.unit != nil {
		c.shift, c.publicShift = c.unit.media-media, c.unit.start.Sub(start)
	}
	c.newSession, c.unit, c.begun = false, nil, true
	c.absent, c.absentReason = 0, ""
	if c.why != "" {
		if c.absent = absence(c.recorded, start.Add(c.publicShift)); c.absent > 0 {
			c.absentReason = c.why
		}
	}
	c.why = ""
	c.pushAbsence(media + c.shift)
	c.session++
	return true
}

// absence returns the time between the end of what was recorded and the start of a
// session, in ticks. It is 0 if nothing was recorded before, and if public time steps
// back.
func absence(recorded, start time.Time) int64 {
	if recorded.IsZero() {
		return 0
	}
	return max(0, schemas.Ticks(start.Sub(recorded)))
}

// tellAbsence puts the absence before the session into its first entry.
func (c *core) tellAbsence(e *schemas.Entry) {
	if c.absent > 0 {
		e.Absent, e.AbsentReason = c.absent, c.absentReason
	}
	c.absent = 0
}

// tellSession calls onSession: a session begins with the next seq, at media time media.
func (c *core) tellSession(media int64) {
	if c.onSession != nil {
		c.onSession(schemas.Standing{Life: c.life, Seq: c.next, Session: c.session, Layout: c.layout, Media: media}, c.absent, c.absentReason)
	}
}

// The time before a session in which nothing was recorded becomes gaps if it is
// between minAbsence and maxAbsence (ticks). A shorter time is the jitter of a
// connection. After a longer time no player waits any more, and the first fragment
// would wait for hundreds of entries.
const (
	minAbsence = 1 * schemas.MediaTimescale
	maxAbsence = 300 * schemas.MediaTimescale
)

// pushAbsence makes gaps of the time in which nothing was recorded, before a session
// that begins at media. So time in a playlist keeps up with the wall clock. Shaka takes the
// live edge from the clock, and drops all segments without these gaps.
func (c *core) pushAbsence(media int64) {
	d := media - c.mediaEnd
	if c.publicEnd.IsZero() || c.layout.Target == 0 || d < minAbsence || d > maxAbsence {
		return
	}
	g := &item{entry: schemas.Entry{
		Kind: schemas.KindGap, Reason: schemas.ReasonAbsent, Session: c.session, Layout: c.layout, Config: c.config,
		Start: c.publicEnd, Media: c.mediaEnd, Duration: d, Epoch: c.epoch,
	}}
	target := int64(c.layout.Target) * schemas.MediaTimescale
	c.push(g, (d+target-1)/target)
}
