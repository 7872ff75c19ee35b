package assemble

import (
	"math"
	"time"

	"github.com/framelog/framelog/schemas"
)

// maxChunkSamples bounds the pictures of a chunk where time does not: a camera
// may send any number with the same timestamp.
const maxChunkSamples = 256

// fragment is the open fragment and its open chunk.
type fragment struct {
	open  bool
	leads bool   // it starts at an open random access point
	start int64  // DTS of its first picture
	index uint32 // of the open chunk
	bytes int64  // of all chunks
	part  uint32 // PART-TARGET

	samples  []schemas.Sample
	duration int64
	size     int
	captured time.Time // of the first sample
	camera   time.Time

	// A gap, where no fragment is open.
	gapStart, gapEnd int64
}

// beginFragment opens a fragment that begins with v.
func (a *Assembler) beginFragment(v *unit) {
	if a.frag.gapEnd != 0 {
		a.flushGap()
		a.lost = schemas.Lost{} // of what fell into the gap
	}
	a.rate.renew(a)
	a.frag = fragment{open: true, leads: v.open, start: v.dts, part: a.rate.part, samples: a.samples()}
}

func (a *Assembler) samples() []schemas.Sample {
	return make([]schemas.Sample, 0, min(a.rate.count+1, maxChunkSamples))
}

// add takes a picture and the time d to the next one. last says that the
// fragment ends with it.
//
// A chunk may not be longer than its part target. Time that does not fit is
// left out: the sample keeps the nominal duration, the chunk ends, and the
// next one begins when it really does.
func (a *Assembler) add(v unit, d int64, last bool) {
	f := &a.frag
	if !f.open {
		a.gap(v.dts, d)
		return
	}
	whole, part, frame := d, int64(f.part), int64(a.rate.frame)
	jump := false
	if len(f.samples) > 0 && f.duration+d > part {
		if d > frame+frame/2 && f.duration+frame <= part {
			d, jump = frame, true
		} else {
			a.write(false)
		}
	}
	if d > part {
		d, jump = min(frame, part), true
	}
	if f.bytes+int64(len(v.data)) > a.cfg.MaxFragmentBytes || v.dts+d-f.start > schemas.Ticks(a.cfg.MaxFragmentDuration) {
		a.cap()
		a.gap(v.dts, whole)
		return
	}
	if len(f.samples) > 0 && f.size+len(v.data) > a.cfg.MaxChunkBytes {
		a.write(false)
	}
	if len(f.samples) == 0 {
		f.captured, f.camera = v.captured, v.camera
	}
	f.samples = append(f.samples, schemas.Sample{
		DTS: v.dts, PTSOffset: offset(v.pts - v.dts), Duration: uint32(d), Sync: v.start, Data: v.data,
	})
	f.duration += d
	f.size += len(v.data)
	f.bytes += int64(len(v.data))
	if last {
		a.write(true)
		f.open = false
		a.m.whole.Inc()
		return
	}
	full := len(f.samples) >= a.rate.count && f.duration*100 >= part*85
	if full || jump || len(f.samples) >= maxChunkSamples {
		a.write(false)
	}
}

func offset(d int64) int32 {
	return int32(min(max(d, math.MinInt32), math.MaxInt32))
}

// write gives the open chunk to the recorder; a session's last one may have to
// wait for its sound.
func (a *Assembler) write(last bool) {
	f, s := &a.frag, &a.session
	first, end := f.samples[0].DTS, f.samples[0].DTS+f.duration
	if !s.chosen {
		a.chooseSound(f.captured)
	}
	c := &schemas.Chunk{
		Index: f.index, Last: last, OpenGOP: f.leads && f.index == 0, Ended: last && s.ended,
		Layout: schemas.Layout{Part: f.part, Video: a.video.Codec},
		Start:  a.publicTime(first), Captured: f.captured, CameraTime: f.camera,
		Runs: append(make([]schemas.Run, 0, 2), schemas.Run{Track: schemas.VideoTrack, Samples: f.samples}),
	}
	if a.video.Codec == schemas.MJPEG {
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
				waits = q == a.sound && !q.reaches(limit)
			}
		}
		if waits {
			a.closing = closing{chunk: c, sound: q, limit: limit, lost: a.lost, since: s.seen}
		} else if a.takeRun(c, q, limit) {
			a.want(sessionClock)
		}
	}
	if f.index == 0 {
		c.Tracks = append(c.Tracks, a.video)
		if s.sound != nil {
			c.Tracks = append(c.Tracks, s.sound.track)
		}
	}
	if !waits {
		a.record(c)
	}
	f.index++
	f.samples, f.duration, f.size = nil, 0, 0
	if !last {
		f.samples = a.samples()
	}
}

// record gives c to the recorder, with what was lost in its fragment so far,
// which must be open for that.
func (a *Assembler) record(c *schemas.Chunk) {
	first := c.Index == 0 // the recorder's from Write on
	if !first {
		a.tellLost()
	}
	if err := a.rec.Write(c); err != nil {
		a.m.refused.Inc() // the recorder makes a gap of it and logs why
	} else {
		a.m.written.Inc()
	}
	if first {
		a.tellLost()
	}
}

func (a *Assembler) tellLost() {
	if a.lost != (schemas.Lost{}) {
		a.rec.Lost(a.lost)
		a.lost = schemas.Lost{}
	}
}

// cap closes a fragment that has reached its cap.
func (a *Assembler) cap() {
	f := &a.frag
	if len(f.samples) > 0 {
		a.write(false)
	}
	if f.index > 0 {
		a.tellLost()
		a.rec.Truncate(schemas.ReasonCap)
		a.m.truncated.Inc()
	}
	a.frag = fragment{}
}

// gap counts d ticks of footage at dts that belong to no fragment.
func (a *Assembler) gap(dts, d int64) {
	f := &a.frag
	if f.gapEnd != dts {
		a.flushGap()
		f.gapStart = dts
	}
	f.gapEnd = dts + d
	a.m.drop(dropGap, 1)
	// Told once a second, so that readers know of a long one while it lasts.
	if f.gapEnd-f.gapStart >= schemas.MediaTimescale {
		a.flushGap()
	}
}

func (a *Assembler) flushGap() {
	f := &a.frag
	if d := f.gapEnd - f.gapStart; d > 0 {
		a.rec.Gap(a.publicTime(f.gapStart), f.gapStart, d, schemas.ReasonKeyframe)
		a.m.gap.Add(schemas.FromTicks(d).Seconds())
		if a.session.sound != nil {
			a.m.drop(dropGap, a.session.sound.dropBefore(f.gapEnd))
		}
		f.gapStart = f.gapEnd
	}
}
