package assemble

import (
	"time"

	"github.com/framelog/framelog/schemas"
)

// write passes the unfinished chunk to the recorder. A session's last chunk may
// have to wait for its sound.
func (t *timeline) write(last bool) {
	f, s := &t.frag, &t.session
	first, end := f.samples[0].DTS, f.samples[0].DTS+f.duration
	if !s.chosen {
		t.chooseSound(f.captured)
	}
	c := &schemas.Chunk{
		Index: f.index, Last: last, OpenGOP: f.openGOP && f.index == 0, Ended: last && s.ended,
		Layout: schemas.Layout{Part: f.partTarget, Video: t.video.Codec},
		Start:  t.publicTime(first), Captured: f.captured, CameraTime: f.camera,
		Runs: append(make([]schemas.Run, 0, 2), schemas.Run{Track: schemas.VideoTrack, Samples: f.samples}),
	}
	if t.video.Codec == schemas.MJPEG {
		c.Layout.Part = 0 // no low latency, so no promise
	}
	waits := false
	if q := s.sound; q != nil {
		c.Layout.Audio = q.track.Codec
		limit := q.ticks(end)
		if last && s.until != 0 {
			limit = forever
			if s.until != forever {
				limit = q.ticks(s.until + s.order.move)
				waits = q == t.sound && !q.reaches(limit)
			}
		}
		if waits {
			t.closing = closing{chunk: c, sound: q, limit: limit, lost: t.lost, since: s.seen}
		} else if q.takeRun(c, limit) {
			t.beginSessionSoon(sessionClock)
		}
	}
	if f.index == 0 {
		c.Tracks = append(c.Tracks, t.video)
		if s.sound != nil {
			c.Tracks = append(c.Tracks, s.sound.track)
		}
	}
	if !waits {
		t.record(c)
	}
	f.index++
	f.samples, f.duration, f.size = nil, 0, 0
	if !last {
		f.samples = t.samples()
	}
}

// record passes c to the recorder, and before the fragment ends also the losses
// in it so far.
func (t *timeline) record(c *schemas.Chunk) {
	first := c.Index == 0 // after Write c belongs to the recorder
	if !first {
		t.tellLost()
	}
	if err := t.rec.Write(c); err != nil {
		t.m.refused.Inc() // the recorder makes a gap of it and logs why
	} else {
		t.m.written.Inc()
	}
	if first {
		t.tellLost()
	}
}

// tellLost reports to the recorder what is missing in the unfinished fragment.
func (t *timeline) tellLost() {
	if t.lost != (schemas.Lost{}) {
		t.rec.Lost(t.lost)
		t.lost = schemas.Lost{}
	}
}

// chooseSound decides, when the session's first chunk is written, whether the
// session has sound: only if some has come recently.
func (t *timeline) chooseSound(now time.Time) {
	s := &t.session
	s.chosen = true
	if q := t.sound; q.recent(now, t.cfg.AudioSilence) {
		s.sound = q
		t.stats.Audio = q.track.Codec
	}
}

// closing is the last chunk of an ended session that still lacks some of its
// sound. Sound comes a little after the pictures of the same time, and without
// it players would stop at the session's end. The chunk is written when the
// sound is there, at the latest a chunk's duration later, and before anything
// of the next session. That session is not delayed, since its lead takes as
// long.
type closing struct {
	chunk *schemas.Chunk // nil: none waits
	sound *sound
	limit int64        // media time, in the sound's ticks, at which the session ends
	lost  schemas.Lost // in its fragment
	since time.Time    // when the last picture came
}

// close writes the chunk that waits for sound, if there is one.
func (t *timeline) close() {
	c := t.closing
	if c.chunk == nil {
		return
	}
	t.closing = closing{}
	lost := t.lost
	t.lost = c.lost
	c.sound.takeRun(c.chunk, c.limit)
	t.record(c.chunk)
	t.lost = lost
	c.sound.leave()
}
