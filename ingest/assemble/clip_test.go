package assemble

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Eyevinn/mp4ff/mp4"

	"github.com/framelog/framelog/ingest"
	"github.com/framelog/framelog/internal/codec/codectest"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// clip is the video of a file that ffmpeg made.
type clip struct {
	track   schemas.Track
	samples []mp4.FullSample
	keys    int
}

func makeClip(t *testing.T, args string) clip {
	t.Helper()
	testenv.Tool(t, "ffmpeg", "ffmpeg")
	path := filepath.Join(t.TempDir(), "clip.mp4")
	all := append([]string{"-v", "error", "-f", "lavfi", "-i"}, strings.Fields(args)...)
	all = append(all, "-pix_fmt", "yuv420p", "-video_track_timescale", "90000", "-movflags", "empty_moov+frag_keyframe+default_base_moof", path)
	if out, err := exec.CommandContext(t.Context(), "ffmpeg", all...).CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg: %v: %s", err, out)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := mp4.DecodeFile(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	entry := f.Init.Moov.Trak.Mdia.Minf.Stbl.Stsd
	c := clip{track: schemas.Track{ID: 1, Timescale: 90000}}
	var config bytes.Buffer
	if entry.AvcX != nil {
		c.track.Codec = schemas.H264
		err = entry.AvcX.AvcC.Encode(&config)
	} else {
		c.track.Codec = schemas.H265
		err = entry.HvcX.HvcC.Encode(&config)
	}
	if err != nil {
		t.Fatal(err)
	}
	c.track.Config = config.Bytes()[8:] // without the box's header
	for _, s := range f.Segments {
		for _, frag := range s.Fragments {
			fs, err := frag.GetFullSamples(f.Init.Moov.Mvex.Trex)
			if err != nil {
				t.Fatal(err)
			}
			c.samples = append(c.samples, fs...)
			c.keys++
		}
	}
	return c
}

