package medialog

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/framelog/framelog/schemas"
)

// start adds a writer, which opens the camera sooner or later.
func (s *sim) start() *simWriter {
	w := &simWriter{
		id: len(s.writers) + 1, core: newCore(int64(60+s.rng.IntN(200)), 2+s.rng.IntN(8)),
		opening: true, lanes: map[int32][]*simRequest{}, media: s.clock,
	}
	w.open = &simRequest{entry: &schemas.Entry{Kind: schemas.KindOpen, Prev: -1, Writer: fmt.Sprint(w.id)}}
	s.writers = append(s.writers, w)
	return w
}

// camera hands the writer's next chunk over: the assembler's part.
func (s *sim) camera(w *simWriter) {
	if w.fenced || w.closing {
		return
	}
	const frame = schemas.MediaTimescale / 25
	if w.left == 0 {
		w.left, w.index = 1+s.rng.IntN(8), 0
		if s.chance(0.01) {
			w.left = 80 // a fragment that outgrows its layout
		}
		if s.chance(0.05) { // reconnect
			w.media += int64(s.rng.IntN(5 * schemas.MediaTimescale))
			s.do(w, 0, func() { w.core.newSession = true })
		}
		if s.chance(0.03) { // a cap, then no keyframe
			d := int64(1+s.rng.IntN(100)) * frame
			m := w.media
			s.do(w, d, func() { w.core.addGap(publicTime(m), m, d, schemas.ReasonKeyframe) })
			w.media += d
		}
	}
	n := 1 + s.rng.IntN(5)
	c := &schemas.Chunk{
		Index: w.index, Start: publicTime(w.media), Last: w.left == 1 && !s.chance(0.05),
		Layout: schemas.Layout{Part: 19800, Video: schemas.H264},
	}
	if w.index == 0 {
		c.Tracks = []schemas.Track{{ID: schemas.VideoTrack, Codec: schemas.H264, Timescale: schemas.MediaTimescale}}
	}
	run := schemas.Run{Track: schemas.VideoTrack}
	for i := range n {
		w.counter++
		data := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, uint32(w.id)), w.counter)
		run.Samples = append(run.Samples, schemas.Sample{DTS: w.media, Duration: frame, Sync: w.index == 0 && i == 0, Data: data})
		w.media += frame
	}
	c.Runs = []schemas.Run{run}
	w.index++
	w.left--
	admit := ""
	if s.chance(0.01) {
		admit = schemas.ReasonStorage
	}
	s.do(w, int64(n)*frame, func() {
		o, err := w.core.write(c, admit)
		if err != nil {
			s.stats.Refused++
			return
		}
		p := o.item.entry.Partition
		w.lanes[p] = append(w.lanes[p], &simRequest{chunk: o, refused: s.chance(0.003)})
	})
}

// do runs an operation of the camera now, or once the writer is open.
func (s *sim) do(w *simWriter, ticks int64, op func()) {
	if w.opening {
		w.ops = append(w.ops, op)
		return
	}
	w.received += ticks
	op()
}

func publicTime(media int64) time.Time {
	return time.Unix(0, 0).Add(schemas.FromTicks(media)).UTC().Truncate(time.Microsecond)
}

// step makes requests of w arrive and answers return, each after a random delay.
// Requests of a crashed writer may still arrive; its answers go nowhere.
func (s *sim) step(w *simWriter) error {
	if w.opening {
		s.stepOpen(w)
		return nil
	}
	for _, p := range slices.Sorted(maps.Keys(w.lanes)) { // a schedule must be the same each time
		lane := w.lanes[p]
		for i, r := range lane {
			if !r.applied && !r.refused {
				if !s.chance(0.4) {
					break // in order
				}
				r.offset = s.media[p].append(r.chunk.chunk)
				r.applied = true
				if s.chance(0.01) { // the same again: a retry that was not recognised
					s.media[p].append(r.chunk.chunk)
				}
			}
			if i == 0 && !w.dead && !w.hung && s.chance(0.5) {
				failure := ""
				if r.refused {
					failure = schemas.ReasonTooLarge
				}
				w.core.resolved(r.chunk, r.offset, failure)
				w.lanes[p] = lane[1:]
			}
		}
	}
	if w.entry == nil {
		if w.dead || w.hung || w.fenced {
			return nil
		}
		if e, ok := w.core.append(); ok {
			w.entry = &simRequest{entry: &e}
		}
		return s.bounds(w)
	}
	if !w.entry.applied && s.chance(0.3) {
		e := *w.entry.entry
		e.Offset = s.index.end()
		w.entry.offset = s.index.append(e)
		w.entry.applied = true
		if s.chance(0.01) {
			e.Offset = s.index.end()
			s.index.append(e)
		}
	}
	if w.entry.applied && !w.dead && !w.hung && s.chance(0.4) {
		e := *w.entry.entry
		e.Offset = w.entry.offset
		fenced := false
		for o := e.Prev + 1; o < e.Offset; o++ {
			fenced = fenced || s.index.records[o].Kind == schemas.KindOpen
		}
		w.entry = nil
		if fenced {
			w.fenced = true
			s.stats.Fenced++
			return nil
		}
		w.core.committed(e.Offset)
		s.safe = append(s.safe, e)
		return s.bounds(w)
	}
	return nil
}

func (s *sim) bounds(w *simWriter) error {
	c := w.core
	if c.buffered > c.budget+64 {
		return fmt.Errorf("writer %d buffers %d bytes of %d", w.id, c.buffered, c.budget)
	}
	if c.waiting() > 4*c.limit+64 {
		return fmt.Errorf("writer %d has %d items pending", w.id, len(c.pending))
	}
	return nil
}

func (s *sim) stepOpen(w *simWriter) {
	if w.dead {
		if !w.open.applied && s.chance(0.1) { // the open of a writer that died at once
			e := *w.open.entry
			e.Offset = s.index.end()
			s.index.append(e)
			w.open.applied = true
		}
		return
	}
	if w.hung || !s.chance(0.3) {
		return
	}
	if !w.open.applied {
		e := *w.open.entry
		e.Offset = s.index.end()
		w.open.offset = s.index.append(e)
		w.open.applied = true
		return
	}
	// Settle: read the index up to the own open, then the media to their ends.
	epoch := w.open.offset
	last := lastValid(s.index.records[s.index.start:epoch], s.openBetween)
	var chunks []chunkMeta
	for p := range s.media {
		l := &s.media[p]
		for o := l.start; o < l.end(); o++ {
			if c := l.records[o]; last == nil || c.Seq > last.Seq {
				chunks = append(chunks, metaOf(c, int32(p), o))
			}
		}
	}
	settled := settle(epoch, last, chunks)
	s.stats.Settled += len(settled)
	for _, e := range settled {
		if e.Kind == schemas.KindTruncated {
			s.stats.Truncated++
		}
	}
	w.core.opened(epoch, resumeAt(last, settled, chunks, uint64(1_000_000+w.id*10_000)), settled, int32(len(s.media)))
	w.firstSeq = w.core.next
	w.opening, w.opened = false, true
	for _, op := range w.ops {
		op()
	}
	w.ops = nil
}

// openBetween answers an unknown verdict by looking; void where prev expired.
func (s *sim) openBetween(prev, before int64) bool {
	s.stats.Unknown++
	if prev < s.index.start {
		s.stats.Expired++
		return true
	}
	for o := prev + 1; o < before; o++ {
		if s.index.records[o].Kind == schemas.KindOpen {
			return true
		}
	}
	return false
}
