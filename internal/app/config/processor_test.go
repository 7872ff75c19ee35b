package config

import (
	"fmt"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
)

// rate is a setting that reads its text itself.
type rate int

func (r *rate) UnmarshalText(b []byte) error {
	s, kilo := strings.CutSuffix(string(b), "k")
	n, err := strconv.Atoi(s)
	if err != nil || !kilo {
		return fmt.Errorf("%q is no rate", b)
	}
	*r = rate(1000 * n)
	return nil
}

func (r rate) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%dk", r/1000), nil }

type ladderSettings struct {
	Ladder []rung        `yaml:"ladder"`
	Speed  float64       `yaml:"speed" default:"1.5" min:"0.5" max:"8" doc:"How fast."`
	Pause  time.Duration `yaml:"pause" default:"2s" max:"1m"`
	Look   lookSettings  `yaml:"look"`

	Cameras map[string]rung `yaml:"cameras"`
	Corners [][]float64     `yaml:"corners"`
}

type rung struct {
	Name    string `yaml:"name"`
	Height  int    `yaml:"height" default:"720" min:"16"`
	Bitrate rate   `yaml:"bitrate" default:"2000k" min:"100k"`
}

type lookSettings struct {
	Dark bool `yaml:"dark" default:"true"`
}

type programSettings struct {
	Command []string `yaml:"command"`
	Size    string   `yaml:"size" default:"640x360"`
}

func testKinds() []Kind {
	return []Kind{
		{Name: "ladder", Settings: func() any { return new(ladderSettings) }},
		{Name: "exec", Key: "exec", Rest: "command", Settings: func() any { return new(programSettings) }},
		{Name: "plain"},
	}
}

