package medialog

import (
	"fmt"
	"slices"
	"time"

	"github.com/framelog/framelog/schemas"
)

// This file is the contract of the log as decisions over records, without any
// input or output: which entry is void (judge), which entry of a seq counts
// (sequence), what a new writer settles (settle), which provisional chunks a
// reader shows (provisional). Writer, tail and store call it; the simulation
// in sim_test.go drives it through thousands of schedules.

// verdict is what a judge says of an entry.
type verdict int

const (
	valid verdict = iota
	void
	// unknown: an `open` may stand between the entry's prev and the first
	// record that the judge has seen; whoever asks must look there.
	unknown
)

// judge decides which entries of an index are void, fed with every record from
// some offset on, in order and without a hole.
type judge struct {
	start    int64 // first offset fed
	lastOpen int64 // newest `open` fed, -1 none
	fed      bool
}

// skip tells the judge of a record that is no entry (it could not be decoded).
func (j *judge) skip(offset int64) {
	if !j.fed {
		j.start, j.lastOpen, j.fed = offset, -1, true
	}
}

// feed judges the next record. An `open` is always valid.
func (j *judge) feed(e *schemas.Entry) verdict {
	j.skip(e.Offset)
	switch {
	case e.Kind == schemas.KindOpen:
		j.lastOpen = e.Offset
		return valid
	case e.Prev < 0 || e.Prev >= e.Offset:
		return void // no writer of ours makes such a record
	case e.Prev == e.Offset-1:
		return valid // its neighbour: nothing can stand between
	case j.lastOpen > e.Prev:
		return void
	case e.Prev+1 >= j.start:
		return valid // everything between was seen, and no `open` was there
	}
	return unknown
}

// sequence passes the first valid entry of each seq, in order.
type sequence struct {
	last uint64
	any  bool
}

func (s *sequence) pass(e *schemas.Entry) bool {
	if !e.Footage() || (s.any && e.Seq <= s.last) {
		return false
	}
	s.last, s.any = e.Seq, true
	return true
}

// chunkMeta is what settling needs to know of a chunk in the log.
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
	config    string // of chunk 0
	openGOP   bool   // of chunk 0
	start     int64  // public time of its first sample, microseconds
	media     int64
	mediaEnd  int64
	bytes     int64
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
	return m
}

// settle decides what becomes of the fragments that earlier writers left
// without an entry: it gives the entries (without Prev) that the writer of
// epoch own must write before its own first one. last is the newest valid
// entry, nil where there is none; chunks are all chunks in the log of seqs
// above it, each partition in order.
//
// Of a seq with several copies the one of the latest epoch counts, since that
// is the one that low-latency readers have shown. Along the seqs neither epoch,
// session nor media time may go back: chunks that a fenced writer went on writing beyond
// its successor's are nobody's footage, are not settled, and take no seq.
func settle(own int64, last *schemas.Entry, chunks []chunkMeta) []schemas.Entry {
	copies := map[uint64]copyOf{}
	type key struct {
		seq   uint64
		epoch int64
	}
	by := map[key]*copyOf{}
	for _, c := range chunks {
		if c.epoch >= own || (last != nil && c.seq <= last.Seq) || c.mediaEnd < c.media {
			continue // the last: a stranger's
		}
		k := key{c.seq, c.epoch}
		cp := by[k]
		if cp == nil {
			if c.index != 0 {
				continue // its beginning has expired or never came: not playable
			}
			cp = &copyOf{}
			by[k] = cp
		}
		cp.add(c)
	}
	for k, cp := range by {
		if have, ok := copies[k.seq]; !ok || cp.chunks[0].epoch > have.chunks[0].epoch {
			copies[k.seq] = *cp
		}
	}
	seqs := make([]uint64, 0, len(copies))
	for s := range copies {
		seqs = append(seqs, s)
	}
	slices.Sort(seqs)

	var out []schemas.Entry
	prev := last
	for _, s := range seqs {
		e := copies[s].entry()
		if prev != nil {
			if e.Epoch < prev.Epoch || e.Session < prev.Session || e.Media < prev.MediaEnd() ||
				e.Session-prev.Session > e.Seq-prev.Seq || e.Seq-prev.Seq > maxMissing {
				continue
			}
			if last == nil && e.Epoch != prev.Epoch && e.Seq != prev.Seq+1 {
				// Two writers found an empty index and seeded their numbers
				// apart: what the fenced one wrote was never safe.
				out = out[:0]
			}
			if len(out) > 0 || last != nil {
				out = append(out, missing(own, prev, &e)...)
			}
		}
		out = append(out, e)
		prev = &out[len(out)-1]
	}
	return out
}

