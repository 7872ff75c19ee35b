package medialog

import (
	"errors"
	"fmt"
	"time"

	"github.com/framelog/framelog/schemas"
)

// A rendition is written by a follower. It gives each seq of its source one entry, in
// order. follow.go and follow_entry.go decide what it writes, without input or output.
// Follower (follower.go) and the simulation drive them.

// Errors of a Follower, beside ErrFenced and ErrRefused.
var (
	// ErrDone: the fragment has its entry already, or lies in a hole: it is before Next.
	ErrDone = errors.New("medialog: the fragment is done already")
	// ErrSourceChanged: the source's entry names another copy, or fewer chunks, than
	// the work has used. What was written is void. Begin again with the copy that the
	// entry names.
	ErrSourceChanged = errors.New("medialog: the source names another copy of the fragment")
	// ErrNewLife: the source's footage was deleted and has begun anew. Follow again.
	ErrNewLife = errors.New("medialog: the source has begun anew")
	// ErrOtherProcessor: another processor writes this rendition.
	ErrOtherProcessor = errors.New("medialog: another processor writes this rendition")
)

// Causes of a follower's `open`s, in Entry.Reason.
const (
	CauseStart   = "start"          // its first one
	CauseFailure = "failure"        // the work on Seq has failed
	CauseSource  = "source-changed" // the source's entry names another copy of Seq than was worked on
	CauseDropped = "dropped"        // the work on Seq was given up, without a failure
	CauseHole    = "hole"           // the seq before From has no entry, and gets none
	CauseAlone   = "alone"          // this process works on nothing but Seq until that has ended
)

// followCore is a follower without Kafka. It has no lock.
//
// Its caller does what action returns, and reports the answers. Only the oldest
// unfinished seq (next) gets chunks into the log, and only once under one epoch: if its
// work has sent chunks and ends without an entry, an `open` comes before the next work
// (spent). So (seq, epoch, index) names one string of bytes for ever.
type followCore struct {
	identity   schemas.Entry // Writer, Host, Processor and Role of its records
	ahead      int           // seqs that may be worked on: next and those behind it
	aheadBytes int64         // of chunks that wait to be sent; one chunk more if next has none
	budget     int64         // bytes that wait for their acknowledgement; at least one chunk
	partitions int32         // of the media topic

	life   string         // the source's
	epoch  int64          // offset of its newest `open`; -1: there is none yet
	prev   int64          // offset of its newest record in the index
	last   *schemas.Entry // the newest valid entry; nil: there is none
	next   uint64         // the oldest unfinished seq; 0: not known, jump tells it
	hole   bool           // an `open` with From = next has to come first
	spent  string         // the cause of the `open` that has to come first; "": none
	tries  map[uint64]tries
	told   uint32           // failures of next that stand in the index
	found  map[uint64]tries // what the index told at the newest resume
	killed uint64           // until the first `open`, which makes it so: the seq of which resume has counted a failure for a process that ended alone; 0: none
	alone  aloneness

	works   map[uint64]*followWork // by seq; those of addGaps by their first
	held    int64                  // bytes of chunks that wait to be sent
	sent    int64                  // bytes of chunks that wait for their acknowledgement
	writing *schemas.Entry         // the `open` or entry that is on its way
}

// followWork is one attempt at a seq of the source, or gaps for several seqs.
type followWork struct {
	seq      uint64
	session  uint64
	source   int64          // epoch of the source's chunks that it uses
	layout   schemas.Layout // of its chunks
	config   string
	openGOP  bool
	captured time.Time // timestamp of its chunks

	queue      []*schemas.Chunk // not sent yet
	chunks     []chunkState     // sent
	index      uint32           // of the next chunk
	mediaEnd   int64
	partition  int32
	unresolved int // chunks that Kafka has neither taken nor refused yet

	sources []schemas.Entry // what it gets entries for; none: that is not known yet
	gap     string          // the gaps' reason, "" in sources that are gaps: theirs
	output  bool            // the entry names its chunks
	note    string

	entry schemas.Entry // its newest entry
	done  bool          // all its entries are written
	err   error         // why it ended without that
}

func (w *followWork) ended() bool { return w.done || w.err != nil }

func newFollowCore(identity schemas.Entry, life string, ahead int, aheadBytes, budget int64) *followCore {
	return &followCore{
		identity: identity, life: life, ahead: ahead, aheadBytes: aheadBytes, budget: budget,
		epoch: -1, prev: -1, tries: map[uint64]tries{}, works: map[uint64]*followWork{},
	}
}

