package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/archive"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/system"
	"github.com/framelog/framelog/tests/testenv"
)

// An archiver is killed again and again while it writes. In the end the archive has each fragment
// of the log once, and all files are whole. Each of them is a file that ffprobe opens.
func TestArchiverKilled(t *testing.T) {
	testenv.Long(t)
	ffprobe := testenv.Tool(t, "ffprobe", "ffmpeg")
	s := testenv.Up(t, testenv.UpOptions{Config: "archive: {enabled: false}\n"})
	now := time.Now().Truncate(time.Second)
	system.RecordPast(t, s, "past",
		system.Span{From: now.Add(-40 * time.Minute), To: now.Add(-25 * time.Minute)},
		system.Span{From: now.Add(-20 * time.Minute), To: now.Add(-10 * time.Minute)})
	dir := archive.Local(t.TempDir())
	past := schemas.Topic{Camera: "past"}
	log := openLog(t, s.Broker).log
	var all []schemas.Entry
	for e, err := range log.Entries(t.Context(), past, medialog.Range{}) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	of := archive.Series{Life: all[0].Life, Topic: past}
	files := func() []archive.Kept {
		found, err := dir.Files(t.Context(), of)
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	run := func() *testenv.Process {
		cmd := exec.CommandContext(context.Background(), testenv.Binary(t), "archive", "--brokers", s.Broker, "--data", t.TempDir()) // the test's cleanup ends it
		cmd.Env = append(cmd.Environ(), "FRAMELOG_ARCHIVE_DIR="+dir.String(), "FRAMELOG_ARCHIVE_DISK_RESERVE=1")
		return testenv.Start(t, "archive", cmd)
	}
	for killed := range 5 {
		p := run()
		before := len(files())
		p.Wait(t, 3*testenv.Patience, fmt.Sprintf("file %d", before+2), func() bool { return len(files()) >= before+2 })
		lasts(t, time.Duration(rand.Int64N(int64(20*time.Millisecond))))
		p.Signal(syscall.SIGKILL)
		<-p.Done()
		t.Logf("killed %d times, with %d files", killed+1, len(files()))
	}
	last := all[len(all)-1].Seq
	run().Wait(t, 10*testenv.Patience, "the last fragment is archived", func() bool {
		found := files()
		return len(found) > 0 && found[len(found)-1].Last == last
	})

	var seqs []uint64
	for _, k := range files() {
		path := filepath.Join(dir.String(), k.Path())
		f, err := archive.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Verify(t.Context()); err != nil {
			t.Error(err)
		}
		for _, e := range f.Entries {
			seqs = append(seqs, e.Seq)
		}
		_ = f.Close() // it was only read
		if out, err := exec.CommandContext(t.Context(), ffprobe, "-v", "error", path).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("ffprobe %s: %v\n%s", path, err, out)
		}
	}
	if len(seqs) != len(all) {
		t.Fatalf("%d fragments are archived, the log has %d", len(seqs), len(all))
	}
	for i, e := range all {
		if seqs[i] != e.Seq {
			t.Errorf("fragment %d is archived in the place of %d", seqs[i], e.Seq)
		}
	}
}
