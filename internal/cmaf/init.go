package cmaf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/Eyevinn/mp4ff/mp4"

	"github.com/framelog/framelog/internal/codec"
	"github.com/framelog/framelog/schemas"
)

// Init makes the CMAF header (ISO/IEC 23000-19 section 7.3.2.1) of the tracks of a
// fragment's chunk 0. It writes the decoder configurations of the log unchanged.
func Init(tracks []schemas.Track) ([]byte, error) {
	if len(tracks) == 0 {
		return nil, errors.New("cmaf: make init: no tracks")
	}
	init := mp4.CreateEmptyInit()
	for _, t := range tracks {
		trak, err := emptyTrak(t)
		if err != nil {
			return nil, fmt.Errorf("cmaf: make init: %w", err)
		}
		init.Moov.AddChild(trak)
		init.Moov.Mvex.AddChild(mp4.CreateTrex(uint32(t.ID)))
		init.Moov.Mvhd.NextTrackID = uint32(t.ID) + 1
	}
	var b bytes.Buffer
	if err := init.Encode(&b); err != nil {
		return nil, fmt.Errorf("cmaf: make init: %w", err)
	}
	return b.Bytes(), nil
}

// emptyTrak makes the box of a track, without samples.
func emptyTrak(t schemas.Track) (*mp4.TrakBox, error) {
	kind := "audio"
	switch {
	case t.Codec.Video():
		kind = "video"
	case t.Codec == schemas.JSON:
		kind = "meta"
	}
	trak := mp4.CreateEmptyTrak(uint32(t.ID), t.Timescale, kind, "und")
	entry, err := sampleEntry(t)
	if err != nil {
		return nil, fmt.Errorf("track %d: %w", t.ID, err)
	}
	trak.Mdia.Minf.Stbl.Stsd.AddChild(entry)
	trak.Tkhd.Width, trak.Tkhd.Height = mp4.Fixed32(t.Width)<<16, mp4.Fixed32(t.Height)<<16
	return trak, nil
}

// sampleEntry makes the box in stsd that names the codec of a track (ISO/IEC
// 14496-12 section 8.5.2).
func sampleEntry(t schemas.Track) (mp4.Box, error) {
	verbatim := func(name string, body []byte) mp4.Box {
		return mp4.CreateUnknownBox(name, uint64(8+len(body)), body)
	}
	switch t.Codec {
	case schemas.H264, schemas.H265: // ISO/IEC 14496-15 sections 5.4.2 and 8.4.1
		if _, err := codec.ParameterSets(t.Codec, t.Config); err != nil {
			return nil, err
		}
		if t.Codec == schemas.H264 {
			return mp4.CreateVisualSampleEntryBox("avc1", t.Width, t.Height, verbatim("avcC", t.Config)), nil
		}
		return mp4.CreateVisualSampleEntryBox("hvc1", t.Width, t.Height, verbatim("hvcC", t.Config)), nil
	case schemas.MJPEG:
		return mp4.CreateVisualSampleEntryBox("mp4v", t.Width, t.Height, jpegDescriptor()), nil
	case schemas.AAC: // ISO/IEC 14496-14 section 6.7
		if len(t.Config) < 2 {
			return nil, fmt.Errorf("AudioSpecificConfig of %d bytes", len(t.Config))
		}
		// A rate of 2^16 Hz and more does not fit the box. Decoders take it from
		// the AudioSpecificConfig.
		return mp4.CreateAudioSampleEntryBox("mp4a", uint16(t.Channels), 16, uint16(min(t.SampleRate, 1<<16-1)), mp4.CreateEsdsBox(t.Config)), nil
	case schemas.Opus:
		body, err := opusBox(t.Config)
		if err != nil {
			return nil, err
		}
		return mp4.CreateAudioSampleEntryBox("Opus", uint16(t.Channels), 16, codec.OpusRate, verbatim("dOps", body)), nil
	case schemas.JSON:
		return verbatim("mett", jsonEntry), nil
	default:
		return nil, fmt.Errorf("no sample entry for codec %q", t.Codec)
	}
}

// Values of a DecoderConfigDescriptor (ISO/IEC 14496-1 section 7.2.6.6): the
// objectTypeIndication of JPEG (ISO/IEC 10918-1), and the streamType of visual
// streams with its reserved bit.
const (
	objectJPEG   = 0x6c
	streamVisual = 4<<2 | 1
)

// jpegDescriptor makes the esds of MJPEG. A JPEG image carries its own tables, so
// there is no DecoderSpecificInfo. MP4 has no sample entry of its own for MJPEG;
// mp4v with this object type is what FFmpeg writes, and what FFmpeg and GStreamer
// read.
func jpegDescriptor() *mp4.EsdsBox {
	e := mp4.CreateEsdsBox(nil)
	e.DecConfigDescriptor.ObjectType = objectJPEG
	e.DecConfigDescriptor.StreamType = streamVisual
	e.DecConfigDescriptor.DecSpecificInfo = nil
	return e
}

// opusBox turns an OpusHead without its magic (RFC 7845 section 5.1, little
// endian) into the body of a dOps box (Encapsulation of Opus in ISO Base Media
// File Format section 4.3.2, big endian).
func opusBox(head []byte) ([]byte, error) {
	c, err := codec.ParseOpusConfig(head)
	if err != nil {
		return nil, err
	}
	b := []byte{0, c.Channels}
	b = binary.BigEndian.AppendUint16(b, c.PreSkip)
	b = binary.BigEndian.AppendUint32(b, c.InputRate)
	b = binary.BigEndian.AppendUint16(b, uint16(c.OutputGain))
	return append(append(b, c.Family), c.Mapping...), nil
}
