package hls

import (
	"bytes"
	"encoding/binary"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/Eyevinn/mp4ff/mp4"

	"github.com/framelog/framelog/schemas"
)

var update = flag.Bool("update", false, "write the golden files anew (only with a new MuxerVersion)")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: the bytes differ from the golden ones. They stand under immutable URLs: a change needs a new MuxerVersion.\n got %x\nwant %x", name, got, want)
	}
}

var testPlace = place{seq: 1_790_000_000, session: 42, epoch: 9, layout: layout0, start: testStart}

func TestGolden(t *testing.T) {
	f := synthetic(testPlace, 1)[0]
	seg, err := Segment(f.entry, f.chunks)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, MuxerVersion+"-segment.golden", seg)
	init, err := Init(f.chunks[0].Tracks)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, MuxerVersion+"-init-h264-aac.golden", init)

	hvcC := append([]byte{1, 1, 0x60, 0, 0, 0, 0x90, 0, 0, 0, 0, 0, 0x3f, 0xf0, 0, 0xfc, 0xfd, 0xf8, 0xf8, 0, 0, 0x0f, 3},
		0xa0, 0, 1, 0, 2, 0x40, 1, 0xa1, 0, 1, 0, 2, 0x42, 1, 0xa2, 0, 1, 0, 2, 0x44, 1)
	init, err = Init([]schemas.Track{
		{ID: 1, Codec: schemas.H265, Timescale: 90000, Config: hvcC, Width: 1920, Height: 1080},
		{ID: 2, Codec: schemas.Opus, Timescale: 48000, Config: unhex("0102380180bb0000000000"), SampleRate: 48000, Channels: 2},
	})
	if err != nil {
		t.Fatal(err)
	}
	golden(t, MuxerVersion+"-init-h265-opus.golden", init)
	if _, err := mp4.DecodeFile(bytes.NewReader(init)); err != nil {
		t.Errorf("another reader does not take the init: %v", err)
	}
}

// A segment is its parts, and every sample of the log stands in it with its
// times, flags and bytes.
func TestSegment(t *testing.T) {
	for _, f := range synthetic(testPlace, 3) {
		seg, err := Segment(f.entry, f.chunks)
		if err != nil {
			t.Fatal(err)
		}
		var parts []byte
		for _, c := range f.chunks {
			p, err := Part(f.chunks[0].Tracks, c)
			if err != nil {
				t.Fatal(err)
			}
			parts = append(parts, p...)
		}
		if !bytes.Equal(seg, parts) {
			t.Fatal("the segment is not its parts")
		}
		file, err := mp4.DecodeFile(bytes.NewReader(seg))
		if err != nil {
			t.Fatal(err)
		}
		var moofs []*mp4.Fragment
		for _, s := range file.Segments {
			moofs = append(moofs, s.Fragments...)
		}
		if len(moofs) != len(f.chunks) {
			t.Fatalf("%d moofs of %d chunks", len(moofs), len(f.chunks))
		}
		number := uint32(0)
		for i, c := range f.chunks {
			if n := moofs[i].Moof.Mfhd.SequenceNumber; n <= number {
				t.Errorf("sequence number %d after %d", n, number)
			} else {
				number = n
			}
			for j, run := range c.Runs {
				traf := moofs[i].Moof.Trafs[j]
				if traf.Tfdt.Version != 1 || int64(traf.Tfdt.BaseMediaDecodeTime()) != run.Samples[0].DTS {
					t.Errorf("chunk %d track %d: tfdt %d (version %d), want %d", i, run.Track, traf.Tfdt.BaseMediaDecodeTime(), traf.Tfdt.Version, run.Samples[0].DTS)
				}
				moof := *moofs[i].Moof
				moof.Traf, moof.Trafs = traf, []*mp4.TrafBox{traf}
				one := *moofs[i]
				one.Moof = &moof
				got, err := one.GetFullSamples(nil)
				if err != nil {
					t.Fatal(err)
				}
				if len(got) != len(run.Samples) {
					t.Fatalf("chunk %d track %d: %d samples, want %d", i, run.Track, len(got), len(run.Samples))
				}
				for k, s := range run.Samples {
					g := got[k]
					data := g.Data
					if run.Track == schemas.VideoTrack && s.Sync {
						sets := appendUnits(nil, avcSPS, avcPPS)
						if !bytes.HasPrefix(data, sets) {
							t.Errorf("no parameter sets before sync sample: %x", data)
						}
						data = data[len(sets):]
					}
					if int64(g.DecodeTime) != s.DTS || g.CompositionTimeOffset != s.PTSOffset || g.Dur != s.Duration ||
						(g.Flags == flagsSync) != s.Sync || !bytes.Equal(data, s.Data) {
						t.Errorf("chunk %d track %d sample %d: %+v, want %+v", i, run.Track, k, g, s)
					}
				}
			}
		}
	}
}

func appendUnits(b []byte, units ...[]byte) []byte {
	for _, u := range units {
		b = binary.BigEndian.AppendUint32(b, uint32(len(u)))
		b = append(b, u...)
	}
	return b
}

