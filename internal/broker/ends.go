package broker

import (
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// kfake forgets the end offset of a partition once all of its records have
// expired: after a restart the partition begins at offset 0 again. But offsets
// name fragments and epochs, so no offset may be used twice. So the keeper saves
// the ends of partitions that are not written to. At the next start restoreEnds
// makes an empty segment at that end, and a snapshot that names it.

// ends are offsets after the last record, by the directory of the partition.
type ends map[string]int64

func endsFile(data string) string { return filepath.Join(data, "ends.json") }

// snapshot holds the fields of kfake's snapshot.json that are used here.
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

// restoreEnds makes the partitions without records begin at their saved end.
func restoreEnds(data string, log *slog.Logger) error {
	known := ends{}
	if err := readJSON(endsFile(data), &known); err != nil {
		log.Warn("saved end offsets of partitions cannot be read: an empty partition may begin at offset 0 again", "error", err)
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
			log.Warn("a partition's snapshot cannot be read", "partition", p.dir, "error", err)
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
