package exec

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/framelog/framelog/processors"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// told is the event of the child "work".
func told(t *testing.T, r *processors.Result) (e schemas.Event, data struct{ Fragment, End, Env string }) {
	t.Helper()
	if len(r.Events) != 1 || r.Events[0].Type != "told" {
		t.Fatalf("events %+v", r.Events)
	}
	if err := json.Unmarshal(r.Events[0].Data, &data); err != nil {
		t.Fatal(err)
	}
	return r.Events[0], data
}

// samplesOf returns the samples of the data rendition.
func samplesOf(r *processors.Result) []schemas.Sample {
	for _, run := range r.Chunks["people"][0].Runs {
		return run.Samples
	}
	return nil
}

// spans reports whether a sample lasts as long as picture i. An event that begins with the
// picture may take its first tick.
func spans(s schemas.Sample, i int) bool {
	at := fragment(5, 1).Media + int64(i)*frameTicks
	return at <= s.DTS && s.DTS <= at+1 && s.DTS+int64(s.Duration) == at+frameTicks
}

// A child gets the pictures of the decoder, and its answers stand in the output.
func TestPictures(t *testing.T) {
	t.Setenv("FRAMELOG_SECRET_DOOR", "c4n4ry")
	t.Setenv("FRAMELOG_KAFKA_SASL_PASSWORD", "c4n4ry")
	e := newEnv(t, "work")
	r, err := e.collect(t.Context(), 5, 10)
	if err != nil {
		t.Fatal(err)
	}
	in := fragment(5, 10)
	samples := samplesOf(r)
	if len(samples) != 11 { // the event is the first or second one
		t.Fatalf("%d samples of data, want 11", len(samples))
	}
	i := 0
	for _, s := range samples {
		var d schemas.Data
		if err := json.Unmarshal(s.Data, &d); err != nil {
			t.Fatal(err)
		}
		if d.Event != nil {
			continue
		}
		want := schemas.Box{X: 0.25, Y: 0.5, W: 0.125, H: 0.25, Label: sum(pixels(5, i, 96)), Score: 0.5}
		if !spans(s, i) || len(d.Boxes) != 1 || d.Boxes[0] != want || d.Score != 3 {
			t.Errorf("data %d at %d for %d: %s, want %+v", i, s.DTS-in.Media, s.Duration, s.Data, want)
		}
		i++
	}
	ev, d := told(t, r)
	if !ev.Start.Equal(start) || !ev.End.Equal(start.Add(400*time.Millisecond)) {
		t.Errorf("the event is from %v to %v", ev.Start, ev.End)
	}
	want := `{"seq":5,"attempt":1,"camera":"yard","input":"raw","life":"cafe0123","session":1,"start":"2026-03-01T12:00:00.000000Z","media":159512976000000,` +
		`"tracks":[{"id":1,"codec":"h264","timescale":90000,"config":"AQID","width":8,"height":4}]}`
	if strings.Replace(want, "159512976000000", fmt.Sprint(in.Media), 1) != d.Fragment {
		t.Errorf("fragment %s\nwant %s", d.Fragment, want)
	}
	if want := `{"seq":5,"attempt":1,"complete":true,"kind":"truncated","duration":36000,"lost_units":2}`; d.End != want {
		t.Errorf("end %s\nwant %s", d.End, want)
	}
	if want := fmt.Sprintf(`{"pid":%v}`, ev.Value); r.Notes["people"] != want {
		t.Errorf("note %s, want %s", r.Notes["people"], want)
	}
	if strings.Contains(d.Env, "c4n4ry") {
		t.Error("the child got a password")
	}
}

