package medialog

import (
	"errors"
	"fmt"
	"time"

	"github.com/framelog/framelog/schemas"
)

// Errors of Writer.Write.
var (
	// ErrRefused: this fragment is not recorded, or no further. It becomes a gap
	// with the reason that the error names.
	ErrRefused = errors.New("medialog: fragment refused")
	// ErrFenced: another writer has opened the topic.
	ErrFenced = errors.New("medialog: fenced by another writer")
)

// core is a writer without Kafka. It numbers fragments, refuses what is over
// budget, makes gaps, and returns entries in order, one at a time. It does no input
// or output and has no lock. Writer and the simulation drive it.
type core struct {
	budget     int64 // bytes that may wait for their acknowledgement
	limit      int   // items that may wait for their entry
	partitions int32 // of the media topic
	reserve    int64 // bytes of the last fragment; a new fragment needs as much room

	epoch   int64
	prev    int64 // offset of this writer's newest entry
	life    string
	next    uint64 // the next seq
	session uint64
	layout  schemas.Layout

	newSession bool   // the next fragment or gap begins one
	begun      bool   // this writer has begun one
	why        string // why nothing was recorded before the one that begins next
	// unit is where the first access unit stands in the footage of the writer before. The
	// first session begins exactly there. nil: it is not known.
	unit         *place
	shift        int64         // added to the assembler's media time, in this session
	publicShift  time.Duration // added to its public time
	mediaEnd     int64         // media time at which the last fragment or gap ends
	publicEnd    time.Time     // its public time; zero: none is known
	recorded     time.Time     // the same without gaps for absence
	absent       int64         // ticks: the absence that the session's first entry tells
	absentReason string
	// onSession, if not nil, is told where the numbers stand when a session begins, and
	// the absence before it.
	onSession func(s schemas.Standing, absent int64, reason string)

	timescales map[uint8]uint32
	config     string

	current  *item  // the unfinished fragment
	refusing string // reason, until the next fragment
	full     string // why there was no room for a fragment, until half the room is free
	gap      *item  // the gap that is being received; it has no seq yet
	pending  []*item
	settling int  // settled items among pending: settle bounds their number
	inflight bool // an entry is on its way
	buffered int64
}

// item is a fragment or a run of gaps that waits for its entry.
type item struct {
	entry   schemas.Entry
	settled bool // it is a fragment of an earlier writer, and waits for no chunk

	// A fragment.
	chunks     []chunkState
	unresolved int // chunks that Kafka has neither taken nor refused yet
	closed     bool
	failure    string // the reason, if Kafka refused a chunk

	// A run of gaps.
	n      int64 // seqs
	done   int64 // seqs that have their entry
	flying int64 // seqs of the entry that is on its way
}

type chunkState struct {
	mediaEnd int64
	bytes    int64
	units    uint32
	offset   int64
	acked    bool
}

// newCore returns a core that is not opened. absent is why nothing was recorded before
// its first session.
func newCore(budget int64, limit int, absent string) *core {
	return &core{budget: budget, limit: limit, newSession: true, why: absent}
}

// opened starts the core. Its `open` is at offset epoch, and it does what p says. partitions is the number of the media
// topic's partitions now.
func (c *core) opened(epoch int64, p plan, partitions int32) {
	c.epoch, c.prev, c.partitions = epoch, epoch, partitions
	for i := range p.settled {
		c.pending = append(c.pending, &item{entry: p.settled[i], settled: true, n: 1})
	}
	c.settling = len(p.settled)
	from := p.resume
	c.life, c.next, c.session, c.layout, c.config = from.life, from.seq, from.session, from.layout, from.config
	c.mediaEnd, c.publicEnd, c.recorded, c.unit = from.mediaEnd, from.publicEnd, from.recorded, from.unit
}

// beginSession makes the next fragment or gap begin a session. reason is why nothing
// was recorded before it; "": no time is missing there, or it is the writer's first
// session and newCore was told the reason.
func (c *core) beginSession(reason string) {
	c.newSession = true
	if c.begun || reason != "" {
		c.why = reason
	}
}

