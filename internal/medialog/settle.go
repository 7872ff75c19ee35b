package medialog

import (
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
	first     bool // of chunk 0: the index begins with this fragment (schemas.Chunk.First)
	last      bool
	ended     bool
	layout    schemas.Layout
	config    string // of chunk 0
	openGOP   bool   // of chunk 0
	start     int64  // public time of its first sample, microseconds
	media     int64  // media time of its first sample, ticks
	mediaEnd  int64  // media time at which its last sample ends, ticks
	bytes     int64  // of samples
}

func metaOf(c *schemas.Chunk, partition int32, offset int64) chunkMeta {
	m := chunkMeta{
		partition: partition, offset: offset, epoch: c.Epoch, session: c.Session, seq: c.Seq, index: c.Index,
		last: c.Last, ended: c.Last && c.Ended, layout: c.Layout, start: c.Start.UnixMicro(),
		media: c.MediaStart(), mediaEnd: c.MediaEnd(), bytes: int64(c.Size()),
	}
	if c.Index == 0 {
		m.config, m.openGOP, m.first = schemas.ConfigHash(c.Tracks), c.OpenGOP, c.First
	}
	return m
}

// settle decides which entries the fragments get that earlier writers left without
// one. It returns the entries (without Prev) that the writer of the epoch own must
// write before its own first one. last is the newest valid entry, nil if there is
// none. chunks are the chunks of seqs above it, each partition in order.
//
// If a seq has several copies, the one of the latest epoch counts: low-latency
// readers have shown that one. Epoch, session and media time never go back from one
// seq to the next. A fenced writer may have written chunks beyond those of its
// successor. They are not settled, and take no seq.
func settle(own int64, last *schemas.Entry, chunks []chunkMeta) []schemas.Entry {
	copies := map[uint64]copyOf{}
	type key struct {
		seq   uint64
		epoch int64
	}
	by := map[key]*copyOf{}
	for _, c := range chunks {
		if c.epoch >= own || (last != nil && c.seq <= last.Seq) || c.mediaEnd < c.media {
			continue // the last case: no correct writer makes such a chunk
		}
		k := key{c.seq, c.epoch}
		cp := by[k]
		if cp == nil {
			if c.index != 0 {
				continue // its beginning has expired or never came, so it cannot be played
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
			if e.Layout.ID < prev.Layout.ID {
				// The one before outgrew its layout after this one was begun.
				e.Layout = prev.Layout.Next(e.Layout).Fit(e.Duration)
			}
			if e.Epoch < prev.Epoch || e.Session < prev.Session || e.Media < prev.MediaEnd() ||
				e.Session-prev.Session > e.Seq-prev.Seq || e.Seq-prev.Seq > maxMissing {
				continue
			}
			if last == nil && (copies[s].chunks[0].first || (e.Epoch != prev.Epoch && e.Seq != prev.Seq+1)) {
				// Two writers found an index without entries, and each began with
				// numbers of its own. What the first one wrote was never safe, or
				// its index is gone.
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

// maxMissing is the largest number of seqs between two fragments that are settled
// together. A writer that refused footage for hours left far fewer out. Beyond it
// no correct writer has made the record.
const maxMissing = 100_000

// copyOf is one epoch's copy of a fragment: its chunks from index 0 on, as long as
// each follows the one before in one partition.
type copyOf struct {
	chunks []chunkMeta
	bytes  int64
}

func (c *copyOf) add(m chunkMeta) {
	if n := len(c.chunks); n > 0 {
		l := c.chunks[n-1]
		if m.index != l.index+1 || m.partition != l.partition || l.last || m.mediaEnd < l.mediaEnd {
			return // a repetition, a chunk behind a hole, or no chunk of a correct writer
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
		Start: time.UnixMicro(a.start).UTC(), Media: a.media, Duration: z.mediaEnd - a.media, Bytes: c.bytes,
		Epoch: a.epoch, Partition: a.partition, First: a.offset, Last: z.offset, Chunks: uint32(len(c.chunks)),
	}
	if z.last {
		e.Kind, e.Reason, e.Ended = schemas.KindWhole, "", z.ended
	}
	e.Layout = a.layout.Fit(e.Duration)
	return e
}

// missing returns the gaps for the seqs between two entries of which the log has no
// chunk. Their writer refused or lost them, and crashed before it wrote their gaps.
// They share the time between the two, at most a target duration each, and the
// sessions that began and ended there, so that sessions are dense too.
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

// resume is where a new writer goes on.
type resume struct {
	seq       uint64 // its first
	session   uint64 // the last one so far
	layout    schemas.Layout
	config    string
	mediaEnd  int64     // media time never goes back behind it
	publicEnd time.Time // of the newest entry; zero: there is none
	noEntry   bool      // no entry has a lower seq
}

// resumeAt decides where a new writer goes on: after the newest entry, which is the
// last one that it settles, else last. If the index has none, the writer goes on
// above all chunks that were found, and with a seq of at least seed. If there is no
// chunk either, the camera is new, and its first session is 1. Players keep an array
// as long as the discontinuity sequence, so sessions do not begin at seed.
func resumeAt(last *schemas.Entry, settled []schemas.Entry, chunks []chunkMeta, seed uint64) resume {
	if n := len(settled); n > 0 {
		last = &settled[n-1]
	}
	if last != nil {
		return resume{
			seq: last.Seq + 1, session: last.Session, layout: last.Layout, config: last.Config,
			mediaEnd: last.MediaEnd(), publicEnd: last.End(),
		}
	}
	r := resume{seq: seed, noEntry: true}
	for _, c := range chunks {
		r.seq, r.session, r.mediaEnd = max(r.seq, c.seq+1), max(r.session, c.session), max(r.mediaEnd, c.mediaEnd)
		if c.layout.ID >= r.layout.ID {
			r.layout = c.layout
		}
	}
	return r
}

// fromWhole returns the chunks of complete fragments if only the end of some
// partitions was read (cut). These are the fragments above the first chunk that
// was read of each such partition.
func fromWhole(chunks []chunkMeta, cut map[int32]bool) []chunkMeta {
	from, seen := uint64(0), map[int32]bool{}
	for _, c := range chunks {
		if !cut[c.partition] || seen[c.partition] {
			continue
		}
		seen[c.partition] = true
		if c.index > 0 {
			c.seq++
		}
		from = max(from, c.seq)
	}
	return slices.DeleteFunc(slices.Clone(chunks), func(c chunkMeta) bool { return c.seq < from })
}