func TestSegmentErrors(t *testing.T) {
	f := synthetic(testPlace, 1)[0]
	gap := gapAt(f.entry, 1)
	short := f.entry
	short.Chunks--
	bad := *f.chunks[0]
	bad.Runs = nil
	unknown := *f.chunks[0]
	unknown.Runs = []schemas.Run{{Track: 9, Samples: f.chunks[0].Runs[0].Samples}}
	negative := *f.chunks[0]
	negative.Runs = []schemas.Run{{Track: 2, Samples: []schemas.Sample{{DTS: -1}}}}
	tests := []struct {
		name   string
		entry  schemas.Entry
		chunks []*schemas.Chunk
	}{
		{"a gap", gap, nil},
		{"too many chunks", short, f.chunks},
		{"too few chunks", f.entry, f.chunks[:2]},
		{"wrong order", f.entry, append([]*schemas.Chunk{f.chunks[1], f.chunks[0]}, f.chunks[2:]...)},
		{"no samples", f.entry, append([]*schemas.Chunk{&bad}, f.chunks[1:]...)},
		{"unknown track", f.entry, append([]*schemas.Chunk{&unknown}, f.chunks[1:]...)},
		{"time below 0", f.entry, append([]*schemas.Chunk{&negative}, f.chunks[1:]...)},
	}
	for _, test := range tests {
		if _, err := Segment(test.entry, test.chunks); err == nil {
			t.Errorf("%s: no error", test.name)
		}
	}
	for _, tracks := range [][]schemas.Track{
		nil, {{ID: 1, Codec: schemas.MJPEG}}, {{ID: 1, Codec: schemas.H264, Config: avcC[:9]}}, {{ID: 2, Codec: schemas.AAC}}, {{ID: 2, Codec: schemas.Opus, Config: []byte{1}}},
	} {
		if _, err := Init(tracks); err == nil {
			t.Errorf("init of %+v: no error", tracks)
		}
	}
}

func TestParameterSets(t *testing.T) {
	aud, idr := []byte{9, 0xf0}, []byte{0x65, 1, 2}
	sets := appendUnits(nil, avcSPS, avcPPS)
	tests := []struct {
		name     string
		au, want []byte
	}{
		{"none", appendUnits(nil, idr), append(slices.Clone(sets), appendUnits(nil, idr)...)},
		{"after a delimiter", appendUnits(nil, aud, idr), append(append(appendUnits(nil, aud), sets...), appendUnits(nil, idr)...)},
		{"there already", appendUnits(nil, aud, avcSPS, avcPPS, idr), appendUnits(nil, aud, avcSPS, avcPPS, idr)},
		{"half there", appendUnits(nil, avcPPS, idr), append(slices.Clone(sets), appendUnits(nil, avcPPS, idr)...)},
		{"no NAL units", []byte{1, 2, 3}, append(slices.Clone(sets), 1, 2, 3)},
	}
	track := schemas.Track{ID: 1, Codec: schemas.H264, Config: avcC}
	for _, test := range tests {
		in := []schemas.Sample{{Sync: true, Data: slices.Clone(test.au)}, {Data: test.au}}
		out, err := withParameterSets(track, in)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(out[0].Data, test.want) {
			t.Errorf("%s: %x, want %x", test.name, out[0].Data, test.want)
		}
		if !bytes.Equal(in[0].Data, test.au) || !bytes.Equal(out[1].Data, test.au) {
			t.Errorf("%s: changed what it must not", test.name)
		}
	}
}

func FuzzParameterSets(f *testing.F) {
	f.Add(avcC, appendUnits(nil, []byte{0x65, 1, 2}), true)
	f.Add(avcC[:12], []byte{0, 0, 0, 9, 1}, false)
	f.Fuzz(func(t *testing.T, config, au []byte, h264 bool) {
		track := schemas.Track{ID: 1, Codec: schemas.H265, Config: config}
		if h264 {
			track.Codec = schemas.H264
		}
		_ = codecString(track)
		_ = frameRate([]schemas.Track{track})
		out, err := withParameterSets(track, []schemas.Sample{{Sync: true, Data: au}})
		if err == nil && len(out[0].Data) < len(au) {
			t.Errorf("%d bytes became %d", len(au), len(out[0].Data))
		}
	})
}

func TestCodecs(t *testing.T) {
	tests := []struct {
		track schemas.Track
		want  string
	}{
		{schemas.Track{Codec: schemas.H264, Config: avcC}, "avc1.4D400D"},
		{schemas.Track{Codec: schemas.H265, Config: []byte{1, 1, 0x60, 0, 0, 0, 0x90, 0, 0, 0, 0, 0, 0x3f}}, "hvc1.1.6.L63.90"},
		{schemas.Track{Codec: schemas.H265, Config: []byte{1, 0x61, 0x60, 0, 0, 0, 0xb0, 0, 0, 0, 0, 1, 0x7b}}, "hvc1.A1.6.H123.B0.0.0.0.0.1"},
		{schemas.Track{Codec: schemas.AAC, Config: []byte{0x11, 0x90}}, "mp4a.40.2"},
		{schemas.Track{Codec: schemas.AAC, Config: []byte{0xf9, 0x40}}, "mp4a.40.42"},
		{schemas.Track{Codec: schemas.Opus}, "opus"},
	}
	for _, test := range tests {
		if got := codecString(test.track); got != test.want {
			t.Errorf("%s: %q, want %q", test.track.Codec, got, test.want)
		}
	}
}
