package processors

import (
	"context"
	"strings"
	"testing"
	"time"
)

func TestValidate(t *testing.T) {
	for want, change := range map[string]func(*Processor){
		"":                             func(*Processor) {},
		"name: want a-z":               func(p *Processor) { p.Name = "Motion" },
		"name: it has 60 characters":   func(p *Processor) { p.Name = strings.Repeat("a", 60) },
		"neither \"raw\"":              func(p *Processor) { p.Name = "raw" },
		"process: a function":          func(p *Processor) { p.Process = nil },
		"policy: \"newest\" is none":   func(p *Processor) { p.Policy = "newest" },
		"concurrency: 65 is not":       func(p *Processor) { p.Concurrency = 65 },
		"attempts: -1 is less":         func(p *Processor) { p.Attempts = -1 },
		"a time must not be below 0":   func(p *Processor) { p.MaxLag = -time.Second },
		"cameras: \"[\" is no pattern": func(p *Processor) { p.Cameras = []string{"front-*", "["} },
		"input: rendition \"A\"":       func(p *Processor) { p.Input = "A" },
		"outputs: rendition \"index\"": func(p *Processor) { p.Outputs = []Rendition{Variant("index")} },
		"outputs: \"raw\": raw, sub":   func(p *Processor) { p.Outputs = []Rendition{Variant("raw")} },
		"outputs: \"sub\": raw, sub":   func(p *Processor) { p.Outputs = []Rendition{Variant("sub")} },
		"outputs: \"dlq-x\": raw, sub": func(p *Processor) { p.Outputs = []Rendition{Variant("dlq-x")} },
		"and the input sub has other":  func(p *Processor) { p.Input, p.Outputs = "sub", []Rendition{Variant("a")} },
		"\"a\" is the input too":       func(p *Processor) { p.Input, p.Outputs = "a", []Rendition{Variant("a")} },
		"\"a\" is there twice":         func(p *Processor) { p.Outputs = []Rendition{Variant("a"), Data("a")} },
		"has the role \"dead-letter\"": func(p *Processor) { p.Outputs = []Rendition{{"a", "dead-letter"}} },
		"2 have the role data":         func(p *Processor) { p.Outputs = []Rendition{Data("a"), Data("b")} },
	} {
		p := Processor{Name: "motion", Process: func(context.Context, *Fragment, *Output) error { return nil }}
		change(&p)
		err := p.Validate()
		if (err == nil) != (want == "") || (err != nil && !strings.Contains(err.Error(), want)) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	p := Processor{Name: "motion", Process: func(context.Context, *Fragment, *Output) error { return nil }}
	if _, err := NewRunner(p, Config{}); err == nil || !strings.Contains(err.Error(), "brokers: at least one host:port") {
		t.Errorf("a runner without brokers: %v", err)
	}
}