// jump makes seq the next one, although the seq before has no entry: the output has
// none yet, or the source's index has lost what comes between. Works on seqs before it
// end. No record may be on its way.
func (f *followCore) jump(seq uint64) error {
	if seq < f.next {
		return ErrDone
	}
	if seq > f.next {
		f.goOn(seq)
		f.hole = true
	}
	return nil
}

// goOn makes seq the next one. Works on seqs before it end.
func (f *followCore) goOn(seq uint64) {
	f.next, f.hole, f.spent, f.told, f.alone = seq, false, "", 0, notAlone
	for s, w := range f.works {
		if s < seq {
			f.end(w, ErrDone)
		}
	}
	for s := range f.tries {
		if s < seq {
			delete(f.tries, s)
		}
	}
}

// room reports whether the work on seq may begin now. Works may begin in any order.
func (f *followCore) room(seq uint64) bool {
	if f.alone != notAlone || f.tries[f.next].starts >= MaxStarts {
		return seq <= f.next
	}
	return seq < f.next+uint64(f.ahead)
}

// begin begins the work on a seq. first is chunk 0 of the source's copy.
func (f *followCore) begin(first *schemas.Chunk) (*followWork, error) {
	w := &followWork{
		seq: first.Seq, session: first.Session, source: first.Epoch, layout: first.Layout, captured: first.Captured,
	}
	if w.captured.IsZero() {
		w.captured = first.Start
	}
	return w, f.add(w, first.Seq)
}

// addGaps begins and commits the work on seqs that follow each other, and get no output.
// reason is that of the gaps; "": the sources are gaps themselves, and theirs counts.
func (f *followCore) addGaps(reason string, sources []schemas.Entry) (*followWork, error) {
	for i := range sources {
		switch s := &sources[i]; {
		case s.Life != f.life:
			return nil, ErrNewLife
		case !s.Footage(), reason == "" && s.Kind != schemas.KindGap:
			return nil, fmt.Errorf("medialog: gap for %s %d: it has no reason", s.Kind, s.Seq)
		case s.Run != nil, i > 0 && s.Seq != sources[i-1].Seq+1:
			return nil, fmt.Errorf("medialog: gaps of %d seqs from %d on: %d is not the next one", len(sources), sources[0].Seq, s.Seq)
		}
	}
	w := &followWork{seq: sources[0].Seq, captured: sources[0].Start, sources: sources, gap: reason}
	return w, f.add(w, sources[len(sources)-1].Seq)
}

func (f *followCore) add(w *followWork, lastSeq uint64) error {
	switch {
	case f.next == 0:
		return fmt.Errorf("medialog: begin with %d: the output has no entry, and Jump has not told where it begins", w.seq)
	case w.seq < f.next:
		return ErrDone
	}
	for s, other := range f.works {
		if s <= lastSeq && other.lastSeq() >= w.seq {
			return fmt.Errorf("medialog: begin with %d: the work on it goes on", w.seq)
		}
	}
	f.works[w.seq] = w
	return nil
}

func (w *followWork) lastSeq() uint64 {
	if n := len(w.sources); n > 0 {
		return w.sources[n-1].Seq
	}
	return w.seq
}

// fits reports whether a chunk of size bytes may be written now. The work on next can
// always go on, so the others get their turn.
func (f *followCore) fits(w *followWork, size int64) bool {
	return f.held+size <= f.aheadBytes || (w.seq == f.next && len(w.queue) == 0)
}

// write takes the next chunk of a work and numbers it, but for its epoch.
func (f *followCore) write(w *followWork, c *schemas.Chunk) error {
	switch {
	case w.err != nil:
		return w.err
	case len(w.sources) > 0:
		return fmt.Errorf("medialog: write %d: it is committed", w.seq)
	case w.index == 0 && len(c.Tracks) == 0:
		return fmt.Errorf("medialog: write %d: its first chunk has no tracks", w.seq)
	case w.index > 0 && c.MediaStart() < w.mediaEnd, c.MediaEnd() < c.MediaStart():
		return fmt.Errorf("medialog: write %d: media time goes back in chunk %d", w.seq, w.index)
	}
	if w.index == 0 {
		w.config, w.openGOP, w.layout = schemas.ConfigHash(c.Tracks), c.OpenGOP, layoutOf(w.layout, c.Tracks)
	}
	c.Seq, c.Session, c.Layout, c.Index = w.seq, w.session, w.layout, w.index
	w.index++
	w.mediaEnd = c.MediaEnd()
	w.queue = append(w.queue, c)
	f.held += int64(c.Size())
	return nil
}

