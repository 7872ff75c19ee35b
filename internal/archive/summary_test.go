package archive

import (
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/internal/summary"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testmedia"
)

// writeBoxes writes the files of entries, with last boxes and without footage.
func writeBoxes(t *testing.T, dir string, entries []schemas.Entry) (paths []string) {
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
		path := filepath.Join(dir, Path(topic, file))
		if err == nil {
			err = os.MkdirAll(filepath.Dir(path), 0o755)
		}
		if err == nil {
			err = os.WriteFile(path, append(make([]byte, at), last...), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return paths
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
		rng := rand.New(rand.NewPCG(seed, 3))
		dir := t.TempDir()
		all := hoursOf(rng, 12+rng.IntN(12))
		middle := len(all) * 2 / 3
		var kept []schemas.Entry // in files
		reread := func() {
			kept = nil
			set := NewSet(Local(dir), nil, nil)
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
			return NewJoined(k, NewSet(Local(dir), nil, nil))
		}
		z := NewSummariser(Local(dir), slog.New(slog.DiscardHandler))
		writeBoxes(t, dir, all[:middle])
		reread()
		summarise(t, z)
		if n := checkSummaries(t, seed, j(), k, kept); n < 3 {
			t.Errorf("seed %d: %d hours", seed, n)
		}
		paths := writeBoxes(t, dir, all)
		reread()
		summarise(t, z)
		n := checkSummaries(t, seed, j(), k, kept)
		want := int(kept[len(kept)-1].Start.Sub(kept[0].Start).Hours()) - 6
		if n < want {
			t.Errorf("seed %d: %d hours, want %d", seed, n, want)
		}
		for i, path := range paths { // the oldest, and some others
			if i < len(paths)/5 || rng.IntN(20) == 0 {
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
			}
		}
		reread()
		summarise(t, z)
		if now := checkSummaries(t, seed, j(), k, kept); now < 3 || now > n {
			t.Errorf("seed %d: %d hours are left of %d", seed, now, n)
		}
		summarise(t, NewSummariser(Local(dir), slog.New(slog.DiscardHandler))) // one that has just started changes nothing
		checkSummaries(t, seed, j(), k, kept)
	}
}

// An hour of which the log may have more than the archive is not told.
func TestSummariesOfLog(t *testing.T) {
	all := hoursOf(rand.New(rand.NewPCG(1, 4)), 20)
	dir := t.TempDir()
	writeBoxes(t, dir, all)
	summarise(t, NewSummariser(Local(dir), slog.New(slog.DiscardHandler)))
	k := &kafka{all: all}
	got, err := NewJoined(k, NewSet(Local(dir), nil, nil)).Summaries(t.Context(), topic, all[0].Start, all[len(all)-1].End(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	k.expired = all[len(all)-1].Seq
	archived, err := NewJoined(k, NewSet(Local(dir), nil, nil)).Summaries(t.Context(), topic, all[0].Start, all[len(all)-1].End(), time.Hour)
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

// Files of summaries that are damaged, cut off or missing are made again.
func TestSummaryIsMadeAgain(t *testing.T) {
	all := hoursOf(rand.New(rand.NewPCG(1, 5)), 30)
	dir := t.TempDir()
	writeBoxes(t, dir, all)
	z := NewSummariser(Local(dir), slog.New(slog.DiscardHandler))
	summarise(t, z)
	files, err := filepath.Glob(filepath.Join(dir, "life1/yard/raw", summaryDir, "*"))
	if err != nil || len(files) < 3 {
		t.Fatal(files, err)
	}
	for _, path := range files {
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, damage := range []func() error{
			func() error { return os.Remove(path) },
			func() error { return os.WriteFile(path, want[:len(want)/2], 0o600) },
			func() error {
				b := slices.Clone(want)
				b[len(b)/2] ^= 1
				return os.WriteFile(path, b, 0o600)
			},
		} {
			if err := damage(); err != nil {
				t.Fatal(err)
			}
			summarise(t, NewSummariser(Local(dir), slog.New(slog.DiscardHandler)))
			if got, err := os.ReadFile(path); err != nil || !slices.Equal(got, want) {
				t.Errorf("%s has %d bytes, %v; want %d", filepath.Base(path), len(got), err, len(want))
			}
		}
	}
}

// Summaries are none of the files that are kept and verified, and go with the last of them.
func TestSummariesGo(t *testing.T) {
	dir := t.TempDir()
	d := Local(dir)
	writeBoxes(t, dir, hoursOf(rand.New(rand.NewPCG(1, 6)), 10))
	summarise(t, NewSummariser(d, slog.New(slog.DiscardHandler)))
	if !exists(t, dir, "life1/yard/raw", summaryDir, "*") {
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
	if exists(t, dir, "life1") {
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
