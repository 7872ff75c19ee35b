package hlscheck

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/Eyevinn/mp4ff/mp4"
)

// initFile is what an initialization segment describes.
type initFile struct {
	tracks map[uint32]track
}

type track struct {
	kind      string // "vide", "soun"
	timescale uint32
	trex      *mp4.TrexBox
}

func parseInit(b []byte) (*initFile, error) {
	boxes, err := boxes(b)
	if err != nil {
		return nil, err
	}
	f := &initFile{tracks: map[uint32]track{}}
	for _, x := range boxes {
		moov, ok := x.(*mp4.MoovBox)
		if !ok {
			continue
		}
		if moov.Mvex == nil {
			return nil, errors.New("moov without mvex")
		}
		for _, t := range moov.Traks {
			trex, ok := moov.Mvex.GetTrex(t.Tkhd.TrackID)
			if !ok || t.Mdia == nil || t.Mdia.Hdlr == nil || t.Mdia.Mdhd == nil || t.Mdia.Mdhd.Timescale == 0 {
				return nil, fmt.Errorf("track %d lacks trex, hdlr or a timescale", t.Tkhd.TrackID)
			}
			f.tracks[t.Tkhd.TrackID] = track{t.Mdia.Hdlr.HandlerType, t.Mdia.Mdhd.Timescale, trex}
		}
	}
	if len(f.tracks) == 0 {
		return nil, errors.New("no moov with tracks")
	}
	return f, nil
}

// boxes reads the top level of a file. It refuses bytes between or after the boxes.
func boxes(b []byte) (out []mp4.Box, err error) {
	defer func() {
		// The library panics on some broken files. Here that is a violation.
		if r := recover(); r != nil {
			err = fmt.Errorf("unreadable: %v", r)
		}
	}()
	r := bytes.NewReader(b)
	for r.Len() > 0 {
		at := uint64(len(b) - r.Len())
		x, err := mp4.DecodeBox(at, r)
		if err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				err = io.ErrUnexpectedEOF
			}
			return out, fmt.Errorf("box at byte %d: %w", at, err)
		}
		if end := uint64(len(b) - r.Len()); end-at != x.Size() {
			return out, fmt.Errorf("box %s at byte %d: %d bytes, says %d", x.Type(), at, end-at, x.Size())
		}
		out = append(out, x)
	}
	return out, nil
}

// span is the media time of one track in one file.
type span struct {
	start, end uint64 // ticks
	timescale  uint32
	sync       bool // the first sample is a sync sample
	samples    int
}

func (s span) duration() time.Duration {
	return time.Duration(float64(s.end-s.start) / float64(s.timescale) * float64(time.Second))
}

// parseFragments reads a segment or a part. It must have moof and mdat in turn, all
// samples inside their mdat and next to each other, and media time that never goes
// back.
func (f *initFile) parseFragments(b []byte) (map[uint32]*span, error) {
	all, err := boxes(b)
	if err != nil {
		return nil, err
	}
	spans := map[uint32]*span{}
	pos := uint64(0)
	var moof *mp4.MoofBox
	var moofAt uint64
	fragments := 0
	for _, x := range all {
		switch x := x.(type) {
		case *mp4.MoofBox:
			if moof != nil {
				return nil, fmt.Errorf("two moof without mdat between at byte %d", pos)
			}
			moof, moofAt = x, pos
		case *mp4.MdatBox:
			if moof == nil {
				return nil, fmt.Errorf("mdat without moof at byte %d", pos)
			}
			first := pos + uint64(x.HeaderSize())
			if err := f.fragment(moof, moofAt, first, pos+x.Size(), spans); err != nil {
				return nil, fmt.Errorf("fragment at byte %d: %w", moofAt, err)
			}
			moof = nil
			fragments++
		}
		pos += x.Size()
	}
	if moof != nil {
		return nil, errors.New("the last moof has no mdat")
	}
	if fragments == 0 {
		return nil, errors.New("no fragment")
	}
	return spans, nil
}

