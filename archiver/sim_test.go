package archiver

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/archive"
	"github.com/framelog/framelog/internal/share"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// The simulation drives two archivers of one camera through random schedules: archivers that
// crash anywhere, that stand still in the middle of a write, a store that fails, power cuts that
// take names of files which were not synced and the end of the broker's index, retention in the
// log and in the archive, purges. The log is a slice. All else is the code that runs in
// production: series, archive.Cut, archive.Write, and the files.

var (
	simSeed  = flag.Uint64("sim.seed", 0, "run only this schedule of the simulation")
	simFirst = flag.Uint64("sim.first", 1, "the first schedule of the simulation")
	simCount = flag.Int("sim.count", 40, "schedules that the simulation runs, from sim.first on")
	simAll   = flag.Bool("sim.all", false, "go on behind a schedule that fails")
)

// simStats counts what happened. Every field must be seen.
type simStats struct {
	Files, Again, Overlaps, Crashes, PowerCuts, Unlinked, Jumps, Stood, Failed, Quiet, Expired, Removed, Purged, Commits int
}

func TestSimulation(t *testing.T) {
	testenv.SkipRace(t)
	first, n := *simFirst, *simCount
	if *simSeed != 0 {
		first, n = *simSeed, 1
	}
	dir := simDir(t)
	var total simStats
	sum := reflect.ValueOf(&total).Elem()
	for i := range n {
		seed := first + uint64(i)
		w := newWorld(seed, filepath.Join(dir, fmt.Sprint(seed)))
		err := w.run()
		for i, x := 0, reflect.ValueOf(w.stats); i < x.NumField(); i++ {
			sum.Field(i).SetInt(sum.Field(i).Int() + x.Field(i).Int())
		}
		if err != nil {
			t.Errorf("schedule %d: %v\nreplay: go test ./archiver -run '^%s$' -args -sim.seed=%d", seed, err, t.Name(), seed)
			if !*simAll {
				t.FailNow()
			}
		}
		if err := os.RemoveAll(w.dir.String()); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d schedules: %+v", n, total)
	for i := range sum.NumField() {
		if *simSeed == 0 && sum.Field(i).Int() == 0 {
			t.Errorf("no schedule had any %s: the simulation misses what it is for", sum.Type().Field(i).Name)
		}
	}
}

// simDir is a directory in memory if there is one: a disk takes its time for each sync.
func simDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "framelog-sim-") //nolint:usetesting // a directory of tests is on a disk
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// world is a camera with its log, its archive and two archivers.
type world struct {
	rng   *rand.Rand
	log   simLog
	dir   archive.Dir
	procs [2]*simProcess
	stats simStats

	files   map[string]*simFile      // that were seen and not deleted, by path
	linked  map[string]bool          // of these: those that a power cut may take
	had     map[simSeq]simFragment   // what a file has told of a seq
	deleted map[simSeq]bool          // by retention
	truth   map[uint32]schemas.Entry // by Lost.Packets
}

type simFile struct{ seqs []simSeq }

type simSeq struct {
	life string
	seq  uint64
}

type simFragment struct {
	entry   schemas.Entry
	segment []byte
}

func newWorld(seed uint64, dir string) *world {
	w := &world{
		rng: rand.New(rand.NewPCG(seed, 0xa4c)), dir: archive.Local(dir), files: map[string]*simFile{}, linked: map[string]bool{},
		had: map[simSeq]simFragment{}, deleted: map[simSeq]bool{}, truth: map[uint32]schemas.Entry{},
	}
	w.log.purge()
	for i := range w.procs {
		w.procs[i] = w.start()
	}
	return w
}

func (w *world) chance(p float64) bool { return w.rng.Float64() < p }

