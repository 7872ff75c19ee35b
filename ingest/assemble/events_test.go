package assemble

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/framelog/framelog/ingest"
	"github.com/framelog/framelog/internal/codec/codectest"
	"github.com/framelog/framelog/schemas"
)

// later moves units in time: their arrival by wall, their timestamps by media.
func later(us []ingest.Unit, wall, media time.Duration) []ingest.Unit {
	us = slices.Clone(us)
	for i := range us {
		us[i].Captured = us[i].Captured.Add(wall)
		if us[i].Track == schemas.VideoTrack {
			us[i].PTS += schemas.Ticks(media)
		} else {
			us[i].PTS += int64(media.Seconds() * 48000)
		}
	}
	return us
}

func TestMinFragment(t *testing.T) {
	s := stream{frame: 3600, gop: 10} // a keyframe every 400 ms
	var m memory
	run(t, Config{Live: true}, s.tracks(), s.units(12*time.Second), &m)
	if len(m.fragments) != 10 {
		t.Errorf("%d fragments of 1.2 s in 12 s", len(m.fragments))
	}
}

func TestGOPStretches(t *testing.T) {
	short, long := stream{frame: 3600, gop: 25}, stream{frame: 3600, gop: 500}
	us := append(short.units(5*time.Second), later(long.units(60*time.Second), 5*time.Second, 5*time.Second)...)
	var m memory
	var problems []string
	run(t, Config{Live: true, KeyframeTimeout: 15 * time.Second, Problem: func(p string) { problems = append(problems, p) }}, short.tracks(), us, &m)
	wantAll(t, m.samples(1), us)
	if len(m.fragments) != 5+3 || m.sessions != 1 {
		t.Errorf("%d fragments, %d sessions", len(m.fragments), m.sessions)
	}
	// Once two keyframes have come, so far apart, their interval alone is told.
	want := []string{"apart", "no keyframe for 15s", "apart", ""}
	if len(problems) != len(want) {
		t.Fatalf("problems %q", problems)
	}
	for i, p := range problems {
		if (p == "") != (want[i] == "") || !strings.Contains(p, want[i]) {
			t.Errorf("problem %d is %q, want %q", i, p, want[i])
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestCap(t *testing.T) {
	s := stream{frame: 3600, gop: 2000, size: 1000} // 80 s
	us := s.units(100 * time.Second)
	for name, cfg := range map[string]Config{"time": {}, "bytes": {MaxFragmentBytes: 1_500_000}} {
		t.Run(name, func(t *testing.T) {
			var m memory
			run(t, cfg, s.tracks(), us, &m)
			if len(m.fragments) != 2 || m.fragments[0].reason != schemas.ReasonCap || m.fragments[1].reason != "" || m.sessions != 1 {
				t.Fatalf("%d fragments in %d sessions, reason %q", len(m.fragments), m.sessions, m.fragments[0].reason)
			}
			wantAll(t, m.samples(1), append(slices.Clone(us[:1500]), us[2000:]...))
			first := m.fragments[0].chunks
			media, total := first[len(first)-1].MediaEnd(), int64(0)
			for _, g := range m.gaps {
				if g.media != media || g.reason != schemas.ReasonKeyframe {
					t.Errorf("gap at %d (%s), want %d", g.media, g.reason, media)
				}
				media += g.duration
				total += g.duration
			}
			if total != 500*3600 || media != m.fragments[1].chunks[0].MediaStart() {
				t.Errorf("gaps of %d ticks, up to %d", total, media)
			}
		})
	}
}

func TestClockJumps(t *testing.T) {
	s := stream{frame: 3600, gop: 50, aac: true}
	for name, jump := range map[string]time.Duration{"forward": time.Hour, "back": -time.Hour} {
		for _, at := range []time.Duration{10 * time.Second, 10*time.Second + 600*time.Millisecond} {
			t.Run(name+at.String(), func(t *testing.T) {
				us := s.units(20 * time.Second)
				i := slices.IndexFunc(us, func(u ingest.Unit) bool { return u.Captured.Sub(epoch) >= at })
				us = append(us[:i:i], later(us[i:], 0, jump)...)
				m := memory{loose: true}
				run(t, Config{Live: true}, s.tracks(), us, &m)
				wantAll(t, m.samples(1), only(us, 1))
				if n := len(only(us, 2)) - len(m.samples(2)); n > 5 {
					t.Errorf("%d frames of sound are missing", n)
				}
				if m.sessions < 2 || m.sessions > 3 || len(m.gaps) != 0 {
					t.Errorf("%d sessions, gaps %v", m.sessions, m.gaps)
				}
				wantWallClock(t, &m, 100*time.Millisecond)
			})
		}
	}
}

// wantWallClock reports whether public time is near arrival everywhere.
func wantWallClock(t *testing.T, m *memory, within time.Duration) {
	t.Helper()
	for i, f := range m.fragments {
		for _, c := range f.chunks {
			if d := c.Start.Sub(c.Captured); d.Abs() > within {
				t.Errorf("fragment %d: public time is %v from arrival", i, d)
				return
			}
		}
	}
}

// If the source is live, public time keeps up with the wall clock. Otherwise
// the source's clock does not matter: an unbroken run of footage is one session.
func TestDriftBeginsASession(t *testing.T) {
	s := stream{frame: 3600, gop: 25}
	us := s.units(60 * time.Second)
	for i := range us { // the camera's clock is 2 per cent slow
		us[i].Captured = epoch.Add(us[i].Captured.Sub(epoch) * 102 / 100)
	}
	for live, want := range map[bool][2]int{true: {2, 3}, false: {1, 1}} {
		var m memory
		run(t, Config{Live: live}, s.tracks(), us, &m)
		wantAll(t, m.samples(1), us)
		if m.sessions < want[0] || m.sessions > want[1] {
			t.Errorf("live %v: %d sessions", live, m.sessions)
		}
		if live {
			wantWallClock(t, &m, 1100*time.Millisecond)
		}
	}
}

func TestLongHoleIsNoStep(t *testing.T) {
	s := stream{frame: 3600, gop: 500}
	us := s.units(30 * time.Second)
	us = append(us[:100:100], us[350:]...) // ten seconds are missing
	m := memory{loose: true}
	run(t, Config{Live: true}, s.tracks(), us, &m)
	wantAll(t, m.samples(1), us)
	wantPTS(t, m.samples(1), us)
	if m.sessions != 1 {
		t.Errorf("%d sessions", m.sessions)
	}
}

func TestLoss(t *testing.T) {
	s := stream{frame: 3000, gop: 60}
	us := s.units(10 * time.Second)
	var sent []ingest.Unit
	for i, u := range us {
		switch {
		case i%37 == 5: // lost altogether
		case i%37 == 6:
			u.Lost = 3
			sent = append(sent, u)
		case i%41 == 7:
			u.Broken = true
			sent = append(sent, u)
		case i%43 == 9:
			u.Data = u.Data[:len(u.Data)-1] // a length that is too long
			sent = append(sent, u)
		default:
			sent = append(sent, u)
		}
	}
	m := memory{loose: true}
	run(t, Config{Live: true}, s.tracks(), sent, &m)
	good := slices.DeleteFunc(slices.Clone(sent), func(u ingest.Unit) bool { return u.Broken || len(u.Data) < 16 })
	wantAll(t, m.samples(1), good)
	wantPTS(t, m.samples(1), good)
	packets := uint32(0)
	for _, u := range sent {
		packets += u.Lost
	}
	if want := (schemas.Lost{Packets: packets, Units: uint32(len(sent) - len(good))}); m.lost != want {
		t.Errorf("lost %+v, want %+v", m.lost, want)
	}
}

func TestHoleKeepsNominalDuration(t *testing.T) {
	s := stream{frame: 3600, gop: 100}
	us := s.units(4 * time.Second)
	us = append(us[:33:33], us[58:]...) // a second is missing
	m := memory{loose: true}
	run(t, Config{Live: true}, s.tracks(), us, &m)
	v := m.samples(1)
	wantAll(t, v, us)
	if v[32].Duration != 3600 || v[33].DTS-v[32].DTS != 26*3600 {
		t.Errorf("duration %d before a hole, %d to the next", v[32].Duration, v[33].DTS-v[32].DTS)
	}
}

func TestReconnect(t *testing.T) {
	s := stream{frame: 3600, gop: 50, aac: true}
	var m memory
	m.t = t
	a := New(Config{Live: true}, &m, nil)
	us := s.units(5 * time.Second)
	feed(t, a, s.tracks(), us)
	a.Flush()
	if m.open != nil {
		t.Fatal("a fragment is open after Flush")
	}
	again := later(us, 20*time.Second, -3*time.Hour)
	feed(t, a, s.tracks(), again[7:]) // begins inside a GOP
	a.Flush()
	if m.sessions != 2 || len(m.gaps) != 0 {
		t.Errorf("%d sessions, gaps %v", m.sessions, m.gaps)
	}
	if got := m.ended(); got != 2 {
		t.Errorf("%d sessions say that their source ended, want both", got)
	}
	v := only(again, 1)
	wantAll(t, m.samples(1), append(only(us, 1), v[50:]...))
	wantWallClock(t, &m, 100*time.Millisecond)
	if err := a.Unit(us[0]); err == nil {
		t.Error("a unit before tracks is taken")
	}
}

func TestResolutionChanges(t *testing.T) {
	one := stream{frame: 3600, gop: 50, aac: true}
	two := one
	two.config = codectest.H264{Width: 640, Height: 480}.Config()
	us := one.units(5 * time.Second)
	next := later(us, 5*time.Second, 5*time.Second)
	var m memory
	m.t = t
	a := New(Config{Live: true}, &m, nil)
	feed(t, a, one.tracks(), us)
	feed(t, a, two.tracks(), next)
	a.Flush()
	wantAll(t, m.samples(1), append(only(us, 1), only(next, 1)...))
	if m.sessions != 2 || m.ended() != 1 {
		t.Errorf("%d sessions, %d say that their source ended: want 2 and the last", m.sessions, m.ended())
	}
	if n := len(only(us, 2)) + len(only(next, 2)) - len(m.samples(2)); n > 2 {
		t.Errorf("%d frames of sound are missing", n)
	}
}

func TestTracksRefused(t *testing.T) {
	good := stream{aac: true}.tracks()
	bad := map[string][]schemas.Track{
		"none":       nil,
		"sound only": good[1:],
		"two videos": {good[0], good[0]},
		"timescale":  {{ID: 1, Codec: schemas.H264, Timescale: 1000, Config: good[0].Config}},
		"no config":  {{ID: 1, Codec: schemas.H264, Timescale: 90000}},
		"bad aac":    {good[0], {ID: 2, Codec: schemas.AAC, Timescale: 48000}},
		"other":      {good[0], {ID: 3, Codec: "text", Timescale: 48000}},
	}
	for name, tracks := range bad {
		if err := New(Config{Live: true}, &memory{t: t}, nil).Tracks(tracks); !errors.Is(err, ingest.ErrUnsupported) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReorderDeeperThanTold(t *testing.T) {
	config := codectest.H264{Reorder: 0}.Config()
	plain := stream{frame: 3600, gop: 40, config: config}
	deep := stream{frame: 3600, gop: 50, reorder: []int{3, 1, 0, 2}, config: config}
	// Two seconds without, then with B-frames.
	us := append(plain.units(2*time.Second), later(deep.units(8*time.Second), 2*time.Second, 2*time.Second)...)
	m := memory{loose: true}
	run(t, Config{Live: true}, plain.tracks(), us, &m)
	wantAll(t, m.samples(1), us)
	if m.sessions != 2 || len(m.gaps) != 0 {
		t.Errorf("%d sessions, gaps %v", m.sessions, m.gaps)
	}
	for i, s := range m.samples(1) {
		if s.Duration < 1800 {
			t.Fatalf("sample %d lasts %d", i, s.Duration)
		}
	}
	last := m.fragments[len(m.fragments)-1]
	for _, c := range last.chunks {
		for _, s := range c.Video() {
			if s.PTSOffset < 0 || s.Duration != 3600 {
				t.Fatalf("offset %d, duration %d once the depth is known", s.PTSOffset, s.Duration)
			}
		}
	}
}

func TestUnitsAreCounted(t *testing.T) {
	s := stream{frame: 3600, gop: 25, aac: true}
	us := s.units(3 * time.Second)
	m := memory{t: t}
	a := New(Config{Live: true, Camera: "c"}, &m, nil)
	feed(t, a, s.tracks(), us)
	if st := a.Stats(); st != (Stats{Video: schemas.H264, Audio: schemas.AAC, Width: 320, Height: 240, Recording: true}) {
		t.Errorf("stats %+v", st)
	}
	a.Flush()
	for name, v := range map[string][2]float64{
		"units":     {testutil.ToFloat64(a.m.video), 75},
		"fragments": {testutil.ToFloat64(a.m.whole), 3},
		"sessions":  {testutil.ToFloat64(a.m.sessions.WithLabelValues("c", sessionConnect)), 1},
		"chunks":    {testutil.ToFloat64(a.m.written), 15},
	} {
		if v[0] != v[1] {
			t.Errorf("%s: %v, want %v", name, v[0], v[1])
		}
	}
}
