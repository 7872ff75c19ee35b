package medialog

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/framelog/framelog/schemas"
)

// chunkMeta is what a new writer needs to know of a chunk in the log.
type chunkMeta struct {
	partition int32
	offset    int64
	epoch     int64
	session   uint64
	seq       uint64
	index     uint32
	last      bool
	ended     bool
	layout    schemas.Layout
	config    string           // of chunk 0
	openGOP   bool             // of chunk 0
	start     int64            // public time of its first sample, microseconds
	media     int64            // media time of its first sample, ticks
	mediaEnd  int64            // media time at which its last sample ends, ticks
	bytes     int64            // of samples
	unit      string           // names its first access unit, if that is a sync sample (schemas.UnitHash)
	inner     []string         // names the other sync samples
	final     string           // names its last access unit, if last
	sound     []schemas.Sample // if unit or final is not empty
	old       bool             // it was found at once: readers may have shown it
}

func metaOf(c *schemas.Chunk, partition int32, offset int64) chunkMeta {
	m := chunkMeta{
		partition: partition, offset: offset, epoch: c.Epoch, session: c.Session, seq: c.Seq, index: c.Index,
		last: c.Last, ended: c.Last && c.Ended, layout: c.Layout, start: c.Start.UnixMicro(),
		media: c.MediaStart(), mediaEnd: c.MediaEnd(), bytes: int64(c.Size()),
	}
	if c.Index == 0 {
		m.config, m.openGOP = schemas.ConfigHash(c.Tracks), c.OpenGOP
	}
	for i, s := range c.Video() {
		switch {
		case !s.Sync:
		case i == 0:
			m.unit = schemas.UnitHash(s.Data)
		default:
			m.inner = append(m.inner, schemas.UnitHash(s.Data))
		}
	}
	if v := c.Video(); m.last && len(v) > 0 {
		m.final = schemas.UnitHash(v[len(v)-1].Data)
	}
	if m.unit != "" || m.final != "" {
		for _, s := range c.Audio() {
			s.Data = slices.Clone(s.Data) // c may share the record's memory
			m.sound = append(m.sound, s)
		}
	}
	return m
}

// startTime returns the public time of the first sample.
func (m *chunkMeta) startTime() time.Time { return time.UnixMicro(m.start).UTC() }

// endTime returns the public time at which the last sample ends.
func (m *chunkMeta) endTime() time.Time {
	return m.startTime().Add(schemas.FromTicks(m.mediaEnd - m.media))
}

// indexEnd is what the end of an index tells a new writer. It takes the valid entries
// and the `open`s there, in order.
type indexEnd struct {
	entry *schemas.Entry // the newest one that takes a seq; nil: there is none
	life  string         // of the newest record that names one
	// from is From of the newest `open` that declares one; 0 if an entry follows it.
	from     uint64
	recorded time.Time        // the end of the newest entry that is no gap for absence; zero: none is known
	writer   int64            // the epoch of that entry
	reasons  map[int64]string // AbsentReason of each `open`
}

func (x *indexEnd) take(e *schemas.Entry) {
	x.life = cmp.Or(e.Life, x.life)
	if e.Kind == schemas.KindOpen {
		if x.reasons == nil {
			x.reasons = map[int64]string{}
		}
		x.reasons[e.Offset] = e.AbsentReason
		x.from = cmp.Or(e.From, x.from)
		return
	}
	if x.entry != nil && e.Seq != x.entry.LastSeq()+1 { // the log does not tell what was recorded before a hole
		x.recorded = time.Time{}
	}
	x.entry, x.from = e, 0
	x.record(e)
}

// record moves the end of what was recorded.
func (x *indexEnd) record(e *schemas.Entry) {
	switch {
	case e.Kind != schemas.KindGap || e.Reason != schemas.ReasonAbsent:
		x.recorded, x.writer = e.End(), e.Epoch
	case x.recorded.IsZero():
		x.recorded = e.Start
	}
}

// past is what a new writer finds.
type past struct {
	indexEnd
	chunks []chunkMeta    // of seqs above the newest entry, each partition in order
	cut    map[int32]bool // partitions of which only the end was read
	// The new writer's first access unit.
	unit     string    // its name; "": it is not known
	unitTime time.Time // its public time, as far as it is known
	before   string    // names the access unit before it, in the new writer's footage; "": it has none
	redo     bool      // the new writer's source repeats what was left (OpenOptions.Redo)
}

