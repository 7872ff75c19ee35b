package hls

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/framelog/framelog/internal/cmaf"
	"github.com/framelog/framelog/schemas"
)

// files keeps complete segments and inits as files, which a web server can serve
// without asking: <dir>/hls/<camera>/<rendition>/m1/…, as in their URLs. A nil
// *files keeps nothing. A file that is missing is made from the log on request,
// so files need not be safe on disk.
type files struct {
	dir     string
	linger  time.Duration
	reserve int64
	free    func(dir string) (int64, error)
	slog    *slog.Logger
	count   *prometheus.CounterVec
	full    atomic.Bool   // less than the reserve is free
	temps   atomic.Uint64 // number of temporary names

	mu     sync.Mutex // not held while the disk works: a slow disk would stop all tails
	topics map[schemas.Topic]*fileSet
}

type fileSet struct {
	first uint64           // of the window
	live  map[string]*file // by name below dir
}

type file struct {
	seq  uint64    // of the newest fragment that needs it
	left time.Time // when that left the window; zero: it has not
	ends []int64   // where each part of a segment ends; the last one ends with the file
}

func newFiles(cfg Config, logger *slog.Logger, count *prometheus.CounterVec) (*files, error) {
	f := &files{
		dir: cfg.Dir, linger: cfg.FileLinger, reserve: cfg.Reserve, free: cfg.free, slog: logger, count: count,
		topics: map[schemas.Topic]*fileSet{},
	}
	if f.free == nil {
		f.free = freeBytes
	}
	if err := os.RemoveAll(filepath.Join(f.dir, "hls")); err != nil {
		return nil, fmt.Errorf("hls: remove old files: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(f.dir, "hls"), 0o755); err != nil {
		return nil, fmt.Errorf("hls: make directory: %w", err)
	}
	return f, nil
}

// write stores a resource as a file and reports whether that worked. A failure
// is counted and logged but is no error: the resource is then served without a
// file.
func (f *files) write(r resource, data cmaf.Blocks) bool {
	if f == nil {
		return false
	}
	name := filepath.FromSlash(r.path())
	if f.renew(r, name) {
		return true
	}
	if !f.room(data.Size()) {
		f.count.WithLabelValues("skipped").Inc()
		return false
	}
	if err := f.put(name, data); err != nil {
		f.count.WithLabelValues("failed").Inc()
		f.slog.Warn("cannot write a file", "name", name, "error", err)
		return false
	}
	f.count.WithLabelValues("written").Inc()
	ends, end := make([]int64, len(data)), int64(0)
	for i, part := range data {
		end += int64(len(part))
		ends[i] = end
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	set := f.topics[r.topic]
	if set == nil {
		set = &fileSet{live: map[string]*file{}}
		f.topics[r.topic] = set
	}
	set.live[name] = &file{seq: r.seq, ends: ends}
	return true
}

// renew reports whether a resource is already a file, and marks the file as in
// the window.
func (f *files) renew(r resource, name string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	file := f.find(r.topic, name)
	if file == nil {
		return false
	}
	file.seq, file.left = max(file.seq, r.seq), time.Time{}
	return true
}

// find returns a file, nil if there is none. mu is held.
func (f *files) find(t schemas.Topic, name string) *file {
	if set := f.topics[t]; set != nil {
		return set.live[name]
	}
	return nil
}

// open opens the file of a resource. It returns nil if there is no file, or if
// its size is not the one that was written. The caller closes it.
func (f *files) open(r resource) *storedFile {
	if f == nil {
		return nil
	}
	name := filepath.FromSlash(r.path())
	f.mu.Lock()
	var ends []int64
	if file := f.find(r.topic, name); file != nil {
		ends = file.ends
	}
	f.mu.Unlock()
	if len(ends) == 0 {
		return nil
	}
	file, err := os.Open(filepath.Join(f.dir, name))
	if err != nil {
		return nil
	}
	if st, err := file.Stat(); err != nil || st.Size() != ends[len(ends)-1] {
		_ = file.Close() // nothing was written
		return nil
	}
	return &storedFile{File: file, ends: ends}
}

type storedFile struct {
	*os.File
	ends []int64
}

// section returns one part, or the whole file if part is below 0. It returns nil
// if there is no such part.
func (f *storedFile) section(part int) *io.SectionReader {
	switch {
	case part < 0:
		return io.NewSectionReader(f.File, 0, f.ends[len(f.ends)-1])
	case part >= len(f.ends):
		return nil
	case part == 0:
		return io.NewSectionReader(f.File, 0, f.ends[0])
	default:
		return io.NewSectionReader(f.File, f.ends[part-1], f.ends[part]-f.ends[part-1])
	}
}

// room reports whether the disk keeps its reserve if n more bytes are written. It
// logs each change of that.
func (f *files) room(n int64) bool {
	free, err := f.free(f.dir)
	if err != nil {
		return true // the write fails if there is none
	}
	full := free-n < f.reserve
	if f.full.Swap(full) != full {
		f.slog.Warn("disk reserve of HLS files: no files are written below it", "below_reserve", full, "reserve_bytes", f.reserve)
	}
	return !full
}

func freeBytes(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("hls: see how much disk is free: %w", err)
	}
	return int64(st.Bavail) * st.Bsize, nil
}

// put writes under a temporary name first, so that no reader sees an incomplete
// file.
func (f *files) put(name string, data cmaf.Blocks) error {
	path := filepath.Join(f.dir, name)
	temp := path + "." + strconv.FormatUint(f.temps.Add(1), 10) + ".tmp"
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

func writeFile(path string, data cmaf.Blocks) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = data.WriteTo(f)
	return errors.Join(err, f.Close())
}

// window takes the first and the last seq of a topic's window, and marks the
// files that have left it.
func (f *files) window(t schemas.Topic, first, last uint64) {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	set := f.topics[t]
	if set == nil || set.first == first {
		return
	}
	set.first = first
	now := time.Now()
	for _, file := range set.live {
		// Seqs above the window are of a topic that was deleted and made again.
		if (file.seq < first || file.seq > last) && file.left.IsZero() {
			file.left = now
		}
	}
}

// sweep removes the files that left the window longer than linger ago. If the
// disk is below its reserve it removes all files: their footage is in the log,
// which needs the disk for new footage.
func (f *files) sweep(now time.Time) {
	if f == nil {
		return
	}
	full := !f.room(0)
	var removed []string
	var emptied []schemas.Topic
	f.mu.Lock()
	for t, set := range f.topics {
		for name, file := range set.live {
			if full || (!file.left.IsZero() && now.Sub(file.left) >= f.linger) {
				removed = append(removed, name)
				delete(set.live, name)
			}
		}
		if len(set.live) == 0 {
			emptied = append(emptied, t)
			delete(f.topics, t)
		}
	}
	f.mu.Unlock()
	for _, name := range removed {
		if err := os.Remove(filepath.Join(f.dir, name)); err != nil && !os.IsNotExist(err) {
			f.slog.Warn("cannot remove a file", "name", name, "error", err)
			continue
		}
		f.count.WithLabelValues("removed").Inc()
	}
	for _, t := range emptied {
		dir := filepath.Dir(filepath.FromSlash(resource{kind: kindSegment, topic: t}.path()))
		for range 3 { // folders of the version, the rendition and the camera
			_ = os.Remove(filepath.Join(f.dir, dir)) // it fails where the folder is not empty
			dir = filepath.Dir(dir)
		}
	}
}
