package archiver

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/archive"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// borders are where the boxes of an MP4 file and their content begin, with those in boxes: the segments
// stand in one mdat.
func borders(file []byte, at int) (all []int) {
	for len(file) > 0 {
		size, head := int(binary.BigEndian.Uint32(file)), 8
		if size == 1 {
			size, head = int(binary.BigEndian.Uint64(file[8:])), 16
		}
		all = append(all, at, at+head)
		kind, content := string(file[4:8]), file[head:size]
		if slices.Contains([]string{"moov", "trak", "mdia", "minf", "stbl", "moof", "traf"}, kind) || kind == "mdat" && len(content) > 8 && string(content[4:8]) == "moof" {
			all = append(all, borders(content, at+head)...)
		}
		file, at = file[size:], at+size
	}
	return all
}

// cuts are sizes at which a file may be cut off: every 4 KiB, and at and beside the borders of its
// boxes. Without long tests they are every 83rd of these, and the first and the last ones.
func cuts(t *testing.T, file []byte) []int {
	t.Helper()
	var all []int
	for at := 0; at < len(file); at += 4096 {
		all = append(all, at)
	}
	boxes := borders(file, 0)
	if len(boxes) < 300 { // each of 30 segments has seven boxes
		t.Fatalf("a file of %d boxes", len(boxes)/2)
	}
	for _, at := range boxes {
		all = append(all, at-1, at, at+1)
	}
	all = append(all, len(file)-1)
	all = slices.DeleteFunc(all, func(at int) bool { return at < 0 || at >= len(file) })
	slices.Sort(all)
	all = slices.Compact(all)
	if testenv.IsLong() {
		return all
	}
	var some []int
	for i, at := range all {
		if i%83 == 0 || i < 3 || i >= len(all)-6 {
			some = append(some, at)
		}
	}
	return some
}

// The newest file is cut off at any byte, as after a power loss. The next archiver sets it aside, and
// writes again all that Kafka still holds of it: the same file if Kafka holds all, else what is left.
// All other files stay as they are.
func TestCutOffAnywhere(t *testing.T) {
	for name, expired := range map[string]int{"Kafka has all of it": 0, "Kafka has the end of it": 11} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(t *testing.T, e *env) {
				cam := e.record(raw)
				one := e.start(nil)
				cam.seconds(130)
				one.stop()
				all := e.entries(raw)
				life := all[0].Life
				files, err := e.dir.Files(t.Context(), archive.Series{Life: life, Topic: raw})
				if err != nil || len(files) < 2 {
					t.Fatal(files, err)
				}
				k := files[len(files)-1]
				newest := filepath.Join(e.dir.String(), k.Path())
				whole, err := os.ReadFile(newest)
				if err != nil {
					t.Fatal(err)
				}
				begin := slices.IndexFunc(all, func(x schemas.Entry) bool { return x.Seq == k.First })
				if expired > 0 {
					e.expire(&all[begin+expired-1])
				}
				held := e.entries(raw) // what Kafka still holds
				if expired > 0 && (held[0].Seq != all[begin+expired].Seq || held[len(held)-1].Seq < k.Last) {
					t.Fatalf("Kafka holds %s of %s", seqs(held), seqs(all))
				}
				end := slices.IndexFunc(all, func(x schemas.Entry) bool { return x.Seq == k.Last }) + 1
				want := seqs(all[:begin]) + " " + seqs(all[begin+expired:end])
				for _, at := range cuts(t, whole) {
					// There is the first part of that file, and all files before it.
					later, err := filepath.Glob(filepath.Join(filepath.Dir(newest), "*"))
					if err != nil {
						t.Fatal(err)
					}
					for _, path := range later {
						if !slices.ContainsFunc(files[:len(files)-1], func(k archive.Kept) bool { return filepath.Base(path) == filepath.Base(k.Path()) }) && !strings.HasPrefix(filepath.Base(path), "init-") {
							err = errors.Join(err, os.Remove(path))
						}
					}
					if err := errors.Join(err, os.WriteFile(newest, whole[:at], 0o600)); err != nil {
						t.Fatal(err)
					}
					next := e.start(nil)
					e.wait("the file is written again", func() bool {
						got, err := e.dir.Files(t.Context(), archive.Series{Life: life, Topic: raw})
						_, aside := os.Stat(newest + archive.DamagedEnd)
						return err == nil && aside == nil && slices.ContainsFunc(got, func(k archive.Kept) bool { return k.Last == all[end-1].Seq })
					})
					lost := next.metric(t, "expired_seconds_total", camID, schemas.Raw)
					next.stop()
					if got := seqs(e.archived(life, raw)); got != want {
						t.Fatalf("cut off at byte %d of %d: archived %s\nwant %s", at, len(whole), got, want)
					}
					if b, err := os.ReadFile(newest + archive.DamagedEnd); err != nil || !bytes.Equal(b, whole[:at]) || next.metric(t, "errors_total", failedDamaged) != 1 {
						t.Errorf("cut off at byte %d: %d bytes are kept aside (%v)", at, len(b), err)
					}
					if b, err := os.ReadFile(newest); expired == 0 && (err != nil || !bytes.Equal(b, whole)) {
						t.Errorf("cut off at byte %d: %d bytes are written again, want %d (%v)", at, len(b), len(whole), err)
					}
					if lost != float64(2*expired) {
						t.Errorf("cut off at byte %d: %v seconds have expired, want %d", at, lost, 2*expired)
					}
				}
				e.start(nil)
				time.Sleep(3 * time.Minute) // what was recorded last waits for its minute
				if got, want := seqs(e.archived(life, raw)), want+" "+seqs(all[end:]); got != want {
					t.Errorf("at last archived %s\nwant %s", got, want)
				}
			})
		})
	}
}
