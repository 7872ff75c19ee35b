package assemble

import (
	"math"
	"time"

	"github.com/framelog/framelog/schemas"
)

// How many units a session's lead holds at most, and how many it needs to see
// how deeply pictures are reordered.
const (
	leadMax     = 64
	leadReorder = 6
)

// session is one unbroken run of time: one origin for all tracks.
type session struct {
	open   bool
	origin int64     // PTS of the first picture
	base   int64     // its DTS in media time: the wall clock in ticks
	public time.Time // its public time: the wall clock
	shift  int64     // added to PTS since the camera's clock was set
	newest int64     // the highest PTS seen, shift included
	seen   time.Time // when it came

	// lead holds the first units until frame time and depth of reordering are
	// known, then it is nil.
	lead      []unit
	leadBytes int
	order     order
	held      *unit
	heldUnit  unit // what held points to

	sound  *sound // that the session has; nil: none
	chosen bool   // sound is decided: chunk 0 is written
	// leading says that leading pictures of the one at PTS joined may still
	// come, before which there was nothing: they are left out. missed says that
	// the camera was recorded before, so that they count as lost.
	leading, missed bool
	joined          int64

	until int64 // PTS at which the session ends, once that is known; else 0
	ended bool  // the source ended: what comes next is not known

	driftSince time.Time
	drift      time.Duration // the smallest difference since
	drifted    bool          // there is one
}

// see remembers the newest picture.
func (s *session) see(v unit) {
	if v.pts > s.newest {
		s.newest, s.seen = v.pts, v.captured
	}
}

// begin starts a session with the picture v.
func (a *Assembler) begin(v unit) {
	a.m.session(a.next)
	missed := a.next != sessionConnect
	a.next = ""
	a.lost = schemas.Lost{} // of what came before, which is counted alone
	a.session = session{
		open: true, origin: v.pts, newest: v.pts, seen: v.captured,
		base:   schemas.Ticks(time.Duration(v.captured.UnixNano())),
		public: v.captured, driftSince: v.captured, missed: missed,
		lead: make([]unit, 0, 16),
	}
	a.session.join(&v)
	a.rate.deltas = a.rate.deltas[:0]
	a.stats.Video, a.stats.Audio = a.video.Codec, ""
	a.stats.Width, a.stats.Height, a.stats.Recording = a.video.Width, a.video.Height, true
	a.hold(v)
}

const (
	// forever is a PTS after all others: no sound is waited for.
	forever = math.MaxInt64
	// untilShown is the PTS at which the last picture has been shown.
	untilShown = math.MinInt64
)

// end closes the session: everything that it holds is written, or waits for
// the last of its sound. Sound belongs to it that is heard before the PTS until.
func (a *Assembler) end(until int64) {
	a.close()
	s := &a.session
	if !s.open {
		return
	}
	if s.lead != nil {
		a.resolve()
	}
	if until == untilShown {
		until = s.newest + int64(a.rate.frame)
	}
	s.until = until
	if s.held != nil {
		a.add(*s.held, int64(a.rate.frame), true)
	}
	a.flushGap()
	if s.sound != a.sound {
		a.discard(s.sound)
	}
	if a.closing.chunk == nil {
		a.sound.part()
	}
	*s = session{}
	a.frag = fragment{}
	a.stats.Recording = false
}

// closing is the last chunk of a session that has ended, which lacks some of
// its sound: that comes a little after the pictures beside it, and without it
// players would stand at the seam. It is written once the sound is there, at
// the latest a chunk's duration later, and before anything of the next session,
// which does not wait for it: its lead takes as long.
type closing struct {
	chunk *schemas.Chunk // nil: none waits
	sound *sound
	limit int64        // media time, in the sound's ticks, at which the session ends
	lost  schemas.Lost // in its fragment
	since time.Time    // when the last picture came
}

// close writes the chunk that waits for sound, if there is one.
func (a *Assembler) close() {
	c := a.closing
	if c.chunk == nil {
		return
	}
	a.closing = closing{}
	lost := a.lost
	a.lost = c.lost
	a.takeRun(c.chunk, c.sound, c.limit)
	a.record(c.chunk)
	a.lost = lost
	c.sound.part()
}

// steady keeps the timeline whole where the camera's clock is set: time goes
// on as if nothing had been, and a new session begins at the next keyframe. A
// jump forward that the wall clock made too is a hole, not a step.
func (a *Assembler) steady(v *unit) {
	s := &a.session
	v.pts += s.shift
	limit := schemas.Ticks(a.cfg.ClockStep)
	d := v.pts - s.newest
	if d >= -limit && (d <= limit || d-schemas.Ticks(v.captured.Sub(s.seen)) <= limit) {
		return
	}
	a.clockSet(d, v.captured)
	move := s.newest + int64(a.rate.nominal(a)) - v.pts
	s.shift += move
	v.pts += move
	a.want(sessionClock)
}

