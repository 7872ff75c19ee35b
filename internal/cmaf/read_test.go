package cmaf

import (
	"bytes"
	"reflect"
	"slices"
	"testing"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testmedia"
)

// readable is fragments of each kind.
func readable() map[string]testmedia.Fragment {
	place := testPlace
	place.Layout.Audio = schemas.AAC
	sound := testmedia.Synthetic(place, 1)[0]
	// keyframes changes the data of the keyframes of a fragment.
	keyframes := func(change func(i int, data []byte) []byte) testmedia.Fragment {
		f := testmedia.Synthetic(testPlace, 1)[0]
		f.Chunks[3].Runs[0].Samples[2].Sync = true
		n := 0
		for _, c := range f.Chunks {
			for i := range c.Runs[0].Samples {
				if s := &c.Runs[0].Samples[i]; s.Sync {
					s.Data = change(n, s.Data)
					n++
				}
			}
		}
		return f
	}
	sets := appendUnits(nil, testmedia.SPS, testmedia.PPS)
	delimiter := appendUnits(nil, []byte{9, 0xf0})
	beside := testmedia.Synthetic(testPlace, 1)[0]
	beside.Chunks[0].Tracks = append(slices.Clone(beside.Chunks[0].Tracks), dataTracks...)
	at := beside.Chunks[1].MediaStart()
	beside.Chunks[1].Runs = append(beside.Chunks[1].Runs, schemas.Run{Track: schemas.DataTrack, Samples: []schemas.Sample{
		{DTS: at + 100, Duration: 200, Sync: true, Data: []byte(`{"a":1}`)}, {DTS: at + 300, Duration: 5, Sync: true, Data: []byte(`2`)},
	}})
	return map[string]testmedia.Fragment{
		"pictures and sound":    sound,
		"images":                jpegFragment([]byte("one"), []byte("image two")),
		"metadata":              dataFragment(),
		"metadata and pictures": beside,
		"parameter sets": keyframes(func(_ int, data []byte) []byte {
			return slices.Concat(sets, data)
		}),
		"parameter sets behind a delimiter": keyframes(func(_ int, data []byte) []byte {
			return slices.Concat(delimiter, sets, data)
		}),
		"a delimiter": keyframes(func(_ int, data []byte) []byte { return slices.Concat(delimiter, data) }),
		"half of the parameter sets": keyframes(func(_ int, data []byte) []byte {
			return slices.Concat(appendUnits(nil, testmedia.PPS), data)
		}),
	}
}

func size(f testmedia.Fragment) (n int64) {
	for _, c := range f.Chunks {
		n += int64(c.Size())
	}
	return n
}

// A segment gives the samples of the log again.
func TestRuns(t *testing.T) {
	for name, f := range readable() {
		f.Entry.Chunks = uint32(len(f.Chunks))
		s, err := Segment(f.Entry, f.All())
		if err != nil {
			t.Fatal(err)
		}
		got, err := Runs(f.Chunks[0].Tracks, bytes.Join(s, nil), size(f))
		if err != nil || len(got) != len(f.Chunks) {
			t.Errorf("%s: %d chunks, %v; want %d", name, len(got), err, len(f.Chunks))
			continue
		}
		for i, c := range f.Chunks {
			for _, r := range c.Runs {
				for k := range r.Samples { // of metadata all are
					r.Samples[k].Sync = r.Samples[k].Sync || r.Track == schemas.DataTrack
				}
			}
			if !reflect.DeepEqual(got[i], c.Runs) {
				t.Errorf("%s: chunk %d has\n%v, want\n%v", name, i, got[i], c.Runs)
			}
		}
	}
}

// If only some keyframes had parameter sets, it is not known which. They stay, and the segment
// that is made again has the same bytes.
func TestRunsMixed(t *testing.T) {
	f := testmedia.Synthetic(testPlace, 1)[0]
	f.Entry.Chunks = uint32(len(f.Chunks))
	f.Chunks[3].Runs[0].Samples[2].Sync = true
	first := &f.Chunks[0].Runs[0].Samples[0]
	first.Data = slices.Concat(appendUnits(nil, testmedia.SPS, testmedia.PPS), first.Data)
	s, err := Segment(f.Entry, f.All())
	if err != nil {
		t.Fatal(err)
	}
	runs, err := Runs(f.Chunks[0].Tracks, bytes.Join(s, nil), size(f))
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range f.Chunks {
		c.Runs = runs[i]
	}
	if again, err := Segment(f.Entry, f.All()); err != nil || !slices.EqualFunc(s, again, bytes.Equal) {
		t.Errorf("other bytes than before, %v", err)
	}
}

