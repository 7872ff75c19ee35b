package kafka

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestLogger: what franz-go warns of is a warning, unless Framelog has a message of
// its own for it.
func TestLogger(t *testing.T) {
	for _, c := range []struct {
		msg     string
		keyvals []any
		want    bool
	}{
		{"unable to read a response", []any{"err", "EOF"}, true},
		{"group manage loop errored", nil, false},
		{notProduced, []any{"topic", "cam.yard.index", "err", fmt.Errorf("load: %w", kerr.UnknownTopicOrPartition)}, false},
		{notProduced, []any{"topic", "cam.yard", "err", error(kerr.UnknownTopicID)}, false},
		{notProduced, []any{"topic", "cam.yard", "err", error(kerr.LeaderNotAvailable)}, true},
		{notProduced, []any{"topic", "cam.yard", "err", errors.New("unable to dial"), "is_network_err", true}, false},
		{notProduced, []any{"topic", "cam.yard", "err", errors.New("corrupt"), "can_fail", true, "is_network_err", false}, true},
	} {
		var out bytes.Buffer
		l := &logger{log: slog.New(slog.NewTextHandler(&out, nil)), logged: map[string]message{}}
		l.Log(kgo.LogLevelWarn, c.msg, c.keyvals...)
		if got := strings.Contains(out.String(), "level=WARN"); got != c.want {
			t.Errorf("%s %v: warned %v, want %v: %s", c.msg, c.keyvals, got, c.want, out.String())
		}
	}
}

// TestLoggerOfLongOutage: an outage of an hour is some lines, and the next one is told
// at once.
func TestLoggerOfLongOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		l := &logger{log: slog.New(slog.NewTextHandler(&out, nil)), logged: map[string]message{}}
		outage := func(d time.Duration) int {
			out.Reset()
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(time.Second) {
				l.Log(kgo.LogLevelWarn, "unable to open connection to broker", "err", "connection refused")
			}
			return strings.Count(out.String(), "\n")
		}
		for _, c := range []struct {
			outage, quiet time.Duration
			lines         int
		}{
			{9 * time.Second, time.Minute, 1},
			{20 * time.Second, time.Minute, 2},
			{time.Hour, 11 * time.Minute, 11},
			{20 * time.Second, 0, 2},
		} {
			if n := outage(c.outage); n != c.lines {
				t.Errorf("an outage of %v: %d lines, want %d\n%s", c.outage, n, c.lines, out.String())
			}
			time.Sleep(c.quiet)
		}
	})
}
