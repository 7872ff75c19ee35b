package assemble

import (
	"slices"
	"testing"
	"time"

	"github.com/framelog/framelog/ingest"
	"github.com/framelog/framelog/internal/codec/codectest"
	"github.com/framelog/framelog/schemas"
)

func TestOnlyVideoClockIsSet(t *testing.T) {
	s := stream{frame: 3600, gop: 50, aac: true}
	us := s.units(20 * time.Second)
	for i, u := range us {
		if u.Track == 1 && u.Captured.Sub(epoch) >= 10*time.Second {
			us[i].PTS -= 1 << 32
		}
	}
	m := memory{}
	run(t, Config{Live: true}, s.tracks(), us, &m)
	wantAll(t, m.samples(1), only(us, 1))
	if n := len(only(us, 2)) - len(m.samples(2)); n > 10 {
		t.Errorf("%d frames of sound are missing", n)
	}
	for i, f := range m.fragments {
		for _, c := range f.chunks {
			for _, r := range c.Runs[1:] {
				// Sound arrives a frame late in this camera.
				if d := schemas.Rescale(r.Samples[0].DTS, 48000, 90000) - c.MediaStart(); d < -9000 || d > c.MediaEnd()-c.MediaStart() {
					t.Fatalf("fragment %d: sound is %d ticks from the pictures", i, d)
				}
			}
		}
	}
}

func TestNewSessionLosesNoSound(t *testing.T) {
	s := stream{frame: 3600, gop: 25, reorder: []int{2, 0, 1}, config: codectest.H264{Reorder: 1}.Config(), aac: true}
	us := s.units(40 * time.Second)
	for i := range us {
		us[i].Captured = epoch.Add(us[i].Captured.Sub(epoch) * 110 / 100)
	}
	var m memory
	run(t, Config{Live: true}, s.tracks(), us, &m)
	wantAll(t, m.samples(1), only(us, 1))
	wantAll(t, m.samples(2), only(us, 2))
	if m.sessions < 3 {
		t.Errorf("%d sessions", m.sessions)
	}
}

// If a session ends while the camera goes on, the sound beside its last
// pictures comes after the next session's first ones. Each session has its own
// all the same, so that a player finds no hole at the seam.
func TestSeamWaitsForSound(t *testing.T) {
	const at = 5 * time.Second
	for _, late := range []time.Duration{0, 50 * time.Millisecond, 150 * time.Millisecond, 800 * time.Millisecond} {
		t.Run(late.String(), func(t *testing.T) {
			one := stream{frame: 3600, gop: 25, aac: true}
			two := one
			two.config = codectest.H264{Width: 640, Height: 480}.Config()
			us := one.units(2 * at)
			for i := range us {
				if us[i].Track == schemas.AudioTrack && us[i].Captured.Sub(epoch) > time.Second { // not the first, which would leave it out
					us[i].Captured = us[i].Captured.Add(late)
				}
			}
			slices.SortStableFunc(us, func(a, b ingest.Unit) int { return a.Captured.Compare(b.Captured) })
			seam := slices.IndexFunc(us, func(u ingest.Unit) bool { return u.Track == schemas.VideoTrack && u.Captured.Sub(epoch) == at })
			m := memory{t: t}
			a := New(Config{Live: true}, &m, nil)
			feed(t, a, one.tracks(), us[:seam])
			if err := a.Tracks(two.tracks()); err != nil {
				t.Fatal(err)
			}
			for _, u := range us[seam:] {
				feed(t, a, nil, []ingest.Unit{u})
				if m.open != nil && m.sessions == 1 && u.Captured.Sub(epoch) > at+300*time.Millisecond {
					t.Fatalf("the old session's last chunk is not written at %v", u.Captured.Sub(epoch))
				}
			}
			a.Flush()
			wantAll(t, m.samples(schemas.VideoTrack), only(us, schemas.VideoTrack))
			if late > 200*time.Millisecond {
				// Nothing waits for so long. But the camera sends sound, so the
				// next session has it from its start.
				if m.sessions != 2 {
					t.Errorf("%d sessions", m.sessions)
				}
				for _, f := range m.fragments {
					if c := f.chunks[0]; c.Layout.Audio != schemas.AAC {
						t.Errorf("a fragment of session %d has no sound", f.session)
					}
				}
				return
			}
			wantAll(t, m.samples(schemas.AudioTrack), only(us, schemas.AudioTrack))
			n := slices.IndexFunc(m.fragments, func(f *recorded) bool { return f.session == 2 })
			if m.sessions != 2 || n < 1 {
				t.Fatalf("%d sessions, the second from fragment %d on", m.sessions, n)
			}
			sound := func(f *recorded) (first, end int64) {
				for _, c := range f.chunks {
					for _, r := range c.Runs[1:] {
						if end == 0 {
							first = r.Samples[0].DTS
						}
						last := r.Samples[len(r.Samples)-1]
						end = last.DTS + int64(last.Duration)
					}
				}
				return schemas.Rescale(first, 48000, 90000), schemas.Rescale(end, 48000, 90000)
			}
			const frame = 1024 * 90 / 48
			_, end := sound(m.fragments[n-1])
			last := m.fragments[n-1].chunks[len(m.fragments[n-1].chunks)-1]
			if d := end - last.MediaEnd(); d < 0 || d > frame {
				t.Errorf("the first session's sound ends %d ticks after its pictures", d)
			}
			first, _ := sound(m.fragments[n])
			if d := first - m.fragments[n].chunks[0].MediaStart(); d < 0 || d > frame {
				t.Errorf("the second session's sound begins %d ticks after its pictures", d)
			}
		})
	}
}