func TestChunks(t *testing.T) {
	e := newEnv(t, "chunks", func(s *Settings) { s.Mode = "encoded" })
	r, err := e.collect(t.Context(), 5, 2)
	if err != nil {
		t.Fatal(err)
	}
	var got string
	if err := json.Unmarshal(r.Events[0].Data, &got); err != nil {
		t.Fatal(err)
	}
	m := fragment(5, 2).Media
	want := fmt.Sprintf(`{"seq":5,"attempt":1,"index":0,"samples":[`+
		`{"track":1,"dts":%d,"pts":%d,"duration":3600,"sync":true,"size":13},{"track":1,"dts":%d,"pts":%d,"duration":3600,"size":13}]}`+
		`sample 0 of 5sample 1 of 5`, m, m, m+3600, m+3600)
	if got != want {
		t.Errorf("the child got %s\nwant %s", got, want)
	}
}

// The child's pictures go to the encoder, in order.
func TestOutput(t *testing.T) {
	e := newEnv(t, "invert", func(s *Settings) { s.Output, s.Format = "alternative", "RGB" })
	r, err := e.collect(t.Context(), 5, 20)
	if err != nil {
		t.Fatal(err)
	}
	chunks := r.Chunks["people-video"]
	if len(chunks) != 19 {
		t.Fatalf("%d pictures, want 19", len(chunks))
	}
	for k, c := range chunks {
		i := k
		if k > 0 {
			i++ // it left out the second one
		}
		s := c.Video()[0]
		want := pixels(5, i, 96)
		for j := range want {
			want[j] ^= 0xff
		}
		if s.DTS != fragment(5, 1).Media+int64(i)*frameTicks || string(s.Data) != string(want) {
			t.Errorf("picture %d at %d is %x, want %x", i, s.DTS, s.Data, want)
		}
	}
	if want := processors.Alternative("people-video"); len(e.Outputs) != 2 || e.Outputs[1] != want {
		t.Errorf("outputs %+v", e.Outputs)
	}
}

// A child that dies, hangs or breaks the protocol fails its fragment, with an error that
// says what happened. The next fragment gets a new child.
func TestBadChildren(t *testing.T) {
	for mode, want := range map[string]string{
		"exits":              "the program ended with exit status 7; it printed last: MemoryError",
		"killed":             "the program was killed by signal 9, killed (the system does this",
		"hangs":              "the program hangs: for 2s it has neither read nor answered, after ",
		"hangs at end":       "after 20 pictures of the fragment; raise timeout if it needs longer; it was killed",
		"closes pipes":       "it has closed its pipes, and goes on",
		"prints into it":     `it wrote "hello, world" where a frame begins`,
		"half a frame":       "within a frame",
		"huge header":        "a header of 4294967295 bytes, at most 1048576 are allowed",
		"huge payload":       `a payload in a frame 'D', which has none`,
		"no JSON":            `the header of a frame 'D': invalid character`,
		"version 2":          "a frame of version 2, Framelog has 1",
		"wrong seq":          `a frame 'O' for seq 6, attempt 1, while it works on seq 5, attempt 1`,
		"wrong attempt":      `a frame 'O' for seq 5, attempt 2, while it works on seq 5, attempt 1`,
		"no such kind":       `there is no frame 'Z'`,
		"ready again":        `there is no frame 'R'`,
		"early data":         `exec: its answer breaks the protocol: a frame 'D' with pts 5, which is not in what it has got`,
		"box in pixels":      "a box with x 100, y 20, w 30, h 40 is not in the picture, which is 1 wide and 1 high",
		"event without type": "an event without a type",
		"event before":       "it must lie in the fragment",
		"large events":       "more than 4194304 bytes of events of a fragment",
		"long note":          "a note of 2002 bytes; 1 to 1024 are allowed",
		"picture":            "the processor has no output for pictures; set output to",
		"large picture":      "a picture of 16×4 pixels and 192 bytes; it must be as large as those that it got",
		"short picture":      "a picture of 8×4 pixels and 95 bytes",
		"picture twice":      "a picture with pts",
	} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t, mode, func(s *Settings) {
				if strings.HasPrefix(mode, "hangs") {
					s.Timeout = 2 * time.Second
				}
				if strings.HasSuffix(mode, "picture") && mode != "picture" || mode == "picture twice" {
					s.Output = "variant"
				}
			})
			_, err := e.collect(t.Context(), 5, 20)
			if err == nil || !strings.Contains(err.Error(), want) || errors.Is(err, processors.ErrUnavailable) {
				t.Errorf("error %v\nwant %s", err, want)
			}
			if _, err := e.collect(t.Context(), 6, 20); err != nil {
				t.Errorf("the next fragment: %v", err)
			}
		})
	}
}

