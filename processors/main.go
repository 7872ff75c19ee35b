package processors

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/framelog/framelog/internal/app/brokers"
	"github.com/framelog/framelog/internal/app/config"
	"github.com/framelog/framelog/internal/app/program"
	"github.com/framelog/framelog/internal/app/service"
)

// Exit codes of a program.
const (
	exitFailed = 1
	exitConfig = 2
)

// Option is an option of [Main].
type Option func(*mainProgram)

// Settings gives a program settings of its own. s points to a struct. Each field with a tag
// yaml is a setting; its tags tell its default, bounds and meaning:
//
//	type settings struct {
//		Limit int           `yaml:"limit" default:"3" min:"1" max:"9" doc:"Most cars."`
//		Pause time.Duration `yaml:"pause" default:"10s" doc:"Time between two events."`
//		Mode  string        `yaml:"mode" default:"fast" oneof:"fast,good" doc:"How to look."`
//	}
//
// A field is a string, bool, int, float64, time.Duration, a type with UnmarshalText and
// MarshalText, a struct of these, a list, or a map with strings as keys. The flag --limit
// sets it, the variable FRAMELOG_PROCESSOR_LIMIT, and in the configuration file the key
// limit below settings in the processor's entry of processors. A list of structs and a map
// can be set in the file only.
func Settings(s any) Option { return func(m *mainProgram) { m.settings = s } }

// Outputs sets Processor.Outputs.
func Outputs(r ...Rendition) Option { return func(m *mainProgram) { m.p.Outputs = r } }

// Prepare gives a function that is called once the settings are read, before anything
// starts. It can check them, and set fields of the processor; flags and the file override
// those. Its error ends the program with exit code 2: let its text begin with the key of
// the setting and a colon.
func Prepare(f func(p *Processor) error) Option { return func(m *mainProgram) { m.prepare = f } }

// Main is the main function of a program that is a processor. It does not return.
//
// The program has flags (see --help), variables FRAMELOG_*, and a configuration file
// (--config). The file is that of framelog up: the program uses brokers, topic_prefix,
// topics and log, and the entry of processors with its name, if there is one. It does not
// look at keys of other programs.
//
// SIGINT and SIGTERM end it. Then other processes of the processor have its cameras. Its
// exit code is 0 after such a signal, 2 if the configuration is wrong, and 1 after another
// error.
func Main(name string, fn Func, opts ...Option) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the second signal ends the process at once
	m := mainProgram{p: Processor{Name: name, Process: fn}, out: os.Stdout, errs: os.Stderr}
	for _, o := range opts {
		o(&m)
	}
	os.Exit(m.main(ctx, os.Args[1:], os.Environ()))
}

// mainProgram is a program that is a processor.
type mainProgram struct {
	p        Processor
	settings any
	prepare  func(p *Processor) error

	out, errs io.Writer
}

// main runs the program and returns its exit code.
func (m *mainProgram) main(ctx context.Context, args, environ []string) int {
	err := m.run(ctx, args, environ)
	switch {
	case err == nil, errors.Is(err, program.ErrHelp), ctx.Err() != nil && errors.Is(err, context.Canceled):
		return 0
	case config.IsError(err):
		fmt.Fprintf(m.errs, "%s: %v\n", m.p.Name, err)
		return exitConfig
	}
	fmt.Fprintf(m.errs, "%s: %s\n", m.p.Name, strings.ReplaceAll(err.Error(), "\n", "; "))
	return exitFailed
}

func (m *mainProgram) run(ctx context.Context, args, environ []string) error {
	line, cfg, err := m.load(args, environ)
	if err != nil {
		return err
	}
	log, reg := service.NewLogger(m.errs, cfg.Log.Level, cfg.Log.Format, m.p.Name), service.NewRegistry()
	slog.SetDefault(log)
	rc := runnerConfig(cfg)
	rc.Instance, rc.Log, rc.Registerer = line.Instance, log, reg
	r, err := NewRunner(m.p, rc)
	if err != nil {
		return &config.Error{What: strings.TrimPrefix(err.Error(), fmt.Sprintf("processor %q: ", m.p.Name))}
	}
	if line.Past() {
		if err := brokers.Check(ctx, cfg); err != nil {
			return err
		}
		return m.past(ctx, r, rc, line)
	}
	wait := brokers.NewWait(cfg, log)
	return service.All(ctx,
		func(ctx context.Context) error {
			if wait.Run(ctx) != nil {
				return nil // ctx has ended
			}
			return r.Run(ctx)
		},
		func(ctx context.Context) error {
			ready := func(context.Context) error {
				if why := wait.Why(); why != "" {
					return errors.New(why)
				}
				return r.Ready()
			}
			return serve(ctx, cfg, line.HTTP, service.Server{Registry: reg, Log: log, Ready: ready})
		})
}

// past processes past footage.
func (m *mainProgram) past(ctx context.Context, r *Runner, c Config, line *program.Line) error {
	if !line.Redrive {
		return r.Backfill(ctx, Backfill{From: line.From, To: line.To, DryRun: line.DryRun, Suffix: line.Suffix, Report: PrintProgress(m.out, m.errs, line.JSON)})
	}
	letters, err := DeadLetters(ctx, c, m.p.Name, "")
	if err != nil {
		return err
	}
	redriven, err := r.Redrive(ctx, letters...)
	fmt.Fprintf(m.errs, "dead letters: %d; processed again: %d\n", len(letters), len(redriven))
	return err
}

// load reads the command line and the configuration into m.p.
func (m *mainProgram) load(args, environ []string) (*program.Line, *config.Config, error) {
	kind := config.Kind{Name: m.p.Name}
	if m.settings != nil {
		kind.Settings = func() any { return m.settings }
	}
	loader := config.Loader{Kinds: []config.Kind{kind}, Only: m.p.Name, OnlyKind: m.p.Name, Skip: config.OfRoles}
	line, cfg, err := program.Load(loader, program.Usage{Name: m.p.Name}, args, environ, m.out)
	if err != nil {
		return nil, nil, err
	}
	e := &cfg.Processors[0]
	if m.prepare != nil {
		if err := m.prepare(&m.p); err != nil {
			return nil, nil, cfg.SettingsError(e, err)
		}
	}
	m.p.override(e)
	if line.HTTP != "" {
		err = cfg.CheckOpen("--http", line.HTTP, "see what all cameras are called", "listen on 127.0.0.1")
	}
	return line, cfg, err
}

// serve answers on addr until ctx ends. If addr is empty it only waits.
func serve(ctx context.Context, cfg *config.Config, addr string, s service.Server) error {
	if addr == "" {
		<-ctx.Done()
		return nil
	}
	ln, err := service.Listen(ctx, addr)
	if err != nil {
		what, remedy := service.ListenProblem(addr, err)
		return cfg.Errorf("--http", remedy, "%s", what)
	}
	s.Log.Info("listening", "url", "http://"+ln.Addr().String()+"/metrics")
	return s.Serve(ctx, ln)
}
