package config

import (
	"maps"
	"reflect"
	"slices"
	"strings"
)

// keyOf returns the key of a struct's field; false if it has none.
func keyOf(f reflect.StructField) (string, bool) {
	k := f.Tag.Get("yaml")
	return k, k != "" && k != "-"
}

// EnvName returns the environment variable of a key: FRAMELOG_EGRESS_MODE for
// egress.mode.
func EnvName(key string) string {
	return "FRAMELOG_" + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

// flagName is the name of a key on the command line, without dashes.
func flagName(key string) string { return strings.NewReplacer("_", "-", ".", "-").Replace(key) }

// wasKey reports whether a field's key was called old in an earlier version: the tag was
// has its old names, separated by commas.
func wasKey(f reflect.StructField, old string) bool {
	was := f.Tag.Get("was")
	return was != "" && slices.Contains(strings.Split(was, ","), old)
}

// field returns the field of a mapping with this key, or with this old key.
func field(v reflect.Value, key string) (reflect.StructField, reflect.Value, bool) {
	if isMapping(v.Type()) {
		for f, fv := range fields(v) {
			if k, _ := keyOf(f); k == key || wasKey(f, key) {
				return f, fv, true
			}
		}
	}
	return reflect.StructField{}, reflect.Value{}, false
}

// keys are the keys of a mapping.
func keys(v reflect.Value) (out []string) {
	for f := range fields(v) {
		k, _ := keyOf(f)
		out = append(out, k)
	}
	return out
}

// leaves are all keys below v that one string can set.
func leaves(v reflect.Value, prefix string) (out []string) {
	for f, fv := range fields(v) {
		k, _ := keyOf(f)
		switch {
		case isMapping(f.Type):
			out = append(out, leaves(fv, join(prefix, k))...)
		case oneText(f.Type):
			out = append(out, join(prefix, k))
		}
	}
	return out
}

// oldNames returns the keys of today by their old names, of all keys below v that one
// string can set.
func oldNames(v reflect.Value, prefix string) map[string]string {
	out := make(map[string]string)
	for f, fv := range fields(v) {
		k, _ := keyOf(f)
		was := f.Tag.Get("was")
		switch {
		case isMapping(f.Type):
			maps.Copy(out, oldNames(fv, join(prefix, k)))
		case oneText(f.Type) && was != "":
			for old := range strings.SplitSeq(was, ",") {
				out[join(prefix, old)] = join(prefix, k)
			}
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

// suggest names the known key that is closest to name, or all of them.
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

// distance is the Levenshtein distance: how many letters differ.
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
