package rtsp

import (
	"cmp"
	"slices"
	"time"

	"github.com/framelog/framelog/ingest"
	"github.com/framelog/framelog/internal/codec"
	"github.com/framelog/framelog/internal/rtspconn"
	"github.com/framelog/framelog/schemas"
)

// described is the part of a connection that deliver uses.
type described interface {
	Selected() []rtspconn.Track
	Start(track uint8) (s rtspconn.Start, clockRate uint32, ok bool)
	Report(track uint8) (rtspconn.Report, bool)
}

// deliver turns the items of a connection into calls of a sink: it waits for
// the tracks, and gives sound and pictures a common origin of time. One
// goroutine uses it.
type deliver struct {
	sink  ingest.Sink
	conn  described
	wait  time.Duration // for sound
	units int           // held at most
	bytes int64         // held at most

	tracks   []schemas.Track // those that have come, the video first
	told     []schemas.Track // the sink's tracks
	sawVideo bool
	first    time.Time // when the first unit of video came
	live     bool      // the sink has got tracks

	held      []ingest.Unit // units that wait until live
	heldBytes int64

	aligned bool
	offset  int64 // of sound, in its timescale

	refused string // encoding of the sound that came and cannot be recorded; "": none
}

func newDeliver(sink ingest.Sink, conn described, wait time.Duration, units int, bytes int64) *deliver {
	return &deliver{sink: sink, conn: conn, wait: wait, units: units, bytes: bytes}
}

func (d *deliver) item(it rtspconn.Item) error {
	if it.Format != nil {
		return d.format(it.Track, it.Format)
	}
	u := ingest.Unit{
		Track:      it.Track,
		PTS:        it.Unit.PTS,
		Data:       it.Unit.Data,
		Captured:   it.Unit.Arrived,
		CameraTime: it.Unit.NTP,
		Lost:       it.Unit.Lost,
		Broken:     it.Unit.Damaged,
	}
	if d.track(u.Track) == nil {
		return nil // the log does not keep this format
	}
	if u.Track == schemas.VideoTrack && !d.sawVideo {
		d.sawVideo, d.first = true, u.Captured
	}
	if d.live {
		return d.unit(u)
	}
	d.held = append(d.held, u)
	d.heldBytes += int64(len(u.Data))
	return d.tick(u.Captured)
}

// tick begins the delivery when all announced tracks are there, or the wait for
// them is over.
func (d *deliver) tick(now time.Time) error {
	if d.live || !d.sawVideo {
		// Sound without pictures waits for the first picture. Only the newest sound
		// is kept.
		if n := len(d.held) - d.units; !d.live && n > 0 {
			d.drop(n)
		}
		return nil
	}
	all := len(d.tracks) >= len(d.conn.Selected()) || d.refused != ""
	if all || now.Sub(d.first) >= d.wait || len(d.held) >= d.units || d.heldBytes >= d.bytes {
		return d.flush()
	}
	return nil
}

func (d *deliver) drop(n int) {
	for _, u := range d.held[:n] {
		d.heldBytes -= int64(len(u.Data))
	}
	d.held = slices.Delete(d.held, 0, n)
}

// flush begins the delivery with the units that are there. Sound goes first: it
// may have arrived later than the pictures of the same time, since its packets
// hold several frames. And a session's first chunk has sound only if some has
// come before that chunk is closed.
func (d *deliver) flush() error {
	if d.live || !d.sawVideo {
		return nil
	}
	d.live = true
	if err := d.tell(); err != nil {
		return err
	}
	held := d.held
	d.held, d.heldBytes = nil, 0
	slices.SortStableFunc(held, func(a, b ingest.Unit) int { return int(b.Track) - int(a.Track) })
	for _, u := range held {
		if err := d.unit(u); err != nil {
			return err
		}
	}
	return nil
}

func (d *deliver) unit(u ingest.Unit) error {
	if u.Track == schemas.AudioTrack {
		if !d.align() {
			return nil
		}
		u.PTS += d.offset
	}
	return d.sink.Unit(u)
}

func (d *deliver) track(id uint8) *schemas.Track {
	for i := range d.tracks {
		if d.tracks[i].ID == id {
			return &d.tracks[i]
		}
	}
	return nil
}

// format takes a track's new format. If the delivery has begun, the sink gets a
// relevant change at once.
func (d *deliver) format(id uint8, f *rtspconn.Format) error {
	t, ok := trackOf(id, f)
	if ok && !t.Codec.Video() {
		_, err := codec.FrameDuration(t) // the assembler will call it too
		ok = err == nil
	}
	if id == schemas.AudioTrack {
		d.refused = ""
		if !ok {
			d.refused = string(cmp.Or(f.Codec, schemas.Codec(f.Name)))
		}
	}
	if !ok {
		return nil
	}
	switch have := d.track(id); {
	case have != nil:
		if sameTrack(*have, t) {
			return nil
		}
		if d.heldTrack(id) {
			// Held units belong to the former format, so that goes to the sink first.
			if err := d.flush(); err != nil {
				return err
			}
		}
		*d.track(id) = t
	case id == schemas.VideoTrack:
		d.tracks = slices.Insert(d.tracks, 0, t)
	default:
		d.tracks = append(d.tracks, t)
	}
	if !d.live {
		return nil
	}
	return d.tell()
}

// lacksSound reports whether the camera announces sound and none has come.
func (d *deliver) lacksSound() bool {
	announced := slices.ContainsFunc(d.conn.Selected(), func(t rtspconn.Track) bool { return t.ID == schemas.AudioTrack })
	return announced && d.track(schemas.AudioTrack) == nil
}

func (d *deliver) heldTrack(id uint8) bool {
	return slices.ContainsFunc(d.held, func(u ingest.Unit) bool { return u.Track == id })
}

func (d *deliver) tell() error {
	if d.track(schemas.VideoTrack) == nil || slices.EqualFunc(d.tracks, d.told, sameTrack) {
		return nil
	}
	d.told = slices.Clone(d.tracks)
	return d.sink.Tracks(slices.Clone(d.tracks))
}

// align sets the offset of sound once: later sender reports change nothing.
func (d *deliver) align() bool {
	if d.aligned {
		return true
	}
	v, videoRate, ok := d.conn.Start(schemas.VideoTrack)
	if !ok {
		return false
	}
	a, audioRate, ok := d.conn.Start(schemas.AudioTrack)
	if !ok {
		return false
	}
	m := mapping{
		video: clock{start: v, rate: videoRate},
		audio: clock{start: a, rate: audioRate},
	}
	m.video.report, m.video.reported = d.conn.Report(schemas.VideoTrack)
	m.audio.report, m.audio.reported = d.conn.Report(schemas.AudioTrack)
	d.offset = m.offset(d.track(schemas.AudioTrack).Timescale)
	d.aligned = true
	return true
}
