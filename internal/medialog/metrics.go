package medialog

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/framelog/framelog/schemas"
)

type metrics struct {
	buffered, pending              *prometheus.GaugeVec
	written, entries               *prometheus.CounterVec
	refused, gaps, absent, fenced  *prometheus.CounterVec
	followerOpens, followerEntries *prometheus.CounterVec
	followerHeld                   *prometheus.GaugeVec
	produceSeconds, commitSeconds  prometheus.Histogram
	tails                          prometheus.Gauge
	slowTails, provisionalsDropped prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return f.NewCounterVec(prometheus.CounterOpts{Name: "framelog_log_" + name, Help: help}, labels)
	}
	gauges := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return f.NewGaugeVec(prometheus.GaugeOpts{Name: "framelog_log_" + name, Help: help}, labels)
	}
	seconds := func(name, help string) prometheus.Histogram {
		return f.NewHistogram(prometheus.HistogramOpts{
			Name: "framelog_log_" + name, Help: help,
			Buckets: []float64{.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 30},
		})
	}
	return &metrics{
		buffered:            gauges("buffered_bytes", "Bytes of chunks that wait for Kafka's acknowledgement.", "camera"),
		pending:             gauges("pending_entries", "Fragments and runs of gaps that wait for their entry.", "camera"),
		written:             counters("written_bytes_total", "Bytes of chunks that Kafka has acknowledged.", "camera"),
		entries:             counters("entries_total", "Entries appended to the index.", "camera", "kind"),
		refused:             counters("refused_seconds_total", "Seconds of footage that was received and not recorded.", "camera", "reason"),
		gaps:                counters("gap_seconds_total", "Seconds of footage that the index says are missing.", "camera", "reason"),
		absent:              counters("absent_seconds_total", "Seconds before a session in which nothing was recorded, as its first entry tells.", "camera", "reason"),
		fenced:              counters("fenced_total", "Writers that were fenced by another writer of their camera.", "camera"),
		followerOpens:       counters("follower_opens_total", "Opens that the followers of a rendition wrote, by their cause.", "camera", "rendition", "reason"),
		followerEntries:     counters("follower_entries_total", "Fragments and gaps that have their entry in a rendition.", "camera", "rendition", "kind"),
		followerHeld:        gauges("follower_held_bytes", "Bytes of a processor's output that wait for their turn or for Kafka's acknowledgement.", "camera", "rendition"),
		produceSeconds:      seconds("produce_seconds", "Time from handing a chunk to the client to its acknowledgement."),
		commitSeconds:       seconds("commit_seconds", "Time to append an entry and to check that it counts."),
		tails:               f.NewGauge(prometheus.GaugeOpts{Name: "framelog_log_tails", Help: "Tails that are being read."}),
		slowTails:           f.NewCounter(prometheus.CounterOpts{Name: "framelog_log_slow_tails_total", Help: "Tails that ended because more than tail_bytes waited for their reader."}),
		provisionalsDropped: f.NewCounter(prometheus.CounterOpts{Name: "framelog_log_provisional_dropped_total", Help: "Provisional chunks that were dropped for tail_bytes; readers get them with their entries."}),
	}
}

// forget removes the counters of a camera and of its second stream. Their writers removed
// the gauges when they ended.
func (m *metrics) forget(camera string) {
	for _, t := range []schemas.Topic{{Camera: camera}, {Camera: camera, Rendition: schemas.Sub}} {
		l := prometheus.Labels{"camera": t.String()}
		for _, v := range []*prometheus.CounterVec{m.written, m.entries, m.refused, m.gaps, m.absent, m.fenced, m.followerOpens, m.followerEntries} {
			v.DeletePartialMatch(l)
		}
	}
}
