package archiver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"log/slog"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/framelog/framelog/internal/archive"
	"github.com/framelog/framelog/internal/clip"
	"github.com/framelog/framelog/schemas"
)

// storeWait is the pause after a write has failed, and longestStoreWait the longest one, to which
// it doubles.
const (
	storeWait        = 5 * time.Second
	longestStoreWait = 40 * time.Second
)

// logWait is how long a write waits for the next chunk from the log. Then it ends, so that other
// files get its turn. It is longer than Config.LostAfter of package medialog.
const logWait = 30 * time.Second

// store is the archive, with what it needs to be written: a few files at once,
// free space, and patience.
type store struct {
	dir     archive.Dir
	mlog    clip.Log
	log     *slog.Logger
	metrics *metrics
	reserve int64
	turns   *semaphore.Weighted
	slow    *semaphore.Weighted // a place for one file whose last write has ended with errLogSlow

	put  func(ctx context.Context, d archive.Dir, log clip.Log, t schemas.Topic, entries []schemas.Entry) error // archive.Write
	free func(context.Context) (int64, error)
	sync func(archive.Series) error // archive.Dir.Sync

	mu     sync.Mutex
	failed error         // why the newest write failed; nil: it worked
	since  time.Time     // when failed began
	wait   time.Duration // after the newest failure
	next   time.Time     // nothing is written before
}

func newStore(cfg *Config, mlog clip.Log, log *slog.Logger, m *metrics) *store {
	return &store{
		dir: cfg.Archive, mlog: mlog, log: log, metrics: m, reserve: cfg.Reserve,
		turns: semaphore.NewWeighted(int64(cfg.Concurrency)), slow: semaphore.NewWeighted(1), put: archive.Write, free: cfg.Archive.Free,
		sync: cfg.Archive.Sync,
	}
}

// storeError means that the store is full or away. It has been logged.
type storeError struct{ cause error }

func (e *storeError) Error() string { return fmt.Sprintf("the archive cannot be written: %v", e.cause) }
func (e *storeError) Unwrap() error { return e.cause }

// errLogSlow means that the log has not given the next chunk in time. The footage is not damaged.
var errLogSlow = fmt.Errorf("no chunk came from Kafka in %v; look at the brokers that lead the partitions of the topic", logWait)

// footageError means that a fragment cannot be read from the log, or cannot be written as MP4.
type footageError struct {
	entry schemas.Entry
	cause error
}

func (e *footageError) Error() string { return fmt.Sprintf("fragment %d: %v", e.entry.Seq, e.cause) }
func (e *footageError) Unwrap() error { return e.cause }

// write writes a file. If it is there already, that is no error. slow: the last write of this topic
// has ended with errLogSlow. Of these one at a time has a turn, so that the others get theirs, however
// many cameras a broker holds up. Errors: *storeError, *footageError; archive.ErrDiffers; errLogSlow;
// ctx's.
func (s *store) write(ctx context.Context, t schemas.Topic, entries []schemas.Entry, slow bool) error {
	if slow {
		if err := s.slow.Acquire(ctx, 1); err != nil {
			return err
		}
		defer s.slow.Release(1)
	}
	if err := s.turns.Acquire(ctx, 1); err != nil {
		return err
	}
	defer s.turns.Release(1)
	if err := s.paused(); err != nil {
		return err
	}
	if err := s.room(ctx, entries); err != nil {
		return s.fail(err)
	}
	reads := &reads{Log: s.mlog}
	err := s.put(ctx, s.dir, reads, t, entries)
	switch {
	case err == nil:
		s.metrics.files.Inc()
		s.metrics.written.Add(float64(size(entries)))
		s.works()
		return nil
	case errors.Is(err, archive.ErrDiffers):
		s.works()
		return err
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, errLogSlow):
		return err
	case isStore(err):
		return s.fail(err)
	}
	return &footageError{reads.last, err}
}

// isStore reports whether an error comes from the store.
func isStore(err error) bool {
	_, path := errors.AsType[*fs.PathError](err)
	_, link := errors.AsType[*os.LinkError](err)
	_, errno := errors.AsType[syscall.Errno](err)
	return path || link || errno
}

// reads remembers which fragment was read last. A read ends with errLogSlow if the log lets it wait for
// too long. One goroutine uses it.
type reads struct {
	clip.Log
	last schemas.Entry
}

