package config

import (
	"cmp"
	"encoding"
	"fmt"
	"iter"
	"path"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/framelog/framelog/schemas"
)

// OfRoles are the keys of the roles' sections, which other programs skip.
var OfRoles = []string{"archive", "broker", "demo", "egress", "ingest", "monitor"}

// Kind is a kind of processors that a program can run.
type Kind struct {
	Name, Help string
	// Key is where an entry of processors has its settings. Default: settings.
	Key string
	// Settings makes a struct of settings, with the tags of [Config]'s fields. A field
	// is a text, a number, a truth value, a time.Duration, has the methods of
	// encoding.TextUnmarshaler and encoding.TextMarshaler, or is a struct of these, a list
	// or a map of texts to these. nil: the kind has no settings.
	Settings func() any
	// Rest is the setting that takes the arguments behind -- on a command line. It is a
	// list of texts. "": there is none.
	Rest string
}

// Processor is one entry of processors. The zero value of a field that has no default
// means that of the kind.
type Processor struct {
	Name        string   `yaml:"name" doc:"Name of the processor: of its dead letters (dlq-NAME), of its consumer group, and of its rendition if it writes only one. The rules are those of a camera's id, with at most 59 characters. Needed."`
	Kind        string   `yaml:"kind" default:"" doc:"Kind of the processor. Empty: as its name."`
	Cameras     []string `yaml:"cameras" default:"" doc:"Patterns of the ids of its cameras: * stands for any characters, ? for one. Empty: all cameras."`
	Input       string   `yaml:"input" default:"" doc:"Rendition that it reads. Empty: raw, what the camera sent."`
	Policy      string   `yaml:"policy" default:"" oneof:",lossless,latest,keyframes" doc:"What it does when it is behind by more than max_lag: lossless works on everything, in order; latest goes on with the newest fragment, and what it leaves out becomes a gap; keyframes takes only the first picture of each fragment. Empty: that of the kind, mostly lossless."`
	MaxLag      Duration `yaml:"max_lag" min:"1s" doc:"How far it may be behind before the policy applies. Default: 10s."`
	Concurrency int      `yaml:"concurrency" min:"1" max:"64" doc:"Fragments of a camera that are worked on at the same time. Default: 1."`
	Attempts    int      `yaml:"attempts" min:"1" max:"100" doc:"How often a fragment is tried before it becomes a dead letter. Default: 3."`
	Deadline    Duration `yaml:"deadline" min:"1s" doc:"How long the work on a fragment may take once the fragment is complete. Default: 60s."`
	Instances   int      `yaml:"instances" default:"1" min:"1" max:"64" doc:"Processes that framelog up starts. They share the cameras."`

	// Settings and Exec hold the settings of the kind, one of them a pointer to what
	// Kind.Settings makes.
	Settings any `yaml:"settings" doc:"Settings of the kind: see below."`
	Exec     any `yaml:"exec" doc:"The same of kind exec: see below."`

	Origin string `yaml:"-"` // file:line
	Place  string `yaml:"-"` // its key: processors[0]
}

// Own returns the settings of the kind; nil if it has none.
func (p *Processor) Own() any { return cmp.Or(p.Settings, p.Exec) }

// ownKey is the key of [Processor.Own] in the entry.
func (k Kind) ownKey() string { return cmp.Or(k.Key, "settings") }

// kind returns the kind of this name.
func (ld Loader) kind(name string) (Kind, bool) {
	i := slices.IndexFunc(ld.Kinds, func(k Kind) bool { return k.Name == name })
	if i < 0 {
		return Kind{}, false
	}
	return ld.Kinds[i], true
}

// KindOf returns the kind of the entry named Only in the file at path; "" if there is none,
// or Load would return an error for the file. Which flags a program has depends on it.
func (ld Loader) KindOf(path string) string {
	if path == "" {
		return ""
	}
	l := loader{path: path}
	body, err := l.body()
	if body == nil || err != nil {
		return ""
	}
	all, _ := pairs(body)
	for _, p := range all {
		list, ok := p.Value.(*ast.SequenceNode)
		if text(p.Key) != "processors" || !ok {
			continue
		}
		for _, e := range list.Values {
			if valueOf(e, "name") == ld.Only {
				return cmp.Or(valueOf(e, "kind"), ld.Only)
			}
		}
	}
	return ""
}

// processor reads an entry of processors. The settings come last, since the kind decides
// which there are.
func (l *loader) processor(n ast.Node, p *Processor, key string) error {
	if err := l.mapping(n, reflect.ValueOf(p).Elem(), key); err != nil {
		return err
	}
	p.Place = key
	if p.Name == "" { // validate tells it
		p.Settings, p.Exec = nil, nil
		return nil
	}
	return l.settings(p)
}

