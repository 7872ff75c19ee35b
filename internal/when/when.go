// Package when reads times that people write: on command lines and in requests.
package when

import (
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
