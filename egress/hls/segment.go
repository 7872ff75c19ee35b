package hls

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/Eyevinn/mp4ff/mp4"

	"github.com/framelog/framelog/internal/codec"
	"github.com/framelog/framelog/schemas"
)

// MuxerVersion names the bytes that [Init], [Part] and [Segment] make of the
// same log. It stands in every media URL, so that a URL means the same bytes
// for as long as the log holds them: a change that alters the golden files of
// this package, a library upgrade included, needs a new version.
const MuxerVersion = "m1"

// Sample flags of ISO/IEC 14496-12 section 8.8.3.1: what a sample depends on,
// and whether a decoder can start at it.
const (
	flagsSync    uint32 = 0x02000000 // depends on no other
	flagsNonSync uint32 = 0x01010000 // depends on others, is no sync sample
)

// Optional fields of tfhd and trun (ISO/IEC 14496-12 sections 8.8.7 and 8.8.8).
const (
	tfhdDuration uint32 = 0x08
	tfhdFlags    uint32 = 0x20

	trunDataOffset uint32 = 0x001
	trunDuration   uint32 = 0x100
	trunSize       uint32 = 0x200
	trunFlags      uint32 = 0x400
	trunOffset     uint32 = 0x800
)

// Init makes the CMAF header (ISO/IEC 23000-19 section 7.3.1) of a decoder
// configuration. Decoder configurations go in as the log has them.
func Init(tracks []schemas.Track) ([]byte, error) {
	if len(tracks) == 0 {
		return nil, errors.New("hls: make init: no tracks")
	}
	init := mp4.CreateEmptyInit()
	for _, t := range tracks {
		kind := "audio"
		if t.Codec.Video() {
			kind = "video"
		}
		trak := mp4.CreateEmptyTrak(uint32(t.ID), t.Timescale, kind, "und")
		entry, err := sampleEntry(t)
		if err != nil {
			return nil, fmt.Errorf("hls: make init: track %d: %w", t.ID, err)
		}
		trak.Mdia.Minf.Stbl.Stsd.AddChild(entry)
		trak.Tkhd.Width, trak.Tkhd.Height = mp4.Fixed32(t.Width)<<16, mp4.Fixed32(t.Height)<<16
		init.Moov.AddChild(trak)
		init.Moov.Mvex.AddChild(mp4.CreateTrex(uint32(t.ID)))
		init.Moov.Mvhd.NextTrackID = uint32(t.ID) + 1
	}
	var b bytes.Buffer
	if err := init.Encode(&b); err != nil {
		return nil, fmt.Errorf("hls: make init: %w", err)
	}
	return b.Bytes(), nil
}

