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
	// Room waits until Write takes a chunk without refusing it for want of room, and
	// Written until all that was written has its entry (medialog.Writer).
	Room(ctx context.Context, size int, begins bool) error
	Written(ctx context.Context) error
	// Close waits until all that was written is in the log, or ctx ends.
	Close(ctx context.Context) error
}

var errRecorderClosed = errors.New("camera: recorder is closed")

// lateRecorder opens the log with the first chunk, not before: opening fences the
// former owner, which records until then.
type lateRecorder struct {
	// open opens the log. unit names the first access unit that is recorded
	// (schemas.UnitHash); "": none has come yet. absent is why nothing was recorded
	// before. It returns nil if the log must not be opened.
	open func(unit, absent string) Writer
	// firstAbsence returns why nothing was recorded before the first session. The
	// assembler knows the reason only of later ones.
	firstAbsence func() string
	// wrote is called after each Write: whether the chunk begins a fragment, how
	// long it is, and the result.
	wrote func(begins bool, d time.Duration, err error)

	mu      sync.Mutex
	w       Writer
	session bool   // a session has begun
	absent  string // why nothing was recorded before the newest session
	closed  bool
}

// writer returns the log's writer; nil if the log is not open.
func (r *lateRecorder) writer() Writer {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.w
}

// openNow returns the log's writer, and opens the log if it is not open yet. c is the
// chunk that is written next; nil: there is none.
func (r *lateRecorder) openNow(c *schemas.Chunk) Writer {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.w != nil || r.closed {
		return r.w
	}
	absent := r.absent
	if !r.session {
		absent = r.firstAbsence()
	}
	r.w = r.open(firstUnit(c), absent)
	if r.w != nil && r.session {
		r.w.NewSession(r.absent)
	}
	return r.w
}

// firstUnit names the access unit with which c begins a fragment; "" if it begins none.
func firstUnit(c *schemas.Chunk) string {
	if c == nil || c.Index != 0 || len(c.Video()) == 0 {
		return ""
	}
	return schemas.UnitHash(c.Video()[0].Data)
}

func (r *lateRecorder) NewSession(absent string) {
	r.mu.Lock()
	if !r.session {
		absent = r.firstAbsence()
	}
	r.session, r.absent = true, absent
	w := r.w
	r.mu.Unlock()
	if w != nil {
		w.NewSession(absent)
	}
}

func (r *lateRecorder) Write(c *schemas.Chunk) error {
	w := r.openNow(c)
	if w == nil {
		return errRecorderClosed
	}
	begins, d := c.Index == 0, schemas.FromTicks(c.MediaEnd()-c.MediaStart()) // from now on c belongs to the writer
	err := w.Write(c)
	r.wrote(begins, d, err)
	return err
}

func (r *lateRecorder) Truncate(reason string) {
	if w := r.writer(); w != nil {
		w.Truncate(reason)
	}
}

// Gap ignores what comes before the log is open: another owner may have recorded it.
func (r *lateRecorder) Gap(start time.Time, media, duration int64, reason string) {
	if w := r.writer(); w != nil {
		w.Gap(start, media, duration, reason)
	}
}

func (r *lateRecorder) Lost(l schemas.Lost) {
	if w := r.writer(); w != nil {
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
