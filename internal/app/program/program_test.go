package program

import (
	"testing"
	"time"

	"github.com/framelog/framelog/internal/app/config"
)

func TestParseTime(t *testing.T) {
	now := time.Date(2026, 11, 28, 13, 0, 0, 0, time.UTC)
	for s, want := range map[string]time.Time{
		"-30m":                      now.Add(-30 * time.Minute),
		"-1h30m":                    now.Add(-90 * time.Minute),
		"2026-11-28T10:00:00Z":      now.Add(-3 * time.Hour),
		"2026-11-28T10:00:00.5Z":    now.Add(-3*time.Hour + 500*time.Millisecond),
		"2026-11-28T11:00:00+01:00": now.Add(-3 * time.Hour),
		"":                          {}, "30m": {}, "--30m": {}, "-": {}, "-30": {}, "2026-11-28": {}, "2026-11-28T10:00:00": {}, "now": {},
	} {
		got, err := ParseTime("--from", s, now)
		if want.IsZero() != config.IsError(err) || !got.Equal(want) {
			t.Errorf("%q: %v, %v, want %v", s, got, err, want)
		}
	}
}

func TestFind(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string
	}{
		{nil, ""},
		{[]string{"exec", "--config", "a.yaml"}, "a.yaml"},
		{[]string{"-c", "a.yaml", "--x"}, "a.yaml"},
		{[]string{"--config=a.yaml"}, "a.yaml"},
		{[]string{"--config=a.yaml", "-c=b.yaml"}, "b.yaml"}, // the last one holds, as in package flag
		{[]string{"--config"}, ""},
		{[]string{"--", "--config", "a.yaml"}, ""},
		{[]string{"config", "a.yaml"}, ""},
	} {
		if got := Find(tt.args, "config", "c"); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.args, got, tt.want)
		}
	}
}
