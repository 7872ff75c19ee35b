// Package assemble makes chunks and fragments of access units. It is pure: it
// starts no goroutine, does no input or output and looks at no clock.
package assemble

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/framelog/framelog/ingest"
	"github.com/framelog/framelog/internal/codec"
	"github.com/framelog/framelog/schemas"
)

// standstill is the longest time between two ticks of a live source. They come
// about every second, so after a longer time this process did not run in
// between.
const standstill = 3 * time.Second

// Assembler makes chunks and fragments of a source's units, and passes them to
// a recorder. It is the ingest.Sink of one camera, for any number of
// connections one after the other.
//
// Time comes with the units (Unit.Captured) and with Tick. All methods must be
// called from one goroutine at a time, and none blocks.
//
// A picture passes these steps: Unit classifies it and finds the keyframes
// (starts); the session's lead holds a session's first units until frame time and
// reordering are known; order gives it a decode time; held keeps the latest
// picture until the next one comes, so that its duration is real and the last
// chunk of a fragment is known; the fragment collects pictures, and chunks are
// made of them. Sound waits in its own queue until the pictures of the same time
// are written. It delays them only at a session's end (closing).
type Assembler struct {
	timeline
	ready     bool      // Tracks was called
	now       time.Time // the newest time of the source
	starts    starts
	keyframes keyframes
	problems  problems
}

// New makes an assembler that writes to rec. m may be nil.
func New(cfg Config, rec Recorder, m *Metrics) *Assembler {
	cfg = cfg.withDefaults()
	return &Assembler{
		timeline: timeline{cfg: cfg, rec: rec, m: m.camera(cfg.Camera), next: sessionConnect, rate: rate{chunk: schemas.Ticks(cfg.ChunkDuration)}},
		problems: problems{hold: cfg.ProblemHold, tell: cfg.Problem},
	}
}

// FrameTime sets Config.FrameTime for the sessions that begin from now on: the
// SDP is known only after a connection.
func (a *Assembler) FrameTime(d time.Duration) { a.cfg.FrameTime = d }

// Stats returns a summary of the current session.
func (a *Assembler) Stats() Stats {
	s := a.stats
	if !s.Recording {
		s.Blocked = a.problems.found[problemKeyframe].text
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
		return fmt.Errorf("assemble: begin video: %w: %w", ingest.ErrUnsupported, err)
	}
	if video.Width == 0 || video.Height == 0 {
		video.Width, video.Height = uint16(min(info.Width, math.MaxUint16)), uint16(min(info.Height, math.MaxUint16))
	}
	var s *sound
	if audio != nil {
		if s, err = newSound(*audio, a.m); err != nil {
			return fmt.Errorf("assemble: begin audio: %w: %w", ingest.ErrUnsupported, err)
		}
	}
	a.resolveStart(nil, 0)
	if a.ready {
		a.next = sessionTracks
	}
	if a.sound != nil && s != nil && sameTrack(a.sound.track, s.track) {
		s = a.sound // it goes on without a break
	}
	until := int64(untilShown)
	if s != a.sound {
		a.close()
		until = forever
	}
	if !sameTrack(a.video, video) {
		// The units that follow do not fit into the old session.
		a.end(until)
		a.depth, a.starts = 0, starts{}
	}
	if s != a.sound && a.sound != a.session.sound {
		a.sound.discard()
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
			return video, nil, fmt.Errorf("assemble: begin tracks: %w: track %d (%s) is neither picture nor sound that the log takes", ingest.ErrUnsupported, t.ID, t.Codec)
		}
	}
	switch {
	case n == 0:
		return video, nil, fmt.Errorf("assemble: begin tracks: %w: no video, and sound alone is not recorded", ingest.ErrUnsupported)
	case n > 1:
		return video, nil, fmt.Errorf("assemble: begin tracks: %w: %d tracks of video, want one", ingest.ErrUnsupported, n)
	case video.Timescale != schemas.MediaTimescale:
		return video, nil, fmt.Errorf("assemble: begin tracks: %w: video has %d ticks a second, want %d", ingest.ErrUnsupported, video.Timescale, schemas.MediaTimescale)
	}
	return video, audio, nil
}

