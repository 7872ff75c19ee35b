package medialog

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/framelog/framelog/schemas"
)

// simProc is a process of the processor.
type simProc struct {
	s           *simFollow
	id          int
	concurrency int
	dead, hung  bool
	assigned    bool   // it believes that the camera is its own
	fenced      bool   // it opens only after the group has confirmed that the camera is its own
	killer      uint64 // the seq that has killed it; 0: none has

	core  *followCore // nil: it follows nothing
	src   *sim        // the topics that it knows
	out   *sim
	jobs  map[uint64]*simJob
	lanes [][]*simFollowRequest // to each media partition, in order
	entry *simFollowRequest

	// Its tail of the source's index.
	at      int64
	judge   schemas.Judge
	seq     sequence
	entries map[uint64]schemas.Entry // from the oldest unfinished one on
}

// simFollowRequest is a follower's request to append a chunk or an entry.
type simFollowRequest struct {
	simAppend
	a followAction
}

// simJob is the processor's work on one fragment.
type simJob struct {
	w         *followWork
	partition int // of the source
	used      uint32
	at        int64 // where it looks for the next chunk
}

func (p *simProc) state() string {
	if p.core == nil {
		return fmt.Sprintf("process %d follows nothing (assigned %v, fenced %v)", p.id, p.assigned, p.fenced)
	}
	return fmt.Sprintf("process %d is at %d (epoch %d, cause %q, writing %v, %d works)", p.id, p.core.next, p.core.epoch, p.core.cause(), p.core.writing, len(p.core.works))
}

func (p *simProc) step() error {
	s := p.s
	if err := p.arrive(); err != nil || p.dead {
		return err
	}
	if !s.calm && p.ends() {
		return nil
	}
	if p.hung {
		p.hung = !s.chance(0.02)
		return nil
	}
	switch { // that it has lost the camera it learns late
	case s.owner == p && s.chance(0.05):
		p.assigned = true
	case s.owner != p && s.chance(0.005):
		if p.assigned = false; p.core != nil && p.core.alone == isAlone {
			p.leave()
		}
	}
	if p.core == nil {
		p.follow()
		return nil
	}
	if (p.src != s.src || p.out != s.out) && s.chance(0.1) { // its topics are deleted
		p.stop()
		return nil
	}
	if err := p.answers(); err != nil || p.core == nil {
		return err
	}
	p.read()
	if err := p.work(); err != nil || p.dead {
		return err
	}
	if err := p.bounds(); err != nil {
		return err
	}
	p.act()
	return nil
}

func (p *simProc) stop() { p.core, p.entry, p.lanes = nil, nil, nil }

// isFenced: another follower has opened the rendition.
func (p *simProc) isFenced() {
	p.stop()
	p.fenced = true
	p.s.stats.Fenced++
}

// follow begins to follow, as Log.Follow does.
func (p *simProc) follow() {
	s := p.s
	if p.fenced && s.chance(0.1) {
		p.fenced = s.owner != p // the group confirms, or does not
	}
	if !p.assigned || p.fenced || (p.entry != nil && !p.entry.applied && p.out == s.out) {
		return
	}
	c := checkpointOf(s.out, s.out.index.end())
	var seq uint64
	if c.last != nil {
		seq = c.last.Seq
	}
	switch resumptionOf(c.last, s.sourceState(seq)) {
	case waits:
		return
	case beginsAnew:
		s.stats.Anew++
		s.events++
		s.newOutput()
		c = checkpoint{}
	case goesOn:
	}
	identity := schemas.Entry{Writer: fmt.Sprint(p.id), Processor: "copy", Role: schemas.RoleVariant}
	p.core = newFollowCore(identity, s.src.life, p.concurrency, int64(60+s.rng.IntN(200)), int64(40+s.rng.IntN(200)))
	p.core.partitions = int32(len(s.out.media))
	p.src, p.out, p.jobs, p.lanes, p.entry = s.src, s.out, map[uint64]*simJob{}, make([][]*simFollowRequest, len(s.out.media)), nil
	p.tail()
	if p.core.resume(c) != nil {
		p.stop()
	}
}

// tail begins to read the source's index.
func (p *simProc) tail() {
	p.at, p.judge, p.seq, p.entries = p.src.index.start, schemas.Judge{}, sequence{}, map[uint64]schemas.Entry{}
}

// read reads some records of the source's index.
func (p *simProc) read() {
	if p.at < p.src.index.start { // retention was faster
		p.tail()
	}
	for range p.s.rng.IntN(4) {
		if p.at >= p.src.index.end() {
			return
		}
		e := p.src.index.records[p.at]
		p.at++
		if !p.src.isValid(&p.judge, &e) {
			continue
		}
		for one := range e.Expand() {
			if p.seq.pass(&one) && one.Seq >= p.core.next && p.s.wants(one.Seq) {
				p.entries[one.Seq] = one
			}
		}
	}
}