// out is a chunk to produce, with its place in the log.
type out struct {
	chunk *schemas.Chunk
	item  *item
	n     int // position in item.chunks
}

// write takes the next chunk. admit is the reason to refuse a fragment that begins
// with this chunk; "" admits it.
func (c *core) write(ch *schemas.Chunk, admit string) (out, error) {
	size := int64(ch.Size())
	if ch.Index == 0 {
		if c.current != nil {
			c.truncate(schemas.ReasonSource)
		}
		if c.refusing = admit; admit == "" {
			c.refusing = c.room(size)
		}
		if c.refusing == "" {
			c.begin(ch)
		}
	}
	if c.current != nil {
		switch {
		case c.current.failure != "":
			c.refusing = c.current.failure
		case ch.Index > 0 && c.buffered+size > c.budget:
			c.full = schemas.ReasonBudget
			c.refusing = c.full
		}
		if c.refusing != "" {
			c.truncate(c.refusing)
		}
	}
	if c.current == nil {
		if c.refusing == "" {
			c.refusing = schemas.ReasonSource // a chunk without a beginning
		}
		c.addGap(ch.Start, ch.MediaStart(), ch.MediaEnd()-ch.MediaStart(), c.refusing)
		return out{}, fmt.Errorf("%w: %s", ErrRefused, c.refusing)
	}
	it := c.current
	c.number(ch, it)
	it.chunks = append(it.chunks, chunkState{mediaEnd: ch.MediaEnd(), bytes: size, units: uint32(len(ch.Video()))})
	it.unresolved++
	it.entry.Bytes += size
	c.buffered += size
	if ch.Last {
		it.entry.Ended = ch.Ended
		c.close(it)
	}
	return out{ch, it, len(it.chunks) - 1}, nil
}

// room returns "" if there is room for a fragment that begins with a chunk of size
// bytes, else the reason why not. Once there was no room, half of it must be free
// again. So one long gap is left if Kafka is as slow as the camera, and not a gap
// every few fragments.
func (c *core) room(size int64) string {
	switch {
	case c.full != "" && (c.buffered > c.budget/2 || c.waiting() > c.limit/2):
	case c.buffered+max(size, c.reserve) > c.budget && c.buffered > 0:
		c.full = schemas.ReasonBudget
	case c.waiting() >= c.limit:
		c.full = schemas.ReasonIndexBehind
	default:
		c.full = ""
	}
	return c.full
}

// waiting is how many fragments and runs of gaps of this writer wait for their entry.
func (c *core) waiting() int { return len(c.pending) - c.settling }

// begin begins the fragment whose first chunk is ch.
func (c *core) begin(ch *schemas.Chunk) {
	c.closeGap(ch.MediaStart()+c.shift, c.newSession)
	begins := c.startSession(ch.Start, ch.MediaStart())
	c.timescales = map[uint8]uint32{}
	for _, t := range ch.Tracks {
		c.timescales[t.ID] = t.Timescale
	}
	c.config = schemas.ConfigHash(ch.Tracks)
	c.layout = c.layout.Next(ch.Layout)
	c.current = &item{entry: schemas.Entry{
		Kind: schemas.KindWhole, Seq: c.next, Session: c.session, Layout: c.layout, Config: c.config,
		OpenGOP: ch.OpenGOP, Start: ch.Start.Add(c.publicShift), Media: ch.MediaStart() + c.shift,
		Epoch: c.epoch, Partition: int32(c.next % uint64(c.partitions)),
	}}
	if begins {
		c.tellSession(c.current.entry.Media)
	}
	c.tellAbsence(&c.current.entry)
	c.next++
	c.pending = append(c.pending, c.current)
}

