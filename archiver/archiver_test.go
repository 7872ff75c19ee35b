package archiver

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/archive"
	"github.com/framelog/framelog/internal/clip"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testmedia"
)

// Real footage is archived, and the archiver is started again in the middle. All files together
// have each fragment once, with the bytes that the log gives. Offsets and metrics tell that all is
// done.
func TestArchive(t *testing.T) {
	clip := testmedia.MakeClip(t, 4, true, testmedia.H264BFrames...)
	virtual(t, func(t *testing.T, e *env) {
		cam := e.record(raw)
		cam.clip = clip.Fragments(testmedia.Place{Layout: testmedia.Layout, Start: testmedia.Start}, 5)
		one := e.start(nil)
		cam.seconds(100)
		one.stop()
		cam.seconds(80)
		two := e.start(nil)
		cam.seconds(10)
		all := e.entries(raw)
		life := all[0].Life
		if got := e.archived(life, raw); len(got) < 120 || len(got) >= 190 {
			t.Errorf("while the camera is live, %d of 190 fragments are archived", len(got))
		}
		if unsafe := two.metric(t, "unsafe_seconds", camID, schemas.Raw); unsafe <= 0 || unsafe > 66 {
			t.Errorf("%v seconds are not safe", unsafe)
		}
		time.Sleep(3 * time.Minute)
		if got, want := seqs(e.archived(life, raw)), seqs(all); got != want {
			t.Errorf("archived %s\nof %s", got, want)
		}
		for name, want := range map[string]float64{"unsafe_seconds": 0, "expired_seconds_total": 0} {
			if got := two.metric(t, name, camID, schemas.Raw); got != want {
				t.Errorf("%s is %v, want %v", name, got, want)
			}
		}
		files, err := e.dir.Files(t.Context(), archive.Series{Life: life, Topic: raw})
		if n := one.metric(t, "files_total") + two.metric(t, "files_total"); err != nil || int(n) != len(files) {
			t.Errorf("%v files were written, and there are %d (%v)", n, len(files), err)
		}
		committed, err := e.admin().FetchOffsets(t.Context(), Group)
		if err != nil {
			t.Fatal(err)
		}
		if o, ok := committed.Lookup(schemas.Names{}.Index(raw), 0); !ok || o.At != all[len(all)-1].Offset+1 {
			t.Errorf("committed %+v, want %d", o, all[len(all)-1].Offset+1)
		}
	})
}

// A camera is away for longer than the archiver waits: what there is is written, and later footage
// stands in later files. The gaps inside a file belong to it.
func TestQuiet(t *testing.T) {
	virtual(t, func(t *testing.T, e *env) {
		cam := e.record(raw)
		e.start(nil)
		cam.seconds(10)
		cam.w.Gap(cam.start, schemas.Ticks(time.Duration(cam.start.UnixNano())), schemas.Ticks(3*time.Second), schemas.ReasonBudget)
		cam.start = cam.start.Add(3 * time.Second)
		cam.seconds(5)
		all := e.entries(raw)
		time.Sleep(100 * time.Second)
		if got := e.archived(all[0].Life, raw); len(got) == len(all) {
			t.Error("the last fragments are archived at once")
		}
		time.Sleep(40 * time.Second)
		if got, want := seqs(e.archived(all[0].Life, raw)), seqs(all); got != want || len(playable(all)) == len(all) {
			t.Errorf("archived %s\nof %s", got, want)
		}
		cam.pause(5 * time.Minute)
		cam.seconds(20)
		time.Sleep(3 * time.Minute)
		if got, want := seqs(playable(e.archived(all[0].Life, raw))), seqs(playable(e.entries(raw))); got != want {
			t.Errorf("after a pause: archived %s\nof %s", got, want)
		}
	})
}

