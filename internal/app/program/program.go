// Package program is the command line of a processor: of framelog process, and of the
// programs of users, which call processors.Main.
package program

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/framelog/framelog/internal/app/config"
	"github.com/framelog/framelog/internal/when"
)

// ErrHelp means that the command line asks for help, which was printed.
var ErrHelp = errors.New("program: help was printed")

// Line is a command line.
type Line struct {
	// Config is the path of the configuration file; "" if there is none.
	Config string
	// Flags are the keys that flags set, for config.Loader.Load.
	Flags map[string]string
	// Rest are the arguments behind --.
	Rest []string

	HTTP     string // address of metrics, health and readiness; "": none
	Instance string // name of the process; "": none was given
	Socket   string // of a child of framelog up; "": it is none

	Range
}

// Range is the flags about past footage.
type Range struct {
	From, To time.Time // zero: not given
	DryRun   bool
	Suffix   string
	Redrive  bool
	JSON     bool
}

// Past reports whether the command line asks for past footage.
func (r Range) Past() bool { return r.Redrive || !r.From.IsZero() }

// Usage is what the help says about a program.
type Usage struct {
	Name  string // "bitrate", "framelog process motion"
	About string // one line; "" for none
	// Rest describes the arguments behind --; "" if there are none.
	Rest string
	// Kind is the name of the built-in kind that a command line of framelog process names;
	// "" for a program of its own, which has neither --name nor --socket.
	Kind string
}

// option is a flag.
type option struct {
	name, value, help string
	bool              bool
	set               func(s string) error
}

// group is flags with a title.
type group struct {
	title   string
	options []option
}

// Load reads the command line of the one processor that ld is for, and then the
// configuration. Errors: ErrHelp; those of the configuration.
func Load(ld config.Loader, u Usage, args, environ []string, out io.Writer) (*Line, *config.Config, error) {
	plain, err := ld.Default()
	if err != nil {
		return nil, nil, err
	}
	line, err := parse(u, plain, args, out)
	if err != nil {
		return nil, nil, err
	}
	ld.Rest = line.Rest
	cfg, err := ld.Load(line.Config, environ, line.Flags)
	return line, cfg, err
}

// parse reads the command line of the processor p, whose settings have their defaults.
// Help goes to out. Errors: ErrHelp; those of the configuration.
func parse(u Usage, p *config.Processor, args []string, out io.Writer) (*Line, error) {
	l := &Line{Flags: map[string]string{}, Config: os.Getenv("FRAMELOG_CONFIG")}
	groups := l.groups(u, p)
	fs := flag.NewFlagSet(u.Name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	fs.StringVar(&l.Config, "c", l.Config, "")
	if u.Kind != "" {
		fs.StringVar(&l.Socket, "socket", "", "")
	}
	var wrong error // of a value; package flag would not wrap it
	for _, g := range groups {
		for _, o := range g.options {
			if fs.Lookup(o.name) != nil {
				return nil, fmt.Errorf("program: the setting %q has the name of another flag; give it another one", o.name)
			}
			set := func(s string) error { wrong = o.set(s); return wrong }
			if o.bool {
				fs.BoolFunc(o.name, "", set)
			} else {
				fs.Func(o.name, "", set)
			}
		}
	}
	switch err := fs.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return nil, errors.Join(ErrHelp, printHelp(out, u, groups))
	case config.IsError(wrong):
		return nil, wrong
	case err != nil:
		return nil, usageError(u, err)
	}
	l.Rest = fs.Args()
	if len(l.Rest) > 0 && u.Rest == "" {
		return nil, &config.Error{What: fmt.Sprintf("the argument %q is not expected", l.Rest[0]), Remedy: "see " + u.Name + " --help"}
	}
	return l, l.check()
}

// usageError returns an error of package flag, which writes flags with one dash.
func usageError(u Usage, err error) error {
	what := strings.Replace(err.Error(), " -", " --", 1)
	what = strings.Replace(what, "flag provided but not defined: ", "unknown flag ", 1)
	return &config.Error{What: what, Remedy: "see " + u.Name + " --help"}
}

