package archive

import (
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
)

// manyGaps is how many gaps stand for footage that has expired, before longer ones do.
const manyGaps = 20_000

// gaps are n gaps that follow each other. They stand for footage that has expired between two
// entries. If it is very long, they are longer than the fragments were, and do not take all of
// their seqs. They end early if the seqs do not suffice for gaps of the longest target: then most of
// that time was an absence, which has no seqs. The zero value is none.
type gaps struct {
	first schemas.Entry
	n     int64
	total int64 // their durations, in ticks
}

// none are no gaps. Most entries have none before them.
var none gaps

// lost returns the gaps between an entry and the next one there is. If the numbers have only
// jumped, no footage is missing.
func lost(before, next *schemas.Entry) *gaps {
	if next.Seq <= before.LastSeq()+1 {
		return &none
	}
	total := next.Media - before.MediaEnd() - next.Absent
	if total <= 0 {
		return &none
	}
	g := &gaps{total: total, first: schemas.Entry{
		Offset: before.Offset, Kind: schemas.KindGap, Life: before.Life, Seq: before.LastSeq() + 1, Session: before.Session, Layout: before.Layout,
		Start: before.End(), Media: before.MediaEnd(), Reason: schemas.ReasonExpired, Role: before.Role,
	}}
	seqs := int64(min(next.Seq-g.first.Seq, 1<<40))
	layout, fit := &g.first.Layout, false
	for _, target := range schemas.TargetLadder {
		if target < layout.Target {
			continue
		}
		layout.Target = target
		// A playlist may list no segment that is longer than its target duration.
		fit = layout.Fit((total+seqs-1)/seqs) == *layout
		if long := int64(target) * schemas.MediaTimescale; fit && total/long < manyGaps {
			break
		}
	}
	long := max(1, int64(layout.Target)*schemas.MediaTimescale)
	if !fit {
		g.total = min(total, long*seqs)
	}
	g.n = min((g.total+long-1)/long, seqs)
	return g
}

// at returns gap i.
func (g *gaps) at(i int64) schemas.Entry {
	e := g.first
	from, to := g.begins(i), g.begins(i+1)
	e.Seq, e.Media, e.Duration, e.Start = e.Seq+uint64(i), e.Media+from, to-from, e.Start.Add(schemas.FromTicks(from))
	return e
}

// begins is how many ticks gap i begins behind the first one.
func (g *gaps) begins(i int64) int64 { return g.total/g.n*i + min(i, g.total%g.n) }

// in yields those of a range, and reports whether to go on.
func (g *gaps) in(r medialog.Range, yield func(schemas.Entry, error) bool) bool {
	i := int64(0)
	if ahead := schemas.Ticks(r.From.Sub(g.first.Start)); g.n > 0 && !r.From.IsZero() && ahead > 0 {
		i = max(0, ahead/(g.total/g.n+1)-1)
	}
	for ; i < g.n; i++ {
		e := g.at(i)
		switch {
		case r.Has(&e):
			if !yield(e, nil) {
				return false
			}
		case r.Passed(&e), !r.To.IsZero() && !e.Start.Before(r.To):
			return true
		}
	}
	return true
}
