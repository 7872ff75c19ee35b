package medialog

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/framelog/framelog/schemas"
)

// Until its topic is open, a writer keeps the calls that it gets, in order and
// bounded.

// earlyLimit is how many operations may wait. Beyond it footage only makes the
// newest gap longer: hours without Kafka, with a camera that comes and goes, must
// not need more memory.
const earlyLimit = 4096

// early is what a writer got before its topic was open.
type early struct {
	ops     []func()         // operations on the core; at most earlyLimit, and one gap
	bytes   int64            // of chunks in ops
	gap     *earlyGap        // the newest gap among ops
	lost    *schemas.Lost    // the newest Lost among ops, if nothing follows it
	session bool             // a session began after ops was full
	why     string           // why nothing was recorded before that session
	start   time.Time        // public time of the first footage
	starts  []earlyStart     // of the fragments among ops, as long as nothing is missing between them
	final   string           // names the last access unit of the newest complete fragment
	sound   []schemas.Sample // of its last chunk
	broken  bool             // there are more, behind a gap or in a later session
	refused string           // why the unfinished fragment is refused; "": it is taken
	full    string           // why all later fragments are refused; "": they are taken
}

type earlyGap struct {
	start           time.Time
	media, duration int64 // ticks
	reason          string
	at              int // the number of ops up to it
}

func (e *early) isFull() bool { return len(e.ops) >= earlyLimit }

// started notes the public time of the first footage.
func (e *early) started(at time.Time) {
	if e.start.IsZero() {
		e.start = at
	}
}

// add keeps an operation; false: there is no room.
func (e *early) add(op func()) bool {
	if e.isFull() {
		return false
	}
	e.ops, e.lost = append(e.ops, op), nil
	return true
}

// writeEarly keeps a chunk, within the same budget as later ones. Of a chunk over
// budget only the time is kept. The caller holds w.mu.
func (w *Writer) writeEarly(c *schemas.Chunk, admit string) error {
	e, size := &w.early, int64(c.Size())
	e.started(c.Start)
	if c.Index == 0 {
		e.refused = cmp.Or(admit, e.full)
	}
	switch {
	case e.refused != "":
	case e.bytes+size > w.core.budget:
		e.full = schemas.ReasonBudget
		e.refused = e.full
	case e.isFull():
		e.full = schemas.ReasonIndexBehind
		e.refused = e.full
	}
	if e.refused != "" {
		ticks := c.MediaEnd() - c.MediaStart()
		w.countRefused(ticks, e.refused)
		w.earlyGap(c.Start, c.MediaStart(), ticks, e.refused)
		return fmt.Errorf("%w: %s", ErrRefused, e.refused)
	}
	e.bytes += size
	if c.Index == 0 && !e.broken {
		e.starts = append(e.starts, earlyStart{unit: schemas.UnitHash(c.Video()[0].Data), before: e.final, sound: e.sound, time: c.Start, op: len(e.ops)})
	}
	if v := c.Video(); c.Last && len(v) > 0 {
		e.final, e.sound = schemas.UnitHash(v[len(v)-1].Data), c.Audio()
	}
	e.add(func() { _ = w.write(c, "") })
	return nil
}

// earlyGap keeps a gap, as one operation with the gap right before it if that has the
// same reason. The caller holds w.mu.
func (w *Writer) earlyGap(start time.Time, media, duration int64, reason string) {
	if w.stopped {
		return
	}
	e := &w.early
	e.broken = true
	e.started(start)
	if g := e.gap; g != nil && g.at == len(e.ops) && (e.isFull() || g.reason == reason) {
		if e.session { // media is of another session
			g.duration += duration
		} else {
			g.duration = max(g.duration, media+duration-g.media)
		}
		return
	}
	g := &earlyGap{start: start, media: media, duration: duration, reason: reason}
	e.ops, e.lost = append(e.ops, func() { w.core.addGap(g.start, g.media, g.duration, g.reason) }), nil
	g.at = len(e.ops)
	e.gap = g
}

// begin begins the core, and runs the operations that waited for it. If first is not nil,
// the log has the fragments before it.
func (w *Writer) begin(epoch int64, p plan, partitions int32, first *earlyStart) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := w.early
	w.early = early{}
	if first != nil && p.resume.unit != nil {
		e.ops = slices.Delete(e.ops, e.starts[0].op, first.op)
		p.resume.unit.own = first.sound
	}
	w.core.opened(epoch, p, partitions)
	w.opened = true
	for _, op := range e.ops {
		op()
	}
	w.core.full = cmp.Or(w.core.full, e.full)
	if e.session {
		w.core.beginSession(e.why)
	}
	if w.closing {
		w.core.finish(schemas.ReasonSource)
	}
	if e.refused != "" && w.core.current == nil {
		w.core.refusing = e.refused // more chunks of this fragment come
	}
	w.wake()
}
