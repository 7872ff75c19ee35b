package bench

import (
	"fmt"
	"math"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	dto "github.com/prometheus/client_model/go"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/system"
	"github.com/framelog/framelog/tests/testenv"
)

// Framelog in three uses, and the first two with the native engine for RTSP.
const (
	alwaysName  = "framelog, always"
	idleName    = "framelog, on_demand, nobody watches"
	watchedName = "framelog, on_demand, a low-latency viewer a camera"

	nativeAlwaysName = "framelog, native, always"
	nativeIdleName   = "framelog, native, on_demand, nobody watches"
)

// log is a running `framelog up`.
type log struct {
	*testenv.Framelog
	cams     *cameras
	watch    bool
	watchers *watchers
	parts    histogram // capture to part, at the beginning
}

func startAlways(b *testing.B, c *cameras) running {
	return startLog(b, c, configOf(c, "always"), false)
}

func startIdle(b *testing.B, c *cameras) running {
	return startLog(b, c, configOf(c, "on_demand"), false)
}

func startWatched(b *testing.B, c *cameras) running {
	return startLog(b, c, configOf(c, "on_demand"), true)
}

func startNativeAlways(b *testing.B, c *cameras) running {
	return startLog(b, c, configOf(c, "always")+native, false)
}

func startNativeIdle(b *testing.B, c *cameras) running {
	return startLog(b, c, configOf(c, "on_demand")+native, false)
}

// native is the part of a configuration that selects the native engine.
const native = "ingest:\n  rtsp: {engine: native}\n"

func startLog(b *testing.B, c *cameras, config string, watch bool) *log {
	b.Helper()
	l := &log{cams: c, watch: watch, Framelog: testenv.Up(b, testenv.UpOptions{Config: config})}
	b.Cleanup(func() { _ = os.RemoveAll(l.Data) })
	l.Wait(b, time.Minute, "all cameras are live", func() bool {
		all, err := system.Statuses(b, l.URL)
		if err != nil {
			return false
		}
		live := 0
		for _, s := range all {
			if s.State == schemas.StateLive {
				live++
			}
		}
		return live == c.n
	})
	if watch {
		l.watchers = watchAll(b, l.URL, c)
	}
	return l
}

func configOf(c *cameras, mode string) string {
	urls := map[string]string{}
	for i, url := range c.urls {
		urls[cameraID(i)] = url
	}
	return fmt.Sprintf("egress:\n  mode: %s\n", mode) + system.Cameras(urls)
}

func cameraID(i int) string { return "cam-" + strconv.Itoa(i) }

func (l *log) processes() map[string][]int {
	m := l.Children()
	m["up"] = []int{l.PID()}
	return m
}

func (l *log) begin(b *testing.B) {
	l.parts = l.histogram(b, "framelog_egress_hls_capture_to_part_seconds")
	if l.watchers != nil {
		l.watchers.forget()
	}
}

func (l *log) end(b *testing.B, s *sample) {
	// First, because what follows keeps the machine busy for a while.
	h := l.histogram(b, "framelog_egress_hls_capture_to_part_seconds").minus(l.parts)
	if l.watchers != nil {
		s.Delay = l.watchers.delays(b)
	}
	if h.count > 0 {
		if s.Delay == nil {
			s.Delay = &delays{}
		}
		s.Delay.OwnP50, s.Delay.OwnP99, s.Delay.OwnParts = h.quantile(0.5), h.quantile(0.99), int(h.count)
	}
	for _, m := range l.metrics(b)["framelog_log_gap_seconds_total"].GetMetric() {
		b.Errorf("%s: gaps: %v", s.Subject, m)
	}
}

func (l *log) stop() {
	if l.watchers != nil {
		l.watchers.stop()
	}
	l.KillTree()
	_ = os.RemoveAll(l.Data) // else the test's end removes it
}

// segments counts the entries of whole fragments.
func (l *log) segments(b *testing.B) int {
	n := 0.0
	for _, m := range l.metrics(b)["framelog_log_entries_total"].GetMetric() {
		for _, p := range m.GetLabel() {
			if p.GetName() == "kind" && p.GetValue() == "whole" {
				n += m.GetCounter().GetValue()
			}
		}
	}
	return int(n)
}

func (l *log) metrics(b *testing.B) map[string]*dto.MetricFamily {
	b.Helper()
	status, body, err := l.Get(b, "/metrics")
	if err != nil || status != http.StatusOK {
		b.Fatalf("get metrics: %d, %v", status, err)
	}
	p := expfmt.NewTextParser(model.UTF8Validation)
	all, err := p.TextToMetricFamilies(strings.NewReader(string(body)))
	if err != nil {
		b.Fatalf("read metrics: %v", err)
	}
	return all
}

// histogram is a histogram of Prometheus: counts up to each bound, in seconds.
type histogram struct {
	count   float64
	buckets []bucket
}

type bucket struct{ upTo, count float64 }

func (l *log) histogram(b *testing.B, name string) (h histogram) {
	for _, m := range l.metrics(b)[name].GetMetric() {
		h.count = float64(m.GetHistogram().GetSampleCount())
		for _, x := range m.GetHistogram().GetBucket() {
			h.buckets = append(h.buckets, bucket{x.GetUpperBound(), float64(x.GetCumulativeCount())})
		}
	}
	return h
}

func (h histogram) minus(o histogram) histogram {
	d := histogram{count: h.count - o.count}
	for i, x := range h.buckets {
		if i < len(o.buckets) {
			x.count -= o.buckets[i].count
		}
		d.buckets = append(d.buckets, x)
	}
	return d
}

// quantile returns milliseconds, by linear interpolation within a bucket. Beyond the last bound
// it is that bound.
func (h histogram) quantile(q float64) float64 {
	want, low, below := q*h.count, 0.0, 0.0
	for _, x := range h.buckets {
		if x.count >= want && x.count > below && !math.IsInf(x.upTo, 1) {
			return 1000 * (low + (x.upTo-low)*(want-below)/(x.count-below))
		}
		if !math.IsInf(x.upTo, 1) {
			low, below = x.upTo, x.count
		}
	}
	return 1000 * low
}
