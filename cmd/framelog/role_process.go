package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/framelog/framelog/internal/app/brokers"
	"github.com/framelog/framelog/internal/app/config"
	"github.com/framelog/framelog/internal/app/program"
	"github.com/framelog/framelog/internal/app/service"
	"github.com/framelog/framelog/internal/gstreamer"
	"github.com/framelog/framelog/processors"
)

func processRole() role {
	return role{
		name: "process", help: "Run one processor alone.", command: new(processCmd),

		prepare:   prepareProcessors,
		processes: processorChildren,
	}
}

// processCmd is "framelog process". It parses its flags itself, since the processor
// decides which there are.
type processCmd struct {
	Args []string `arg:"" passthrough:"" name:"name" help:"Name of a processor in the configuration file, or of a built-in kind."`
}

func (c *processCmd) supervised() bool { return program.Find(c.Args, "socket") != "" }

// Help lists the kinds. It is kong.HelpProvider.
func (c *processCmd) Help() string {
	var b strings.Builder
	b.WriteString("\"framelog process <name> --help\" shows its flags. The built-in kinds:\n\n")
	for _, k := range kinds() {
		fmt.Fprintf(&b, "    %-12s %s\n", k.Name, k.Help)
	}
	return b.String()
}

// Run runs a processor.
func (c *processCmd) Run(ctx context.Context) error {
	line, cfg, err := processLine(c.Args[0], c.Args[1:], os.Environ(), os.Stdout)
	if errors.Is(err, program.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	e := &cfg.Processors[0]
	role := "process-" + e.Name
	if line.Socket != "" {
		role = strings.TrimSuffix(filepath.Base(line.Socket), ".sock")
	}
	p, err := roleFlags{Socket: line.Socket}.process(role, cfg, line.HTTP)
	if err != nil {
		return err
	}
	return runProcessor(ctx, p, e, line)
}

// oneProcessor returns a loader of the configuration of one processor, and its kind. name
// is that of an entry in the file at path, or of a kind; own is the name of a processor of
// that kind, "" for name.
func oneProcessor(path, name, own string) (config.Loader, kind, error) {
	l := newLoader()
	l.Only, l.OnlyKind = cmp.Or(own, name), name
	if have := l.KindOf(path); have != "" {
		if l.Only != name && have != name {
			return l, kind{}, &config.Error{Where: "--name", What: fmt.Sprintf("%s has a processor %q of kind %s", path, l.Only, have), Remedy: "choose another name"}
		}
		l.OnlyKind = have
	}
	k, ok := kindOf(l.OnlyKind)
	if !ok {
		return l, kind{}, &config.Error{
			What:   fmt.Sprintf("there is no processor %q", name),
			Remedy: "name one of the configuration file (--config), or one of the kinds " + kindNames(),
		}
	}
	return l, k, nil
}

// processLine reads the command line of "framelog process NAME" and the configuration.
func processLine(name string, args, environ []string, out io.Writer) (*program.Line, *config.Config, error) {
	path := cmp.Or(program.Find(args, "config", "c"), os.Getenv("FRAMELOG_CONFIG"))
	l, k, err := oneProcessor(path, name, program.Find(args, "name"))
	if err != nil {
		return nil, nil, err
	}
	usage := program.Usage{Name: "framelog process " + name, About: k.Help, Kind: k.Name}
	if k.Rest != "" {
		usage.Rest = "COMMAND [ARGUMENT …]"
	}
	line, cfg, err := program.Load(l, usage, args, environ, out)
	if err != nil {
		return nil, nil, err
	}
	return line, cfg, checkTogether(cfg)
}

// runProcessor runs the processor of an entry until ctx ends.
func runProcessor(ctx context.Context, p *process, e *config.Processor, line *program.Line) error {
	slog.SetDefault(p.log) // package video logs there
	if k, _ := kindOf(e.Kind); !k.encoded {
		if err := gstreamer.Init(); err != nil {
			return &config.Error{What: strings.TrimPrefix(err.Error(), "gstreamer: ")}
		}
	}
	to, err := newProcessor(p.cfg, e, telemetry{p.log, p.reg})
	if err != nil {
		return err
	}
	rc := runnerConfig(p.cfg)
	rc.Instance, rc.Log, rc.Registerer = line.Instance, p.log, p.reg
	r, err := processors.NewRunner(to, rc)
	if err != nil {
		return err
	}
	if line.Past() {
		if err := brokers.Check(ctx, p.cfg); err != nil {
			return err
		}
		return r.Backfill(ctx, processors.Backfill{
			From: line.From, To: line.To, DryRun: line.DryRun, Suffix: line.Suffix, Report: processors.PrintProgress(os.Stdout, os.Stderr, line.JSON),
		})
	}
	p.started(r.Ready)
	var own http.Handler
	if k, _ := kindOf(e.Kind); k.serve != nil {
		own = k.serve(e.Own())
		if !p.flags.supervised() {
			own = guard(p.cfg, line.HTTP, p.policy).Wrap(own)
		}
	}
	return service.All(ctx,
		p.withBrokers(r.Run),
		func(ctx context.Context) error { return p.serve(ctx, "--http", line.HTTP, own) })
}

// runnerConfig returns the settings of a processor's log.
func runnerConfig(cfg *config.Config) processors.Config {
	c := logConfig(cfg, "")
	var inS3 *processors.ArchiveS3
	if s, ok := s3Config(cfg); ok {
		inS3 = (*processors.ArchiveS3)(&s)
	}
	return processors.Config{
		Archive: config.Get[archiveConfig](cfg).Dir, ArchiveS3: inS3,
		Brokers: c.Kafka.Brokers, TLS: c.Kafka.TLS, SASL: processors.SASL(c.Kafka.SASL), TopicPrefix: c.Kafka.Prefix,
		Topics: processors.TopicSettings{
			Partitions: c.Partitions, Replicas: c.Kafka.Replicas, Retention: c.Retention, RetentionBytes: c.RetentionBytes,
			SegmentBytes: c.SegmentBytes, Budget: c.Budget,
		},
	}
}
