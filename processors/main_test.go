package processors

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// programSettings are the settings of the program that the tests run.
type programSettings struct {
	Limit  int           `yaml:"limit" default:"3" min:"1" max:"9" doc:"Most cars."`
	Pause  time.Duration `yaml:"pause" default:"10s" doc:"Time between two events."`
	Places []struct {
		Name string `yaml:"name" doc:"Name of the place."`
	} `yaml:"places"`
}

func testProgram(opts ...Option) (*mainProgram, *bytes.Buffer) {
	var out bytes.Buffer
	m := &mainProgram{p: Processor{Name: "cars", Process: func(context.Context, *Fragment, *Output) error { return nil }}, out: &out, errs: &out}
	for _, o := range opts {
		o(m)
	}
	return m, &out
}

// TestMainConfiguration: flags override variables, which override the file, which
// overrides what Prepare has set.
func TestMainConfiguration(t *testing.T) {
	path := filepath.Join(t.TempDir(), "framelog.yaml")
	if err := os.WriteFile(path, []byte(`
brokers: [k:1]
topic_prefix: site.
topics: {retention: 2h, partitions: 3, replicas: 2}
egress: {any: key}
processors:
  - {name: people, kind: another-program's}
  - name: cars
    cameras: ["gate-*"]
    concurrency: 2
    max_lag: 5s
    attempts: 4
    settings: {limit: 5, places: [{name: yard}]}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	var s programSettings
	m, _ := testProgram(Settings(&s), Outputs(Variant("cars-video")), Prepare(func(p *Processor) error {
		if s.Limit != 7 || s.Places[0].Name != "yard" {
			t.Errorf("prepared with %+v", s)
		}
		p.Version, p.Concurrency, p.Input, p.Deadline = "2", 9, "720p", time.Hour
		return nil
	}))
	args := []string{"-c", path, "--max-lag=20s", "--limit", "7", "--cameras", "a, b", "--instance", "i-1"}
	line, cfg, err := m.load(args, []string{"FRAMELOG_PROCESSOR_MAX_LAG=30s", "FRAMELOG_PROCESSOR_PAUSE=1m", "FRAMELOG_PROCESSOR_ATTEMPTS=5", "FRAMELOG_EGRESS_MODE=always"})
	if err != nil {
		t.Fatal(err)
	}
	p := m.p
	if p.Version != "2" || p.Concurrency != 2 || p.Input != "720p" || p.Deadline != time.Hour || p.MaxLag != 20*time.Second || p.Attempts != 5 ||
		strings.Join(p.Cameras, " ") != "a b" || p.Outputs[0] != Variant("cars-video") || s.Limit != 7 || s.Pause != time.Minute || line.Instance != "i-1" {
		t.Errorf("%+v, settings %+v", p, s)
	}
	rc := runnerConfig(cfg)
	if rc.Brokers[0] != "k:1" || rc.TopicPrefix != "site." || rc.Topics.Retention != 2*time.Hour || rc.Topics.Partitions != 3 || rc.kafka("").Replicas != 2 || rc.Topics.SegmentBytes != 0 {
		t.Errorf("%+v", rc)
	}
}

// TestMainErrors: a wrong configuration ends the program with exit code 2 and one line.
func TestMainErrors(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	fails := Prepare(func(*Processor) error { return errors.New("limit: too many; take fewer") })
	for _, tt := range []struct {
		args, env string
		opts      []Option
		want      []string
	}{
		{args: "--limt 3", want: []string{"cars: unknown flag --limt; see cars --help"}},
		{args: "--limit", want: []string{"cars: flag needs an argument: --limit; see cars --help"}},
		{args: "--limit 10", want: []string{`cars: --limit: "10": too large; want a whole number, at least 1, at most 9`}},
		{args: "--limit x", want: []string{`--limit: "x": wrong type`}},
		{args: "here", want: []string{`the argument "here" is not expected`}},
		{args: "-c none.yaml", want: []string{"cars: none.yaml: cannot be read"}},
		{args: "--policy fast", want: []string{`--policy: "fast"`, "lossless or latest or keyframes"}},
		{args: "--cameras [a", want: []string{`cars: --cameras: "[a" is no pattern`}},
		{args: "--http 0.0.0.0:0", want: []string{"cars: --http: ", "--insecure"}},
		{args: "--http " + busy.Addr().String(), want: []string{"cars: --http: cannot listen on ", "the port is in use"}},
		{args: "--brokers kafka", want: []string{"brokers", "host:port"}},
		{env: "FRAMELOG_PROCESSOR_LIMT=3", want: []string{"FRAMELOG_PROCESSOR_LIMT: unknown environment variable", "FRAMELOG_PROCESSOR_LIMIT"}},
		{opts: []Option{fails}, want: []string{"cars: settings.limit: too many; take fewer"}},
		{opts: []Option{Outputs(Data("a"), Data("b"))}, want: []string{"cars: outputs: 2 have the role data"}},
		{args: "--from yesterday", want: []string{`cars: --from: "yesterday" is no time`, "-30m"}},
		{args: "--dry-run", want: []string{"--from -30m"}},
		{args: "--from -30m", want: []string{"--dry-run", "--suffix -2"}},
		{args: "--from -30m --to -40m --dry-run", want: []string{"--to: it is not after --from"}},
		{args: "--from -30m --dry-run=maybe", want: []string{`cars: invalid boolean value "maybe" for --dry-run: `, "; see cars --help"}},
		{args: "--redrive --json", want: []string{"cars: --redrive: it takes none of"}},
	} {
		var s programSettings
		m, out := testProgram(append(tt.opts, Settings(&s))...)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		code := m.main(ctx, strings.Fields(tt.args), []string{tt.env})
		cancel()
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		last := lines[len(lines)-1]
		if code != exitConfig {
			t.Errorf("%s: exit code %d, want %d: %s", tt.args, code, exitConfig, last)
		}
		for _, w := range tt.want {
			if !strings.Contains(last, w) {
				t.Errorf("%s: %q lacks %q", tt.args, last, w)
			}
		}
	}
}

// TestMainHelp: the help has the flags of all processors and the program's own.
func TestMainHelp(t *testing.T) {
	var s programSettings
	m, out := testProgram(Settings(&s))
	if code := m.main(t.Context(), []string{"--help"}, nil); code != 0 {
		t.Errorf("exit code %d", code)
	}
	rest := out.String()
	for _, want := range []string{"Usage: cars [flags]\n", "--brokers=HOST:PORT", "--http=HOST:PORT", "--cameras=LIST", "--max-lag=DURATION", "Its own settings:", "--limit=NUMBER", "Most cars. From 1 to 9. Default: 3.", "--from=TIME", "--dry-run "} {
		_, after, ok := strings.Cut(rest, want)
		if !ok {
			t.Errorf("it lacks %q, or has it too early:\n%s", want, out)
		}
		rest = after
	}
	for line := range strings.Lines(out.String()) {
		if len(line) > 101 {
			t.Errorf("a line is too long: %q", line)
		}
	}
}
