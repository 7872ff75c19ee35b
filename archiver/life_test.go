package archiver

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/framelog/framelog/internal/archive"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
)

// contents returns all files of an archive, by path.
func contents(t *testing.T, dir archive.Dir) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	err := filepath.WalkDir(dir.String(), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			all[path], err = os.ReadFile(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// unchanged checks that all files that an archive had are there as they were, and that it has more.
func unchanged(t *testing.T, dir archive.Dir, before map[string][]byte) {
	t.Helper()
	after := contents(t, dir)
	for path, b := range before {
		if !bytes.Equal(after[path], b) {
			t.Errorf("%s is not what it was", path)
		}
	}
	if len(after) <= len(before) {
		t.Errorf("%d files were there, and %d are now", len(before), len(after))
	}
}

// noContradiction checks that no two files tell different things of a seq.
func noContradiction(t *testing.T, dir archive.Dir) {
	t.Helper()
	series, err := dir.Series(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range series {
		files, err := dir.Files(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		copies := map[uint64]schemas.Entry{}
		for _, k := range files {
			f, err := dir.Open(t.Context(), k)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(f.Verify(t.Context()), f.Close()); err != nil {
				t.Error(k.Path(), err)
			}
			for _, e := range f.Entries {
				if had, ok := copies[e.Seq]; ok && had != e {
					t.Errorf("%d is %+v and %+v", e.Seq, had, e)
				}
				copies[e.Seq] = e
			}
		}
	}
}

// cutTail takes the end off a partition of a broker that is not running, and what only a clean stop
// writes. It leaves some segments, and of the last one half.
func cutTail(t *testing.T, data, partition string, segments int) {
	t.Helper()
	dir := filepath.Join(data, "log", "partitions", partition)
	files, err := filepath.Glob(filepath.Join(dir, "*.dat"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	slices.SortFunc(files, func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) })
	for len(files) > segments {
		if err := os.Remove(files[len(files)-1]); err != nil {
			t.Fatal(err)
		}
		files = files[:len(files)-1]
	}
	newest := files[len(files)-1]
	info, err := os.Stat(newest)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(newest, info.Size()/2); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"snapshot.json", strings.TrimSuffix(filepath.Base(newest), ".dat") + ".idx"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
}

// TestPowerCutOfTheBroker: a power cut takes the end of the embedded broker's index, which was archived
// already, and perhaps of its media. The camera goes on, and so does the archive: it has all that was
// recorded before and after, and no file is changed or contradicted. So it is also if the writer
// cannot ask the archive; then what it records under numbers of archived footage is not archived.
func TestPowerCutOfTheBroker(t *testing.T) {
	for name, c := range map[string]struct {
		asks  bool
		media int // segments of each partition that are left
	}{"all": {true, 3}, "index": {true, 100}, "writer that cannot ask": {false, 3}} {
		t.Run(name, func(t *testing.T) {
			data, dir := t.TempDir(), archive.Local(filepath.Join(t.TempDir(), "archive"))
			e := runBroker(t, data, dir)
			start := time.Now().Add(-time.Hour).Truncate(time.Second)
			cam := e.record("yard", start)
			cam.fragments(t, 70)
			s := e.archiver()
			e.archive(s, newSeries(s, cam.t))
			_, archived, err := archive.NewSet(dir, nil, nil).Bounds(t.Context(), e.series(cam.t))
			if err != nil {
				t.Fatal(err)
			}
			before := contents(t, dir)
			done := int(archived.Start.Sub(start)/(2*time.Second)) + 1 // fragments
			if done < 40 || done > 69 {
				t.Fatalf("%d fragments are archived", done)
			}
			e.stop()

			cutTail(t, data, "cam.yard.index-0", 1)
			for _, p := range []string{"cam.yard-0", "cam.yard-1"} {
				cutTail(t, data, p, c.media)
			}
			e = runBroker(t, data, dir)
			if newest, err := e.log.Newest(t.Context(), cam.t); err != nil || newest.Seq >= archived.Seq {
				t.Fatalf("the log ends at %d, and the archive at %d (%v)", newest.Seq, archived.Seq, err)
			}
			past := archive.NewJoined(e.log, archive.NewSet(dir, nil, nil))
			o := medialog.OpenOptions{Writer: "w2"}
			if c.asks {
				o.Archived = func(ctx context.Context, life string, seq uint64) (schemas.Entry, error) {
					return past.Archived(ctx, cam.t, life, seq)
				}
			}
			cam.w = e.log.Open(t.Context(), cam.t, o)
			<-cam.w.Ready()
			cam.next = start.Add(10 * time.Minute)
			first := cam.n + 1
			cam.fragments(t, 80) // what was left and these are below the broker's limit
			s = e.archiver()
			r := newSeries(s, cam.t)
			e.archive(s, r)
			unchanged(t, dir, before)
			noContradiction(t, dir)
			if n := testutil.ToFloat64(s.metrics.errors.WithLabelValues(failedDiffers)); (n == 1) == c.asks {
				t.Errorf("%v files differ", n)
			}
			all := numbers(t, past, cam.t)
			if !c.asks {
				if last := all[len(all)-1]; last != cam.n || r.from < archived.Seq+30 {
					t.Errorf("the newest footage is %d of %d, and archived up to %d", last, cam.n, r.from)
				}
				return
			}
			// What was not archived is there as far as its chunks are.
			from := bytes.IndexByte(all, first)
			if from < done || c.media == 3 && from > done || !bytes.Equal(all[:from], upTo(1, byte(from))) || !bytes.Equal(all[from:], upTo(first, cam.n)) {
				t.Errorf("there is %v: want 1 to %d and %d to %d", all, done, first, cam.n)
			}
		})
	}
}

// series is the series of what the log has of a topic.
func (e *embedded) series(t schemas.Topic) archive.Series {
	e.t.Helper()
	life, err := e.log.Life(e.t.Context(), t)
	if err != nil {
		e.t.Fatal(err)
	}
	return archive.Series{Life: life, Topic: t}
}

// TestKafkaWiped: all topics are gone, and are created again, so that offsets begin at 0. The archiver
// that runs goes on with the new life, and the old one stays as it is.
func TestKafkaWiped(t *testing.T) {
	dir := archive.Local(filepath.Join(t.TempDir(), "archive"))
	e := runBroker(t, t.TempDir(), dir)
	start := time.Now().Add(-time.Hour).Truncate(time.Second)
	cam := e.record("yard", start)
	cam.fragments(t, 70)
	s := e.archiver()
	r := newSeries(s, cam.t)
	e.archive(s, r)
	before, old := contents(t, dir), e.series(cam.t)
	if len(before) == 0 {
		t.Fatal("nothing is archived")
	}
	names := schemas.Names{}
	if _, err := e.log.Purge(t.Context(), "yard"); err != nil {
		t.Fatal(err)
	}
	for r.next(t.Context()) {
	}

	again := e.record("yard", start.Add(10*time.Minute))
	again.n = 100
	again.fragments(t, 100)
	e.archive(s, r)
	now := e.series(cam.t)
	if now.Life == old.Life {
		t.Fatal("it is the old life")
	}
	unchanged(t, dir, before)
	noContradiction(t, dir)
	files, err := dir.Files(t.Context(), now)
	if err != nil || len(files) < 2 {
		t.Errorf("of the new life %v are archived (%v)", files, err)
	}
	if got := numbers(t, archive.NewJoined(e.log, archive.NewSet(dir, nil, nil)), cam.t); !bytes.Equal(got, upTo(101, 200)) {
		t.Errorf("there is %v", got)
	}
	index := names.Index(cam.t)
	cl, err := kgo.NewClient(kgo.SeedBrokers(e.cfg.Brokers...))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	committed, err := kadm.NewClient(cl).FetchOffsets(t.Context(), Group)
	if err != nil {
		t.Fatal(err)
	}
	if o, ok := committed.Lookup(index, 0); !ok || !strings.HasPrefix(o.Metadata, now.Life+" ") || o.At > 110 {
		t.Errorf("committed %+v", o)
	}
}
