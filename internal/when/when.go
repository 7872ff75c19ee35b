// Package when reads times that people write: on command lines and in requests.
package when

import (
	"strings"
	"time"
)

// Parse reads RFC 3339 ("2026-01-31T08:00:00Z"), or a duration before now ("-30m").
func Parse(s string, now time.Time) (t time.Time, ok bool) {
	if ago, ok := strings.CutPrefix(s, "-"); ok {
		d, err := time.ParseDuration(ago)
		return now.Add(-d), err == nil && d >= 0
	}
	t, err := time.Parse(time.RFC3339, s)
	return t, err == nil
}