// work does some of the processor's work on the fragments that it may work on now.
func (p *simProc) work() error {
	c := p.core
	for seq := range p.entries {
		if seq < c.next {
			delete(p.entries, seq)
		}
	}
	if err := p.jump(); err != nil || c.next == 0 {
		return err
	}
	for seq, j := range p.jobs {
		if seq < c.next {
			p.ended(seq, j)
		}
	}
	for seq := c.next; seq < c.next+uint64(c.ahead); seq++ {
		if j := p.jobs[seq]; j != nil {
			if err := p.progress(seq, j); err != nil || p.dead {
				return err
			}
		}
	}
	if wait, err := p.awaitAlone(); wait || err != nil {
		return err
	}
	for seq := c.next; c.room(seq); seq++ {
		w := p.covering(seq)
		if w == nil && p.s.wants(seq) && p.s.chance(0.5) {
			var err error
			if w, err = p.begin(seq); err != nil {
				return err
			}
		}
		if w == nil && p.s.chance(0.5) {
			return nil
		}
		if w != nil {
			seq = max(seq, w.lastSeq())
		}
	}
	return nil
}

func (p *simProc) covering(seq uint64) *followWork {
	for _, w := range p.core.works {
		if w.seq <= seq && seq <= w.lastSeq() {
			return w
		}
	}
	return nil
}

// jump: an output without entries begins anywhere; where the source has no entry of the
// next seq any more, the output has a hole.
func (p *simProc) jump() error {
	c := p.core
	if len(p.entries) == 0 || c.writing != nil {
		return nil
	}
	if _, have := p.entries[c.next]; have || (c.next == 0 && !p.s.chance(0.3)) {
		return nil
	}
	seqs := slices.Sorted(maps.Keys(p.entries))
	to := seqs[0]
	if c.next == 0 && !p.s.calm {
		to = seqs[p.s.rng.IntN(len(seqs))]
	}
	p.s.events++
	return c.jump(to)
}

// begin begins the work on a seq, or gives it a gap.
func (p *simProc) begin(seq uint64) (*followWork, error) {
	c, s := p.core, p.s
	e, have := p.entries[seq]
	tooOften := c.tries[seq].failures >= simAttempts
	switch {
	case !have && (tooOften || !s.wants(c.next)):
		return nil, nil // its entry will come
	case !have:
		return p.beginEarly(seq)
	case e.Kind == schemas.KindGap:
		return c.addGaps("", p.consecutive(seq, func(e schemas.Entry) bool { return e.Kind == schemas.KindGap }))
	case tooOften:
		return c.addGaps(schemas.ReasonDeadLetter, []schemas.Entry{e})
	case s.chance(0.01):
		return c.addGaps(schemas.ReasonSkipped, p.consecutive(seq, func(schemas.Entry) bool { return true }))
	case e.First < p.src.media[e.Partition].start:
		return c.addGaps(schemas.ReasonExpired, []schemas.Entry{e})
	}
	return p.beginCopy(int(e.Partition), e.First, p.src.media[e.Partition].records[e.First])
}

// consecutive returns entries from seq on that are like f, no work is on, and no seq is
// missing between.
func (p *simProc) consecutive(seq uint64, like func(schemas.Entry) bool) (out []schemas.Entry) {
	for n := 1 + p.s.rng.IntN(20); n > 0; n-- {
		e, ok := p.entries[seq]
		if !ok || !like(e) || p.covering(seq) != nil {
			break
		}
		out = append(out, e)
		seq++
	}
	return out
}

// beginEarly begins with a provisional chunk, of any epoch.
func (p *simProc) beginEarly(seq uint64) (*followWork, error) {
	for n := range p.src.media {
		l := &p.src.media[n]
		for o := max(l.start, l.end()-40); o < l.end(); o++ {
			if c := l.records[o]; c.Seq == seq && c.Index == 0 && p.s.chance(0.5) {
				p.s.stats.Early++
				return p.beginCopy(n, o, c)
			}
		}
	}
	return nil, nil
}

func (p *simProc) beginCopy(partition int, at int64, first *schemas.Chunk) (*followWork, error) {
	w, err := p.core.begin(first)
	if err != nil {
		return nil, err
	}
	p.jobs[w.seq] = &simJob{w: w, partition: partition, at: at}
	return w, nil
}