// Two archivers work on one camera. One of them stands still while it writes a file, and the
// other one goes on. Both have the same files, and no error.
func TestTwoAtOnce(t *testing.T) {
	virtual(t, func(t *testing.T, e *env) {
		cam := e.record(raw)
		gate, stands := make(chan struct{}), make(chan struct{}, 100)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		defer wg.Wait()
		defer cancel()
		both := []*process{e.alone(nil), e.alone(func(s *Service) {
			s.store.put = func(ctx context.Context, dir archive.Dir, l clip.Log, of schemas.Topic, entries []schemas.Entry) error {
				stands <- struct{}{}
				<-gate
				return archive.Write(ctx, dir, l, of, entries)
			}
		})}
		for _, p := range both {
			wg.Go(func() { p.archive(ctx, camID) })
		}
		cam.seconds(150)
		<-stands
		life := e.entries(raw)[0].Life
		before := seqs(e.archived(life, raw))
		if before == "" {
			t.Error("nobody goes on while one archiver stands still")
		}
		close(gate)
		cam.seconds(60)
		time.Sleep(3 * time.Minute)
		if got, want := seqs(e.archived(life, raw)), seqs(e.entries(raw)); got != want {
			t.Errorf("archived %s\nof %s", got, want)
		}
		for i, p := range both {
			if n := p.metric(t, "errors_total", failedDiffers) + p.metric(t, "errors_total", failedStore) + p.metric(t, "errors_total", failedFootage); n != 0 {
				t.Errorf("archiver %d has %v errors", i, n)
			}
			if n, other := p.metric(t, "files_total"), both[1-i].metric(t, "files_total"); n < 3 || n != other {
				t.Errorf("archiver %d has %v files, the other one %v", i, n, other)
			}
		}
	})
}

// failWhile makes all writes of an archiver fail while away is set.
func failWhile(s *Service, away *atomic.Bool) {
	s.store.put = func(ctx context.Context, dir archive.Dir, l clip.Log, of schemas.Topic, entries []schemas.Entry) error {
		if away.Load() {
			return &fs.PathError{Op: "write", Path: dir.String(), Err: syscall.EIO}
		}
		return archive.Write(ctx, dir, l, of, entries)
	}
}

// The store takes nothing for ten minutes, first since the disk is full, then since it is away.
// Nothing is left out, and both are told once.
func TestStoreAway(t *testing.T) {
	virtual(t, func(t *testing.T, e *env) {
		cam := e.record(raw)
		var free atomic.Int64
		var away atomic.Bool
		p := e.start(func(s *Service) {
			s.store.reserve = 1 << 20
			s.store.free = func(context.Context) (int64, error) { return free.Load(), nil }
			failWhile(s, &away)
		})
		cam.seconds(600)
		life := e.entries(raw)[0].Life
		if got := e.archived(life, raw); len(got) > 0 {
			t.Errorf("with less free than the reserve %s are archived", seqs(got))
		}
		if unsafe, up := p.metric(t, "unsafe_seconds", camID, schemas.Raw), p.metric(t, "store_up"); unsafe < 580 || unsafe > 600 || up != 0 {
			t.Errorf("%v of 600 seconds are not safe, store up %v", unsafe, up)
		}
		if !strings.Contains(e.lines.String(), "less disk is free than archive.disk_reserve") {
			t.Error("it does not tell that the disk is full")
		}
		free.Store(2 << 20)
		cam.seconds(60)
		if got := e.archived(life, raw); len(got) < 275 || p.metric(t, "store_up") != 1 {
			t.Errorf("the disk is free again, and %d fragments are archived", len(got))
		}
		away.Store(true)
		cam.seconds(600)
		away.Store(false)
		cam.seconds(60)
		time.Sleep(3 * time.Minute)
		if got, want := seqs(e.archived(life, raw)), seqs(e.entries(raw)); got != want {
			t.Errorf("archived %s\nof %s", got, want)
		}
		for text, want := range map[string]int{"the archive takes no footage": 2, "the archive takes footage again": 2} {
			if n := strings.Count(e.lines.String(), text); n != want {
				t.Errorf("%q is told %d times, want %d", text, n, want)
			}
		}
		if n := p.metric(t, "errors_total", failedStore); n < 20 || n > 45 {
			t.Errorf("%v errors are counted: with longer and longer pauses there are some 33", n)
		}
	})
}