// groups are the flags.
func (l *Line) groups(u Usage, p *config.Processor) []group {
	key := func(key string) func(string) error {
		return func(s string) error { l.Flags[key] = s; return nil }
	}
	text := func(into *string) func(string) error {
		return func(s string) error { *into = s; return nil }
	}
	common := group{"Flags:", []option{
		{name: "config", value: "FILE", help: "Configuration file (YAML).", set: text(&l.Config)},
		{name: "brokers", value: "HOST:PORT", help: "Kafka brokers, separated by commas. Default: the embedded broker of framelog up, at 127.0.0.1:9092 or where broker_listen says.", set: key("brokers")},
		{name: "instance", value: "NAME", help: "Name of this process. No other process of this processor may have it. One that is started again with the same name gets its cameras back at once.", set: text(&l.Instance)},
		{name: "http", value: "HOST:PORT", help: "Address of /metrics, /healthz and /readyz. Default: none.", set: text(&l.HTTP)},
		{name: "insecure", help: "Let others than this machine reach it, without passwords and TLS.", bool: true, set: key("insecure")},
		{name: "log-level", value: "LEVEL", help: "debug, info, warn or error.", set: key("log.level")},
		{name: "log-format", value: "FORMAT", help: "text or json.", set: key("log.format")},
	}}
	if u.Kind != "" {
		common.options = slices.Insert(common.options, 0, option{name: "name", value: "NAME", help: "Name of the processor. Default: " + u.Kind + ".", set: func(string) error {
			return nil // Find has found it: its entry in the file decides which flags there are
		}})
	}
	all := []group{common, {"Flags of the processor:", nil}, {"Its own settings:", nil}, l.group()}
	if u.Kind == "" { // for the others there is framelog dlq redrive
		all[3].options = append(all[3].options, option{
			name: "redrive", help: "Process the dead letters again, into renditions with -redriven behind their names.", bool: true, set: is(&l.Redrive),
		})
	}
	for s := range config.SettingsOf(p) {
		g := &all[1]
		if s.Own {
			g = &all[2]
		}
		o := option{name: s.Flag(), value: s.Value, help: s.Doc, bool: s.Bool, set: key("processor." + s.Key)}
		if s.Bool {
			o.value = ""
		}
		g.options = append(g.options, o)
	}
	return all
}

// group is the flags about past footage.
func (r *Range) group() group {
	at := func(name string, into *time.Time) func(string) error {
		return func(s string) error {
			t, ok := when.Parse(s, time.Now())
			if !ok {
				return &config.Error{Where: "--" + name, What: fmt.Sprintf("%q is no time", s), Remedy: "give " + when.Forms}
			}
			*into = t
			return nil
		}
	}
	return group{"Past footage, instead of new:", []option{
		{name: "from", value: "TIME", help: "Begin here, as 2026-01-31T08:00:00Z or -30m.", set: at("from", &r.From)},
		{name: "to", value: "TIME", help: "End here. Default: now.", set: at("to", &r.To)},
		{name: "dry-run", help: "Print what it would write, and write nothing.", bool: true, set: is(&r.DryRun)},
		{name: "suffix", value: "TEXT", help: "Write into renditions of their own, with this behind the names: -2 for people-2.", set: func(s string) error { r.Suffix = s; return nil }},
		{name: "json", help: "Print a line of JSON for each fragment, instead of a table.", bool: true, set: is(&r.JSON)},
	}}
}

// is returns the function of a flag without a value.
func is(into *bool) func(string) error {
	return func(s string) (err error) {
		*into, err = strconv.ParseBool(s)
		return err
	}
}

// check checks the flags about past footage together.
func (r *Range) check() error {
	switch {
	case r.Redrive && (!r.From.IsZero() || !r.To.IsZero() || r.DryRun || r.Suffix != "" || r.JSON):
		return &config.Error{Where: "--redrive", What: "it takes none of --from, --to, --dry-run, --suffix and --json"}
	case r.Redrive:
		return nil
	case r.From.IsZero() && (!r.To.IsZero() || r.DryRun || r.Suffix != "" || r.JSON):
		return &config.Error{What: "--to, --dry-run, --suffix and --json are about past footage", Remedy: "say where it begins with --from, as --from -30m"}
	case r.From.IsZero():
		return nil
	case r.To.IsZero():
		r.To = time.Now()
	}
	if !r.To.After(r.From) {
		return &config.Error{Where: "--to", What: "it is not after --from"}
	}
	if r.DryRun == (r.Suffix != "") {
		return &config.Error{What: "--from needs one of two flags", Remedy: "say --dry-run to write nothing, or --suffix -2 to write into new renditions"}
	}
	return nil
}

// Find returns the value of a flag in a command line that cannot be parsed yet, since
// which flags there are depends on it; "" if it is not there.
func Find(args []string, names ...string) (value string) {
	for i, a := range args {
		if a == "--" {
			break
		}
		flag, v, joined := strings.Cut(strings.TrimLeft(a, "-"), "=")
		if !strings.HasPrefix(a, "-") || !slices.Contains(names, flag) {
			continue
		}
		if joined {
			value = v
		} else if i+1 < len(args) {
			value = args[i+1]
		}
	}
	return value
}