// progress does some of the work on one fragment.
func (p *simProc) progress(seq uint64, j *simJob) error {
	c, s := p.core, p.s
	switch {
	case j.w.ended():
		p.ended(seq, j)
		return nil
	case len(j.w.sources) > 0, c.epoch < 0:
		return nil
	case s.kills(seq) && j.used > 0:
		return p.dies(seq)
	case !s.calm && s.chance(s.fail), s.poisoned(seq) && j.used > 0:
		s.stats.Failures++
		s.failed[seq]++
		s.events++
		c.fail(j.w, errSim)
		return nil
	case !s.calm && s.chance(s.drop):
		s.events++
		c.drop(j.w, errSim)
		return nil
	}
	if e, ok := p.entries[seq]; ok && (e.Kind == schemas.KindGap || e.Epoch != j.w.source || j.used >= e.Chunks) {
		switch err := c.commit(j.w, e, output{used: j.used, filtered: s.filters(seq), note: fmt.Sprint(seq)}); {
		case errors.Is(err, ErrSourceChanged):
			s.stats.Changed++
			s.events++
		case err != nil && !errors.Is(err, ErrNewLife):
			return err
		}
		return nil
	}
	l := &p.src.media[j.partition]
	if j.at < l.start {
		s.events++
		c.drop(j.w, errSim) // it has expired meanwhile
		return nil
	}
	for ; j.at < l.end(); j.at++ {
		if x := l.records[j.at]; x.Seq == seq && x.Epoch == j.w.source && x.Index == j.used {
			break
		}
	}
	if j.at == l.end() {
		return nil
	}
	d := derive(l.records[j.at])
	if !s.filters(seq) {
		if !c.fits(j.w, int64(d.Size())) {
			return nil
		}
		if err := c.write(j.w, d); err != nil {
			return err
		}
		if seq != c.next {
			s.stats.Waited++
		}
	}
	j.used++
	return nil
}

// ended removes a job that has ended.
func (p *simProc) ended(seq uint64, j *simJob) {
	delete(p.jobs, seq)
	switch s := p.s; {
	case errors.Is(j.w.err, ErrDone):
		s.stats.Done++
	case errors.Is(j.w.err, ErrRefused):
		s.stats.Refused++
		s.failed[seq]++
		s.events++
	}
}

// act begins the requests that the core wants.
func (p *simProc) act() {
	for {
		a, ok := p.core.action()
		if !ok {
			return
		}
		r := &simFollowRequest{a: a}
		switch {
		case a.chunk != nil:
			r.refused = !p.s.calm && p.s.chance(0.002)
			p.lanes[a.work.partition] = append(p.lanes[a.work.partition], r)
			continue
		case a.entry.Kind != schemas.KindOpen:
		case !p.assigned: // it may not open
			p.core.writing = nil
			p.leave()
			return
		case p.core.epoch >= 0 && p.out.opensIn(p.core.prev, p.out.index.end()):
			p.isFenced()
			return
		}
		p.entry = r
		return
	}
}

// arrive makes requests arrive at the topics, those of a crashed process too. Requests
// to a topic that was deleted never arrive.
func (p *simProc) arrive() error {
	s := p.s
	if p.out != s.out {
		return nil
	}
	for n := range p.lanes {
		for _, r := range p.lanes[n] {
			if !p.out.appendChunk(&r.simAppend, n, r.a.chunk) {
				break
			}
		}
	}
	if r := p.entry; r != nil && !r.applied && s.chance(0.3) {
		r.offset, r.applied = p.out.appendEntry(*r.a.entry), true
		if r.a.entry.Kind != schemas.KindOpen && s.chance(0.01) {
			p.out.appendEntry(*r.a.entry)
		}
		return p.applied(r.a.entry, r.offset)
	}
	return nil
}

// answers takes some of the answers that have come.
func (p *simProc) answers() error {
	s, c := p.s, p.core
	for n := range p.lanes {
		lane := p.lanes[n]
		if len(lane) == 0 || (!lane[0].applied && !lane[0].refused) || !s.chance(0.5) {
			continue
		}
		failure := ""
		if lane[0].refused {
			failure = schemas.ReasonTooLarge
		}
		c.resolved(lane[0].a, lane[0].offset, failure)
		p.lanes[n] = lane[1:]
	}
	r := p.entry
	if r == nil || !r.applied || !s.chance(0.4) {
		return nil
	}
	p.entry = nil
	switch {
	case r.a.entry.Kind == schemas.KindOpen && c.epoch < 0:
		c.opened(r.offset)
		if err := c.resume(checkpointOf(p.out, r.offset)); err != nil {
			if errors.Is(err, errMeanwhile) {
				s.stats.Meanwhile++
			}
			p.stop()
		}
	case p.out.opensIn(c.prev, r.offset):
		p.isFenced()
	case r.a.entry.Kind == schemas.KindOpen:
		c.opened(r.offset)
	default:
		c.committed(r.a.work, r.offset)
	}
	return nil
}
