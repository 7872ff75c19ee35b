package broker

import (
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// kfake forgets where a partition ended once all of its records have expired:
// after a restart it begins at offset 0 again. Offsets name fragments and
// epochs, so they must never come twice. The keeper therefore writes down the
// ends of partitions that nobody writes to; restoreEnds puts them back, as an
// empty segment at the end and a snapshot that names it.

// ends is the offset after the last record, by partition directory.
type ends map[string]int64

func endsFile(data string) string { return filepath.Join(data, "ends.json") }

// snapshot is kfake's note of a partition, as far as it matters here.
type snapshot struct {
	Version          int            `json:"version"`
	HighWatermark    int64          `json:"high_watermark"`
	LastStableOffset int64          `json:"last_stable_offset"`
	LogStartOffset   int64          `json:"log_start_offset"`
	Epoch            int32          `json:"epoch"`
	CreatedAt        time.Time      `json:"created_at"`
	Segments         []snapshotFile `json:"segments"`
}

type snapshotFile struct {
	Base int64 `json:"base_offset"`
	Size int64 `json:"size"`
}

// restoreEnds gives each partition without records its end back.
func restoreEnds(data string, log *slog.Logger) error {
	known := ends{}
	if err := readJSON(endsFile(data), &known); err != nil {
		log.Warn("ends of partitions are unreadable; an expired one may begin at 0 again", "error", err)
	}
	dir := partitionsDir(data)
	parts, err := scan(dir)
	if err != nil {
		return err
	}
	for _, p := range parts {
		if p.size() > 0 {
			continue // kfake reads the end from the records
		}
		path := filepath.Join(dir, p.dir, "snapshot.json")
		snap := snapshot{Version: 1}
		if err := readJSON(path, &snap); err != nil {
			log.Warn("a partition's snapshot is unreadable", "partition", p.dir, "error", err)
			snap = snapshot{Version: 1}
		}
		end := max(known[p.dir], snap.HighWatermark)
		if end == 0 {
			continue
		}
		for _, s := range p.segments {
			if err := os.Remove(filepath.Join(dir, p.dir, strconv.FormatInt(s.base, 10)+".dat")); err != nil {
				return err
			}
		}
		if err := os.WriteFile(filepath.Join(dir, p.dir, strconv.FormatInt(end, 10)+".dat"), nil, 0o644); err != nil {
			return err
		}
		snap.HighWatermark, snap.LastStableOffset, snap.LogStartOffset = end, end, end
		snap.Segments = []snapshotFile{{Base: end}}
		if snap.CreatedAt.IsZero() {
			snap.CreatedAt = time.Now()
		}
		if err := writeJSON(path, snap); err != nil {
			return err
		}
	}
	return nil
}
