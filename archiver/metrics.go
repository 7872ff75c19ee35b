package archiver

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/framelog/framelog/schemas"
)

// Reasons of failures, in the metric of errors.
const (
	failedStore   = "store"
	failedDiffers = "differs"
	failedFootage = "footage"
	failedDamaged = "damaged"
)

type metrics struct {
	unsafe         *prometheus.GaugeVec
	expired        *prometheus.CounterVec
	files, written prometheus.Counter
	errors         *prometheus.CounterVec
	storeUp        prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	counter := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Name: "framelog_archive_" + name, Help: help}
	}
	m := &metrics{
		unsafe: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "framelog_archive_unsafe_seconds", Help: "Footage that is in Kafka and not in the archive yet: from its oldest fragment to the end of the newest one.",
		}, []string{"camera", "rendition"}),
		expired: f.NewCounterVec(counter("expired_seconds_total", "Footage that Kafka has removed or lost before it was archived."), []string{"camera", "rendition"}),
		files:   f.NewCounter(counter("files_total", "Files that were written.")),
		written: f.NewCounter(counter("bytes_total", "Bytes of footage in the files that were written.")),
		errors:  f.NewCounterVec(counter("errors_total", "Failures, by their reason: store, differs, footage or damaged."), []string{"reason"}),
		storeUp: f.NewGauge(prometheus.GaugeOpts{
			Name: "framelog_archive_store_up", Help: "1 if the newest write to the archive has worked, 0 while it is full or away.",
		}),
	}
	m.storeUp.Set(1)
	for _, reason := range []string{failedStore, failedDiffers, failedFootage, failedDamaged} {
		m.errors.WithLabelValues(reason)
	}
	return m
}

// begin shows the counters of a topic, with 0: Prometheus does not see that a counter rises which
// begins above 0.
func (m *metrics) begin(t schemas.Topic) { m.expired.WithLabelValues(t.Camera, t.Name()) }

// forget removes the metrics of a camera.
func (m *metrics) forget(camera string) {
	l := prometheus.Labels{"camera": camera}
	m.unsafe.DeletePartialMatch(l)
	m.expired.DeletePartialMatch(l)
}
