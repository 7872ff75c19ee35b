package camsim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/framelog/framelog/schemas"
)

// G.711 as cameras send it (RFC 3551 section 4.5.14): one byte a sample at 8 kHz.
// These names are never in the log: ingest converts such sound to AAC.
const (
	PCMU schemas.Codec = "pcmu"
	PCMA schemas.Codec = "pcma"
)

// RTP is sound whose units are complete RTP payloads. The track's Config is the
// text of rtpmap behind the payload type: "G726-32/8000". If it is a static
// payload type such as "14", SDP has no rtpmap.
const RTP schemas.Codec = "rtp"

// Unit is one access unit of video or one frame of audio, as a camera sends
// it. Times are in the track's timescale; zero is the same instant for all
// tracks of a feed.
type Unit struct {
	Track    uint8
	PTS, DTS int64
	Duration uint32
	Sync     bool
	// Data is as [schemas.Codec] says: NAL units with 4-byte lengths and
	// without parameter sets, raw AAC, an Opus packet, a JPEG image; for
	// PCMU and PCMA the bytes of the samples; for RTP a payload.
	Data []byte

	wall time.Time // when the picture was taken, by the camera's clock
}

// Stream is media that Play makes while it is sent, from the first client's PLAY on.
type Stream struct {
	Media []schemas.Track
	// Play calls emit with each unit at its time, from one goroutine, until the media or
	// ctx ends.
	Play func(ctx context.Context, emit func(Unit)) error
}

// Tracks returns the stream's tracks.
func (s *Stream) Tracks() []schemas.Track { return s.Media }

func (s *Stream) live() bool { return false }

func (s *Stream) play(ctx context.Context, emit func(Unit)) error { return s.Play(ctx, emit) }

// Feed is media that a camera serves: a *[Clip], a *[Live] or a *[Stream].
type Feed interface {
	// Tracks is what the camera describes; the video comes first.
	Tracks() []schemas.Track
	// play delivers units at their time until the feed or ctx ends. It calls emit
	// from one goroutine. live reports whether it must run from the camera's
	// start, or waits for the first client.
	play(ctx context.Context, emit func(Unit)) error
	live() bool
}

// Clip is media whose bytes are known, so that tests can compare with them.
type Clip struct {
	Media []schemas.Track
	Units []Unit // in the order of sending, which within a track is decode order

	// Loop begins the clip again at its end, with timestamps that go on.
	Loop bool
	// Speed is how many times faster than real time units are sent; their
	// timestamps do not change. It defaults to 1.
	Speed float64
}

// NewClip makes a clip of tracks and their units, and brings the units of
// different tracks into the order of sending.
func NewClip(tracks []schemas.Track, units []Unit) (*Clip, error) {
	c := &Clip{Media: tracks, Units: slices.Clone(units)}
	scale := map[uint8]uint32{}
	for _, t := range tracks {
		if t.Timescale == 0 {
			return nil, fmt.Errorf("camsim: clip: track %d has no timescale", t.ID)
		}
		scale[t.ID] = t.Timescale
	}
	for _, u := range c.Units {
		if scale[u.Track] == 0 {
			return nil, fmt.Errorf("camsim: clip: unit of an unknown track %d", u.Track)
		}
	}
	slices.SortStableFunc(c.Units, func(a, b Unit) int {
		return int(span(a.DTS, scale[a.Track]) - span(b.DTS, scale[b.Track]))
	})
	if len(c.Units) == 0 {
		return nil, errors.New("camsim: clip: no units")
	}
	return c, nil
}

// Tracks returns the clip's tracks.
func (c *Clip) Tracks() []schemas.Track { return c.Media }

func (c *Clip) live() bool { return false }

// With returns the clip with another loop and speed; the units are shared.
func (c *Clip) With(loop bool, speed float64) *Clip {
	d := *c
	d.Loop, d.Speed = loop, speed
	return &d
}

// Of returns the units of one track, in decode order.
func (c *Clip) Of(track uint8) []Unit {
	var out []Unit
	for _, u := range c.Units {
		if u.Track == track {
			out = append(out, u)
		}
	}
	return out
}

// Only returns the clip with only the given tracks.
func (c *Clip) Only(tracks ...uint8) *Clip {
	d := &Clip{Loop: c.Loop, Speed: c.Speed}
	for _, t := range c.Media {
		if slices.Contains(tracks, t.ID) {
			d.Media = append(d.Media, t)
		}
	}
	for _, u := range c.Units {
		if slices.Contains(tracks, u.Track) {
			d.Units = append(d.Units, u)
		}
	}
	return d
}

