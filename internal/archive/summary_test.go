package archive

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/internal/summary"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
	"github.com/framelog/framelog/tests/testmedia"
)

// writeBoxes writes the files of entries that are not there yet, with last boxes and without footage.
func writeBoxes(t *testing.T, d Dir, entries []schemas.Entry) (paths []string) {
	t.Helper()
	for file, err := range Cut(topic, each(entries)) {
		if err != nil {
			t.Fatal(err)
		}
		box := trailer{Version: version, Muxer: "m1", Camera: topic.Camera, Header: make([]byte, 32)}
		at := int64(10)
		for _, e := range file {
			s := segment{Offset: e.Offset}
			if s.Entry, err = schemas.EncodeEntry(&e); err != nil {
				t.Fatal(err)
			}
			if e.Playable() {
				s.At, s.Size, s.Sum = at, 10, make([]byte, 32)
				at += s.Size
			}
			box.Entries = append(box.Entries, s)
		}
		last, err := box.encode()
		if err != nil {
			t.Fatal(err)
		}
		path := Path(topic, file)
		if b := append(make([]byte, at), last...); d.onDisk() { // without waiting for the disk
			at := filepath.Join(root(d), path)
			err = errors.Join(os.MkdirAll(filepath.Dir(at), 0o755), os.WriteFile(at, b, 0o600))
		} else {
			err = create(t, d, path, b)
		}
		if err != nil && !errors.Is(err, fs.ErrExist) {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return paths
}

func create(t *testing.T, d Dir, path string, b []byte) error {
	return d.store.Create(t.Context(), path, func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
}

// hoursOf makes entries of some hours: with gaps, runs of gaps, absences, clocks that step back,
// new sessions, and holes in the seqs.
func hoursOf(rng *rand.Rand, hours int) []schemas.Entry {
	one := log(testmedia.Synthetic(place(), 1)).entries(-1)[0]
	var all []schemas.Entry
	at, media, seq, session := one.Start.Add(time.Duration(rng.Int64N(int64(time.Hour)))), one.Media, one.Seq, one.Session
	for end := at.Add(time.Duration(hours) * time.Hour); at.Before(end); seq++ {
		e := one
		e.Seq, e.Session, e.Start, e.Media, e.Offset = seq, session, at, media, int64(len(all))
		e.Duration, e.Bytes = schemas.Ticks(time.Duration(rng.Int64N(int64(40*time.Second)))), rng.Int64N(1<<20)
		e.First = int64(10 * len(all))
		e.Last = e.First + int64(e.Chunks) - 1
		begin := func() {
			session++
			e.Session = session
		}
		switch rng.IntN(40) {
		case 0, 1, 2, 3:
			d := e.Duration
			e = testmedia.GapAt(e, schemas.FromTicks(d))
			e.Life, e.Seq, e.Session, e.Start, e.Media, e.Offset = "life1", seq, session, at, media, int64(len(all))
			if rng.IntN(2) == 0 {
				e.Duration /= 1000
			}
		case 4:
			begin()
			d := time.Duration(rng.Int64N(int64(3 * time.Hour)))
			e.Start, e.Absent, e.AbsentReason = at.Add(d), schemas.Ticks(d), schemas.AbsentCamera
			e.Media += e.Absent
		case 5:
			begin()
			e.Start = at.Add(-time.Duration(rng.Int64N(int64(20 * time.Minute)))) // the clock was set
		case 6:
			begin()
			seq += 5
			e.Seq = seq
		case 7:
			e.Note = "{}"
		}
		e.Start = e.Start.Truncate(time.Microsecond) // as it is encoded
		all = append(all, e)
		at, media = e.End(), e.MediaEnd()
	}
	return all
}

// summarise makes summaries as they are made in time.
func summarise(t *testing.T, z *Summariser) {
	t.Helper()
	age(z.set)
	for range 5 {
		if err := z.Look(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// checkSummaries compares all summaries with the sums over all entries, and returns how many hours
// there are.
func checkSummaries(t *testing.T, seed uint64, j *Joined, k *kafka, kept []schemas.Entry) (n int) {
	t.Helper()
	first, last := kept[0].Start.Truncate(time.Hour).Add(-2*time.Hour), kept[len(kept)-1].End().Add(time.Hour)
	for _, step := range []time.Duration{time.Minute, time.Hour} {
		got, err := j.Summaries(t.Context(), topic, first, last, step)
		if err != nil {
			t.Fatal(err)
		}
		for at, h := range got {
			start := time.Unix(at, 0).UTC()
			run := summary.NewRun(start, 1)
			r := medialog.Range{From: start, To: start.Add(time.Hour)}
			for i := range kept {
				if r.Has(&kept[i]) {
					run.Add(&kept[i])
				}
			}
			want := run.Hours[0].Coarse(start, time.Minute)
			if step == time.Hour {
				want = want.Coarse(start, time.Hour)
			}
			if h.Empty() && want.Empty() {
				continue
			}
			if !reflect.DeepEqual(h, want) {
				t.Fatalf("seed %d, %v from %v: %+v\nwant %+v", seed, step, start, h, want)
			}
			if k.expired > 0 && run.Hours[0].Missing == nil && h.Empty() {
				t.Errorf("seed %d: %v is empty", seed, start)
			}
		}
		n = len(got)
	}
	return n
}

// Summaries tell of each hour what the entries tell, whatever files come and go.
func TestSummaries(t *testing.T) {
	for seed := range uint64(3) {
		testSummaries(t, Local(t.TempDir()), seed, 12)
	}
	t.Run("s3", func(t *testing.T) { testSummaries(t, s3Of(t, testenv.StartS3(t), nil), 0, 8) })
}

func testSummaries(t *testing.T, d Dir, seed uint64, hours int) {
	rng := rand.New(rand.NewPCG(seed, 3))
	all := hoursOf(rng, hours+rng.IntN(hours))
	middle := len(all) * 2 / 3
	var kept []schemas.Entry // in files
	reread := func() {
		kept = nil
		set := NewSet(d, nil, nil)
		for e, err := range set.Entries(t.Context(), Series{"life1", topic}, medialog.Range{}) {
			if err != nil {
				t.Fatal(err)
			}
			kept = append(kept, e)
		}
	}
	k := &kafka{all: all}
	j := func() *Joined {
		k.expired = kept[len(kept)-1].Seq // the log has the newest one alone
		return NewJoined(k, NewSet(d, nil, nil))
	}
	z := NewSummariser(d, slog.New(slog.DiscardHandler))
	writeBoxes(t, d, all[:middle])
	reread()
	summarise(t, z)
	if n := checkSummaries(t, seed, j(), k, kept); n < 3 {
		t.Errorf("seed %d: %d hours", seed, n)
	}
	paths := writeBoxes(t, d, all)
	reread()
	summarise(t, z)
	n := checkSummaries(t, seed, j(), k, kept)
	want := int(kept[len(kept)-1].Start.Sub(kept[0].Start).Hours()) - 6
	if n < want {
		t.Errorf("seed %d: %d hours, want %d", seed, n, want)
	}
	for i, path := range paths { // the oldest, and some others
		if i < len(paths)/5 || rng.IntN(20) == 0 {
			if err := d.store.Remove(t.Context(), path); err != nil {
				t.Fatal(err)
			}
		}
	}
	reread()
	summarise(t, z)
	if now := checkSummaries(t, seed, j(), k, kept); now < 3 || now > n {
		t.Errorf("seed %d: %d hours are left of %d", seed, now, n)
	}
	summarise(t, NewSummariser(d, slog.New(slog.DiscardHandler))) // one that has just started changes nothing
	checkSummaries(t, seed, j(), k, kept)
}

// An hour of which the log may have more than the archive is not told.
func TestSummariesOfLog(t *testing.T) { onStores(t, testSummariesOfLog) }

func testSummariesOfLog(t *testing.T, d Dir) {
	all := hoursOf(rand.New(rand.NewPCG(1, 4)), 20)
	writeBoxes(t, d, all)
	summarise(t, NewSummariser(d, slog.New(slog.DiscardHandler)))
	k := &kafka{all: all}
	got, err := NewJoined(k, NewSet(d, nil, nil)).Summaries(t.Context(), topic, all[0].Start, all[len(all)-1].End(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	k.expired = all[len(all)-1].Seq
	archived, err := NewJoined(k, NewSet(d, nil, nil)).Summaries(t.Context(), topic, all[0].Start, all[len(all)-1].End(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) == 0 || len(got) >= len(archived) {
		t.Errorf("%d hours while the log has all, %d when it has none", len(got), len(archived))
	}
	for at, h := range got { // the log has nothing else of them
		start := time.Unix(at, 0).UTC()
		run := summary.NewRun(start, 1)
		r := medialog.Range{From: start, To: start.Add(time.Hour)}
		for i := range all {
			if r.Has(&all[i]) {
				run.Add(&all[i])
			}
		}
		if want := run.Hours[0].Coarse(start, time.Minute).Coarse(start, time.Hour); !reflect.DeepEqual(h, want) {
			t.Errorf("%v: %+v\nwant %+v", start, h, want)
		}
	}
}

// countingStore counts how often each file is opened.
type countingStore struct {
	Store
	opened map[string]int // by the file's name
}

func (s countingStore) Open(ctx context.Context, at string) (Object, error) {
	s.opened[path.Base(at)]++
	return s.Store.Open(ctx, at)
}

// The summaries of a year are read from one file a month if the steps are whole hours, and nothing else
// is opened. Those of a day in minutes are read from the file of this day and that of its month.
func TestSummariesOfYear(t *testing.T) {
	d := Local(t.TempDir())
	files, first := map[string][]*summarised{}, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	year := first.AddDate(1, 0, 0)
	for at := first; at.Before(year); at = at.Add(time.Hour) {
		minutes := summary.NewRun(at, 1).Hours[0]
		minutes.Amounts[7].Bytes = at.Unix()
		for name, h := range map[string]*summary.Hour{at.Format(dayForm): minutes, at.Format(monthForm): minutes.Coarse(at, time.Hour)} {
			files[name] = append(files[name], &summarised{at: hourOf(at), dense: true, hour: h})
		}
	}
	for name, all := range files {
		at := filepath.Join(root(d), summaryPath(Series{"life1", topic}, name)) // without waiting for the disk
		if err := errors.Join(os.MkdirAll(filepath.Dir(at), 0o755), os.WriteFile(at, encodeSummary(all), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		from, to time.Time
		step     time.Duration
		files    int
	}{
		"a year of days":    {first, year, 24 * time.Hour, 12},
		"a day of minutes":  {first.AddDate(0, 5, 3), first.AddDate(0, 5, 4), time.Minute, 2},
		"a month of 15 min": {first.AddDate(0, 5, 0), first.AddDate(0, 6, 0), 15 * time.Minute, 31},
	} {
		count := countingStore{d.store, map[string]int{}}
		k := &kafka{all: []schemas.Entry{{Kind: schemas.KindWhole, Life: "life1", Seq: 1, Session: 1, Start: year}}}
		hours, err := NewJoined(k, NewSet(In(count), nil, nil)).Summaries(t.Context(), topic, c.from, c.to, c.step)
		if err != nil || len(hours) != int(c.to.Sub(c.from)/time.Hour) {
			t.Fatalf("%s: %d hours, %v", name, len(hours), err)
		}
		for at, h := range hours {
			if i := 7 * len(h.Amounts) / 60; h.Amounts[i].Bytes != at {
				t.Errorf("%s: the hour %d has %+v", name, at, h.Amounts)
			}
		}
		for file, n := range count.opened {
			if n != 1 || len(file) != len(monthForm) && len(file) != len(dayForm) {
				t.Errorf("%s: %s is opened %d times", name, file, n)
			}
		}
		if len(count.opened) != c.files {
			t.Errorf("%s: %d files are opened, want %d", name, len(count.opened), c.files)
		}
	}
}

// Files of summaries that are damaged, cut off or missing are made again.
func TestSummaryIsMadeAgain(t *testing.T) { onStores(t, testSummaryIsMadeAgain) }

func testSummaryIsMadeAgain(t *testing.T, d Dir) {
	all := hoursOf(rand.New(rand.NewPCG(1, 5)), 30)
	writeBoxes(t, d, all)
	z := NewSummariser(d, slog.New(slog.DiscardHandler))
	summarise(t, z)
	dir := summaryPath(Series{"life1", topic}, "")
	files, err := d.store.List(t.Context(), dir, "")
	if err != nil || len(files) < 3 {
		t.Fatal(files, err)
	}
	read := func(name string) []byte {
		b, err := d.readFile(t.Context(), path.Join(dir, name), maxTrailer)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, f := range files {
		want := read(f.Name())
		changed := slices.Clone(want)
		changed[len(changed)/2] ^= 1
		for _, damaged := range [][]byte{nil, want[:len(want)/2], changed} {
			err := d.store.Remove(t.Context(), path.Join(dir, f.Name()))
			if err == nil && damaged != nil {
				err = create(t, d, path.Join(dir, f.Name()), damaged)
			}
			if err != nil {
				t.Fatal(err)
			}
			summarise(t, NewSummariser(d, slog.New(slog.DiscardHandler)))
			if got := read(f.Name()); !slices.Equal(got, want) {
				t.Errorf("%s has %d bytes, want %d", f.Name(), len(got), len(want))
			}
		}
	}
}

// Summaries are none of the files that are kept and verified, and go with the last of them.
func TestSummariesGo(t *testing.T) { onStores(t, testSummariesGo) }

func testSummariesGo(t *testing.T, d Dir) {
	writeBoxes(t, d, hoursOf(rand.New(rand.NewPCG(1, 6)), 10))
	summarise(t, NewSummariser(d, slog.New(slog.DiscardHandler)))
	if !exists(t, root(d), "life1/yard/raw", summaryDir, "*") {
		t.Fatal("there are no summaries")
	}
	for c, err := range d.Verify(t.Context(), Selection{}) {
		if err != nil || c.Result == Leftover {
			t.Errorf("%s is %s, %v", c.Path, c.Result, err)
		}
	}
	k, _, _ := keeper(KeepConfig{Dir: d, MaxAge: time.Minute, Delay: time.Minute}, &clock{time.Now().Add(time.Hour)})
	look(t, k) // hides
	k.now = func() time.Time { return time.Now().Add(2 * time.Hour) }
	look(t, k)
	if exists(t, root(d), "life1") {
		t.Error("directories are left")
	}
}

func FuzzSummary(f *testing.F) {
	h := &summary.Hour{Amounts: make([]summary.Amount, 1)}
	h.Amounts[0] = summary.Amount{Footage: time.Minute, Bytes: 7, Notes: 2}
	h.Missing = []summary.Missing{{Start: testmedia.Start, End: testmedia.Start.Add(time.Second), Kind: summary.Gap, Reason: "x"}}
	f.Add(encodeSummary([]*summarised{{at: 5, first: numbers{1, 2}, last: numbers{7, 9}, sum: 4, dense: true, hour: h}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := decodeSummary(b)
		if err != nil || len(all) == 0 {
			return
		}
		again, err := decodeSummary(encodeSummary(all))
		if err != nil || !reflect.DeepEqual(again, all) {
			t.Errorf("%v: %+v\nwant %+v", err, again, all)
		}
	})
}
