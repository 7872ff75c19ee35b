// Package assemble makes chunks and fragments of access units. It is pure: it
// starts no goroutine, does no input or output and looks at no clock.
package assemble

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/framelog/framelog/internal/codec"
	"github.com/framelog/framelog/schemas"
)

// Config is an assembler's settings. The zero value of each field
// means its default.
type Config struct {
	// Camera is the label of the metrics.
	Camera string
	// MinFragment is the shortest fragment: one begins at the first keyframe
	// that comes at least so long after the last one's start. Default and
	// minimum 1s.
	MinFragment time.Duration
	// ChunkDuration is how long a chunk is at most before PART-TARGET's
	// allowance (see schemas.PartTarget); a chunk has at least one frame.
	// Default 200ms.
	ChunkDuration time.Duration
	// MaxFragmentDuration and MaxFragmentBytes close a fragment without a
	// keyframe: it is truncated with schemas.ReasonCap and what follows, up to
	// the next keyframe, is a gap. Default 60s and 64 MiB.
	MaxFragmentDuration time.Duration
	MaxFragmentBytes    int64
	// MaxChunkBytes closes a chunk before it is full, so that it fits in a
	// Kafka record. One access unit larger than that is a chunk alone. It also
	// bounds what is kept while a session's frame rate is found out. Default
	// 4 MiB.
	MaxChunkBytes int
	// KeyframeTimeout is how long a camera may send no keyframe before it is
	// named by Problem. Default 20s.
	KeyframeTimeout time.Duration
	// LongInterval is how far apart keyframes may be without Problem naming
	// it. Default 10s.
	LongInterval time.Duration
	// ClockStep is by how much the camera's clock must jump, against the order
	// of its units and their arrival, to count as set anew. Default 3s.
	ClockStep time.Duration
	// Live says that Unit.Captured and Tick are the wall clock. Then a session
	// ends where public time and wall clock have come apart, by more than
	// MaxDrift in the smallest difference of DriftWindow. Default 500ms and 10s.
	Live        bool
	MaxDrift    time.Duration
	DriftWindow time.Duration
	// AudioSilence is how long a session's sound may be missing. Default 2s.
	AudioSilence time.Duration
	// AudioQueue and AudioQueueBytes bound the sound that waits for the
	// pictures beside it; the oldest is dropped beyond them, and counted.
	// Default 1024 frames and 2 MiB.
	AudioQueue      int
	AudioQueueBytes int
	// FrameTime is the duration of a picture as the camera's SDP has it; 0
	// where it says nothing. The first units of a session confirm it, or the
	// SPS's, or give another.
	FrameTime time.Duration
	// ProblemHold is how long a problem is told after it was last seen.
	// Default 15s.
	ProblemHold time.Duration
	// Problem, where set, is told what is odd about the camera, and "" when
	// that is over. It is called from the goroutine that calls the assembler.
	Problem func(problem string)
}

// withDefaults fills in what is not set.
func (c Config) withDefaults() Config {
	set := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	set(&c.MinFragment, time.Second)
	c.MinFragment = max(c.MinFragment, time.Second)
	set(&c.ChunkDuration, 200*time.Millisecond)
	set(&c.MaxFragmentDuration, time.Minute)
	set(&c.KeyframeTimeout, 20*time.Second)
	set(&c.LongInterval, 10*time.Second)
	set(&c.ProblemHold, 15*time.Second)
	set(&c.ClockStep, 3*time.Second)
	set(&c.MaxDrift, 500*time.Millisecond)
	set(&c.DriftWindow, 10*time.Second)
	set(&c.AudioSilence, 2*time.Second)
	if c.MaxFragmentBytes <= 0 {
		c.MaxFragmentBytes = 64 << 20
	}
	if c.MaxChunkBytes <= 0 {
		c.MaxChunkBytes = 4 << 20
	}
	if c.AudioQueue <= 0 {
		c.AudioQueue = 1024
	}
	if c.AudioQueueBytes <= 0 {
		c.AudioQueueBytes = 2 << 20
	}
	return c
}

// Why a session began, as the metric has it.
const (
	sessionConnect     = "connect"      // the source connected
	sessionTracks      = "tracks"       // other tracks or another decoder configuration
	sessionDrift       = "drift"        // public time and wall clock have come apart
	sessionClock       = "clock"        // the camera's clock was set
	sessionReorder     = "reorder"      // pictures are reordered more deeply than was known
	sessionAudioStart  = "audio-start"  // sound came
	sessionAudioSilent = "audio-silent" // sound went
)

