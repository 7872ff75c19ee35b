package archive

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/cmaf"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testmedia"
)

// kafka is a log whose footage below a seq has expired. cut, if not 0, is after how many chunks
// of a fragment retention removes it.
type kafka struct {
	log
	all     []schemas.Entry
	expired uint64
	cut     int
	cutBy   error // default ErrExpired
	emptied bool  // retention has emptied the index too
}

func (k *kafka) Life(context.Context, schemas.Topic) (string, error) {
	switch {
	case k.emptied:
		return "", nil
	case len(k.all) == 0:
		return "", medialog.ErrNoTopic
	}
	return "life1", nil
}

func (k *kafka) Entries(_ context.Context, _ schemas.Topic, r medialog.Range) iter.Seq2[schemas.Entry, error] {
	return func(yield func(schemas.Entry, error) bool) {
		if len(k.all) == 0 && !k.emptied {
			yield(schemas.Entry{}, medialog.ErrNoTopic)
			return
		}
		for _, e := range k.all {
			if e.Seq >= k.expired && r.Has(&e) && !yield(e, nil) {
				return
			}
		}
	}
}

func (k *kafka) Entry(_ context.Context, _ schemas.Topic, seq uint64) (schemas.Entry, error) {
	if seq < k.expired {
		return schemas.Entry{}, medialog.ErrExpired
	}
	for _, e := range k.all {
		if e.Seq == seq {
			return e, nil
		}
	}
	return schemas.Entry{}, medialog.ErrNotFound
}

func (k *kafka) Available(_ context.Context, _ schemas.Topic, e schemas.Entry) error {
	if e.Seq < k.expired {
		return medialog.ErrExpired
	}
	return nil
}

func (k *kafka) Chunks(ctx context.Context, t schemas.Topic, e schemas.Entry) iter.Seq2[*schemas.Chunk, error] {
	return func(yield func(*schemas.Chunk, error) bool) {
		n := 0
		for c, err := range k.log.Chunks(ctx, t, e) {
			if e.Seq < k.expired || k.cut != 0 && n == k.cut {
				yield(nil, cmp.Or(k.cutBy, medialog.ErrExpired))
				return
			}
			if n++; !yield(c, err) {
				return
			}
		}
	}
}

func (k *kafka) Bounds(context.Context, schemas.Topic) (oldest, newest schemas.Entry, err error) {
	switch i := slices.IndexFunc(k.all, func(e schemas.Entry) bool { return e.Seq >= k.expired }); {
	case len(k.all) == 0 && !k.emptied:
		return oldest, newest, medialog.ErrNoTopic
	case i < 0:
		return oldest, newest, medialog.ErrNotFound
	default:
		return k.all[i], k.all[len(k.all)-1], nil
	}
}

// recorded is four sessions of 50 fragments of a second. The clock steps back by 50 minutes in
// the third one. There are gaps in each, and a hole before the fourth.
func recorded() *kafka {
	k := &kafka{}
	p := place()
	for session := range 4 {
		p.Session, p.Epoch = uint64(session+1), int64(session+10)
		back := time.Duration(0)
		if session == 2 {
			back = 50 * time.Minute
		}
		if session == 3 {
			p.Seq += 1000
		}
		fragments := testmedia.Synthetic(p, 50)
		for i := range fragments {
			f := &fragments[i]
			f.Entry.Start = f.Entry.Start.Add(-back)
			for _, c := range f.Chunks {
				c.Start = c.Start.Add(-back)
				c.Captured = c.Start.Add(20 * time.Millisecond)
				c.CameraTime = c.Start.Add(-time.Hour)
			}
		}
		k.log = append(k.log, fragments...)
		p = testmedia.After(k.log[len(k.log)-1].Entry, p)
		p.Start = p.Start.Add(back)
	}
	k.entries(-1)
	for i := range k.log {
		if e := &k.log[i].Entry; i%17 == 16 {
			e.Kind, e.Reason, e.Epoch, e.First, e.Last, e.Chunks, e.Bytes, e.Config = schemas.KindGap, schemas.ReasonBudget, 0, 0, 0, 0, 0, ""
			k.log[i].Chunks = nil
		}
		k.all = append(k.all, k.log[i].Entry)
	}
	return k
}

