package video

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/framelog/framelog/processors"
	"github.com/framelog/framelog/schemas"
)

// thousand is the unit of times in the tests of the cutter, in ticks.
const thousand = 1000

// clip makes a fragment of chunks of samples with these PTS; each sample lasts 10, and decode
// times begin at 1000. A chunk of "-" has sound alone.
func clip(t *testing.T, chunks string) *processors.Fragment {
	t.Helper()
	var all []*schemas.Chunk
	dts := int64(1000 * thousand)
	for i, text := range strings.Split(chunks, "|") {
		c := &schemas.Chunk{Index: uint32(i)}
		if strings.TrimSpace(text) == "-" {
			c.Media, c.Duration = dts, 0
			all = append(all, c)
			continue
		}
		run := schemas.Run{Track: schemas.VideoTrack}
		for _, f := range strings.Fields(text) {
			var pts int64
			if _, err := fmt.Sscan(f, &pts); err != nil {
				t.Fatal(err)
			}
			run.Samples = append(run.Samples, schemas.Sample{DTS: dts, PTSOffset: int32(pts*thousand - dts), Duration: 10 * thousand})
			dts += 10 * thousand
		}
		c.Runs = []schemas.Run{run}
		all = append(all, c)
	}
	return processors.NewFragment("cam", schemas.Entry{}, all...)
}

func TestCutter(t *testing.T) {
	for _, c := range []struct {
		name, source string
		merge        bool
		pictures     string // PTS, or PTS/duration
		want         string // pictures as decode time:PTS, a repeated one with "=", ends of chunks as "|time"
	}{
		{"as the source", "1000 1010|1020 1030", false, "1000 1010 1020 1030", "1000:1000 1010:1010 |1020 1020:1020 1030:1030 |1040"},
		{"B-frames", "1010 1040 1020|1030 1060 1050", false, "1010 1020 1030 1040 1050 1060", "1000:1010 1010:1020 1020:1030 |1030 1030:1040 1040:1050 1050:1060 |1060"},
		{"open GOP", "1030 1010 1020|1040 1050 1060", false, "1030 1040 1050 1060", "1000:1010 |1030 1030:1040 1040:1050 1050:1060 |1060"},
		{"open GOP over a chunk's end", "1030 1010|1020 1040|1050 1060", false, "1030 1040 1050 1060", "1000:1010 |1020 =1020:1030 1030:1040 |1040 1040:1050 1050:1060 |1060"},
		{"open GOP, few", "1030 1010 1020|1040 1050 1060", false, "1045/25", "1000:1010 |1030 =1030:1040 |1060"},
		{"open GOP, all decode", "1030 1010 1020|1040 1050 1060", false, "1010 1020 1030 1040 1050 1060", "1000:1010 1010:1020 1020:1030 |1030 1030:1040 1040:1050 1050:1060 |1060"},
		{"few", "1000 1010|1020 1030|1040 1050", false, "1000/25 1045/25", "1000:1000 |1020 =1020:1020 |1040 =1040:1040 1045:1045 |1060"},
		{"one", "1000 1010|1020 1030|1040 1050", false, "1000", "1000:1000 |1020 =1020:1020 |1040 =1040:1040 |1060"},
		{"one, merged", "1000 1010|1020 1030|1040 1050", true, "1000", "1000:1000 |1060"},
		{"few, merged", "1000 1010|1020 1030|1040 1050", true, "1000 1045", "1000:1000 |1040 1040:1045 |1060"},
		{"all, merged", "1000 1010|1020 1030", true, "1000 1010 1020 1030", "1000:1000 1010:1010 |1020 1020:1020 1030:1030 |1040"},
		{"sound alone at the end", "1000 1010|-", false, "1000 1010", "1000:1000 1010:1010 |1020 |1020"},
		{"sound alone in between", "1000 1010|-|1020", false, "1000 1010 1020", "1000:1000 1010:1010 |1020 |1020 1020:1020 |1030"},
		{"a little late", "1000 1010|1020 1030", false, "1000 1010 1021 1030", "1000:1000 1010:1010 |1020 1020:1021 1030:1030 |1040"},
		{"first one late", "1000 1010|1020 1030", false, "1005/20 1025/20", "1000:1000 |1020 =1020:1020 1025:1025 |1040"},
		{"behind the end", "1000 1010", false, "1000 1010 1020", "1000:1000 1010:1010 |1020"},
		{"behind the end, short ones", "1000 1010", false, "1000/1 1010/1 1020/1", "1000:1000 1010:1010 |1020"},
		{"none", "1000 1010", false, "", ""},
		{"wrong order", "1000 1010", false, "1010 1000", "1000:1000 |1020 " + errOrder.Error()},
	} {
		f := clip(t, c.source)
		source := newChunks(t.Context(), f)
		f.OpenGOP = strings.HasPrefix(c.name, "open")
		cut := &cutter{source: source, in: f, merge: c.merge}
		var got []string
		note := func(steps []step, err error) {
			for _, s := range steps {
				switch {
				case s.end != nil:
					got = append(got, fmt.Sprintf("|%d", s.at/thousand))
				case s.repeat:
					got = append(got, fmt.Sprintf("=%d:%d", s.dts/thousand, s.pts/thousand))
				default:
					got = append(got, fmt.Sprintf("%d:%d", s.dts/thousand, s.pts/thousand))
				}
			}
			if err != nil {
				got = append(got, err.Error())
			}
		}
		failed := false
		for _, p := range strings.Fields(c.pictures) {
			pts, duration := int64(0), int64(10)
			fmt.Sscanf(p, "%d/%d", &pts, &duration)
			steps, err := cut.add(pts*thousand, duration*thousand)
			note(steps, err)
			failed = failed || err != nil
		}
		if !failed {
			note(cut.finish())
		}
		source.stop()
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, s, c.want)
		}
	}
}

