package cmaf

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/Eyevinn/mp4ff/mp4"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testmedia"
)

// sampleOf is what the tables of a file tell about a sample.
type sampleOf struct {
	dts  int64 // from the first sample of the track
	pts  int64
	sync bool
	data string
}

// tableSamples reads the samples of a track by its tables.
func tableSamples(t *testing.T, file []byte, trak *mp4.TrakBox) (all []sampleOf) {
	t.Helper()
	b := trak.Mdia.Minf.Stbl
	for n := 1; n <= int(b.Stsz.GetNrSamples()); n++ {
		chunk, first, err := b.Stsc.ChunkNrFromSampleNr(n)
		if err != nil {
			t.Fatal(err)
		}
		place := b.Co64.ChunkOffset[chunk-1]
		for i := first; i < n; i++ {
			place += uint64(b.Stsz.GetSampleSize(i))
		}
		dts, _ := b.Stts.GetDecodeTime(uint32(n))
		s := sampleOf{dts: int64(dts), pts: int64(dts), sync: b.Stss == nil || b.Stss.IsSyncSample(uint32(n))}
		if b.Ctts != nil {
			s.pts += int64(b.Ctts.GetCompositionTimeOffset(uint32(n)))
		}
		s.data = string(file[place : place+uint64(b.Stsz.GetSampleSize(n))])
		all = append(all, s)
	}
	return all
}

// The tables of a file tell of each sample what the log has, also over a hole in the footage.
// Sound that begins later than the pictures is heard later.
func TestFileTables(t *testing.T) {
	all := testmedia.Synthetic(testPlace, 4)
	all = append(all[:1], all[2:]...)                 // a hole of a second
	all[0].Chunks[0].Runs = all[0].Chunks[0].Runs[:1] // no sound in the first 200 ms
	base := all[0].Entry.Media
	f := NewFile(base, base+2*schemas.MediaTimescale+9000)
	var segments []byte
	want := map[uint8][]sampleOf{}
	first := map[uint8]int64{}
	for _, x := range all {
		for _, c := range x.Chunks {
			if err := f.Add(x.Chunks[0].Tracks, c); err != nil {
				t.Fatal(err)
			}
			b, err := Chunk(x.Chunks[0].Tracks, c)
			if err != nil {
				t.Fatal(err)
			}
			segments = append(segments, b...)
			for _, r := range c.Runs {
				samples, err := withParameterSets(x.Chunks[0].Tracks[r.Track-1], r.Samples)
				if err != nil {
					t.Fatal(err)
				}
				for _, s := range samples {
					if len(want[r.Track]) == 0 {
						first[r.Track] = s.DTS
					}
					dts := s.DTS - first[r.Track]
					want[r.Track] = append(want[r.Track], sampleOf{dts, dts + int64(s.PTSOffset), s.Sync, string(s.Data)})
				}
			}
		}
	}
	if f.Size() != int64(len(segments)) {
		t.Errorf("%d bytes, want %d", f.Size(), len(segments))
	}
	created := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	header, err := f.Header(created)
	if err != nil {
		t.Fatal(err)
	}
	file := append(header, segments...)
	parsed, err := mp4.DecodeFile(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	if parsed.IsFragmented() || parsed.Moov.Mvhd.CreationTimeS() != created.Unix() {
		t.Errorf("fragmented: %v, created %v", parsed.IsFragmented(), parsed.Moov.Mvhd.CreationTimeS())
	}
	from, to, _ := f.Shown()
	long := uint64(to - from)
	if from != base || long < 2*schemas.MediaTimescale || long > 2*schemas.MediaTimescale+9000+3600 {
		t.Errorf("it shows %d ticks from %d on", long, from-base)
	}
	wantEdits := [][]mp4.ElstEntry{
		{{SegmentDuration: long, MediaRateInteger: 1}},
		{{SegmentDuration: 18000, MediaTime: -1, MediaRateInteger: 1}, {SegmentDuration: long - 18000, MediaRateInteger: 1}},
	}
	until := map[uint8]int64{1: 2*schemas.MediaTimescale + 9000, 2: 2*48000 + 4800 - 9600}
	for i, trak := range parsed.Moov.Traks {
		id := uint8(trak.Tkhd.TrackID)
		if got := trak.Edts.Elst[0].Entries; !slices.Equal(got, wantEdits[i]) || trak.Tkhd.Duration != long {
			t.Errorf("track %d: edits %+v, want %+v", id, got, wantEdits[i])
		}
		got := tableSamples(t, file, trak)
		for j := range got {
			if got[j] != want[id][j] {
				t.Fatalf("track %d, sample %d: %+v, want %+v", id, j, got[j], want[id][j])
			}
		}
		if last := got[len(got)-1]; last.pts >= until[id] {
			t.Errorf("track %d: the last sample is shown at %d, which is behind the end", id, last.pts)
		}
		for _, s := range want[id][len(got):] { // only what is shown later is missing
			if s.pts < until[id] {
				t.Errorf("track %d: a sample of %d is missing", id, s.pts)
			}
		}
	}
}

// Sound is in the tables from 100 ms before the start on: for players that do not leave out by
// time what is before it.
func TestFileSoundBefore(t *testing.T) {
	x := testmedia.Synthetic(testPlace, 1)[0]
	f := NewFile(x.Entry.Media+45000, x.Entry.MediaEnd())
	for _, c := range x.Chunks {
		if err := f.Add(x.Chunks[0].Tracks, c); err != nil {
			t.Fatal(err)
		}
	}
	header, err := f.Header(testmedia.Start)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := mp4.DecodeFile(bytes.NewReader(append(header, make([]byte, f.Size())...)))
	if err != nil {
		t.Fatal(err)
	}
	trak := parsed.Moov.Traks[1]
	begin := trak.Edts.Elst[0].Entries[0].MediaTime
	if n := trak.Mdia.Minf.Stbl.Stsz.GetNrSamples(); n > 32 || begin < 4800-960 || begin > 4800+2*960 {
		t.Errorf("%d frames of sound, and %d ticks of it before the start", n, begin)
	}
}

// A file of timed metadata alone has what holds at its times.
func TestFileOfMetadata(t *testing.T) {
	x := dataFragment()
	f := NewFile(dataStart+90_000, dataStart+210_000)
	segment, err := Segment(x.Entry, x.All())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range x.Chunks {
		if err := f.Add(dataTracks, c); err != nil {
			t.Fatal(err)
		}
	}
	header, err := f.Header(testmedia.Start)
	if err != nil {
		t.Fatal(err)
	}
	file := append(header, bytes.Join(segment, nil)...)
	parsed, err := mp4.DecodeFile(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range tableSamples(t, file, parsed.Moov.Trak) {
		got = append(got, s.data)
	}
	if want := []string{"null", "null", "null", `{"boxes":[]}`}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// A file whose range has no picture has no header.
func TestFileShowsNothing(t *testing.T) {
	x := testmedia.Synthetic(testPlace, 1)[0]
	f := NewFile(x.Entry.MediaEnd()+7200, x.Entry.MediaEnd()+9000)
	for _, c := range x.Chunks {
		if err := f.Add(x.Chunks[0].Tracks, c); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, ok := f.Shown(); ok {
		t.Error("it shows something")
	}
	if _, err := f.Header(time.Now()); err == nil {
		t.Error("it has a header")
	}
}
