package schemas

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"
)

var update = flag.Bool("update", false, "write golden files of records that have none yet")

var (
	someTime   = time.UnixMicro(1_700_000_000_123_456).UTC()
	someLayout = Layout{ID: 3, Target: 4, Part: 19800, Video: H264, Audio: AAC}
)

func chunks() map[string]*Chunk {
	return map[string]*Chunk{
		"first": {
			Epoch: 41, Session: 1_700_000_001, Layout: someLayout, Seq: 1_700_000_123, Index: 0,
			Start: someTime, Captured: someTime.Add(time.Second), CameraTime: someTime.Add(-time.Minute),
			Tracks: []Track{
				{ID: VideoTrack, Codec: H264, Timescale: 90000, Config: []byte{1, 0x64, 0, 31}, Width: 1920, Height: 1080},
				{ID: AudioTrack, Codec: AAC, Timescale: 48000, Config: []byte{0x11, 0x90}, SampleRate: 48000, Channels: 2},
			},
			Runs: []Run{
				{Track: VideoTrack, Samples: []Sample{
					{DTS: 153_000_000_011_111, PTSOffset: 3600, Duration: 3600, Sync: true, Data: []byte("IDR")},
					{DTS: 153_000_000_014_711, PTSOffset: 10800, Duration: 3600, Data: []byte("P")},
					{DTS: 153_000_000_018_311, PTSOffset: -3600, Duration: 3601, Data: []byte("B")},
				}},
				{Track: AudioTrack, Samples: []Sample{
					{DTS: 81_600_000_005_926, Duration: 1024, Sync: true, Data: []byte("one")},
					{DTS: 81_600_000_006_950, Duration: 1024, Sync: true, Data: []byte("two")},
				}},
			},
		},
		"last": {
			Epoch: 41, Session: 1_700_000_001, Layout: someLayout, Seq: 1_700_000_123, Index: 9, Last: true, Ended: true,
			Start: someTime, Captured: someTime,
			Runs: []Run{{Track: VideoTrack, Samples: []Sample{{DTS: 90000, Duration: 3600, Data: []byte{}}}}},
		},
		"open-gop": {
			Epoch: 41, Session: 5, Layout: Layout{Target: 2, Part: 9900, Video: H265}, Seq: 7, Index: 0, Start: someTime, Captured: someTime,
			Tracks:  []Track{{ID: VideoTrack, Codec: H265, Timescale: 90000, Config: []byte{1}}},
			OpenGOP: true,
			Runs: []Run{{Track: VideoTrack, Samples: []Sample{
				{DTS: 90000, PTSOffset: 7200, Duration: 3600, Sync: true, Data: []byte("CRA")},
				{DTS: 93600, Duration: 3600, Data: []byte("RASL")},
			}}},
		},
		"derived": {
			Epoch: 12, Session: 5, Layout: Layout{Target: 2, Video: H265}, Seq: 6, Index: 0, Start: someTime, Captured: someTime,
			Tracks:  []Track{{ID: VideoTrack, Codec: H265, Timescale: 90000, Config: []byte{1}}},
			Runs:    []Run{{Track: VideoTrack, Samples: []Sample{{DTS: 1, Duration: 2, Sync: true, Data: []byte("x")}}}},
			Lineage: &Lineage{Source: "cam.front-door", Seq: 6, Processor: "blur", Version: "1.2"},
		},
		"data": {
			Epoch: 12, Session: 5, Layout: Layout{Target: 2, Data: JSON}, Seq: 6, Index: 0, Last: true, Start: someTime, Captured: someTime,
			Media: 90000, Duration: 180_000,
			Tracks:  []Track{{ID: DataTrack, Codec: JSON, Timescale: 90000}},
			Runs:    []Run{{Track: DataTrack, Samples: []Sample{{DTS: 93600, Duration: 3600, Sync: true, Data: []byte(`{"score":0.5}`)}}}},
			Lineage: &Lineage{Source: "cam.front-door", Seq: 6, Processor: "motion", Version: "1.2"},
		},
	}
}

