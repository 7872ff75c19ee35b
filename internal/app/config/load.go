package config

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Loader reads the configuration of a program.
type Loader struct {
	// Sections are the sections of the program's roles. Load fills the structs
	// that they point to, so call it once.
	Sections Sections
	// OwnEnv are prefixes of FRAMELOG_* variables that the program reads by
	// itself, as "FRAMELOG_PROCESSOR_". Other variables that are no key are
	// errors, except FRAMELOG_SECRET_* and FRAMELOG_TEST_*.
	OwnEnv []string
	// Kinds are the kinds of processors.
	Kinds []Kind
	// Report gets each unknown key and variable, and each that is set under its old name
	// (old). Load then goes on: without the unknown ones, and with the values of old names.
	// nil: an unknown one is an error of Load, an old name is none.
	Report func(e *Error, old bool)

	// The fields below are for a program that is one processor.

	// Only is the processor's name: the entries of others in processors are not read. If
	// the file has none of this name, an entry is made, of the kind OnlyKind. The program
	// has the variables and flags of [SettingsOf]; such a flag is "processor." and its key.
	Only, OnlyKind string
	// Rest are the arguments behind -- on the command line.
	Rest []string
	// Skip are keys of the file that other programs read. Their values, and variables
	// that belong to them, are not looked at.
	Skip []string
}

// Load reads path (empty: no file), then the environment as os.Environ gives
// it, then flags, by key ("listen", "egress.mode"). Every error is an *Error.
func (ld Loader) Load(path string, environ []string, flags map[string]string) (*Config, error) {
	c := &Config{Path: path, Sections: ld.Sections, origin: make(map[string]string)}
	l := loader{ld: ld, c: c, path: path, ownEnv: append([]string{"FRAMELOG_SECRET_", "FRAMELOG_TEST_"}, ld.OwnEnv...)}
	if err := l.defaults(reflect.ValueOf(c).Elem()); err != nil {
		return nil, err
	}
	if path != "" {
		if err := l.file(); err != nil {
			return nil, err
		}
	}
	if err := l.only(); err != nil {
		return nil, err
	}
	if err := l.environ(environ); err != nil {
		return nil, err
	}
	keys := make([]string, 0, len(flags))
	for k := range flags {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		if err := l.flag(k, flags[k]); err != nil {
			return nil, err
		}
	}
	if err := l.rest(); err != nil {
		return nil, err
	}
	if err := c.validate(); err != nil {
		return nil, err
	}
	for into := range c.Sections.all() {
		if s, ok := into.(Checker); ok {
			if err := s.Check(c); err != nil {
				return nil, err
			}
		}
	}
	return c, nil
}

// processorPrefix stands before the keys of the program's processor among the flags.
const processorPrefix = "processor."

// flag sets what a flag says.
func (l *loader) flag(key, s string) error {
	own, ofProcessor := strings.CutPrefix(key, processorPrefix)
	where := "--" + flagName(own)
	if ofProcessor {
		return l.processorText(own, s, where)
	}
	return l.setText(key, s, where)
}

type loader struct {
	ld     Loader
	c      *Config
	path   string
	ownEnv []string
}

