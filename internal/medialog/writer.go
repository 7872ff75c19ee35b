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

	// Unit names the first access unit that this writer will record (schemas.UnitHash);
	// "": none is known. If earlier writers left this unit, settling cuts there.
	Unit string
	// Absent is why nothing was recorded before this writer's first session, if time is
	// missing there: schemas.AbsentRestart, … With schemas.AbsentHandover the writer before
	// may still record: opening waits up to 1 s until that one has sent Unit.
	Absent string
	// Remember returns where the camera's numbers stood. It is called if the index has no
	// entry; nil, or the zero Standing: nothing is known.
	Remember func(context.Context) (schemas.Standing, error)
	// Purged is the lives of this camera that were purged. If the topics or Remember tell
	// one of them, the writer deletes the topics and begins a new life.
	Purged []string
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
	step   atomic.Value  // string: what its opening waits for

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
		w.log.metrics.fenced.WithLabelValues(w.topic.Camera).Inc()
	}
	w.log.metrics.buffered.DeleteLabelValues(w.topic.Camera)
	w.log.metrics.pending.DeleteLabelValues(w.topic.Camera)
	close(w.fenced)
}

func (w *Writer) wake() {
	select {
	case w.wakeup <- struct{}{}:
	default:
	}
}

func (w *Writer) countRefused(ticks int64, reason string) {
	w.log.metrics.refused.WithLabelValues(w.topic.Camera, reason).Add(float64(ticks) / schemas.MediaTimescale)
}
