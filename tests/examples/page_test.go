package examples

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// block is a block of code of a page.
type block struct {
	section string // the last heading of level 2
	file    string // the file that the sentence before names; ""
	lang    string
	text    string
}

var (
	fence    = regexp.MustCompile("(?ms)^```([a-z]+)\n(.*?)^```$")
	fileName = regexp.MustCompile("`([a-z.]+)`[^`]*$")
	heading  = regexp.MustCompile(`(?m)^## (.*)$`)
)

// blocks returns the blocks of code of a page in docs.
func blocks(t *testing.T, name string) (all []block) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(testenv.Root(t), "docs", name))
	if err != nil {
		t.Fatal(err)
	}
	page, end := string(b), 0
	for _, m := range fence.FindAllStringSubmatchIndex(page, -1) {
		bl := block{lang: page[m[2]:m[3]], text: page[m[4]:m[5]]}
		if f := fileName.FindStringSubmatch(page[end:m[0]]); f != nil && bl.lang != "sh" {
			bl.file = f[1]
		}
		if h := heading.FindAllStringSubmatch(page[:m[0]], -1); len(h) > 0 {
			bl.section = h[len(h)-1][1]
		}
		end = m[1]
		all = append(all, bl)
	}
	return all
}

// reader is a person who follows a page.
type reader struct {
	t       *testing.T
	f       *testenv.Framelog
	dir     string
	replace *strings.Replacer // addresses and folders
}

// newReader starts a Framelog, as the page wants it, with more of its configuration.
func newReader(t *testing.T, cfg string, args ...string) *reader {
	t.Helper()
	f := testenv.Up(t, testenv.UpOptions{Config: "ingest: {disk_reserve: 0}\n" + cfg, Args: args})
	r := &reader{t: t, f: f, dir: t.TempDir()}
	r.replace = strings.NewReplacer("../framelog/bin/framelog", testenv.Binary(t), "../framelog", testenv.Root(t), "127.0.0.1:9092", f.Broker, "http://127.0.0.1:8080", f.URL)
	return r
}

// do does what a block says. The command that does not end is the last one of its block:
// it is started.
func (r *reader) do(b block) (*testenv.Process, string) {
	r.t.Helper()
	if b.file != "" {
		if err := os.WriteFile(filepath.Join(r.dir, b.file), []byte(b.text), 0o600); err != nil {
			r.t.Fatal(err)
		}
		return nil, ""
	}
	if b.lang != "sh" {
		return nil, ""
	}
	var said strings.Builder
	for line := range strings.Lines(r.replace.Replace(b.text)) {
		line = strings.TrimSpace(line)
		cmd := exec.CommandContext(r.t.Context(), "bash", "-ec", line+"\npwd > "+filepath.Join(r.f.Data, "pwd"))
		cmd.Dir = r.dir
		// What Framelog itself needs is in the module cache: nothing is downloaded.
		cmd.Env = append(os.Environ(), "GOPROXY=off", "GONOSUMDB=*", "GOFLAGS=", "FRAMELOG_BROKER_LISTEN="+r.f.Broker)
		if strings.HasPrefix(line, "go run ") || strings.Contains(line, " process exec ") {
			return testenv.Start(r.t, line, cmd), said.String()
		}
		out, err := cmd.CombinedOutput()
		if err != nil {
			r.t.Fatalf("%s: %v\n%s", line, err, out)
		}
		said.Write(out)
		dir, err := os.ReadFile(filepath.Join(r.f.Data, "pwd"))
		if err != nil {
			r.t.Fatal(err)
		}
		r.dir = strings.TrimSpace(string(dir))
	}
	return nil, said.String()
}

// data returns the entries of a rendition of data, with their events and boxes.
func (e *env) data(t schemas.Topic) (entries []schemas.Entry, data map[uint64][]schemas.Data) {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.t.Context(), testenv.Patience)
	defer cancel()
	data = make(map[uint64][]schemas.Data)
	for _, en := range e.entries(t) {
		if !en.Playable() {
			continue
		}
		entries = append(entries, en)
		for c, err := range e.log.Chunks(ctx, t, en) {
			if err != nil {
				e.t.Fatal(err)
			}
			for _, run := range c.Runs {
				for _, s := range run.Samples {
					var d schemas.Data
					if err := json.Unmarshal(s.Data, &d); err != nil {
						e.t.Fatalf("%d: %q: %v", en.Seq, s.Data, err)
					}
					data[en.Seq] = append(data[en.Seq], d)
				}
			}
		}
	}
	return entries, data
}

// TestAddAProcessorInGo follows docs/add-a-processor.md to the letter. The processor's
// output is checked against the camera's footage.
func TestAddAProcessorInGo(t *testing.T) {
	testenv.SkipShort(t, "the framelog binary")
	t.Parallel()
	r := newReader(t, "processors: []\n", "--demo")
	const camera = "demo-harbour"
	e := envOf(t, r.f.Broker, "")
	out := schemas.Topic{Camera: camera, Rendition: "bitrate"}
	var running *testenv.Process
	var curled string
	for _, b := range blocks(t, "add-a-processor.md") {
		if b.section != "In Go" || b.file == "bitrate.yaml" || b.lang == "go" && b.file == "" {
			continue
		}
		if running != nil {
			running.Wait(t, 4*testenv.Patience, "five fragments", func() bool {
				_, newest, err := e.log.Bounds(t.Context(), out)
				return err == nil && newest.Seq > 0 && len(e.entries(out)) >= 5
			})
		}
		p, said := r.do(b)
		if p != nil {
			running = p
		}
		curled += said
	}
	if running == nil {
		t.Fatal("the page runs nothing")
	}
	entries, data := e.data(out)
	if len(entries) < 5 {
		t.Fatalf("%d fragments", len(entries))
	}
	for i, en := range entries {
		if i > 0 && en.Seq != entries[i-1].Seq+1 {
			t.Errorf("%d follows %d", en.Seq, entries[i-1].Seq)
		}
		source, err := e.log.Entry(t.Context(), schemas.Topic{Camera: camera}, en.Seq)
		if err != nil {
			t.Fatal(err)
		}
		size := 0
		for c, err := range e.log.Chunks(t.Context(), schemas.Topic{Camera: camera}, source) {
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range c.Video() {
				size += len(s.Data)
			}
		}
		want := float64(size) * 8 / 1000 / (float64(source.Duration) / schemas.MediaTimescale)
		d := data[en.Seq]
		if len(d) != 1 || d[0].Event == nil || d[0].Event.Type != "bitrate" || math.Abs(d[0].Event.Value-want) > 1e-6*want {
			t.Errorf("%d has %+v, want one event of %g kbit/s", en.Seq, d, want)
		}
	}
	if !strings.Contains(curled, `"bitrate"`) {
		t.Errorf("the events over HTTP: %s", curled)
	}
}
