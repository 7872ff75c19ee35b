package main

import (
	"cmp"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/framelog/framelog/internal/app/config"
	"github.com/framelog/framelog/processors"
	"github.com/framelog/framelog/processors/exec"
	"github.com/framelog/framelog/processors/forward"
	"github.com/framelog/framelog/processors/motion"
	"github.com/framelog/framelog/processors/redact"
	"github.com/framelog/framelog/processors/thumbnail"
	"github.com/framelog/framelog/processors/transcode"
)

// kind is a built-in kind of processors.
type kind struct {
	config.Kind
	// encoded: it never decodes a picture, so it needs no GStreamer.
	encoded bool
	// new makes a processor. settings is what Kind.Settings has made. to gets its
	// messages and metrics.
	new func(name string, settings any, to telemetry) (processors.Processor, error)
	// serve returns what a process of this kind answers over HTTP, beside its metrics. nil:
	// nothing.
	serve func(settings any) http.Handler
}

// telemetry is where the messages and metrics of a processor go.
type telemetry struct {
	log *slog.Logger
	reg prometheus.Registerer // may be nil
}

// thumbnailKind is the kind that decodes snapshots for egress.
const thumbnailKind = "thumbnail"

// kinds is the table of the built-in kinds.
func kinds() []kind {
	run := builtIn("exec", "Runs a program of yours, in any language, which gets the decoded pictures.", exec.New,
		func(s *exec.Settings, to telemetry) { s.Log, s.Registerer = to.log, to.reg })
	run.Key, run.Rest = "exec", "command"
	push := builtIn("forward", "Pushes cameras to another server, by RTSP or RTMP.", forward.New,
		func(s *forward.Settings, to telemetry) { s.Log, s.Registerer = to.log, to.reg })
	push.encoded = true
	still := builtIn(thumbnailKind, "Keeps a small picture of each fragment, for timelines, and decodes exact snapshots for egress.", thumbnail.New)
	still.serve = func(settings any) http.Handler { return thumbnail.Pictures(*settings.(*thumbnail.Settings)) }
	return []kind{
		run,
		push,
		builtIn("motion", "Finds what moves: events with place and time.", motion.New),
		builtIn("redact", "Hides areas of the picture, or what moves, in a rendition with rights of its own.", redact.New),
		still,
		builtIn("transcode", "Makes variants in H.264: other sizes and bit rates, and what browsers cannot play otherwise.", transcode.New),
	}
}

// builtIn makes an entry of the table. S is the settings of the kind. attach gives them what
// is not in the configuration.
func builtIn[S any](name, help string, newOf func(name string, s S) (processors.Processor, error), attach ...func(s *S, to telemetry)) kind {
	return kind{
		Kind: config.Kind{Name: name, Help: help, Settings: func() any { return new(S) }},
		new: func(name string, settings any, to telemetry) (processors.Processor, error) {
			s := *settings.(*S)
			for _, f := range attach {
				f(&s, to)
			}
			return newOf(name, s)
		},
	}
}

// kindOf returns the kind of this name.
func kindOf(name string) (kind, bool) {
	all := kinds()
	i := slices.IndexFunc(all, func(k kind) bool { return k.Name == name })
	if i < 0 {
		return kind{}, false
	}
	return all[i], true
}

// kindNames are the names of the kinds, for an error.
func kindNames() string {
	var names []string
	for _, k := range kinds() {
		names = append(names, k.Name)
	}
	return strings.Join(names, ", ")
}

// newProcessor makes the processor of an entry of the configuration. Errors: those of the
// configuration.
func newProcessor(cfg *config.Config, e *config.Processor, to telemetry) (processors.Processor, error) {
	k, ok := kindOf(e.Kind)
	if !ok { // the loader has checked it
		return processors.Processor{}, fmt.Errorf("there is no kind %q", e.Kind)
	}
	p, err := k.new(e.Name, e.Own(), to)
	if err != nil {
		return p, cfg.SettingsError(e, err)
	}
	if len(e.Cameras) > 0 {
		p.Cameras = e.Cameras
	}
	p.Input = cmp.Or(e.Input, p.Input)
	p.Policy = cmp.Or(processors.Policy(e.Policy), p.Policy)
	p.MaxLag = cmp.Or(time.Duration(e.MaxLag), p.MaxLag)
	p.Concurrency = cmp.Or(e.Concurrency, p.Concurrency)
	p.Attempts = cmp.Or(e.Attempts, p.Attempts)
	p.Deadline = cmp.Or(time.Duration(e.Deadline), p.Deadline)
	if err := p.Validate(); err != nil {
		return p, cfg.ProcessorError(e, "", "", "%s", strings.TrimPrefix(err.Error(), fmt.Sprintf("processor %q: ", p.Name)))
	}
	return p, nil
}