// output is what a processor made of a fragment.
type output struct {
	used     uint32 // chunks of the source
	filtered bool   // there is no output
	note     string
}

// commit ends the work on a seq with the source's entry of it.
func (f *followCore) commit(w *followWork, src schemas.Entry, o output) error {
	switch {
	case w.err != nil:
		return w.err
	case len(w.sources) > 0:
		return fmt.Errorf("medialog: commit %d: it is committed", w.seq)
	case src.Life != f.life:
		f.end(w, ErrNewLife)
		return ErrNewLife
	case src.Seq != w.seq || !src.Footage() || src.Run != nil:
		return fmt.Errorf("medialog: commit %d: the source's entry is %s %d", w.seq, src.Kind, src.Seq)
	case len(o.note) > schemas.MaxNote:
		return fmt.Errorf("medialog: commit %d: a note of %d bytes, at most %d are allowed", w.seq, len(o.note), schemas.MaxNote)
	case src.Kind == schemas.KindGap:
		w.sources = []schemas.Entry{src}
	case src.Epoch != w.source || o.used > src.Chunks:
		f.spend(w, CauseSource)
		f.end(w, ErrSourceChanged)
		return ErrSourceChanged
	case o.filtered:
		w.sources, w.gap, w.note = []schemas.Entry{src}, schemas.ReasonFiltered, o.note
	case o.used < src.Chunks:
		return fmt.Errorf("medialog: commit %d: %d chunks of %d were used", w.seq, o.used, src.Chunks)
	case w.index == 0:
		return fmt.Errorf("medialog: commit %d: it has no chunk", w.seq)
	default:
		w.sources, w.output, w.note = []schemas.Entry{src}, true, o.note
	}
	if !w.output {
		f.forgetQueue(w)
	}
	return nil
}

// fail ends the work on a seq after a failure. The failure counts: it stands in the
// follower's next `open`, which comes at once, or when it is the seq's turn.
func (f *followCore) fail(w *followWork, err error) {
	if w.ended() {
		return
	}
	t := f.tries[w.seq]
	t.failures, t.killed = t.failures+1, false
	f.tries[w.seq] = t
	f.end(w, err)
}

// drop ends the work on a seq. It is no failure.
func (f *followCore) drop(w *followWork, err error) {
	if !w.ended() {
		f.spend(w, CauseDropped)
		f.end(w, err)
	}
}

// dropBefore ends the works on seqs before seq. No entry may be on its way.
func (f *followCore) dropBefore(seq uint64) {
	for s, w := range f.works {
		if s < seq {
			f.drop(w, ErrDone)
		}
	}
}

// spend notes that the work on next has sent chunks under the present epoch, or was done
// alone.
func (f *followCore) spend(w *followWork, cause string) {
	if w.seq == f.next && (len(w.chunks) > 0 || f.alone == isAlone) && f.spent == "" {
		f.spent = cause
	}
}

func (f *followCore) end(w *followWork, err error) {
	w.err = err
	f.forgetQueue(w)
	delete(f.works, w.seq)
}

func (f *followCore) forgetQueue(w *followWork) {
	for _, c := range w.queue {
		f.held -= int64(c.Size())
	}
	w.queue = nil
}

// followAction is what a follower does next. Exactly one of entry and chunk is set.
type followAction struct {
	entry *schemas.Entry // append it: an `open` if its Kind says so
	chunk *schemas.Chunk // send it
	work  *followWork
	n     int       // position in work.chunks
	at    time.Time // the record's timestamp; zero: now
}

// action returns what to do now; ok is false if there is nothing.
func (f *followCore) action() (a followAction, ok bool) {
	w := f.works[f.next]
	if f.writing != nil || (w == nil && !f.opensNow()) {
		return a, false
	}
	if cause := f.cause(); cause != "" {
		f.writing = f.open(cause)
		return followAction{entry: f.writing, at: f.timestamp()}, true
	}
	switch {
	case len(w.queue) > 0:
		size := int64(w.queue[0].Size())
		if f.sent > 0 && f.sent+size > f.budget {
			return a, false
		}
		return f.send(w, size), true
	case len(w.sources) == 0, w.output && w.unresolved > 0:
		return a, false
	}
	f.writing = f.entry(w)
	return followAction{entry: f.writing, work: w, at: w.sources[0].Start}, true
}