// Assembler makes chunks and fragments of what a source delivers, and gives
// them to a recorder. It is the ingest.Sink of one camera, over any number of
// connections one after the other.
//
// It starts no goroutine and looks at no clock: time comes with the units
// (Unit.Captured) and with Tick. All methods must be called from one goroutine
// at a time, and none blocks.
//
// The way of a picture: Unit looks at it and finds the keyframes (see starts); the session's
// lead holds a session's first units until frame time and reordering are
// known; order gives it a decode time; held keeps the latest one back, so that
// durations are real and the last chunk of a fragment is known to be it; the
// fragment makes chunks. Sound waits in a queue of its own until
// the pictures beside it are written: it never delays them, but where a session
// ends (see closing).
type Assembler struct {
	cfg Config
	rec Recorder
	m   *cameraMetrics

	// The connection.
	video   schemas.Track
	info    codec.VideoInfo
	sound   *sound // of the tracks told last; nil: none
	ready   bool   // tracks were told
	starts  starts
	next    string    // why the next session begins
	depth   int       // of reordering, learnt from this configuration's pictures
	keyed   time.Time // the latest keyframe
	good    int       // pictures since then
	bad     int       // and what was none
	odd     [oddities]odd
	problem string // the one that was told

	apart time.Duration // of keyframes, as seen lately; what was seen earlier counts less

	session session
	closing closing
	frag    fragment
	rate    rate
	lost    schemas.Lost // not yet told to the recorder

	stats Stats
}

// Stats is what the camera's status tells about its pictures.
type Stats struct {
	Video, Audio  schemas.Codec // of the session; Audio is empty without sound
	Width, Height uint16
	Recording     bool // a session is open
	// Blocked is why nothing is recorded although units come; else "".
	Blocked string
}

// unit is an access unit of video on its way.
type unit struct {
	data     []byte
	pts      int64 // extended RTP time, moved over steps of the camera's clock
	dts      int64 // media time
	captured time.Time
	camera   time.Time
	picture  codec.Picture
	start    bool // a fragment can begin here
	open     bool // but its leading pictures need the fragment before
}

// New makes an assembler that writes to rec. m may be nil.
func New(cfg Config, rec Recorder, m *Metrics) *Assembler {
	cfg = cfg.withDefaults()
	return &Assembler{cfg: cfg, rec: rec, m: m.camera(cfg.Camera), next: sessionConnect}
}

// FrameTime sets Config.FrameTime for the sessions that begin from now
// on: what the SDP says is known only once there is a connection.
func (a *Assembler) FrameTime(d time.Duration) { a.cfg.FrameTime = d }

// Stats is a summary of what goes on.
func (a *Assembler) Stats() Stats {
	s := a.stats
	if !s.Recording {
		s.Blocked = a.odd[oddKeyframe].text
	}
	return s
}

// Tracks implements ingest.Sink. There must be exactly one track of video, and at
// most one of audio.
func (a *Assembler) Tracks(tracks []schemas.Track) error {
	video, audio, err := pickTracks(tracks)
	if err != nil {
		return err
	}
	info, err := codec.Video(video.Codec, video.Config)
	if err != nil {
		return fmt.Errorf("assemble: begin video: %w: %w", ErrUnsupported, err)
	}
	if video.Width == 0 || video.Height == 0 {
		video.Width, video.Height = uint16(min(info.Width, math.MaxUint16)), uint16(min(info.Height, math.MaxUint16))
	}
	var s *sound
	if audio != nil {
		if s, err = newSound(*audio); err != nil {
			return fmt.Errorf("assemble: begin audio: %w: %w", ErrUnsupported, err)
		}
	}
	a.resolveStart(nil, 0)
	if a.ready {
		a.next = sessionTracks
	}
	if a.sound != nil && s != nil && sameTrack(a.sound.track, s.track) {
		s = a.sound // goes on without a seam
	}
	until := int64(untilShown)
	if s != a.sound {
		a.close()
		until = forever
	}
	if !sameTrack(a.video, video) {
		// What comes now cannot stand in the old session.
		a.end(until)
		a.depth, a.starts = 0, starts{}
	}
	if s != a.sound && a.sound != a.session.sound {
		a.discard(a.sound)
	}
	a.video, a.info, a.sound, a.ready = video, info, s, true
	return nil
}

func pickTracks(tracks []schemas.Track) (video schemas.Track, audio *schemas.Track, err error) {
	n := 0
	for i, t := range tracks {
		switch {
		case t.ID == schemas.VideoTrack && t.Codec.Video():
			video, n = t, n+1
		case t.ID == schemas.AudioTrack && (t.Codec == schemas.AAC || t.Codec == schemas.Opus) && audio == nil:
			audio = &tracks[i]
		default:
			return video, nil, fmt.Errorf("assemble: begin tracks: %w: track %d (%s) is neither picture nor sound that the log takes", ErrUnsupported, t.ID, t.Codec)
		}
	}
	switch {
	case n == 0:
		return video, nil, fmt.Errorf("assemble: begin tracks: %w: no video, and sound alone is not recorded", ErrUnsupported)
	case n > 1:
		return video, nil, fmt.Errorf("assemble: begin tracks: %w: %d tracks of video, want one", ErrUnsupported, n)
	case video.Timescale != schemas.MediaTimescale:
		return video, nil, fmt.Errorf("assemble: begin tracks: %w: video has %d ticks a second, want %d", ErrUnsupported, video.Timescale, schemas.MediaTimescale)
	}
	return video, audio, nil
}

