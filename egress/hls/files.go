package hls

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/framelog/framelog/schemas"
)

// files keeps complete segments and inits as files that a web server gives out
// by itself, as this one does: <dir>/hls/<camera>/<rendition>/m1/…, as in their
// URLs. A nil *files keeps nothing. What is missing here is made from the log on
// request, so nothing here needs to be safe on disk.
type files struct {
	dir     string
	linger  time.Duration
	reserve int64
	slog    *slog.Logger
	count   *prometheus.CounterVec

	mu     sync.Mutex
	full   bool
	topics map[schemas.Topic]*fileSet

	storedMu sync.Mutex // beside mu, which is held while files are written
	stored   map[string]stored
}

// stored is what lies in a file: where each part of a segment ends, the last
// one with the file.
type stored []int64

type fileSet struct {
	first uint64           // of the window
	live  map[string]*file // by name below dir
}

type file struct {
	seq  uint64    // the newest that needs it
	left time.Time // when it left the window; zero while it is in
}

func newFiles(cfg Config, logger *slog.Logger, count *prometheus.CounterVec) (*files, error) {
	f := &files{
		dir: cfg.Dir, linger: cfg.FileLinger, reserve: cfg.Reserve, slog: logger, count: count,
		topics: map[schemas.Topic]*fileSet{}, stored: map[string]stored{},
	}
	if err := os.RemoveAll(filepath.Join(f.dir, "hls")); err != nil {
		return nil, fmt.Errorf("hls: remove old files: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(f.dir, "hls"), 0o755); err != nil {
		return nil, fmt.Errorf("hls: make directory: %w", err)
	}
	return f, nil
}

// write keeps a resource as a file and says whether it is one now. It fails
// quietly but for a counter and one line of log a spell: the resource is served
// all the same.
func (f *files) write(r resource, data blocks) bool {
	if f == nil {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	set := f.topics[r.topic]
	if set == nil {
		set = &fileSet{live: map[string]*file{}}
		f.topics[r.topic] = set
	}
	name := filepath.FromSlash(r.path())
	if old := set.live[name]; old != nil {
		if old.seq < r.seq {
			*old = file{seq: r.seq}
		}
		return true
	}
	if !f.room(data.size()) {
		f.count.WithLabelValues("skipped").Inc()
		return false
	}
	if err := f.put(name, data); err != nil {
		f.count.WithLabelValues("failed").Inc()
		f.slog.Warn("cannot write a file", "name", name, "error", err)
		return false
	}
	f.count.WithLabelValues("written").Inc()
	set.live[name] = &file{seq: r.seq}
	ends, end := make(stored, len(data)), int64(0)
	for i, part := range data {
		end += int64(len(part))
		ends[i] = end
	}
	f.storedMu.Lock()
	f.stored[name] = ends
	f.storedMu.Unlock()
	return true
}

// open opens the file of a resource; nil where there is none, or it is not what
// was written. The caller closes it.
func (f *files) open(r resource) *storedFile {
	if f == nil {
		return nil
	}
	name := filepath.FromSlash(r.path())
	f.storedMu.Lock()
	ends := f.stored[name]
	f.storedMu.Unlock()
	if len(ends) == 0 {
		return nil
	}
	file, err := os.Open(filepath.Join(f.dir, name))
	if err != nil {
		return nil
	}
	if st, err := file.Stat(); err != nil || st.Size() != ends[len(ends)-1] {
		_ = file.Close() // it was only to be read
		return nil
	}
	return &storedFile{File: file, ends: ends}
}

type storedFile struct {
	*os.File
	ends stored
}

// section is one part, or all where part is below 0; nil where there is no such
// part.
func (f *storedFile) section(part int) *io.SectionReader {
	switch {
	case part < 0:
		return io.NewSectionReader(f, 0, f.ends[len(f.ends)-1])
	case part >= len(f.ends):
		return nil
	case part == 0:
		return io.NewSectionReader(f, 0, f.ends[0])
	default:
		return io.NewSectionReader(f, f.ends[part-1], f.ends[part]-f.ends[part-1])
	}
}

// room says whether the disk keeps its reserve, and logs when that changes.
func (f *files) room(n int64) bool {
	var st unix.Statfs_t
	if err := unix.Statfs(f.dir, &st); err != nil {
		return true // the write will tell
	}
	full := int64(st.Bavail)*st.Bsize-n < f.reserve
	if full != f.full {
		f.full = full
		f.slog.Warn("disk reserve of HLS files", "reached", full, "reserve", f.reserve)
	}
	return !full
}

// put writes under another name first, so that no reader sees half a file.
func (f *files) put(name string, data blocks) error {
	path := filepath.Join(f.dir, name)
	temp := path + ".tmp"
	err := writeFile(temp, data)
	if os.IsNotExist(err) {
		if err = os.MkdirAll(filepath.Dir(path), 0o755); err == nil {
			err = writeFile(temp, data)
		}
	}
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		_ = os.Remove(temp) // it may not be there
	}
	return err
}

func writeFile(path string, data blocks) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = data.WriteTo(f)
	return errors.Join(err, f.Close())
}

// window tells the first seq of a topic's window.
func (f *files) window(t schemas.Topic, first uint64) {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	set := f.topics[t]
	if set == nil || set.first == first {
		return
	}
	restarted := first < set.first
	set.first = first
	now := time.Now()
	for _, file := range set.live {
		if (file.seq < first || restarted) && file.left.IsZero() {
			file.left = now
		}
	}
}

// sweep removes files whose segments left the window long enough ago.
func (f *files) sweep(now time.Time) {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for t, set := range f.topics {
		for name, file := range set.live {
			if file.left.IsZero() || now.Sub(file.left) < f.linger {
				continue
			}
			if err := os.Remove(filepath.Join(f.dir, name)); err != nil && !os.IsNotExist(err) {
				f.slog.Warn("cannot remove a file", "name", name, "error", err)
				continue
			}
			f.count.WithLabelValues("removed").Inc()
			delete(set.live, name)
			f.storedMu.Lock()
			delete(f.stored, name)
			f.storedMu.Unlock()
		}
		if len(set.live) == 0 {
			delete(f.topics, t)
			_ = os.RemoveAll(filepath.Join(f.dir, strings.TrimSuffix("hls/"+t.Camera, "/"))) // empty folders
		}
	}
}
