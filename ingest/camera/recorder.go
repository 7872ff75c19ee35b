package camera

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/framelog/framelog/ingest/assemble"
	"github.com/framelog/framelog/schemas"
)

// Writer is a camera's log, open for writing. *medialog.Writer is one.
type Writer interface {
	assemble.Recorder
	// Ready is closed when this writer has the log.
	Ready() <-chan struct{}
	// Fenced is closed when later writes have no effect. Err then returns why:
	// medialog.ErrFenced if another writer has the log.
	Fenced() <-chan struct{}
	Err() error
	// Close waits until all that was written is in the log, or ctx ends.
	Close(ctx context.Context) error
}

var errRecorderClosed = errors.New("camera: recorder is closed")

// lateRecorder opens the log with the first chunk, not before: opening fences the
// former owner, which records until then.
type lateRecorder struct {
	open func() Writer // returns nil if the log must not be opened
	// wrote is called after each Write: whether the chunk begins a fragment, how
	// long it is, and the result.
	wrote func(begins bool, d time.Duration, err error)

	mu      sync.Mutex
	w       Writer
	session bool // a session began before the log was open
	reason  string
	closed  bool
}

// writer returns the log's writer. If the log is not open yet, it opens the log
// if force is set.
func (r *lateRecorder) writer(force bool) Writer {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.w == nil && force && !r.closed {
		r.w = r.open()
		if r.w != nil && r.session {
			r.w.NewSession(r.reason)
		}
	}
	return r.w
}

func (r *lateRecorder) NewSession(reason string) {
	r.mu.Lock()
	r.session, r.reason = true, reason // matters only before the log is open
	w := r.w
	r.mu.Unlock()
	if w != nil {
		w.NewSession(reason)
	}
}

func (r *lateRecorder) Write(c *schemas.Chunk) error {
	w := r.writer(true)
	if w == nil {
		return errRecorderClosed
	}
	begins, d := c.Index == 0, schemas.FromTicks(c.MediaEnd()-c.MediaStart()) // from now on c belongs to the writer
	err := w.Write(c)
	r.wrote(begins, d, err)
	return err
}

func (r *lateRecorder) Truncate(reason string) {
	if w := r.writer(false); w != nil {
		w.Truncate(reason)
	}
}

// Gap ignores what comes before the log is open: another owner may have recorded it.
func (r *lateRecorder) Gap(start time.Time, media, duration int64, reason string) {
	if w := r.writer(false); w != nil {
		w.Gap(start, media, duration, reason)
	}
}

func (r *lateRecorder) Lost(l schemas.Lost) {
	if w := r.writer(false); w != nil {
		w.Lost(l)
	}
}

// close closes the log if it is open. Nothing opens it after that.
func (r *lateRecorder) close(ctx context.Context) error {
	r.mu.Lock()
	r.closed = true
	w := r.w
	r.mu.Unlock()
	if w == nil {
		return nil
	}
	return w.Close(ctx)
}
