package medialog

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/framelog/framelog/internal/kafka"
)

// A camera that is gone leaves no series behind.
func TestForget(t *testing.T) {
	reg := prometheus.NewRegistry()
	l, err := Connect(Config{Kafka: kafka.Config{Brokers: startEmbedded(t)}}, slog.New(slog.DiscardHandler), reg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	w := l.Open(t.Context(), cam, OpenOptions{})
	ready(t, w)
	if err := newFeed(w, 1).fragment(2); err != nil {
		t.Fatal(err)
	}
	closeWriter(t, w)

	series := func() (of []string) {
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			for _, m := range f.Metric {
				if s := m.String(); strings.Contains(s, cam.Camera) {
					of = append(of, f.GetName()+" "+s)
				}
			}
		}
		return of
	}
	before := strings.Join(series(), "\n")
	for _, name := range []string{"framelog_log_written_bytes_total", "framelog_log_entries_total"} {
		if !strings.Contains(before, name) {
			t.Errorf("no %s in\n%s", name, before)
		}
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("metrics: %v, %v", problems, err)
	}
	l.Forget(cam.Camera)
	if left := series(); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}