// archiveAll writes all complete files of k, and returns their paths.
func archiveAll(t *testing.T, d Dir, k *kafka) (paths []string) {
	t.Helper()
	for file, err := range Cut(topic, each(k.all)) {
		if err != nil {
			t.Fatal(err)
		}
		if err := Write(t.Context(), d, k.log, topic, file); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, filepath.Join(root(d), Path(topic, file)))
	}
	return paths
}

func collect(t *testing.T, entries iter.Seq2[schemas.Entry, error]) (all []schemas.Entry) {
	t.Helper()
	for e, err := range entries {
		if err != nil {
			t.Fatal(err)
		}
		e.Start = e.Start.UTC()
		all = append(all, e)
	}
	return all
}

// Wherever the log ends, ranges by seq and by time give each entry once and in order: those of
// the log, and those of the files. Gaps with the reason `expired` stand for a file that is deleted:
// they begin where the footage before it ends, and end where that behind it begins.
func TestJoinedEntries(t *testing.T) { onStores(t, testJoinedEntries) }

func testJoinedEntries(t *testing.T, d Dir) {
	k := recorded()
	paths := archiveAll(t, d, k)
	if len(paths) < 6 {
		t.Fatalf("files %v", paths)
	}
	deleted := paths[2]
	if err := os.Remove(deleted); err != nil {
		t.Fatal(err)
	}
	kept := map[uint64]bool{}
	set := NewSet(d, nil, nil)
	for _, e := range collect(t, set.Entries(t.Context(), Series{"life1", topic}, medialog.Range{})) {
		if !expired(e) {
			kept[e.Seq] = true
		}
	}
	if len(kept) < 120 || len(kept) > 190 {
		t.Errorf("the files hold %d entries", len(kept))
	}
	j := NewJoined(k, set)
	random := rand.New(rand.NewPCG(1, 2))
	pick := func() schemas.Entry { return k.all[random.IntN(len(k.all))] }
	lost := 0 // ranges with gaps
	for range 500 {
		k.expired = pick().Seq
		j.known.Purge()
		var r medialog.Range
		if random.IntN(2) == 0 {
			r.From = pick().Start.Add(time.Duration(random.IntN(1000)) * time.Millisecond)
		}
		if random.IntN(2) == 0 {
			r.To = pick().Start.Add(time.Duration(random.IntN(1000)) * time.Millisecond)
		}
		if random.IntN(4) == 0 {
			r.FromSeq = pick().Seq
		}
		if random.IntN(4) == 0 {
			r.ToSeq = pick().Seq
		}
		var want []schemas.Entry
		for _, e := range whole(t, j, k, kept) {
			if r.Has(&e) {
				want = append(want, e)
			}
		}
		got := collect(t, j.Entries(t.Context(), topic, r))
		if slices.ContainsFunc(got, expired) {
			lost++
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("the log begins at %d, range %+v: %d entries, want %d", k.expired, r, len(got), len(want))
		}
		e := pick()
		one, err := j.Entry(t.Context(), topic, e.Seq)
		if has := e.Seq >= k.expired || kept[e.Seq]; has != (err == nil) || has && one.Offset != e.Offset {
			t.Fatalf("the log begins at %d, entry %d: %v, %v", k.expired, e.Seq, one, err)
		}
	}
	if lost == 0 {
		t.Error("nothing has expired")
	}
	oldest, newest, err := j.Bounds(t.Context(), topic)
	if err != nil || oldest.Seq != k.all[0].Seq || newest.Seq != k.all[len(k.all)-1].Seq {
		t.Errorf("bounds %d to %d, %v", oldest.Seq, newest.Seq, err)
	}
}

func expired(e schemas.Entry) bool { return e.Reason == schemas.ReasonExpired }