// What a file tells of a segment by its tables is what it tells of the chunks, for each cut.
func TestAddSegment(t *testing.T) {
	for name, x := range readable() {
		x.Entry.Chunks = uint32(len(x.Chunks))
		s, err := Segment(x.Entry, x.All())
		if err != nil {
			t.Fatal(err)
		}
		segment := bytes.Join(s, nil)
		tracks, base := x.Chunks[0].Tracks, x.Entry.Media
		for _, cut := range [][2]int64{{0, schemas.MediaTimescale}, {20000, 50000}, {40000, 3 * schemas.MediaTimescale}} {
			byChunk, byTables := NewFile(base+cut[0], base+cut[1]), NewFile(base+cut[0], base+cut[1])
			for _, c := range x.Chunks {
				if err := byChunk.Add(tracks, c); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := byTables.AddSegment(tracks, &x.Entry, bytes.NewReader(segment), int64(len(segment))); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			want, failed := byChunk.Header(testmedia.Start)
			got, err := byTables.Header(testmedia.Start)
			if !bytes.Equal(got, want) || byTables.Size() != byChunk.Size() || (err == nil) != (failed == nil) {
				t.Errorf("%s, %v: another header of %d bytes, %v; want %d, %v", name, cut, len(got), err, len(want), failed)
			}
		}
		changed := bytes.Clone(segment)
		changed[bytes.LastIndex(changed, []byte("tfdt"))+8] ^= 0x40 // the highest byte of a time
		if damaged, err := NewFile(0, 1).AddSegment(tracks, &x.Entry, bytes.NewReader(changed), int64(len(changed))); !damaged || err == nil {
			t.Errorf("%s: another time: damaged %v, %v", name, damaged, err)
		}
		for i := range segment {
			if damaged, err := NewFile(0, 1).AddSegment(tracks, &x.Entry, bytes.NewReader(segment[:i]), int64(len(segment))); !damaged || err == nil {
				t.Fatalf("%s: the first %d bytes of %d: damaged %v, %v", name, i, len(segment), damaged, err)
			}
		}
	}
}

// A moof that is longer than what is read first: 700 pictures in a chunk.
func TestAddLongSegment(t *testing.T) {
	x := testmedia.Synthetic(testPlace, 1)[0]
	c := x.Chunks[0]
	run := &c.Runs[0]
	for len(run.Samples) < 700 {
		s := run.Samples[len(run.Samples)-1]
		s.DTS, s.PTSOffset = s.DTS+int64(s.Duration), int32(len(run.Samples)%2)
		run.Samples = append(run.Samples, s)
	}
	x.Entry.Duration = run.Samples[len(run.Samples)-1].DTS - x.Entry.Media
	b, err := Chunk(c.Tracks, c)
	if err != nil {
		t.Fatal(err)
	}
	for _, wrong := range []bool{false, true} {
		if wrong {
			b[bytes.Index(b, []byte("mdat"))]++
		}
		f := NewFile(x.Entry.Media, x.Entry.Media+schemas.MediaTimescale)
		damaged, err := f.AddSegment(c.Tracks, &x.Entry, bytes.NewReader(b), int64(len(b)))
		if damaged != wrong || (err != nil) != wrong || !wrong && f.Size() != int64(len(b)) {
			t.Errorf("changed %v: damaged %v, %v", wrong, damaged, err)
		}
	}
}

// FuzzRuns: no bytes stop a process.
func FuzzRuns(f *testing.F) {
	for _, x := range readable() {
		x.Entry.Chunks = uint32(len(x.Chunks))
		s, err := Segment(x.Entry, x.All())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(bytes.Join(s, nil))
	}
	one := testmedia.Synthetic(testPlace, 1)[0]
	tracks := slices.Concat(one.Chunks[0].Tracks, dataTracks)
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = Runs(tracks, b, int64(len(b)))
		_, _ = NewFile(0, 1<<40).AddSegment(tracks, &one.Entry, bytes.NewReader(b), int64(len(b)))
	})
}