// maxMissing is how far the seqs of two fragments may lie apart that are settled
// together. A writer that refused footage for hours is far below; what is above
// is a stranger's record.
const maxMissing = 100_000

// copyOf is one epoch's copy of a fragment: its chunks from index 0 on, as far
// as they follow each other in one partition.
type copyOf struct {
	chunks []chunkMeta
	bytes  int64
}

func (c *copyOf) add(m chunkMeta) {
	if n := len(c.chunks); n > 0 {
		l := c.chunks[n-1]
		if m.index != l.index+1 || m.partition != l.partition || l.last || m.mediaEnd < l.mediaEnd {
			return // a repetition, a hole behind which nothing is playable, or a stranger's
		}
	} else if m.index != 0 {
		return
	}
	c.chunks = append(c.chunks, m)
	c.bytes += m.bytes
}

func (c copyOf) entry() schemas.Entry {
	a, z := c.chunks[0], c.chunks[len(c.chunks)-1]
	e := schemas.Entry{
		Kind: schemas.KindTruncated, Reason: schemas.ReasonCrash,
		Seq: a.seq, Session: a.session, Config: a.config, OpenGOP: a.openGOP,
		Start: timeOf(a.start), Media: a.media, Duration: z.mediaEnd - a.media, Bytes: c.bytes,
		Epoch: a.epoch, Partition: a.partition, First: a.offset, Last: z.offset, Chunks: uint32(len(c.chunks)),
	}
	if z.last {
		e.Kind, e.Reason, e.Ended = schemas.KindWhole, "", z.ended
	}
	e.Layout = a.layout.Fit(e.Duration)
	return e
}

// missing is the gaps for the seqs between two entries, of which no chunk is
// in the log: their writer had refused or lost them and did not live to say
// so. They share what time lies between, each at most a target duration, and
// the sessions that began and ended there, so that sessions are dense too.
func missing(own int64, prev, next *schemas.Entry) []schemas.Entry {
	n := int64(next.Seq-prev.Seq) - 1
	if n <= 0 {
		return nil
	}
	total := min(next.Media-prev.MediaEnd(), n*int64(prev.Layout.Target)*schemas.MediaTimescale)
	out := make([]schemas.Entry, 0, n)
	for i := range n {
		from, to := total*i/n, total*(i+1)/n
		out = append(out, schemas.Entry{
			Kind: schemas.KindGap, Reason: schemas.ReasonCrash, Seq: prev.Seq + 1 + uint64(i),
			Session: uint64(max(int64(prev.Session), int64(next.Session)-(n-i))),
			Layout:  prev.Layout, Config: prev.Config, Epoch: max(prev.Epoch, min(next.Epoch, own)),
			Start: prev.End().Add(schemas.FromTicks(from)), Media: prev.MediaEnd() + from, Duration: to - from,
		})
	}
	return out
}

// provisional decides which chunks ahead of the index a reader shows: those of
// the latest epoch that it knows, fragment by fragment and chunk by chunk.
// What cannot be shown yet is held, up to limit bytes; what is dropped for
// that comes with its entry.
type provisional struct {
	limit int64
	empty bool // the index held no entry where the reader began: see begin

	epoch int64 // of the newest `open`
	seq   uint64
	index uint32 // the chunk to show next is seq.index
	any   bool   // seq is known

	held    map[heldKey]*schemas.Chunk
	bytes   int64
	dropped int // chunks given up for limit
}

type heldKey struct {
	epoch int64
	seq   uint64
	index uint32
}