// whole returns all entries that j has, and checks that these are those of the log and the files,
// with gaps for all else.
func whole(t *testing.T, j *Joined, k *kafka, kept map[uint64]bool) []schemas.Entry {
	t.Helper()
	all := collect(t, j.Entries(t.Context(), topic, medialog.Range{}))
	i := 0
	for n, e := range all {
		for i < len(k.all) && k.all[i].Seq < k.expired && !kept[k.all[i].Seq] {
			i++
		}
		if expired(e) {
			if e.Kind != schemas.KindGap || n == 0 || e.Seq != all[n-1].Seq+1 || e.Seq >= k.all[i].Seq || e.Duration > int64(e.Layout.Target)*schemas.MediaTimescale {
				t.Fatalf("a gap %+v before %d", e, k.all[i].Seq)
			}
		} else if i++; !reflect.DeepEqual(e, k.all[i-1]) {
			t.Fatalf("entry %d instead of %d", e.Seq, k.all[i-1].Seq)
		}
		if n > 0 && all[n-1].MediaEnd() != e.Media {
			t.Fatalf("%d begins at %d, the one before ends at %d", e.Seq, e.Media, all[n-1].MediaEnd())
		}
	}
	return all
}

// Of a camera whose index retention has emptied the archive tells all. Of a topic that does not
// exist any more, as after a purge, nothing is told.
func TestJoinedWithoutEntries(t *testing.T) {
	k := recorded()
	dir := t.TempDir()
	archiveAll(t, Local(dir), k)
	if err := os.Rename(filepath.Join(dir, "life1"), filepath.Join(dir, "life2")); err != nil {
		t.Fatal(err)
	}
	if err := Write(t.Context(), Local(dir), k.log, topic, k.all[:2]); err != nil { // life1 has lower numbers
		t.Fatal(err)
	}
	j := NewJoined(&kafka{emptied: true}, NewSet(Local(dir), nil, nil))
	all := collect(t, j.Entries(t.Context(), topic, medialog.Range{}))
	if len(all) < 100 {
		t.Errorf("%d entries", len(all))
	}
	if oldest, newest, err := j.Bounds(t.Context(), topic); err != nil || oldest.Seq != all[0].Seq || newest.Seq != all[len(all)-1].Seq {
		t.Errorf("bounds %d to %d, %v", oldest.Seq, newest.Seq, err)
	}
	if e, err := j.Entry(t.Context(), topic, all[5].Seq); err != nil || e.Offset != all[5].Offset {
		t.Errorf("an entry: %v", err)
	}

	j = NewJoined(&kafka{}, NewSet(Local(dir), nil, nil))
	n := 0
	for _, err := range j.Entries(t.Context(), topic, medialog.Range{}) {
		if n++; !errors.Is(err, medialog.ErrNoTopic) {
			t.Errorf("entries of a topic that does not exist: %v", err)
		}
	}
	if n != 1 {
		t.Errorf("%d results", n)
	}
	if _, err := j.Entry(t.Context(), topic, all[5].Seq); !errors.Is(err, medialog.ErrNotFound) {
		t.Errorf("an entry of it: %v", err)
	}
	if _, _, err := j.Bounds(t.Context(), topic); !errors.Is(err, medialog.ErrNoTopic) {
		t.Errorf("its bounds: %v", err)
	}
}

// A file that cannot be read now, or that a newer version has written, is an error and no hole:
// nobody may take its footage for lost.
func TestUnreadable(t *testing.T) {
	k := recorded()
	dir := t.TempDir()
	paths := archiveAll(t, Local(dir), k)
	b, err := os.ReadFile(paths[1])
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		make func() error
		want error
	}{
		"a directory": {func() error { return os.Mkdir(paths[1], 0o755) }, syscall.EISDIR},
		"newer":       {func() error { return os.WriteFile(paths[1], newer(t, b), 0o600) }, schemas.ErrNewer},
	} {
		if err := errors.Join(os.Remove(paths[1]), c.make()); err != nil {
			t.Fatal(err)
		}
		k.expired, k.cut = 1<<60, 0
		j := NewJoined(k, NewSet(Local(dir), nil, nil))
		e := k.all[len(k.all)/4-1] // in the second file
		var failed error
		for _, err := range j.Entries(t.Context(), topic, medialog.Range{}) {
			failed = err
		}
		_, entry := j.Entry(t.Context(), topic, e.Seq)
		for what, err := range map[string]error{"entries": failed, "entry": entry, "available": j.Available(t.Context(), topic, e)} {
			if !errors.Is(err, c.want) {
				t.Errorf("%s, %s: %v", name, what, err)
			}
		}
		n := 0
		for _, err := range j.Chunks(t.Context(), topic, e) {
			if n++; !errors.Is(err, c.want) || errors.Is(err, medialog.ErrExpired) {
				t.Errorf("%s, chunks: %v", name, err)
			}
		}
		if n != 1 {
			t.Errorf("%s: %d results", name, n)
		}
	}
}

