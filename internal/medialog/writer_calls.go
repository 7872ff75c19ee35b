package medialog

import (
	"fmt"
	"time"

	"github.com/framelog/framelog/schemas"
)

// The calls of a camera: each one is an operation on the core, now or when the
// topic is open.

// do runs an operation on the core, now or when it has begun. The caller holds w.mu.
func (w *Writer) do(op func()) {
	switch {
	case w.stopped:
	case !w.opened:
		w.early.add(op)
	default:
		op()
		w.wake()
	}
}

// NewSession makes the next fragment or gap begin a new session. reason is why nothing
// was recorded before it: schemas.AbsentCamera, …; "": no time is missing there. Before
// the writer's first session "" is OpenOptions.Absent.
func (w *Writer) NewSession(reason string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.opened && w.early.isFull() {
		w.early.session, w.early.why = true, reason
		return
	}
	w.early.broken = w.early.broken || len(w.early.starts) > 0
	w.do(func() { w.core.beginSession(reason) })
}

// Truncate closes the unfinished fragment as truncated.
func (w *Writer) Truncate(reason string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.do(func() { w.core.truncate(reason) })
}

// Gap records footage that was received and could not be kept: media and
// duration in ticks of schemas.MediaTimescale.
func (w *Writer) Gap(start time.Time, media, duration int64, reason string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.countRefused(duration, reason)
	if !w.opened {
		w.earlyGap(start, media, duration, reason)
		return
	}
	w.do(func() { w.core.addGap(start, media, duration, reason) })
}

// Lost adds to what is missing inside the unfinished fragment.
func (w *Writer) Lost(l schemas.Lost) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.opened:
		w.do(func() { w.core.lost(l) })
	case w.early.refused != "" || w.stopped: // the fragment is a gap already
	case w.early.lost != nil:
		w.early.lost.Packets += l.Packets
		w.early.lost.Units += l.Units
	default:
		sum := &l
		if w.early.add(func() { w.core.lost(*sum) }) {
			w.early.lost = sum
		}
	}
}

// Write takes the next chunk of a fragment. It keeps c and changes it. Errors:
// ErrFenced; ErrRefused if the chunk becomes a gap. Before the writer is ready,
// ErrRefused is the only one.
func (w *Writer) Write(c *schemas.Chunk) error {
	if len(c.Video()) == 0 {
		return fmt.Errorf("medialog: write %s: a chunk without video", w.topic)
	}
	admit := ""
	if c.Index == 0 && w.opt.Admit != nil {
		admit = w.opt.Admit()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.stopped:
		return ErrFenced
	case !w.opened:
		return w.writeEarly(c, admit)
	}
	return w.write(c, admit)
}
