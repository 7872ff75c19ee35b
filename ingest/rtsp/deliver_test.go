package rtsp

import (
	"testing"
	"time"

	"github.com/framelog/framelog/ingest/assemble"
	"github.com/framelog/framelog/internal/codec/codectest"
	"github.com/framelog/framelog/internal/rtspconn"
	"github.com/framelog/framelog/schemas"
)

// announced is a connection whose camera announces picture and sound.
type announced struct{ start time.Time }

func (announced) Selected() []rtspconn.Track {
	return []rtspconn.Track{{ID: schemas.VideoTrack}, {ID: schemas.AudioTrack}}
}

func (a announced) Start(track uint8) (rtspconn.Start, uint32, bool) {
	return rtspconn.Start{Arrived: a.start}, map[uint8]uint32{schemas.VideoTrack: 90000, schemas.AudioTrack: 48000}[track], true
}

func (announced) Report(uint8) (rtspconn.Report, bool) { return rtspconn.Report{}, false }

// sessions is a recorder that keeps the tracks of each session's first chunk.
type sessions struct {
	begins bool
	tracks [][]schemas.Track
}

func (s *sessions) NewSession(string) { s.begins = true }

func (s *sessions) Write(c *schemas.Chunk) error {
	if s.begins {
		s.tracks, s.begins = append(s.tracks, c.Tracks), false
	}
	return nil
}

func (*sessions) Truncate(string)                     {}
func (*sessions) Gap(time.Time, int64, int64, string) {}
func (*sessions) Lost(schemas.Lost)                   {}

// Cameras send several frames of sound in one packet, so that the first comes
// long after the first picture, which may be the only keyframe for seconds. The
// session has that sound from its start.
func TestSessionBeginsWithLateSound(t *testing.T) {
	begin := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var rec sessions
	asm := assemble.New(assemble.Config{Live: true}, &rec, nil)
	d := newDeliver(asm, announced{begin}, 2*time.Second, 1024, 16<<20)
	item := func(it rtspconn.Item) {
		t.Helper()
		if err := d.item(it); err != nil {
			t.Fatal(err)
		}
	}
	sound := func(from, to int, captured time.Time) {
		for n := from; n < to; n++ {
			item(rtspconn.Item{Track: schemas.AudioTrack, Unit: rtspconn.Unit{PTS: int64(n) * 1024, Data: []byte{1, 2}, Arrived: captured}})
		}
	}
	item(rtspconn.Item{Track: schemas.VideoTrack, Format: &rtspconn.Format{
		Codec: schemas.H264, Config: codectest.H264{Units: 1, Scale: 50}.Config(), Width: 320, Height: 240,
	}})
	for n := range 100 { // 4 s, a keyframe every 2 s
		at := begin.Add(time.Duration(n) * 40 * time.Millisecond)
		if n == 15 { // the first packet of sound, of 600 ms
			item(rtspconn.Item{Track: schemas.AudioTrack, Format: &rtspconn.Format{Codec: schemas.AAC, Config: []byte{0x11, 0x88}, Rate: 48000, Channels: 1}})
		}
		if n%15 == 0 && n > 0 {
			sound((n-15)*1875/1000, n*1875/1000, at)
		}
		header := byte(0x41)
		if n%50 == 0 {
			header = 0x65
		}
		item(rtspconn.Item{Track: schemas.VideoTrack, Unit: rtspconn.Unit{
			PTS: int64(n) * 3600, Data: []byte{0, 0, 0, 4, header, 0x88, 0x80, 1}, Arrived: at,
		}})
	}
	asm.Flush()
	if len(rec.tracks) != 1 || len(rec.tracks[0]) != 2 {
		t.Errorf("tracks of the sessions: %v", rec.tracks)
	}
}
