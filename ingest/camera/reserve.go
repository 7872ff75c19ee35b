package camera

import (
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/framelog/framelog/schemas"
)

// reserve refuses footage while less disk is free than the reserve.
type reserve struct {
	path  string
	bytes int64
	log   *slog.Logger
	free  func(path string) (int64, error)

	mu   sync.Mutex
	next time.Time // when to look again
	full bool
}

// Admit is called at each fragment. It returns schemas.ReasonStorage to refuse
// the fragment, else "". If the free space cannot be read, it refuses nothing.
func (r *reserve) Admit() string {
	if r.bytes <= 0 || r.path == "" {
		return ""
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := time.Now(); now.After(r.next) {
		r.next = now.Add(time.Second)
		r.look()
	}
	if r.full {
		return schemas.ReasonStorage
	}
	return ""
}

func (r *reserve) look() {
	free, err := r.free(r.path)
	if err != nil {
		r.log.Warn("free disk space is not known", "path", r.path, "err", err)
		r.next = r.next.Add(time.Minute)
		r.full = false
		return
	}
	full := free < r.bytes
	if full != r.full {
		if full {
			r.log.Error("recording stops: less disk is free than the reserve", "path", r.path, "free_bytes", free, "reserve_bytes", r.bytes)
		} else {
			r.log.Info("recording goes on: disk is free again", "path", r.path, "free_bytes", free)
		}
	}
	r.full = full
}

// freeBytes returns how many bytes a process without privileges may still write at
// path.
func freeBytes(path string) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return 0, err
	}
	return int64(s.Bavail) * s.Bsize, nil
}
