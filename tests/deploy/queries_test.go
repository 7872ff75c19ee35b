package deploy

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	client "github.com/prometheus/client_golang/prometheus"

	"github.com/framelog/framelog/internal/archive/s3"
	"github.com/framelog/framelog/tests/testenv"
)

// known tells which queries may be empty on a system that is well: those with one of these
// names.
var known = map[string]string{
	"ALERTS":                        "no alert fires",
	"redpanda_storage_disk":         "the broker is not Redpanda",
	"framelog:log_disk":             "the same",
	"retention_left_seconds":        "a group that has done all has none",
	"framelog:dead_letters":         "there are none",
	"framelog_monitor_dead_letters": "there are none",
	"framelog_log_absent_seconds":   "nothing was absent",
	"framelog_egress_hls_refused":   "nothing was refused",
	"framelog_archive_oldest":       "retention has not looked since the first file",
	"framelog_archive_s3":           "the archive is on a disk",
}

// query is a query of a dashboard or of a rule.
type query struct {
	expr   string
	legend string // names labels of the answer, as {{camera}}
}

// dashboardQueries returns those of all panels and variables, by file and title. Variables of
// Grafana have a value that fits the demo.
func dashboardQueries(t *testing.T) map[string]query {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(testenv.Root(t), "deploy/grafana/dashboards/*.json"))
	if err != nil || len(files) < 5 {
		t.Fatalf("%d dashboards, %v", len(files), err)
	}
	out := map[string]query{}
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var d struct {
			Templating struct {
				List []struct {
					Name, Type string
					Query      json.RawMessage
				}
			}
			Panels []struct {
				Title   string
				Targets []struct{ Expr, LegendFormat, RefID string }
			}
		}
		if err := json.Unmarshal(b, &d); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		file := filepath.Base(path)
		for _, v := range d.Templating.List {
			if v.Type != "query" {
				continue
			}
			m := labelValues.FindStringSubmatch(string(v.Query))
			if m == nil {
				t.Fatalf("%s: variable %s: %s", file, v.Name, v.Query)
			}
			out[file+": variable "+v.Name] = query{"count by (" + m[2] + ") (" + m[1] + ")", "{{" + m[2] + "}}"}
		}
		for _, p := range d.Panels {
			for _, q := range p.Targets {
				if q.Expr == "" {
					t.Errorf("%s: %s: a query is empty", file, p.Title)
				}
				out[file+": "+p.Title+" "+q.RefID] = query{variables.Replace(q.Expr), q.LegendFormat}
			}
		}
	}
	return out
}

var (
	labelValues = regexp.MustCompile(`^"label_values\((\w+), (\w+)\)"$`)
	variables   = strings.NewReplacer("$__rate_interval", "1m", "$camera", "demo-harbour", "$processor", ".+")
)

// ruleQueries returns those of all rules. Of an alert it is what the alert compares, since that
// has data also where all is well.
func ruleQueries(t *testing.T) map[string]query {
	t.Helper()
	compared := regexp.MustCompile(`(?s)^(.*?) (?:>|<|==) .*$`)
	out := map[string]query{}
	for _, name := range []string{"recording", "alerts"} {
		var f ruleFile
		decode(t, "deploy/prometheus/rules/"+name+".yml", &f)
		for _, g := range f.Groups {
			for _, r := range g.Rules {
				if r.Alert != "" {
					out[r.Alert] = query{expr: compared.ReplaceAllString(r.Expr, "$1")}
				} else {
					out[r.Record] = query{expr: r.Expr}
				}
			}
		}
	}
	delete(out, "FramelogMonitorAway") // its query is that of absence
	return out
}

// TestQueries: on a Prometheus that asks a running system, each query of a dashboard, of a
// rule and of an alert returns data with the labels that its legend names, or is known to be
// empty where all is well. No alert fires.
func TestQueries(t *testing.T) {
	testenv.Long(t)
	f := testenv.Up(t, testenv.UpOptions{Args: []string{"--demo"}})
	base := prometheus(t, strings.TrimPrefix(f.URL, "http://"))
	all := dashboardQueries(t)
	for name, q := range ruleQueries(t) {
		all[name] = q
	}
	if len(all) < 60 {
		t.Errorf("only %d queries", len(all))
	}
	missing := map[string]query{}
	for name, q := range all {
		if !isKnown(q) {
			missing[name] = q
		}
	}
	testenv.Poll(t, 3*testenv.Patience, func() bool {
		// Somebody watches, so that egress has something to tell.
		for _, path := range []string{"/", "/hls/demo-harbour/index.m3u8", "/hls/demo-harbour/raw.m3u8", "/v1/cameras"} {
			_, _, _ = f.Get(t, path)
		}
		for name, q := range missing {
			if len(instant(t, base, q.expr)) > 0 {
				delete(missing, name)
			}
		}
		return len(missing) == 0 || t.Failed()
	})
	for name, q := range missing {
		t.Errorf("%s has no data: %s", name, q.expr)
	}
	for name, q := range all { // those that are empty here are queries nevertheless
		samples := instant(t, base, q.expr)
		if len(samples) > 0 {
			checkLegend(t, name, q, samples[0])
		} else if isKnown(q) {
			t.Logf("%s is empty", name)
		}
	}
	for _, s := range instant(t, base, `ALERTS{alertstate="firing"}`) {
		t.Errorf("an alert fires where all is well: %v", s.labels)
	}
}

func isKnown(q query) bool {
	for name := range known {
		if strings.Contains(q.expr, name) {
			return true
		}
	}
	return false
}

// TestS3Queries: the dashboards show each metric of a store in S3, and no other that begins alike.
func TestS3Queries(t *testing.T) {
	const prefix = "framelog_archive_s3_"
	reg := client.NewRegistry()
	if _, err := s3.New(s3.Config{Endpoint: "store.example", Region: testenv.S3Region}, "", reg); err != nil {
		t.Fatal(err)
	}
	all, err := reg.Gather()
	if err != nil || len(all) == 0 {
		t.Fatalf("%d metrics, %v", len(all), err)
	}
	shown := map[string]bool{}
	for _, q := range dashboardQueries(t) {
		for _, name := range regexp.MustCompile(prefix+`\w+`).FindAllString(q.expr, -1) {
			shown[name] = true
		}
	}
	for _, m := range all {
		if !shown[m.GetName()] {
			t.Errorf("no dashboard shows %s", m.GetName())
		}
		delete(shown, m.GetName())
	}
	for name := range shown {
		t.Errorf("there is no metric %s, which a dashboard shows", name)
	}
}

var legendLabel = regexp.MustCompile(`\{\{(\w+)\}\}`)

func checkLegend(t *testing.T, name string, q query, s sample) {
	t.Helper()
	for _, m := range legendLabel.FindAllStringSubmatch(q.legend, -1) {
		if _, ok := s.labels[m[1]]; !ok {
			t.Errorf("%s: the legend %q names a label that the answer %v does not have", name, q.legend, s.labels)
		}
	}
}
