package cmaf

import (
	"fmt"
	"io"

	"github.com/Eyevinn/mp4ff/bits"
	"github.com/Eyevinn/mp4ff/mp4"

	"github.com/framelog/framelog/schemas"
)

// timeMargin is how far the times of samples may be from those that their entry tells: it tells those of
// pictures in the order in which they are shown, and sound begins and ends at other times.
const timeMargin = 10 * schemas.MediaTimescale

// AddSegment adds all chunks of the segment of an entry, which this version of the muxer has made, from
// its first size bytes in r: as Add does with each. It reads the tables, and not the samples. tracks are
// the tracks of its chunk 0.
// damaged: it is not what the muxer makes, or cannot be read, and nothing of it was added.
func (f *File) AddSegment(tracks []schemas.Track, e *schemas.Entry, r io.ReaderAt, size int64) (damaged bool, err error) {
	all, err := readTables(tracks, r, size)
	for _, t := range all {
		scale := tracks[t.track].Timescale
		from := schemas.Rescale(e.Media-timeMargin, schemas.MediaTimescale, scale)
		to := schemas.Rescale(e.MediaEnd()+timeMargin, schemas.MediaTimescale, scale)
		for _, s := range t.rows {
			if err == nil && (s.dts < from || s.dts > to) {
				err = fmt.Errorf("a sample of track %d stands at %d, and its fragment from %d to %d", tracks[t.track].ID, s.dts, from, to)
			}
		}
	}
	if err != nil {
		return true, fmt.Errorf("cmaf: read segment %d: %w", e.Seq, err)
	}
	if err := f.begin(tracks); err != nil {
		return false, fmt.Errorf("cmaf: add segment %d to a file: %w", e.Seq, err)
	}
	for _, t := range all {
		for i := range t.rows {
			t.rows[i].place += f.size
		}
		if err := f.add(tracks, t.track, t.rows, e.OpenGOP); err != nil {
			return false, fmt.Errorf("cmaf: add segment %d to a file: %w", e.Seq, err)
		}
	}
	f.size += size
	return false, nil
}

// table is the samples of one track in one CMAF chunk. Their places count from the begin of the
// segment.
type table struct {
	track int // index of the track
	rows  []row
}

// headSize is how much of a CMAF chunk is read first. A moof has some hundred bytes.
const headSize = 2048

// readTables reads the tables of all CMAF chunks of a segment.
func readTables(tracks []schemas.Track, r io.ReaderAt, size int64) (all []table, err error) {
	var buffer [headSize]byte
	for at := int64(0); at < size; {
		moof, mdat, err := readHead(buffer[:], r, at, size-at)
		if err != nil {
			return nil, fmt.Errorf("CMAF chunk at byte %d: %w", at, err)
		}
		box, err := mp4.DecodeBoxSR(0, bits.NewFixedSliceReader(moof))
		if err != nil {
			return nil, fmt.Errorf("CMAF chunk at byte %d: %w", at, err)
		}
		payload, end := int64(len(moof))+8, int64(len(moof))+mdat
		left := end - payload // without the samples that a table tells
		for _, traf := range box.(*mp4.MoofBox).Trafs {
			track, rows, err := readRows(traf, payload, end)
			i := trackOf(tracks, track)
			if err == nil && i < 0 {
				err = fmt.Errorf("samples of track %d, which chunk 0 does not name", track)
			}
			if err != nil {
				return nil, fmt.Errorf("CMAF chunk at byte %d: %w", at, err)
			}
			for n := range rows {
				rows[n].place += at
				left -= int64(rows[n].size)
			}
			all = append(all, table{i, rows})
		}
		if left != 0 {
			return nil, fmt.Errorf("CMAF chunk at byte %d: its samples have %d bytes less than its mdat", at, left)
		}
		at += end
	}
	return all, nil
}

// readHead reads the moof of the CMAF chunk at a position, into buffer if it has room there, and
// the head of its mdat. left is how many bytes the segment has from there on.
func readHead(buffer []byte, r io.ReaderAt, at, left int64) (moof []byte, mdat int64, err error) {
	b := buffer[:min(int64(len(buffer)), left)]
	if _, err := r.ReadAt(b, at); err != nil {
		return nil, 0, err
	}
	size, err := sizeIn(b, "moof", left-8)
	if err != nil {
		return nil, 0, err
	}
	if size+8 > int64(len(b)) {
		b = make([]byte, size+8)
		if _, err := r.ReadAt(b, at); err != nil {
			return nil, 0, err
		}
	}
	mdat, err = sizeIn(b[size:], "mdat", left-size)
	return b[:size], mdat, err
}
