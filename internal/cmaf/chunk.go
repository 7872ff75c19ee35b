package cmaf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"

	"github.com/Eyevinn/mp4ff/mp4"

	"github.com/framelog/framelog/schemas"
)

// Sample flags of ISO/IEC 14496-12 section 8.8.3.1: what a sample depends on,
// and whether a decoder can start at it.
const (
	flagsSync    uint32 = 0x02000000 // depends on no other sample
	flagsNonSync uint32 = 0x01010000 // depends on others, no sync sample
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

// Chunk makes the CMAF chunk (ISO/IEC 23000-19 section 7.3.2.3) of a chunk of the
// log: one moof and one mdat. tracks are the tracks of its fragment's chunk 0. It
// copies sample data byte for byte. Some players read only the first init
// segment. So Chunk puts the parameter sets of the configuration before a sync
// sample that has none in band.
func Chunk(tracks []schemas.Track, c *schemas.Chunk) ([]byte, error) {
	b, err := makeChunk(tracks, c)
	if err != nil {
		return nil, fmt.Errorf("cmaf: make chunk %d.%d: %w", c.Seq, c.Index, err)
	}
	return b, nil
}

// Segment makes the CMAF segment (ISO/IEC 23000-19 section 7.3.3.1) of an entry
// from the chunks of the copy that the entry names. Each CMAF chunk is one
// block. It fails if chunks are not exactly those that the entry names, in
// order, or with the error that chunks yields.
func Segment(e schemas.Entry, chunks iter.Seq2[*schemas.Chunk, error]) (Blocks, error) {
	if !e.Playable() {
		return nil, fmt.Errorf("cmaf: make segment %d: it is a gap", e.Seq)
	}
	b := make(Blocks, 0, min(e.Chunks, 256)) // the number in the entry may be wrong
	var tracks []schemas.Track
	for c, err := range chunks {
		if err != nil {
			return nil, err
		}
		if c.Seq != e.Seq || c.Index != uint32(len(b)) || c.Index >= e.Chunks {
			return nil, fmt.Errorf("cmaf: make segment %d: chunk %d.%d in the place of chunk %d of %d", e.Seq, c.Seq, c.Index, len(b), e.Chunks)
		}
		if c.Index == 0 {
			tracks = c.Tracks
		}
		made, err := Chunk(tracks, c)
		if err != nil {
			return nil, err
		}
		b = append(b, made)
	}
	if len(b) == 0 || len(b) != int(e.Chunks) {
		return nil, fmt.Errorf("cmaf: make segment %d: %d chunks, its entry says %d", e.Seq, len(b), e.Chunks)
	}
	return b, nil
}

func makeChunk(tracks []schemas.Track, c *schemas.Chunk) ([]byte, error) {
	p, err := planChunk(tracks, c)
	if err != nil {
		return nil, err
	}
	return p.encode()
}

// plan is what a CMAF chunk is made of.
type plan struct {
	moof *mp4.MoofBox
	runs []placedRun // at least one
	size int         // of the payload of the mdat
}

// placedRun is the samples of one track as they stand in the mdat, one after another.
type placedRun struct {
	track   int // index of the track
	start   int // position in the payload of the mdat
	samples []schemas.Sample
}

// planChunk decides what stands where in the CMAF chunk of a chunk of the log.
func planChunk(tracks []schemas.Track, c *schemas.Chunk) (*plan, error) {
	p := &plan{moof: &mp4.MoofBox{}}
	if err := p.moof.AddChild(mp4.CreateMfhd(sequenceNumber(c))); err != nil {
		return nil, err
	}
	var truns []*mp4.TrunBox
	for _, r := range withMetadata(tracks, c) {
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
		if err := p.moof.AddChild(traf); err != nil {
			return nil, err
		}
		truns = append(truns, trun)
		p.runs = append(p.runs, placedRun{track: i, start: p.size, samples: samples})
		for i := range samples {
			p.size += len(samples[i].Data)
		}
	}
	if len(truns) == 0 {
		return nil, errors.New("no samples")
	}
	for i, t := range truns {
		t.DataOffset = int32(p.payload() + p.runs[i].start)
	}
	return p, nil
}

// payload is the position in the CMAF chunk at which the payload of the mdat begins.
func (p *plan) payload() int { return int(p.moof.Size()) + 8 }

func (p *plan) encode() ([]byte, error) {
	var out bytes.Buffer
	out.Grow(p.payload() + p.size)
	if err := p.moof.Encode(&out); err != nil {
		return nil, err
	}
	b := out.Bytes()
	b = binary.BigEndian.AppendUint32(b, uint32(8+p.size))
	b = append(b, "mdat"...)
	for _, r := range p.runs {
		for i := range r.samples {
			b = append(b, r.samples[i].Data...)
		}
	}
	return b, nil
}

// sequenceNumber is the number in mfhd (ISO/IEC 14496-12 section 8.8.5). It
// depends on the chunk's place in the log only, so all processes make the same
// number. It grows for 97 days of footage and then wraps at 32 bits.
func sequenceNumber(c *schemas.Chunk) uint32 { return uint32(c.Seq)<<9 + c.Index }

func trackOf(tracks []schemas.Track, id uint8) int {
	for i := range tracks {
		if tracks[i].ID == id {
			return i
		}
	}
	return -1
}

// trackFragment makes the tables of one track. It writes values that all samples
// share once, in the tfhd.
func trackFragment(id uint8, samples []schemas.Sample) (*mp4.TrafBox, *mp4.TrunBox, error) {
	if samples[0].DTS < 0 {
		return nil, nil, fmt.Errorf("media time %d is below 0", samples[0].DTS)
	}
	tfhd := mp4.CreateTfhd(uint32(id))
	trun := mp4.CreateTrun(0)
	trun.Version = 1 // signed composition offsets
	trun.Flags = trunDataOffset | trunSize
	trun.DataOffset = 1 // any number except 0: the caller sets it when it knows the size of the moof
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
	tfdt.Version = 1 // always 64 bits, so that the size of a chunk does not depend on its time
	traf := &mp4.TrafBox{}
	for _, box := range []mp4.Box{tfhd, tfdt, trun} {
		if err := traf.AddChild(box); err != nil {
			return nil, nil, err
		}
	}
	return traf, trun, nil
}
