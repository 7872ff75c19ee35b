package assemble

import (
	"math"
	"time"

	"github.com/framelog/framelog/internal/codec"
	"github.com/framelog/framelog/schemas"
)

// Reasons why a session began: labels of the metric.
const (
	sessionConnect     = "connect"      // the source connected
	sessionTracks      = "tracks"       // other tracks or another decoder configuration
	sessionDrift       = "drift"        // public time and wall clock differ
	sessionClock       = "clock"        // the camera's clock was set
	sessionReorder     = "reorder"      // pictures are reordered more deeply than before
	sessionAudioStart  = "audio-start"  // sound begins
	sessionAudioSilent = "audio-silent" // sound ends
)

// How many units a session's lead holds at most, and how many it needs to see
// how deeply pictures are reordered.
const (
	leadMax     = 64
	leadReorder = 6
)

// timeline makes sessions, fragments and chunks of pictures and sound, and passes them
// to the recorder.
type timeline struct {
	cfg Config
	rec Recorder
	m   *cameraMetrics

	video schemas.Track
	info  codec.VideoInfo
	sound *sound // of the newest Tracks; nil: none
	next  string // why the next session begins
	depth int    // of reordering, measured for this configuration

	session session
	closing closing
	frag    fragment
	rate    rate
	lost    schemas.Lost // not yet reported to the recorder

	ended   time.Time // public time at which the newest session ended
	resumed time.Time // when this process went on after a standstill that began in a session, or soon after one

	stats Stats
}

// Stats is the part of a camera's status that describes its stream.
type Stats struct {
	Video, Audio  schemas.Codec // of the session; Audio is empty without sound
	Width, Height uint16
	Recording     bool // a session is running
	// Blocked is why nothing is recorded although units come; else "".
	Blocked string
}

// session is one unbroken run of time: one origin for all tracks.
type session struct {
	running bool
	absent  string    // why nothing was recorded before it; "": no time is missing
	origin  int64     // PTS of the first picture
	base    int64     // its DTS in media time: the source's clock in ticks
	public  time.Time // its public time: the source's clock
	shift   int64     // added to PTS since the camera's clock was set
	newest  int64     // the highest PTS seen, shift included
	seen    time.Time // when it came

	// lead holds the first units until frame time and depth of reordering are
	// known, then it is nil.
	lead      []unit
	leadBytes int
	order     order
	held      *unit
	heldUnit  unit // what held points to

	sound  *sound // that the session has; nil: none
	chosen bool   // sound is decided: chunk 0 is written
	// leading: leading pictures of the picture at PTS joined may still come.
	// Nothing was recorded before that picture, so they are left out. missed: the
	// camera was recorded earlier, so they count as lost.
	leading, missed bool
	joined          int64

	until int64 // PTS at which the session ends; 0: not known yet
	ended bool  // the source has ended

	driftSince time.Time
	drift      time.Duration // the smallest difference since
	drifted    bool          // there is one
}

// late returns by how much longer v took to come than its time is after the newest
// picture's.
func (s *session) late(v unit) time.Duration {
	return v.captured.Sub(s.seen) - schemas.FromTicks(max(0, v.pts-s.newest))
}

// see records the newest picture.
func (s *session) see(v unit) {
	if v.pts > s.newest {
		s.newest, s.seen = v.pts, v.captured
	}
}

// join lets the pictures begin with v, after a gap or at the session's start. The
// leading pictures of v are left out, so the footage decodes alone.
func (s *session) join(v *unit) {
	s.leading, s.joined = v.openGOP, v.pts
	v.openGOP = false
}

// leavesOut reports whether v is a leading picture that does not decode, because
// nothing was recorded before the picture that it belongs to.
func (s *session) leavesOut(v *unit, c schemas.Codec) bool {
	if !s.leading {
		return false
	}
	switch {
	case v.picture == codec.RASL:
		return true
	case v.picture == codec.RADL:
		return false
	case c == schemas.H264 && v.picture == codec.Trailing && v.pts < s.joined:
		return true
	}
	s.leading = v.pts <= s.joined // else no more leading pictures come
	return false
}

