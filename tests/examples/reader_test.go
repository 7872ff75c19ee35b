package examples

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
	"github.com/framelog/framelog/tests/testmedia"
)

// record records a camera: a writer that is fenced in mid-fragment, its successor, a gap,
// and a pause between two sessions.
func (e *env) record() {
	t := e.t
	t.Helper()
	cam := &camera{at: time.Now().Add(-time.Minute).Truncate(time.Millisecond)}
	w1 := e.log.Open(t.Context(), raw, medialog.OpenOptions{Writer: "ingest-1", Reason: "start"})
	ready(t, w1)
	cam.write(t, w1, 4, 2)
	e.wait(e.names.Index(raw), 1+4)
	e.wait(e.names.Media(raw), 4*5+2)
	w2 := e.log.Open(t.Context(), raw, medialog.OpenOptions{Writer: "ingest-2", Reason: "takeover"})
	ready(t, w2)
	cam.write(t, w1, 2, 0) // beyond the `open` of its successor: these entries are void
	cam.write(t, w2, 3, 0)
	const lost = 7 * time.Second
	w2.Gap(cam.at, schemas.Ticks(time.Duration(cam.at.UnixNano())), schemas.Ticks(lost), schemas.ReasonBudget)
	cam.at = cam.at.Add(lost)
	cam.write(t, w2, 2, 0)
	w2.NewSession(schemas.AbsentCamera)
	cam.at = cam.at.Add(3 * time.Second)
	cam.write(t, w2, 3, 0)
	closeWriter(t, w2)
	closeWriter(t, w1)
	if !errors.Is(w1.Err(), medialog.ErrFenced) {
		t.Fatalf("the first writer ended with %v, want it fenced", w1.Err())
	}
}

func TestReader(t *testing.T) {
	e := newEnv(t)
	e.record()
	want := e.stored(raw)
	same(t, e.read(e.names.Media(raw)), want)
	kinds := map[string]int{}
	for _, l := range want {
		kinds[l.Kind]++
	}
	if kinds["gap"] < 3 || kinds["truncated"] != 1 || kinds["whole"] < 8 {
		t.Errorf("the log has %v", kinds)
	}

	// Retention is ahead in one of the partitions.
	e.expire(raw, e.entries(raw)[3])
	want = e.stored(raw)
	if len(want) == 0 || want[0].Seq != e.entries(raw)[0].Seq {
		t.Fatalf("visible are %+v", want)
	}
	same(t, e.read(e.names.Media(raw)), want)
}

// index makes a topic of records as they are.
func (e *env) index(t schemas.Topic, records ...[]byte) {
	e.t.Helper()
	if err := e.log.Ensure(e.t.Context(), t); err != nil {
		e.t.Fatal(err)
	}
	e.produce(e.names.Index(t), records...)
}

// produce writes records into partition 0 of a topic.
func (e *env) produce(topic string, records ...[]byte) {
	e.t.Helper()
	for _, b := range records {
		if err := e.client.ProduceSync(e.t.Context(), &kgo.Record{Topic: topic, Value: b}).FirstErr(); err != nil {
			e.t.Fatal(err)
		}
	}
}

