package config

import (
	"fmt"
	"reflect"
	"strings"
	"time"
)

// Reference returns the table of all keys in Markdown, with the keys of
// sections, for docs/configuration.md.
func (c *Config) Reference() string {
	var b strings.Builder
	b.WriteString("| key | type | default | meaning |\n|---|---|---|---|\n")
	rows(&b, reflect.ValueOf(c).Elem(), "")
	return b.String()
}

func rows(b *strings.Builder, v reflect.Value, prefix string) {
	for f, fv := range fields(v) {
		k, _ := keyOf(f)
		key := join(prefix, k)
		if isMapping(f.Type) {
			rows(b, fv, key)
			continue
		}
		of := f.Type
		list := of.Kind() == reflect.Slice && isMapping(of.Elem())
		def := "`" + f.Tag.Get("default") + "`"
		if def == "``" {
			def = "empty"
		}
		if _, ok := f.Tag.Lookup("default"); !ok && !list {
			def = ""
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", key, typeName(of), def, describe(f))
		switch {
		case list:
			rows(b, reflect.Zero(of.Elem()), key+"[]")
		case of.Kind() == reflect.Map && isMapping(of.Elem()):
			rows(b, reflect.Zero(of.Elem()), key+".<name>")
		}
	}
}

// describe returns the meaning of a field with the values that it takes.
func describe(f reflect.StructField) string {
	doc := f.Tag.Get("doc")
	if set := strings.TrimPrefix(f.Tag.Get("oneof"), ","); set != "" {
		doc += " One of `" + strings.ReplaceAll(set, ",", "`, `") + "`."
	}
	lo, hi := f.Tag.Get("min"), f.Tag.Get("max")
	switch {
	case lo != "" && hi != "":
		doc += fmt.Sprintf(" From %s to %s.", lo, hi)
	case lo != "":
		doc += fmt.Sprintf(" At least %s.", lo)
	case hi != "":
		doc += fmt.Sprintf(" At most %s.", hi)
	}
	return doc
}

// KindReference returns the table of a kind's settings in Markdown; "" if it has none.
func KindReference(k Kind) string {
	if k.Settings == nil {
		return ""
	}
	var b strings.Builder
	b.WriteString("| key | type | default | meaning |\n|---|---|---|---|\n")
	rows(&b, reflect.ValueOf(k.Settings()).Elem(), "")
	return b.String()
}

func typeName(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[Size]():
		return "size"
	case reflect.TypeFor[Duration](), reflect.TypeFor[time.Duration]():
		return "duration"
	}
	if isText(t) {
		return "text"
	}
	switch t.Kind() {
	case reflect.Interface, reflect.Map:
		return "keys"
	case reflect.Bool:
		return "true/false"
	case reflect.Int, reflect.Float64:
		return "number"
	case reflect.Slice:
		return "list"
	default:
		return "text"
	}
}
