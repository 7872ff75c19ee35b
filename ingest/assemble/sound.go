package assemble

import (
	"time"

	"github.com/framelog/framelog/ingest"
	"github.com/framelog/framelog/internal/codec"
	"github.com/framelog/framelog/schemas"
)

// sound is the audio track of a connection: frames that wait for the pictures
// beside them.
type sound struct {
	m        *cameraMetrics
	track    schemas.Track
	duration func(frame []byte) uint32

	queue []frame
	bytes int

	// The camera's clock, as session has it for pictures.
	any   bool
	pts   int64 // of the newest frame, as it came
	shift int64
	seen  time.Time // when it came

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

func newSound(t schemas.Track, m *cameraMetrics) (*sound, error) {
	d, err := codec.FrameDuration(t)
	if err != nil {
		return nil, err
	}
	return &sound{m: m, track: t, duration: d}, nil
}

// ticks is v of schemas.MediaTimescale in the track's own.
func (s *sound) ticks(v int64) int64 {
	return schemas.Rescale(v, schemas.MediaTimescale, s.track.Timescale)
}

// push queues one frame that lasts d. stepped reports that the sound's clock was
// set, by more than limit; the frames go on then as if it had not been.
func (s *sound) push(u *ingest.Unit, d uint32, limit time.Duration) (stepped bool) {
	if s.any {
		most := s.ticks(schemas.Ticks(limit))
		passed := s.ticks(schemas.Ticks(u.Captured.Sub(s.seen)))
		if step := u.PTS - s.pts; step < -most || (step > most && step-passed > most) {
			s.shift += s.pts + int64(d) - u.PTS
			stepped = true
		}
	}
	s.any, s.pts, s.seen = true, u.PTS, u.Captured
	s.queue = append(s.queue, frame{pts: u.PTS, shift: s.shift, duration: d, data: u.Data})
	s.bytes += len(u.Data)
	return stepped
}

// drop throws away the first n frames and returns n.
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
// origin that their timestamps share. If those contradict the arrival of
// both (one clock was set and the other not yet), arrival decides: by more than
// limit. move is from the pictures' PTS to media time.
func (s *sound) align(first unit, move int64, limit time.Duration) {
	shown := first.pts + move // media time
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
	s.m.drop(dropQueue, s.drop(n))
	for i := range s.queue {
		s.queue[i].shift = 0
	}
	s.shift = 0
	ahead := (s.pts - s.ticks(first.pts)) - s.ticks(schemas.Ticks(s.seen.Sub(first.captured)))
	if most := s.ticks(schemas.Ticks(limit)); ahead > most || ahead < -most {
		s.offset -= ahead
	}
}

// discard throws away what is left of a track that has ended; nil has nothing.
func (s *sound) discard() {
	if s != nil {
		s.m.drop(dropAudio, s.drop(len(s.queue)))
	}
}

// recent reports whether sound has come within limit. The queue may be empty all the
// same: a camera may send sound in packets of half a second, and the session before
// took the latest.
func (s *sound) recent(now time.Time, limit time.Duration) bool {
	return s != nil && s.aligned && s.any && now.Sub(s.seen) <= limit
}

// farAhead is by how much sound may be ahead of the pictures, in seconds,
// before its clock is taken to be wrong.
const farAhead = 30

// takeRun puts into c the sound that begins before the media time limit, in its
// own ticks, as far as it has come and goes on without a hole: what is behind one
// is left for the next chunk. wrong reports that its clock cannot be right.
func (s *sound) takeRun(c *schemas.Chunk, limit int64) (wrong bool) {
	var run []schemas.Sample
	n, early := 0, 0
	for ; n < len(s.queue) && len(run) < maxChunkSamples; n++ {
		x := &s.queue[n]
		dts := x.pts + x.shift + s.offset
		if !s.begun && dts < s.from {
			early++
			continue
		}
		if dts >= limit {
			break
		}
		if s.begun {
			d := dts - s.next
			if d > int64(x.duration)/2 {
				if len(run) > 0 {
					break
				}
			} else {
				wrong = wrong || d < -int64(s.track.Timescale)
				dts = s.next // jitter, or a frame too many
			}
		}
		run = append(run, schemas.Sample{DTS: dts, Duration: x.duration, Sync: true, Data: x.data})
		s.begun, s.next = true, dts+int64(x.duration)
	}
	s.drop(n)
	s.m.drop(dropBeforeKeyframe, early)
	if len(run) > 0 {
		c.Runs = append(c.Runs, schemas.Run{Track: s.track.ID, Samples: run})
	}
	if len(s.queue) > 0 && s.queue[0].pts+s.queue[0].shift+s.offset-limit > farAhead*int64(s.track.Timescale) {
		s.m.drop(dropQueue, s.drop(len(s.queue)))
		wrong = true
	}
	return wrong
}

// reaches reports whether all sound before the media time limit has come.
func (s *sound) reaches(limit int64) bool {
	n := len(s.queue)
	if n == 0 {
		return s.begun && s.next >= limit
	}
	x := &s.queue[n-1]
	return x.pts+x.shift+s.offset+int64(x.duration) >= limit
}

// leave ends the sound's session: the next one aligns it anew.
func (s *sound) leave() {
	if s != nil {
		s.aligned, s.begun = false, false
	}
}
