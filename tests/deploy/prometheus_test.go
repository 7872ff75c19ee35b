package deploy

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/framelog/framelog/tests/testenv"
)

// sample is one sample of an instant vector.
type sample struct {
	labels map[string]string
	value  float64
}

// instant runs an instant query. A query that Prometheus refuses fails the test.
func instant(t testing.TB, base, query string) []sample {
	t.Helper()
	return instantAt(t, base, query, time.Now())
}

// instantAt is instant as of another time.
func instantAt(t testing.TB, base, query string, when time.Time) []sample {
	t.Helper()
	status, body, err := testenv.Get(t, fmt.Sprintf("%s/api/v1/query?query=%s&time=%.3f", base, url.QueryEscape(query), float64(when.UnixMilli())/1000))
	if err != nil {
		return nil // Prometheus is not there (yet)
	}
	if status != http.StatusOK {
		t.Errorf("query %s: %d %s", query, status, body)
		return nil
	}
	var answer struct {
		Data struct {
			Result []struct {
				Metric map[string]string
				Value  [2]any
			}
		}
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		t.Errorf("query %s: %v in %s", query, err, body)
		return nil
	}
	var all []sample
	for _, r := range answer.Data.Result {
		v, err := strconv.ParseFloat(fmt.Sprint(r.Value[1]), 64)
		if err != nil {
			t.Errorf("query %s: value %v", query, r.Value[1])
		}
		all = append(all, sample{r.Metric, v})
	}
	return all
}

// prometheus runs Prometheus with the rules that are shipped. It asks the targets once a
// second, and judges the rules as often. It returns its URL.
func prometheus(t *testing.T, targets ...string) string {
	t.Helper()
	bin := testenv.Tool(t, "prometheus", "prometheus")
	dir, port := t.TempDir(), testenv.FreePort(t)
	list, err := json.Marshal(targets)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"recording.yml", "alerts.yml"} {
		b, err := os.ReadFile(filepath.Join(testenv.Root(t), "deploy/prometheus/rules", name))
		if err != nil {
			t.Fatal(err)
		}
		b = bytes.ReplaceAll(b, []byte("interval: 10s"), []byte("interval: 1s"))
		if err := os.WriteFile(filepath.Join(dir, "rules-"+name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	config := fmt.Sprintf("global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [%q]\nscrape_configs:\n  - job_name: framelog\n    static_configs: [{targets: %s}]\n",
		filepath.Join(dir, "rules-*.yml"), list)
	path := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	p := testenv.Start(t, "prometheus", exec.CommandContext(context.Background(), bin, "--config.file="+path,
		"--storage.tsdb.path="+filepath.Join(dir, "data"), fmt.Sprintf("--web.listen-address=127.0.0.1:%d", port)))
	base := fmt.Sprintf("http://127.0.0.1:%d", port)
	p.Wait(t, testenv.Patience, "ready", func() bool {
		status, _, err := testenv.Get(t, base+"/-/ready")
		return err == nil && status == http.StatusOK
	})
	return base
}