// Retention is faster than the archiver: what is gone is counted, and the rest is archived.
func TestExpired(t *testing.T) {
	virtual(t, func(t *testing.T, e *env) {
		cam := e.record(raw)
		var away atomic.Bool
		p := e.start(func(s *Service) { failWhile(s, &away) })
		cam.seconds(90)
		away.Store(true)
		cam.seconds(200)
		all := e.entries(raw)
		before := e.archived(all[0].Life, raw)
		if len(before) == 0 || len(before) > 45 {
			t.Fatalf("%d fragments are archived", len(before))
		}
		gone := all[75]
		e.expire(&gone)
		away.Store(false)
		cam.seconds(60)
		time.Sleep(3 * time.Minute)
		rest := e.entries(raw)
		if rest[0].Seq <= gone.Seq || rest[0].Seq > gone.Seq+2 {
			t.Fatalf("the log begins with %d, and %d has expired", rest[0].Seq, gone.Seq)
		}
		if got, want := seqs(e.archived(all[0].Life, raw)), seqs(before)+" "+seqs(rest); got != want {
			t.Errorf("archived %s\nwant %s", got, want)
		}
		want := 2 * float64(rest[0].Seq-before[len(before)-1].Seq-1) // fragments of two seconds
		if got := p.metric(t, "expired_seconds_total", camID, schemas.Raw); got != want {
			t.Errorf("%v seconds have expired, want %v", got, want)
		}
		if text := e.lines.String(); strings.Count(text, "footage expired before it was archived") != 1 {
			t.Error("it is not told once what has expired")
		}
	})
}

// A fragment that cannot be read is left out after some attempts, and is counted. All others are
// archived.
func TestUnreadable(t *testing.T) {
	virtual(t, func(t *testing.T, e *env) {
		cam := e.record(raw)
		cam.seconds(100)
		all := e.entries(raw)
		bad := all[20]
		p := e.start(func(s *Service) {
			s.mlog = &damagedLog{Log: s.mlog, seq: bad.Seq}
			s.store.mlog = s.mlog
		})
		time.Sleep(5 * time.Minute)
		if got, want := seqs(e.archived(all[0].Life, raw)), seqs(slices.Delete(slices.Clone(all), 20, 21)); got != want {
			t.Errorf("archived %s\nwant %s", got, want)
		}
		if lost, tries := p.metric(t, "expired_seconds_total", camID, schemas.Raw), p.metric(t, "errors_total", failedFootage); lost != 2 || tries != maxTries {
			t.Errorf("%v seconds are counted after %v attempts", lost, tries)
		}
	})
}

// damagedLog cannot read one fragment.
type damagedLog struct {
	Log
	seq uint64
}

func (l *damagedLog) Chunks(ctx context.Context, t schemas.Topic, e schemas.Entry) iter.Seq2[*schemas.Chunk, error] {
	if e.Seq != l.seq {
		return l.Log.Chunks(ctx, t, e)
	}
	return func(yield func(*schemas.Chunk, error) bool) { yield(nil, errors.New("it is damaged")) }
}