// Chunks implements clip.Log.
func (r *reads) Chunks(ctx context.Context, t schemas.Topic, e schemas.Entry) iter.Seq2[*schemas.Chunk, error] {
	r.last = e
	return func(yield func(*schemas.Chunk, error) bool) {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		timer := time.AfterFunc(logWait, func() { cancel(errLogSlow) })
		defer timer.Stop()
		for c, err := range r.Log.Chunks(ctx, t, e) {
			timer.Stop() // what the caller does with the chunk has no limit here
			if err != nil && errors.Is(context.Cause(ctx), errLogSlow) {
				err = errLogSlow
			}
			if !yield(c, err) || err != nil {
				return
			}
			timer.Reset(logWait)
		}
	}
}

// room returns an error if less disk would be free than the reserve.
func (s *store) room(ctx context.Context, entries []schemas.Entry) error {
	if err := s.dir.Make(ctx); err != nil {
		return err
	}
	if s.reserve <= 0 {
		return nil
	}
	free, err := s.free(ctx)
	if err != nil {
		return err
	}
	if free-size(entries) < s.reserve {
		return fmt.Errorf("less disk is free than archive.disk_reserve, %d bytes", s.reserve)
	}
	return nil
}

// size is about how many bytes the file of entries has.
func size(entries []schemas.Entry) (n int64) {
	for i := range entries {
		n += entries[i].Bytes
	}
	return n
}

// paused returns the newest failure until its pause is over.
func (s *store) paused() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed != nil && time.Now().Before(s.next) {
		return &storeError{s.failed}
	}
	return nil
}

// fail notes that the store is full or away. It logs that once, until a write works again.
func (s *store) fail(err error) error {
	s.metrics.errors.WithLabelValues(failedStore).Inc()
	s.metrics.storeUp.Set(0)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed == nil {
		s.since, s.wait = time.Now(), storeWait
		s.log.Error("the archive takes no footage; it is tried again, and nothing is left out while Kafka keeps it", "archive", s.dir, "err", err)
	}
	s.failed, s.next = err, time.Now().Add(s.wait)
	s.wait = min(2*s.wait, longestStoreWait)
	return &storeError{err}
}

// works notes that the store works.
func (s *store) works() {
	s.metrics.storeUp.Set(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed != nil {
		s.log.Info("the archive takes footage again", "archive", s.dir, "after", time.Since(s.since).Round(time.Second))
		s.failed = nil
	}
}

// newest returns the last entry in the newest file of a series; ok is false if there is no file.
// All files are safe from a power cut then, also one that another process has just written. A file
// that is cut off or changed is renamed, so that it is written again. Errors: *storeError; *fileError if
// the files are listed and this one cannot be read; ctx's.
func (s *store) newest(ctx context.Context, of archive.Series) (last schemas.Entry, ok bool, err error) {
	if err := s.paused(); err != nil {
		return last, false, err
	}
	files, err := s.dir.Files(ctx, of)
	if err == nil && len(files) > 0 {
		err = s.sync(of)
	}
	if err != nil {
		return last, false, s.fail(err)
	}
	slices.SortFunc(files, func(a, b archive.Kept) int { return cmp.Compare(b.Last, a.Last) })
	for _, k := range files {
		f, err := s.dir.Open(ctx, k)
		switch {
		case err == nil:
			last = f.Entries[len(f.Entries)-1]
			_ = f.Close() // it was only read
			return last, true, nil
		case errors.Is(err, fs.ErrNotExist): // it was deleted meanwhile
		case ctx.Err() != nil:
			return last, false, ctx.Err()
		case isStore(err): // other cameras need not wait
			s.metrics.errors.WithLabelValues(failedStore).Inc()
			return last, false, &fileError{k.Path(), err}
		case errors.Is(err, schemas.ErrNewer):
			return schemas.Entry{Seq: k.Last, Life: of.Life}, true, nil
		default:
			s.metrics.errors.WithLabelValues(failedDamaged).Inc()
			s.log.Error("a file of the archive is damaged; it is renamed, and written again if Kafka still has its footage", "file", k.Path(), "renamed", k.Path()+archive.DamagedEnd, "err", err)
			if err := s.dir.SetAside(ctx, k); err != nil {
				return last, false, s.fail(err)
			}
		}
	}
	return last, false, nil
}
