package camsim

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"

	"github.com/Eyevinn/mp4ff/mp4"
	"github.com/framelog/framelog/schemas"
)

// LoadMP4 reads an MP4 file that is not fragmented: H.264 (avc1), H.265
// (hvc1), MJPEG, AAC, Opus; at most one track of video and one of audio. Times
// are those of the presentation: edit lists are applied, so that the first
// picture stands at 0 and the priming of audio before it.
func LoadMP4(path string) (*Clip, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("camsim: load clip: %w", err)
	}
	c, err := ParseMP4(b)
	if err != nil {
		return nil, fmt.Errorf("camsim: load clip %s: %w", path, err)
	}
	return c, nil
}

// ParseMP4 is [LoadMP4] over the bytes of a file.
func ParseMP4(b []byte) (*Clip, error) {
	f, err := mp4.DecodeFile(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	if f.Moov == nil || f.Moov.Mvex != nil {
		return nil, fmt.Errorf("no plain MP4 file")
	}
	var tracks []schemas.Track
	var units []Unit
	for _, trak := range f.Moov.Traks {
		t, err := describe(trak)
		if err != nil {
			return nil, err
		}
		u, err := samples(b, trak, t)
		if err != nil {
			return nil, err
		}
		tracks, units = append(tracks, t), append(units, u...)
	}
	if len(tracks) > 1 && !tracks[0].Codec.Video() {
		tracks[0], tracks[1] = tracks[1], tracks[0]
	}
	return NewClip(tracks, units)
}

func describe(trak *mp4.TrakBox) (schemas.Track, error) {
	entry := trak.Mdia.Minf.Stbl.Stsd.Children[0]
	var buf bytes.Buffer
	if err := entry.Encode(&buf); err != nil {
		return schemas.Track{}, err
	}
	raw := buf.Bytes()
	t := schemas.Track{ID: schemas.VideoTrack, Timescale: schemas.MediaTimescale}
	header := 8 + 78 // VisualSampleEntry, ISO/IEC 14496-12 section 12.1.3
	switch entry.Type() {
	case "avc1":
		t.Codec = schemas.H264
	case "hvc1":
		t.Codec = schemas.H265
	case "mp4v", "jpeg", "mjpg":
		t.Codec = schemas.MJPEG
	case "mp4a":
		t.Codec, header = schemas.AAC, 8+28 // AudioSampleEntry, section 12.2.3
	case "Opus":
		t.Codec, header = schemas.Opus, 8+28
	default:
		return t, fmt.Errorf("unknown sample entry %q", entry.Type())
	}
	if len(raw) < header {
		return t, fmt.Errorf("sample entry %q of %d bytes", entry.Type(), len(raw))
	}
	if t.Codec.Video() {
		t.Width, t.Height = binary.BigEndian.Uint16(raw[32:]), binary.BigEndian.Uint16(raw[34:])
	} else {
		t.ID = schemas.AudioTrack
		t.Channels = uint8(binary.BigEndian.Uint16(raw[24:]))
		t.SampleRate = binary.BigEndian.Uint32(raw[32:]) >> 16
		t.Timescale = t.SampleRate
	}
	switch t.Codec {
	case schemas.H264:
		t.Config = child(raw[header:], "avcC")
	case schemas.H265:
		t.Config = child(raw[header:], "hvcC")
	case schemas.AAC:
		e := trak.Mdia.Minf.Stbl.Stsd.Mp4a
		if e == nil || e.Esds == nil || e.Esds.DecConfigDescriptor == nil || e.Esds.DecConfigDescriptor.DecSpecificInfo == nil {
			return t, fmt.Errorf("AAC without a configuration")
		}
		t.Config = e.Esds.DecConfigDescriptor.DecSpecificInfo.DecConfig
	case schemas.Opus:
		t.Timescale = 48000
		t.Config = opusHead(child(raw[header:], "dOps"))
	case schemas.MJPEG, schemas.JSON:
		return t, nil
	}
	if t.Config == nil {
		return t, fmt.Errorf("%s without a decoder configuration", t.Codec)
	}
	return t, nil
}

// child returns the body of the first box of that type in a run of boxes.
func child(b []byte, kind string) []byte {
	for len(b) >= 8 {
		n := int(binary.BigEndian.Uint32(b))
		if n < 8 || n > len(b) {
			return nil
		}
		if string(b[4:8]) == kind {
			return b[8:n]
		}
		b = b[n:]
	}
	return nil
}

// opusHead turns the body of dOps (Opus in ISOBMFF, section 4.3.2) into that
// of OpusHead (RFC 7845 section 5.1): version 1, little-endian.
func opusHead(d []byte) []byte {
	if len(d) < 11 {
		return nil
	}
	h := []byte{1, d[1]}
	h = binary.LittleEndian.AppendUint16(h, binary.BigEndian.Uint16(d[2:]))
	h = binary.LittleEndian.AppendUint32(h, binary.BigEndian.Uint32(d[4:]))
	h = binary.LittleEndian.AppendUint16(h, binary.BigEndian.Uint16(d[8:]))
	return append(h, d[10:]...)
}

func samples(b []byte, trak *mp4.TrakBox, t schemas.Track) ([]Unit, error) {
	stbl, scale := trak.Mdia.Minf.Stbl, trak.Mdia.Mdhd.Timescale
	n := stbl.Stsz.GetNrSamples()
	var edit int64 // media time of the presentation's zero
	if trak.Edts != nil {
		for _, l := range trak.Edts.Elst {
			for _, e := range l.Entries {
				if e.MediaTime >= 0 {
					edit = e.MediaTime
				}
			}
		}
	}
	units := make([]Unit, 0, n)
	var at uint64
	lastChunk := -1
	for nr := uint32(1); nr <= n; nr++ {
		chunk, first, err := stbl.Stsc.ChunkNrFromSampleNr(int(nr))
		if err != nil {
			return nil, err
		}
		if chunk != lastChunk || first == int(nr) {
			lastChunk = chunk
			if stbl.Stco != nil {
				at, err = stbl.Stco.GetOffset(chunk)
			} else {
				at, err = stbl.Co64.GetOffset(chunk)
			}
			if err != nil {
				return nil, err
			}
		}
		size := uint64(stbl.Stsz.GetSampleSize(int(nr)))
		if at+size > uint64(len(b)) {
			return nil, fmt.Errorf("sample %d of track %d lies outside the file", nr, t.ID)
		}
		dts, dur := stbl.Stts.GetDecodeTime(nr)
		pts := int64(dts)
		if stbl.Ctts != nil {
			pts += int64(stbl.Ctts.GetCompositionTimeOffset(nr))
		}
		u := Unit{
			Track: t.ID, Sync: stbl.Stss == nil || stbl.Stss.IsSyncSample(nr), Data: b[at : at+size : at+size],
			DTS: schemas.Rescale(int64(dts)-edit, scale, t.Timescale), PTS: schemas.Rescale(pts-edit, scale, t.Timescale),
			Duration: uint32(schemas.Rescale(int64(dur), scale, t.Timescale)),
		}
		units = append(units, u)
		at += size
	}
	return units, nil
}
