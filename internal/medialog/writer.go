package medialog

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/framelog/framelog/schemas"
)

// OpenOptions names the writer that opens a topic, and its reason.
type OpenOptions struct {
	Writer string        // this process, in the `open` entry
	Host   string        // its host
	Reason string        // why it opens, in the `open` entry: "assigned", "moved", …
	Admit  func() string // called at each fragment; returns a reason to refuse it (schemas.ReasonStorage), or ""

	// Unit names the first access unit that this writer has (schemas.UnitHash); "": none is
	// known. If earlier writers left this unit, settling cuts there.
	Unit string
	// Redo: this writer's source repeats what earlier writers left without an entry. None of
	// it gets an entry, and the writer goes on behind the newest entry.
	Redo bool
	// Absent is why nothing was recorded before this writer's first session, if time is
	// missing there: schemas.AbsentRestart, … With schemas.AbsentHandover and AbsentRestart
	// the writer before may still record. If the log has footage of the last 2 s, opening
	// waits up to 1 s until that one has sent Unit. If Unit has its entry already, it waits
	// up to 5 s for the beginning of a later fragment.
	Absent string
	// Remember returns where the camera's numbers stood. It is called if the index has no
	// entry; nil, or the zero Standing: nothing is known.
	Remember func(context.Context) (schemas.Standing, error)
	// Archived returns the newest entry that an archive has of a life of this topic; one that
	// is no footage: there is none from a seq on. If the log does not have it any more, as after a power cut
	// of a broker, the writer goes on above its numbers, and not with numbers of other
	// footage. It is asked once, for at most archiveWait, since recording does not wait for
	// an archive. Nil: there is no archive.
	Archived func(ctx context.Context, life string, seq uint64) (schemas.Entry, error)
	// Purged is the lives of this camera that were purged. If the topics or Remember tell
	// one of them, the writer deletes the topics and begins a new life.
	Purged []string
	// Role and Life are of a rendition that has numbers of its own (schemas.Sub), and
	// needed for it. Life returns the life of the camera's footage, which the rendition's
	// footage has too. It is asked again until the error is nil. If the topics are of
	// another life, the writer deletes them and begins anew.
	Role schemas.Role
	Life func(context.Context) (string, error)
	// Create, if not nil, is asked before missing topics are created, and again until the
	// error is nil. If it returns false, the writer ends with ErrRemoved.
	Create func(context.Context) (bool, error)
	// Session, if not nil, is called when a session begins: where the numbers stand then,
	// and how long and why nothing was recorded before. It returns soon and does not call
	// the writer.
	Session func(s schemas.Standing, absent time.Duration, reason string)
}

// Writer records one topic. It implements assemble.Recorder. Write, Truncate, Gap,
// Lost and NewSession are called from one goroutine and never block.
//
// The writer has a goroutine of its own. It opens the topic, settles what earlier
// writers left, and then appends entries one at a time. Write sends chunks to Kafka
// itself; acknowledgements come on goroutines of the client.
type Writer struct {
	appender
	opt OpenOptions

	cancel context.CancelFunc
	ready  chan struct{}
	fenced chan struct{}
	done   chan struct{}
	wakeup chan struct{} // capacity 1: an entry may be ready
	freed  chan struct{} // capacity 1: there may be room (until)
	step   atomic.Value  // string: what its opening waits for
	life   string        // of the camera's footage, if opt.Life tells it; only opening uses it

	mu      sync.Mutex // guards all that follows, and core
	core    *core
	opened  bool // core has begun
	early   early
	closing bool
	stopped bool // fenced or closed: later writes have no effect
	err     error
	gone    error // why the media topic takes no chunk any more
}

// Ready is closed when the writer has opened the topic and knows what it has to
// settle.
func (w *Writer) Ready() <-chan struct{} { return w.ready }

// Fenced is closed when later writes have no effect: another writer has opened the
// topic, the topic was deleted, or this writer was closed. Err returns the reason.
func (w *Writer) Fenced() <-chan struct{} { return w.fenced }

// Err returns why Fenced was closed: ErrFenced, or the error that ended the writer;
// nil after Close, and while the writer runs.
func (w *Writer) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

func (w *Writer) stop(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped {
		return
	}
	w.stopped, w.err, w.early.ops = true, err, nil
	if errors.Is(err, ErrFenced) {
		w.log.metrics.fenced.WithLabelValues(w.topic.String()).Inc()
	}
	w.log.metrics.buffered.DeleteLabelValues(w.topic.String())
	w.log.metrics.pending.DeleteLabelValues(w.topic.String())
	close(w.fenced)
}

func (w *Writer) wake() {
	for _, c := range []chan struct{}{w.wakeup, w.freed} {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

func (w *Writer) countRefused(ticks int64, reason string) {
	w.log.metrics.refused.WithLabelValues(w.topic.String(), reason).Add(float64(ticks) / schemas.MediaTimescale)
}
