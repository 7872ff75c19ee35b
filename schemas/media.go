package schemas

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"time"
)

// MediaTimescale is the number of ticks per second of media time, unless a
// track is named.
const MediaTimescale = 90000

// Ticks returns d in ticks of [MediaTimescale], rounded to the nearest.
func Ticks(d time.Duration) int64 {
	// Whole seconds are counted separately: the ticks of a wall clock would overflow.
	s, r := d/time.Second, d%time.Second
	t := int64(r) * MediaTimescale
	if t >= 0 {
		t += int64(time.Second) / 2
	} else {
		t -= int64(time.Second) / 2
	}
	return int64(s)*MediaTimescale + t/int64(time.Second)
}

// FromTicks returns n ticks of [MediaTimescale] as a duration, rounded down to 1 ns.
func FromTicks(n int64) time.Duration {
	return time.Duration(n/MediaTimescale)*time.Second + time.Duration(n%MediaTimescale)*time.Second/MediaTimescale
}

// Rescale converts v ticks of timescale from into ticks of timescale to, rounded
// to the nearest (halves away from zero).
func Rescale(v int64, from, to uint32) int64 {
	if from == to || from == 0 {
		return v
	}
	f, t := int64(from), int64(to)
	q, r := v/f, v%f
	half := f / 2
	if r < 0 {
		half = -half
	}
	return q*t + (r*t+half)/f
}

// Codec names an encoding of media in the log.
type Codec string

// The codecs of the log. Payload of a sample:
const (
	H264  Codec = "h264"  // one access unit, NAL units with 4-byte lengths, parameter sets out of band (ISO/IEC 14496-15 "avc1")
	H265  Codec = "h265"  // the same (ISO/IEC 14496-15 "hvc1")
	MJPEG Codec = "mjpeg" // one JPEG image
	AAC   Codec = "aac"   // one raw AAC access unit, no ADTS
	Opus  Codec = "opus"  // one Opus packet (RFC 6716)
	JSON  Codec = "json"  // one JSON value in UTF-8: timed metadata, such as the boxes of a picture
)

// Video reports whether c is a codec of pictures.
func (c Codec) Video() bool { return c == H264 || c == H265 || c == MJPEG }

// Track is one elementary stream of a session.
type Track struct {
	ID        uint8 // VideoTrack, AudioTrack, DataTrack; unique within a session
	Codec     Codec
	Timescale uint32 // ticks a second of its samples; 90000 for video and data, the sample rate for audio
	// Config is the decoder configuration: the body of avcC
	// (AVCDecoderConfigurationRecord), of hvcC, the AudioSpecificConfig of
	// AAC, the OpusHead of RFC 7845 without its magic (the body of dOps is
	// made of it). Empty for MJPEG.
	Config        []byte
	Width, Height uint16 // pixels, video only
	SampleRate    uint32 // Hz, audio only
	Channels      uint8  // audio only
}

// ConfigHash returns the name of a decoder configuration: 16 hexadecimal digits over
// id, codec, timescale, configuration and size of all tracks, in their order.
func ConfigHash(tracks []Track) string {
	h := sha256.New()
	for _, t := range tracks {
		h.Write([]byte{t.ID})
		h.Write([]byte(t.Codec))
		h.Write(binary.BigEndian.AppendUint32([]byte{0}, t.Timescale))
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(t.Config))))
		h.Write(t.Config)
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(t.Width)<<16|uint32(t.Height)))
		h.Write(binary.BigEndian.AppendUint32([]byte{t.Channels}, t.SampleRate))
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// Sample is one access unit of video or one frame of audio.
type Sample struct {
	DTS       int64  // decode time: media time in the track's timescale
	PTSOffset int32  // presentation time minus DTS, in the track's timescale
	Duration  uint32 // in the track's timescale
	Sync      bool   // a decoder can start here
	Data      []byte
}

// Run is the samples of one track in one chunk, in decode order. Each begins where the
// one before it ends.
type Run struct {
	Track   uint8
	Samples []Sample
}

// Chunk is a piece of a fragment: one Kafka record, one CMAF chunk and one
// part of low-latency HLS.
type Chunk struct {
	Epoch   int64 // offset of the `open` of the writer that wrote this copy
	Session uint64
	Layout  Layout
	Seq     uint64
	Index   uint32 // from 0 within the fragment
	// Last: true is certain. If it is false, only the entry tells whether the chunk is
	// the last one.
	Last bool
	// Ended, in a last chunk: the source ended with it. It is not known what comes
	// next, or when. Without Ended the next fragment follows at once, unless the
	// writer crashes.
	Ended bool
	// Start is the public time of the first video sample: ingest's wall clock
	// at the session's start plus media time since.
	Start time.Time
	// Media and Duration are media time and duration of a chunk without video, in ticks
	// of MediaTimescale. They are 0 if there is video: its samples tell them.
	Media, Duration int64
	// Captured is when the first sample reached ingest, by ingest's clock.
	Captured time.Time
	// CameraTime is the time of the first sample by the camera's own clock, if
	// RTCP sender reports give it; else zero. Nothing is looked up by it.
	CameraTime time.Time
	Tracks     []Track // in chunk 0 only: all tracks of the session, the video first
	// OpenGOP, in chunk 0 only: the fragment starts at an open random access point.
	// Its leading pictures come after the first picture, are shown before it, and need
	// the fragment before.
	OpenGOP bool
	Runs    []Run // at most one a track; a track without samples in this chunk may be missing
	Lineage *Lineage
}

// Video returns the samples of the video track, nil if there are none.
func (c *Chunk) Video() []Sample { return c.samples(VideoTrack) }

// Audio returns the samples of the audio track, nil if there are none.
func (c *Chunk) Audio() []Sample { return c.samples(AudioTrack) }

func (c *Chunk) samples(track uint8) []Sample {
	for _, r := range c.Runs {
		if r.Track == track {
			return r.Samples
		}
	}
	return nil
}

// Size returns the bytes of the chunk's samples.
func (c *Chunk) Size() int {
	n := 0
	for _, r := range c.Runs {
		for i := range r.Samples {
			n += len(r.Samples[i].Data)
		}
	}
	return n
}

// MediaStart returns the DTS of the first video sample, without video Media, in
// [MediaTimescale] ticks.
func (c *Chunk) MediaStart() int64 {
	if v := c.Video(); len(v) > 0 {
		return v[0].DTS
	}
	return c.Media
}

// MediaEnd returns the end of the last video sample, without video that of Duration, in
// [MediaTimescale] ticks.
func (c *Chunk) MediaEnd() int64 {
	if v := c.Video(); len(v) > 0 {
		return v[len(v)-1].DTS + int64(v[len(v)-1].Duration)
	}
	return c.Media + c.Duration
}

// UnitHash names an access unit: 16 hexadecimal digits of a SHA-256 over its bytes. Two
// connections to one camera at the same time give the same units.
func UnitHash(data []byte) string {
	h := sha256.Sum256(data)
	return hex.EncodeToString(h[:8])
}

// VideoTrack is the track id of a camera's pictures; its timescale is always
// [MediaTimescale]. AudioTrack is the track id of its sound. DataTrack is the track id
// of timed metadata; its timescale is [MediaTimescale] too.
const (
	VideoTrack uint8 = 1
	AudioTrack uint8 = 2
	DataTrack  uint8 = 3
)

// Lineage names the source of a derived fragment, or of the copy that a replay made.
type Lineage struct {
	Source    string // Kafka topic name
	Seq       uint64
	Processor string // of a replay ReplayProcessor
	Version   string // of the processor; of a replay its run and its round, as in "a1b2/0"
}
