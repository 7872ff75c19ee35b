package cmaf

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/Eyevinn/mp4ff/mp4"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
	"github.com/framelog/framelog/tests/testmedia"
)

var dataTracks = []schemas.Track{{ID: schemas.DataTrack, Codec: schemas.JSON, Timescale: schemas.MediaTimescale}}

const dataStart = 1 << 40

// dataFragment is a fragment of three chunks of a second: a sample in the middle, nothing,
// and two samples up to the end.
func dataFragment() testmedia.Fragment {
	sample := func(at int64, d uint32, text string) schemas.Sample {
		return schemas.Sample{DTS: dataStart + at, Duration: d, Data: []byte(text)}
	}
	f := testmedia.Fragment{Entry: schemas.Entry{
		Kind: schemas.KindWhole, Seq: testPlace.Seq, Chunks: 3, Media: dataStart, Duration: 270_000,
		Layout: schemas.Layout{Target: 4, Data: schemas.JSON}, Config: schemas.ConfigHash(dataTracks),
	}}
	for i, samples := range [][]schemas.Sample{
		{sample(30_000, 3_600, `{"score":0.5}`)}, nil, {sample(200_000, 40_000, `{"boxes":[]}`), sample(240_000, 30_000, `1`)},
	} {
		c := &schemas.Chunk{
			Seq: f.Entry.Seq, Index: uint32(i), Layout: f.Entry.Layout, Last: i == 2, Media: dataStart + int64(i)*90_000, Duration: 90_000,
		}
		if i == 0 {
			c.Tracks = dataTracks
		}
		if samples != nil {
			c.Runs = []schemas.Run{{Track: schemas.DataTrack, Samples: samples}}
		}
		f.Chunks = append(f.Chunks, c)
	}
	return f
}

type dataSample struct {
	at   int64 // from dataStart
	d    uint32
	text string
}

// dataSamples reads the samples of a segment.
func dataSamples(t *testing.T, b Blocks) (all []dataSample) {
	t.Helper()
	f, err := mp4.DecodeFile(bytes.NewReader(bytes.Join(b, nil)))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range f.Segments {
		for _, fragment := range s.Fragments {
			samples, err := fragment.GetFullSamples(nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range samples {
				if s.Flags != flagsSync {
					t.Errorf("a sample has the flags %x", s.Flags)
				}
				all = append(all, dataSample{int64(s.DecodeTime) - dataStart, s.Dur, string(s.Data)})
			}
		}
	}
	return all
}

func equal(t *testing.T, name string, got, want []dataSample) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %v, want %v", name, got, want)
	}
}

// Timed metadata covers the whole time of its fragment: where the log has none,
// null stands.
func TestTimedMetadata(t *testing.T) {
	f := dataFragment()
	segment, err := Segment(f.Entry, f.All())
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "segment", dataSamples(t, segment), []dataSample{
		{0, 30_000, "null"},
		{30_000, 3_600, `{"score":0.5}`},
		{33_600, 56_400, "null"},
		{90_000, 90_000, "null"},
		{180_000, 20_000, "null"},
		{200_000, 40_000, `{"boxes":[]}`},
		{240_000, 30_000, `1`},
	})
	if len(f.Chunks[1].Runs) != 0 || len(f.Chunks[0].Runs[0].Samples) != 1 {
		t.Error("the chunks of the log were changed")
	}
	golden(t, Version+"-segment-json.golden", bytes.Join(segment, nil))

	init, err := Init(dataTracks)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, Version+"-init-json.golden", init)
	file, err := mp4.DecodeFile(bytes.NewReader(init))
	if err != nil {
		t.Fatal(err)
	}
	mdia := file.Init.Moov.Trak.Mdia
	if h, entry := mdia.Hdlr.HandlerType, mdia.Minf.Stbl.Stsd.Children[0].Type(); h != "meta" || entry != "mett" || file.Init.Moov.Trak.Tkhd.TrackID != uint32(schemas.DataTrack) {
		t.Errorf("handler %s, sample entry %s", h, entry)
	}
}

// FFmpeg reads the samples that went in, and where they stand.
func TestFFmpegReadsMetadata(t *testing.T) {
	testenv.Tool(t, "ffprobe", "ffmpeg")
	f := dataFragment()
	init, err := Init(dataTracks)
	if err != nil {
		t.Fatal(err)
	}
	segment, err := Segment(f.Entry, f.All())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "data.mp4")
	if err := os.WriteFile(path, append(init, bytes.Join(segment, nil)...), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "ffprobe", "-v", "error", "-show_entries", "packet=dts,size", "-of", "csv=p=0", path).CombinedOutput()
	var want strings.Builder
	for _, s := range dataSamples(t, segment) {
		fmt.Fprintf(&want, "%d,%d\n", dataStart+s.at, len(s.text))
	}
	if err != nil || string(out) != want.String() {
		t.Errorf("ffprobe (%v):\n%s\nwant\n%s", err, out, want.String())
	}
}

// A fragment without any sample, and a gap, are one null.
func TestNoTimedMetadata(t *testing.T) {
	f := dataFragment()
	c := *f.Chunks[0]
	c.Runs, c.Last, c.Duration = nil, true, 135_000
	e := f.Entry
	e.Chunks, e.Duration = 1, c.Duration
	segment, err := Segment(e, testmedia.Fragment{Chunks: []*schemas.Chunk{&c}}.All())
	if err != nil {
		t.Fatal(err)
	}
	want := []dataSample{{0, 135_000, "null"}}
	equal(t, "fragment", dataSamples(t, segment), want)
	e.Kind, e.Chunks = schemas.KindGap, 0
	if segment, err = Gap(e); err != nil {
		t.Fatal(err)
	}
	equal(t, "gap", dataSamples(t, segment), want)
}

// Metadata beside pictures lasts as long as these, also in a chunk that has none.
func TestMetadataBesidePictures(t *testing.T) {
	f := testmedia.Synthetic(testPlace, 1)[0]
	first := f.Chunks[0]
	b, err := Chunk(append(first.Tracks[:len(first.Tracks):len(first.Tracks)], dataTracks...), first)
	if err != nil {
		t.Fatal(err)
	}
	file, err := mp4.DecodeFile(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	trafs := file.Segments[0].Fragments[0].Moof.Trafs
	data := trafs[len(trafs)-1]
	if n, want := data.Tfdt.BaseMediaDecodeTime(), uint64(first.MediaStart()); data.Tfhd.TrackID != 3 || n != want {
		t.Fatalf("track %d at %d, want %d", data.Tfhd.TrackID, n, want)
	}
	if d, want := data.Tfhd.DefaultSampleDuration, uint32(first.MediaEnd()-first.MediaStart()); d != want || len(data.Trun.Samples) != 1 || data.Trun.Samples[0].Size != 4 {
		t.Errorf("%d samples of %d, want a null of %d", len(data.Trun.Samples), d, want)
	}
}
