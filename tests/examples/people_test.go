package examples

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/framelog/framelog/internal/cmaf"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// walk makes a clip in which a person stands in some fragments, at different places.
func walk(t *testing.T, python string) string {
	t.Helper()
	script := filepath.Join(testenv.Root(t), "tests/examples/testdata/walk.py")
	text, err := os.ReadFile(script)
	if err != nil {
		t.Fatal(err)
	}
	ffmpeg := testenv.Tool(t, "ffmpeg", "ffmpeg")
	return testenv.CachedFile(t, "walk-"+testenv.Digest(string(text))+".mp4", func(path string) error {
		line := fmt.Sprintf("%s %s | %s -v error -f rawvideo -pix_fmt bgr24 -s 640x360 -r 10 -i - -c:v libx264 -g 10 -sc_threshold 0 -bf 0 -pix_fmt yuv420p %s", python, script, ffmpeg, path)
		out, err := exec.CommandContext(t.Context(), "bash", "-o", "pipefail", "-c", line).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
}

// person is the middle of what is dark in a picture, as a part of it; ok: there is enough.
func person(gray []byte, width int) (x, y float64, ok bool) {
	n := 0.0
	for i, v := range gray {
		if v < 110 {
			x, y, n = x+float64(i%width), y+float64(i/width), n+1
		}
	}
	return x / n / float64(width), y / n / float64(len(gray)/width), n > 1000
}

// TestAddAProcessorInPython follows docs/add-a-processor.md. The boxes are compared with
// what FFmpeg decodes of each fragment.
func TestAddAProcessorInPython(t *testing.T) {
	testenv.SkipShort(t, "the framelog binary")
	t.Parallel()
	camera := testenv.StartGstRTSPServer(t, testenv.GstRTSPOptions{File: walk(t, testenv.Python(t, "import cv2, numpy", "python3-opencv and python3-numpy"))})
	r := newReader(t, "cameras:\n  - {id: street, url: \""+camera.URL+"\"}\n")
	e := envOf(t, r.f.Broker, "")
	raw, out := schemas.Topic{Camera: "street"}, schemas.Topic{Camera: "street", Rendition: "people"}
	example, err := os.ReadFile(filepath.Join(examples(t), "people.py"))
	if err != nil {
		t.Fatal(err)
	}
	var running *testenv.Process
	for _, b := range blocks(t, "add-a-processor.md") {
		if b.section != "In Python" {
			continue
		}
		if b.file != "" && b.text != string(example) {
			t.Errorf("%s of the page is not that of docs/examples", b.file)
		}
		if p, _ := r.do(b); p != nil {
			running = p
		}
	}
	if running == nil {
		t.Fatal("the page runs nothing")
	}
	running.Wait(t, 4*testenv.Patience, "ten fragments", func() bool {
		_, _, err := e.log.Bounds(t.Context(), out)
		return err == nil && len(e.entries(out)) >= 10
	})
	entries, data := e.data(out)
	there, missed := 0, 0
	for _, en := range entries {
		x, y, ok := person(e.firstPicture(raw, en.Seq), 640)
		boxes, events := 0, 0
		for _, d := range data[en.Seq] {
			if d.Event != nil {
				events++
				continue
			}
			boxes += len(d.Boxes)
			for _, b := range d.Boxes {
				if b.Label != "person" || math.Abs(b.X+b.W/2-x) > 0.05 || math.Abs(b.Y+b.H/2-y) > 0.1 {
					t.Errorf("%d: box %+v, the person is at %.2f, %.2f", en.Seq, b, x, y)
				}
			}
		}
		switch {
		case !ok && (boxes != 0 || events != 0):
			t.Errorf("%d shows nobody; %d boxes and %d events", en.Seq, boxes, events)
		case ok:
			there++
			if boxes == 0 || events != 1 {
				missed++
			}
		}
		if strings.Contains(en.Note, `"person"`) != (events == 1) {
			t.Errorf("%d: note %s with %d events", en.Seq, en.Note, events)
		}
	}
	if there < 3 || missed > 0 {
		t.Errorf("%d of %d fragments show a person, which was not found in %d", there, len(entries), missed)
	}
}

// firstPicture is the first picture of a fragment, gray, as FFmpeg decodes it.
func (e *env) firstPicture(t schemas.Topic, seq uint64) []byte {
	e.t.Helper()
	en, err := e.log.Entry(e.t.Context(), t, seq)
	if err != nil {
		e.t.Fatal(err)
	}
	var tracks []schemas.Track
	segment, err := cmaf.Segment(en, func(yield func(*schemas.Chunk, error) bool) {
		for c, err := range e.log.Chunks(e.t.Context(), t, en) {
			if err == nil && c.Index == 0 {
				tracks = c.Tracks
			}
			if !yield(c, err) {
				return
			}
		}
	})
	if err != nil {
		e.t.Fatal(err)
	}
	header, err := cmaf.Init(tracks)
	if err != nil {
		e.t.Fatal(err)
	}
	path := filepath.Join(e.t.TempDir(), "fragment.mp4")
	if err := os.WriteFile(path, slices.Concat(header, slices.Concat(segment...)), 0o600); err != nil {
		e.t.Fatal(err)
	}
	picture := path + ".gray"
	if err := testenv.FFmpeg(e.t, "-i", path, "-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "gray", picture); err != nil {
		e.t.Fatal(err)
	}
	b, err := os.ReadFile(picture)
	if err != nil {
		e.t.Fatal(err)
	}
	return b
}