// The chunk that waits for its sound gets what has come if the track ends.
func TestSeamWithoutMoreSound(t *testing.T) {
	s := stream{frame: 3600, gop: 25, aac: true}
	us := s.units(20 * time.Second)
	for i := range us { // both drift away from the wall clock: a session ends at a keyframe
		us[i].Captured = epoch.Add(us[i].Captured.Sub(epoch) * 120 / 100)
		if us[i].Track == schemas.AudioTrack {
			us[i].Captured = us[i].Captured.Add(150 * time.Millisecond)
		}
	}
	slices.SortStableFunc(us, func(a, b ingest.Unit) int { return a.Captured.Compare(b.Captured) })
	var m memory
	m.t = t
	a := New(Config{Live: true, DriftWindow: 3 * time.Second}, &m, nil)
	feed(t, a, s.tracks(), nil)
	heard, last := 0, int64(0)
	for _, u := range us {
		feed(t, a, nil, []ingest.Unit{u})
		if a.closing.chunk != nil {
			last = a.closing.limit
			break
		}
	}
	if last == 0 {
		t.Fatal("no chunk waits for its sound")
	}
	waits := len(a.sound.queue)
	for _, x := range m.samples(schemas.AudioTrack) {
		heard += int(x.Duration / 1024)
	}
	if err := a.Tracks(s.tracks()[:1]); err != nil { // the sound goes
		t.Fatal(err)
	}
	a.Flush()
	if n := len(m.samples(schemas.AudioTrack)); waits == 0 || n != heard+waits {
		t.Errorf("%d frames of sound are written, of %d and %d that waited", n, heard, waits)
	}
}

func TestSoundOfAGapIsDropped(t *testing.T) {
	s := stream{frame: 3600, gop: 250, aac: true}
	m := memory{}
	us := s.units(20 * time.Second)
	run(t, Config{Live: true, MaxFragmentDuration: 5 * time.Second}, s.tracks(), us, &m)
	if len(m.fragments) != 2 {
		t.Fatalf("%d fragments", len(m.fragments))
	}
	for _, r := range m.fragments[1].chunks[0].Runs[1:] {
		if d := r.Samples[0].DTS - schemas.Rescale(m.fragments[1].chunks[0].MediaStart(), 90000, 48000); d < -1024 {
			t.Errorf("sound begins %d samples before the fragment", -d)
		}
	}
}

func TestNetworkStallIsNoDrift(t *testing.T) {
	s := stream{frame: 3600, gop: 25, aac: true}
	us := s.units(40 * time.Second)
	for i, u := range us { // everything of 5 s comes at once, sound a little late in it
		if d := u.Captured.Sub(epoch); d > 15*time.Second && d < 20*time.Second {
			us[i].Captured = u.Captured.Add(300 * time.Millisecond * time.Duration(u.Track-1))
		}
	}
	slices.SortStableFunc(us, func(a, b ingest.Unit) int { return a.Captured.Compare(b.Captured) })
	for i, u := range us {
		if d := u.Captured.Sub(epoch); d > 15*time.Second && d < 20*time.Second {
			us[i].Captured = epoch.Add(20 * time.Second)
		}
	}
	slices.SortStableFunc(us, func(a, b ingest.Unit) int { return a.Captured.Compare(b.Captured) })
	var m memory
	run(t, Config{Live: true}, s.tracks(), us, &m)
	wantAll(t, m.samples(1), only(us, 1))
	wantAll(t, m.samples(2), only(us, 2))
	if m.sessions != 1 {
		t.Errorf("%d sessions", m.sessions)
	}
}

// After a break of the connection, or a standstill of this process, pictures may come long
// before the sound that has waited with them. That sound is not missing.
func TestSoundBehindPicturesAfterABreak(t *testing.T) {
	s := stream{frame: 3600, gop: 25, aac: true}
	us := s.units(30 * time.Second)
	comes := map[uint8]time.Time{1: epoch.Add(18 * time.Second), 2: epoch.Add(18200 * time.Millisecond)}
	for i, u := range us {
		if at := comes[u.Track]; u.Captured.After(epoch.Add(10*time.Second)) && !u.Captured.After(at) {
			us[i].Captured = at.Add(time.Duration(i) * time.Microsecond)
		}
	}
	slices.SortStableFunc(us, func(a, b ingest.Unit) int { return a.Captured.Compare(b.Captured) })
	var m memory
	run(t, Config{Live: true}, s.tracks(), us, &m)
	wantAll(t, m.samples(1), only(us, 1))
	wantAll(t, m.samples(2), only(us, 2))
	if m.sessions != 1 {
		t.Errorf("%d sessions", m.sessions)
	}
}

