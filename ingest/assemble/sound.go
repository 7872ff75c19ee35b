package assemble

import (
	"time"

	"github.com/framelog/framelog/ingest"
	"github.com/framelog/framelog/internal/codec"
	"github.com/framelog/framelog/schemas"
)

// sound is the audio track of a connection: frames that wait for the pictures
// of the same time.
type sound struct {
	m        *cameraMetrics
	track    schemas.Track
	duration func(frame []byte) uint32

	queue []frame
	bytes int

	// The camera's clock, the same as in session for pictures.
	any   bool
	pts   int64 // of the newest frame, as it came
	shift int64
	seen  time.Time // when it came
	quiet time.Time // silence counts from here: seen, moved by the first break after it (wait)

	// The session's.
	aligned bool
	offset  int64 // from PTS, shift included, to media time
	from    int64 // media time before which frames are dropped
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

// ticks converts v from schemas.MediaTimescale to the track's timescale.
func (s *sound) ticks(v int64) int64 {
	return schemas.Rescale(v, schemas.MediaTimescale, s.track.Timescale)
}

// push queues one frame that lasts d. stepped reports that the sound's clock was
// set by more than limit; then the frames go on evenly.
func (s *sound) push(u *ingest.Unit, d uint32, limit time.Duration) (stepped bool) {
	if s.any {
		most := s.ticks(schemas.Ticks(limit))
		passed := s.ticks(schemas.Ticks(u.Captured.Sub(s.seen)))
		if step := u.PTS - s.pts; step < -most || (step > most && step-passed > most) {
			s.shift += s.pts + int64(d) - u.PTS
			stepped = true
		}
	}
	s.any, s.pts, s.seen, s.quiet = true, u.PTS, u.Captured, u.Captured
	s.queue = append(s.queue, frame{pts: u.PTS, shift: s.shift, duration: d, data: u.Data})
	s.bytes += len(u.Data)
	return stepped
}

// drop drops the first n frames and returns n.
func (s *sound) drop(n int) int {
	for i := range n {
		s.bytes -= len(s.queue[i].data)
		s.queue[i].data = nil
	}
	s.queue = s.queue[:copy(s.queue, s.queue[n:])]
	return n
}

// dropBefore drops the frames that begin before a media time in ticks of
// schemas.MediaTimescale.
func (s *sound) dropBefore(dts int64) int {
	limit, n := s.ticks(dts), 0
	for n < len(s.queue) && s.queue[n].pts+s.queue[n].shift+s.offset < limit {
		n++
	}
	return s.drop(n)
}

// align aligns sound and pictures for the whole session, by the common origin
// of their timestamps. If the timestamps differ from the arrival of both by
// more than limit (one clock was set and the other not yet), arrival decides.
// move is added to the pictures' PTS to get media time. Frames before the media time
// from are dropped.
func (s *sound) align(first unit, move, from int64, limit time.Duration) {
	shown := first.pts + move // media time
	s.offset = s.ticks(shown) - s.ticks(first.pts)
	s.from, s.begun, s.aligned = s.ticks(from), false, true
	if !s.any {
		return
	}
	// Earlier steps of the clock do not matter: this session uses the present
	// times.
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

// discard drops the remaining frames of a track that has ended. A nil sound has
// none.
func (s *sound) discard() {
	if s != nil {
		s.m.drop(dropAudio, s.drop(len(s.queue)))
	}
}

// late is the least delay of a picture that counts as a break of the connection.
const late = 500 * time.Millisecond

// wait takes a break of the connection, or a standstill of this process, out of the time
// in which sound is missing. Pictures may be read before sound that has waited as long.
// Only the first one counts: a camera may send its pictures in bursts.
func (s *sound) wait(d time.Duration) {
	if s != nil && d > late && s.quiet.Equal(s.seen) {
		s.quiet = s.quiet.Add(d)
	}
}

// recent reports whether sound has come within limit. The queue may be empty
// nevertheless: a camera may send sound in packets of half a second, and the session
// before may have taken the latest.
func (s *sound) recent(now time.Time, limit time.Duration) bool {
	return s != nil && s.aligned && s.any && now.Sub(s.quiet) <= limit
}

// farAhead is how many seconds sound may be ahead of the pictures. Beyond it
// the sound's clock counts as wrong.
const farAhead = 30

// edge is how long before a picture sound may begin and belong to it all the same. The
// sound of many cameras begins exactly with a picture now and then, and each connection
// rounds times anew. Without edge two processes could disagree at a hand-over: the frame
// would be in the log twice, or not at all.
const edge = time.Millisecond

// takeRun adds to c the queued sound that begins before the media time limit (in
// ticks of the sound), but for edge, up to the first hole. Sound after a hole is left for the
// next chunk. wrong reports that the sound's clock is certainly wrong.
func (s *sound) takeRun(c *schemas.Chunk, limit int64) (wrong bool) {
	var run []schemas.Sample
	n, early, edge := 0, 0, s.ticks(schemas.Ticks(edge))
	for ; n < len(s.queue) && len(run) < maxChunkSamples; n++ {
		x := &s.queue[n]
		dts := x.pts + x.shift + s.offset
		if !s.begun && dts < s.from-edge {
			early++
			continue
		}
		if dts >= limit-edge {
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
				dts = s.next // jitter, or one frame too many
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

// leave ends the sound's session: the next session aligns it again.
func (s *sound) leave() {
	if s != nil {
		s.aligned, s.begun = false, false
	}
}
