package config

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Load reads path (empty: no file), then the environment as os.Environ gives
// it, then flags, by key ("listen", "egress.mode"). Every error is an *Error.
func Load(path string, environ []string, flags map[string]string) (*Config, error) {
	c := &Config{Path: path, origin: make(map[string]string)}
	l := loader{c: c, path: path}
	if err := l.defaults(reflect.ValueOf(c).Elem()); err != nil {
		return nil, err
	}
	if path != "" {
		if err := l.file(); err != nil {
			return nil, err
		}
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
		if err := l.setText(k, flags[k], "--"+strings.ReplaceAll(k, "_", "-")); err != nil {
			return nil, err
		}
	}
	return c, c.validate()
}

type loader struct {
	c    *Config
	path string
}

// defaults sets each field of v to its default.
func (l *loader) defaults(v reflect.Value) error {
	for f, fv := range v.Fields() {
		if _, ok := keyOf(f); !ok {
			continue
		}
		switch {
		case fv.Kind() == reflect.Struct:
			if err := l.defaults(fv); err != nil {
				return err
			}
		case f.Tag.Get("default") != "":
			if err := set(fv, f, f.Tag.Get("default")); err != nil {
				return fmt.Errorf("config: default of %s: %w", f.Name, err)
			}
		}
	}
	return nil
}

func keyOf(f reflect.StructField) (string, bool) {
	k := f.Tag.Get("yaml")
	return k, k != "" && k != "-"
}

// file reads the YAML.
func (l *loader) file() error {
	b, err := os.ReadFile(l.path)
	if err != nil {
		var pe *os.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return &Error{Where: l.path, What: fmt.Sprintf("cannot be read: %v", err), Remedy: "name a file with --config, or copy framelog.example.yaml"}
	}
	doc, err := parser.ParseBytes(b, 0)
	if err != nil {
		e := &Error{Where: l.path, What: "not YAML", Remedy: "see framelog.example.yaml"}
		var se *yaml.SyntaxError
		if errors.As(err, &se) {
			e.What = "not YAML: " + se.Message
			e.Where = l.at(se.Token)
		}
		return e
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
			return &Error{Where: l.at(d.Body.GetToken()), What: "a second document", Remedy: "keep one in a file"}
		}
		body = d.Body
	}
	if body == nil {
		return nil // empty, or comments alone
	}
	return l.mapping(body, reflect.ValueOf(l.c).Elem(), "")
}

func (l *loader) at(t *token.Token) string {
	if t == nil || t.Position == nil {
		return l.path
	}
	return l.path + ":" + strconv.Itoa(t.Position.Line)
}