func sampleEntry(t schemas.Track) (mp4.Box, error) {
	verbatim := func(name string, body []byte) mp4.Box {
		return mp4.CreateUnknownBox(name, uint64(8+len(body)), body)
	}
	switch t.Codec {
	case schemas.H264, schemas.H265:
		if _, err := codec.ParameterSets(t.Codec, t.Config); err != nil {
			return nil, err
		}
		if t.Codec == schemas.H264 {
			return mp4.CreateVisualSampleEntryBox("avc1", t.Width, t.Height, verbatim("avcC", t.Config)), nil
		}
		return mp4.CreateVisualSampleEntryBox("hvc1", t.Width, t.Height, verbatim("hvcC", t.Config)), nil
	case schemas.AAC:
		if len(t.Config) < 2 {
			return nil, fmt.Errorf("AudioSpecificConfig of %d bytes", len(t.Config))
		}
		// A rate of 2^16 Hz and more does not fit the box; decoders take it
		// from the AudioSpecificConfig.
		return mp4.CreateAudioSampleEntryBox("mp4a", uint16(t.Channels), 16, uint16(min(t.SampleRate, 1<<16-1)), mp4.CreateEsdsBox(t.Config)), nil
	case schemas.Opus:
		body, err := opusBox(t.Config)
		if err != nil {
			return nil, err
		}
		return mp4.CreateAudioSampleEntryBox("Opus", uint16(t.Channels), 16, 48000, verbatim("dOps", body)), nil
	default:
		return nil, fmt.Errorf("codec %q has no place in HLS", t.Codec)
	}
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

// Part makes the CMAF chunk, one moof and one mdat, of a chunk of the log.
// tracks are those of its fragment's chunk 0. Sample data go in byte for byte;
// a sync sample without parameter sets in band gets those of the configuration
// before it, since players exist that read no init segment but the first.
func Part(tracks []schemas.Track, c *schemas.Chunk) ([]byte, error) {
	b, err := appendPart(nil, tracks, c)
	if err != nil {
		return nil, fmt.Errorf("hls: make part %d.%d: %w", c.Seq, c.Index, err)
	}
	return b, nil
}

// Segment makes the media segment of an entry from the chunks of the copy that
// it names: no more and no less than their parts, one after the other.
func Segment(e schemas.Entry, chunks []*schemas.Chunk) ([]byte, error) {
	if !e.Playable() {
		return nil, fmt.Errorf("hls: make segment %d: it is a gap", e.Seq)
	}
	if len(chunks) == 0 || len(chunks) != int(e.Chunks) {
		return nil, fmt.Errorf("hls: make segment %d: %d chunks, its entry says %d", e.Seq, len(chunks), e.Chunks)
	}
	var b []byte
	for i, c := range chunks {
		if c.Seq != e.Seq || c.Index != uint32(i) {
			return nil, fmt.Errorf("hls: make segment %d: chunk %d.%d in the place of chunk %d", e.Seq, c.Seq, c.Index, i)
		}
		var err error
		if b, err = appendPart(b, chunks[0].Tracks, c); err != nil {
			return nil, fmt.Errorf("hls: make segment %d: chunk %d: %w", e.Seq, i, err)
		}
	}
	return b, nil
}

func appendPart(b []byte, tracks []schemas.Track, c *schemas.Chunk) ([]byte, error) {
	moof := &mp4.MoofBox{}
	if err := moof.AddChild(mp4.CreateMfhd(sequenceNumber(c))); err != nil {
		return nil, err
	}
	var truns []*mp4.TrunBox
	var starts []int // of each track's data in the mdat
	var data [][]byte
	size := 0
	for _, r := range c.Runs {
		if len(r.Samples) == 0 {
			continue
		}
		i := trackOf(tracks, r.Track)
		if i < 0 {
			return nil, fmt.Errorf("samples of track %d, which chunk 0 does not name", r.Track)
		}
		samples, err := withParameterSets(tracks[i], r.Samples)
		if err != nil {
			return nil, fmt.Errorf("track %d: %w", r.Track, err)
		}
		traf, trun, err := trackFragment(r.Track, samples)
		if err != nil {
			return nil, fmt.Errorf("track %d: %w", r.Track, err)
		}
		if err := moof.AddChild(traf); err != nil {
			return nil, err
		}
		truns, starts = append(truns, trun), append(starts, size)
		for i := range samples {
			data = append(data, samples[i].Data)
			size += len(samples[i].Data)
		}
	}
	if len(truns) == 0 {
		return nil, errors.New("no samples")
	}
	for i, t := range truns {
		t.DataOffset = int32(int(moof.Size()) + 8 + starts[i])
	}
	out := bytes.NewBuffer(b)
	out.Grow(int(moof.Size()) + 8 + size)
	if err := moof.Encode(out); err != nil {
		return nil, err
	}
	b = out.Bytes()
	b = binary.BigEndian.AppendUint32(b, uint32(8+size))
	b = append(b, "mdat"...)
	for _, d := range data {
		b = append(b, d...)
	}
	return b, nil
}

// sequenceNumber is the mfhd's: from the chunk's place in the log alone, so
// that whoever makes the part makes the same. It grows within 97 days of
// footage and then wraps, as any 32 bits must.
func sequenceNumber(c *schemas.Chunk) uint32 { return uint32(c.Seq)<<9 + c.Index }

func trackOf(tracks []schemas.Track, id uint8) int {
	for i := range tracks {
		if tracks[i].ID == id {
			return i
		}
	}
	return -1
}

// trackFragment makes the tables of one track. What all samples share stands
// in the tfhd once.
func trackFragment(id uint8, samples []schemas.Sample) (*mp4.TrafBox, *mp4.TrunBox, error) {
	if samples[0].DTS < 0 {
		return nil, nil, fmt.Errorf("media time %d is below 0", samples[0].DTS)
	}
	tfhd := mp4.CreateTfhd(uint32(id))
	trun := mp4.CreateTrun(0)
	trun.Version = 1 // signed composition offsets
	trun.Flags = trunDataOffset | trunSize
	trun.DataOffset = 1 // any but 0; the real one is known when the moof's size is
	first := samples[0]
	for _, s := range samples {
		flags := flagsNonSync
		if s.Sync {
			flags = flagsSync
		}
		if s.Duration != first.Duration {
			trun.Flags |= trunDuration
		}
		if s.Sync != first.Sync {
			trun.Flags |= trunFlags
		}
		if s.PTSOffset != 0 {
			trun.Flags |= trunOffset
		}
		trun.Samples = append(trun.Samples, mp4.Sample{Flags: flags, Dur: s.Duration, Size: uint32(len(s.Data)), CompositionTimeOffset: s.PTSOffset})
	}
	if trun.Flags&trunDuration == 0 {
		tfhd.Flags |= tfhdDuration
		tfhd.DefaultSampleDuration = first.Duration
	}
	if trun.Flags&trunFlags == 0 {
		tfhd.Flags |= tfhdFlags
		tfhd.DefaultSampleFlags = trun.Samples[0].Flags
	}
	tfdt := mp4.CreateTfdt(uint64(first.DTS))
	tfdt.Version = 1 // 64 bits always, so that a part's size does not hang on the time of day
	traf := &mp4.TrafBox{}
	for _, box := range []mp4.Box{tfhd, tfdt, trun} {
		if err := traf.AddChild(box); err != nil {
			return nil, nil, err
		}
	}
	return traf, trun, nil
}
