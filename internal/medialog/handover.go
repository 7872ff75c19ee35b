package medialog

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/framelog/framelog/schemas"
)

// unitWait is how long a new writer waits for its first access unit in the footage of
// the writer before it. That one sends a chunk every 200 ms by default. laterWait is how
// long it waits for the first unit of a later fragment; most fragments are shorter. As long as
// a new writer waits, low-latency readers get nothing.
// unitPause is the time between two looks.
const (
	unitWait  = time.Second
	laterWait = 5 * time.Second
	unitPause = 20 * time.Millisecond
)

// earlyStart is the beginning of a fragment that a writer got before its topic was open.
type earlyStart struct {
	unit   string           // names its first access unit
	before string           // names the access unit before that; "": there is none
	sound  []schemas.Sample // of the chunk before
	time   time.Time        // public
	op     int              // the operation that writes its first chunk
}

// findPast reads what stood in the log before the `open` at offset epoch, and cuts it at
// the access unit with which this writer begins. An earlier writer records until it learns
// that it is fenced, so the chunk with this unit may still be on its way. If that writer
// seems to record, findPast waits for it.
//
// If the fragment with this writer's first unit has its entry already, nothing can be cut
// there. Nor if a fragment with the seq of this writer's first one has begun already:
// readers may have shown it, and its session must not change. Then the writer begins with a
// later fragment, first, and leaves out those before it: the log has them. The earlier
// writer may stop with the fragment before that: it learns that it is fenced when it writes
// its entry. Nil: this writer begins with all that it has.
func (w *Writer) findPast(ctx context.Context, epoch int64) (left leftover, first *earlyStart, err error) {
	began := time.Now()
	w.step.Store("the end of the index")
	end, err := w.log.newestBefore(ctx, w.index, epoch)
	if err != nil {
		return leftover{}, nil, err
	}
	w.step.Store("the chunks without an entry")
	left, err = w.log.readLeftover(ctx, w.media, end)
	if err != nil {
		return leftover{}, nil, err
	}
	left.unit, left.unitTime, left.redo = w.opt.Unit, w.firstTime(), w.opt.Redo
	if !w.mayFollow() || w.opt.Redo || !left.awaitsUnit() {
		return left, nil, nil
	}
	for i := range left.chunks {
		left.chunks[i].old = true
	}
	unit := left.unitOf(epoch)
	shown := unit != nil && unit.shown
	entered := unit == nil && w.entered(ctx, left.unit, left.unitTime)
	if shown && left.entry != nil && schemas.FromTicks(left.entry.Duration) > laterWait {
		return left, nil, nil // such a fragment does not end soon
	}
	if shown {
		began = time.Now() // however long it took to read
	}
	for grown := began; ; {
		if at, first, ok := left.begins(epoch, w.startsOf(&left.past), shown || entered); ok {
			left.past = at
			return left, first, nil
		}
		if now := time.Now(); now.Sub(began) >= laterWait || !entered && now.Sub(grown) >= unitWait {
			return left, nil, nil
		}
		select {
		case <-time.After(unitPause):
		case <-ctx.Done():
			return leftover{}, nil, ctx.Err()
		}
		n := len(left.chunks)
		if err := w.log.readMoreLeftover(ctx, w.media, &left); err != nil {
			return leftover{}, nil, err
		}
		if shown && len(left.chunks) > n { // else what comes is of no use, if the unit does not
			grown = time.Now()
		}
	}
}

// begins chooses with which of its fragments a new writer begins, and gives what was left
// as it is for that one. later: not with the first one. first is nil for the first one; ok is
// false if there is none yet.
func (p past) begins(own int64, starts []earlyStart, later bool) (at past, first *earlyStart, ok bool) {
	for i := range starts {
		if i == 0 && later {
			continue
		}
		at := p
		at.unit, at.unitTime, at.before = starts[i].unit, starts[i].time, starts[i].before
		unit := at.unitOf(own)
		switch {
		case unit == nil && i == 0: // it may be on its way
			return p, nil, false
		case unit == nil || unit.shown:
		case i == 0:
			return at, nil, true
		default:
			return at, &starts[i], true
		}
	}
	return p, nil, false
}

