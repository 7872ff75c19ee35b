package kafka

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"

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
		{unknownTopic, []any{"topic", "cam.yard.index", "err", fmt.Errorf("load: %w", kerr.UnknownTopicOrPartition)}, false},
		{unknownTopic, []any{"topic", "cam.yard", "err", error(kerr.UnknownTopicID)}, false},
		{unknownTopic, []any{"topic", "cam.yard", "err", error(kerr.LeaderNotAvailable)}, true},
	} {
		var out bytes.Buffer
		l := &logger{log: slog.New(slog.NewTextHandler(&out, nil)), logged: map[string]message{}}
		l.Log(kgo.LogLevelWarn, c.msg, c.keyvals...)
		if got := strings.Contains(out.String(), "level=WARN"); got != c.want {
			t.Errorf("%s %v: warned %v, want %v: %s", c.msg, c.keyvals, got, c.want, out.String())
		}
	}
}