func sameTrack(a, b schemas.Track) bool {
	return a.Codec == b.Codec && a.Timescale == b.Timescale && string(a.Config) == string(b.Config) &&
		a.Width == b.Width && a.Height == b.Height && a.SampleRate == b.SampleRate && a.Channels == b.Channels
}

// Unit implements ingest.Sink. What cannot be used is counted and dropped; the only
// error is a unit before Tracks.
func (a *Assembler) Unit(u Unit) error {
	if !a.ready {
		return errors.New("assemble: take unit: no tracks were told")
	}
	a.m.bytes.Add(float64(len(u.Data)))
	if u.Lost > 0 {
		a.lost.Packets += u.Lost
		a.m.packets.Add(float64(u.Lost))
		a.notice(oddLost, "packets are lost on the way from the camera: look at the network, and where the transport is UDP, set it to tcp", u.Captured)
	}
	if u.Track != schemas.VideoTrack {
		a.m.audio.Inc()
		a.takeSound(&u)
		return nil
	}
	a.m.video.Inc()
	a.tick(u.Captured)
	if u.Broken {
		a.bad++
		a.lose(dropBroken, u.Captured)
		return nil
	}
	c, err := codec.Classify(a.video.Codec, u.Data)
	if err != nil {
		a.bad++
		a.lose(dropInvalid, u.Captured)
		return nil
	}
	a.good++
	a.resolveStart(&c, u.PTS)
	v := unit{data: u.Data, pts: u.PTS, captured: u.Captured, camera: u.CameraTime, picture: c.Picture, start: c.Picture == codec.Start}
	a.starts.refresh = a.starts.refresh || c.Refresh
	a.starts.referenceB = a.starts.referenceB || c.ReferenceB
	if c.Intra {
		a.starts.intra++
	}
	if c.Picture == codec.CRA || c.Picture == codec.Recovery {
		a.starts.waits = &v
		return nil
	}
	a.take(v)
	return nil
}

// lose counts a unit that was thrown away.
func (a *Assembler) lose(reason string, now time.Time) {
	a.lost.Units++
	a.m.drop(reason, 1)
	a.notice(oddDamaged, "some of what the camera sends is damaged and left out: look at the network, or restart the camera", now)
}

// take leads an access unit into the open session, or into a new one.
func (a *Assembler) take(v unit) {
	a.mayStart(&v)
	if v.start {
		a.apart = max(v.captured.Sub(a.keyed), a.apart*3/4)
		a.keyed, a.good, a.bad = v.captured, 0, 0
		a.odd[oddKeyframe] = odd{}
		a.report()
	}
	if !a.session.open {
		if !v.start {
			a.m.drop(dropBeforeKeyframe, 1)
			return
		}
		a.begin(v)
		return
	}
	raw := v.pts
	a.steady(&v)
	if a.session.leavesOut(&v, a.video.Codec) {
		a.leaveOut()
		return
	}
	if v.start && a.next != "" && a.due(v) {
		a.end(v.pts)
		v.pts = raw
		a.begin(v)
		return
	}
	a.session.see(v)
	if a.session.lead != nil {
		a.hold(v)
		return
	}
	a.place(v)
}

// Tick implements ingest.Sink: it finds out that keyframes or sound are missing.
// Of an open session it writes nothing: a chunk that is full is written as soon
// as the unit behind it comes, and any other must wait for that. It returns nil.
func (a *Assembler) Tick(now time.Time) error {
	a.tick(now)
	return nil
}

func (a *Assembler) tick(now time.Time) {
	if !a.ready {
		return
	}
	if a.keyed.IsZero() || now.Before(a.keyed) {
		a.keyed = now
	}
	a.watchKeyframes(now)
	a.forgive(now)
	if a.closing.chunk != nil && now.Sub(a.closing.since) > a.cfg.ChunkDuration {
		a.close()
	}
	if s := a.session.sound; s != nil && s == a.sound && now.Sub(s.seen) > a.cfg.AudioSilence && a.behind(s) > a.cfg.AudioSilence {
		a.want(sessionAudioSilent)
	}
}

// behind is by how much the newest sound is behind the newest picture, in the
// camera's time: where the network stalls, both are late alike.
func (a *Assembler) behind(s *sound) time.Duration {
	picture := a.session.newest + a.session.order.move
	heard := schemas.Rescale(s.pts+s.shift+s.offset, s.track.Timescale, schemas.MediaTimescale)
	return schemas.FromTicks(picture - heard)
}

// Flush ends a connection: the open fragment is closed with its last chunk,
// with everything that came. The next one begins with Tracks.
func (a *Assembler) Flush() {
	a.resolveStart(nil, 0)
	a.session.ended = true
	a.end(forever)
	a.discard(a.sound)
	a.next, a.ready, a.sound = sessionConnect, false, nil
	a.keyed, a.good, a.bad = time.Time{}, 0, 0
	a.starts = starts{}
	a.lost = schemas.Lost{}
	a.odd = [oddities]odd{}
	a.report()
}
