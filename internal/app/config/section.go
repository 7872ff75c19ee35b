package config

import (
	"fmt"
	"iter"
	"reflect"

	"github.com/goccy/go-yaml"
)

// Section is a mapping in the configuration that one role declares.
type Section struct {
	// Key is the name of the mapping: the keys below "ingest" are ingest's.
	Key string
	// Into points to a struct with the tags of [Config]'s fields, or to
	// [Sections], which makes a mapping of mappings (processors.motion). A
	// struct may be a [Checker].
	Into any
}

// Sections are several mappings at the same level.
type Sections []Section

// Checker is a section that checks its values once all of them are set, and
// may set defaults that depend on c. Errors: those of [Config.Errorf].
type Checker interface {
	Check(c *Config) error
}

// Get returns the section whose struct is a T; nil if the Loader did not have it.
func Get[T any](c *Config) *T {
	for into := range c.Sections.all() {
		if t, ok := into.(*T); ok {
			return t
		}
	}
	return nil
}

// all returns the structs of sections, including those of nested sections.
func (s Sections) all() iter.Seq[any] {
	return func(yield func(any) bool) {
		for _, section := range s {
			if nested, ok := section.Into.(*Sections); ok {
				for into := range nested.all() {
					if !yield(into) {
						return
					}
				}
			} else if !yield(section.Into) {
				return
			}
		}
	}
}

// fields returns the fields of a mapping that have a key, in the order of the
// reference. v is a struct, or Sections, each of which is then returned as a
// field.
func fields(v reflect.Value) iter.Seq2[reflect.StructField, reflect.Value] {
	return func(yield func(reflect.StructField, reflect.Value) bool) {
		if s, ok := v.Interface().(Sections); ok {
			for _, section := range s {
				into := reflect.ValueOf(section.Into).Elem()
				f := reflect.StructField{Name: section.Key, Type: into.Type(), Tag: reflect.StructTag(fmt.Sprintf("yaml:%q", section.Key))}
				if !yield(f, into) {
					return
				}
			}
			return
		}
		for f, fv := range v.Fields() {
			if fv.Type() == reflect.TypeFor[Sections]() {
				for sf, sv := range fields(fv) {
					if !yield(sf, sv) {
						return
					}
				}
			} else if _, ok := keyOf(f); ok {
				if !yield(f, fv) {
					return
				}
			} else if f.Anonymous { // its keys are at the same level
				for sf, sv := range fields(fv) {
					if !yield(sf, sv) {
						return
					}
				}
			}
		}
	}
}

// isMapping reports whether a field has keys of its own.
func isMapping(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && !isText(t) || t == reflect.TypeFor[Sections]()
}

// MarshalYAML writes the configuration with its sections in the form that Load
// reads.
func (c *Config) MarshalYAML() (any, error) { return mapSlice(reflect.ValueOf(c).Elem()), nil }

// mapSlice returns a mapping for the YAML encoder. It leaves out values that are zero
// and have no default: without them the loader gives the same.
func mapSlice(v reflect.Value) yaml.MapSlice {
	var out yaml.MapSlice
	for f, fv := range fields(v) {
		if key, _ := keyOf(f); !fv.IsZero() || f.Tag.Get("default") != "" || isMapping(f.Type) {
			out = append(out, yaml.MapItem{Key: key, Value: encoded(fv)})
		}
	}
	return out
}

// encoded returns a value for the YAML encoder.
func encoded(v reflect.Value) any {
	switch {
	case v.Kind() == reflect.Interface:
		return mapSlice(v.Elem().Elem()) // a pointer to a struct
	case isMapping(v.Type()):
		return mapSlice(v)
	case v.Kind() == reflect.Slice && isMapping(v.Type().Elem()):
		out := make([]any, v.Len())
		for i := range out {
			out[i] = mapSlice(v.Index(i))
		}
		return out
	case v.Kind() == reflect.Map:
		out := make(map[string]any, v.Len()) // the encoder sorts it
		for k, e := range v.Seq2() {
			out[k.String()] = encoded(e)
		}
		return out
	}
	return v.Interface()
}