// The pictures that are taken do not depend on where fragments begin, and are even.
func TestGrid(t *testing.T) {
	for _, fps := range []float64{0.5, 1, 5, 7, 12.5, 25, 29.97, 60} {
		for _, frame := range []int64{3000, 3003, 3600, 7200} {
			start := int64(1764334800)*schemas.MediaTimescale + 17
			whole, pieces := newGrid(fps), newGrid(fps)
			var all, joined []int64
			for i := range int64(500) {
				if i%37 == 0 {
					pieces = newGrid(fps) // another fragment
				}
				if at, _, ok := whole.take(start+i*frame, frame); ok {
					all = append(all, at)
				}
				at, until, ok := pieces.take(start+i*frame, frame)
				if !ok {
					continue
				}
				joined = append(joined, at)
				if at < start+i*frame || at >= start+(i+1)*frame {
					t.Fatalf("%g pictures a second of %d ticks: picture %d is shown at %d", fps, frame, i, at)
				}
				if until < start+(i+1)*frame {
					t.Fatalf("%g pictures a second of %d ticks: picture %d ends at %d", fps, frame, i, until)
				}
			}
			if !slices.Equal(all, joined) {
				t.Errorf("%g pictures a second of %d ticks: fragments make other ones", fps, frame)
			}
			seconds := float64(500*frame) / schemas.MediaTimescale
			if want := min(fps*seconds, 500); float64(len(all)) < want-1 || float64(len(all)) > want+1 {
				t.Errorf("%g pictures a second of %d ticks: %d in %.1f s", fps, frame, len(all), seconds)
			}
		}
	}
}

func TestSize(t *testing.T) {
	for _, c := range [][6]int{
		{1920, 1080, 0, 0, 0, 0},
		{1920, 1080, 0, 720, 1280, 720},
		{1920, 1080, 640, 0, 640, 360},
		{1920, 1080, 100, 100, 100, 100},
		{1080, 1920, 0, 640, 360, 640},
		{704, 576, 0, 360, 440, 360},
		{768, 432, 0, 100, 178, 100},
		{0, 0, 0, 100, 100, 100},
	} {
		if w, h := size(c[0], c[1], c[2], c[3]); w != c[4] || h != c[5] {
			t.Errorf("%v: %dx%d", c, w, h)
		}
	}
	for _, c := range []struct {
		e          Encoding
		w, h, x, y int
	}{
		{Encoding{Height: 720}, 1920, 1080, 1280, 720},
		{Encoding{Height: 720}, 640, 480, 640, 480},
		{Encoding{Height: 720}, 641, 481, 640, 480},
		{Encoding{Height: 720, Codec: schemas.MJPEG}, 641, 481, 641, 481},
		{Encoding{Width: 100, Height: 900}, 640, 480, 640, 480},
		{Encoding{Height: 180}, 1, 1, 2, 2},
	} {
		if c.e.Codec == "" {
			c.e.Codec = schemas.H264
		}
		if w, h := c.e.size(c.w, c.h); w != c.x || h != c.y {
			t.Errorf("%+v of %dx%d: %dx%d", c.e, c.w, c.h, w, h)
		}
	}
}