func sameTrack(a, b schemas.Track) bool {
	return a.Codec == b.Codec && a.Timescale == b.Timescale && string(a.Config) == string(b.Config) &&
		a.Width == b.Width && a.Height == b.Height && a.SampleRate == b.SampleRate && a.Channels == b.Channels
}

// Unit implements ingest.Sink. It counts and drops unusable units; the only error
// is a unit before Tracks.
func (a *Assembler) Unit(u ingest.Unit) error {
	if !a.ready {
		return errors.New("assemble: take unit: Tracks was not called")
	}
	a.m.bytes.Add(float64(len(u.Data)))
	if u.Lost > 0 {
		a.lost.Packets += u.Lost
		a.m.packets.Add(float64(u.Lost))
		a.problems.notice(problemLost, "packets are lost on the way from the camera: look at the network, and if the transport is UDP, set it to tcp", u.Captured)
	}
	if u.Track != schemas.VideoTrack {
		a.m.audio.Inc()
		a.takeSound(&u)
		return nil
	}
	a.m.video.Inc()
	if u.Captured.After(a.now) { // not if it waited while this process stood still
		a.advance(u.Captured)
	}
	if u.Broken {
		a.keyframes.bad++
		a.damaged(dropBroken, u.Captured)
		return nil
	}
	c, err := codec.Classify(a.video.Codec, u.Data)
	if err != nil {
		a.keyframes.bad++
		a.damaged(dropInvalid, u.Captured)
		return nil
	}
	a.keyframes.good++
	a.resolveStart(&c, u.PTS)
	v := unit{data: u.Data, pts: u.PTS, captured: u.Captured, camera: u.CameraTime, picture: c.Picture, start: c.Picture == codec.Start}
	a.starts.note(&c)
	if c.Picture == codec.CRA || c.Picture == codec.Recovery {
		a.starts.waits = &v
		return nil
	}
	a.take(v)
	return nil
}

// damaged counts a unit that is dropped because it is damaged.
func (a *Assembler) damaged(reason string, now time.Time) {
	a.lost.Units++
	a.m.drop(reason, 1)
	a.problems.notice(problemDamaged, "some of what the camera sends is damaged and left out: look at the network, or restart the camera", now)
}

// resolveStart takes the waiting picture, if there is one, when the next unit is
// known.
func (a *Assembler) resolveStart(follower *codec.Unit, pts int64) {
	if v := a.starts.resolve(follower, pts); v != nil {
		a.take(*v)
	}
}

// take adds an access unit to the running session, or to a new one.
func (a *Assembler) take(v unit) {
	if a.starts.decide(&v, a.session.running) {
		a.problems.notice(problemOpenGOP, "the camera sends open GOPs with B-frames as references, with which Chrome may not begin to play: "+
			"turn closed GOPs (IDR) on in the camera, or B-frames off", v.captured)
	}
	if v.start {
		a.keyframes.came(a.now)
		a.problems.end(problemKeyframe)
	}
	if !a.session.running {
		if !v.start {
			a.m.drop(dropBeforeKeyframe, 1)
			return
		}
		a.begin(v, a.absence())
		return
	}
	raw := v.pts
	if jumped := a.steady(&v); jumped != 0 {
		a.clockSet(jumped, v.captured)
	}
	if a.session.leavesOut(&v, a.video.Codec) {
		a.leaveOut()
		return
	}
	a.sound.wait(a.session.late(v))
	if v.start && a.next != "" && a.due(v) {
		a.end(v.pts)
		v.pts = raw
		a.begin(v, "") // the camera was recorded up to v
		return
	}
	a.session.see(v)
	if a.session.lead != nil {
		a.hold(v)
		return
	}
	a.place(v)
}

