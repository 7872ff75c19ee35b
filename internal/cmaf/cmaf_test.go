package cmaf

import (
	"bytes"
	"crypto/md5"
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/Eyevinn/mp4ff/mp4"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
	"github.com/framelog/framelog/tests/testmedia"
)

var update = flag.Bool("update", false, "write the golden files again (only with a new Version)")

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
		t.Errorf("%s: the bytes differ from the golden ones. They stand under immutable URLs: a change needs a new Version.\n got %x\nwant %x", name, got, want)
	}
}

var testPlace = testmedia.Place{Seq: 1_790_000_000, Session: 42, Epoch: 9, Layout: testmedia.Layout, Start: testmedia.Start}

func TestGolden(t *testing.T) {
	f := testmedia.Synthetic(testPlace, 1)[0]
	segment, err := Segment(f.Entry, f.All())
	if err != nil {
		t.Fatal(err)
	}
	golden(t, Version+"-segment.golden", bytes.Join(segment, nil))
	jpegs := jpegFragment([]byte{0xff, 0xd8, 1, 0xff, 0xd9}, []byte{0xff, 0xd8, 2, 2, 0xff, 0xd9})
	if segment, err = Segment(jpegs.Entry, jpegs.All()); err != nil {
		t.Fatal(err)
	}
	golden(t, Version+"-segment-mjpeg.golden", bytes.Join(segment, nil))

	hvcC := append([]byte{1, 1, 0x60, 0, 0, 0, 0x90, 0, 0, 0, 0, 0, 0x3f, 0xf0, 0, 0xfc, 0xfd, 0xf8, 0xf8, 0, 0, 0x0f, 3},
		0xa0, 0, 1, 0, 2, 0x40, 1, 0xa1, 0, 1, 0, 2, 0x42, 1, 0xa2, 0, 1, 0, 2, 0x44, 1)
	for name, tracks := range map[string][]schemas.Track{
		"h264-aac": f.Chunks[0].Tracks,
		"h265-opus": {
			{ID: 1, Codec: schemas.H265, Timescale: 90000, Config: hvcC, Width: 1920, Height: 1080},
			{ID: 2, Codec: schemas.Opus, Timescale: 48000, Config: []byte("\x01\x02\x38\x01\x80\xbb\x00\x00\x00\x00\x00"), SampleRate: 48000, Channels: 2},
		},
		"mjpeg": jpegs.Chunks[0].Tracks,
	} {
		init, err := Init(tracks)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, Version+"-init-"+name+".golden", init)
		if _, err := mp4.DecodeFile(bytes.NewReader(init)); err != nil {
			t.Errorf("%s: another reader does not take the init: %v", name, err)
		}
	}
}

// jpegFragment is a fragment of JPEG images, 25 a second, each a chunk.
func jpegFragment(images ...[]byte) testmedia.Fragment {
	tracks := []schemas.Track{{ID: schemas.VideoTrack, Codec: schemas.MJPEG, Timescale: schemas.MediaTimescale, Width: 320, Height: 180}}
	f := testmedia.Fragment{Entry: schemas.Entry{
		Kind: schemas.KindWhole, Seq: testPlace.Seq, Chunks: uint32(len(images)), Media: 1 << 40, Duration: int64(len(images)) * 3600,
		Layout: schemas.Layout{Target: 2, Video: schemas.MJPEG}, Config: schemas.ConfigHash(tracks),
	}}
	for i, image := range images {
		c := &schemas.Chunk{Seq: f.Entry.Seq, Index: uint32(i), Layout: f.Entry.Layout, Last: i == len(images)-1, Runs: []schemas.Run{{
			Track: schemas.VideoTrack, Samples: []schemas.Sample{{DTS: 1<<40 + int64(i)*3600, Duration: 3600, Sync: true, Data: image}},
		}}}
		if i == 0 {
			c.Tracks = tracks
		}
		f.Chunks = append(f.Chunks, c)
	}
	return f
}

// TestMJPEG: FFmpeg and GStreamer read the images that went in from an init and a
// segment.
func TestMJPEG(t *testing.T) {
	testenv.Tool(t, "ffmpeg", "ffmpeg")
	dir := t.TempDir()
	testmedia.FFmpeg(t, "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25", "-frames:v", "10", "-c:v", "mjpeg", filepath.Join(dir, "%02d.jpg"))
	names, err := filepath.Glob(filepath.Join(dir, "*.jpg"))
	if err != nil || len(names) != 10 {
		t.Fatalf("%d images, %v", len(names), err)
	}
	var images [][]byte
	var packets, pictures []string
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		images = append(images, b)
		packets = append(packets, fmt.Sprintf("%x", md5.Sum(b)))
		pictures = append(pictures, testmedia.Hashes(t, name, testmedia.Pictures...)...)
	}
	f := jpegFragment(images...)
	init, err := Init(f.Chunks[0].Tracks)
	if err != nil {
		t.Fatal(err)
	}
	segment, err := Segment(f.Entry, f.All())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "film.mp4")
	if err := os.WriteFile(path, append(init, bytes.Join(segment, nil)...), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := testmedia.Hashes(t, path, "-map", "0:v", "-c", "copy"); !slices.Equal(got, packets) {
		t.Errorf("ffmpeg reads other images:\n%q, want\n%q", got, packets)
	}
	if got := testmedia.Hashes(t, path, testmedia.Pictures...); !slices.Equal(got, pictures) {
		t.Errorf("ffmpeg decodes other pictures:\n%q, want\n%q", got, pictures)
	}
	testenv.Tool(t, "gst-launch-1.0", "gstreamer1.0-tools")
	out := filepath.Join(dir, "gst-%02d.jpg")
	cmd := exec.CommandContext(t.Context(), "gst-launch-1.0", "-q", "filesrc", "location="+path, "!", "qtdemux", "!", "image/jpeg", "!", "multifilesink", "location="+out)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("GStreamer: %v\n%s", err, text)
	}
	for i := range images {
		if got, err := os.ReadFile(fmt.Sprintf(out, i)); err != nil || !bytes.Equal(got, images[i]) {
			t.Errorf("GStreamer reads another image %d: %d bytes, want %d (%v)", i, len(got), len(images[i]), err)
		}
	}
}