// A fragment that the program could not process costs no process.
func TestFailure(t *testing.T) {
	e := newEnv(t, "fails once")
	_, err := e.collect(t.Context(), 5, 3)
	if err == nil || !strings.Contains(err.Error(), "the program failed: ValueError: no such class") {
		t.Errorf("error %v", err)
	}
	r, err := e.collect(t.Context(), 5, 3)
	if err != nil {
		t.Fatal(err)
	}
	if r.Events[0].Value == 0 || e.starts() != 1 {
		t.Errorf("%+v; %d starts", r.Events, e.starts())
	}
}

// starts is how many children have been started.
func (e *env) starts() int {
	b, _ := os.ReadFile(filepath.Join(e.dir, "starts"))
	return len(b)
}

func (e *env) leave(t *testing.T, name string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(e.dir, name), nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

// When nobody wants the fragment any more, the child is told and goes on with the next.
func TestCancel(t *testing.T) {
	e := newEnv(t, "waits")
	e.pictures = fake{width: 1024, height: 1024}.pictures // none but the first fits into the pipe
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		testenv.Poll(t, testenv.Patience, func() bool { return e.has("began 5") })
		cancel()
		e.leave(t, "go 5")
		e.leave(t, "go 6")
	}()
	_, err := e.collect(ctx, 5, 50)
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "the program was not done, after ") {
		t.Errorf("error %v", err)
	}
	r, err := e.collect(t.Context(), 6, 3)
	if err != nil {
		t.Fatal(err)
	}
	if r.Events[0].Type != "complete true" || e.starts() != 1 {
		t.Errorf("%+v; %d starts", r.Events, e.starts())
	}
}

// A child that goes on with it is killed, also if it does not hang.
func TestCancelKills(t *testing.T) {
	e := newEnv(t, "waits", func(s *Settings) { s.Timeout = time.Hour })
	e.cancelTimeout = 50 * time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		testenv.Poll(t, testenv.Patience, func() bool { return e.has("began 5") })
		cancel()
	}()
	if _, err := e.collect(ctx, 5, 3); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	e.leave(t, "go 6")
	if _, err := e.collect(t.Context(), 6, 3); err != nil || e.starts() != 2 {
		t.Errorf("error %v, %d starts", err, e.starts())
	}
}

// A program that is done early stops the decoder.
func TestDoneEarly(t *testing.T) {
	e := newEnv(t, "done at once")
	var given atomic.Int64
	e.pictures = fake{width: 1024, height: 1024, same: true, given: func(int) { given.Add(1) }}.pictures
	const all = 1 << 16 // 200 GB
	if _, err := e.collect(t.Context(), 5, all); err != nil || given.Load() == all {
		t.Errorf("error %v, %d pictures", err, given.Load())
	}
	testenv.Wait(t, testenv.Patience, "the end", func() bool { return e.has("cut off") })
}

// A program that is done, and reads no more, has processed its fragment. The next one gets
// a new child.
func TestDeaf(t *testing.T) {
	e := newEnv(t, "done and deaf", func(s *Settings) { s.Timeout = time.Second })
	e.pictures = fake{width: 1024, height: 1024}.pictures
	for seq := range uint64(2) {
		if _, err := e.collect(t.Context(), seq, 3); err != nil {
			t.Error(err)
		}
	}
	if e.starts() != 2 {
		t.Errorf("%d starts", e.starts())
	}
}