// stoodStill notes that this process stood still between two times. A standstill that
// began long after the end of a session is not why nothing was recorded.
func (t *timeline) stoodStill(from, to time.Time) {
	if t.session.running || from.Sub(t.ended) <= standstill {
		t.resumed = to
	}
}

// standstillEffect is how long after a standstill the end of a session counts as its
// effect. The camera may have closed the connection during the standstill; what it had
// sent before comes late, and is recorded.
const standstillEffect = 5 * time.Second

// absence returns why nothing was recorded since the session before.
func (t *timeline) absence() string {
	if !t.resumed.IsZero() && t.ended.Sub(t.resumed) < standstillEffect {
		return schemas.AbsentFrozen
	}
	return schemas.AbsentCamera
}

// begin starts a session with the picture v. absent is why nothing was recorded before
// it; "": no time is missing there.
func (t *timeline) begin(v unit, absent string) {
	t.m.session(t.next)
	missed := t.next != sessionConnect
	t.next = ""
	t.lost = schemas.Lost{} // losses before the session are only counted in metrics
	t.session = session{
		running: true, absent: absent, origin: v.pts, newest: v.pts, seen: v.captured,
		base:   schemas.Ticks(time.Duration(v.captured.UnixNano())),
		public: v.captured, driftSince: v.captured, missed: missed,
		lead: make([]unit, 0, 16),
	}
	t.session.join(&v)
	t.rate.deltas = t.rate.deltas[:0]
	t.stats.Video, t.stats.Audio = t.video.Codec, ""
	t.stats.Width, t.stats.Height, t.stats.Recording = t.video.Width, t.video.Height, true
	t.hold(v)
}

const (
	// forever is a PTS after all others: the session waits for no sound.
	forever = math.MaxInt64
	// untilShown returns the PTS at which the last picture has been shown.
	untilShown = math.MinInt64
)

// end closes the session: it writes everything, except the last chunk if that has to
// wait for sound. Sound before the PTS until belongs to the session.
func (t *timeline) end(until int64) {
	t.close()
	s := &t.session
	if !s.running {
		return
	}
	if s.lead != nil {
		t.resolve()
	}
	if until == untilShown {
		until = s.newest + int64(t.rate.frame)
	}
	s.until = until
	if s.held != nil {
		t.ended = t.publicTime(s.held.dts + int64(t.rate.frame))
		t.add(*s.held, int64(t.rate.frame), true)
	}
	t.flushGap()
	if s.sound != t.sound {
		s.sound.discard()
	}
	if t.closing.chunk == nil {
		t.sound.leave()
	}
	*s = session{}
	t.frag = fragment{}
	t.stats.Recording = false
}

// steady removes jumps of the camera's clock from the timeline: time goes on
// evenly, and a new session begins at the next keyframe. If the source's clock
// jumped forward too, footage is missing and the camera's clock was not set.
// jumped is the jump of the camera's clock in ticks of schemas.MediaTimescale; 0:
// none.
func (t *timeline) steady(v *unit) (jumped int64) {
	s := &t.session
	v.pts += s.shift
	limit := schemas.Ticks(t.cfg.ClockStep)
	d := v.pts - s.newest
	if d >= -limit && (d <= limit || d-schemas.Ticks(v.captured.Sub(s.seen)) <= limit) {
		return 0
	}
	move := s.newest + int64(t.rate.nominal(t.announced())) - v.pts
	s.shift += move
	v.pts += move
	t.beginSessionSoon(sessionClock)
	return d
}

// announced returns the frame time that the camera announces.
func (t *timeline) announced() uint32 { return announced(t.info.Frame, t.cfg.FrameTime) }

// beginSessionSoon makes a new session begin at the next keyframe.
func (t *timeline) beginSessionSoon(reason string) {
	if t.next == "" {
		t.next = reason
	}
}

// due reports whether the fragment is long enough to end at v. It allows half a
// frame for the jitter of timestamps.
func (t *timeline) due(v unit) bool {
	if t.session.lead != nil {
		return false
	}
	if !t.frag.unfinished {
		return true
	}
	dts := t.session.order.peek(v.pts)
	return dts-t.frag.start+int64(t.rate.frame)/2 >= schemas.Ticks(t.cfg.MinFragment)
}

