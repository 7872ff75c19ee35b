package medialog

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/framelog/framelog/schemas"
)

// simWriter is a writer, with the connection to the camera that feeds it.
type simWriter struct {
	id      int
	core    *core
	opening bool // not opened yet
	opens   []*simRequest
	epoch   int64
	opened  bool
	dead    bool // crashed: takes no part, but its requests may still arrive
	lost    bool // they do not arrive any more
	hung    bool
	fenced  bool
	closing bool
	lanes   [][]*simRequest // requests to a media partition, in order
	entry   *simRequest
	ops     []func() // what came while it was opening
	planned plan     // behind its second `open`

	unit     string // its first access unit; "": it opens without one
	unitTime time.Time
	waited   int // looks for its first access unit
	starts   []earlyStart
	first    *earlyStart // it begins with this one, and leaves out those before; nil: with the first one
	final    string      // names the last access unit of its newest complete fragment
	later    bool        // it does not begin with the first one
	broken   bool        // something is missing behind starts
	old      []span      // of media: from where its last look began to the end of its first one; nil: it has not looked
	tired    bool        // it has not waited any longer

	// The camera that it records.
	frame    int64 // number of the next frame
	offset   int64 // of this connection's clock, ticks
	index    uint32
	chunks   int // chunks that the unfinished fragment gets at least
	received bool
	firstSeq uint64
}

// start adds a writer. It connects, and opens the camera with its first keyframe, or
// without a connection.
func (s *sim) start() *simWriter {
	w := &simWriter{
		id: len(s.writers) + 1, opening: true, lanes: make([][]*simRequest, len(s.media)), epoch: -1,
	}
	w.core = newCore(int64(60+s.rng.IntN(200)), 2+s.rng.IntN(8), fmt.Sprint("start ", w.id))
	w.core.role = s.role
	w.core.onSession = func(stood schemas.Standing, _ int64, _ string) {
		if stood.Session >= s.stood.Session {
			s.stood = stood
		}
	}
	w.frame = s.nextKey(s.clock / frame)
	s.connect(w)
	s.beginFragment(w)
	if s.chance(0.3) {
		w.ask(&schemas.Entry{})
	}
	s.writers = append(s.writers, w)
	return w
}

// simRequest is a writer's request to append a chunk or an entry.
type simRequest struct {
	simAppend
	chunk out
	entry *schemas.Entry
}

// ask sends an `open`.
func (w *simWriter) ask(declared *schemas.Entry) {
	w.opens = append(w.opens, &simRequest{entry: &schemas.Entry{
		Kind: schemas.KindOpen, Prev: -1, Writer: fmt.Sprint(w.id), Unit: w.unit, AbsentReason: w.core.why,
		From: declared.From, Life: declared.Life, Role: w.core.role,
	}})
}

// key reports whether a frame of the camera is a keyframe.
func (s *sim) key(n int64) bool { return uint64(n)*0x9e3779b97f4a7c15>>32%uint64(s.keyEvery) == 0 }

func (s *sim) nextKey(n int64) int64 {
	for !s.key(n) {
		n++
	}
	return n
}

// unitData is the bytes of a frame, the same for every connection.
func (s *sim) unitData(n int64) []byte {
	if s.static && s.key(n) {
		n = 0
	}
	return binary.BigEndian.AppendUint64(nil, uint64(n))
}

// connect gives the connection a clock.
func (s *sim) connect(w *simWriter) {
	w.offset = s.rng.Int64N(8*frame) - 4*frame
	if s.chance(0.1) { // a host whose clock is wrong
		w.offset += s.rng.Int64N(8*schemas.MediaTimescale) - 4*schemas.MediaTimescale
	}
}

func (s *sim) beginFragment(w *simWriter) {
	w.index, w.chunks = 0, 1+s.rng.IntN(6)
	if s.chance(0.01) {
		w.chunks = 80 // a fragment that outgrows its layout
	}
}

