package service

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Client makes a client of the role that listens on a Unix socket.
func Client(socket string) *http.Client {
	var d net.Dialer
	return &http.Client{Transport: Transport(func(ctx context.Context) (net.Conn, error) { return d.DialContext(ctx, "unix", socket) })}
}

// Transport makes a transport that gets its connections from dial.
func Transport(dial func(ctx context.Context) (net.Conn, error)) *http.Transport {
	return &http.Transport{
		DialContext:         func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
		MaxIdleConnsPerHost: 256, IdleConnTimeout: time.Minute, DisableCompression: true,
	}
}

// NotReadyError is the answer of a role that is not ready.
type NotReadyError struct{ Why string }

func (e *NotReadyError) Error() string { return "service: not ready: " + e.Why }

// AskReady asks a role whether it is ready. Errors: *NotReadyError; another one if
// it does not answer.
func AskReady(ctx context.Context, c *http.Client) error {
	body, code, err := get(ctx, c, "/readyz", 4<<10)
	if err != nil {
		return err
	}
	if code != http.StatusOK {
		return &NotReadyError{Why: strings.TrimSpace(string(body))}
	}
	return nil
}

// get asks a role. It reads at most limit bytes of the answer.
func get(ctx context.Context, c *http.Client, path string, limit int64) ([]byte, int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://role"+path, nil)
	if err != nil {
		return nil, 0, fmt.Errorf("service: make request: %w", err)
	}
	resp, err := c.Do(req)
	if err != nil {
		return nil, 0, fmt.Errorf("service: ask role: %w", err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, limit))
	if err != nil {
		return nil, 0, fmt.Errorf("service: read answer: %w", err)
	}
	return b, resp.StatusCode, nil
}

// JoinedMetrics answers /metrics with the metrics of own, which get the label
// role=ownRole, and of all roles, which get their own. It leaves out roles that do
// not answer; framelog_up_child_running shows these.
func JoinedMetrics(own prometheus.Gatherer, ownRole string, roles map[string]*http.Client) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
		defer cancel()
		all := make(map[string]*dto.MetricFamily)
		var mu sync.Mutex
		add := func(role string, fams []*dto.MetricFamily) {
			mu.Lock()
			defer mu.Unlock()
			for _, f := range fams {
				for _, m := range f.Metric {
					label(m, role)
				}
				have := all[f.GetName()]
				if have == nil {
					all[f.GetName()] = f
				} else if have.GetType() == f.GetType() {
					have.Metric = append(have.Metric, f.Metric...)
				}
			}
		}
		var wg sync.WaitGroup
		for role, c := range roles {
			wg.Go(func() {
				if fams, err := scrape(ctx, c); err == nil {
					add(role, fams)
				}
			})
		}
		if fams, err := own.Gather(); err == nil {
			add(ownRole, fams)
		}
		wg.Wait()
		format := expfmt.NewFormat(expfmt.TypeTextPlain)
		w.Header().Set("Content-Type", string(format))
		enc := expfmt.NewEncoder(w, format)
		for _, name := range slices.Sorted(maps.Keys(all)) {
			if enc.Encode(all[name]) != nil {
				return // the client has gone
			}
		}
	})
}

// scrape reads the metrics of a role.
func scrape(ctx context.Context, c *http.Client) ([]*dto.MetricFamily, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://role/metrics", nil)
	if err != nil {
		return nil, fmt.Errorf("service: make request: %w", err)
	}
	resp, err := c.Do(req)
	if err != nil {
		return nil, fmt.Errorf("service: ask for metrics: %w", err)
	}
	defer resp.Body.Close()
	p := expfmt.NewTextParser(model.UTF8Validation)
	fams, err := p.TextToMetricFamilies(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return nil, fmt.Errorf("service: parse metrics: %w", err)
	}
	return slices.Collect(maps.Values(fams)), nil
}

// Gauge asks a role for a gauge that has one label. It returns the gauge's values, by the
// value of the label.
func Gauge(ctx context.Context, c *http.Client, name string) (map[string]float64, error) {
	fams, err := scrape(ctx, c)
	if err != nil {
		return nil, err
	}
	values := map[string]float64{}
	for _, f := range fams {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && len(m.GetLabel()) == 1 {
				values[m.GetLabel()[0].GetValue()] = m.GetGauge().GetValue()
			}
		}
	}
	return values, nil
}

// label adds the label role to a metric that has none. The supervisor's counts of
// restarts have one already.
func label(m *dto.Metric, role string) {
	for _, l := range m.Label {
		if l.GetName() == "role" {
			return
		}
	}
	name := "role"
	m.Label = append(m.Label, &dto.LabelPair{Name: &name, Value: &role})
	slices.SortFunc(m.Label, func(a, b *dto.LabelPair) int {
		switch {
		case a.GetName() < b.GetName():
			return -1
		case a.GetName() > b.GetName():
			return 1
		}
		return 0
	})
}