// opensNow reports whether an `open` has to come although there is no work on next.
func (f *followCore) opensNow() bool {
	switch {
	case f.alone == wantsAlone:
		return true
	case f.epoch < 0:
		return len(f.works) > 0
	}
	return f.tries[f.next].failures > f.told || (f.alone == isAlone && f.spent != "")
}

// timestamp is the timestamp of an `open`.
func (f *followCore) timestamp() (at time.Time) {
	var oldest *followWork
	for _, w := range f.works {
		if oldest == nil || w.seq < oldest.seq {
			oldest = w
		}
	}
	switch {
	case oldest != nil:
		return oldest.captured
	case f.last != nil:
		return f.last.End()
	}
	return time.Time{}
}

// cause is why an `open` has to come before anything of next; "": none has to.
func (f *followCore) cause() string {
	switch {
	case f.epoch < 0:
		return CauseStart
	case f.alone == wantsAlone:
		return CauseAlone
	case f.tries[f.next].failures > f.told:
		return CauseFailure
	case f.spent != "":
		return f.spent
	case f.hole:
		return CauseHole
	}
	return ""
}

// open is the `open` before the work on next. The first one of a follower never
// declares a hole: another follower may write on until this `open` fences it. What
// stands before this `open` tells whether there is a hole.
func (f *followCore) open(cause string) *schemas.Entry {
	e := f.identity
	e.Kind, e.Prev, e.Life, e.Seq, e.Reason, e.Attempt = schemas.KindOpen, -1, f.life, f.next, cause, f.tries[f.next].failures
	if f.killed == f.next && f.epoch < 0 {
		e.Attempt-- // it is this `open` that makes it a failure, if nothing comes between
	}
	if f.hole && f.epoch >= 0 {
		e.From = f.next
	}
	return &e
}

func (f *followCore) send(w *followWork, size int64) followAction {
	c := w.queue[0]
	w.queue[0] = nil
	w.queue = w.queue[1:]
	if c.Index == 0 {
		w.partition = int32(w.seq % uint64(f.partitions))
	}
	c.Epoch = f.epoch
	w.chunks = append(w.chunks, chunkState{bytes: size, offset: -1})
	w.unresolved++
	f.held -= size
	f.sent += size
	return followAction{chunk: c, work: w, n: len(w.chunks) - 1, at: w.captured}
}

// resolved takes the answer for a chunk: its offset, or why Kafka refused it. A chunk
// whose offset is not above the one before shows that the partition was cut back.
func (f *followCore) resolved(a followAction, offset int64, failure string) {
	w := a.work
	st := &w.chunks[a.n]
	w.unresolved--
	f.sent -= st.bytes
	if failure == "" && a.n > 0 && offset <= w.chunks[a.n-1].offset {
		failure = schemas.ReasonProduce
	}
	if failure != "" {
		if w.sources == nil || w.output {
			f.fail(w, fmt.Errorf("%w: %s", ErrRefused, failure))
		}
		return
	}
	st.offset = offset
}

// opened takes the offset of the `open` that was on its way.
func (f *followCore) opened(offset int64) {
	if f.writing.From != 0 {
		f.hole = false
	}
	f.told, f.spent = f.writing.Attempt, ""
	switch {
	case f.writing.Reason == CauseAlone:
		f.alone = isAlone
	case f.alone == isAlone:
		f.alone = notAlone
	}
	f.epoch, f.prev, f.writing = offset, offset, nil
}

// committed takes the offset of the entry that was on its way.
func (f *followCore) committed(w *followWork, offset int64) {
	e := *f.writing
	e.Offset = offset
	f.prev, f.writing = offset, nil
	w.entry, f.last = e, lastOf(&e, nil)
	n := e.LastSeq() - e.Seq + 1
	w.sources = w.sources[n:]
	delete(f.works, w.seq)
	if w.seq = e.LastSeq() + 1; len(w.sources) > 0 {
		f.works[w.seq] = w
	} else {
		w.done = true
	}
	f.goOn(e.LastSeq() + 1)
}