// camera hands the writer's next chunk over: the assembler's part.
func (s *sim) camera(w *simWriter) {
	edge := s.clock / frame
	if w.fenced || w.closing || w.frame >= edge {
		return
	}
	if w.index == 0 && w.received {
		if s.chance(0.05) { // reconnect
			w.frame = s.nextKey(max(w.frame, edge-s.rng.Int64N(5)) + s.rng.Int64N(125))
			s.connect(w)
			w.broken = true
			s.do(w, func() { w.core.beginSession(fmt.Sprint("camera ", w.id)) })
			return
		}
		if s.chance(0.03) { // a cap, then no keyframe
			m, d := w.media(), (s.nextKey(w.frame+1+s.rng.Int64N(100))-w.frame)*frame
			w.frame += d / frame
			w.broken = true
			s.do(w, func() { w.core.addGap(publicTime(m), m, d, schemas.ReasonKeyframe) })
			return
		}
	}
	c := s.chunk(w)
	admit := ""
	if s.chance(0.01) {
		admit = schemas.ReasonStorage
	}
	if !w.received && len(w.opens) == 0 {
		w.unit, w.unitTime = schemas.UnitHash(c.Video()[0].Data), c.Start
		w.ask(&schemas.Entry{})
	}
	w.received = true
	w.broken = w.broken || w.opening && admit != ""
	if w.opening && c.Index == 0 && !w.broken {
		w.starts = append(w.starts, earlyStart{unit: schemas.UnitHash(c.Video()[0].Data), before: w.final, time: c.Start, op: len(w.ops)})
	}
	if v := c.Video(); c.Last {
		w.final = schemas.UnitHash(v[len(v)-1].Data)
	}
	s.do(w, func() {
		o, err := w.core.write(c, admit)
		if err != nil {
			s.stats.Refused++
			return
		}
		p := o.item.entry.Partition
		w.lanes[p] = append(w.lanes[p], &simRequest{chunk: o, simAppend: simAppend{refused: s.chance(0.003)}})
	})
}

func (w *simWriter) media() int64 { return w.frame*frame + w.offset }

// chunk makes the next chunk. A keyframe begins a fragment if the one before is long
// enough.
func (s *sim) chunk(w *simWriter) *schemas.Chunk {
	c := &schemas.Chunk{Index: w.index, Start: publicTime(w.media()), Layout: schemas.Layout{Part: 19800, Video: schemas.H264}}
	if w.index == 0 {
		c.Tracks = []schemas.Track{{ID: schemas.VideoTrack, Codec: schemas.H264, Timescale: schemas.MediaTimescale}}
	}
	w.index++
	run := schemas.Run{Track: schemas.VideoTrack}
	for range 1 + s.rng.IntN(5) {
		run.Samples = append(run.Samples, schemas.Sample{DTS: w.media(), Duration: frame, Sync: s.key(w.frame), Data: s.unitData(w.frame)})
		w.frame++
		if int(w.index) >= w.chunks && s.key(w.frame) {
			c.Last = !s.chance(0.05)
			s.beginFragment(w)
			break
		}
	}
	c.Runs = []schemas.Run{run}
	return c
}

// do runs an operation of the camera now, or once the writer is open.
func (s *sim) do(w *simWriter, op func()) {
	if w.opening {
		w.ops = append(w.ops, op)
		return
	}
	op()
}

func publicTime(media int64) time.Time {
	return time.Unix(0, 0).Add(schemas.FromTicks(media)).UTC().Truncate(time.Microsecond)
}

// step makes requests of w arrive and answers return, each after a random delay.
// Requests of a crashed writer may still arrive; its answers go nowhere.
func (s *sim) step(w *simWriter) error {
	if w.lost {
		return nil
	}
	if w.opening {
		s.stepOpen(w)
		return nil
	}
	s.stepChunks(w)
	return s.stepEntry(w)
}

