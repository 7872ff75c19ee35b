package api

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	subscribers prometheus.Gauge
	refused     prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		subscribers: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "framelog_egress_http_event_subscribers",
			Help: "Readers of /v1/cameras/events.",
		}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "framelog_egress_http_event_subscribers_refused_total",
			Help: "Readers of /v1/cameras/events that were refused at the limit.",
		}),
	}
	if r != nil {
		r.MustRegister(m.subscribers, m.refused)
	}
	return m
}