func (f *initFile) fragment(moof *mp4.MoofBox, moofAt, first, end uint64, spans map[uint32]*span) error {
	data := first
	for _, traf := range moof.Trafs {
		if traf.Tfhd == nil || traf.Tfdt == nil {
			return errors.New("traf without tfhd or tfdt")
		}
		id := traf.Tfhd.TrackID
		t, ok := f.tracks[id]
		if !ok {
			return fmt.Errorf("track %d is not in the initialization segment", id)
		}
		if !traf.Tfhd.DefaultBaseIfMoof() {
			return fmt.Errorf("track %d: offsets do not count from the moof", id)
		}
		at := traf.Tfdt.BaseMediaDecodeTime()
		s := spans[id]
		if s == nil {
			s = &span{start: at, end: at, timescale: t.timescale}
			spans[id] = s
		}
		if at < s.end {
			return fmt.Errorf("track %d: tfdt %d is before the end of what is in front, %d", id, at, s.end)
		}
		s.end = at
		for _, trun := range traf.Truns {
			trun.AddSampleDefaultValues(traf.Tfhd, t.trex)
			if got := uint64(int64(moofAt) + int64(trun.DataOffset)); !trun.HasDataOffset() || got != data {
				return fmt.Errorf("track %d: data begin at byte %d, want %d", id, got, data)
			}
			for _, x := range trun.Samples {
				if s.samples == 0 {
					s.sync = x.Flags&mp4.NonSyncSampleFlags == 0
				}
				if x.Size == 0 {
					return fmt.Errorf("track %d: an empty sample", id)
				}
				s.samples++
				s.end += uint64(x.Dur)
				data += uint64(x.Size)
			}
		}
	}
	if data != end {
		return fmt.Errorf("samples end at byte %d, mdat at %d", data, end)
	}
	return nil
}

// mediaClock is what consecutive segments must agree on.
type mediaClock struct {
	ends map[uint32]uint64
	seq  uint64
	disc uint64
	any  bool
}

// segment checks one segment against the one before it. If strict, media time must
// go on over discontinuities too.
func (c *mediaClock) segment(s *Segment, f *initFile, b []byte, strict bool, bad report) {
	spans, err := f.parseFragments(b)
	if err != nil {
		bad(Container, "segment %d: %v", s.Seq, err)
		return
	}
	if c.ends == nil || (c.any && c.disc != s.DiscSeq && s.Seq > c.seq && !strict) {
		c.ends = map[uint32]uint64{}
	}
	// A segment whose first request was interrupted comes after later ones.
	late := c.any && s.Seq < c.seq
	// Where another process takes over, it aligns the sound to the pictures anew, so its frames
	// begin elsewhere. The first one may overlap the last one of the process before.
	joined := c.any && c.disc != s.DiscSeq
	if !late {
		c.seq, c.disc, c.any = s.Seq, s.DiscSeq, true
	}
	video := false
	for id, x := range spans {
		t := f.tracks[id]
		switch {
		case late && x.start >= c.ends[id]:
			bad(MediaTime, "segment %d: track %d begins at %d, segment %d ends at %d", s.Seq, id, x.start, c.seq, c.ends[id])
		case late:
		case joined && t.kind == "soun" && x.start < c.ends[id] && c.ends[id]-x.start < uint64(t.timescale)/40: // a frame of AAC or Opus
		case x.start < c.ends[id]:
			bad(MediaTime, "segment %d: track %d begins at %d, the segments in front end at %d", s.Seq, id, x.start, c.ends[id])
		}
		if !late {
			c.ends[id] = x.end
		}
		if t.kind != "vide" {
			continue
		}
		video = true
		if !x.sync {
			bad(Container, "segment %d does not begin with a sync sample", s.Seq)
		}
		if diff := x.duration() - s.Duration; diff.Abs() > lengthTolerance {
			bad(MediaLength, "segment %d: EXTINF %v, its video is %v long", s.Seq, s.Duration, x.duration())
		}
	}
	if !video {
		bad(Container, "segment %d has no video", s.Seq)
	}
}

// lengthTolerance is how far EXTINF may be from the media's duration: one frame of
// a slow camera, because the last frame's duration is a guess if a camera stopped.
const lengthTolerance = 100 * time.Millisecond
