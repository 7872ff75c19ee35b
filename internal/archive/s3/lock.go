package s3

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"
	"time"
)

// lockPath is the object that is the lock. It is empty while nobody has the lock.
const lockPath = "holds/.lock"

// lease is how long the lock is kept without news of the process that has it. Such a process
// writes news three times as often, and gives the lock up when it could not for two thirds of it.
const lease = 15 * time.Second

// errLost ends the context of a process that has lost the lock.
var errLost = &fs.PathError{Op: "lock", Path: lockPath, Err: errors.New("the lock is lost: the store has not taken news of this process in time, or another process has the lock")}

// held is the lock as a process that has it knows it.
type held struct {
	lease time.Duration
	news  atomic.Pointer[time.Time] // before the newest news were written
}

type heldKey struct{}

// fresh returns errLost if ctx is that of a lock, and there was no news for so long that another process may
// have the lock soon. A process that stood still would else go on until it finds out. Both clocks of the process
// are asked: one of them stands still while its machine sleeps, and the other one may be set.
func fresh(ctx context.Context) error {
	h, ok := ctx.Value(heldKey{}).(*held)
	if !ok {
		return nil
	}
	now, news := time.Now(), *h.news.Load()
	if max(now.Sub(news), now.Round(0).Sub(news.Round(0))) >= 2*h.lease/3 {
		return errLost
	}
	return nil
}

// Lock implements archive.Store. Each change of the lock's object names the ETag that it replaces,
// so that of several processes one has it. A process that ends without giving it up loses it
// after the lease.
func (s *Store) Lock(ctx context.Context) (context.Context, func(), error) {
	var seen string // the ETag
	var since time.Time
	for {
		b, etag, err := s.get(ctx, lockPath)
		if err != nil {
			return nil, nil, s.failed(ctx, "lock", lockPath, err)
		}
		if etag != seen {
			seen, since = etag, time.Now()
		}
		if len(b) == 0 || time.Since(since) >= s.lease {
			began := time.Now()
			next, err := s.news(ctx, etag)
			if err == nil {
				locked, unlock := s.keepLock(ctx, next, began)
				return locked, unlock, nil
			}
			if err = s.failed(ctx, "lock", lockPath, err); !errors.Is(err, fs.ErrExist) {
				return nil, nil, err
			}
		}
		select {
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		case <-time.After(300 * time.Millisecond):
		}
	}
}

// news writes the lock's object, in place of the one with this ETag. It returns the new ETag.
func (s *Store) news(ctx context.Context, etag string) (string, error) {
	return s.putBytes(ctx, lockPath, []byte(rand.Text()), ifMatch(etag))
}

// keepLock writes news until unlock is called, or the lock is lost. The first news were written when it began.
func (s *Store) keepLock(ctx context.Context, etag string, began time.Time) (locked context.Context, unlock func()) {
	h := &held{lease: s.lease}
	h.news.Store(&began)
	locked, cancel := context.WithCancelCause(context.WithValue(ctx, heldKey{}, h))
	end := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		tick := time.NewTicker(s.lease / 3)
		defer tick.Stop()
		last := began
		for {
			select {
			case <-end:
				return
			case <-tick.C:
			}
			began := time.Now()
			limited, stop := context.WithDeadline(context.WithoutCancel(ctx), last.Add(2*s.lease/3))
			next, err := s.news(limited, etag)
			stop()
			switch {
			case err == nil:
				etag, last = next, began
				h.news.Store(&began)
			case errors.Is(s.failed(context.Background(), "lock", lockPath, err), fs.ErrExist) || time.Since(last) >= 2*s.lease/3:
				cancel(errLost)
				return
			}
		}
	})
	return locked, sync.OnceFunc(func() {
		close(end)
		running.Wait()
		if context.Cause(locked) == errLost { //nolint:errorlint // it is this value
			return
		}
		limited, stop := context.WithTimeout(context.WithoutCancel(ctx), s.lease)
		defer stop()
		_, _ = s.putBytes(limited, lockPath, nil, ifMatch(etag)) // else the lease ends it
		cancel(fmt.Errorf("%s: unlocked", lockPath))
	})
}
