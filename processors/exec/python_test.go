package exec

import (
	"encoding/json"
	"fmt"
	osexec "os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// python makes a pool that runs a program in Python.
func python(t testing.TB, program string, change ...func(*Settings)) *env {
	t.Helper()
	path := testenv.Python(t, "import numpy", "python3-numpy")
	return envOf(t, t.TempDir(), Settings{Command: []string{path, "-B", program}}, change...)
}

// The module framelog gives pictures as arrays, and brings answers back.
func TestPython(t *testing.T) {
	for format, shape := range map[string]string{"BGR": "[4 8 3]", "RGB": "[4 8 3]", "Gray8": "[4 8]", "I420": "[6 8]"} {
		t.Run(format, func(t *testing.T) {
			e := python(t, "testdata/answers.py", func(s *Settings) {
				s.Format = format
				if format == "Gray8" {
					s.Output = "alternative"
				}
			})
			in := fragment(5, 3)
			// An exception fails the attempt.
			_, err := e.Collect(t.Context(), in)
			if err == nil || !strings.Contains(err.Error(), "the program failed: ValueError: no such class") {
				t.Errorf("error %v", err)
			}
			in.Attempt = 2
			r, err := e.Collect(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			if n := testutil.ToFloat64(e.restarts); n != 0 {
				t.Errorf("%v restarts", n)
			}

			var data struct {
				Seen                [][]any
				Complete, Truncated bool
				Lost, Duration      int
				Track               []string
				Life                string
				Session             int
				Media               int64
			}
			ev := r.Events[0]
			if err := json.Unmarshal(ev.Data, &data); err != nil {
				t.Fatal(err)
			}
			size := map[string]int{"BGR": 96, "RGB": 96, "Gray8": 32, "I420": 48}[format]
			for i, s := range data.Seen {
				at := start.Add(time.Duration(i) * 40 * time.Millisecond)
				want := fmt.Sprint(shape, sum(pixels(5, i, size)), float64(in.Media+int64(i)*frameTicks), strings.Replace(at.Format("2006-01-02T15:04:05.000000Z07:00"), "Z", "+00:00", 1), "yard", 5)
				want = strings.Replace(want, ".000000+", "+", 1) // as Python writes it
				if got := fmt.Sprint(s...); got != want {
					t.Errorf("picture %d: %s\nwant %s", i, got, want)
				}
			}
			if len(data.Seen) != 3 || !data.Complete || !data.Truncated || data.Lost != 2 || data.Duration != 3*frameTicks ||
				!reflect.DeepEqual(data.Track, []string{"h264", "010203"}) || data.Life != "cafe0123" || data.Session != 1 || data.Media != in.Media {
				t.Errorf("the program knows %+v", data)
			}
			if want := (schemas.Box{W: 0.5, H: 1}); ev.Value != 3 || !ev.Start.Equal(start) || !ev.End.Equal(start.Add(120*time.Millisecond)) || len(ev.Boxes) != 1 || ev.Boxes[0] != want {
				t.Errorf("event %+v", ev)
			}
			if r.Notes["people"] != `{"n":3}` {
				t.Errorf("note %s", r.Notes["people"])
			}
			checkBoxes(t, samplesOf(r))
			if !e.log.Contains("gives up") || !e.log.Contains("Traceback") {
				t.Errorf("the log lacks what the program prints: %s", e.log.String())
			}
			if e.Output != outputNone {
				checkReplaced(t, r.Chunks["people-video"])
			}
		})
	}
}

// checkBoxes checks the data of answers.py: boxes of the first picture, clipped to it.
func checkBoxes(t *testing.T, samples []schemas.Sample) {
	t.Helper()
	n := 0
	for _, s := range samples {
		var d schemas.Data
		if err := json.Unmarshal(s.Data, &d); err != nil {
			t.Fatal(err)
		}
		if d.Event != nil {
			continue
		}
		want := []schemas.Box{{X: 0.25, Y: 0.25, W: 0.5, H: 0.5, Label: "x", Score: 0.5}, {W: 1, H: 1}}
		if n > 0 {
			want = nil
		}
		if !spans(s, n) || !reflect.DeepEqual(d.Boxes, want) || d.Score != 2 {
			t.Errorf("data %d: %s", n, s.Data)
		}
		n++
	}
	if n != 3 {
		t.Errorf("%d samples of data", n)
	}
}

// checkReplaced checks the pictures of answers.py: the first one inverted in place, the
// second one dropped, the third one inverted twice.
func checkReplaced(t *testing.T, chunks []*schemas.Chunk) {
	t.Helper()
	if len(chunks) != 2 {
		t.Fatalf("%d pictures, want 2", len(chunks))
	}
	for k, c := range chunks {
		want := pixels(5, 2*k, 32)
		for i := range want {
			if k == 0 {
				want[i] ^= 0xff
			}
		}
		s := c.Video()[0]
		if s.DTS != fragment(5, 1).Media+int64(2*k)*frameTicks || string(s.Data) != string(want) {
			t.Errorf("picture %d at %d is %x, want %x", k, s.DTS, s.Data, want)
		}
	}
}

// A handler may leave the loop early. What it does wrong, the module says clearly.
func TestPythonErrors(t *testing.T) {
	e := python(t, "testdata/early.py")
	for seq := range uint64(2) {
		r, err := e.collect(t.Context(), seq, 100)
		if err != nil {
			t.Fatal(err)
		}
		var said []string
		if err := json.Unmarshal(r.Events[0].Data, &said); err != nil {
			t.Fatal(err)
		}
		want := []string{
			"boxes need a picture: read the fragment's frames first",
			"an event needs a type",
			"this processor has no output for pictures: start it with --output alternative or variant",
			"the start of the event has no time zone",
			said[4], // see below
			"first",
		}
		if seq == 1 {
			want[5] = "the work on fragment 0 has ended; say everything before the function returns"
		}
		if !reflect.DeepEqual(said, want) || !strings.HasSuffix(said[4], " bytes are too much for one answer, at most 1048576 are allowed") {
			t.Errorf("the module says %q\nwant %q", said, want)
		}
	}
}

func TestPythonChunks(t *testing.T) {
	e := python(t, "testdata/chunks.py", func(s *Settings) { s.Mode = "encoded" })
	r, err := e.collect(t.Context(), 5, 2)
	if err != nil {
		t.Fatal(err)
	}
	m := fragment(5, 1).Media
	want := fmt.Sprintf(`[[1,%d,%d,3600,true,"sample 0 of 5"],[1,%d,%d,3600,false,"sample 1 of 5"]]`, m, m, m+3600, m+3600)
	if got := string(r.Events[0].Data); got != want {
		t.Errorf("the program got %s\nwant %s", got, want)
	}
}

// A program that somebody starts by hand says how to start it.
func TestPythonAlone(t *testing.T) {
	path := testenv.Python(t, "import numpy", "python3-numpy")
	cmd := osexec.CommandContext(t.Context(), path, "-B", filepath.Join("testdata", "nothing.py"))
	cmd.Env = append(cmd.Environ(), "PYTHONPATH=python")
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "framelog.Error: start this program with Framelog: framelog process exec --name NAME -- python3 PROGRAM.py") {
		t.Errorf("%v: %s", err, out)
	}
}

// A picture that the program keeps stays as it is.
func TestPythonKeeps(t *testing.T) {
	e := python(t, "testdata/keeps.py")
	r, err := e.collect(t.Context(), 5, 40)
	if err != nil {
		t.Fatal(err)
	}
	if ev := r.Events[0]; string(ev.Data) != "[]" || ev.Value != 30 {
		t.Errorf("of %v pictures that the program has kept, others stand in %s", ev.Value, ev.Data)
	}
}
