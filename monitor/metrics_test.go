package monitor

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/framelog/framelog/schemas"
)

// The comment of the package lists every metric with its labels.
func TestListOfMetrics(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	for _, m := range regexp.MustCompile(`(?m)^//\t(framelog_monitor_\w+)(?:\{([\w,]+)\})?\s+\S`).FindAllStringSubmatch(string(doc), -1) {
		listed = append(listed, m[1]+"{"+m[2]+"}")
	}
	descs := make(chan *prometheus.Desc, 100)
	(&collector{}).Describe(descs)
	close(descs)
	var have []string
	for d := range descs {
		m := regexp.MustCompile(`fqName: "(\w+)", help: "[^"]+", unit: "[^"]*", constLabels: \{\}, variableLabels: \{([\w,]*)\}`).FindStringSubmatch(d.String())
		if m == nil {
			t.Fatalf("no help or name: %s", d)
		}
		have = append(have, m[1]+"{"+m[2]+"}")
	}
	slices.Sort(listed)
	slices.Sort(have)
	if !slices.Equal(listed, have) {
		t.Errorf("doc.go lists\n%s\nthe metrics are\n%s", strings.Join(listed, "\n"), strings.Join(have, "\n"))
	}
}

// metric returns the series of a metric of framelog_monitor_, by its labels' values.
func (e *env) metric(name string) map[string]float64 {
	e.t.Helper()
	all, err := e.metrics.Gather()
	if err != nil {
		e.t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range all {
		if f.GetName() != "framelog_monitor_"+name {
			continue
		}
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			got[strings.Join(labels, " ")] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return got
}

func TestMetrics(t *testing.T) {
	virtual(t, 1, func(t *testing.T, e *env) {
		check := func(what, name string, want map[string]float64) {
			t.Helper()
			if got := e.metric(name); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s: %s %v, want %v", what, name, got, want)
			}
		}
		check("before the first reading", "up", map[string]float64{"": 0})
		check("before the first reading", "scrape_age_seconds", map[string]float64{})

		cam := e.record("yard")
		cam.fragments(1)
		cam.gap(3, schemas.ReasonStorage) // before the monitor reads
		all := cam.fragments(3)
		n := len(all)
		p := e.follow("yard", "motion", "motion", schemas.RoleData)
		letters := e.follow("yard", "dlq-motion", "motion", schemas.RoleDeadLetter)
		p.copy(all[:n-1]...)
		letters.copy(all[n-3 : n-1]...)
		e.commit(p.group, cam.topic(), all[n-1].Offset)
		cam.status(schemas.StateLive)
		e.report()
		check("at first", "up", map[string]float64{"": 1})
		check("at first", "retention_seconds", map[string]float64{"": retention.Seconds()})
		check("at first", "broker_up", map[string]float64{"0": 1})
		check("at first", "partitions_without_leader", map[string]float64{"media": 0, "index": 0, "registry": 0, "events": 0})
		check("at first", "camera_state", map[string]float64{"yard live": 1})
		check("at first", "dead_letters", map[string]float64{"yard motion": 2})
		check("at first", "group_lag_records", map[string]float64{"yard framelog-process-motion raw": 1})
		check("at first", "group_lag_seconds", map[string]float64{"yard framelog-process-motion raw": 2})
		check("at first", "topic_span_seconds", map[string]float64{"yard raw": 11, "yard motion": 9, "yard dlq-motion": 4})
		if left := e.metric("retention_left_seconds")["yard framelog-process-motion raw"]; left < 3590 || left > 3600 {
			t.Errorf("retention comes in %v s", left)
		}
		if n := e.metric("topic_bytes")["yard raw"]; n <= 0 {
			t.Errorf("%v bytes", n)
		}
		if gaps := e.metric("gap_seconds_total"); gaps["yard storage raw"] != 0 || len(gaps) != 9 {
			t.Errorf("gaps before the first reading: %v", gaps)
		}

		cam.gap(5, schemas.ReasonStorage)
		cam.fragments(1)
		e.trim(schemas.Topic{Camera: "yard", Rendition: "dlq-motion"}, e.entries(schemas.Topic{Camera: "yard", Rendition: "dlq-motion"})[:1])
		e.report()
		check("later", "dead_letters", map[string]float64{"yard motion": 1})
		if gaps := e.metric("gap_seconds_total"); gaps["yard storage raw"] != 5 {
			t.Errorf("gaps since the first reading: %v", gaps)
		}
		problems, err := testutil.GatherAndLint(e.metrics)
		if err != nil || len(problems) > 0 {
			t.Errorf("%v, %v", problems, err)
		}
	})
}