// mayFollow reports whether another process may still record. AbsentRestart is no proof
// that none does: the group may give a process that joins another one's cameras at once.
func (w *Writer) mayFollow() bool {
	return w.opt.Absent == schemas.AbsentHandover || w.opt.Absent == schemas.AbsentRestart
}

// unitOf returns where the new writer's first access unit stands among what was left; nil:
// it is not there.
func (p past) unitOf(own int64) *place {
	_, unit := settle(own, p)
	return unit
}

// entered reports whether a fragment that has its entry holds an access unit of about the
// public time at. If that cannot be read in time, the frames since then may be in the log
// twice.
func (w *Writer) entered(ctx context.Context, unit string, at time.Time) bool {
	ctx, cancel := context.WithTimeout(ctx, laterWait)
	defer cancel()
	near := Range{From: at.Add(-unitMargin), To: at.Add(unitMargin)}
	for e, err := range w.log.Entries(ctx, w.topic, near) {
		if err != nil {
			w.logger.Warn("cannot read the entries before a hand-over; frames may be in the log twice", "topic", w.media, "err", err)
			return false
		}
		for c, err := range w.log.Chunks(ctx, w.topic, e) {
			if err != nil {
				w.logger.Warn("cannot read a fragment before a hand-over; frames may be in the log twice", "topic", w.media, "seq", e.Seq, "err", err)
				return false
			}
			m := metaOf(c, e.Partition, 0)
			if m.startTime().Sub(at).Abs() <= unitMargin && (m.unit == unit || slices.Contains(m.inner, unit)) {
				return true
			}
		}
	}
	return false
}

// startsOf returns where the fragments begin that this writer has got. The first one is
// that of p, also if nothing of it has come yet.
func (w *Writer) startsOf(p *past) []earlyStart {
	w.mu.Lock()
	defer w.mu.Unlock()
	starts := slices.Clone(w.early.starts)
	if len(starts) == 0 {
		starts = make([]earlyStart, 1)
	}
	starts[0].unit, starts[0].time = p.unit, p.unitTime
	return starts
}

// soundEdge is how long before a picture sound may begin and belong to it all the same, in
// parts of a second. It is that of the assembler.
const soundEdge = 1000

// addSound lets the sound of ch begin where that of the writer before ends. What begins
// before the first picture of ch is in the log, or stands in the chunk of that writer that
// was cut off, if it came later than the picture. Then ch gets it.
func (u *place) addSound(ch *schemas.Chunk, timescale uint32) {
	before := func(s schemas.Sample, media int64) bool {
		return s.DTS < schemas.Rescale(media, schemas.MediaTimescale, timescale)-int64(timescale/soundEdge)
	}
	for i := range ch.Runs {
		run := &ch.Runs[i]
		if run.Track != schemas.AudioTrack {
			continue
		}
		if u.ends { // no chunk of the writer before has what came too late for its fragment
			from := u.soundFrom(ch, timescale)
			run.Samples = slices.DeleteFunc(slices.Concat(u.own, run.Samples), func(s schemas.Sample) bool { return s.DTS < from })
			continue
		}
		own := run.Samples
		for len(own) > 0 && before(own[0], ch.MediaStart()) {
			own = own[1:]
		}
		if len(own) == 0 {
			continue
		}
		var late []schemas.Sample
		for _, s := range u.sound {
			if s.Duration != own[0].Duration || bytes.Equal(s.Data, own[0].Data) || !before(s, u.media) {
				break
			}
			late = append(late, s)
		}
		for j := range late { // right before the first one
			late[j].DTS = own[0].DTS - int64(len(late)-j)*int64(own[0].Duration)
		}
		run.Samples = append(late, own...)
	}
}

// soundFrom returns where the sound of ch begins that the writer before does not have, in the
// times of ch. The bytes do not tell it: those of silence repeat, and encoders differ.
func (u *place) soundFrom(ch *schemas.Chunk, timescale uint32) int64 {
	ticks := func(media int64) int64 { return schemas.Rescale(media, schemas.MediaTimescale, timescale) }
	if len(u.sound) == 0 {
		return ticks(ch.MediaStart()) - int64(timescale/soundEdge)
	}
	last := u.sound[len(u.sound)-1]
	return last.DTS + int64(last.Duration)/2 - ticks(u.media) + ticks(ch.MediaStart())
}
