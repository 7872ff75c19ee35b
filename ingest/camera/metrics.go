package camera

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/framelog/framelog/ingest/assemble"
	"github.com/framelog/framelog/schemas"
)

// states are all states of a camera, so that the metric has each state, also
// with 0.
var states = [...]schemas.State{
	schemas.StateConnecting, schemas.StateLive, schemas.StateAway,
	schemas.StateRefused, schemas.StateUnusable, schemas.StateDisabled, schemas.StateEnded,
}

// metrics of a [Service] and its cameras. Those with the label camera are
// removed with the camera.
type metrics struct {
	reconnects, fenced  *prometheus.CounterVec
	dropped, unreleased *prometheus.CounterVec
	noSound             *prometheus.GaugeVec
	panics              prometheus.Counter
	assembler           *assemble.Metrics
}

func newMetrics(reg prometheus.Registerer) *metrics {
	perCamera := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{"camera"})
	}
	return &metrics{
		assembler:  assemble.NewMetrics(reg),
		reconnects: perCamera("framelog_ingest_reconnects_total", "Attempts to connect a camera after the first."),
		fenced:     perCamera("framelog_ingest_fenced_total", "Times that another process took over a camera's log."),
		dropped: perCamera("framelog_ingest_queue_dropped_units_total",
			"Access units and frames of sound that were dropped because ingest did not take them in time."),
		unreleased: perCamera("framelog_ingest_unreleased_connections_total",
			"Connections to cameras that were not released in time, whose memory and threads may still be held."),
		noSound: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "framelog_ingest_sound_unusable",
			Help: "1 if a camera announces sound that cannot be recorded, else 0.",
		}, []string{"camera"}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "framelog_ingest_panics_total", Help: "Panics in a camera's code, each of which ended a connection.",
		}),
	}
}

// forget removes the metrics of a camera and of its second stream.
func (m *metrics) forget(id string) {
	for _, t := range []schemas.Topic{{Camera: id}, {Camera: id, Rendition: schemas.Sub}} {
		m.forgetStream(t.String())
	}
}

func (m *metrics) forgetStream(name string) {
	l := prometheus.Labels{"camera": name}
	for _, v := range []*prometheus.CounterVec{m.reconnects, m.fenced, m.dropped, m.unreleased} {
		v.DeletePartialMatch(l)
	}
	m.noSound.DeletePartialMatch(l)
	m.assembler.Forget(name)
}

// register registers everything with reg. It fails if a name is taken.
func (m *metrics) register(reg prometheus.Registerer, cameras prometheus.Collector, partitions func() int) error {
	owned := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "framelog_ingest_partitions", Help: "Partitions of the cameras topic that this process owns.",
	}, func() float64 { return float64(partitions()) })
	for _, c := range []prometheus.Collector{m.reconnects, m.fenced, m.dropped, m.unreleased, m.noSound, m.panics, owned, cameras} {
		if err := reg.Register(c); err != nil {
			return err
		}
	}
	return nil
}

// census counts cameras by state when metrics are read.
type census struct {
	desc  *prometheus.Desc
	count func() map[schemas.State]int
}

func newCensus(count func() map[schemas.State]int) *census {
	return &census{
		desc: prometheus.NewDesc("framelog_ingest_cameras", "Cameras that this process runs, by state.",
			[]string{"state"}, nil),
		count: count,
	}
}

func (c *census) Describe(ch chan<- *prometheus.Desc) { ch <- c.desc }

func (c *census) Collect(ch chan<- prometheus.Metric) {
	n := c.count()
	for _, s := range states {
		ch <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, float64(n[s]), string(s))
	}
}
