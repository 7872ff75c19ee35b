package assemble

import (
	"fmt"
	"testing"
	"time"

	"github.com/framelog/framelog/ingest"
	"github.com/framelog/framelog/internal/codec/codectest"
	"github.com/framelog/framelog/schemas"
)

var rates = []float64{5, 10, 12.5, 15, 20, 24, 25, 30000.0 / 1001, 30, 50, 60}

func TestConstantRates(t *testing.T) {
	for _, fps := range rates {
		for _, s := range []stream{
			{gop: int(2*fps + 0.5)},
			{gop: int(fps + 0.5), aac: true},
			{gop: int(4 * fps), reorder: []int{2, 0, 1}, config: codectest.H264{Reorder: 1}.Config(), aac: true},
			{gop: int(4 * fps), reorder: []int{3, 1, 0, 2}, config: codectest.H264{Reorder: -1}.Config()},
			{gop: int(2 * fps), codec: schemas.MJPEG},
			{gop: 1},
		} {
			s.frame = 90000 / fps
			t.Run(fmt.Sprintf("%.2f gop %d %s reorder %d", fps, s.gop, s.codec, len(s.reorder)), func(t *testing.T) {
				var m memory
				us := s.units(10 * time.Second)
				run(t, Config{Live: true}, s.tracks(), us, &m)
				wantAll(t, m.samples(schemas.VideoTrack), only(us, schemas.VideoTrack))
				wantAll(t, m.samples(schemas.AudioTrack), only(us, schemas.AudioTrack))
				if m.sessions != 1 || len(m.gaps) != 0 || m.lost != (schemas.Lost{}) {
					t.Errorf("%d sessions, gaps %v, lost %v", m.sessions, m.gaps, m.lost)
				}
				wantPTS(t, m.samples(schemas.VideoTrack), only(us, schemas.VideoTrack))
				wantLipSync(t, &m, us)
				wantWallClock(t, &m, time.Millisecond)
				frame := uint32(s.frame + 0.5)
				n := max(1, int(18000/int64(frame)))
				if got, want := m.fragments[0].chunks[0].Layout.Part, schemas.PartTarget(n, frame); got != want && s.codec != schemas.MJPEG {
					t.Errorf("part target %d, want %d", got, want)
				}
				for i, f := range m.fragments {
					d := f.chunks[len(f.chunks)-1].MediaEnd() - f.chunks[0].MediaStart()
					if i < len(m.fragments)-1 && d < 90000-int64(frame)/2 {
						t.Errorf("fragment %d lasts %d ticks", i, d)
					}
				}
			})
		}
	}
}

// wantPTS reports whether presentation times differ as those of the camera do.
func wantPTS(t testing.TB, got []schemas.Sample, want []ingest.Unit) {
	t.Helper()
	if len(got) == 0 || len(got) != len(want) {
		return
	}
	zero := got[0].DTS + int64(got[0].PTSOffset) - want[0].PTS
	for i, s := range got {
		if s.DTS+int64(s.PTSOffset)-want[i].PTS != zero {
			t.Errorf("sample %d is shown at %d, want %d", i, s.DTS+int64(s.PTSOffset), want[i].PTS+zero)
			return
		}
	}
}

// wantLipSync reports whether sound and pictures stand to each other as in the
// camera's time, to half a frame of sound.
func wantLipSync(t *testing.T, m *memory, us []ingest.Unit) {
	t.Helper()
	video, audio, units := m.samples(1), m.samples(2), only(us, 2)
	if len(video) == 0 || len(audio) != len(units) {
		return
	}
	shown := video[0].DTS + int64(video[0].PTSOffset)
	first := only(us, 1)[0].PTS
	for i, s := range audio {
		want := units[i].PTS - schemas.Rescale(first, 90000, 48000)
		if d := s.DTS - schemas.Rescale(shown, 90000, 48000) - want; d > 512 || d < -512 {
			t.Errorf("frame %d of sound is %d samples from its place", i, d)
			return
		}
	}
}
