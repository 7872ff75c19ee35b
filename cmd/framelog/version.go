package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/framelog/framelog/internal/app/brokers"
	"github.com/framelog/framelog/internal/app/config"
	"github.com/framelog/framelog/internal/app/upgrade"
	"github.com/framelog/framelog/schemas"
)

// version is what the linker sets: -ldflags '-X main.version=v0.1.0'. It is for builds without
// git, of which the Go toolchain knows no version.
var version string

// versionOf returns the version of this program and the commit that it was built from; the
// latter is "" if it is not known.
func versionOf() (of, revision string) {
	of = cmp.Or(version, "(devel)")
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return of, ""
	}
	of = cmp.Or(version, info.Main.Version, of)
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			revision = s.Value
		}
	}
	return of, revision
}

// buildInfo is a metric that tells which version a process runs.
func buildInfo() prometheus.Collector {
	of, _ := versionOf()
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "framelog_build_info", Help: "Always 1; the version of this process is a label.", ConstLabels: prometheus.Labels{"version": of},
	})
	g.Set(1)
	return g
}

// versionCmd is "framelog version".
type versionCmd struct {
	settings
	Check bool `help:"Also find out whether this version may run beside the processes that run now: can it read what is in the log, and does it know all settings? It changes nothing. The exit code is 0 if it may, else 1."`
}

// checkTimeout bounds the check of the brokers.
const checkTimeout = time.Minute

// Run prints the version.
func (c *versionCmd) Run(ctx context.Context, k *kong.Context) error {
	of, revision := versionOf()
	if _, err := fmt.Fprintln(k.Stdout, strings.TrimSpace("framelog "+of+" "+revision)); err != nil || !c.Check {
		return err
	}
	return c.check(ctx, k.Stdout, os.Environ())
}

// check prints what the configuration and the log have that this version does not know.
func (c *versionCmd) check(ctx context.Context, w io.Writer, environ []string) error {
	found := []upgrade.Finding{{About: "this version", What: fmt.Sprintf("reads records up to version %d, and writes version %[1]d", schemas.Version)}}
	cfg, problems := c.checkConfig(environ)
	found = append(found, problems...)
	if cfg != nil {
		ctx, cancel := context.WithTimeout(ctx, checkTimeout)
		defer cancel()
		found = append(found, checkLog(ctx, cfg)...)
	}
	bad := 0
	for _, f := range found {
		mark := "ok"
		switch {
		case f.Problem:
			mark = "PROBLEM"
			bad++
		case f.Remedy != "":
			mark = "later"
		}
		if _, err := fmt.Fprintf(w, "%-8s %s: %s\n", mark, f.About, f.What); err != nil {
			return err
		}
		if f.Remedy != "" {
			if _, err := fmt.Fprintf(w, "%-8s → %s\n", "", f.Remedy); err != nil {
				return err
			}
		}
	}
	switch bad {
	case 0:
		_, err := fmt.Fprintln(w, "This version may run beside those that run now; docs/upgrades.md has the order.")
		return err
	case 1:
		return errors.New("there is a problem to solve before this version runs here")
	}
	return fmt.Errorf("there are %d problems to solve before this version runs here", bad)
}

// checkConfig loads the configuration, and returns every setting that this version does not
// know or that has another name now. cfg is nil if it cannot be loaded.
func (c *versionCmd) checkConfig(environ []string) (cfg *config.Config, found []upgrade.Finding) {
	about := "configuration"
	if c.Config != "" {
		about += " " + c.Config
	}
	report := func(e *config.Error, old bool) {
		what := *e
		what.Remedy = ""
		found = append(found, upgrade.Finding{About: about, What: what.Error(), Problem: !old, Remedy: e.Remedy})
	}
	l := newLoader()
	l.OwnEnv = []string{"FRAMELOG_PROCESSOR_"}
	l.Report = report
	cfg, err := l.Load(c.Config, environ, c.flags(nil))
	if err == nil {
		err = checkTogether(cfg)
	}
	if err == nil {
		some := *cfg // checks the settings of processors; the program of exec may be on another machine
		some.Processors = slices.DeleteFunc(slices.Clone(cfg.Processors), func(p config.Processor) bool { return p.Kind == "exec" })
		_, err = makeUnused(&some)
	}
	if e, ok := errors.AsType[*config.Error](err); ok {
		report(e, false)
	} else if err != nil {
		found = append(found, upgrade.Finding{About: about, What: err.Error(), Problem: true, Remedy: "see docs/configuration.md"})
	}
	if err != nil {
		return nil, append(found, upgrade.Finding{About: "brokers", What: "not asked, since the configuration cannot be read"})
	}
	if len(found) == 0 {
		found = append(found, upgrade.Finding{About: about, What: "every setting is known"})
	}
	return cfg, found
}

// checkLog compares this version with what is in the brokers.
func checkLog(ctx context.Context, cfg *config.Config) []upgrade.Finding {
	failed := func(err error) []upgrade.Finding {
		f := upgrade.Finding{About: "brokers", What: err.Error(), Problem: true, Remedy: "look at the brokers, and check again"}
		if e, ok := errors.AsType[*config.Error](err); ok {
			what := *e
			what.Remedy = ""
			f.What, f.Remedy = what.Error(), e.Remedy
		}
		return []upgrade.Finding{f}
	}
	if err := brokers.Check(ctx, cfg); err != nil {
		return failed(err)
	}
	found, err := upgrade.Check(ctx, upgrade.Config{Kafka: kafkaConfig(cfg, "framelog-version"), Retention: time.Duration(cfg.Topics.Retention)})
	if err != nil {
		return failed(err)
	}
	return found
}
