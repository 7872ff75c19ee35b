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
// long it waits for the first unit of a later fragment; most fragments are shorter.
// unitPause is the time between two looks.
const (
	unitWait  = time.Second
	laterWait = 5 * time.Second
	unitPause = 20 * time.Millisecond
)

// earlyStart is the beginning of a fragment that a writer got before its topic was open.
type earlyStart struct {
	unit string    // names its first access unit
	time time.Time // public
	op   int       // the operation that writes its first chunk
}

// findPast reads what stood in the log before the `open` at offset epoch, and cuts it at
// the access unit with which this writer begins. An earlier writer records until it learns
// that it is fenced, so the chunk with this unit may still be on its way. If that writer
// seems to record, findPast waits for it.
//
// If the fragment with this writer's first unit has its entry already, nothing can be cut
// there. Then the writer begins with a later fragment, first, and leaves out those before
// it: the log has them. Nil: it begins with all that it has.
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
	if !w.mayFollow() || w.opt.Redo || !left.awaitsUnit() || left.hasUnit(epoch) {
		return left, nil, nil
	}
	later := w.entered(ctx, left.unit, left.unitTime)
	wait := unitWait
	if later {
		wait = laterWait
	}
	for time.Since(began) < wait {
		select {
		case <-time.After(unitPause):
		case <-ctx.Done():
			return leftover{}, nil, ctx.Err()
		}
		if err := w.log.readMoreLeftover(ctx, w.media, &left); err != nil {
			return leftover{}, nil, err
		}
		if !later {
			if left.hasUnit(epoch) {
				return left, nil, nil
			}
			continue
		}
		for _, s := range w.laterStarts() {
			at := left
			if at.unit, at.unitTime = s.unit, s.time; at.hasUnit(epoch) {
				return at, &s, nil
			}
		}
	}
	return left, nil, nil
}

// mayFollow reports whether another process may still record. AbsentRestart is no proof
// that none does: the group may give a process that joins another one's cameras at once.
func (w *Writer) mayFollow() bool {
	return w.opt.Absent == schemas.AbsentHandover || w.opt.Absent == schemas.AbsentRestart
}

// hasUnit reports whether the new writer's first access unit is among what was left.
func (p past) hasUnit(own int64) bool {
	_, unit := settle(own, p)
	return unit != nil
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

// laterStarts returns where the fragments begin that this writer has got, but for the
// first one.
func (w *Writer) laterStarts() []earlyStart {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.early.starts) == 0 {
		return nil
	}
	return slices.Clone(w.early.starts[1:])
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