// want makes a new session begin at the next keyframe.
func (a *Assembler) want(reason string) {
	if a.next == "" {
		a.next = reason
	}
}

// due says whether a fragment that has lasted until v may end there. Half a
// frame is allowed for the jitter of timestamps.
func (a *Assembler) due(v unit) bool {
	if a.session.lead != nil {
		return false
	}
	if !a.frag.open {
		return true
	}
	dts := a.session.order.peek(v.pts)
	return dts-a.frag.start+int64(a.rate.frame)/2 >= schemas.Ticks(a.cfg.MinFragment)
}

// hold keeps a session's first units back until they tell what must be known
// before anything can be written.
func (a *Assembler) hold(v unit) {
	s := &a.session
	s.lead = append(s.lead, v)
	s.leadBytes += len(v.data)
	n, span := len(s.lead), schemas.FromTicks(s.newest-s.origin)
	known := a.info.Reorder >= 0 || a.depth > 0 || n >= leadReorder || span >= time.Second
	// Where pictures are reordered, those between the latest are still to come.
	enough := n >= 2 && span >= a.cfg.ChunkDuration && (n >= 4+max(a.info.Reorder, a.depth) || span >= time.Second)
	if (known && enough) || n >= leadMax || s.leadBytes >= a.cfg.MaxChunkBytes {
		a.resolve()
	}
}

// resolve ends the lead and lets its units go their way.
func (a *Assembler) resolve() {
	a.close()
	a.rec.NewSession()
	s := &a.session
	lead := s.lead
	s.lead = nil
	depth := max(a.info.Reorder, a.depth, depthOf(lead))
	a.rate.probe(a, lead, depth)
	a.depth = max(a.depth, depthOf(lead))
	s.order = order{depth: min(depth, maxDepth), frame: int64(a.rate.frame), first: s.origin}
	for _, v := range lead {
		s.order.first = min(s.order.first, v.pts)
	}
	// The first picture's DTS is the session's base.
	s.order.move = s.base - s.order.first + int64(s.order.depth)*s.order.frame
	if a.sound != nil {
		a.sound.align(a, lead[0])
	}
	for _, v := range lead {
		a.place(v)
	}
}

// depthOf is the most pictures that came before another one and are shown
// after it.
func depthOf(units []unit) int {
	depth := 0
	for i := range units {
		n := 0
		for j := range i {
			if units[j].pts > units[i].pts {
				n++
			}
		}
		depth = max(depth, n)
	}
	return depth
}

// place gives v its decode time, and lets the unit before it go, whose
// duration is known now.
func (a *Assembler) place(v unit) {
	s := &a.session
	starts := v.start && a.due(v)
	switch {
	case starts && !a.frag.open && v.open: // behind a gap
		s.join(&v)
		s.missed = true
	case !starts && v.open: // inside a fragment
		v.start, v.open = false, false
	}
	dts, deeper := s.order.next(v.pts)
	if deeper {
		a.depth = max(a.depth, s.order.depth)
		a.want(sessionReorder)
	}
	v.dts = dts
	v.pts += s.order.move
	a.watchDrift(&v)
	if s.held != nil {
		d := v.dts - s.held.dts
		a.rate.see(d)
		a.add(*s.held, d, starts && a.frag.open)
	}
	if starts {
		a.beginFragment(&v)
	}
	s.heldUnit = v
	s.held = &s.heldUnit
}

// watchDrift compares public time with the wall clock, where the source is live.
// Delays of the network are always positive and mostly short, so the smallest
// difference of a while is the difference of the clocks.
func (a *Assembler) watchDrift(v *unit) {
	if !a.cfg.Live {
		return
	}
	s := &a.session
	d := v.captured.Sub(a.publicTime(v.dts))
	if !s.drifted || d < s.drift {
		s.drift, s.drifted = d, true
	}
	switch passed := v.captured.Sub(s.driftSince); {
	case passed < 0: // the wall clock was set back
		s.driftSince, s.drifted = v.captured, false
	case passed >= a.cfg.DriftWindow:
		if s.drift.Abs() > a.cfg.MaxDrift {
			a.want(sessionDrift)
		}
		s.driftSince, s.drifted = v.captured, false
	}
}

// publicTime is the public time of a media time.
func (a *Assembler) publicTime(dts int64) time.Time {
	return a.session.public.Add(schemas.FromTicks(dts - a.session.base))
}