func entries() map[string]*Entry {
	return map[string]*Entry{
		"open": {
			Kind: KindOpen, Prev: -1, Life: "5f3a91c2", Writer: "ingest-1", Host: "nvr", Reason: "assigned", Unit: "8899aabbccddeeff",
			Absent: 117_000, AbsentReason: AbsentRestart,
		},
		"open-from": {Kind: KindOpen, Prev: -1, Life: "5f3a91c2", Writer: "ingest-1", Host: "nvr", Reason: "assigned", From: 1_700_000_123},
		"open-sub":  {Kind: KindOpen, Prev: -1, Life: "5f3a91c2", Writer: "ingest-1", Host: "nvr", Reason: "assigned", From: 1_700_000_123, Role: RoleAlternative},
		"whole-sub": {
			Kind: KindWhole, Prev: 41, Life: "5f3a91c2", Seq: 1_700_000_123, Session: 7, Layout: someLayout, Config: "0123456789abcdef", Start: someTime,
			Media: 153_000_000_011_111, Duration: 180_000, Bytes: 62_500, Epoch: 41, Partition: 1, First: 700, Last: 709, Chunks: 10, Role: RoleAlternative,
		},
		"open-derived": {
			Kind: KindOpen, Prev: -1, Life: "5f3a91c2", Writer: "motion-7f", Host: "nvr", Reason: "failure", Role: RoleData, Processor: "motion",
			Seq: 1_700_000_124, Attempt: 2,
		},
		"left": {Kind: KindLeft, Prev: 45, Life: "5f3a91c2", Seq: 1_700_000_124, Epoch: 45, Writer: "motion-7f", Host: "nvr", Role: RoleData},
		"whole": {
			Kind: KindWhole, Prev: 41, Life: "5f3a91c2", Seq: 1_700_000_123, Session: 1_700_000_001, Layout: someLayout, Config: "0011223344556677",
			Start: someTime, Media: 153_000_000_011_111, Duration: 180_000, Bytes: 1_000_000,
			Epoch: 41, Partition: 1, First: 100, Last: 109, Chunks: 10, Lost: Lost{Packets: 2, Units: 1}, Ended: true,
			Absent: 117_000, AbsentReason: AbsentRestart,
		},
		"truncated": {
			Kind: KindTruncated, Reason: ReasonCrash, Prev: 42, Seq: 2, Session: 1, Layout: someLayout, Start: someTime,
			Duration: 9000, Epoch: 41, Chunks: 1,
		},
		"open-gop": {
			Kind: KindWhole, Prev: 43, Seq: 7, Session: 5, Layout: Layout{Target: 2, Part: 9900, Video: H265}, Config: "0011223344556677",
			OpenGOP: true, Start: someTime, Media: 90000, Duration: 180_000, Bytes: 7, Epoch: 41, First: 3, Last: 3, Chunks: 1,
		},
		"gap": {Kind: KindGap, Reason: ReasonBudget, Prev: 43, Seq: 3, Session: 1, Layout: someLayout, Start: someTime, Duration: 180_000, Epoch: 41},
		"gap-run": {
			Kind: KindGap, Reason: ReasonSkipped, Prev: 43, Life: "5f3a91c2", Seq: 3, Session: 1, Layout: someLayout, Start: someTime, Duration: 710_000,
			Role: RoleData, Epoch: 41, Run: &GapRun{Durations: []int64{180_000, 180_000, 180_000, 170_000}},
		},
		"derived": {
			Kind: KindWhole, Prev: 43, Life: "5f3a91c2", Seq: 6, Session: 5, Layout: Layout{Target: 2, Data: JSON}, Config: "0011223344556677",
			Start: someTime, Media: 90000, Duration: 180_000, Bytes: 13, Epoch: 12, First: 7, Last: 7, Chunks: 1,
			Role: RoleData, Source: Copy{Epoch: 41, First: 100, Chunks: 10}, Note: `{"motion":0.5}`,
		},
	}
}