// settings reads the settings of a processor from the nodes that Settings and Exec hold.
func (l *loader) settings(p *Processor) error {
	named := "kind"
	if p.Kind == "" {
		named, p.Kind = "name", p.Name
	}
	kind, ok := l.ld.kind(p.Kind)
	if !ok {
		var known []string
		for _, k := range l.ld.Kinds {
			known = append(known, k.Name)
		}
		return &Error{
			Where: cmp.Or(l.c.origin[p.Place+"."+named], p.Origin), Key: p.Place + "." + named, What: fmt.Sprintf("there is no kind %q", p.Kind),
			Remedy: "kind is one of " + strings.Join(known, ", ") + "; a program of your own is started by itself",
		}
	}
	for _, s := range []struct {
		key  string
		into *any
	}{{"settings", &p.Settings}, {"exec", &p.Exec}} {
		node, given := (*s.into).(ast.Node)
		*s.into = nil
		key := p.Place + "." + s.key
		if s.key != kind.ownKey() || kind.Settings == nil {
			if given {
				return &Error{Where: l.c.origin[key], Key: key, What: "kind " + kind.Name + " has no such settings", Remedy: kind.remedy()}
			}
			continue
		}
		*s.into = kind.Settings()
		v := reflect.ValueOf(*s.into).Elem()
		if err := l.defaults(v); err != nil {
			return err
		}
		if given {
			if err := l.mapping(node, v, key); err != nil {
				return err
			}
		}
	}
	return nil
}

func (k Kind) remedy() string {
	if k.Settings == nil {
		return "remove them"
	}
	return "write them below " + k.ownKey()
}

// only makes the entry of the processor that the program runs, if the file has none.
func (l *loader) only() error {
	if l.ld.Only == "" || len(l.c.Processors) > 0 {
		return nil
	}
	p := Processor{Name: l.ld.Only, Kind: l.ld.OnlyKind, Place: "processors[0]"}
	if err := l.defaults(reflect.ValueOf(&p).Elem()); err != nil {
		return err
	}
	if err := l.settings(&p); err != nil {
		return err
	}
	l.c.Processors = []Processor{p}
	return nil
}

// Default returns the entry of the program's processor with its defaults.
func (ld Loader) Default() (*Processor, error) {
	l := loader{ld: ld, c: &Config{origin: map[string]string{}}}
	if err := l.only(); err != nil {
		return nil, err
	}
	return &l.c.Processors[0], nil
}

// skips reports whether the entry of another program's processor stands at n.
func (l *loader) skips(n ast.Node) bool {
	return l.ld.Only != "" && valueOf(n, "name") != l.ld.Only
}

// valueOf returns the text of a key of a mapping; "" if it has no such key.
func valueOf(n ast.Node, key string) string {
	all, _ := pairs(n)
	for _, p := range all {
		if text(p.Key) == key {
			return text(p.Value)
		}
	}
	return ""
}

// Setting is a key of a processor that one text can set: on the command line (--max-lag),
// and as a variable (FRAMELOG_PROCESSOR_MAX_LAG).
type Setting struct {
	Key   string // "max_lag"
	Own   bool   // of the kind's settings
	Bool  bool
	Doc   string // with its default and bounds
	Value string // "DURATION", what a value looks like
	field reflect.StructField
	value reflect.Value
}

// Flag is the name of the setting on the command line, without dashes.
func (s Setting) Flag() string { return flagName(s.Key) }

// EnvName is the environment variable of the setting.
func (s Setting) EnvName() string { return EnvName("processor." + s.Key) }

// notOnCommandLine are the keys of an entry that a single process has no use for.
var notOnCommandLine = []string{"name", "kind", "instances"}

// SettingsOf returns what can be set of an entry, and of the settings of its kind.
func SettingsOf(p *Processor) iter.Seq[Setting] {
	return func(yield func(Setting) bool) {
		own := reflect.ValueOf(p.Own())
		all := scalars(reflect.ValueOf(p).Elem(), "", false)
		if own.IsValid() {
			all = append(all, scalars(own.Elem(), "", true)...)
		}
		for _, s := range all {
			if (s.Own || !slices.Contains(notOnCommandLine, s.Key)) && !yield(s) {
				return
			}
		}
	}
}

// scalars are all keys below v that one text can set.
func scalars(v reflect.Value, prefix string, own bool) (out []Setting) {
	for f, fv := range fields(v) {
		k, _ := keyOf(f)
		switch {
		case isMapping(f.Type):
			out = append(out, scalars(fv, join(prefix, k), own)...)
		case oneText(f.Type):
			doc := describe(f)
			if d := f.Tag.Get("default"); d != "" {
				doc += " Default: " + d + "."
			}
			out = append(out, Setting{
				Key: join(prefix, k), Own: own, Bool: f.Type.Kind() == reflect.Bool, Doc: doc, Value: strings.ToUpper(typeName(f.Type)),
				field: f, value: fv,
			})
		}
	}
	return out
}