func TestSoundLateSilentJittery(t *testing.T) {
	s := stream{frame: 3600, gop: 25, aac: true}
	t.Run("late", func(t *testing.T) {
		us := s.units(10 * time.Second)
		for i := range us {
			if us[i].Track == 2 {
				us[i].Captured = us[i].Captured.Add(350 * time.Millisecond)
			}
		}
		slices.SortStableFunc(us, func(a, b ingest.Unit) int { return a.Captured.Compare(b.Captured) })
		var m memory
		run(t, Config{Live: true}, s.tracks(), us, &m)
		wantAll(t, m.samples(1), only(us, 1))
		// The first chunk cannot wait for it, so a session with sound begins
		// at the keyframe after.
		wantAll(t, m.samples(2), only(us, 2)[47:])
		if m.sessions != 2 {
			t.Errorf("%d sessions", m.sessions)
		}
	})
	t.Run("jittery", func(t *testing.T) {
		us := s.units(10 * time.Second)
		for i := range us {
			if us[i].Track == 2 {
				us[i].PTS += int64(i%7*100 - 300)
			}
		}
		us = slices.DeleteFunc(us, func(u ingest.Unit) bool { return u.Track == 2 && u.PTS < 1<<33*48/90 })
		var m memory
		run(t, Config{Live: true}, s.tracks(), us, &m)
		snd := m.samples(2)
		wantAll(t, snd, only(us, 2))
		for i, x := range snd[1:] {
			if x.DTS != snd[i].DTS+1024 {
				t.Errorf("sound has a hole of %d", x.DTS-snd[i].DTS-1024)
			}
		}
	})
	t.Run("silent for a while", func(t *testing.T) {
		us := slices.DeleteFunc(s.units(30*time.Second), func(u ingest.Unit) bool {
			d := u.Captured.Sub(epoch)
			return u.Track == 2 && d > 10*time.Second && d < 20*time.Second
		})
		var m memory
		run(t, Config{Live: true}, s.tracks(), us, &m)
		wantAll(t, m.samples(1), only(us, 1))
		var audio []schemas.Codec
		for _, f := range m.fragments {
			if c := f.chunks[0]; len(audio) == 0 || audio[len(audio)-1] != c.Layout.Audio {
				audio = append(audio, c.Layout.Audio)
			}
			if tracks := f.chunks[0].Tracks; (len(tracks) == 2) != (f.chunks[0].Layout.Audio != "") {
				t.Errorf("%d tracks, layout %+v", len(tracks), f.chunks[0].Layout)
			}
		}
		if !slices.Equal(audio, []schemas.Codec{schemas.AAC, "", schemas.AAC}) || m.sessions != 3 {
			t.Errorf("sound %q in %d sessions", audio, m.sessions)
		}
	})
	t.Run("silent, and the pictures come in bursts", func(t *testing.T) {
		us := slices.DeleteFunc(s.units(30*time.Second), func(u ingest.Unit) bool {
			return u.Track == 2 && u.Captured.Sub(epoch) > 10*time.Second
		})
		for i, u := range us {
			us[i].Captured = epoch.Add(u.Captured.Sub(epoch).Truncate(time.Second) + time.Second + time.Duration(i)*time.Microsecond)
		}
		var m memory
		run(t, Config{Live: true}, s.tracks(), us, &m)
		wantAll(t, m.samples(1), only(us, 1))
		if c := m.fragments[len(m.fragments)-1].chunks[0]; c.Layout.Audio != "" {
			t.Errorf("the last layout is %+v", c.Layout)
		}
	})
	t.Run("holes", func(t *testing.T) {
		n := 0
		us := slices.DeleteFunc(s.units(10*time.Second), func(u ingest.Unit) bool {
			n++
			return u.Track == 2 && n%60 > 50
		})
		var m memory
		run(t, Config{Live: true}, s.tracks(), us, &m)
		wantAll(t, m.samples(2), only(us, 2))
		wantSoundTimes(t, &m, only(us, 2))
	})
}

// wantSoundTimes reports whether sound stands in media time as the camera has it,
// to half a frame.
func wantSoundTimes(t *testing.T, m *memory, us []ingest.Unit) {
	t.Helper()
	got := m.samples(2)
	if len(got) != len(us) {
		return
	}
	zero := got[0].DTS - us[0].PTS
	for i := range got {
		if d := got[i].DTS - us[i].PTS - zero; d > 512 || d < -512 {
			t.Errorf("frame %d is %d samples from its time", i, d)
			return
		}
	}
}
