package cmaf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/Eyevinn/mp4ff/bits"
	"github.com/Eyevinn/mp4ff/mp4"

	"github.com/framelog/framelog/internal/codec"
	"github.com/framelog/framelog/schemas"
)

// Runs is the opposite of [Segment]: it returns the runs of each chunk of the log, of which a
// segment was made. tracks are the tracks of the fragment's chunk 0, and size that of
// its samples in the log, as its entry tells (schemas.Entry.Bytes). What Chunk added, parameter
// sets and the sample null of metadata, is taken out. Sample data are slices of segment. Runs of
// the same track and samples make the same CMAF chunk again.
func Runs(tracks []schemas.Track, segment []byte, size int64) ([][]schemas.Run, error) {
	var all [][]schemas.Run
	for at := 0; at < len(segment); {
		runs, size, err := readChunk(tracks, segment[at:])
		if err != nil {
			return nil, fmt.Errorf("cmaf: read CMAF chunk %d at byte %d: %w", len(all), at, err)
		}
		all, at = append(all, runs), at+size
	}
	withoutParameterSets(tracks, all, size)
	return all, nil
}

// readChunk reads the CMAF chunk with which b begins.
func readChunk(tracks []schemas.Track, b []byte) (runs []schemas.Run, size int, err error) {
	head, err := boxSize(b, "moof")
	if err != nil {
		return nil, 0, err
	}
	media, err := boxSize(b[head:], "mdat")
	if err != nil {
		return nil, 0, err
	}
	box, err := mp4.DecodeBoxSR(0, bits.NewFixedSliceReader(b[:head]))
	if err != nil {
		return nil, 0, err
	}
	for _, traf := range box.(*mp4.MoofBox).Trafs {
		r, err := readRun(traf, b, head+8, head+media)
		if err != nil {
			return nil, 0, err
		}
		i := trackOf(tracks, r.Track)
		if i < 0 {
			return nil, 0, fmt.Errorf("samples of track %d, which chunk 0 does not name", r.Track)
		}
		if tracks[i].Codec == schemas.JSON {
			r.Samples = withoutNothing(r.Samples)
		}
		if len(r.Samples) > 0 {
			runs = append(runs, r)
		}
	}
	return runs, head + media, nil
}

// boxSize returns the size of the box with which b begins.
func boxSize(b []byte, kind string) (int, error) {
	size, err := sizeIn(b, kind, int64(len(b)))
	return int(size), err
}

// sizeIn is boxSize of a box that has at most some bytes. b holds its head at least.
func sizeIn(b []byte, kind string, most int64) (int64, error) {
	if len(b) < 8 || string(b[4:8]) != kind {
		return 0, fmt.Errorf("there is no %s", kind)
	}
	size := int64(binary.BigEndian.Uint32(b))
	if size < 8 || size > most {
		return 0, fmt.Errorf("%s of %d bytes, %d are there", kind, size, most)
	}
	return size, nil
}

// notSync is sample_is_non_sync_sample (ISO/IEC 14496-12 section 8.8.3.1).
const notSync = 0x10000

// readRun reads the samples of one track, which stand in b between from and to.
func readRun(traf *mp4.TrafBox, b []byte, from, to int) (schemas.Run, error) {
	track, rows, err := readRows(traf, int64(from), int64(to))
	r := schemas.Run{Track: track, Samples: make([]schemas.Sample, len(rows))}
	for i, w := range rows {
		end := w.place + int64(w.size)
		r.Samples[i] = schemas.Sample{DTS: w.dts, PTSOffset: w.offset, Duration: w.duration, Sync: w.sync, Data: b[w.place:end:end]}
	}
	return r, err
}

// readRows reads what the tables of one track tell. Its samples must stand between from and to.
// Places count from the begin of the CMAF chunk.
func readRows(traf *mp4.TrafBox, from, to int64) (track uint8, rows []row, err error) {
	if traf.Tfhd == nil || traf.Tfdt == nil || traf.Trun == nil || len(traf.Truns) != 1 {
		return 0, nil, errors.New("a traf without one tfhd, tfdt and trun")
	}
	traf.Trun.AddSampleDefaultValues(traf.Tfhd, nil)
	at, dts := int64(traf.Trun.DataOffset), int64(traf.Tfdt.BaseMediaDecodeTime())
	if traf.Tfhd.TrackID > 255 || at < from || dts < 0 {
		return 0, nil, fmt.Errorf("track %d at %d, decode time %d", traf.Tfhd.TrackID, at, dts)
	}
	rows = make([]row, 0, len(traf.Trun.Samples))
	for _, s := range traf.Trun.Samples {
		if at+int64(s.Size) > to {
			return 0, nil, fmt.Errorf("a sample of %d bytes ends behind the mdat", s.Size)
		}
		rows = append(rows, row{place: at, dts: dts, offset: s.CompositionTimeOffset, duration: s.Dur, size: s.Size, sync: s.Flags&notSync == 0})
		at, dts = at+int64(s.Size), dts+int64(s.Dur)
	}
	return uint8(traf.Tfhd.TrackID), rows, nil
}

// withoutNothing leaves out the samples with which fill fills.
func withoutNothing(samples []schemas.Sample) []schemas.Sample {
	var rest []schemas.Sample
	for _, s := range samples {
		if !bytes.Equal(s.Data, nothing) {
			rest = append(rest, s)
		}
	}
	return rest
}

// withoutParameterSets takes out what withParameterSets has put before sync samples. A sample
// that had its parameter sets itself looks the same. So it is done only if size is that of the
// samples then.
func withoutParameterSets(tracks []schemas.Track, chunks [][]schemas.Run, size int64) {
	type change struct {
		s    *schemas.Sample
		data []byte
	}
	var changes []change
	for _, runs := range chunks {
		for _, r := range runs {
			t := tracks[trackOf(tracks, r.Track)]
			var sets []byte
			if t.Codec == schemas.H264 || t.Codec == schemas.H265 {
				if nals, err := codec.ParameterSets(t.Codec, t.Config); err == nil {
					sets = codec.JoinNALs(nals)
				}
			}
			for i := range r.Samples {
				s := &r.Samples[i]
				size -= int64(len(s.Data))
				if !s.Sync || len(sets) == 0 {
					continue
				}
				at, _ := scan(t.Codec, s.Data)
				if rest, ok := bytes.CutPrefix(s.Data[at:], sets); ok {
					size += int64(len(sets))
					changes = append(changes, change{s, without(s.Data, at, rest)})
				}
			}
		}
	}
	if size != 0 {
		return
	}
	for _, c := range changes {
		c.s.Data = c.data
	}
}

// without is data up to at, and rest. It copies only if it must.
func without(data []byte, at int, rest []byte) []byte {
	if at == 0 {
		return rest
	}
	return append(data[:at:at], rest...)
}
