package processors

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// What became of a fragment, in the metric of fragments.
const (
	resultProcessed  = "processed"   // at least one output has something
	resultFiltered   = "filtered"    // no output has anything
	resultGap        = "gap"         // it is a gap in the input
	resultDeadLetter = "dead-letter" // all attempts have failed
	resultSkipped    = "skipped"     // the processor is too far behind
	resultExpired    = "expired"     // its footage had expired
)

// metrics of a [Runner]. The Registerer adds the label processor. Those with the label
// camera are removed with the camera.
type metrics struct {
	lag, inWork, held                  *prometheus.GaugeVec
	fragments, failedAttempts, dropped *prometheus.CounterVec
	events                             *prometheus.CounterVec
	workSeconds                        prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	gauges := func(name, help string) *prometheus.GaugeVec {
		return f.NewGaugeVec(prometheus.GaugeOpts{Name: "framelog_processor_" + name, Help: help}, []string{"camera"})
	}
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return f.NewCounterVec(prometheus.CounterOpts{Name: "framelog_processor_" + name, Help: help}, append([]string{"camera"}, labels...))
	}
	return &metrics{
		lag:            gauges("lag_seconds", "Footage from the start of the oldest fragment that is not done to the end of the newest one."),
		inWork:         gauges("fragments_in_work", "Fragments that are worked on."),
		held:           gauges("held_bytes", "Bytes of fragments that are worked on or wait for it."),
		fragments:      counters("fragments_total", "Fragments that are done, by what became of them.", "result"),
		failedAttempts: counters("failed_attempts_total", "Attempts at fragments that have failed."),
		dropped:        counters("ahead_dropped_chunks_total", "Chunks that came ahead of their entries and were dropped because too many bytes waited; they are read again with their entries."),
		events:         counters("events_total", "Events that were written to the topic of events."),
		workSeconds: f.NewHistogram(prometheus.HistogramOpts{
			Name: "framelog_processor_work_seconds", Help: "Time of one attempt at a fragment, with the time in which it waited for the fragment's chunks.",
			Buckets: []float64{.005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 30, 60},
		}),
	}
}

// begin shows the counters of what fails of a camera, with 0: Prometheus does not see that a
// counter rises which begins above 0.
func (m *metrics) begin(camera string) {
	m.failedAttempts.WithLabelValues(camera)
	for _, result := range []string{resultDeadLetter, resultSkipped, resultExpired} {
		m.fragments.WithLabelValues(camera, result)
	}
}

// forget removes the metrics of a camera.
func (m *metrics) forget(camera string) {
	l := prometheus.Labels{"camera": camera}
	for _, v := range []*prometheus.GaugeVec{m.lag, m.inWork, m.held} {
		v.DeletePartialMatch(l)
	}
	for _, v := range []*prometheus.CounterVec{m.fragments, m.failedAttempts, m.dropped, m.events} {
		v.DeletePartialMatch(l)
	}
}