// clockSet reports a jump of the camera's timestamps by ticks of
// schemas.MediaTimescale.
func (a *Assembler) clockSet(ticks int64, now time.Time) {
	way := "forward"
	if ticks < 0 {
		way = "back"
	}
	a.problems.notice(problemClock, fmt.Sprintf("the camera's clock jumped %s by %v: set its time with NTP, or update its firmware if this comes again", way, schemas.FromTicks(ticks).Abs().Round(time.Second)), now)
}

// takeSound queues one frame of sound.
func (a *Assembler) takeSound(u *ingest.Unit) {
	s := a.sound
	if s == nil || u.Track != s.track.ID {
		a.m.drop(dropNoTrack, 1)
		return
	}
	if u.Broken {
		a.damaged(dropBroken, u.Captured)
		return
	}
	d := s.duration(u.Data)
	if d == 0 {
		a.damaged(dropInvalid, u.Captured)
		return
	}
	if s.push(u, d, a.cfg.ClockStep) && a.session.running {
		a.beginSessionSoon(sessionClock)
	}
	for len(s.queue) > a.cfg.AudioQueue || s.bytes > a.cfg.AudioQueueBytes {
		reason := dropBeforeKeyframe
		if a.session.running {
			reason = dropQueue
		}
		a.m.drop(reason, s.drop(1))
	}
	if a.session.chosen && a.session.sound != s {
		a.beginSessionSoon(sessionAudioStart)
	}
	if c := &a.closing; c.chunk != nil && c.sound == s && s.reaches(c.limit) {
		a.close()
	}
}

// Tick implements ingest.Sink: it notices that keyframes or sound are missing, and
// that this process stood still. It writes no chunk of a running session: a full
// chunk is written when the next unit comes, and any other must wait for more
// units. It returns nil.
func (a *Assembler) Tick(now time.Time) error {
	if !a.ready {
		return nil
	}
	stood := now.Sub(a.now)
	switch {
	case a.now.IsZero() || stood <= -standstill: // the first, or the clock was set back
		a.keyframes.latest = now
	case stood < 0: // a unit came with a newer time
		return nil
	case stood > standstill:
		// No keyframe could come meanwhile.
		a.keyframes.latest = a.keyframes.latest.Add(stood)
		if a.cfg.Live {
			a.stoodStill(now.Add(-stood), now)
			a.problems.notice(problemStoodStill, fmt.Sprintf("ingest stood still for %v, so that footage may be missing: this machine was suspended or has too little CPU, or its clock was set", stood.Round(time.Second)), now)
		}
	}
	a.advance(now)
	return nil
}

// advance sets the newest time.
func (a *Assembler) advance(now time.Time) {
	a.now = now
	a.keyframes.watch(now, &a.cfg, a.session.running, &a.starts, &a.problems)
	a.problems.expire(now)
	if a.closing.chunk != nil && now.Sub(a.closing.since) > a.cfg.ChunkDuration {
		a.close()
	}
	if s := a.session.sound; s != nil && s == a.sound && now.Sub(s.quiet) > a.cfg.AudioSilence && a.behind(s) > a.cfg.AudioSilence {
		a.beginSessionSoon(sessionAudioSilent)
	}
}

// behind returns by how much the newest sound is behind the newest picture, in
// the camera's time: if the network stalls, both are equally late.
func (a *Assembler) behind(s *sound) time.Duration {
	picture := a.session.newest + a.session.order.move
	heard := schemas.Rescale(s.pts+s.shift+s.offset, s.track.Timescale, schemas.MediaTimescale)
	return schemas.FromTicks(picture - heard)
}

// Flush ends a connection: it closes the unfinished fragment with a last chunk
// that has everything that came. The next connection begins with Tracks.
func (a *Assembler) Flush() {
	a.resolveStart(nil, 0)
	a.session.ended = true
	a.end(forever)
	a.sound.discard()
	a.next, a.ready, a.sound, a.now = sessionConnect, false, nil, time.Time{}
	a.keyframes = keyframes{apart: a.keyframes.apart}
	a.starts = starts{}
	a.lost = schemas.Lost{}
	a.problems.reset()
}