// startSession begins a session at public time start and media time media, if one is
// due. Media time does not go back: the session's chunks are moved if it would.
func (c *core) startSession(start time.Time, media int64) bool {
	if !c.newSession {
		return false
	}
	c.shift, c.publicShift = max(0, c.mediaEnd-media), 0
	if c.unit != nil {
		c.shift, c.publicShift = c.unit.media-media, c.unit.start.Sub(start)
	}
	c.newSession, c.unit, c.begun = false, nil, true
	c.absent, c.absentReason = 0, c.why
	if c.why != "" {
		c.absent = absence(c.recorded, start.Add(c.publicShift))
	}
	c.why = ""
	c.pushAbsence(media + c.shift)
	c.session++
	return true
}

// absence returns the time between the end of what was recorded and the start of a
// session, in ticks. It is 0 if nothing was recorded before, and if public time steps
// back.
func absence(recorded, start time.Time) int64 {
	if recorded.IsZero() {
		return 0
	}
	return max(0, schemas.Ticks(start.Sub(recorded)))
}

// tellAbsence puts the absence before the session into its first entry.
func (c *core) tellAbsence(e *schemas.Entry) {
	if c.absent > 0 {
		e.Absent, e.AbsentReason = c.absent, c.absentReason
	}
	c.absent = 0
}

// tellSession tells that a session begins with the next seq, at media time media.
func (c *core) tellSession(media int64) {
	if c.onSession != nil {
		c.onSession(schemas.Standing{Life: c.life, Seq: c.next, Session: c.session, Layout: c.layout, Media: media}, c.absent, c.absentReason)
	}
}

// The time before a session in which nothing was recorded becomes gaps if it is
// between minAbsence and maxAbsence (ticks). A shorter time is the jitter of a
// connection. After a longer time no player waits any more, and the first fragment
// would wait for hundreds of entries.
const (
	minAbsence = 1 * schemas.MediaTimescale
	maxAbsence = 300 * schemas.MediaTimescale
)

// pushAbsence makes gaps of the time in which nothing was recorded, before a session
// that begins at media. So time in a playlist keeps up with the wall clock. Shaka takes the
// live edge from the clock, and drops all segments without these gaps.
func (c *core) pushAbsence(media int64) {
	d := media - c.mediaEnd
	if c.publicEnd.IsZero() || c.layout.Target == 0 || d < minAbsence || d > maxAbsence {
		return
	}
	g := &item{entry: schemas.Entry{
		Kind: schemas.KindGap, Reason: schemas.ReasonAbsent, Session: c.session, Layout: c.layout, Config: c.config,
		Start: c.publicEnd, Media: c.mediaEnd, Duration: d, Epoch: c.epoch,
	}}
	target := int64(c.layout.Target) * schemas.MediaTimescale
	c.push(g, (d+target-1)/target)
}

// number sets the position of ch in the log.
func (c *core) number(ch *schemas.Chunk, it *item) {
	ch.Epoch, ch.Session, ch.Seq, ch.Layout = c.epoch, it.entry.Session, it.entry.Seq, it.entry.Layout
	ch.Index = uint32(len(it.chunks))
	ch.Start = ch.Start.Add(c.publicShift)
	if c.shift == 0 {
		return
	}
	for i := range ch.Runs {
		scale := c.timescales[ch.Runs[i].Track]
		by := schemas.Rescale(c.shift, schemas.MediaTimescale, scale)
		for j := range ch.Runs[i].Samples {
			ch.Runs[i].Samples[j].DTS += by
		}
	}
}

// close closes a fragment: no chunk follows.
func (c *core) close(it *item) {
	it.closed = true
	it.entry.Duration = it.chunks[len(it.chunks)-1].mediaEnd - it.entry.Media
	it.entry.Layout = it.entry.Layout.Fit(it.entry.Duration)
	it.entry.Chunks = uint32(len(it.chunks))
	c.layout, c.mediaEnd, c.publicEnd = it.entry.Layout, it.entry.MediaEnd(), it.entry.End()
	c.recorded = c.publicEnd
	c.reserve, c.current = it.entry.Bytes, nil
}