func (s *sim) stepChunks(w *simWriter) {
	for p, lane := range w.lanes {
		for i, r := range lane {
			if !s.appendChunk(&r.simAppend, p, r.chunk.chunk) {
				break
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
}

func (s *sim) stepEntry(w *simWriter) error {
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
		s.apply(w.entry)
		if s.chance(0.01) {
			s.appendEntry(*w.entry.entry)
		}
	}
	if w.entry.applied && !w.dead && !w.hung && s.chance(0.4) {
		e := *w.entry.entry
		e.Offset = w.entry.offset
		w.entry = nil
		if s.opensIn(e.Prev, e.Offset) {
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

// apply appends the entry of a request.
func (s *sim) apply(r *simRequest) { r.offset, r.applied = s.appendEntry(*r.entry), true }

// opensIn reports whether an `open` stands between two offsets, both exclusive.
func (s *sim) opensIn(prev, before int64) bool {
	for o := prev + 1; o < before; o++ {
		if s.index.records[o].Kind == schemas.KindOpen {
			return true
		}
	}
	return false
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

// stepOpen opens a writer, as Writer.open does.
func (s *sim) stepOpen(w *simWriter) {
	if len(w.opens) == 0 {
		return
	}
	r := w.opens[len(w.opens)-1]
	if w.dead {
		if !r.applied && s.chance(0.1) { // the open of a writer that died at once
			s.apply(r)
		}
		return
	}
	if w.hung || !s.chance(0.3) {
		return
	}
	if !r.applied {
		s.apply(r)
		return
	}
	if r.entry.From != 0 {
		if slices.ContainsFunc(s.index.records[w.epoch+1:r.offset], func(e schemas.Entry) bool { return e.From != 0 }) {
			s.stats.Twice++
			w.old, w.first, w.waited, w.tired = nil, nil, 0, false
			w.ask(&schemas.Entry{})
			return
		}
		s.begin(w, r.offset)
		return
	}
	w.epoch = r.offset
	p := s.past(w)
	if p.awaitsUnit() {
		if w.waited == 0 {
			unit := p.unitOf(w.epoch)
			w.later = unit != nil && unit.shown || s.entered(w, p)
		}
		at, first, ok := p.begins(w.epoch, w.starts, w.later)
		if w.tired = !ok && (w.waited >= 40 || s.chance(0.05)); !ok && !w.tired {
			w.waited++
			s.stats.Waited++
			return
		}
		p, w.first = at, first
	}
	w.planned = p.plan(w.epoch, s.stood, s.unixNow())
	if s.archived.Footage() {
		before := w.planned.resume
		if w.planned = w.planned.above(&s.archived, s.unixNow()); w.planned.resume != before {
			s.above[w.planned.resume.from] = s.archived
		}
	}
	if w.planned.resume.life == "" {
		w.planned.resume.life = s.life
	}
	if from := w.planned.resume.from; from != 0 {
		w.ask(&schemas.Entry{From: from, Life: w.planned.resume.life})
		return
	}
	s.begin(w, w.epoch)
}

// past reads the index up to the writer's `open`, then the media to their ends.
func (s *sim) past(w *simWriter) past {
	p := past{unit: w.unit, unitTime: w.unitTime}
	for e := range s.valid(s.index.start, w.epoch) {
		p.take(&e)
	}
	first := w.old == nil
	for n := range s.media {
		l := &s.media[n]
		if first {
			w.old = append(w.old, span{end: l.end()})
		}
		w.old[n].start = l.start
		for o := l.start; o < l.end(); o++ {
			if c := l.records[o]; p.entry == nil || c.Seq > p.entry.Seq {
				m := metaOf(c, int32(n), o)
				m.old = o < w.old[n].end
				p.chunks = append(p.chunks, m)
			}
		}
	}
	return p
}

// entered reports whether a fragment that has its entry holds the writer's first access unit.
func (s *sim) entered(w *simWriter, p past) bool {
	if p.unitOf(w.epoch) != nil {
		return false
	}
	for e := range s.valid(s.index.start, w.epoch) {
		if !e.Playable() {
			continue
		}
		l := &s.media[e.Partition]
		for o := max(e.First, l.start); o <= e.Last; o++ {
			m := metaOf(l.records[o], e.Partition, o)
			if m.epoch == e.Epoch && m.seq == e.Seq && m.startTime().Sub(w.unitTime).Abs() <= unitMargin && (m.unit == w.unit || slices.Contains(m.inner, w.unit)) {
				return true
			}
		}
	}
	return false
}

// begin begins the core of a writer that has opened the topic.
func (s *sim) begin(w *simWriter, epoch int64) {
	w.epoch = epoch
	s.stats.Settled += len(w.planned.settled)
	for _, e := range w.planned.settled {
		if e.Kind == schemas.KindTruncated {
			s.stats.Truncated++
		}
	}
	if w.planned.resume.unit != nil {
		s.stats.Continued++
	}
	w.core.opened(epoch, w.planned, int32(len(s.media)))
	w.firstSeq = w.core.next
	w.opening, w.opened = false, true
	if w.first != nil && w.planned.resume.unit != nil {
		s.stats.Later++
		if w.planned.resume.unit.ends {
			s.stats.Behind++
		}
		w.ops = slices.Delete(w.ops, w.starts[0].op, w.first.op)
	}
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
	return s.opensIn(prev, before)
}