// A segment is its chunks, and has every sample of the log with its times, flags and
// bytes.
func TestSegment(t *testing.T) {
	for _, f := range testmedia.Synthetic(testPlace, 3) {
		blocks, err := Segment(f.Entry, f.All())
		if err != nil {
			t.Fatal(err)
		}
		seg := bytes.Join(blocks, nil)
		var parts []byte
		for _, c := range f.Chunks {
			p, err := Chunk(f.Chunks[0].Tracks, c)
			if err != nil {
				t.Fatal(err)
			}
			parts = append(parts, p...)
		}
		if !bytes.Equal(seg, parts) {
			t.Fatal("the segment is not its chunks")
		}
		file, err := mp4.DecodeFile(bytes.NewReader(seg))
		if err != nil {
			t.Fatal(err)
		}
		var moofs []*mp4.Fragment
		for _, s := range file.Segments {
			moofs = append(moofs, s.Fragments...)
		}
		if len(moofs) != len(f.Chunks) {
			t.Fatalf("%d moofs of %d chunks", len(moofs), len(f.Chunks))
		}
		number := uint32(0)
		for i, c := range f.Chunks {
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
						sets := appendUnits(nil, testmedia.SPS, testmedia.PPS)
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
	f := testmedia.Synthetic(testPlace, 1)[0]
	gap := testmedia.GapAt(f.Entry, 1)
	short := f.Entry
	short.Chunks--
	bad := *f.Chunks[0]
	bad.Runs = nil
	unknown := *f.Chunks[0]
	unknown.Runs = []schemas.Run{{Track: 9, Samples: f.Chunks[0].Runs[0].Samples}}
	negative := *f.Chunks[0]
	negative.Runs = []schemas.Run{{Track: 2, Samples: []schemas.Sample{{DTS: -1}}}}
	tests := []struct {
		name   string
		entry  schemas.Entry
		chunks []*schemas.Chunk
	}{
		{"a gap", gap, nil},
		{"too many chunks", short, f.Chunks},
		{"too few chunks", f.Entry, f.Chunks[:2]},
		{"wrong order", f.Entry, append([]*schemas.Chunk{f.Chunks[1], f.Chunks[0]}, f.Chunks[2:]...)},
		{"no samples", f.Entry, append([]*schemas.Chunk{&bad}, f.Chunks[1:]...)},
		{"unknown track", f.Entry, append([]*schemas.Chunk{&unknown}, f.Chunks[1:]...)},
		{"time below 0", f.Entry, append([]*schemas.Chunk{&negative}, f.Chunks[1:]...)},
	}
	for _, test := range tests {
		if _, err := Segment(test.entry, testmedia.Fragment{Chunks: test.chunks}.All()); err == nil {
			t.Errorf("%s: no error", test.name)
		}
	}
	for _, tracks := range [][]schemas.Track{
		nil, {{ID: 1, Codec: "vp8"}}, {{ID: 1, Codec: schemas.H264, Config: testmedia.AVCC[:9]}}, {{ID: 2, Codec: schemas.AAC}}, {{ID: 2, Codec: schemas.Opus, Config: []byte{1}}},
	} {
		if _, err := Init(tracks); err == nil {
			t.Errorf("init of %+v: no error", tracks)
		}
	}
}

func TestParameterSets(t *testing.T) {
	aud, idr := []byte{9, 0xf0}, []byte{0x65, 1, 2}
	sets := appendUnits(nil, testmedia.SPS, testmedia.PPS)
	tests := []struct {
		name     string
		au, want []byte
	}{
		{"none", appendUnits(nil, idr), append(slices.Clone(sets), appendUnits(nil, idr)...)},
		{"after a delimiter", appendUnits(nil, aud, idr), append(append(appendUnits(nil, aud), sets...), appendUnits(nil, idr)...)},
		{"there already", appendUnits(nil, aud, testmedia.SPS, testmedia.PPS, idr), appendUnits(nil, aud, testmedia.SPS, testmedia.PPS, idr)},
		{"half there", appendUnits(nil, testmedia.PPS, idr), append(slices.Clone(sets), appendUnits(nil, testmedia.PPS, idr)...)},
		{"no NAL units", []byte{1, 2, 3}, append(slices.Clone(sets), 1, 2, 3)},
	}
	track := schemas.Track{ID: 1, Codec: schemas.H264, Config: testmedia.AVCC}
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
	f.Add(testmedia.AVCC, appendUnits(nil, []byte{0x65, 1, 2}), true)
	f.Add(testmedia.AVCC[:12], []byte{0, 0, 0, 9, 1}, false)
	f.Fuzz(func(t *testing.T, config, au []byte, h264 bool) {
		track := schemas.Track{ID: 1, Codec: schemas.H265, Config: config}
		if h264 {
			track.Codec = schemas.H264
		}
		out, err := withParameterSets(track, []schemas.Sample{{Sync: true, Data: au}})
		if err == nil && len(out[0].Data) < len(au) {
			t.Errorf("%d bytes became %d", len(au), len(out[0].Data))
		}
	})
}
