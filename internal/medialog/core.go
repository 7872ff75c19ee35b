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
	role    schemas.Role // of the topic
	next    uint64       // the next seq
	session uint64
	layout  schemas.Layout

	newSession bool   // the next fragment or gap begins one
	begun      bool   // this writer has begun one
	why        string // of the session that begins next: why nothing was recorded before it
	// unit is where the first access unit stands in the footage of the writer before. The
	// first session begins exactly there. nil: it is not known.
	unit         *place
	shift        int64         // added to the assembler's media time, in this session
	publicShift  time.Duration // added to its public time
	mediaEnd     int64         // media time at which the last fragment or gap ends
	publicEnd    time.Time     // its public time; zero: none is known
	recorded     time.Time     // the same without gaps for absence
	absent       int64         // ticks: the absence that goes into the session's first entry
	absentReason string
	// onSession, if not nil, is called when a session begins, with the camera's numbers
	// and the absence before it.
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

// opened starts the core by the plan p. epoch is the offset of the writer's `open`.
// partitions is the number of the media topic's partitions now.
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
			size = int64(ch.Size()) // late sound may be new
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
	late := c.unit
	begins := c.startSession(ch.Start, ch.MediaStart())
	c.timescales = map[uint8]uint32{}
	for _, t := range ch.Tracks {
		c.timescales[t.ID] = t.Timescale
	}
	if late != nil && c.unit == nil {
		late.addSound(ch, c.timescales[schemas.AudioTrack])
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
	e.Prev, e.Life, e.Role = c.prev, c.life, c.role
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