// unitMargin is the most by which the clocks of two writers may differ. An equal access
// unit at a greater distance is another one: a picture that does not change gives equal
// units again and again.
const unitMargin = 2 * time.Second

// awaitsUnit reports whether an earlier writer seems to record still. The new writer's
// first access unit may come then, if it is not there yet.
func (p *past) awaitsUnit() bool {
	if p.unit == "" {
		return false
	}
	alive := p.unitTime.Add(-unitMargin)
	for i := range p.chunks {
		if p.chunks[i].endTime().After(alive) {
			return true
		}
	}
	return p.entry != nil && p.entry.End().After(alive)
}

// settle decides which entries the fragments get that earlier writers left without
// one. It returns the entries (without Prev and Life) that the writer of the epoch own
// must write before its own first one.
//
// If a seq has several copies, the one of the latest epoch counts: low-latency
// readers have shown that one. Epoch, session and media time never go back from one
// seq to the next. A fenced writer may have written chunks beyond those of its
// successor. They are not settled, and take no seq. It may also have written more of a
// fragment than its successor found. What reaches into the successor's footage is cut
// off.
//
// unit is where the new writer's first access unit stands among what was left; nil: it
// is not there. Nothing is settled from there on, and the new writer continues exactly
// there.
func settle(own int64, p past) (settled []schemas.Entry, unit *place) {
	kept, unit := p.upToUnit(p.chain(own))
	x := p.indexEnd
	for _, c := range kept {
		e := c.entry()
		if prev := x.entry; prev != nil && (e.Layout.ID < prev.Layout.ID || (e.Layout.ID == prev.Layout.ID && e.Layout != prev.Layout)) {
			// The one before outgrew its layout after this one was begun.
			e.Layout = prev.Layout.Next(e.Layout).Fit(e.Duration)
		}
		settled = append(x.missing(own, settled, &e), x.settled(e))
	}
	if unit != nil {
		settled = x.missing(own, settled, &schemas.Entry{Seq: unit.seq, Session: unit.session, Epoch: unit.epoch, Media: unit.media})
	}
	return settled, unit
}

// place is where something stands in the footage.
type place struct {
	seq     uint64
	session uint64
	epoch   int64
	media   int64
	start   time.Time        // public time
	sound   []schemas.Sample // of the chunk that begins there, or ends there
	own     []schemas.Sample // sound of the new writer, if its first fragments are left out: of the chunk before
	ends    bool             // a fragment ends there, and no chunk begins there
	shown   bool             // readers may have shown a fragment of seq
}

// missing appends the gaps between the newest entry and next.
func (x *indexEnd) missing(own int64, settled []schemas.Entry, next *schemas.Entry) []schemas.Entry {
	if x.entry == nil {
		return settled
	}
	for _, gap := range missing(own, x.entry, next) {
		settled = append(settled, x.settled(gap))
	}
	return settled
}

// settled returns e, which follows the newest entry, with the absence before it.
func (x *indexEnd) settled(e schemas.Entry) schemas.Entry {
	if x.entry != nil && e.Session != x.entry.Session {
		if e.Absent = absence(x.recorded, e.Start); e.Absent > 0 {
			e.AbsentReason = schemas.AbsentCamera
			if e.Epoch != x.writer { // its writer's first session
				e.AbsentReason = cmp.Or(x.reasons[e.Epoch], schemas.AbsentRestart)
			}
		}
	}
	x.take(&e)
	return e
}

// copyOf is one epoch's copy of a fragment: its chunks from index 0 on, as long as
// each follows the one before in one partition.
type copyOf struct {
	chunks []chunkMeta
	reason string // why it is cut off; "": it is not
}

func (c *copyOf) add(m chunkMeta) {
	l := c.end()
	if m.index != l.index+1 || m.partition != l.partition || l.last || m.mediaEnd < l.mediaEnd {
		return // a repetition, a chunk behind a missing one, or none of a correct writer
	}
	c.chunks = append(c.chunks, m)
}

func (c *copyOf) first() *chunkMeta { return &c.chunks[0] }
func (c *copyOf) end() *chunkMeta   { return &c.chunks[len(c.chunks)-1] }