func loadProcessors(t *testing.T, l Loader, text string, env []string, flags map[string]string) (*Config, error) {
	t.Helper()
	t.Chdir(t.TempDir())
	if err := os.WriteFile("framelog.yaml", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	l.Kinds = testKinds()
	return l.Load("framelog.yaml", env, flags)
}

const twoProcessors = `
processors:
  - settings: {ladder: [{name: 360p, height: 360, bitrate: 600k}, {name: hd}], pause: 0s, look: {dark: false}, corners: [[0, 0.5]], cameras: {yard-1: {name: z}, a: {height: 100}}}
    name: night
    kind: ladder
    cameras: ["yard-*"]
    policy: latest
    max_lag: 30s
    instances: 2
  - name: people
    kind: exec
    exec: {command: [/usr/bin/python3, "a,b.py"], size: 1x1}
  - {name: plain, input: night}
`

// TestProcessors: entries and the settings of their kinds, and what up writes for its
// children.
func TestProcessors(t *testing.T) {
	c, err := loadProcessors(t, Loader{}, twoProcessors, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []Processor{
		{
			Name: "night", Kind: "ladder", Cameras: []string{"yard-*"}, Policy: "latest", MaxLag: Duration(30 * time.Second), Instances: 2,
			Settings: &ladderSettings{
				Ladder: []rung{{"360p", 360, 600_000}, {"hd", 720, 2_000_000}}, Speed: 1.5,
				Cameras: map[string]rung{"yard-1": {"z", 720, 2_000_000}, "a": {"", 100, 2_000_000}}, Corners: [][]float64{{0, 0.5}},
			},
			Origin: "framelog.yaml:3", Place: "processors[0]",
		},
		{
			Name: "people", Kind: "exec", Instances: 1, Exec: &programSettings{[]string{"/usr/bin/python3", "a,b.py"}, "1x1"},
			Origin: "framelog.yaml:10", Place: "processors[1]",
		},
		{Name: "plain", Kind: "plain", Input: "night", Instances: 1, Origin: "framelog.yaml:13", Place: "processors[2]"},
	}
	if !reflect.DeepEqual(c.Processors, want) {
		t.Errorf("%+v\nwant\n%+v", c.Processors, want)
	}
	b, err := yaml.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	again, err := loadProcessors(t, Loader{}, string(b), nil, nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	for i := range again.Processors {
		again.Processors[i].Origin = want[i].Origin
	}
	if !reflect.DeepEqual(again.Processors, want) {
		t.Errorf("marshalled and read again: %+v\n%s", again.Processors, b)
	}
}

// TestOneProcessor: a program that is one processor takes its entry of the file, or
// defaults, and its own variables and flags.
func TestOneProcessor(t *testing.T) {
	broken := strings.Replace(twoProcessors, "kind: exec", "kind: another-program's\n    with: keys", 1)
	c, err := loadProcessors(t, Loader{Only: "night", OnlyKind: "ladder", Skip: []string{"egress"}}, broken+"egress: {of: others}\nbrokers: [k:1]\n",
		[]string{"FRAMELOG_PROCESSOR_SPEED=2", "FRAMELOG_PROCESSOR_CONCURRENCY=3", "FRAMELOG_EGRESS_MODE=always", "FRAMELOG_TOPICS_PARTITIONS=1"},
		map[string]string{"processor.speed": "3.5", "processor.cameras": "a, b", "processor.look.dark": "true", "brokers": "l:2"})
	if err != nil {
		t.Fatal(err)
	}
	want := []Processor{{
		Name: "night", Kind: "ladder", Cameras: []string{"a", "b"}, Policy: "latest", MaxLag: Duration(30 * time.Second), Instances: 2, Concurrency: 3,
		Settings: &ladderSettings{
			Ladder: []rung{{"360p", 360, 600_000}, {"hd", 720, 2_000_000}}, Speed: 3.5, Look: lookSettings{Dark: true},
			Cameras: map[string]rung{"yard-1": {"z", 720, 2_000_000}, "a": {"", 100, 2_000_000}}, Corners: [][]float64{{0, 0.5}},
		},
		Origin: "framelog.yaml:3", Place: "processors[0]",
	}}
	if !reflect.DeepEqual(c.Processors, want) || c.Topics.Partitions != 1 || c.Addresses()[0] != "l:2" {
		t.Errorf("%+v\nwant\n%+v", c, want)
	}
	c, err = loadProcessors(t, Loader{Only: "faces", OnlyKind: "exec", Rest: []string{"./faces", "-x", "a,b"}}, twoProcessors, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	want = []Processor{{Name: "faces", Kind: "exec", Instances: 1, Exec: &programSettings{[]string{"./faces", "-x", "a,b"}, "640x360"}, Place: "processors[0]"}}
	if !reflect.DeepEqual(c.Processors, want) {
		t.Errorf("%+v\nwant\n%+v", c.Processors, want)
	}
}

// TestSettingsOf: the flags of a program that is one processor.
func TestSettingsOf(t *testing.T) {
	c, err := loadProcessors(t, Loader{Only: "night", OnlyKind: "ladder"}, twoProcessors, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	var flags []string
	for s := range SettingsOf(&c.Processors[0]) {
		flags = append(flags, s.Flag())
		if s.Key == "speed" && (s.Doc != "How fast. From 0.5 to 8. Default: 1.5." || s.Value != "NUMBER" || s.EnvName() != "FRAMELOG_PROCESSOR_SPEED" || !s.Own) {
			t.Errorf("%+v", s)
		}
	}
	if want := strings.Fields("cameras input policy max-lag concurrency attempts deadline speed pause look-dark"); !slices.Equal(flags, want) {
		t.Errorf("%v, want %v", flags, want)
	}
}

func TestProcessorErrors(t *testing.T) {
	one := Loader{Only: "night", OnlyKind: "ladder", Skip: []string{"egress"}}
	for _, tt := range []struct {
		name  string
		l     Loader
		yaml  string // below processors:
		env   string
		flags map[string]string
		want  []string
	}{
		{name: "unknown key", yaml: "- name: plain\n  polcy: latest\n", want: []string{"framelog.yaml:3: processors[0].polcy: unknown key", "did you mean policy?"}},
		{name: "unknown key in settings", yaml: "- name: ladder\n  settings:\n    sped: 1\n", want: []string{"framelog.yaml:4: processors[0].settings.sped: unknown key", "did you mean speed?"}},
		{name: "unknown key in a list in settings", yaml: "- name: ladder\n  settings:\n    ladder:\n      - name: a\n      - hight: 1\n", want: []string{"framelog.yaml:6: processors[0].settings.ladder[1].hight: unknown key", "did you mean height?"}},
		{name: "unknown key in a map in settings", yaml: "- name: ladder\n  settings:\n    cameras:\n      yard: {hight: 1}\n", want: []string{"framelog.yaml:5: processors[0].settings.cameras.yard.hight: unknown key"}},
		{name: "text of a setting", yaml: "- name: ladder\n  settings: {ladder: [{bitrate: 600}]}\n", want: []string{"framelog.yaml:3: processors[0].settings.ladder[0].bitrate", `bitrate: "600" is no rate; want at least 100k`}},
		{name: "bounds of such a text", yaml: "- name: ladder\n  settings: {ladder: [{bitrate: 60k}]}\n", want: []string{"too small", "at least 100k"}},
		{name: "bounds of a number", yaml: "- name: ladder\n  settings: {speed: 8.5}\n", want: []string{"framelog.yaml:3: processors[0].settings.speed", "too large", "at most 8"}},
		{name: "no number", yaml: "- name: ladder\n  settings: {speed: fast}\n", want: []string{`"fast"`, "wrong type", "a number"}},
		{name: "no duration", yaml: "- name: ladder\n  settings: {pause: 3}\n", want: []string{`"3"`, "no duration", "30s"}},
		{name: "bounds of the entry", yaml: "- name: plain\n  attempts: 0\n", want: []string{"framelog.yaml:3: processors[0].attempts", "too small"}},
		{name: "no name", yaml: "- kind: plain\n", want: []string{"framelog.yaml:2: processors[0].name: ", "needs a name"}},
		{name: "bad name", yaml: "- name: Plain\n  kind: plain\n", want: []string{"framelog.yaml:2: processors[0].name: ", `"Plain" is no name`, "a-z"}},
		{name: "name of the source", yaml: "- name: raw\n  kind: plain\n", want: []string{`"raw" is no name`}},
		{name: "name without room for dead letters", yaml: "- name: " + strings.Repeat("a", 60) + "\n  kind: plain\n", want: []string{"no name", "59"}},
		{name: "two of a name", yaml: "- name: plain\n- name: plain\n", want: []string{"framelog.yaml:3: processors[1].name: ", "framelog.yaml:2", "write kind: plain"}},
		{name: "unknown kind", yaml: "- name: people\n  kind: exe\n", want: []string{"framelog.yaml:3: processors[0].kind: ", `no kind "exe"`, "ladder, exec, plain", "program of your own"}},
		{name: "a name that is no kind", yaml: "- name: people\n", want: []string{"framelog.yaml:2: processors[0].name: ", `no kind "people"`}},
		{name: "settings of exec", yaml: "- name: exec\n  settings: {size: 1x1}\n", want: []string{"framelog.yaml:3: processors[0].settings: ", "write them below exec"}},
		{name: "settings of a kind without", yaml: "- name: plain\n  settings: {size: 1x1}\n", want: []string{"framelog.yaml:3: processors[0].settings: ", "remove them"}},
		{name: "pattern", yaml: "- name: plain\n  cameras: [a, \"[b\"]\n", want: []string{"framelog.yaml:3: processors[0].cameras[1]: ", `"[b" is no pattern`}},
		{name: "input", yaml: "- name: plain\n  input: 720P\n", want: []string{"framelog.yaml:3: processors[0].input: ", `"720P" is no rendition`}},
		{name: "own variable, value", l: one, env: "FRAMELOG_PROCESSOR_SPEED=9", want: []string{"FRAMELOG_PROCESSOR_SPEED: ", "too large"}},
		{name: "own variable, name", l: one, env: "FRAMELOG_PROCESSOR_SPED=9", want: []string{"FRAMELOG_PROCESSOR_SPED: unknown environment variable", "FRAMELOG_PROCESSOR_SPEED"}},
		{name: "own flag", l: one, flags: map[string]string{"processor.max_lag": "soon"}, want: []string{"--max-lag: ", `"soon"`, "no duration"}},
		{name: "argument", l: Loader{Only: "night", OnlyKind: "ladder", Rest: []string{"x"}}, want: []string{`"x" is not expected`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := loadProcessors(t, tt.l, "processors:\n"+tt.yaml, []string{tt.env}, tt.flags)
			if !IsError(err) {
				t.Fatalf("%v is no error of the configuration", err)
			}
			t.Log(err)
			for _, w := range tt.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q lacks %q", err, w)
				}
			}
		})
	}
}