// newer makes the file b one of a later version.
func newer(t *testing.T, b []byte) []byte {
	t.Helper()
	size := int(binary.BigEndian.Uint32(b[len(b)-4:]))
	box := slices.Clone(b[len(b)-size:])
	i := bytes.Index(box, []byte("\xa1v\x01"))
	if i < 0 {
		t.Fatal("the last box has no version")
	}
	box[i+2] = 2
	sum := sha256.Sum256(box[:len(box)-boxEnd])
	copy(box[len(box)-boxEnd:], sum[:])
	return append(slices.Clone(b[:len(b)-size]), box...)
}

// Chunks from a file are those of the log: the same samples and times, and so the same segment,
// also where retention removes the footage while it is read.
func TestJoinedChunks(t *testing.T) {
	k := recorded()
	dir := t.TempDir()
	paths := archiveAll(t, Local(dir), k)
	set := NewSet(Local(dir), nil, nil)
	j := NewJoined(k, set)
	for i, e := range k.all {
		if has, err := set.Has(t.Context(), topic, e); err != nil || !has {
			continue // a gap, or in no file
		}
		k.expired, k.cut, k.cutBy = 1<<60, i%6, nil
		if k.cut > 0 {
			k.expired = 0
		}
		if i%2 == 0 {
			k.cutBy = fmt.Errorf("a read: %w", medialog.ErrDamaged)
		}
		var n int
		var segment [][]byte
		for c, err := range j.Chunks(t.Context(), topic, e) {
			if err != nil {
				t.Fatal(err)
			}
			c.Start, c.Captured, c.CameraTime = c.Start.UTC(), c.Captured.UTC(), c.CameraTime.UTC()
			if want := k.log[i].Chunks[n]; !reflect.DeepEqual(c, want) {
				t.Fatalf("chunk %d.%d is\n%+v, want\n%+v", e.Seq, n, c, want)
			}
			b, err := cmaf.Chunk(k.log[i].Chunks[0].Tracks, c)
			if err != nil {
				t.Fatal(err)
			}
			segment = append(segment, b)
			n++
		}
		want, err := cmaf.Segment(e, k.log[i].All())
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(bytes.Join(segment, nil), bytes.Join(want, nil)) {
			t.Errorf("segment %d differs", e.Seq)
		}
	}

	// A changed byte is an error, and no footage.
	e := k.all[1]
	k.expired, k.cut, k.cutBy = 1<<60, 0, nil
	change(t, paths[0], []byte{0x41, 1, byte(e.Session), byte(e.Epoch)})
	expired := func(what string, e schemas.Entry) {
		t.Helper()
		n := 0
		for _, err := range j.Chunks(t.Context(), topic, e) {
			if n++; !errors.Is(err, medialog.ErrExpired) {
				t.Errorf("%s: %v", what, err)
			}
		}
		if n != 1 {
			t.Errorf("%s: %d results", what, n)
		}
	}
	expired("a damaged segment", k.all[0])
	// A file that is gone is footage that has expired.
	if err := os.Remove(paths[0]); err != nil {
		t.Fatal(err)
	}
	expired("a file that is gone", e)
	age(set)
	if err := j.Available(t.Context(), topic, e); !errors.Is(err, medialog.ErrExpired) {
		t.Errorf("its footage: %v", err)
	}
}

// change changes the byte of a file at which text stands.
func change(t *testing.T, path string, text []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	i := bytes.Index(b, text)
	if i < 0 {
		t.Fatalf("%s does not hold %x", path, text)
	}
	b[i]++
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
