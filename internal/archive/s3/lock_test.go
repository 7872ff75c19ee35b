package s3

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/framelog/framelog/tests/testenv"
)

// One process at a time has the lock. One that was killed loses it after the lease; one that could not
// reach the store for a while is told.
func TestLock(t *testing.T) {
	server := testenv.StartS3(t)
	newStore := func() *Store {
		s := open(t, config(server), nil)
		s.lease = 2 * time.Second
		return s
	}
	var inside, most, done atomic.Int64
	errs := make(chan error)
	for range 3 {
		s := newStore()
		go func() {
			var err error
			for range 2 {
				var unlock func()
				if _, unlock, err = s.Lock(t.Context()); err != nil {
					break
				}
				most.Store(max(most.Load(), inside.Add(1)))
				err = s.Append(t.Context(), "log", []byte("x"))
				inside.Add(-1)
				done.Add(1)
				unlock()
			}
			errs <- err
		}()
	}
	for range 3 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if most.Load() != 1 || done.Load() != 6 {
		t.Errorf("%d had it at once, %d in all", most.Load(), done.Load())
	}
	if b, err := os.ReadFile(filepath.Join(server.Dir, "a/b/log")); err != nil || len(b) != 6 {
		t.Errorf("%d lines were appended, %v", len(b), err)
	}

	killed := newStore()
	if _, err := killed.news(t.Context(), etagOf(t, killed)); err != nil { // and no more news
		t.Fatal(err)
	}
	began := time.Now()
	locked, unlock, err := newStore().Lock(t.Context())
	if err != nil || time.Since(began) < 2*time.Second {
		t.Errorf("it has it after %v, %v", time.Since(began), err)
	}
	server.Kill()
	select {
	case <-locked.Done():
	case <-time.After(testenv.Patience):
		t.Error("the store is away, and it still believes that it has the lock")
	}
	if cause := context.Cause(locked); !errors.Is(cause, errLost) {
		t.Error(cause)
	}
	unlock()
}

// A process that stood still removes nothing with its lock: another process may have the lock.
func TestLockAfterPause(t *testing.T) {
	s := open(t, config(testenv.StartS3(t)), nil)
	for _, path := range []string{"x/1.mp4", "y/1.mp4"} {
		if err := put(s, path, []byte("12345")); err != nil {
			t.Fatal(err)
		}
	}
	locked, unlock, err := s.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	news := &locked.Value(heldKey{}).(*held).news
	now := time.Now()
	old := now.Add(-2 * lease / 3)
	for _, c := range []struct {
		news *time.Time
		want error
		left int
	}{{&old, errLost, 2}, {&now, nil, 0}} {
		news.Store(c.news)
		for name, err := range map[string]error{"a file": s.Remove(locked, "x/1.mp4"), "a directory": s.RemoveAll(locked, "y")} {
			if _, ok := errors.AsType[*fs.PathError](err); !errors.Is(err, c.want) || ok != (c.want != nil) {
				t.Errorf("%s: %v, want %v", name, err, c.want)
			}
		}
		left := 0
		for _, dir := range []string{"x", "y"} {
			found, err := s.List(t.Context(), dir, "")
			if left += len(found); err != nil {
				t.Fatal(err)
			}
		}
		if left != c.left {
			t.Errorf("%d files are left, want %d", left, c.left)
		}
	}
}

func etagOf(t *testing.T, s *Store) string {
	t.Helper()
	_, etag, err := s.get(t.Context(), lockPath)
	if err != nil {
		t.Fatal(err)
	}
	return etag
}
