package assemble

import (
	"math"
	"time"

	"github.com/framelog/framelog/schemas"
)

// fragment is the unfinished fragment and its unfinished chunk.
type fragment struct {
	unfinished bool   // there is one
	openGOP    bool   // it starts with the first picture of an open GOP
	start      int64  // DTS of its first picture
	index      uint32 // of the unfinished chunk
	bytes      int64  // of all chunks
	partTarget uint32 // PART-TARGET, in ticks

	samples  []schemas.Sample
	duration int64
	size     int
	captured time.Time // of the first sample
	camera   time.Time

	// The current gap, while there is no fragment.
	gapStart, gapEnd int64
}

// beginFragment begins a fragment with v.
func (t *timeline) beginFragment(v *unit) {
	if t.frag.gapEnd != 0 {
		t.flushGap()
		t.lost = schemas.Lost{} // these losses were in the gap
	}
	t.rate.renew()
	t.frag = fragment{unfinished: true, openGOP: v.openGOP, start: v.dts, partTarget: t.rate.part, samples: t.samples()}
}

// samples allocates room for the samples of a chunk.
func (t *timeline) samples() []schemas.Sample {
	return make([]schemas.Sample, 0, min(t.rate.count+1, maxChunkSamples))
}

// add takes a picture and the time d to the next one. last: the fragment ends with
// it.
//
// A chunk may not be longer than its part target. Time that does not fit is
// left out: the sample gets the nominal duration, the chunk ends, and the next
// chunk begins at its real time.
func (t *timeline) add(v unit, d int64, last bool) {
	f := &t.frag
	if !f.unfinished {
		t.addGap(v.dts, d)
		return
	}
	whole, part, frame := d, int64(f.partTarget), int64(t.rate.frame)
	jump := false
	if len(f.samples) > 0 && f.duration+d > part {
		if d > frame+frame/2 && f.duration+frame <= part {
			d, jump = frame, true
		} else {
			t.write(false)
		}
	}
	if d > part {
		d, jump = min(frame, part), true
	}
	if f.bytes+int64(len(v.data)) > t.cfg.MaxFragmentBytes || v.dts+d-f.start > schemas.Ticks(t.cfg.MaxFragmentDuration) {
		t.capFragment()
		t.addGap(v.dts, whole)
		return
	}
	if len(f.samples) > 0 && f.size+len(v.data) > t.cfg.MaxChunkBytes {
		t.write(false)
	}
	if len(f.samples) == 0 {
		f.captured, f.camera = v.captured, v.camera
	}
	f.samples = append(f.samples, schemas.Sample{
		DTS: v.dts, PTSOffset: ptsOffset(v.pts - v.dts), Duration: uint32(d), Sync: v.start, Data: v.data,
	})
	f.duration += d
	f.size += len(v.data)
	f.bytes += int64(len(v.data))
	if last {
		t.write(true)
		f.unfinished = false
		t.m.whole.Inc()
		return
	}
	full := len(f.samples) >= t.rate.count && f.duration*100 >= part*85
	if full || jump || len(f.samples) >= maxChunkSamples {
		t.write(false)
	}
}

// ptsOffset converts d to the type in the log.
func ptsOffset(d int64) int32 {
	return int32(min(max(d, math.MinInt32), math.MaxInt32))
}

// capFragment closes a fragment that has reached its cap.
func (t *timeline) capFragment() {
	f := &t.frag
	if len(f.samples) > 0 {
		t.write(false)
	}
	if f.index > 0 {
		t.tellLost()
		t.rec.Truncate(schemas.ReasonCap)
		t.m.truncated.Inc()
	}
	t.frag = fragment{}
}

// addGap counts d ticks of footage at dts that belong to no fragment.
func (t *timeline) addGap(dts, d int64) {
	f := &t.frag
	if f.gapEnd != dts {
		t.flushGap()
		f.gapStart = dts
	}
	f.gapEnd = dts + d
	t.m.drop(dropGap, 1)
	// The recorder gets it once a second, so that readers know of a long gap while
	// it lasts.
	if f.gapEnd-f.gapStart >= schemas.MediaTimescale {
		t.flushGap()
	}
}

// flushGap reports the gap so far to the recorder.
func (t *timeline) flushGap() {
	f := &t.frag
	if d := f.gapEnd - f.gapStart; d > 0 {
		t.rec.Gap(t.publicTime(f.gapStart), f.gapStart, d, schemas.ReasonKeyframe)
		t.m.gap.Add(schemas.FromTicks(d).Seconds())
		if t.session.sound != nil {
			t.m.drop(dropGap, t.session.sound.dropBefore(f.gapEnd))
		}
		f.gapStart = f.gapEnd
	}
}
