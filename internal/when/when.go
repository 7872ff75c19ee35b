// Package when reads times that people write, on command lines and in requests, and compares times.
package when

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Seconds since 1970 that are taken for a time: the years 2001 to 2286. Another number is
// more likely something else, as milliseconds.
const (
	minUnix = 1_000_000_000
	maxUnix = 9_999_999_999
)

// Forms tells people which forms Parse reads.
const Forms = `RFC 3339 ("2026-01-31T08:00:00Z"), seconds since 1970 ("1769846400"), or a time before now ("-30m")`

// Parse reads a time in one of these forms.
func Parse(s string, now time.Time) (t time.Time, ok bool) {
	if ago, ok := strings.CutPrefix(s, "-"); ok {
		d, err := time.ParseDuration(ago)
		return now.Add(-d), err == nil && d >= 0
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && n >= minUnix && n <= maxUnix {
		return time.Unix(n, 0), true
	}
	t, err := time.Parse(time.RFC3339, s)
	return t, err == nil
}

// Range reads the parameters start and end of a request: the range [from, to) of public time.
// Without an end it ends now. Nothing is recorded in the future, so it never ends later.
// Errors tell people what to ask for instead.
func Range(q url.Values, now time.Time, longest time.Duration) (from, to time.Time, err error) {
	to = now
	for name, t := range map[string]*time.Time{"start": &from, "end": &to} {
		if name == "end" && !q.Has(name) {
			continue
		}
		var ok bool
		if *t, ok = Parse(q.Get(name), now); !ok {
			return from, to, fmt.Errorf("%s: %q is no time; give %s", name, q.Get(name), Forms)
		}
	}
	if to.After(now) {
		to = now
	}
	switch length := to.Sub(from); {
	case length <= 0:
		return from, to, errors.New("the range ends before it begins, or begins in the future")
	case length > longest:
		return from, to, fmt.Errorf("the range is longer than %v; ask for a shorter one, or raise egress.max_range", longest)
	}
	return from, to, nil
}

// Later returns the later one of two times.
func Later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Earlier returns the earlier one of two times.
func Earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
