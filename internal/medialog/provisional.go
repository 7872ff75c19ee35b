package medialog

import (
	"math"

	"github.com/framelog/framelog/schemas"
)

// provisional decides which chunks ahead of the index a reader shows: those of the
// latest epoch that it knows, fragment by fragment and chunk by chunk. It holds
// chunks whose turn has not come, up to limit bytes, and drops those beyond that:
// the reader gets them with their entry.
type provisional struct {
	limit int64
	epoch int64  // of the newest `open`
	seq   uint64 // the chunk to show next is index of seq
	index uint32
	any   bool   // seq is known
	entry uint64 // seq of the newest entry; 0: none is known

	held    map[heldKey]*schemas.Chunk
	bytes   int64
	dropped int // chunks that were dropped for limit
}

type heldKey struct {
	epoch int64
	seq   uint64
	index uint32
}

// opened takes the `open` of a new writer. lastSeq is the newest entry's, if one is
// known. Chunks of unfinished fragments that were shown are void, and their seqs may
// come again. A writer that does not go on behind the newest entry tells where it
// begins (Entry.From). So a reader may begin there before there is any entry.
func (p *provisional) opened(open *schemas.Entry, lastSeq uint64, known bool) {
	p.epoch = open.Offset
	if known {
		p.entry = lastSeq
	}
	p.seq, p.index, p.any = lastSeq+1, 0, known
	if open.From > lastSeq {
		p.seq, p.any = open.From, true
	}
	p.sweep()
}

// committed takes the entry of a seq: chunks up to it are not shown any more. The
// entry tells the epoch too. The reader may not have seen the `open`: the writer may
// have settled any number of entries since.
func (p *provisional) committed(seq uint64, epoch int64) {
	p.epoch, p.entry = max(p.epoch, epoch), max(p.entry, seq)
	if !p.any || seq >= p.seq {
		p.seq, p.index, p.any = seq+1, 0, true
	}
	p.sweep()
}

// giveWay drops the chunks of fragments that a writer of the epoch later, or of one after it, has
// begun too.
func (p *provisional) giveWay(later int64) {
	from := uint64(math.MaxUint64)
	for k := range p.held {
		if k.epoch >= later {
			from = min(from, k.seq)
		}
	}
	for k, c := range p.held {
		if k.epoch < later && k.seq >= from {
			p.drop(k, c)
		}
	}
}

// sweep drops the chunks that are never shown.
func (p *provisional) sweep() {
	for k, c := range p.held {
		if p.past(k) {
			p.drop(k, c)
		}
	}
}

// past reports whether a chunk is never shown: it is of an earlier epoch, has its
// entry, or stands before the chunk to show next.
func (p *provisional) past(k heldKey) bool {
	if k.epoch < p.epoch || k.seq <= p.entry {
		return true
	}
	return p.any && k.epoch == p.epoch && (k.seq < p.seq || (k.seq == p.seq && k.index < p.index))
}

func (p *provisional) drop(k heldKey, c *schemas.Chunk) {
	delete(p.held, k)
	p.bytes -= int64(c.Size())
}

// chunk takes the next chunk that the log delivers.
func (p *provisional) chunk(c *schemas.Chunk) {
	k := heldKey{c.Epoch, c.Seq, c.Index}
	if _, twice := p.held[k]; twice || p.past(k) {
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

// next returns the next chunk to show, nil if there is none yet.
func (p *provisional) next() *schemas.Chunk {
	if !p.any {
		return nil // an entry tells where to begin, or an `open`
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