// defaults sets each field of v to its default.
func (l *loader) defaults(v reflect.Value) error {
	for f, fv := range fields(v) {
		switch {
		case isMapping(f.Type):
			if err := l.defaults(fv); err != nil {
				return err
			}
		case f.Tag.Get("default") != "":
			if err := l.assign(fv, f, f.Tag.Get("default"), "the default of "+f.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

// file reads the YAML.
func (l *loader) file() error {
	body, err := l.body()
	if body == nil || err != nil {
		return err // without a body the file is empty or has comments alone
	}
	return l.mapping(body, reflect.ValueOf(l.c).Elem(), "")
}

// body parses the YAML.
func (l *loader) body() (ast.Node, error) {
	b, err := os.ReadFile(l.path)
	if err != nil {
		var pe *os.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return nil, &Error{Where: l.path, What: fmt.Sprintf("cannot be read: %v", err), Remedy: "name a file that can, such as a copy of framelog.example.yaml"}
	}
	doc, err := parser.ParseBytes(b, 0)
	if err != nil {
		e := &Error{Where: l.path, What: "not YAML", Remedy: "see framelog.example.yaml"}
		var se *yaml.SyntaxError
		if errors.As(err, &se) {
			e.What = "not YAML: " + se.Message
			e.Where = l.at(se.Token)
		}
		return nil, e
	}
	var body ast.Node
	for _, d := range doc.Docs {
		if d.Body == nil {
			continue
		}
		if _, ok := d.Body.(*ast.CommentGroupNode); ok {
			continue
		}
		if body != nil {
			return nil, &Error{Where: l.at(d.Body.GetToken()), What: "a second document", Remedy: "keep one in a file"}
		}
		body = d.Body
	}
	return body, nil
}

func (l *loader) at(t *token.Token) string {
	if t == nil || t.Position == nil {
		return l.path
	}
	return l.path + ":" + strconv.Itoa(t.Position.Line)
}

// mapping reads a YAML mapping into a struct or sections.
func (l *loader) mapping(n ast.Node, v reflect.Value, prefix string) error {
	all, ok := pairs(n)
	if !ok {
		what := "keys are wanted here"
		remedy := "write `key: value` lines"
		if prefix == "" {
			remedy += "; see framelog.example.yaml"
		}
		return &Error{Where: l.at(n.GetToken()), Key: prefix, What: what, Remedy: remedy}
	}
	seen := make(map[string]bool)
	for _, p := range all {
		name := text(p.Key)
		if prefix == "" && slices.Contains(l.ld.Skip, name) {
			continue
		}
		key := join(prefix, name)
		where := l.at(p.Key.GetToken())
		f, fv, ok := field(v, name)
		if !ok {
			if err := l.unknown(&Error{Where: where, Key: key, What: "unknown key", Remedy: suggest(name, keys(v))}); err != nil {
				return err
			}
			continue
		}
		if now, _ := keyOf(f); now != name {
			l.renamed(where, key, join(prefix, now))
			name, key = now, join(prefix, now)
		}
		if seen[name] {
			return &Error{Where: where, Key: key, What: "stands here twice", Remedy: "remove one"}
		}
		seen[name] = true
		l.c.origin[key] = where
		if err := l.value(p.Value, f, fv, key); err != nil {
			return err
		}
	}
	return nil
}

// unknown reports what the configuration does not have. It returns an error if nobody
// takes the report.
func (l *loader) unknown(e *Error) error {
	if l.ld.Report == nil {
		return e
	}
	l.ld.Report(e, false)
	return nil
}

// renamed reports that the key old is set, which is called now today.
func (l *loader) renamed(where, old, now string) {
	if l.ld.Report != nil {
		l.ld.Report(&Error{Where: where, Key: old, What: "the old name of " + now, Remedy: "write " + now + "; the old name is read for one more version"}, true)
	}
}

// pairs returns the keys and values of a YAML mapping; false if n is none.
func pairs(n ast.Node) ([]*ast.MappingValueNode, bool) {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, true
	case *ast.NullNode:
		return nil, true
	}
	return nil, false
}

// value reads one value into a field.
func (l *loader) value(n ast.Node, f reflect.StructField, v reflect.Value, key string) error {
	where := l.at(n.GetToken())
	if isMapping(v.Type()) {
		return l.mapping(n, v, key)
	}
	switch v.Kind() { //nolint:exhaustive // scalars follow
	case reflect.Slice:
		return l.list(n, v, f, key)
	case reflect.Map:
		return l.named(n, v, f, key)
	case reflect.Interface: // settings of a processor, which are read later
		if _, null := n.(*ast.NullNode); !null {
			v.Set(reflect.ValueOf(n))
		}
		return nil
	}
	switch s := n.(type) { // a scalar
	case *ast.NullNode:
		return nil // the same as a missing key
	case *ast.StringNode, *ast.LiteralNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		if _, quoted := s.(*ast.StringNode); quoted && !isText(v.Type()) && (v.Kind() == reflect.Int || v.Kind() == reflect.Bool) {
			return l.wrong(where, key, v, text(n))
		}
		if err := set(v, f, text(n)); err != nil {
			return l.wrongBecause(where, key, v, f, text(n), err)
		}
		return nil
	default:
		return &Error{Where: where, Key: key, What: "wrong type", Remedy: "want " + wanted(v, f)}
	}
}

// list reads a YAML list into a slice.
func (l *loader) list(n ast.Node, v reflect.Value, f reflect.StructField, key string) error {
	if _, ok := n.(*ast.NullNode); ok {
		return nil
	}
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		return &Error{Where: l.at(n.GetToken()), Key: key, What: "a list is wanted", Remedy: "write each entry as a line that begins with `- `, or [] for none"}
	}
	v.Set(reflect.MakeSlice(v.Type(), 0, len(seq.Values)))
	for i, e := range seq.Values {
		if v.Type().Elem() == reflect.TypeFor[Processor]() && l.skips(e) {
			continue
		}
		k := fmt.Sprintf("%s[%d]", key, i)
		at := l.at(e.GetToken())
		if all, ok := pairs(e); ok && len(all) > 0 {
			at = l.at(all[0].Key.GetToken())
		}
		l.c.origin[k] = at
		elem := reflect.New(v.Type().Elem()).Elem()
		switch into := elem.Addr().Interface().(type) {
		case *Processor:
			into.Origin = at
		case *Camera:
			into.Origin = at
		}
		if err := l.element(e, f, elem, k); err != nil {
			return err
		}
		v.Set(reflect.Append(v, elem))
	}
	return nil
}

// named reads a YAML mapping of any keys into a map.
func (l *loader) named(n ast.Node, v reflect.Value, f reflect.StructField, key string) error {
	all, ok := pairs(n)
	if !ok {
		return &Error{Where: l.at(n.GetToken()), Key: key, What: "names are wanted here", Remedy: "write `name: value` lines"}
	}
	v.Set(reflect.MakeMap(v.Type()))
	for _, p := range all {
		name := reflect.ValueOf(text(p.Key))
		k := join(key, name.String())
		l.c.origin[k] = l.at(p.Key.GetToken())
		if v.MapIndex(name).IsValid() {
			return &Error{Where: l.c.origin[k], Key: k, What: "stands here twice", Remedy: "remove one"}
		}
		elem := reflect.New(v.Type().Elem()).Elem()
		if err := l.element(p.Value, f, elem, k); err != nil {
			return err
		}
		v.SetMapIndex(name, elem)
	}
	return nil
}

// element reads an element of a list or map, which begins with its defaults.
func (l *loader) element(n ast.Node, f reflect.StructField, v reflect.Value, key string) error {
	if isMapping(v.Type()) {
		if err := l.defaults(v); err != nil {
			return err
		}
	}
	if p, ok := v.Addr().Interface().(*Processor); ok {
		return l.processor(n, p, key)
	}
	return l.value(n, f, v, key)
}

func (l *loader) wrong(where, key string, v reflect.Value, s string) error {
	return &Error{Where: where, Key: key, What: show(key, s) + "wrong type", Remedy: "want " + wanted(v, reflect.StructField{})}
}

func (l *loader) wrongBecause(where, key string, v reflect.Value, f reflect.StructField, s string, err error) error {
	e := &Error{Where: where, Key: key, What: err.Error()}
	if !isText(v.Type()) || !strings.Contains(e.What, s) {
		e.What = show(key, s) + e.What
	}
	if w := wanted(v, f); w != "" {
		e.Remedy = "want " + w
	}
	return e
}

// environ reads the variables.
func (l *loader) environ(env []string) error {
	known := make(map[string]string)
	for _, k := range leaves(reflect.ValueOf(l.c).Elem(), "") {
		known[EnvName(k)] = k
	}
	old := make(map[string]string) // by variable with an old name, the new key
	for was, now := range oldNames(reflect.ValueOf(l.c).Elem(), "") {
		old[EnvName(was)] = now
	}
	own := make(map[string]string) // of the program's processor
	if l.ld.Only != "" {
		for s := range SettingsOf(&l.c.Processors[0]) {
			own[s.EnvName()] = s.Key
		}
	}
	slices.Sort(env)
	for _, e := range env {
		name, value, _ := strings.Cut(e, "=")
		outside := slices.ContainsFunc(l.ownEnv, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
		if outside || !strings.HasPrefix(name, "FRAMELOG_") || name == "FRAMELOG_CONFIG" {
			continue
		}
		if l.ld.Only != "" {
			if key, ok := own[name]; ok {
				if err := l.processorText(key, value, name); err != nil {
					return err
				}
				continue
			}
			if slices.ContainsFunc(l.ld.Skip, func(key string) bool { return strings.HasPrefix(name, EnvName(key)+"_") }) {
				continue
			}
		}
		key, ok := known[name]
		if now, was := old[name]; was && !ok {
			l.renamed(name, "", EnvName(now))
			key, ok = now, true
		}
		if !ok {
			all := slices.Concat(slices.Collect(maps.Keys(known)), slices.Collect(maps.Keys(own)))
			if err := l.unknown(&Error{Where: name, What: "unknown environment variable", Remedy: suggest(name, all)}); err != nil {
				return err
			}
			continue
		}
		if err := l.setText(key, value, name); err != nil {
			return err
		}
	}
	return nil
}

// setText sets a key that is no list of cameras from one string.
func (l *loader) setText(key, s, where string) error {
	v := reflect.ValueOf(l.c).Elem()
	var f reflect.StructField
	for name := range strings.SplitSeq(key, ".") {
		var ok bool
		if f, v, ok = field(v, name); !ok {
			return &Error{Where: where, Key: key, What: "unknown key"}
		}
	}
	l.c.origin[key] = where
	return l.assign(v, f, s, where)
}

// assign sets a value from one text. The entries of a list are separated by commas.
func (l *loader) assign(v reflect.Value, f reflect.StructField, s, where string) error {
	if v.Kind() == reflect.Slice {
		v.Set(reflect.Zero(v.Type()))
		for e := range strings.SplitSeq(s, ",") {
			if e = strings.TrimSpace(e); e != "" {
				v.Set(reflect.Append(v, reflect.ValueOf(e)))
			}
		}
		return nil
	}
	if err := set(v, f, s); err != nil {
		return l.wrongBecause(where, "", v, f, s, err)
	}
	return nil
}

func text(n ast.Node) string {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value
	case *ast.LiteralNode:
		return n.Value.Value
	case *ast.MappingKeyNode:
		return text(n.Value)
	}
	if t := n.GetToken(); t != nil {
		return t.Value
	}
	return ""
}
