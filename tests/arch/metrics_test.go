package arch

import (
	"bytes"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/framelog/framelog/tests/testenv"
)

// metricName is framelog_<stage>_<noun>…; promlint checks units and _total.
var metricName = regexp.MustCompile(`^framelog_(ingest|archive|processor|monitor|writer|log|tail|store|broker|egress|hls|api|up|registry|config|gstreamer|build)_[a-z0-9_]+$`)

// labels are the label names that metrics may use. Each has a bounded set of
// values. `up` adds role; histograms and summaries add le and quantile.
var labels = []string{"camera", "topic", "result", "role", "reason", "state", "codec", "kind", "processor", "code", "method", "track", "route", "rendition", "le", "quantile", "limit", "broker", "group", "hop", "version"}

// lint returns what is wrong with a scrape of `framelog up`.
func lint(text []byte) []string {
	var bad []string
	p := expfmt.NewTextParser(model.UTF8Validation)
	all, err := p.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		return []string{err.Error()}
	}
	var own bytes.Buffer
	for name, f := range all {
		if !strings.HasPrefix(name, "framelog_") {
			continue // of the Go runtime, the process, franz-go
		}
		if _, err := expfmt.MetricFamilyToText(&own, f); err != nil {
			bad = append(bad, err.Error())
		}
		if !metricName.MatchString(name) {
			bad = append(bad, name+": not framelog_<stage>_<noun>")
		}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if !slices.Contains(labels, l.GetName()) {
					bad = append(bad, name+": label "+l.GetName()+" is not of the bounded set")
				}
			}
		}
	}
	problems, err := promlint.New(&own).Lint()
	if err != nil {
		bad = append(bad, err.Error())
	}
	for _, p := range problems {
		bad = append(bad, p.Metric+": "+p.Text)
	}
	slices.Sort(bad)
	return slices.Compact(bad)
}

// cameraUp is how long a demo camera may take to be recorded.
const cameraUp = 2 * testenv.Patience

// lint finds what it should.
func TestLint(t *testing.T) {
	for text, want := range map[string]string{
		"# HELP framelog_ingest_chunks_total Chunks.\n# TYPE framelog_ingest_chunks_total counter\nframelog_ingest_chunks_total{camera=\"a\"} 1\n": "",
		"# HELP framelog_ingest_chunks Chunks.\n# TYPE framelog_ingest_chunks counter\nframelog_ingest_chunks 1\n":                                 "_total",
		"# TYPE framelog_ingest_x_total counter\nframelog_ingest_x_total 1\n":                                                                      "help",
		"# HELP framelog_ingest_ms Time.\n# TYPE framelog_ingest_ms gauge\nframelog_ingest_ms{url=\"a\"} 1\n":                                      "label url",
		"# HELP framelog_other_x X.\n# TYPE framelog_other_x gauge\nframelog_other_x 1\n":                                                          "stage",
	} {
		bad := strings.Join(lint([]byte(text)), "\n")
		if (want == "") != (bad == "") || !strings.Contains(bad, want) {
			t.Errorf("%q: %q, want %q", text, bad, want)
		}
	}
}

// All metrics of all roles, as `framelog up` shows them.
func TestMetricsOfUp(t *testing.T) {
	f := testenv.Up(t, testenv.UpOptions{Args: []string{"--demo"}})
	var text []byte
	f.Wait(t, cameraUp, "metrics of recorded chunks", func() bool {
		status, body, err := f.Get(t, "/metrics")
		text = body
		return err == nil && status == http.StatusOK && strings.Contains(string(body), `role="ingest"`) && strings.Contains(string(body), "camera=")
	})
	for _, b := range lint(text) {
		t.Error(b)
	}
}