func (w *world) run() (err error) {
	defer func() {
		for _, p := range w.procs {
			p.crash()
		}
	}()
	expire, remove, crash, hang := w.rng.Float64()*0.03, w.rng.Float64()*0.03, w.rng.Float64()*0.01, w.rng.Float64()*0.03
	for range 400 + w.rng.IntN(800) {
		w.record()
		switch {
		case w.chance(expire):
			w.expire()
		case w.chance(remove):
			w.remove()
		case w.chance(0.002):
			w.stats.Purged++
			w.log.purge()
		case w.chance(0.003):
			if err := w.powerCut(); err != nil {
				return err
			}
		}
		for i, p := range w.procs {
			switch {
			case w.chance(crash):
				w.stats.Crashes++
				p.crash()
				w.procs[i] = w.start()
			case w.chance(hang):
				p.hung = true
			case w.chance(0.03):
				p.hung = false
			}
			if err := w.turn(w.procs[i]); err != nil {
				return err
			}
		}
	}
	return w.finish()
}

// record lets the camera go on.
func (w *world) record() {
	switch {
	case w.chance(0.7):
		return
	case w.chance(0.05):
		w.log.clock += w.rng.Int64N(300) * schemas.MediaTimescale
		w.log.open(0)
	case w.chance(0.05):
		w.log.session++
	case w.chance(0.05):
		w.log.config = w.rng.IntN(3)
	}
	kind, gaps := schemas.KindWhole, 1
	switch {
	case w.chance(0.1):
		kind = schemas.KindTruncated
	case w.chance(0.1):
		kind, gaps = schemas.KindGap, 1+w.rng.IntN(4)
	}
	e := w.log.add(kind, 2+w.rng.Int64N(24), gaps)
	w.truth[e.Lost.Packets] = e
}

// expire lets retention remove footage from the log. Each partition loses it at another time, and
// the index last.
func (w *world) expire() {
	l := &w.log
	for p := range l.expired {
		l.expired[p] += w.rng.Int64N(l.media[p] - l.expired[p] + 1)
	}
	for n := w.rng.IntN(10); n > 0 && int(l.start) < len(l.index)-1; n-- {
		if e := l.index[l.start]; e.Playable() && e.First >= l.expired[e.Partition] {
			break
		}
		l.start++
	}
	w.stats.Expired++
}

// remove lets retention remove the oldest file of the archive that is not the newest of its life.
func (w *world) remove() {
	files, err := w.dir.Files(context.Background(), archive.Series{Life: w.log.life, Topic: raw})
	if err != nil || len(files) < 2 || files[0].Last >= files[len(files)-1].Last {
		return
	}
	if f := w.files[files[0].Path()]; f != nil && os.Remove(filepath.Join(w.dir.String(), files[0].Path())) == nil {
		w.stats.Removed++
		w.forget(files[0].Path())
		for _, seq := range f.seqs {
			w.deleted[seq] = true
		}
	}
}

func (w *world) forget(path string) { delete(w.files, path); delete(w.linked, path) }

// powerCut ends all processes. Names of files that were not synced may be gone, and so may be the
// end of the index. The writer that begins then asks the archive for its numbers.
func (w *world) powerCut() error {
	w.stats.PowerCuts++
	for _, p := range w.procs {
		p.crash()
	}
	for _, path := range slices.Sorted(maps.Keys(w.linked)) {
		if w.chance(0.5) {
			w.stats.Unlinked++
			if err := os.Remove(filepath.Join(w.dir.String(), path)); err != nil {
				return err
			}
			lost := w.files[path].seqs
			w.forget(path)
			for _, seq := range lost {
				if !w.safe(seq) { // its number may be used again
					delete(w.had, seq)
				}
			}
		}
	}
	clear(w.linked)
	w.log.cut(w.rng.IntN(30))
	from := uint64(0)
	if w.log.next() == 0 { // an index without entries
		from = w.log.above()
	}
	if e, ok := newestArchived(w.dir, w.log.life); ok && e.Seq >= w.log.next() {
		w.stats.Jumps++
		from = w.log.above()
	}
	w.log.open(from)
	for i := range w.procs {
		w.procs[i] = w.start()
	}
	return w.look()
}

