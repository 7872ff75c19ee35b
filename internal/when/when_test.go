package when

import (
	"net/url"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	now := time.Date(2026, 11, 28, 13, 0, 0, 0, time.UTC)
	for s, want := range map[string]time.Time{
		"-30m":                      now.Add(-30 * time.Minute),
		"-1h30m":                    now.Add(-90 * time.Minute),
		"2026-11-28T10:00:00Z":      now.Add(-3 * time.Hour),
		"2026-11-28T10:00:00.5Z":    now.Add(-3*time.Hour + 500*time.Millisecond),
		"2026-11-28T11:00:00+01:00": now.Add(-3 * time.Hour),
		"1795860000":                now.Add(-3 * time.Hour),
		"999999999":                 {}, "1795860000000": {}, "1795860000.5": {},
		"": {}, "30m": {}, "--30m": {}, "-": {}, "-30": {}, "2026-11-28": {}, "2026-11-28T10:00:00": {}, "now": {},
	} {
		if got, ok := Parse(s, now); ok == want.IsZero() || ok && !got.Equal(want) {
			t.Errorf("%q: %v, %v, want %v", s, got, ok, want)
		}
	}
}

// Whatever a request asks for is an error, or a range that is not empty, not too long, and not
// in the future.
func FuzzRange(f *testing.F) {
	for _, q := range []string{
		"start=-30m", "start=-30m&end=-20m", "start=-20m&end=-30m", "start=2026-11-28T10:00:00Z&end=2026-11-28T11:00:00Z", "end=-1h", "",
		"start=0001-01-01T00:00:00Z", "start=9999-12-31T23:59:59Z&end=9999-12-31T23:59:59Z", "start=-2562047h47m16.854775807s",
		"start=1000000000&end=9999999999", "start=-1h&end=2126-01-01T00:00:00Z", "start=%ff&end=-", "start=-1h&start=-2h",
	} {
		f.Add(q)
	}
	now := time.Date(2026, 11, 28, 13, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, query string) {
		q, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		from, to, err := Range(q, now, 24*time.Hour)
		if d := to.Sub(from); err == nil && (d <= 0 || d > 24*time.Hour || to.After(now)) {
			t.Errorf("%q: %v to %v", query, from, to)
		}
	})
}
