package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/framelog/framelog/internal/app/config"
	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/processors"
	"github.com/framelog/framelog/processors/motion"
	"github.com/framelog/framelog/schemas"
)

// demoKinds are the kinds of the processors that run on the demo's cameras: marks and pictures
// for the page's timeline.
var demoKinds = []string{"motion", thumbnailKind}

// demoMasks are the strip and the large clock in the pictures of the demo's cameras: they
// move from picture to picture. What is left is the ball.
func demoMasks() []motion.Area {
	return []motion.Area{{Y: 0.86, W: 1, H: 0.14}, {X: 0.14, Y: 0.42, W: 0.72, H: 0.32}}
}

// prepareProcessors checks the processors of the configuration. The demo gets its own if the
// configuration says nothing of processors.
func prepareProcessors(_ context.Context, u *up) error {
	if u.withDemo && u.cfg.Where("processors") == "" {
		for _, kind := range demoKinds {
			p, err := demoProcessor(kind)
			if err != nil {
				return err
			}
			u.cfg.Processors = append(u.cfg.Processors, *p)
		}
	}
	return checkProcessors(u.cfg)
}

// demoProcessor is a processor of the demo's cameras.
func demoProcessor(kind string) (*config.Processor, error) {
	l := newLoader()
	l.Only, l.OnlyKind = kind, kind
	p, err := l.Default()
	if err != nil {
		return nil, err
	}
	if own, ok := p.Own().(*motion.Settings); ok {
		own.Masks = demoMasks()
	}
	for _, d := range camsim.Demo() {
		p.Cameras = append(p.Cameras, d.Path)
	}
	return p, nil
}

// secretName matches a reference to a variable.
var secretName = regexp.MustCompile(`\$\{(FRAMELOG_SECRET_[A-Z0-9_]+)\}`)

// secretsOf are the variables that the settings of a processor refer to. A processor gets no
// other secret.
func secretsOf(p *config.Processor) []string {
	b, err := yaml.Marshal(p.Own())
	if err != nil {
		return nil // makeRunDir tells it
	}
	return secretNames(string(b))
}

// secretNames are the variables that a text refers to.
func secretNames(text string) (names []string) {
	for _, m := range secretName.FindAllStringSubmatch(text, -1) {
		names = append(names, m[1])
	}
	return names
}

// processName is the name of a processor's first process.
func processName(processor string) string { return "process-" + processor }

// processorChildren are the processes of the configuration's processors.
func processorChildren(u *up) (all []child) {
	// All processes that this up starts have names that no other process has.
	host, _ := os.Hostname()
	first := fmt.Sprintf("%s-%08x", cmp.Or(host, "up"), rand.Uint32())
	for _, p := range u.cfg.Processors {
		for i := range p.Instances {
			c := child{name: processName(p.Name), secrets: secretsOf(&p)}
			instance := first
			if i > 0 { // a processor's name has no dot
				c.name += fmt.Sprintf(".%d", i+1)
				instance += fmt.Sprintf("-%d", i+1)
			}
			c.args = []string{p.Name, "--instance", instance}
			all = append(all, c)
		}
	}
	return all
}

// checkProcessors checks all processors of the configuration, and that they agree.
func checkProcessors(cfg *config.Config) error {
	all, err := makeUnused(cfg)
	if err != nil {
		return err
	}
	return checkAgree(cfg, all)
}

// makeUnused makes the processors of the configuration to look at them, and closes them.
func makeUnused(cfg *config.Config) ([]processors.Processor, error) {
	all := make([]processors.Processor, len(cfg.Processors))
	for i := range cfg.Processors {
		p, err := newProcessor(cfg, &cfg.Processors[i], telemetry{log: slog.New(slog.DiscardHandler)})
		if err == nil && p.Close != nil {
			err = p.Close()
		}
		if err != nil {
			return nil, err
		}
		all[i] = p
	}
	return all, nil
}

// checkAgree checks that the processors of the configuration can run beside each other.
func checkAgree(cfg *config.Config, all []processors.Processor) error {
	if err := checkOutputs(cfg, all); err != nil {
		return err
	}
	return checkInputs(cfg, all)
}

// checkOutputs refuses two processors that write the same rendition of a camera.
func checkOutputs(cfg *config.Config, all []processors.Processor) error {
	for i := range all {
		for j := range i {
			for _, o := range outputs(&all[i]) {
				if slices.Contains(outputs(&all[j]), o) && shareCameras(all[i].Cameras, all[j].Cameras) {
					return cfg.ProcessorError(&cfg.Processors[i], "", "give the rendition of one of them another name, or give them other cameras",
						"%s writes the rendition %q, and %s does too (%s)", all[i].Name, o, all[j].Name, cmp.Or(cfg.Processors[j].Origin, "the command line"))
				}
			}
		}
	}
	return nil
}

// outputs are the names of the renditions that a processor writes.
func outputs(p *processors.Processor) (names []string) {
	for _, o := range p.Renditions() {
		names = append(names, o.Name)
	}
	return names
}

// checkInputs refuses processors that read what they make, directly or through others.
func checkInputs(cfg *config.Config, all []processors.Processor) error {
	// writer returns the processor that makes the input of another one, -1 if it is none
	// of these. Where several do for different cameras, it is the first.
	writer := func(of int) int {
		input := cmp.Or(all[of].Input, schemas.Raw)
		return slices.IndexFunc(all, func(p processors.Processor) bool { return slices.Contains(outputs(&p), input) })
	}
	for i := range all {
		path := all[i].Name
		for at, hops := writer(i), 0; at >= 0 && hops < len(all); at, hops = writer(at), hops+1 {
			path += " reads " + all[at].Name
			if at == i {
				return cfg.ProcessorError(&cfg.Processors[i], "input", "let one of them read raw", "it reads what it makes itself: %s", path)
			}
		}
	}
	return nil
}

// shareCameras reports whether a camera may match patterns of both lists. An empty list
// matches all cameras.
func shareCameras(a, b []string) bool {
	if len(a) == 0 || len(b) == 0 {
		return true
	}
	return slices.ContainsFunc(a, func(p string) bool {
		return slices.ContainsFunc(b, func(q string) bool { return overlap(p, q) })
	})
}

// overlap reports whether a text may match both patterns (path.Match). It takes each
// class [a-z] for any character.
func overlap(p, q string) bool {
	switch {
	case p == "" || q == "":
		return strings.Trim(p+q, "*") == ""
	case p[0] == '*':
		return overlap(p[1:], q) || overlap(p, rest(q))
	case q[0] == '*':
		return overlap(q, p)
	}
	wild := strings.ContainsAny(p[:1]+q[:1], "?[")
	return (wild || p[0] == q[0]) && overlap(rest(p), rest(q))
}

// rest returns a pattern without its first character or class.
func rest(p string) string {
	if end := strings.IndexByte(p, ']'); p[0] == '[' && end > 0 {
		return p[end+1:]
	}
	return p[1:]
}