// Join returns one clip with the tracks of all clips; their ids must differ.
func Join(clips ...*Clip) (*Clip, error) {
	var tracks []schemas.Track
	var units []Unit
	for _, c := range clips {
		for _, t := range c.Media {
			if slices.ContainsFunc(tracks, func(o schemas.Track) bool { return o.ID == t.ID }) {
				return nil, fmt.Errorf("camsim: join clips: two tracks %d", t.ID)
			}
			tracks = append(tracks, t)
		}
		units = append(units, c.Units...)
	}
	return NewClip(tracks, units)
}

// Duration returns the length of one pass: that of the first track.
func (c *Clip) Duration() time.Duration {
	return span(c.length(c.Media[0].ID), c.Media[0].Timescale)
}

// length returns the length of a track in its timescale.
func (c *Clip) length(track uint8) int64 {
	u := c.Of(track)
	if len(u) == 0 {
		return 0
	}
	last := u[len(u)-1]
	return last.DTS + int64(last.Duration) - u[0].DTS
}

// lane is what play needs to know about a track.
type lane struct {
	scale uint32
	first int64 // DTS
	frame int64 // duration of a frame of sound; 0 for video
}

// shift returns by how much a track is moved in a pass of a clip whose length
// is given in ticks of scale: whole frames for sound, so that no frame is cut.
func (l lane) shift(length int64, scale uint32, pass int) int64 {
	t := schemas.Rescale(length*int64(pass), scale, l.scale)
	if l.frame > 0 {
		t = (t + l.frame - 1) / l.frame * l.frame
	}
	return t
}

// play sends in order of DTS. A loop is as long as the first track. If the clip
// has enough sound, sound goes on without a break, less than one frame away
// from its exact time.
func (c *Clip) play(ctx context.Context, emit func(Unit)) error {
	speed := c.Speed
	if speed <= 0 {
		speed = 1
	}
	lanes := map[uint8]lane{}
	for _, t := range c.Media {
		l := lane{scale: t.Timescale}
		if u := c.Of(t.ID); len(u) > 0 {
			l.first = u[0].DTS
			if !t.Codec.Video() {
				l.frame = int64(u[0].Duration)
			}
		}
		lanes[t.ID] = l
	}
	length, scale := c.length(c.Media[0].ID), c.Media[0].Timescale
	// Below zero if B-frames or priming come first.
	lead := span(c.Units[0].DTS, lanes[c.Units[0].Track].scale)
	start := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	for pass := 0; ; pass++ {
		for _, u := range c.Units {
			l := lanes[u.Track]
			shift := l.shift(length, scale, pass)
			if c.Loop && u.DTS+shift >= l.first+l.shift(length, scale, pass+1) {
				continue // the next pass begins here
			}
			u.DTS += shift
			u.PTS += shift
			due := start.Add(time.Duration(float64(span(u.DTS, l.scale)-lead) / speed))
			if d := time.Until(due); d > 0 {
				timer.Reset(d)
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-timer.C:
				}
			} else if ctx.Err() != nil {
				return ctx.Err()
			}
			u.wall = start.Add(time.Duration(float64(span(u.PTS, l.scale)-lead) / speed))
			emit(u)
		}
		if !c.Loop {
			return nil
		}
	}
}

// span converts v ticks to a duration.
func span(v int64, scale uint32) time.Duration {
	s := int64(scale)
	return time.Duration(v/s)*time.Second + time.Duration(v%s)*time.Second/time.Duration(s)
}

// ToneG711 returns sound of length d as G.711: a quiet sawtooth whose pitch
// changes each second, in packets of 20 ms. It is track 2.
func ToneG711(codec schemas.Codec, d time.Duration) *Clip {
	const rate, frame = 8000, 160
	c := &Clip{Media: []schemas.Track{{ID: schemas.AudioTrack, Codec: codec, Timescale: rate, SampleRate: rate, Channels: 1}}}
	for n := int64(0); n*frame < int64(d)*rate/int64(time.Second); n++ {
		u := Unit{Track: schemas.AudioTrack, PTS: n * frame, DTS: n * frame, Duration: frame, Sync: true, Data: make([]byte, frame)}
		for i := range u.Data {
			at := n*frame + int64(i)
			period := 20 + at/rate%8*2
			// A ramp over the code words themselves needs no companding; both
			// laws take bit 7 for the sign.
			u.Data[i] = 0xd0 + byte(at%period)
			if at/period%2 == 1 {
				u.Data[i] ^= 0x80
			}
		}
		c.Units = append(c.Units, u)
	}
	return c
}
