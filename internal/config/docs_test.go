package config

import (
	"fmt"
	"reflect"
	"strings"
)

// Reference is the table of all keys, in Markdown: docs/configuration.md holds
// it between two marks.
func Reference() string {
	var b strings.Builder
	b.WriteString("| key | type | default | meaning |\n|---|---|---|---|\n")
	rows(&b, reflect.TypeFor[Config](), "")
	return b.String()
}

func rows(b *strings.Builder, t reflect.Type, prefix string) {
	for f := range t.Fields() {
		k, ok := keyOf(f)
		if !ok {
			continue
		}
		key := join(prefix, k)
		if f.Type.Kind() == reflect.Struct {
			rows(b, f.Type, key)
			continue
		}
		of := f.Type
		list := of.Kind() == reflect.Slice && of.Elem().Kind() == reflect.Struct
		def := "`" + f.Tag.Get("default") + "`"
		if def == "``" {
			def = "empty"
		}
		if _, ok := f.Tag.Lookup("default"); !ok && !list {
			def = ""
		}
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
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", key, typeName(of), def, doc)
		if list {
			rows(b, of.Elem(), key+"[]")
		}
	}
}

func typeName(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[Size]():
		return "size"
	case reflect.TypeFor[Duration]():
		return "duration"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true/false"
	case reflect.Int:
		return "number"
	case reflect.Slice:
		return "list"
	default:
		return "text"
	}
}
