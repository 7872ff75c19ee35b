package when

import (
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
