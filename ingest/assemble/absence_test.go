package assemble

import (
	"slices"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/codec/codectest"
	"github.com/framelog/framelog/schemas"
)

// Each session says why nothing was recorded before it.
func TestAbsence(t *testing.T) {
	s := stream{frame: 3600, gop: 25}
	const camera, frozen = schemas.AbsentCamera, schemas.AbsentFrozen
	second := func(n int) time.Time { return epoch.Add(time.Duration(n) * time.Second) }
	// record delivers the seconds from up to to, with a tick each second.
	record := func(t *testing.T, a *Assembler, from, to int) {
		t.Helper()
		if err := a.Tracks(s.tracks()); err != nil {
			t.Fatal(err)
		}
		us := later(s.units(time.Duration(to-from)*time.Second), second(from).Sub(epoch), 0)
		for i := range us {
			if i%25 == 0 {
				_ = a.Tick(us[i].Captured)
			}
			feed(t, a, nil, us[i:i+1])
		}
		_ = a.Tick(second(to))
	}
	// late delivers what was sent from second 5 to second to, at second 13 at the earliest.
	late := func(t *testing.T, a *Assembler, to int) {
		t.Helper()
		us := s.units(time.Duration(to) * time.Second)[125:]
		for i := range us {
			if us[i].Captured.Before(second(13)) {
				us[i].Captured = second(13)
			}
		}
		feed(t, a, nil, us)
		a.Flush()
	}
	for name, tt := range map[string]struct {
		run  func(t *testing.T, a *Assembler) // after the seconds 0 to 5 were recorded
		want []string
	}{
		"the camera is away": {func(t *testing.T, a *Assembler) {
			a.Flush()
			record(t, a, 20, 25)
		}, []string{camera, camera}},
		"a standstill ends the connection": {func(t *testing.T, a *Assembler) {
			_ = a.Tick(second(13))
			a.Flush()
			record(t, a, 14, 19)
		}, []string{camera, frozen}},
		"the camera is away again after a standstill": {func(t *testing.T, a *Assembler) {
			_ = a.Tick(second(13))
			a.Flush()
			record(t, a, 14, 19)
			a.Flush()
			record(t, a, 30, 35)
		}, []string{camera, frozen, camera}},
		"after a standstill all that was sent comes late, and then the connection ends": {func(t *testing.T, a *Assembler) {
			_ = a.Tick(second(13))
			late(t, a, 14)
			record(t, a, 15, 20)
		}, []string{camera, frozen}},
		"after a standstill all that was sent comes late, and the connection goes on": {func(t *testing.T, a *Assembler) {
			_ = a.Tick(second(13))
			late(t, a, 20)
			record(t, a, 25, 30)
		}, []string{camera, camera}},
		"a standstill while the camera is away": {func(t *testing.T, a *Assembler) {
			a.Flush()
			for _, n := range []int{30, 31, 41, 42} { // a connection that brings nothing
				_ = a.Tracks(s.tracks())
				_ = a.Tick(second(n))
			}
			a.Flush()
			record(t, a, 60, 65)
		}, []string{camera, camera}},
		"other pictures, from a keyframe on": {func(t *testing.T, a *Assembler) {
			other := s
			other.config = codectest.H264{Width: 640, Height: 480}.Config()
			feed(t, a, other.tracks(), later(other.units(10 * time.Second)[10:], 5*time.Second, 5*time.Second))
		}, []string{camera, camera}},
	} {
		t.Run(name, func(t *testing.T) {
			m := memory{t: t}
			a := New(Config{Live: true}, &m, nil)
			record(t, a, 0, 5)
			tt.run(t, a)
			a.Flush()
			if !slices.Equal(m.absent, tt.want) {
				t.Errorf("sessions begin after %q, want %q", m.absent, tt.want)
			}
		})
	}
}

// A session that begins because a clock was set follows the one before without a break.
func TestNoAbsence(t *testing.T) {
	s := stream{frame: 3600, gop: 25}
	us := s.units(20 * time.Second)
	for i := range us {
		if i >= 250 {
			us[i].PTS += schemas.Ticks(time.Hour)
		}
	}
	var m memory
	run(t, Config{Live: true}, s.tracks(), us, &m)
	if want := []string{schemas.AbsentCamera, ""}; !slices.Equal(m.absent, want) {
		t.Errorf("sessions begin after %q, want %q", m.absent, want)
	}
}

// Another process may have recorded the camera until this connection's first picture.
// Its sound ends when that picture is decoded, so this one's begins then.
func TestSoundBeginsWithTheFirstDecodeTime(t *testing.T) {
	s := stream{frame: 3600, gop: 25, reorder: []int{2, 0, 1}, config: codectest.H264{Reorder: 1}.Config(), aac: true}
	us := s.units(5 * time.Second)
	first := us[25:] // in the middle of a GOP; the sound before the keyframe has come too
	var m memory
	run(t, Config{Live: true}, s.tracks(), first, &m)
	picture, sound := m.samples(schemas.VideoTrack)[0], m.samples(schemas.AudioTrack)[0]
	if picture.PTSOffset == 0 {
		t.Fatal("the pictures are not reordered")
	}
	const frame = 1024
	if begins := sound.DTS - schemas.Rescale(picture.DTS, schemas.MediaTimescale, 48000); begins < 0 || begins >= frame {
		t.Errorf("sound begins %d of its samples after the first decode time", begins)
	}
}