// mapping reads a mapping into a struct.
func (l *loader) mapping(n ast.Node, v reflect.Value, prefix string) error {
	var pairs []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.MappingNode:
		pairs = n.Values
	case *ast.MappingValueNode:
		pairs = []*ast.MappingValueNode{n}
	case *ast.NullNode:
		return nil
	default:
		what := "keys are wanted here"
		remedy := "write `key: value` lines"
		if prefix == "" {
			remedy += "; see framelog.example.yaml"
		}
		return &Error{Where: l.at(n.GetToken()), Key: prefix, What: what, Remedy: remedy}
	}
	seen := make(map[string]bool)
	for _, p := range pairs {
		name := text(p.Key)
		key := join(prefix, name)
		where := l.at(p.Key.GetToken())
		f, fv, ok := field(v, name)
		if !ok {
			return &Error{Where: where, Key: key, What: "unknown key", Remedy: suggest(name, keys(v.Type()))}
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

// value reads one value into a field.
func (l *loader) value(n ast.Node, f reflect.StructField, v reflect.Value, key string) error {
	where := l.at(n.GetToken())
	switch v.Kind() {
	case reflect.Struct:
		return l.mapping(n, v, key)
	case reflect.Slice:
		if _, ok := n.(*ast.NullNode); ok {
			return nil
		}
		seq, ok := n.(*ast.SequenceNode)
		if !ok {
			return &Error{Where: where, Key: key, What: "a list is wanted", Remedy: "write each entry as a line that begins with `- `, or [] for none"}
		}
		v.Set(reflect.MakeSlice(v.Type(), len(seq.Values), len(seq.Values)))
		for i, e := range seq.Values {
			k := fmt.Sprintf("%s[%d]", key, i)
			l.c.origin[k] = l.at(e.GetToken())
			if m, ok := e.(*ast.MappingNode); ok && len(m.Values) > 0 {
				l.c.origin[k] = l.at(m.Values[0].Key.GetToken())
			}
			if cam, ok := v.Index(i).Addr().Interface().(*Camera); ok {
				cam.Origin = l.c.origin[k]
				if mv, ok := e.(*ast.MappingValueNode); ok {
					cam.Origin = l.at(mv.Key.GetToken())
				}
			}
			if err := l.value(e, f, v.Index(i), k); err != nil {
				return err
			}
		}
		return nil
	}
	switch s := n.(type) {
	case *ast.NullNode:
		return nil // as if the key were not there
	case *ast.StringNode, *ast.LiteralNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		if _, quoted := s.(*ast.StringNode); quoted && (v.Kind() == reflect.Int || v.Kind() == reflect.Bool) {
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

func (l *loader) wrong(where, key string, v reflect.Value, s string) error {
	return &Error{Where: where, Key: key, What: show(key, s) + "wrong type", Remedy: "want " + wanted(v, reflect.StructField{})}
}

func (l *loader) wrongBecause(where, key string, v reflect.Value, f reflect.StructField, s string, err error) error {
	return &Error{Where: where, Key: key, What: show(key, s) + err.Error(), Remedy: "want " + wanted(v, f)}
}

// show repeats a wrong value, unless it could hold a password.
func show(key, s string) string {
	if strings.HasSuffix(key, ".url") || len(s) > 60 {
		return ""
	}
	return strconv.Quote(s) + ": "
}

// environ reads the variables.
func (l *loader) environ(env []string) error {
	known := make(map[string]string)
	for _, k := range leaves(reflect.TypeFor[Config](), "") {
		known[EnvName(k)] = k
	}
	slices.Sort(env)
	for _, e := range env {
		name, value, _ := strings.Cut(e, "=")
		if !strings.HasPrefix(name, "FRAMELOG_") || strings.HasPrefix(name, "FRAMELOG_SECRET_") || strings.HasPrefix(name, "FRAMELOG_TEST_") || name == "FRAMELOG_CONFIG" {
			continue
		}
		key, ok := known[name]
		if !ok {
			all := make([]string, 0, len(known))
			for n := range known {
				all = append(all, n)
			}
			return &Error{Where: name, What: "unknown environment variable", Remedy: suggest(name, all)}
		}
		if err := l.setText(key, value, name); err != nil {
			return err
		}
	}
	return nil
}

// EnvName is the environment variable of a key: FRAMELOG_EGRESS_MODE of
// egress.mode.
func EnvName(key string) string {
	return "FRAMELOG_" + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
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

// set reads s into a scalar and checks it against the field's bounds.
func set(v reflect.Value, f reflect.StructField, s string) error {
	number, err := parse(v, s)
	if err != nil {
		return err
	}
	if set := f.Tag.Get("oneof"); set != "" && !slices.Contains(strings.Split(set, ","), s) {
		return errors.New("no such value")
	}
	for _, b := range []struct {
		tag  string
		sign int64
		word string
	}{{"min", 1, "too small"}, {"max", -1, "too large"}} {
		if f.Tag.Get(b.tag) == "" || v.Kind() == reflect.Slice {
			continue
		}
		limit, err := parse(reflect.New(v.Type()).Elem(), f.Tag.Get(b.tag))
		if err != nil {
			return err
		}
		if (number-limit)*b.sign < 0 {
			return errors.New(b.word)
		}
	}
	return nil
}

func parse(v reflect.Value, s string) (number int64, err error) {
	switch v.Interface().(type) {
	case Size:
		n, err := ParseSize(s)
		v.SetInt(int64(n))
		return int64(n), err
	case Duration:
		d, err := time.ParseDuration(s)
		if err != nil || d < 0 {
			return 0, errors.New("no duration")
		}
		v.SetInt(int64(d))
		return int64(d), nil
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(s)
	case reflect.Bool:
		b, err := strconv.ParseBool(s)
		if err != nil {
			return 0, errors.New("wrong type")
		}
		v.SetBool(b)
	case reflect.Int:
		n, err := strconv.ParseInt(s, 10, 32)
		if err != nil {
			return 0, errors.New("wrong type")
		}
		v.SetInt(n)
		return n, nil
	default:
		return 0, errors.New("wrong type")
	}
	return 0, nil
}

// wanted says in words what a field takes.
func wanted(v reflect.Value, f reflect.StructField) string {
	var s string
	switch v.Interface().(type) {
	case Size:
		s = "a size such as 512MiB or 1GiB"
	case Duration:
		s = "a duration such as 200ms, 30s or 24h"
	default:
		switch v.Kind() {
		case reflect.Bool:
			s = "true or false"
		case reflect.Int:
			s = "a whole number"
		default:
			s = "text"
		}
	}
	if set := f.Tag.Get("oneof"); set != "" {
		s = strings.ReplaceAll(strings.TrimPrefix(set, ","), ",", " or ")
	}
	if lo := f.Tag.Get("min"); lo != "" {
		s += ", at least " + lo
	}
	if hi := f.Tag.Get("max"); hi != "" {
		s += ", at most " + hi
	}
	return s
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

func field(v reflect.Value, name string) (reflect.StructField, reflect.Value, bool) {
	if v.Kind() == reflect.Struct {
		for f, fv := range v.Fields() {
			if k, ok := keyOf(f); ok && k == name {
				return f, fv, true
			}
		}
	}
	return reflect.StructField{}, reflect.Value{}, false
}

func keys(t reflect.Type) (out []string) {
	for f := range t.Fields() {
		if k, ok := keyOf(f); ok {
			out = append(out, k)
		}
	}
	return out
}

// leaves is every key that one string can set.
func leaves(t reflect.Type, prefix string) (out []string) {
	for f := range t.Fields() {
		k, ok := keyOf(f)
		switch {
		case !ok:
		case f.Type.Kind() == reflect.Struct:
			out = append(out, leaves(f.Type, join(prefix, k))...)
		case f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() != reflect.String:
		default:
			out = append(out, join(prefix, k))
		}
	}
	return out
}

func join(prefix, key string) string {
	if prefix == "" {
		return key
	}
	return prefix + "." + key
}

// suggest names the key that was meant, or all of them.
func suggest(name string, known []string) string {
	slices.Sort(known)
	best, at := "", 4
	for _, k := range known {
		if d := distance(strings.ToLower(name), strings.ToLower(k)); d < at && d < len(k) {
			best, at = k, d
		}
	}
	if best != "" {
		return "did you mean " + best + "?"
	}
	if len(known) > 14 {
		return "see docs/configuration.md"
	}
	return "known are " + strings.Join(known, ", ")
}

// distance is the number of letters to change (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diag := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diag
			if a[i] != b[j] {
				cost++
			}
			diag = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
