package medialog

import (
	"cmp"
	"fmt"
	"time"

	"github.com/framelog/framelog/schemas"
)

// This file is what a writer does until its topic is open: it keeps what comes
// for the core, in order and bounded.

// earlyLimit is how many operations may wait for the topic to be open. Beyond
// it footage only makes the newest gap longer: hours without Kafka, with a
// camera that comes and goes, must take no memory.
const earlyLimit = 4096

// addEarly keeps an operation until the topic is open; false: no more are
// kept. With w.mu held.
func (w *Writer) addEarly(op func()) bool {
	if len(w.early) >= earlyLimit {
		return false
	}
	w.early, w.lost = append(w.early, op), nil
	return true
}

// writeEarly keeps a chunk until the topic is open, within the same budget.
// What is over it is kept as time only. With w.mu held.
func (w *Writer) writeEarly(c *schemas.Chunk, admit string) error {
	size := int64(c.Size())
	if c.Index == 0 {
		w.refused = cmp.Or(admit, w.full)
	}
	switch {
	case w.refused != "":
	case w.waiting+size > w.core.budget:
		w.full = schemas.ReasonBudget
		w.refused = w.full
	case len(w.early) >= earlyLimit:
		w.full = schemas.ReasonIndexBehind
		w.refused = w.full
	}
	if admit = w.refused; admit != "" {
		ticks := c.MediaEnd() - c.MediaStart()
		w.lostFootage(ticks, admit)
		w.earlyGap(c.Start, c.MediaStart(), ticks, admit)
		return fmt.Errorf("%w: %s", ErrRefused, admit)
	}
	w.waiting += size
	w.addEarly(func() { _ = w.write(c, "") })
	return nil
}

// earlyGap notes refused footage; what follows refused footage is one note, so
// that hours of it take no memory. With w.mu held.
func (w *Writer) earlyGap(start time.Time, media, d int64, reason string) {
	if w.stopped {
		return
	}
	full := len(w.early) >= earlyLimit
	if g := w.gapNote; g != nil && g.at == len(w.early) && (full || g.reason == reason) {
		if w.session { // another session's time, which is not this one's
			g.duration += d
		} else {
			g.duration = max(g.duration, media+d-g.media)
		}
		return
	}
	g := &earlyGap{start: start, media: media, duration: d, reason: reason}
	w.early, w.lost = append(w.early, func() { w.core.addGap(g.start, g.media, g.duration, g.reason) }), nil
	g.at = len(w.early)
	w.gapNote = g
}

type earlyGap struct {
	start           time.Time
	media, duration int64
	reason          string
	at              int // len(early) behind it
}
