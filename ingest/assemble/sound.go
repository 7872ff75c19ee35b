package assemble

import (
	"time"

	"github.com/framelog/framelog/internal/codec"
	"github.com/framelog/framelog/schemas"
)

// sound is the audio track of a connection: frames that wait for the pictures
// beside them.
type sound struct {
	track    schemas.Track
	duration func(frame []byte) uint32

	queue []frame
	bytes int

	// The camera's clock, as session has it for pictures.
	any   bool
	pts   int64 // of the newest frame, as it came
	shift int64
	seen  time.Time // when it came; also says that there is sound

	// The session's.
	aligned bool
	offset  int64 // from PTS, shift included, to media time
	from    int64 // media time before which nothing is taken
	begun   bool
	next    int64 // where the latest frame ends
}

// frame is one frame of audio that waits.
type frame struct {
	pts      int64 // as it came
	shift    int64
	duration uint32
	data     []byte
}

func newSound(t schemas.Track) (*sound, error) {
	d, err := codec.FrameDuration(t)
	if err != nil {
		return nil, err
	}
	return &sound{track: t, duration: d}, nil
}

// ticks is v of schemas.MediaTimescale in the track's own.
func (s *sound) ticks(v int64) int64 {
	return schemas.Rescale(v, schemas.MediaTimescale, s.track.Timescale)
}

// takeSound queues one frame.
func (a *Assembler) takeSound(u *Unit) {
	s := a.sound
	if s == nil || u.Track != s.track.ID {
		a.m.drop(dropNoTrack, 1)
		return
	}
	if u.Broken {
		a.lose(dropBroken, u.Captured)
		return
	}
	d := s.duration(u.Data)
	if d == 0 {
		a.lose(dropInvalid, u.Captured)
		return
	}
	if s.any {
		limit := s.ticks(schemas.Ticks(a.cfg.ClockStep))
		passed := s.ticks(schemas.Ticks(u.Captured.Sub(s.seen)))
		if step := u.PTS - s.pts; step < -limit || (step > limit && step-passed > limit) {
			s.shift += s.pts + int64(d) - u.PTS
			if a.session.open {
				a.want(sessionClock)
			}
		}
	}
	s.any, s.pts, s.seen = true, u.PTS, u.Captured
	s.queue = append(s.queue, frame{pts: u.PTS, shift: s.shift, duration: d, data: u.Data})
	s.bytes += len(u.Data)
	for len(s.queue) > a.cfg.AudioQueue || s.bytes > a.cfg.AudioQueueBytes {
		if a.session.open {
			a.m.drop(dropQueue, s.drop(1))
		} else {
			a.m.drop(dropBeforeKeyframe, s.drop(1))
		}
	}
	if a.session.chosen && a.session.sound != s {
		a.want(sessionAudioStart)
	}
	if c := &a.closing; c.chunk != nil && c.sound == s && s.reaches(c.limit) {
		a.close()
	}
}

// drop throws away the first n frames and says how many.
func (s *sound) drop(n int) int {
	for i := range n {
		s.bytes -= len(s.queue[i].data)
		s.queue[i].data = nil
	}
	s.queue = s.queue[:copy(s.queue, s.queue[n:])]
	return n
}

// dropBefore throws away what begins before a media time in ticks of
// schemas.MediaTimescale.
func (s *sound) dropBefore(dts int64) int {
	limit, n := s.ticks(dts), 0
	for n < len(s.queue) && s.queue[n].pts+s.queue[n].shift+s.offset < limit {
		n++
	}
	return s.drop(n)
}

// align fixes sound and pictures to each other, for the whole session, by the
// origin that their timestamps share. Where those contradict the arrival of
// both (one clock was set and the other not yet), arrival decides.
func (s *sound) align(a *Assembler, first unit) {
	shown := first.pts + a.session.order.move // media time
	s.offset = s.ticks(shown) - s.ticks(first.pts)
	s.from, s.begun, s.aligned = s.ticks(shown), false, true
	if !s.any {
		return
	}
	// Whatever the clock was set by before, this session has the times as
	// they come now.
	n := 0
	for n < len(s.queue) && s.queue[n].shift != s.shift {
		n++
	}
	a.m.drop(dropQueue, s.drop(n))
	for i := range s.queue {
		s.queue[i].shift = 0
	}
	s.shift = 0
	ahead := (s.pts - s.ticks(first.pts)) - s.ticks(schemas.Ticks(s.seen.Sub(first.captured)))
	if limit := s.ticks(schemas.Ticks(a.cfg.ClockStep)); ahead > limit || ahead < -limit {
		s.offset -= ahead
	}
}

// discard throws away what is left of a track that has ended.
func (a *Assembler) discard(s *sound) {
	if s != nil {
		a.m.drop(dropAudio, s.drop(len(s.queue)))
	}
}

// chooseSound decides, when a session's first chunk is written, whether it has
// sound: only where some has come of late. None of it need wait in the queue:
// a camera may send it in packets of half a second, of which the session before
// took the latest.
func (a *Assembler) chooseSound(now time.Time) {
	s := &a.session
	s.chosen = true
	if q := a.sound; q != nil && q.aligned && q.any && now.Sub(q.seen) <= a.cfg.AudioSilence {
		s.sound = q
		a.stats.Audio = q.track.Codec
	}
}

// farAhead is by how much sound may be ahead of the pictures, in seconds,
// before its clock is taken to be wrong.
const farAhead = 30

// takeRun puts into c the sound of q that begins before the media time limit,
// in q's ticks, as far as it has come and goes on without a hole: what is behind
// one is left for the next chunk. wrong says that its clock cannot be right.
func (a *Assembler) takeRun(c *schemas.Chunk, q *sound, limit int64) (wrong bool) {
	var run []schemas.Sample
	n, early := 0, 0
	for ; n < len(q.queue) && len(run) < maxChunkSamples; n++ {
		x := &q.queue[n]
		dts := x.pts + x.shift + q.offset
		if !q.begun && dts < q.from {
			early++
			continue
		}
		if dts >= limit {
			break
		}
		if q.begun {
			d := dts - q.next
			if d > int64(x.duration)/2 {
				if len(run) > 0 {
					break
				}
			} else {
				wrong = wrong || d < -int64(q.track.Timescale)
				dts = q.next // jitter, or a frame too many
			}
		}
		run = append(run, schemas.Sample{DTS: dts, Duration: x.duration, Sync: true, Data: x.data})
		q.begun, q.next = true, dts+int64(x.duration)
	}
	q.drop(n)
	a.m.drop(dropBeforeKeyframe, early)
	if len(run) > 0 {
		c.Runs = append(c.Runs, schemas.Run{Track: q.track.ID, Samples: run})
	}
	if len(q.queue) > 0 && q.queue[0].pts+q.queue[0].shift+q.offset-limit > farAhead*int64(q.track.Timescale) {
		a.m.drop(dropQueue, q.drop(len(q.queue)))
		wrong = true
	}
	return wrong
}

// reaches says whether all sound before the media time limit has come.
func (s *sound) reaches(limit int64) bool {
	n := len(s.queue)
	if n == 0 {
		return s.begun && s.next >= limit
	}
	x := &s.queue[n-1]
	return x.pts+x.shift+s.offset+int64(x.duration) >= limit
}

// part leaves the session: the next one aligns the sound anew.
func (s *sound) part() {
	if s != nil {
		s.aligned, s.begun = false, false
	}
}
