package codec

import (
	"errors"
	"fmt"

	"github.com/Eyevinn/mp4ff/hevc"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h265"

	"github.com/framelog/framelog/schemas"
)

// VideoInfo holds the properties of pictures in a decoder configuration.
type VideoInfo struct {
	Width, Height int // pixels, after cropping; 0: not given
	// Frame is the duration of a picture in ticks of [schemas.MediaTimescale], by
	// the VUI's timing; 0: not given. Cameras often give a wrong value.
	Frame uint32
	// Reorder is the largest number of pictures that precede a picture in decoding
	// order and follow it in display order. 0: DTS equals PTS. -1: there may be
	// B-frames, and the number is not given.
	Reorder int
}

// maxReorder is the maximum that H.264 (annex A.3.1) and H.265 (annex A.4.1)
// allow.
const maxReorder = 16

// Video reads a track's decoder configuration. MJPEG has none, and no
// reordering.
func Video(c schemas.Codec, config []byte) (VideoInfo, error) {
	switch c {
	case schemas.H264:
		r, err := avcConfig(config)
		if err != nil {
			return VideoInfo{}, err
		}
		return h264Info(r.SPSnalus[0])
	case schemas.H265:
		r, err := hevcConfig(config)
		if err != nil {
			return VideoInfo{}, err
		}
		return h265Info(r.GetNalusForType(hevc.NALU_SPS)[0])
	case schemas.MJPEG:
		return VideoInfo{}, nil
	default:
		return VideoInfo{}, errors.New("codec: read configuration: not video: " + string(c))
	}
}

// FrameRate returns the pictures per second by the VUI's timing, not rounded to
// ticks as in [VideoInfo]. It is 0 if the VUI has no value between 1 and 240.
func FrameRate(c schemas.Codec, config []byte) float64 {
	fps := 0.0
	switch c {
	case schemas.H264:
		var s h264.SPS
		if r, err := avcConfig(config); err == nil && s.Unmarshal(r.SPSnalus[0]) == nil {
			fps = s.FPS()
		}
	case schemas.H265:
		var s h265.SPS
		if r, err := hevcConfig(config); err == nil && s.Unmarshal(r.GetNalusForType(hevc.NALU_SPS)[0]) == nil {
			fps = s.FPS()
		}
	default:
	}
	if fps < 1 || fps > 240 {
		return 0
	}
	return fps
}

func h264Info(sps []byte) (VideoInfo, error) {
	var s h264.SPS
	if err := s.Unmarshal(sps); err != nil {
		return VideoInfo{}, fmt.Errorf("codec: read SPS: %w", err)
	}
	info := VideoInfo{Width: s.Width(), Height: s.Height(), Reorder: -1}
	// A constrained or plain Baseline stream has no B slices; type 2 means
	// that output order is decoding order (ITU-T H.264 section 8.2.1.3). The
	// intra profiles (constraint_set3) cannot reorder either (section E.2.1).
	intra := s.ConstraintSet3Flag && (s.ProfileIdc == 44 || s.ProfileIdc == 86 || s.ProfileIdc == 100 || s.ProfileIdc == 110 || s.ProfileIdc == 122 || s.ProfileIdc == 244)
	if s.ProfileIdc == 66 || s.PicOrderCntType == 2 || intra {
		info.Reorder = 0
	}
	if v := s.VUI; v != nil {
		if t := v.TimingInfo; t != nil {
			info.Frame = frameTicks(2*uint64(t.NumUnitsInTick), uint64(t.TimeScale))
		}
		if r := v.BitstreamRestriction; r != nil && r.MaxNumReorderFrames <= maxReorder {
			info.Reorder = int(r.MaxNumReorderFrames)
		}
	}
	return info, nil
}

func h265Info(sps []byte) (VideoInfo, error) {
	var s h265.SPS
	if err := s.Unmarshal(sps); err != nil {
		return VideoInfo{}, fmt.Errorf("codec: read SPS: %w", err)
	}
	if s.ChromaFormatIdc > 3 {
		return VideoInfo{}, fmt.Errorf("codec: read SPS: chroma format %d", s.ChromaFormatIdc)
	}
	info := VideoInfo{Width: s.Width(), Height: s.Height(), Reorder: -1}
	if n := len(s.MaxNumReorderPics); n > 0 && s.MaxNumReorderPics[n-1] <= maxReorder {
		info.Reorder = int(s.MaxNumReorderPics[n-1]) // of the highest sub-layer
	}
	if s.VUI != nil && s.VUI.TimingInfo != nil {
		t := s.VUI.TimingInfo
		info.Frame = frameTicks(uint64(t.NumUnitsInTick), uint64(t.TimeScale))
	}
	return info, nil
}

// frameTicks converts units/scale seconds to ticks. It returns 0 for less than 1
// ms or more than 10 s.
func frameTicks(units, scale uint64) uint32 {
	if units == 0 || scale == 0 {
		return 0
	}
	t := (units*schemas.MediaTimescale + scale/2) / scale
	if t < schemas.MediaTimescale/1000 || t > 10*schemas.MediaTimescale {
		return 0
	}
	return uint32(t)
}