// TestDecodeTimes holds decode times, derived from presentation times alone,
// against those that the encoder gave.
func TestDecodeTimes(t *testing.T) {
	const source = "testsrc2=s=128x96:r=%s:d=6 "
	for name, c := range map[string]struct {
		args      string
		fragments int
		open      int // of them, those that start at an open random access point
	}{
		"h264 no B":        {fmt.Sprintf(source, "25") + "-c:v libx264 -bf 0 -g 25", 6, 0},
		"h264 B":           {fmt.Sprintf(source, "25") + "-c:v libx264 -bf 2 -g 25 -x264-params b-pyramid=none", 6, 0},
		"h264 pyramid":     {fmt.Sprintf(source, "30000/1001") + "-c:v libx264 -bf 3 -g 60 -x264-params b-pyramid=normal:b-adapt=0", 3, 0},
		"h264 zerolatency": {fmt.Sprintf(source, "30") + "-c:v libx264 -tune zerolatency -g 30", 6, 0},
		"h264 interlaced":  {fmt.Sprintf(source, "25") + "-c:v libx264 -bf 2 -g 50 -flags +ildct+ilme", 3, 0},
		"h265 closed":      {fmt.Sprintf(source, "30") + "-c:v libx265 -g 60 -x265-params log-level=none:open-gop=0:bframes=4:b-adapt=0", 3, 0},
		"h265 open":        {fmt.Sprintf(source, "30") + "-c:v libx265 -g 60 -x265-params log-level=none:open-gop=1:bframes=4:b-adapt=0", 3, 2},
		"h264 open":        {fmt.Sprintf(source, "25") + "-c:v libx264 -bf 3 -g 50 -x264-params open-gop=1:b-adapt=0:scenecut=0", 3, 2},
		"h264 open adapts": {fmt.Sprintf(source, "25") + "-c:v libx264 -bf 3 -g 50 -x264-params open-gop=1", 3, 1},
		"h265 default":     {fmt.Sprintf(source, "25") + "-c:v libx265 -g 50 -x265-params log-level=none", 3, 1},
		"h265 leading":     {fmt.Sprintf(source, "30") + "-c:v libx265 -g 60 -x265-params log-level=none:open-gop=0:bframes=4:b-adapt=0:radl=2", 3, 0},
		"h265 low delay":   {fmt.Sprintf(source, "15") + "-c:v libx265 -g 30 -x265-params log-level=none:open-gop=0:bframes=0", 3, 0},
	} {
		t.Run(name, func(t *testing.T) {
			clip := makeClip(t, c.args)
			var us []ingest.Unit
			for _, s := range clip.samples {
				us = append(us, ingest.Unit{
					Track: 1, PTS: int64(s.DecodeTime) + int64(s.CompositionTimeOffset) + 1<<40, Data: s.Data,
					Captured: epoch.Add(schemas.FromTicks(int64(s.DecodeTime))),
				})
			}
			var m memory
			a := run(t, Config{Live: true}, []schemas.Track{clip.track}, us, &m)
			got := m.samples(1)
			wantAll(t, got, us)
			zero := got[0].DTS - int64(clip.samples[0].DecodeTime)
			for i, s := range clip.samples {
				if got[i].DTS-zero != int64(s.DecodeTime) || got[i].PTSOffset != s.CompositionTimeOffset || got[i].Duration != s.Dur {
					t.Fatalf("sample %d: DTS %d, offset %d, duration %d; the encoder says %d, %d, %d", i, got[i].DTS-zero, got[i].PTSOffset, got[i].Duration, s.DecodeTime, s.CompositionTimeOffset, s.Dur)
				}
			}
			open := 0
			for i, f := range m.fragments {
				// Opened by what the encoder made: which GOPs are open it decides.
				if leading(clip.samples, got, f) != f.chunks[0].OpenGOP {
					t.Errorf("fragment %d: open is %v", i, f.chunks[0].OpenGOP)
				}
				if f.chunks[0].OpenGOP {
					open++
				}
			}
			if open != c.open {
				t.Errorf("%d fragments start at an open random access point, want %d", open, c.open)
			}
			for i, s := range got {
				if s.PTSOffset < 0 {
					t.Fatalf("sample %d is decoded %d ticks after it is shown", i, -s.PTSOffset)
				}
			}
			if len(m.fragments) != c.fragments || m.sessions != 1 || m.lost != (schemas.Lost{}) {
				t.Errorf("%d fragments, want %d; %d sessions, lost %v", len(m.fragments), c.fragments, m.sessions, m.lost)
			}
			if st := a.Stats(); st.Width != 128 || st.Height != 96 {
				t.Errorf("%dx%d", st.Width, st.Height)
			}
			if d := m.fragments[0].chunks[0].Start.Sub(epoch); d.Abs() > time.Millisecond {
				t.Errorf("public time begins %v from the wall clock", d)
			}
		})
	}
}

// leading reports whether pictures of a fragment are shown before its first.
func leading(clip []mp4.FullSample, got []schemas.Sample, f *recorded) bool {
	first := f.chunks[0].Video()[0]
	i := slices.IndexFunc(got, func(s schemas.Sample) bool { return s.DTS == first.DTS })
	shown := func(i int) int64 { return int64(clip[i].DecodeTime) + int64(clip[i].CompositionTimeOffset) }
	return i+1 < len(clip) && shown(i+1) < shown(i)
}

// TestReorderWithoutVUI leaves out the SPS's word about reordering, as cameras
// do: the first units tell.
func TestReorderWithoutVUI(t *testing.T) {
	c := makeClip(t, "testsrc2=s=128x96:r=25:d=4 -c:v libx264 -bf 3 -g 50 -x264-params b-adapt=0:b-pyramid=normal -bsf:v filter_units=remove_types=6")
	told := stream{frame: 3600, gop: 50}.tracks()[0]
	told.Config = codectest.H264{Reorder: -1}.Config()
	var us []ingest.Unit
	for _, s := range c.samples {
		us = append(us, ingest.Unit{Track: 1, PTS: int64(s.DecodeTime) + int64(s.CompositionTimeOffset), Data: s.Data, Captured: epoch.Add(schemas.FromTicks(int64(s.DecodeTime)))})
	}
	var m memory
	run(t, Config{Live: true}, []schemas.Track{told}, us, &m)
	for i, s := range m.samples(1) {
		if s.PTSOffset != c.samples[i].CompositionTimeOffset {
			t.Fatalf("sample %d: offset %d, the encoder says %d", i, s.PTSOffset, c.samples[i].CompositionTimeOffset)
		}
	}
}