// The newest file is cut off, as after a power loss: it is set aside and written again. A file of
// the same name that holds something else stays, is told, and stops nothing.
func TestDamagedFiles(t *testing.T) {
	virtual(t, func(t *testing.T, e *env) {
		cam := e.record(raw)
		one := e.start(nil)
		cam.seconds(130)
		one.stop()
		life := e.entries(raw)[0].Life
		files, err := e.dir.Files(t.Context(), archive.Series{Life: life, Topic: raw})
		if err != nil || len(files) < 2 {
			t.Fatal(files, err)
		}
		newest, oldest := filepath.Join(e.dir.String(), files[len(files)-1].Path()), filepath.Join(e.dir.String(), files[0].Path())
		if err := os.Truncate(newest, files[len(files)-1].Size-7); err != nil {
			t.Fatal(err)
		}
		two := e.start(nil)
		time.Sleep(3 * time.Minute)
		if got, want := seqs(e.archived(life, raw)), seqs(e.entries(raw)); got != want {
			t.Errorf("archived %s\nof %s", got, want)
		}
		if _, err := os.Stat(newest + archive.DamagedEnd); err != nil || two.metric(t, "errors_total", failedDamaged) != 1 {
			t.Errorf("the damaged file is not kept aside: %v", err)
		}
		two.stop()

		whole, err := os.ReadFile(oldest)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(filepath.Dir(oldest)); err != nil {
			t.Fatal(err)
		}
		three := e.start(func(s *Service) { // it does not see the damage before it writes
			put := s.store.put
			s.store.put = func(ctx context.Context, dir archive.Dir, l clip.Log, of schemas.Topic, entries []schemas.Entry) error {
				if filepath.Join(dir.String(), archive.Path(of, entries)) == oldest {
					if err := errors.Join(os.MkdirAll(filepath.Dir(oldest), 0o755), os.WriteFile(oldest, whole[:len(whole)-1], 0o644)); err != nil {
						t.Error(err)
					}
				}
				return put(ctx, dir, l, of, entries)
			}
		})
		time.Sleep(3 * time.Minute)
		if n := three.metric(t, "errors_total", failedDiffers); n != 1 {
			t.Errorf("%v files differ, want 1", n)
		}
		if got, err := os.ReadFile(oldest); err != nil || len(got) != len(whole)-1 {
			t.Errorf("the file that differs has %d bytes, want %d (%v)", len(got), len(whole)-1, err)
		}
		if files, err = e.dir.Files(t.Context(), archive.Series{Life: life, Topic: raw}); err != nil || len(files) < 3 {
			t.Errorf("behind it there are only %v (%v)", files, err)
		}
	})
}

// The newest file of one camera cannot be read. That is told once, with the file. Other cameras are archived
// meanwhile, and that camera when the file can be read.
func TestUnreadableFile(t *testing.T) {
	virtual(t, func(t *testing.T, e *env) {
		gate := schemas.Topic{Camera: "gate"}
		e.add(gate.Camera)
		cam, other := e.record(raw), e.record(gate)
		seconds := func(n int) {
			for range n / 10 {
				cam.seconds(10)
				other.seconds(10)
			}
		}
		one := e.start(nil)
		seconds(130)
		one.stop()
		life := e.entries(raw)[0].Life
		files, err := e.dir.Files(t.Context(), archive.Series{Life: life, Topic: raw})
		if err != nil || len(files) == 0 {
			t.Fatal(files, err)
		}
		newest := filepath.Join(e.dir.String(), files[len(files)-1].Path())
		// A directory is opened, and each read of it fails, as of a disk with bad blocks.
		if err := errors.Join(os.Rename(newest, newest+".away"), os.Mkdir(newest, 0o755)); err != nil {
			t.Fatal(err)
		}
		two := e.start(nil)
		seconds(300)
		time.Sleep(3 * time.Minute)
		if got, want := seqs(e.archived(e.entries(gate)[0].Life, gate)), seqs(e.entries(gate)); got != want {
			t.Errorf("of the other camera archived %s\nof %s", got, want)
		}
		if unsafe, up := two.metric(t, "unsafe_seconds", camID, schemas.Raw), two.metric(t, "store_up"); unsafe < 300 || up != 1 {
			t.Errorf("%v seconds are not safe, store up %v", unsafe, up)
		}
		told := 0
		for line := range strings.Lines(e.lines.String()) {
			if strings.Contains(line, files[len(files)-1].Path()) && strings.Contains(line, "camera="+camID) {
				told++
			}
		}
		if told != 1 {
			t.Errorf("it is told %d times, want once", told)
		}
		if err := errors.Join(os.Remove(newest), os.Rename(newest+".away", newest)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Minute)
		if got, want := seqs(e.archived(life, raw)), seqs(e.entries(raw)); got != want {
			t.Errorf("archived %s\nof %s", got, want)
		}
	})
}
