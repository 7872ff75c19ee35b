package cmaf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/Eyevinn/mp4ff/mp4"

	"github.com/framelog/framelog/schemas"
)

// File collects what the header of an MP4 file says about its samples. The file is a plain
// one, without fragments (ISO/IEC 14496-12): ftyp, moov, and one mdat. The payload of the
// mdat is segments, one after another, as [Segment] makes them. The tables in moov point to
// the samples inside the segments. The boxes between the samples mean nothing to a player.
// So any player opens the file, and each segment stands in it with the bytes that it has in
// HLS.
//
// A File needs memory for each sample: 4 bytes, and 8 more for a picture of a stream with
// B-frames. Header needs the same once more.
type File struct {
	tracks []*trackTable // the first one decides what is shown
	shown  shown
	size   int64
}

// NewFile begins a file of one configuration. Its edit lists show the media time [from, to),
// in ticks of [schemas.MediaTimescale], in whole pictures: it begins with the picture that is
// shown at from, and ends after the one that is shown right before to.
func NewFile(from, to int64) *File {
	return &File{shown: shown{from: from, to: to, first: math.MaxInt64, last: math.MinInt64, next: math.MaxInt64}}
}

// Add adds the next chunk of the log. tracks are the tracks of its fragment's chunk 0, with
// the same configuration for the whole file. It keeps no data of samples.
func (f *File) Add(tracks []schemas.Track, c *schemas.Chunk) error {
	p, err := planChunk(tracks, c)
	if err != nil {
		return fmt.Errorf("cmaf: add chunk %d.%d to a file: %w", c.Seq, c.Index, err)
	}
	if err := f.begin(tracks); err != nil {
		return fmt.Errorf("cmaf: add chunk %d.%d to a file: %w", c.Seq, c.Index, err)
	}
	for _, r := range p.runs {
		if err := f.add(tracks, r.track, rowsOf(r.samples, f.size+int64(p.payload()+r.start)), c.OpenGOP); err != nil {
			return fmt.Errorf("cmaf: add chunk %d.%d to a file: %w", c.Seq, c.Index, err)
		}
	}
	f.size += int64(p.payload() + p.size)
	return nil
}

// begin makes the tables of the tracks, with the first samples.
func (f *File) begin(tracks []schemas.Track) error {
	if f.tracks == nil {
		for _, t := range tracks {
			f.tracks = append(f.tracks, newTrackTable(t, f.shown.from, f.shown.to))
		}
	}
	if len(tracks) != len(f.tracks) {
		return fmt.Errorf("it has %d tracks, the file has %d", len(tracks), len(f.tracks))
	}
	return nil
}

// add adds samples of one track that stand one after another.
func (f *File) add(tracks []schemas.Track, track int, rows []row, openGOP bool) error {
	if err := f.tracks[track].add(rows); err != nil {
		return fmt.Errorf("track %d: %w", tracks[track].ID, err)
	}
	if track == 0 {
		f.shown.add(tracks[0].Timescale, rows, openGOP)
	}
	return nil
}

// Size is the bytes of all CMAF chunks that were added.
func (f *File) Size() int64 { return f.size }

// Shown returns the media time that the file shows, in ticks of [schemas.MediaTimescale].
// false: it shows no picture.
func (f *File) Shown() (from, to int64, ok bool) {
	if f.shown.first == math.MaxInt64 {
		return 0, 0, false
	}
	return f.shown.first, min(f.shown.end, f.shown.next), true
}

// largeMdat is the size of the header of an mdat with a size of 64 bits.
const largeMdat = 16

// Header makes everything before the first segment. It is called once, when all chunks are
// added. created is what the file tells as its time of creation, in whole seconds.
func (f *File) Header(created time.Time) ([]byte, error) {
	from, to, ok := f.Shown()
	if !ok {
		return nil, errors.New("cmaf: make the header of a file: it shows no picture")
	}
	// iso4: composition offsets may be negative.
	ftyp := mp4.NewFtyp("isom", 0, []string{"isom", "iso4", "mp42"})
	moov := mp4.NewMoovBox()
	mvhd := mp4.CreateMvhd()
	mvhd.Version, mvhd.Timescale = 1, schemas.MediaTimescale
	mvhd.CreationTime = uint64(created.Unix() + mp4.EpochDiffS)
	mvhd.ModificationTime = mvhd.CreationTime
	moov.AddChild(mvhd)
	for _, t := range f.tracks {
		if t.samples() == 0 {
			continue
		}
		trak, err := t.trak(from, to, mvhd.CreationTime)
		if err != nil {
			return nil, fmt.Errorf("cmaf: make the header of a file: %w", err)
		}
		moov.AddChild(trak)
		mvhd.Duration = max(mvhd.Duration, trak.Tkhd.Duration)
		mvhd.NextTrackID = trak.Tkhd.TrackID + 1
	}
	size := int(ftyp.Size()+moov.Size()) + largeMdat
	for _, t := range f.tracks {
		for i := range t.places.ChunkOffset {
			t.places.ChunkOffset[i] += uint64(size)
		}
	}
	var out bytes.Buffer
	out.Grow(size)
	for _, box := range []mp4.Box{ftyp, moov} {
		if err := box.Encode(&out); err != nil {
			return nil, fmt.Errorf("cmaf: make the header of a file: %w", err)
		}
	}
	b := append(out.Bytes(), 0, 0, 0, 1)
	b = append(b, "mdat"...)
	return binary.BigEndian.AppendUint64(b, uint64(largeMdat+f.size)), nil
}

// shown finds the pictures that are shown in [from, to), all in ticks of
// schemas.MediaTimescale.
type shown struct {
	from, to int64
	start    int64 // before it nothing can be decoded
	begun    bool
	first    int64 // when the first picture is shown; MaxInt64: none is
	last     int64 // when the last picture is shown
	end      int64 // until when
	next     int64 // when the first picture at to or later is shown
}

func (x *shown) add(timescale uint32, rows []row, openGOP bool) {
	for _, r := range rows {
		pts := schemas.Rescale(r.dts+int64(r.offset), timescale, schemas.MediaTimescale)
		end := schemas.Rescale(r.dts+int64(r.offset)+int64(r.duration), timescale, schemas.MediaTimescale)
		if !x.begun {
			x.begun, x.start = true, math.MinInt64
			if openGOP {
				x.start = pts // the leading pictures need the fragment before
			}
		}
		switch {
		case pts < x.start, end <= x.from && pts < x.from:
		case pts >= x.to:
			x.next = min(x.next, pts)
		default:
			x.first = min(x.first, pts)
			if pts > x.last {
				x.last, x.end = pts, end
			}
		}
	}
}