// processorText sets a key of the program's processor from one text.
func (l *loader) processorText(key, s, where string) error {
	p := &l.c.Processors[0]
	for have := range SettingsOf(p) {
		if have.Key != key {
			continue
		}
		full := p.Place + "." + key
		if have.Own {
			k, _ := l.ld.kind(p.Kind)
			full = p.Place + "." + k.ownKey() + "." + key
		}
		l.c.origin[full] = where
		return l.assign(have.value, have.field, s, where)
	}
	return &Error{Where: where, What: "kind " + p.Kind + " has no setting " + key}
}

// rest gives the arguments behind -- to the setting that takes them.
func (l *loader) rest() error {
	if len(l.ld.Rest) == 0 {
		return nil
	}
	p := &l.c.Processors[0]
	k, _ := l.ld.kind(p.Kind)
	if k.Rest == "" {
		return &Error{What: fmt.Sprintf("the argument %q is not expected", l.ld.Rest[0]), Remedy: "flags begin with --"}
	}
	_, v, _ := field(reflect.ValueOf(p.Own()).Elem(), k.Rest)
	v.Set(reflect.ValueOf(l.ld.Rest))
	l.c.origin[p.Place+"."+k.ownKey()+"."+k.Rest] = "the command line"
	return nil
}

// maxProcessorName leaves room for the prefix of dead letters, "dlq-", in a rendition's
// name.
const maxProcessorName = 59

func (c *Config) validateProcessors() error {
	first := make(map[string]string)
	for i := range c.Processors {
		p := &c.Processors[i]
		switch {
		case p.Name == "":
			return c.ProcessorError(p, "name", "give it one, as people", "a processor needs a name")
		case schemas.ValidateRendition(p.Name) != nil || p.Name == schemas.Raw || len(p.Name) > maxProcessorName:
			return c.ProcessorError(p, "name", fmt.Sprintf("want 1 to %d of a-z, 0-9 and -, not beginning with -, and neither raw nor index", maxProcessorName), "%q is no name", p.Name)
		case first[p.Name] != "":
			return c.ProcessorError(p, "name", "give one of them another, and write kind: "+p.Kind, "%q is the name of the processor at %s too", p.Name, first[p.Name])
		case p.Input != "" && schemas.ValidateRendition(p.Input) != nil:
			return c.ProcessorError(p, "input", "name a rendition, as 720p", "%q is no rendition", p.Input)
		}
		first[p.Name] = cmp.Or(p.Origin, "the command line")
		for j, pattern := range p.Cameras {
			if _, err := path.Match(pattern, ""); err != nil {
				c.Element(p.Place+".cameras", j)
				return c.ProcessorError(p, fmt.Sprintf("cameras[%d]", j), "write ids of cameras, * for any characters and ? for one", "%q is no pattern", pattern)
			}
		}
	}
	return nil
}

// ProcessorError returns an [Error] about a key of a processor: "policy",
// "settings.ladder[0].height", or "" for the whole.
func (c *Config) ProcessorError(p *Processor, key, remedy, format string, args ...any) error {
	full := strings.TrimSuffix(join(p.Place, key), ".")
	where := c.origin[full]
	for at := full; where == "" && at != ""; at = at[:max(0, strings.LastIndexAny(at, ".["))] {
		where = c.origin[at] // a key that is missing: the place of what lacks it
	}
	switch {
	case where == "" && p.Origin == "": // the file has no such entry
		full = key
	case where == "":
		where = p.Origin
	case !strings.HasPrefix(where, c.Path+":"): // a flag or a variable, which names the key
		full = ""
	}
	return &Error{Where: where, Key: full, What: fmt.Sprintf(format, args...), Remedy: remedy}
}

// SettingsError returns an [Error] about the settings of a processor. The text of err is
// "kind: key: what is wrong" or "key: what is wrong".
func (c *Config) SettingsError(p *Processor, err error) error {
	own := "settings"
	if p.Exec != nil {
		own = "exec"
	}
	said := strings.TrimPrefix(err.Error(), p.Kind+": ")
	if key, what, ok := strings.Cut(said, ": "); ok && !strings.ContainsAny(key, " \"") {
		return c.ProcessorError(p, own+"."+key, "", "%s", what)
	}
	return c.ProcessorError(p, own, "", "%s", said)
}

// oneText reports whether one text can set a value of this type.
func oneText(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Slice:
		return t.Elem().Kind() == reflect.String
	case reflect.Struct:
		return !isMapping(t)
	case reflect.Interface, reflect.Map:
		return false
	default:
		return true
	}
}

// isText reports whether a type reads a text itself.
func isText(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}
