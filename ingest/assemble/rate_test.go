package assemble

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/codec/codectest"
	"github.com/framelog/framelog/schemas"
)

func TestJitterKeepsOneLayout(t *testing.T) {
	s := stream{frame: 3003, gop: 30, jitter: 400, aac: true, seed: 7}
	m := memory{loose: true}
	us := s.units(30 * time.Second)
	run(t, Config{Live: true}, s.tracks(), us, &m)
	wantAll(t, m.samples(1), only(us, 1))
	wantAll(t, m.samples(2), only(us, 2))
	parts := map[uint32]bool{}
	short, all := 0, 0
	for _, f := range m.fragments {
		for _, c := range f.chunks {
			parts[c.Layout.Part] = true
			all++
			if d := c.MediaEnd() - c.MediaStart(); !c.Last && d*100 < int64(c.Layout.Part)*85 {
				short++
			}
		}
	}
	if len(parts) != 1 || short*20 > all || m.sessions != 1 {
		t.Errorf("%d part targets, %d of %d parts short, %d sessions", len(parts), short, all, m.sessions)
	}
	if len(m.fragments) != 30 {
		t.Errorf("%d fragments of 1 s in 30 s", len(m.fragments))
	}
	wantNoHole(t, &m)
}

func TestJitterWithFewPicturesAChunk(t *testing.T) {
	s := stream{frame: 7200, gop: 25, jitter: 1500, seed: 3, config: codectest.H264{Units: 4, Scale: 100}.Config()} // 12.5 a second, two a chunk
	m := memory{loose: true}
	us := s.units(30 * time.Second)
	run(t, Config{Live: true}, s.tracks(), us, &m)
	wantAll(t, m.samples(1), us)
	wantPTS(t, m.samples(1), us)
	wantNoHole(t, &m)
}

func TestStrongJitterFillsParts(t *testing.T) {
	s := stream{frame: 3000, gop: 60, jitter: 1300, seed: 3, config: codectest.H264{Units: 1, Scale: 60}.Config()}
	m := memory{loose: true}
	us := s.units(60 * time.Second)
	run(t, Config{Live: true}, s.tracks(), us, &m)
	wantAll(t, m.samples(1), us)
	short := 0
	for _, f := range m.fragments {
		for _, c := range f.chunks {
			if d := c.MediaEnd() - c.MediaStart(); !c.Last && d*100 < int64(c.Layout.Part)*85 {
				short++
			}
		}
	}
	if short*10 > m.parts {
		t.Errorf("%d of %d parts are short", short, m.parts)
	}
}

// wantNoHole reports whether each picture begins where the one before it ends.
func wantNoHole(t *testing.T, m *memory) {
	t.Helper()
	v := m.samples(1)
	for i := range v[:max(len(v)-1, 0)] {
		if end := v[i].DTS + int64(v[i].Duration); end != v[i+1].DTS {
			t.Errorf("sample %d ends at %d, the next begins at %d", i, end, v[i+1].DTS)
			return
		}
	}
}

func TestFrameRateHalvesAtNight(t *testing.T) {
	day, night := stream{frame: 3600, gop: 50}, stream{frame: 7200, gop: 25}
	a, b := day.units(10*time.Second), later(night.units(20*time.Second), 10*time.Second, 10*time.Second)
	m := memory{loose: true}
	run(t, Config{Live: true}, day.tracks(), append(a, b...), &m)
	wantAll(t, m.samples(1), append(a, b...))
	if m.sessions != 1 || len(m.gaps) != 0 {
		t.Errorf("%d sessions, gaps %v", m.sessions, m.gaps)
	}
	last := m.fragments[len(m.fragments)-1].chunks
	if got, want := last[0].Layout.Part, schemas.PartTarget(2, 7200); got != want {
		t.Errorf("part target %d at night, want %d", got, want)
	}
	for _, c := range last[:len(last)-1] {
		if d := c.MediaEnd() - c.MediaStart(); d != 14400 {
			t.Errorf("part of %d ticks at night", d)
		}
	}
}

func TestWrongRateInSPS(t *testing.T) {
	s := stream{frame: 6000, gop: 15, config: codectest.H264{Units: 1, Scale: 50}.Config()} // says 25, sends 15
	var m memory
	run(t, Config{Live: true, FrameTime: 40 * time.Millisecond}, s.tracks(), s.units(5*time.Second), &m)
	if got, want := m.fragments[0].chunks[0].Layout.Part, schemas.PartTarget(3, 6000); got != want {
		t.Errorf("part target %d, want %d", got, want)
	}
}

func TestVariableRate(t *testing.T) {
	s := stream{frame: 3600, gop: 60}
	us := s.units(40 * time.Second)
	rnd := rand.New(rand.NewPCG(1, 1))
	at := int64(0)
	for i := range us {
		us[i].PTS = at
		us[i].Captured = epoch.Add(schemas.FromTicks(at))
		at += 1800 + rnd.Int64N(9000) // 8 to 50 a second
	}
	m := memory{loose: true}
	run(t, Config{Live: true}, s.tracks(), us, &m)
	wantAll(t, m.samples(1), us)
	wantPTS(t, m.samples(1), us)
	first := m.fragments[0].chunks[0].Layout
	for i, f := range m.fragments {
		if f.chunks[0].Layout != first {
			t.Errorf("fragment %d has another layout", i)
		}
	}
	if m.sessions != 1 || len(m.gaps) != 0 {
		t.Errorf("%d sessions, gaps %v", m.sessions, m.gaps)
	}
}

func TestTimestampsStandStill(t *testing.T) {
	s := stream{frame: 3600, gop: 3000}
	us := s.units(40 * time.Second)
	for i := range us[100:] {
		us[100+i].PTS = us[100].PTS
	}
	m := memory{loose: true}
	run(t, Config{Live: true}, s.tracks(), us, &m)
	wantAll(t, m.samples(1), us)
	for _, c := range m.fragments[0].chunks {
		if n := len(c.Video()); n > maxChunkSamples {
			t.Errorf("chunk of %d pictures", n)
		}
	}
}