func (c *copyOf) entry() schemas.Entry {
	a, z := c.first(), c.end()
	e := schemas.Entry{
		Kind: schemas.KindTruncated, Reason: cmp.Or(c.reason, schemas.ReasonCrash),
		Seq: a.seq, Session: a.session, Config: a.config, OpenGOP: a.openGOP,
		Start: a.startTime(), Media: a.media, Duration: z.mediaEnd - a.media,
		Epoch: a.epoch, Partition: a.partition, First: a.offset, Last: z.offset, Chunks: uint32(len(c.chunks)),
	}
	for i := range c.chunks {
		e.Bytes += c.chunks[i].bytes
	}
	if z.last {
		e.Kind, e.Reason, e.Ended = schemas.KindWhole, "", z.ended
	}
	e.Layout = a.layout.Fit(e.Duration)
	return e
}

// chain returns the copies that count, in seq order. A copy without chunk 0, which has
// expired or never came, cannot be played.
func (p *past) chain(own int64) (kept []*copyOf) {
	latest := map[uint64]*copyOf{}
	for _, m := range p.chunks {
		if p.done(own, &m) {
			continue
		}
		c := latest[m.seq]
		switch {
		case m.index == 0 && (c == nil || c.first().epoch < m.epoch):
			latest[m.seq] = &copyOf{chunks: []chunkMeta{m}}
		case c != nil && c.first().epoch == m.epoch:
			c.add(m)
		}
	}
	for _, seq := range slices.Sorted(maps.Keys(latest)) {
		kept = p.follow(kept, latest[seq])
	}
	return kept
}

// done reports whether a chunk cannot be settled.
func (p *past) done(own int64, m *chunkMeta) bool {
	switch {
	case m.epoch >= own, m.mediaEnd < m.media: // no earlier writer's; no correct writer's
		return true
	case p.entry == nil:
		return m.seq < p.from // a writer has declared that nothing below from has an entry
	}
	// Behind a hand-over only the chunks of the writer that took over count. Those of the
	// former one are there twice, or seqs before them are missing.
	return m.seq <= p.entry.Seq || (p.entry.Reason == schemas.ReasonHandover && m.epoch <= p.entry.Epoch)
}

// follow returns kept with the next copy behind it, or kept alone if the copy cannot
// follow.
func (p *past) follow(kept []*copyOf, c *copyOf) []*copyOf {
	a := c.first()
	if p.entry != nil && a.media < p.entry.MediaEnd() {
		return kept
	}
	var (
		epoch        int64
		session, seq uint64
	)
	switch n := len(kept); {
	case n > 0:
		z := kept[n-1].end()
		epoch, session, seq = z.epoch, z.session, z.seq
	case p.entry != nil:
		epoch, session, seq = p.entry.Epoch, p.entry.Session, p.entry.Seq
	default:
		return []*copyOf{c}
	}
	if a.epoch < epoch || a.seq-seq > maxMissing || a.session-session > a.seq-seq && a.session > session {
		return kept
	}
	if p.entry == nil && a.epoch != epoch && a.seq != seq+1 {
		// Two writers found an index without entries, and each began with numbers of
		// its own. What the first one wrote was never safe, or its index is gone.
		return []*copyOf{c}
	}
	if a.epoch != epoch {
		if kept = cutAt(kept, a); len(kept) == 0 && p.entry != nil && a.epoch != p.entry.Epoch && a.session <= p.entry.Session {
			return kept
		}
		return append(kept, c)
	}
	if a.session < session || (len(kept) > 0 && a.media < kept[len(kept)-1].end().mediaEnd) {
		return kept
	}
	return append(kept, c)
}

// maxMissing is the largest number of seqs between two fragments that are settled
// together. A writer that refused footage for hours left far fewer out. A record
// beyond it is of no correct writer.
const maxMissing = 100_000

// cutAt cuts chunks off the end of kept: those that end behind the beginning of a, and
// those of a's session. a is a chunk of a later writer, which did not find them.
func cutAt(kept []*copyOf, a *chunkMeta) []*copyOf {
	for len(kept) > 0 {
		c := kept[len(kept)-1]
		if z := c.end(); z.mediaEnd <= a.media && z.session < a.session {
			break
		}
		if c.chunks = c.chunks[:len(c.chunks)-1]; len(c.chunks) == 0 {
			kept = kept[:len(kept)-1]
		}
	}
	if n := len(kept); n > 0 && kept[n-1].end().continuesWith(a) {
		kept[n-1].reason = schemas.ReasonHandover
	}
	return kept
}