// hold keeps a session's first units until frame time and depth of reordering
// are known. Nothing can be written before.
func (t *timeline) hold(v unit) {
	s := &t.session
	s.lead = append(s.lead, v)
	s.leadBytes += len(v.data)
	n, span := len(s.lead), schemas.FromTicks(s.newest-s.origin)
	known := t.info.Reorder >= 0 || t.depth > 0 || n >= leadReorder || span >= time.Second
	// If pictures are reordered, those between the latest are still to come.
	enough := n >= 2 && span >= t.cfg.ChunkDuration && (n >= 4+max(t.info.Reorder, t.depth) || span >= time.Second)
	if (known && enough) || n >= leadMax || s.leadBytes >= t.cfg.MaxChunkBytes {
		t.resolve()
	}
}

// resolve ends the lead and processes its units.
func (t *timeline) resolve() {
	t.close()
	s := &t.session
	t.rec.NewSession(s.absent)
	lead := s.lead
	s.lead = nil
	depth := max(t.info.Reorder, t.depth, depthOf(lead))
	t.rate.probe(lead, depth, t.announced())
	t.depth = max(t.depth, depthOf(lead))
	s.order = order{depth: min(depth, maxDepth), frame: int64(t.rate.frame), first: s.origin}
	for _, v := range lead {
		s.order.first = min(s.order.first, v.pts)
	}
	// The first picture's DTS is the session's base.
	s.order.move = s.base - s.order.first + int64(s.order.depth)*s.order.frame
	if t.sound != nil {
		from := lead[0].pts + s.order.move
		if !s.missed {
			// Another process may have recorded the camera up to the first picture. Its
			// chunks end by decode time, and its sound with them.
			from = s.base
		}
		t.sound.align(lead[0], s.order.move, from, t.cfg.ClockStep)
	}
	for _, v := range lead {
		t.place(v)
	}
}

// depthOf returns the depth of reordering: the largest number of pictures that
// come before another one and are shown after it.
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

// place gives v its decode time, and adds the unit before it to the fragment,
// since its duration is known now.
func (t *timeline) place(v unit) {
	s := &t.session
	starts := v.start && t.due(v)
	switch {
	case starts && !t.frag.unfinished && v.openGOP: // after a gap
		s.join(&v)
		s.missed = true
	case !starts && v.openGOP: // inside a fragment
		v.start, v.openGOP = false, false
	}
	dts, deeper := s.order.next(v.pts)
	if deeper {
		t.depth = max(t.depth, s.order.depth)
		t.beginSessionSoon(sessionReorder)
	}
	v.dts = dts
	v.pts += s.order.move
	t.watchDrift(&v)
	if s.held != nil {
		d := v.dts - s.held.dts
		t.rate.see(d)
		t.add(*s.held, d, starts && t.frag.unfinished)
	}
	if starts {
		t.beginFragment(&v)
	}
	s.heldUnit = v
	s.held = &s.heldUnit
}

// leaveOut counts a leading picture that is left out.
func (t *timeline) leaveOut() {
	t.m.drop(dropBeforeKeyframe, 1)
	if t.session.missed {
		t.lost.Units++
	}
}

// watchDrift compares public time with the wall clock, if the source is live.
// Delays of the network are always positive and usually short, so the smallest
// difference within a window is the difference of the clocks.
func (t *timeline) watchDrift(v *unit) {
	if !t.cfg.Live {
		return
	}
	s := &t.session
	d := v.captured.Sub(t.publicTime(v.dts))
	if !s.drifted || d < s.drift {
		s.drift, s.drifted = d, true
	}
	switch passed := v.captured.Sub(s.driftSince); {
	case passed < 0: // the wall clock was set back
		s.driftSince, s.drifted = v.captured, false
	case passed >= t.cfg.DriftWindow:
		if s.drift.Abs() > t.cfg.MaxDrift {
			t.beginSessionSoon(sessionDrift)
		}
		s.driftSince, s.drifted = v.captured, false
	}
}

// publicTime returns the public time of a media time.
func (t *timeline) publicTime(dts int64) time.Time {
	return t.session.public.Add(schemas.FromTicks(dts - t.session.base))
}