// finish lets both archivers come to an end, and compares.
func (w *world) finish() error {
	for _, p := range w.procs {
		p.hung = false
		p.calm = true
	}
	for range 60 {
		for _, p := range w.procs {
			p.rest = false
			for n := 0; !p.rest; n++ {
				if err := w.turn(p); err != nil {
					return err
				}
				if n > 10_000 {
					return errors.New("an archiver does not come to an end")
				}
			}
		}
	}
	if err := w.look(); err != nil {
		return err
	}
	for _, e := range w.log.visible() {
		if seq := (simSeq{e.Life, e.Seq}); e.Playable() && !w.safe(seq) && !w.deleted[seq] {
			return fmt.Errorf("fragment %d is in the log, and not in the archive", e.Seq)
		}
	}
	return nil
}

// safe reports whether a file that a power cut does not take has a seq.
func (w *world) safe(seq simSeq) bool {
	for path, f := range w.files {
		if !w.linked[path] && slices.Contains(f.seqs, seq) {
			return true
		}
	}
	return false
}

// turn lets an archiver go on until its next stop, and looks at what it did.
func (w *world) turn(p *simProcess) error {
	if p.hung || p.ended {
		return nil
	}
	p.svc.store.next = time.Time{} // it has waited long enough
	p.resume <- true
	<-p.paused
	if p.wrote {
		p.wrote = false
		if err := w.look(); err != nil {
			return err
		}
	}
	if p.differs > 0 {
		return errors.New("a file differs")
	}
	return w.checkCommitted(p)
}

// look checks that all files are whole, that each is as it was, and that no two tell different
// things of a seq.
func (w *world) look() error {
	seen := map[string]bool{}
	series, err := w.dir.Series(context.Background())
	if err != nil {
		return err
	}
	for _, s := range series {
		files, err := w.dir.Files(context.Background(), s)
		if err != nil {
			return err
		}
		for _, k := range files {
			seen[k.Path()] = true
			if w.files[k.Path()] == nil {
				if err := w.add(k); err != nil {
					return fmt.Errorf("%s: %w", k.Path(), err)
				}
			}
		}
	}
	for path := range w.files {
		if !seen[path] {
			return fmt.Errorf("%s is gone", path)
		}
	}
	return nil
}

// add reads a file that is new.
func (w *world) add(k archive.Kept) error {
	f, err := archive.Open(filepath.Join(w.dir.String(), k.Path()))
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Verify(context.Background()); err != nil {
		return err
	}
	w.stats.Files++
	var file simFile
	for _, e := range f.Entries {
		e.Start = e.Start.UTC()
		now := simFragment{entry: e}
		if want := w.truth[e.Lost.Packets]; want.Life != e.Life || want.Start != e.Start && want.Run == nil {
			return fmt.Errorf("entry %d is %+v, and was %+v", e.Seq, e, want)
		}
		if e.Playable() {
			r, err := f.Segment(e.Seq)
			if err != nil {
				return err
			}
			if now.segment, err = io.ReadAll(r); err != nil {
				return err
			}
		}
		seq := simSeq{k.Life, e.Seq}
		if had, ok := w.had[seq]; ok {
			w.stats.Overlaps++
			if !bytes.Equal(had.segment, now.segment) || had.entry != now.entry {
				return fmt.Errorf("fragment %d differs from the one in another file:\n%+v\n%+v", e.Seq, now.entry, had.entry)
			}
		}
		w.had[seq] = now
		file.seqs = append(file.seqs, seq)
	}
	w.files[k.Path()], w.linked[k.Path()] = &file, true
	return nil
}

// checkCommitted: what is before a committed offset is in files that no power cut takes, as far
// as the log still has it, and retention has not removed it from the archive.
func (w *world) checkCommitted(p *simProcess) error {
	o, _ := p.svc.offsets.Get(schemas.Names{}.Index(raw))
	if o == p.committed {
		return nil
	}
	p.committed = o
	w.stats.Commits++
	behind := share.SeqBehind(o, w.log.life)
	for _, e := range w.log.visible() {
		seq := simSeq{e.Life, e.Seq}
		if e.Playable() && (e.Seq < behind || e.Offset < o.At && behind > 0) && !w.safe(seq) && !w.deleted[seq] {
			return fmt.Errorf("offset %d (%s) is committed, and fragment %d at %d is not safe", o.At, o.Metadata, e.Seq, e.Offset)
		}
	}
	return nil
}