// truncate closes the unfinished fragment with the chunks that it has.
func (c *core) truncate(reason string) {
	it := c.current
	if it == nil {
		return
	}
	it.entry.Kind, it.entry.Reason = schemas.KindTruncated, reason
	c.close(it)
}

// lost adds to what is missing inside the unfinished fragment.
func (c *core) lost(l schemas.Lost) {
	if c.current != nil {
		c.current.entry.Lost.Packets += l.Packets
		c.current.entry.Lost.Units += l.Units
	}
}

// addGap extends the gap that is being received, or begins one. A long gap gets seqs
// while it goes on: one for each target duration that is complete.
func (c *core) addGap(start time.Time, media, duration int64, reason string) {
	if c.current != nil {
		c.truncate(reason)
	}
	full := c.waiting() >= 4*c.limit // many short sessions or changing reasons: stay in this gap
	if g := c.gap; g != nil && !full && (c.newSession || g.entry.Reason != reason) {
		end := media + c.shift
		c.closeGap(end, c.newSession)
	}
	if c.gap == nil {
		begins := c.startSession(start, media)
		if c.layout.Target == 0 {
			c.layout.Target = schemas.TargetLadder[0]
		}
		c.gap = &item{entry: schemas.Entry{
			Kind: schemas.KindGap, Reason: reason, Session: c.session, Layout: c.layout, Config: c.config,
			Start: start.Add(c.publicShift), Media: max(media+c.shift, c.mediaEnd), Epoch: c.epoch,
		}}
		if begins {
			c.tellSession(c.gap.entry.Media)
		}
	}
	g := c.gap
	if c.newSession {
		g.entry.Duration += duration // media is of another session, which may have another shift
	} else {
		g.entry.Duration = max(g.entry.Duration, media+duration+c.shift-g.entry.Media)
	}
	target := int64(g.entry.Layout.Target) * schemas.MediaTimescale
	if n := g.entry.Duration/target - 1; n > 0 {
		rest := *g
		rest.entry.Start = g.entry.Start.Add(schemas.FromTicks(n * target))
		rest.entry.Media += n * target
		rest.entry.Duration -= n * target
		g.entry.Duration = n * target
		c.push(g, n)
		c.gap = &rest
	}
}

// closeGap ends the gap that is being received, at media time end unless that is of
// another session.
func (c *core) closeGap(end int64, another bool) {
	g := c.gap
	c.gap = nil
	if g == nil {
		return
	}
	if !another {
		g.entry.Duration = max(g.entry.Duration, end-g.entry.Media)
	}
	if g.entry.Duration <= 0 {
		return
	}
	target := int64(g.entry.Layout.Target) * schemas.MediaTimescale
	c.push(g, (g.entry.Duration+target-1)/target)
}

// push assigns seqs to a run of n gaps. Adjacent equal runs become one item, so
// that hours of them need the memory of one, and few entries.
func (c *core) push(g *item, n int64) {
	c.mediaEnd, c.publicEnd = g.entry.MediaEnd(), g.entry.End()
	if g.entry.Reason != schemas.ReasonAbsent {
		c.recorded = c.publicEnd
		c.tellAbsence(&g.entry)
	}
	if k := len(c.pending); k > 0 {
		t := c.pending[k-1]
		if t.n > 0 && !t.settled && t.entry.Reason == g.entry.Reason && t.entry.Session == g.entry.Session &&
			t.entry.MediaEnd() == g.entry.Media && t.entry.Duration%t.n == 0 && g.entry.Duration%n == 0 &&
			t.entry.Duration/t.n == g.entry.Duration/n {
			t.entry.Duration += g.entry.Duration
			t.n += n
			c.next += uint64(n)
			return
		}
	}
	g.n, g.entry.Seq = n, c.next
	c.next += uint64(n)
	c.pending = append(c.pending, g)
}