func record[T any](t *testing.T, name string, v *T, enc func(*T) ([]byte, error), dec func([]byte) (T, error)) {
	t.Helper()
	b, err := enc(v)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", name+".v1.golden")
	if *update {
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			if err := os.WriteFile(path, b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	golden, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (a new record: run with -update; golden files that exist are never rewritten)", err)
	}
	if !bytes.Equal(b, golden) {
		t.Errorf("%s: the bytes of version %d have changed:\n got %x\nwant %x", name, Version, b, golden)
	}
	checkJSON(t, path, golden)
	got, err := dec(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(&got, v) {
		t.Errorf("%s reads back as\n%+v, want\n%+v", name, got, *v)
	}
}

func decodeChunkValue(b []byte) (Chunk, error) {
	c, err := DecodeChunk(b)
	if err != nil {
		return Chunk{}, err
	}
	return *c, nil
}

func TestGolden(t *testing.T) {
	for name, c := range chunks() {
		record(t, "chunk-"+name, c, EncodeChunk, decodeChunkValue)
	}
	for name, e := range entries() {
		record(t, "entry-"+name, e, EncodeEntry, DecodeEntry)
	}
}

func TestUnknownKeysAreIgnored(t *testing.T) {
	b, err := msgpack.Marshal(map[string]any{"v": 1, "k": "gap", "pv": 7, "q": 8, "new": map[string]any{"a": []int{1, 2}}})
	if err != nil {
		t.Fatal(err)
	}
	e, err := DecodeEntry(b)
	if err != nil || e.Seq != 8 || e.Prev != 7 {
		t.Errorf("DecodeEntry = %+v, %v", e, err)
	}
}

func TestNewerMajorIsRefused(t *testing.T) {
	for name, m := range map[string]map[string]any{
		"alike":        {"v": 2, "k": "gap", "q": 8},
		"other types":  {"v": 2, "k": 5, "q": "eight", "s": "x"},
		"keys missing": {"v": 3},
	} {
		b, err := msgpack.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := DecodeEntry(b); !errors.Is(err, ErrNewer) {
			t.Errorf("%s: entry: %v", name, err)
		}
		if _, err := DecodeChunk(b); !errors.Is(err, ErrNewer) {
			t.Errorf("%s: chunk: %v", name, err)
		}
		if v, err := VersionOf(b); err != nil || v != m["v"] {
			t.Errorf("%s: version %d, %v", name, v, err)
		}
	}
}

func TestEncodeChunkRefusesHoles(t *testing.T) {
	c := chunks()["first"]
	c.Runs[0].Samples[1].DTS++
	if _, err := EncodeChunk(c); err == nil || !strings.Contains(err.Error(), "sample 1 begins at") {
		t.Errorf("a hole inside a run: %v", err)
	}
}

func TestDecodeChunkRefusesNonsense(t *testing.T) {
	good := func() map[string]any {
		return map[string]any{"v": 1, "q": 1, "s": []any{map[string]any{"t": 1, "d": 0, "du": []int{1}, "sz": []int{3}}}, "b": []byte("abc")}
	}
	if b, _ := msgpack.Marshal(good()); func() error { _, err := DecodeChunk(b); return err }() != nil {
		t.Fatal("the good one is refused")
	}
	for name, change := range map[string]func(m, run map[string]any){
		"no version":         func(m, _ map[string]any) { delete(m, "v") },
		"sample too long":    func(_, r map[string]any) { r["sz"] = []int{4} },
		"payload left over":  func(_, r map[string]any) { r["sz"] = []int{2} },
		"tables differ":      func(_, r map[string]any) { r["du"] = []int{1, 1} },
		"offsets differ":     func(_, r map[string]any) { r["po"] = []int{1, 1} },
		"sync beyond":        func(_, r map[string]any) { r["k"] = []int{1} },
		"size of 4 GB":       func(_, r map[string]any) { r["sz"] = []uint32{1<<32 - 1} },
		"a string of bytes":  func(m, _ map[string]any) { m["s"] = "abc" },
		"too many samples":   func(_, r map[string]any) { r["sz"], r["du"] = make([]int, MaxSamples+1), make([]int, MaxSamples+1) },
		"not a map, a table": func(m, _ map[string]any) { m["s"] = []int{1} },
	} {
		m := good()
		change(m, m["s"].([]any)[0].(map[string]any))
		b, err := msgpack.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := DecodeChunk(b); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// A shared chunk is what a copied one is, its samples are slices of the record,
// none of which reaches into the next, and nothing else of it is.
func TestDecodeChunkShared(t *testing.T) {
	for name, c := range chunks() {
		b, err := EncodeChunk(c)
		if err != nil {
			t.Fatal(err)
		}
		copied, err := DecodeChunk(b)
		if err != nil {
			t.Fatal(err)
		}
		shared, err := DecodeChunkShared(b)
		if err != nil || !reflect.DeepEqual(copied, shared) {
			t.Fatalf("%s: %+v, %v; want %+v", name, shared, err, copied)
		}
		clear(b)
		for n, r := range shared.Runs {
			for m, s := range r.Samples {
				if len(bytes.Trim(s.Data, "\x00")) != 0 || cap(s.Data) != len(s.Data) {
					t.Errorf("%s: sample %d of track %d is no slice of the record", name, m, r.Track)
				}
				shared.Runs[n].Samples[m].Data, copied.Runs[n].Samples[m].Data = nil, nil
			}
		}
		if !reflect.DeepEqual(copied, shared) {
			t.Errorf("%s changed with the record: %+v, want %+v", name, shared, copied)
		}
	}
}

func TestHeaders(t *testing.T) {
	var got []string
	for _, h := range ChunkHeaders(chunks()["first"]) {
		got = append(got, h.Key+"="+string(h.Value))
	}
	if s := strings.Join(got, " "); s != "v=1 codec=h264 epoch=41 seq=1700000123 index=0 key=1 last=0" {
		t.Error(s)
	}
}

func TestNames(t *testing.T) {
	for _, n := range []Names{{}, {Prefix: "site1."}} {
		for _, tp := range []Topic{{Camera: "front-door"}, {Camera: "a", Rendition: "720p"}} {
			for name, index := range map[string]bool{n.Media(tp): false, n.Index(tp): true} {
				got, i, ok := n.Parse(name)
				if !ok || got != tp || i != index {
					t.Errorf("Parse(%q) = %v, %v, %v", name, got, i, ok)
				}
			}
		}
	}
	for _, bad := range []string{"cameras", "cameras.status", "cam.", "cam.A", "cam.a.raw", "cam.a.b.c", "cam.a.index.index", "cam..index", "other", "cam.a.B"} {
		if tp, _, ok := (Names{}).Parse(bad); ok {
			t.Errorf("Parse(%q) = %v", bad, tp)
		}
	}
	if (Names{}).Media(Topic{Camera: "x", Rendition: Raw}) != "cam.x" {
		t.Error("raw has a topic of its own")
	}
	for _, id := range []string{"", "-a", "A", "a_b", "a.b", "events", strings.Repeat("a", 64)} {
		if ValidateCameraID(id) == nil {
			t.Errorf("camera id %q is taken", id)
		}
	}
	if ValidateRendition("index") == nil {
		t.Error("a rendition may be called index")
	}
}

func TestLayout(t *testing.T) {
	const s = MediaTimescale
	want := Layout{Part: PartTarget(5, 3600), Video: H264, Audio: AAC}
	l := Layout{}.Next(want)
	if l.ID != 0 || l.Target != 2 || l.Part != 19800 {
		t.Fatalf("first layout %+v", l)
	}
	if l.Next(want) != l {
		t.Error("nothing changed, and the layout does")
	}
	if n := l.Next(Layout{Part: l.Part, Video: H265, Audio: AAC}); n.ID != 1 || n.Target != 2 {
		t.Errorf("another codec: %+v", n)
	}
	for _, tc := range []struct {
		ticks  int64
		target uint32
	}{{2 * s, 2}, {2*s + s/2 - 1, 2}, {2*s + s/2, 4}, {6 * s, 6}, {7 * s, 12}, {31 * s, 60}} {
		n := l.Fit(tc.ticks)
		if n.Target != tc.target || (n.ID != l.ID) != (tc.target != 2) {
			t.Errorf("Fit(%d ticks) = %+v, want a target of %d", tc.ticks, n, tc.target)
		}
	}
}

func TestTicks(t *testing.T) {
	now := time.Duration(1_763_700_000_123_456_789)
	if d := FromTicks(Ticks(now)) - now; d > 6*time.Microsecond || d < -6*time.Microsecond {
		t.Errorf("there and back is off by %v", d)
	}
	for _, tc := range []struct {
		v        int64
		from, to uint32
		want     int64
	}{{90000, 90000, 48000, 48000}, {1, 90000, 48000, 1}, {-3, 90000, 48000, -2}, {158_733_000_011_111, 90000, 44100, 77_779_170_005_444}} {
		if got := Rescale(tc.v, tc.from, tc.to); got != tc.want {
			t.Errorf("Rescale(%d, %d, %d) = %d, want %d", tc.v, tc.from, tc.to, got, tc.want)
		}
	}
}

func FuzzDecodeChunk(f *testing.F) {
	addBombs(f)
	for _, c := range chunks() {
		b, err := EncodeChunk(c)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := DecodeChunk(b)
		shared, sharedErr := DecodeChunkShared(b)
		if (err == nil) != (sharedErr == nil) {
			t.Fatalf("copied: %v; shared: %v", err, sharedErr)
		}
		if err != nil {
			return
		}
		if !reflect.DeepEqual(c, shared) {
			t.Fatalf("copied %+v, shared %+v", c, shared)
		}
		again, err := EncodeChunk(c)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		d, err := DecodeChunk(again)
		if err != nil {
			t.Fatal(err)
		}
		if d.Size() != c.Size() || d.Seq != c.Seq || len(d.Runs) != len(c.Runs) {
			t.Fatalf("%+v became %+v", c, d)
		}
	})
}

func FuzzDecodeEntry(f *testing.F) {
	addBombs(f)
	for _, e := range entries() {
		b, err := EncodeEntry(e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := DecodeEntry(b)
		if err != nil {
			return
		}
		again, err := EncodeEntry(&e)
		if err != nil {
			t.Fatal(err)
		}
		d, err := DecodeEntry(again)
		if err != nil || !reflect.DeepEqual(d, e) {
			t.Fatalf("%+v became %+v, %v", e, d, err)
		}
	})
}

func FuzzDecodeRegistry(f *testing.F) {
	addBombs(f)
	c, err := EncodeCamera(&Camera{ID: "a", URL: "rtsp://h/", Updated: someTime})
	if err != nil {
		f.Fatal(err)
	}
	s, err := EncodeStatus(&Status{Camera: "a", State: StateLive, Since: someTime})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(c)
	f.Add(s)
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = DecodeCamera(b)
		_, _ = DecodeStatus(b)
	})
}

func BenchmarkChunk(b *testing.B) {
	c := &Chunk{Layout: someLayout, Start: someTime, Captured: someTime}
	run := Run{Track: VideoTrack}
	for i := range 6 {
		run.Samples = append(run.Samples, Sample{DTS: int64(i) * 3000, Duration: 3000, Data: make([]byte, 16_000)})
	}
	c.Runs = []Run{run}
	v, err := EncodeChunk(c)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("encode", func(b *testing.B) {
		b.SetBytes(int64(len(v)))
		b.ReportAllocs()
		for b.Loop() {
			_, _ = EncodeChunk(c)
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.SetBytes(int64(len(v)))
		b.ReportAllocs()
		for b.Loop() {
			_, _ = DecodeChunk(v)
		}
	})
}