// A slow program slows the decoder down: no more pictures wait than fit into the pipe.
func TestBackpressure(t *testing.T) {
	e := newEnv(t, "waits")
	var given atomic.Int64
	e.pictures = fake{width: 640, height: 360, same: true, given: func(int) { given.Add(1) }}.pictures
	done := make(chan error, 1)
	go func() {
		_, err := e.collect(t.Context(), 5, 100)
		done <- err
	}()
	testenv.Wait(t, testenv.Patience, "the first picture", func() bool { return e.has("began 5") })
	// It has read one; one is in the pipe; one is being written. More must not come.
	if testenv.Poll(t, 300*time.Millisecond, func() bool { return given.Load() > 3 }) {
		t.Errorf("the decoder has given %d pictures", given.Load())
	}
	e.leave(t, "go 5")
	if err := <-done; err != nil || given.Load() != 100 {
		t.Errorf("%v, %d pictures", err, given.Load())
	}
}

// While Framelog waits for the camera, no program hangs.
func TestSlowCamera(t *testing.T) {
	e := newEnv(t, "work", func(s *Settings) { s.Timeout = time.Second })
	var silent time.Duration
	e.pictures = fake{width: 8, height: 4, given: func(i int) {
		if i == 1 {
			began := time.Now()
			testenv.Poll(t, 5*e.Timeout/2, func() bool { return false })
			silent = time.Since(began)
		}
	}}.pictures
	if _, err := e.collect(t.Context(), 5, 3); err != nil || silent < 2*e.Timeout {
		t.Errorf("error %v after %v", err, silent)
	}
}

// Children work beside each other.
func TestChildren(t *testing.T) {
	e := newEnv(t, "waits", func(s *Settings) { s.Children = 3 })
	var mu sync.Mutex
	pids := map[float64]bool{}
	var wg sync.WaitGroup
	for seq := range uint64(3) {
		wg.Go(func() {
			r, err := e.collect(t.Context(), seq, 3)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			pids[r.Events[0].Value] = true
		})
	}
	testenv.Wait(t, testenv.Patience, "all three at work", func() bool { return e.has("began 0") && e.has("began 1") && e.has("began 2") })
	// A fourth fragment finds no child: that is not its fault.
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := e.collect(ctx, 4, 3); !errors.Is(err, processors.ErrUnavailable) || !strings.Contains(err.Error(), "each of the 3 children works on another fragment") {
		t.Errorf("error %v", err)
	}
	for seq := range 3 {
		e.leave(t, fmt.Sprint("go ", seq))
	}
	wg.Wait()
	if len(pids) != 3 || e.Concurrency != 3 {
		t.Errorf("processes %v, concurrency %d", pids, e.Concurrency)
	}
}

// One child serves fragments one after another; others are started only when needed.
func TestOneChildIsEnough(t *testing.T) {
	e := newEnv(t, "work", func(s *Settings) { s.Children = 3 })
	for seq := range uint64(3) {
		if _, err := e.collect(t.Context(), seq, 3); err != nil {
			t.Fatal(err)
		}
	}
	if e.starts() != 1 {
		t.Errorf("%d starts", e.starts())
	}
}

func TestPrints(t *testing.T) {
	e := newEnv(t, "prints")
	if _, err := e.collect(t.Context(), 5, 3); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"level=INFO msg=\"plain words\" processor=people pid=", "stream=stdout\n", "msg=" + strings.Repeat("x", maxLine) + " ", `msg="� binary" `, `msg="no end" `} {
		if !e.log.Contains(want) {
			t.Errorf("the log lacks %.100s:\n%.2000s", want, e.log.String())
		}
	}
	if n := len(e.log.Lines("msg=")); n != 4 {
		t.Errorf("%d lines, want 4:\n%.2000s", n, e.log.String())
	}
}

// Too many lines are left out and counted.
func TestPrintsMuch(t *testing.T) {
	e := newEnv(t, "prints much")
	if _, err := e.collect(t.Context(), 5, 3); err != nil {
		t.Fatal(err)
	}
	e.Close()
	n := len(e.log.Lines(`msg="line `))
	if n < lineBurst || n > 2*lineBurst {
		t.Errorf("%d lines", n)
	}
	if d := int(testutil.ToFloat64(e.dropped)); n+d != 5000 {
		t.Errorf("%d lines and %d dropped, want 5000", n, d)
	}
}
