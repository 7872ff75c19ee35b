package main

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/framelog/framelog/internal/app/config"
	"github.com/framelog/framelog/processors"
)

// TestProcessorsAgree: which processors cannot run beside each other. Each line is a
// processor: its name, its cameras, its input and its outputs.
func TestProcessorsAgree(t *testing.T) {
	for _, tt := range []struct {
		all  string
		want string // in the error; "" for none
	}{
		{all: "a * raw 720p | b * raw 360p"},
		{all: "a * raw x | b * raw x", want: `framelog.yaml:2: processors[1]: b writes the rendition "x", and a does too (framelog.yaml:1)`},
		{all: "a gate raw x | b yard raw x"},
		{all: "a gate-* raw x | b *-2 raw x", want: "b writes"},
		{all: "a gate-* raw x | b yard-* raw x"},
		{all: "a gate,yard raw x | b lane,y?rd raw x", want: "b writes"},
		{all: "a * raw -"},
		{all: "a * raw - | b * raw a", want: "b writes the rendition"}, // without outputs it is its name
		{all: "a * b b2,a2 | b * a2 b", want: "framelog.yaml:1: processors[0].input: it reads what it makes itself: a reads b reads a"},
		{all: "a * c x | b * x y | c * y c", want: "a reads c reads b reads a"},
		{all: "a * x y | b * raw x | c * y z"},
		{all: "a * elsewhere y"},
		// Between a and b there is a cycle; c only reads from it.
		{all: "c * x z | a * y x | b * x y", want: "processors[1].input: it reads what it makes itself: a reads b reads a"},
	} {
		cfg := &config.Config{Path: "framelog.yaml"}
		var all []processors.Processor
		for i, line := range strings.Split(tt.all, "|") {
			f := strings.Fields(line)
			p := processors.Processor{Name: f[0], Cameras: strings.Split(f[1], ","), Input: f[2]}
			for _, o := range strings.Split(f[3], ",") {
				if o != "-" {
					p.Outputs = append(p.Outputs, processors.Variant(o))
				}
			}
			all = append(all, p)
			cfg.Processors = append(cfg.Processors, config.Processor{Name: f[0], Place: fmt.Sprintf("processors[%d]", i), Origin: fmt.Sprintf("framelog.yaml:%d", i+1)})
		}
		err := checkAgree(cfg, all)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.all, err, tt.want)
		}
	}
}

// TestOverlap compares overlap with what path.Match says of all texts of a and b that are
// long enough: the shortest common one has no more characters than both patterns have.
func TestOverlap(t *testing.T) {
	texts := []string{""}
	for i := 0; len(texts[i]) < 6; i++ {
		texts = append(texts, texts[i]+"a", texts[i]+"b")
	}
	patterns := []string{"*", "a", "a*", "*a", "?", "??", "a?b", "*b*", "a*b", "[ab]", "b[ab]", "ab*a", "*?", "**a", "bb", ""}
	for _, p := range patterns {
		for _, q := range patterns {
			want := slices.ContainsFunc(texts, func(s string) bool {
				a, _ := path.Match(p, s)
				b, _ := path.Match(q, s)
				return a && b
			})
			if got := overlap(p, q); got != want {
				t.Errorf("%q and %q: %v, want %v", p, q, got, want)
			}
		}
	}
}

// TestSecretsOfProcessors: a process of a processor gets the secrets that its own settings
// refer to.
func TestSecretsOfProcessors(t *testing.T) {
	cfg, err := loadText(t, `
processors:
  - name: forward
    settings: {url: "rtmp://u:${FRAMELOG_SECRET_A}@h/app/{camera}?key=${FRAMELOG_SECRET_B_2}"}
  - {name: motion, instances: 2}
`)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("FRAMELOG_SECRET_A", "a")
	t.Setenv("FRAMELOG_SECRET_C", "c")
	u := &up{cfg: cfg}
	var got []string
	for _, c := range u.processes(processRole()) {
		var secrets []string
		for _, e := range u.command(c).Env {
			if strings.HasPrefix(e, "FRAMELOG_SECRET_") {
				secrets = append(secrets, e)
			}
		}
		got = append(got, c.name+strings.Join(secrets, ""))
	}
	if want := []string{"process-forwardFRAMELOG_SECRET_A=a", "process-motion", "process-motion.2"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
