package broker

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
)

// kfake compacts a partition in two steps: it removes the segments, then it writes
// new ones. A crash between the two would lose records of cameras. So hard links
// keep the old segments until the compaction has ended.

func linksDir(data string) string { return filepath.Join(data, "compacting") }

// compactSafely runs compact while links hold all segments of the partitions.
func compactSafely(data string, parts []partition, compact func()) error {
	links := linksDir(data)
	if err := os.RemoveAll(links); err != nil {
		return err
	}
	for _, p := range parts {
		if err := os.MkdirAll(filepath.Join(links, p.dir), 0o700); err != nil {
			return err
		}
		if err := eachFile(filepath.Join(partitionsDir(data), p.dir), func(path, name string) error {
			err := os.Link(path, filepath.Join(links, p.dir, name))
			if errors.Is(err, fs.ErrNotExist) {
				return nil // retention has deleted it meanwhile
			}
			return err
		}); err != nil {
			return fmt.Errorf("link segments: %w", err)
		}
	}
	compact()
	return os.RemoveAll(links)
}

// recoverCompaction puts back the partitions whose compaction a crash stopped. A
// compaction keeps the last record and writes it last, so these are the partitions
// that end before their links do.
func recoverCompaction(data string, log *slog.Logger) error {
	links, dir := linksDir(data), partitionsDir(data)
	saved, err := scan(links)
	if err != nil {
		return err
	}
	now, err := scan(dir)
	if err != nil {
		return err
	}
	current := make(map[string]partition, len(now))
	for _, p := range now {
		current[p.dir] = p
	}
	for _, p := range saved {
		want, err := endOf(links, p)
		if err != nil {
			return err
		}
		have, err := endOf(dir, current[p.dir])
		if err != nil {
			return err
		}
		if have >= want {
			continue
		}
		log.Warn("a crash stopped a compaction: the records from before it are restored", "partition", p.dir)
		if err := os.MkdirAll(filepath.Join(dir, p.dir), 0o755); err != nil {
			return err
		}
		if err := eachFile(filepath.Join(dir, p.dir), func(path, _ string) error { return os.Remove(path) }); err != nil {
			return err
		}
		if err := eachFile(filepath.Join(links, p.dir), func(path, name string) error {
			return os.Link(path, filepath.Join(dir, p.dir, name))
		}); err != nil {
			return err
		}
	}
	return os.RemoveAll(links)
}

// eachFile calls f for each segment and index file of a partition.
func eachFile(dir string, f func(path, name string) error) error {
	files, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range files {
		if ext := filepath.Ext(e.Name()); ext != ".dat" && ext != ".idx" {
			continue
		}
		if err := f(filepath.Join(dir, e.Name()), e.Name()); err != nil {
			return err
		}
	}
	return nil
}