// continuesWith reports whether another writer went on with chunk a exactly where m
// ends, in both times. Only a writer that found its first access unit does so. Public
// time is rounded.
func (m *chunkMeta) continuesWith(a *chunkMeta) bool {
	return m.epoch != a.epoch && m.mediaEnd == a.media && a.startTime().Sub(m.endTime()).Abs() < 10*time.Microsecond
}

// upToUnit returns kept up to the new writer's first access unit. A chunk in which this
// unit is not the first one is kept whole: then some frames are there twice, and none is
// missing. unit is where the new writer continues; nil: the unit is not there.
func (p *past) upToUnit(kept []*copyOf) (_ []*copyOf, unit *place) {
	if p.unit == "" {
		return kept, nil
	}
	if unit := p.behindLast(kept); unit != nil {
		return kept, unit
	}
	for i, c := range slices.Backward(kept) {
		for n := range slices.Backward(c.chunks) {
			m := &c.chunks[n]
			if d := m.startTime().Sub(p.unitTime); d.Abs() > unitMargin {
				continue
			}
			unit := &place{seq: m.seq, session: m.session, epoch: m.epoch, media: m.media, start: m.startTime()}
			switch {
			case m.unit == p.unit && n == 0:
				unit.sound = m.sound
				unit.shown = p.shown(unit)
				return kept[:i], unit
			case m.unit == p.unit:
				unit.sound = m.sound
				c.chunks = c.chunks[:n]
			case slices.Contains(m.inner, p.unit):
				c.chunks = c.chunks[:n+1]
				unit.media, unit.start = m.mediaEnd, m.endTime()
			default:
				continue
			}
			c.reason = schemas.ReasonHandover
			unit.seq++
			unit.shown = p.shown(unit)
			return kept[:i+1], unit
		}
	}
	return kept, nil
}

// behindLast returns the place behind the last fragment, if that is complete and ends with the
// access unit before the new writer's first one. Nil: it does not.
func (p *past) behindLast(kept []*copyOf) *place {
	if len(kept) == 0 || p.before == "" {
		return nil
	}
	m := kept[len(kept)-1].end()
	if !m.last || m.final != p.before || m.endTime().Sub(p.unitTime).Abs() > unitMargin {
		return nil
	}
	return &place{seq: m.seq + 1, session: m.session, epoch: m.epoch, media: m.mediaEnd, start: m.endTime(), sound: m.sound, ends: true}
}

// shown reports whether readers may have shown a fragment of another writer with the seq of u.
func (p *past) shown(u *place) bool {
	return slices.ContainsFunc(p.chunks, func(m chunkMeta) bool { return m.old && m.index == 0 && m.seq == u.seq && m.epoch >= u.epoch })
}

// missing returns the gaps for the seqs between two entries of which the log has no
// chunk. Their writer refused or lost them, and crashed before it wrote their gaps.
// They share the time between the two, at most a target duration each, and the
// sessions that began and ended there, so that sessions are dense too.
func missing(own int64, prev, next *schemas.Entry) (out []schemas.Entry) {
	n := int64(next.Seq-prev.Seq) - 1
	if n <= 0 {
		return nil
	}
	all := schemas.Entry{
		Kind: schemas.KindGap, Reason: schemas.ReasonCrash, Seq: prev.Seq + 1,
		Layout: prev.Layout, Config: prev.Config, Epoch: max(prev.Epoch, min(next.Epoch, own)),
		Start: prev.End(), Media: prev.MediaEnd(),
		Duration: min(next.Media-prev.MediaEnd(), n*int64(prev.Layout.Target)*schemas.MediaTimescale),
	}
	session := func(i int64) uint64 { return uint64(max(int64(prev.Session), int64(next.Session)-(n-i))) }
	for i := int64(0); i < n; {
		count := int64(1)
		for count < schemas.MaxGapRun && i+count < n && session(i+count) == session(i) {
			count++
		}
		e := gapPiece(all, n, i, count)
		e.Session = session(i)
		out = append(out, e)
		i += count
	}
	return out
}