// finish closes the unfinished fragment and the gap: nothing follows.
func (c *core) finish(reason string) {
	c.truncate(reason)
	c.closeGap(0, true)
}

// resolved takes the answer for a chunk: its offset, or why Kafka refused it.
func (c *core) resolved(o out, offset int64, failure string) {
	st := &o.item.chunks[o.n]
	o.item.unresolved--
	c.buffered -= st.bytes
	if failure != "" {
		if o.item.failure == "" {
			o.item.failure = failure
		}
		return
	}
	st.offset, st.acked = offset, true
}

// append returns the next entry to write, if it is time for one. The entry is in
// flight until committed is called.
func (c *core) append() (schemas.Entry, bool) {
	if c.inflight || len(c.pending) == 0 {
		return schemas.Entry{}, false
	}
	it := c.pending[0]
	var e schemas.Entry
	switch {
	case it.settled:
		e = it.entry
	case it.n > 0:
		e = it.piece()
	case it.closed && it.unresolved == 0:
		e = it.outcome()
	default:
		return schemas.Entry{}, false
	}
	e.Prev, e.Life = c.prev, c.life
	c.inflight = true
	return e, true
}

// committed takes the offset of the entry that was in flight.
func (c *core) committed(offset int64) {
	c.prev, c.inflight = offset, false
	it := c.pending[0]
	if it.settled {
		c.settling--
	} else if it.n > 0 {
		if it.done += it.flying; it.done < it.n {
			return
		}
	}
	c.pending[0] = nil
	c.pending = c.pending[1:]
}

// piece returns the next entry of a run of gaps: of all that are known by now, at most
// MaxGapRun.
func (it *item) piece() schemas.Entry {
	it.flying = min(it.n-it.done, schemas.MaxGapRun)
	return gapPiece(it.entry, it.n, it.done, it.flying)
}

// gapPiece returns one entry for count gaps from gap first on, of the n gaps that share
// the time of e. The first ones may be one tick longer, so that a run has two durations
// at most.
func gapPiece(e schemas.Entry, n, first, count int64) schemas.Entry {
	at := func(i int64) int64 { return e.Duration/n*i + min(i, e.Duration%n) }
	p := e
	p.Seq += uint64(first)
	p.Start, p.Media, p.Duration = e.Start.Add(schemas.FromTicks(at(first))), e.Media+at(first), at(first+count)-at(first)
	if first > 0 {
		p.Absent, p.AbsentReason = 0, ""
	}
	if count > 1 {
		p.Run = &schemas.GapRun{}
		for i := range count {
			p.Run.Durations = append(p.Run.Durations, at(first+i+1)-at(first+i))
		}
	}
	return p
}

// outcome returns the entry of a closed fragment whose chunks are all resolved. The
// prefix that Kafka took counts, as long as its offsets grow: if they do not, the
// partition was cut back meanwhile. The entry counts what follows as lost.
func (it *item) outcome() schemas.Entry {
	e := it.entry
	k, at := 0, int64(-1)
	for k < len(it.chunks) && it.chunks[k].acked && it.chunks[k].offset > at {
		at = it.chunks[k].offset
		k++
	}
	if k == len(it.chunks) {
		e.First, e.Last = it.chunks[0].offset, it.chunks[k-1].offset
		return e
	}
	if e.Reason = it.failure; e.Reason == "" {
		e.Reason = schemas.ReasonProduce
	}
	if k == 0 {
		e.Kind, e.Bytes, e.Chunks, e.Partition = schemas.KindGap, 0, 0, 0
		return e
	}
	e.Kind = schemas.KindTruncated
	e.Duration = it.chunks[k-1].mediaEnd - e.Media
	e.First, e.Last, e.Chunks = it.chunks[0].offset, it.chunks[k-1].offset, uint32(k)
	e.Bytes = 0
	for _, st := range it.chunks[:k] {
		e.Bytes += st.bytes
	}
	for _, st := range it.chunks[k:] {
		e.Lost.Units += st.units
	}
	return e
}
