package medialog

import (
	"time"

	"github.com/framelog/framelog/schemas"
)

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
