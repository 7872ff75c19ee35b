package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/framelog/framelog/tests/testenv"
)

// ruleFile is a file of rules of Prometheus.
type ruleFile struct {
	Groups []struct {
		Rules []struct {
			Alert, Record, Expr string
			Labels, Annotations map[string]string
		}
	}
}

func decode(t *testing.T, path string, into any) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(testenv.Root(t), path))
	if err != nil {
		t.Fatal(err)
	}
	// A service overrides keys that it merges (<<).
	if err := yaml.UnmarshalWithOptions(b, into, yaml.AllowDuplicateMapKey()); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// Prometheus and Alertmanager take the files, and each alert fires when it should.
func TestRules(t *testing.T) {
	promtool, amtool := testenv.Tool(t, "promtool", "prometheus"), testenv.Tool(t, "amtool", "prometheus-alertmanager")
	for _, args := range [][]string{
		{promtool, "check", "rules", "rules/recording.yml", "rules/alerts.yml"},
		{promtool, "check", "config", "--syntax-only", "prometheus.yml"},
		{promtool, "test", "rules", "tests/alerts.yml"},
		{amtool, "check-config", "../alertmanager/alertmanager.yml"},
	} {
		cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
		cmd.Dir = filepath.Join(testenv.Root(t), "deploy/prometheus")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", strings.Join(args[1:], " "), err, out)
		}
	}
}

// anchor turns a heading of a page into the part of a link behind #, as GitHub does.
func anchor(heading string) string {
	return strings.ReplaceAll(regexp.MustCompile(`[^a-z0-9 -]`).ReplaceAllString(strings.ToLower(heading), ""), " ", "-")
}

// Each alert says how bad it is, what it means in seconds and what to do, its section is in
// docs/operating.md, and the tests of the rules have it.
func TestAlertsSayWhatToDo(t *testing.T) {
	var alerts ruleFile
	decode(t, "deploy/prometheus/rules/alerts.yml", &alerts)
	page, err := os.ReadFile(filepath.Join(testenv.Root(t), "docs/operating.md"))
	if err != nil {
		t.Fatal(err)
	}
	var anchors []string
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(string(page), -1) {
		anchors = append(anchors, anchor(m[1]))
	}
	var tests struct {
		Tests []struct {
			Alerts []struct {
				Name   string `yaml:"alertname"`
				Expect []struct {
					Labels map[string]string `yaml:"exp_labels"`
				} `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	decode(t, "deploy/prometheus/tests/alerts.yml", &tests)
	fires := map[string]map[string]string{}
	for _, test := range tests.Tests {
		for _, a := range test.Alerts {
			for _, e := range a.Expect {
				fires[a.Name] = e.Labels
			}
		}
	}
	n := 0
	for _, g := range alerts.Groups {
		for _, r := range g.Rules {
			n++
			for _, a := range []string{"summary", "todo", "runbook_url"} {
				if r.Annotations[a] == "" {
					t.Errorf("%s has no %s", r.Alert, a)
				}
			}
			if !regexp.MustCompile(`second|minute|humanizeDuration`).MatchString(r.Annotations["summary"]) {
				t.Errorf("%s tells no time: %s", r.Alert, r.Annotations["summary"])
			}
			at, link, ok := strings.Cut(r.Annotations["runbook_url"], "docs/operating.md#")
			if !ok || !strings.HasPrefix(at, "https://") || !slices.Contains(anchors, link) {
				t.Errorf("%s: docs/operating.md has no section %q", r.Alert, link)
			}
			for _, l := range []string{"camera", "hop", "severity"} {
				if fires[r.Alert][l] == "" {
					t.Errorf("%s is in no test of the rules, or has no label %s there", r.Alert, l)
				}
			}
		}
	}
	if n < 8 {
		t.Errorf("only %d alerts", n)
	}
}