// open takes a new writer's epoch; lastSeq is the newest entry's, where one is
// known; what was shown of unfinished fragments is
// void, and their seqs may come again.
func (p *provisional) open(epoch int64, lastSeq uint64, known bool) {
	p.epoch = epoch
	p.seq, p.index, p.any = lastSeq+1, 0, known
	p.sweep()
}

// begin looks for the fragment with which a reader of an index without entries
// may begin: the topic's first (Chunk.First).
func (p *provisional) begin() {
	if !p.empty {
		return
	}
	for k, c := range p.held {
		if k.epoch == p.epoch && c.First {
			p.seq, p.index, p.any = k.seq, 0, true
			p.sweep()
			return
		}
	}
}

// entry takes a seq's entry: chunks of it are of no interest any more. It tells
// the epoch too, where the `open` is out of a reader's sight: a writer may have
// settled any number of entries since.
func (p *provisional) entry(seq uint64, epoch int64) {
	p.epoch = max(p.epoch, epoch)
	if !p.any || seq >= p.seq {
		p.seq, p.index, p.any = seq+1, 0, true
	}
	p.sweep()
}

func (p *provisional) sweep() {
	for k, c := range p.held {
		if k.epoch < p.epoch || (p.any && k.epoch == p.epoch && k.seq < p.seq) {
			p.drop(k, c)
		}
	}
}

func (p *provisional) drop(k heldKey, c *schemas.Chunk) {
	delete(p.held, k)
	p.bytes -= int64(c.Size())
}

// chunk takes one as it comes from the log.
func (p *provisional) chunk(c *schemas.Chunk) {
	if c.Epoch < p.epoch || (p.any && c.Epoch == p.epoch && (c.Seq < p.seq || (c.Seq == p.seq && c.Index < p.index))) {
		return
	}
	k := heldKey{c.Epoch, c.Seq, c.Index}
	if _, twice := p.held[k]; twice {
		return
	}
	size := int64(c.Size())
	if p.bytes+size > p.limit {
		p.dropped++
		return
	}
	if p.held == nil {
		p.held = map[heldKey]*schemas.Chunk{}
	}
	p.held[k] = c
	p.bytes += size
}

// next gives the next chunk to show, nil while there is none.
func (p *provisional) next() *schemas.Chunk {
	if !p.any {
		// Chunks of several fragments may arrive in any order. The one that
		// says that it is the first tells where to begin, or an entry does.
		if p.begin(); !p.any {
			return nil
		}
	}
	k := heldKey{p.epoch, p.seq, p.index}
	c := p.held[k]
	if c == nil {
		return nil
	}
	p.drop(k, c)
	p.index++
	if c.Last {
		p.seq, p.index = p.seq+1, 0
	}
	return c
}

func timeOf(micros int64) time.Time { return time.UnixMicro(micros).UTC() }

// lastValid finds the newest valid entry that takes a seq among records of an
// index, which follow each other without a hole. openBetween answers an
// unknown verdict: whether an `open` stands after offset prev and before
// offset before, or prev has expired. sure is false where an older record
// could hold it: none is among these.
func lastValid(records []schemas.Entry, openBetween func(prev, before int64) bool) (last *schemas.Entry, sure bool) {
	var (
		j   judge
		seq sequence
	)
	for i := range records {
		e := &records[i]
		v := j.feed(e)
		if v == unknown && !openBetween(e.Prev, j.start) {
			v = valid
		}
		if v == valid && seq.pass(e) {
			last = e
		}
	}
	return last, last != nil
}

// selection picks the chunks of the copy that an entry names out of the
// records between its first and its last offset, where others may stand.
type selection struct{ next uint32 }

func (s *selection) take(e *schemas.Entry, c *schemas.Chunk) bool {
	if c.Seq != e.Seq || c.Epoch != e.Epoch || c.Writer != e.Writer || c.Index != s.next || s.next >= e.Chunks {
		return false
	}
	s.next++
	return true
}

func (s *selection) complete(e *schemas.Entry) error {
	if s.next != e.Chunks {
		return fmt.Errorf("medialog: fragment %d: %d chunks of %d are there", e.Seq, s.next, e.Chunks)
	}
	return nil
}