func entry(t *testing.T, en schemas.Entry) []byte {
	t.Helper()
	b, err := schemas.EncodeEntry(&en)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func value(t *testing.T, m map[string]any) []byte {
	t.Helper()
	b, err := msgpack.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Each rule about entries, in an index that is made by hand.
func TestReaderJudges(t *testing.T) {
	e := newEnv(t)
	gap := func(prev int64, seq uint64) []byte {
		return entry(t, schemas.Entry{Kind: schemas.KindGap, Prev: prev, Seq: seq, Duration: 90_000, Reason: "source"})
	}
	open := func(from uint64) []byte { return entry(t, schemas.Entry{Kind: schemas.KindOpen, Prev: -1, From: from}) }
	e.index(raw,
		open(10),   // 0
		gap(0, 10), // 1
		open(0),    // 2
		gap(1, 11), // 3: void, since 2 is an `open`
		gap(2, 11), // 4
		gap(4, 11), // 5: the seq has its entry
		value(t, map[string]any{"v": 1, "k": "mark", "pv": 5, "q": 12}), // 6: a kind that is not known
		[]byte("nonsense"), // 7
		gap(5, 12),         // 8: no `open` since 5
		entry(t, schemas.Entry{Kind: schemas.KindGap, Prev: 8, Seq: 13, Duration: 6, Run: &schemas.GapRun{Durations: []int64{1, 2, 3}}}), // 9: 13 to 15
		entry(t, schemas.Entry{Kind: schemas.KindWhole, Prev: 9, Seq: 16, First: 4, Last: 2, Chunks: 1}),                                 // 10: offsets go back
		open(20),    // 11
		gap(11, 20), // 12: behind a hole
		value(t, map[string]any{"v": 1, "k": "gap", "pv": 12, "q": 21, "d": 5, "new": []any{map[string]any{"a": 1}}}), // 13
	)
	got := e.read(e.names.Media(raw))
	var seqs []uint64
	var holes []line
	for _, l := range got {
		if l.Kind == "hole" {
			holes = append(holes, l)
		} else {
			seqs = append(seqs, l.Seq)
		}
	}
	same(t, holes, []line{{Kind: "hole", From: 16, To: 19, Declared: true}})
	var want []uint64
	for _, en := range e.entries(raw) {
		want = append(want, en.Seq)
	}
	if len(want) != 8 || !slices.Equal(seqs, want) {
		t.Errorf("reader.py shows %v, the store %v", seqs, want)
	}

	newer := schemas.Topic{Camera: "newer"}
	e.index(newer, value(t, map[string]any{"v": 2, "k": 7}))
	out, err := e.reader(e.names.Media(newer)).CombinedOutput()
	if !strings.Contains(string(out), "schema version 2") || !errors.As(err, new(*exec.ExitError)) {
		t.Errorf("a record of a newer version: %v, %s", err, out)
	}
}

// The chunks of two copies of a fragment stand side by side. The entry names one.
func TestReaderPicksTheCopy(t *testing.T) {
	e := newEnv(t)
	of := func(epoch int64) []*schemas.Chunk {
		return testmedia.Synthetic(testmedia.Place{Seq: 10, Session: 1, Epoch: epoch, Start: testmedia.Start, Layout: testmedia.Layout}, 1)[0].Chunks
	}
	old, counts := of(0), of(1)
	media := [][]byte{}
	for i := range old {
		for _, c := range []*schemas.Chunk{old[i], counts[i]} {
			b, err := schemas.EncodeChunk(c)
			if err != nil {
				t.Fatal(err)
			}
			media = append(media, b)
		}
	}
	e.index(raw, entry(t, schemas.Entry{Kind: schemas.KindOpen, Prev: -1}), entry(t, schemas.Entry{Kind: schemas.KindOpen, Prev: -1, From: 10}),
		entry(t, schemas.Entry{Kind: schemas.KindTruncated, Prev: 1, Seq: 10, Session: 1, Epoch: 1, First: 1, Last: 7, Chunks: 4}))
	e.produce(e.names.Media(raw), media...)
	want := e.stored(raw)
	if len(want) != 1 || want[0].Samples != 4*15 {
		t.Fatalf("the store shows %+v, want 4 chunks of 5 pictures and 10 frames of sound", want)
	}
	same(t, e.read(e.names.Media(raw)), want)
}

// With --follow the reader shows what is recorded meanwhile, also by a new writer.
func TestReaderFollows(t *testing.T) {
	e := newEnv(t)
	cam, w := e.open()
	ready(t, w)
	cam.write(t, w, 1, 0)
	p := testenv.Start(t, "reader.py", e.reader(e.names.Media(raw), "--follow"))
	shown := func(n int) {
		t.Helper()
		p.Wait(t, testenv.Patience, "the fragments", func() bool { return len(p.Log.Lines("}\n")) >= n })
	}
	shown(1)
	cam.write(t, w, 2, 0)
	shown(3)
	closeWriter(t, w)
	w = e.log.Open(t.Context(), raw, medialog.OpenOptions{Writer: "ingest-2"})
	cam.write(t, w, 2, 0)
	closeWriter(t, w)
	shown(5)
	same(t, linesOf(t, []byte(p.Log.String())), e.stored(raw))
}

// The JSON beside the golden files suffices to make their bytes with another library.
func TestGoldens(t *testing.T) {
	const check = `
import datetime, glob, json, sys, msgpack

def revive(m):
    if set(m) == {"hex"}:
        return bytes.fromhex(m["hex"])
    if set(m) == {"time"}:
        return datetime.datetime.fromisoformat(m["time"].replace("Z", "+00:00"))
    return m

files = glob.glob(sys.argv[1] + "/*.json")
for name in files:
    record = json.load(open(name), object_hook=revive)
    if msgpack.packb(record, datetime=True) != open(name[:-4] + "golden", "rb").read():
        print(name, "has other bytes")
print(len(files), "files")`
	testenv.SkipShort(t, "Python")
	all, err := filepath.Glob(filepath.Join(testenv.Root(t), "schemas/testdata/*.golden"))
	if err != nil {
		t.Fatal(err)
	}
	out, err := python(t, "-c", check, filepath.Join(testenv.Root(t), "schemas/testdata")).CombinedOutput()
	if want := fmt.Sprintf("%d files\n", len(all)); err != nil || string(out) != want {
		t.Errorf("%s, %v; want %s", out, err, want)
	}
}
