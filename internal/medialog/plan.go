package medialog

import (
	"cmp"
	"slices"
	"time"

	"github.com/framelog/framelog/schemas"
)

// resume is where a new writer goes on.
type resume struct {
	// from is not 0 if the index has no entry: the first seq that the new writer gives an
	// entry. The writer must declare it in an `open` (Entry.From).
	from      uint64
	life      string // "": a new one
	seq       uint64 // its own first
	session   uint64 // the last one so far
	layout    schemas.Layout
	config    string
	mediaEnd  int64     // media time never goes back behind it
	publicEnd time.Time // of the newest entry; zero: there is none
	recorded  time.Time // the same without gaps for absence
	unit      *place    // where its first access unit stands; nil: it is not known
}

// plan is what a new writer does.
type plan struct {
	settled []schemas.Entry // these entries first
	resume  resume
}

// plan decides what the writer of the epoch own does. stood is where the camera's
// numbers stood, as far as it is remembered. It counts only if the index has no entry.
// now is Unix time in seconds.
//
// A writer goes on behind the last seq that it settles. So seqs stay dense, also if
// chunks of higher seqs exist that nobody can play, since their chunk 0 has expired or
// never came. Their seqs are used anew, under another epoch.
//
// If the index has no entry and none is settled, there is no seq to go on behind. The
// writer then goes on above all that is remembered and above all seqs of which a chunk
// exists, and not below now. No camera's seqs overtake now, so the writer repeats no seq
// of entries that have expired. Sessions of a new camera begin at 1, since players keep
// an array as long as the discontinuity sequence.
func (p past) plan(own int64, stood schemas.Standing, now uint64) plan {
	all := p.chunks
	if p.entry == nil {
		p.chunks = fromWhole(p.chunks, p.cut)
	}
	settled, unit := settle(own, p)
	switch n := len(settled); {
	case p.redo:
		settled, unit = nil, nil
	case p.entry == nil && n > 0 && settled[n-1].Seq < stood.Seq:
		settled, unit = nil, nil // what was recorded after these has expired
	}
	life := p.life
	if p.entry == nil {
		life = cmp.Or(life, stood.Life)
	}
	x := p.indexEnd
	for i := range settled {
		x.take(&settled[i])
	}
	if x.entry == nil {
		r := above(all, stood, max(now, p.from))
		r.life, r.from = life, r.seq
		return plan{resume: r}
	}
	last := x.entry
	r := resume{
		life: life, seq: last.LastSeq() + 1, session: last.Session, layout: last.Layout, config: last.Config,
		mediaEnd: last.MediaEnd(), publicEnd: last.End(), recorded: x.recorded, unit: unit,
	}
	if p.entry == nil {
		r.from = settled[0].Seq
	}
	return plan{settled, r}
}

// first returns the seq of the first entry that the writer writes.
func (p *plan) first() uint64 {
	if len(p.settled) > 0 {
		return p.settled[0].Seq
	}
	return p.resume.seq
}

// above lets the writer go on above an archived entry, if that has a seq that the writer would
// write: the log has lost its end. The writer settles nothing, since the archive may have it
// whole. The hole is declared.
func (p plan) above(archived *schemas.Entry, now uint64) plan {
	r := &p.resume
	if archived.Life != r.life || archived.LastSeq() < p.first() {
		return p
	}
	stood := schemas.Standing{
		Life: r.life, Seq: archived.LastSeq(), Session: max(r.session, archived.Session), Media: max(r.mediaEnd, archived.MediaEnd()), Layout: r.layout,
	}
	if archived.Layout.ID > r.layout.ID {
		stood.Layout = archived.Layout
	}
	up := above(nil, stood, now)
	up.life, up.from, up.publicEnd, up.recorded = r.life, up.seq, archived.End(), archived.End()
	return plan{resume: up}
}

// above returns a place above all chunks, where the numbers stood, and seq.
func above(chunks []chunkMeta, stood schemas.Standing, seq uint64) resume {
	r := resume{seq: seq, session: stood.Session, mediaEnd: stood.Media, layout: stood.Layout}
	if stood.Life != "" {
		r.seq = max(r.seq, stood.Seq+1)
	}
	for i := range chunks {
		c := &chunks[i]
		r.seq, r.session, r.mediaEnd = max(r.seq, c.seq+1), max(r.session, c.session), max(r.mediaEnd, c.mediaEnd)
		if c.layout.ID >= r.layout.ID {
			r.layout = c.layout
		}
	}
	if r.layout != (schemas.Layout{}) {
		// Later fragments may have outgrown this layout, step by step.
		r.layout.ID += uint32(len(schemas.TargetLadder))
		r.layout.Target = schemas.TargetLadder[0]
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
