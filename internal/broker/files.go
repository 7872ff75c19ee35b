package broker

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The layout of kfake's directory, as of the version that go.mod pins:
// partitions/<topic>-<partition>/<base offset>.dat with record batches as
// they go over the wire, .idx beside each, and snapshot.json from the last
// clean stop.

// segment is one .dat file.
type segment struct {
	base, size int64
	modified   time.Time
}

// partition is one directory of segments, in the order of their offsets.
type partition struct {
	dir      string // its name
	topic    string
	part     int32
	segments []segment
}

func (p partition) size() (n int64) {
	for _, s := range p.segments {
		n += s.size
	}
	return n
}

// last is the time of the last write; zero if the partition is empty.
func (p partition) last() time.Time {
	for _, s := range slices.Backward(p.segments) {
		if s.size > 0 {
			return s.modified
		}
	}
	return time.Time{}
}

func partitionsDir(data string) string { return filepath.Join(data, logDir, "partitions") }

// scan lists the partitions on disk. It skips files that are removed meanwhile.
func scan(dir string) ([]partition, error) {
	dirs, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []partition
	for _, d := range dirs {
		at := strings.LastIndexByte(d.Name(), '-')
		if !d.IsDir() || at < 0 {
			continue
		}
		n, err := strconv.ParseInt(d.Name()[at+1:], 10, 32)
		if err != nil {
			continue
		}
		topic, err := url.PathUnescape(d.Name()[:at])
		if err != nil {
			continue
		}
		p := partition{dir: d.Name(), topic: topic, part: int32(n)}
		files, err := os.ReadDir(filepath.Join(dir, d.Name()))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, f := range files {
			name, ok := strings.CutSuffix(f.Name(), ".dat")
			if !ok {
				continue
			}
			base, err := strconv.ParseInt(name, 10, 64)
			if err != nil {
				continue
			}
			info, err := f.Info()
			if err != nil {
				continue
			}
			p.segments = append(p.segments, segment{base: base, size: info.Size(), modified: info.ModTime()})
		}
		slices.SortFunc(p.segments, func(a, b segment) int {
			return int(max(-1, min(1, a.base-b.base)))
		})
		out = append(out, p)
	}
	return out, nil
}

// endOf reads the offset after the last whole batch in a partition's files; 0 if
// there is none.
func endOf(dir string, p partition) (int64, error) {
	for _, s := range slices.Backward(p.segments) {
		end, err := segmentEnd(filepath.Join(dir, p.dir, strconv.FormatInt(s.base, 10)+".dat"))
		if err != nil {
			return 0, err
		}
		if end > 0 {
			return end, nil
		}
	}
	return 0, nil
}

// segmentEnd goes through the batches of a segment by their headers (Kafka's
// record batch, version 2: base offset at 0, length of what follows byte 12 at
// 8, last offset delta at 23).
func segmentEnd(path string) (end int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	var h [27]byte
	for pos := int64(0); pos+int64(len(h)) <= info.Size(); {
		if _, err := f.ReadAt(h[:], pos); err != nil {
			if errors.Is(err, io.EOF) {
				break
			}
			return 0, err
		}
		next := pos + 12 + int64(binary.BigEndian.Uint32(h[8:]))
		if next > info.Size() {
			break
		}
		end = int64(binary.BigEndian.Uint64(h[:])) + int64(binary.BigEndian.Uint32(h[23:])) + 1
		pos = next
	}
	return end, nil
}

// writeJSON replaces a file in one step: a crash leaves the old one or the new one.
func writeJSON(path string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	tmp := path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// readJSON reads a file into v. If there is no file, v stays as it is.
func readJSON(path string, v any) error {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
