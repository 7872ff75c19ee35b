package config

import (
	"encoding"
	"errors"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// show quotes a wrong value for an error. It returns "" if the value could hold
// a password.
func show(key, s string) string {
	if strings.HasSuffix(key, ".url") || len(s) > 60 {
		return ""
	}
	return strconv.Quote(s) + ": "
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
		sign float64
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

// parse reads s into a scalar. number is its value, for bounds.
func parse(v reflect.Value, s string) (number float64, err error) {
	switch into := v.Addr().Interface().(type) {
	case *Size:
		*into, err = ParseSize(s)
		return float64(*into), err
	case *Duration, *time.Duration:
		d, err := time.ParseDuration(s)
		if err != nil || d < 0 {
			return 0, errors.New("no duration")
		}
		v.SetInt(int64(d))
		return float64(d), nil
	case encoding.TextUnmarshaler:
		if err := into.UnmarshalText([]byte(s)); err != nil {
			return 0, err
		}
		switch {
		case v.CanInt():
			return float64(v.Int()), nil
		case v.CanFloat():
			return v.Float(), nil
		}
		return 0, nil
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
		return float64(n), nil
	case reflect.Float64:
		x, err := strconv.ParseFloat(s, 64)
		if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
			return 0, errors.New("wrong type")
		}
		v.SetFloat(x)
		return x, nil
	default:
		return 0, errors.New("wrong type")
	}
	return 0, nil
}

// wanted describes in words which values a field takes; "" if its type has said it.
func wanted(v reflect.Value, f reflect.StructField) string {
	var s string
	switch v.Interface().(type) {
	case Size:
		s = "a size such as 512MiB or 1GiB"
	case Duration, time.Duration:
		s = "a duration such as 200ms, 30s or 24h"
	default:
		switch k := v.Kind(); {
		case isText(v.Type()): // its own error says it
		case k == reflect.Bool:
			s = "true or false"
		case k == reflect.Int:
			s = "a whole number"
		case k == reflect.Float64:
			s = "a number"
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
	return strings.TrimPrefix(s, ", ")
}
