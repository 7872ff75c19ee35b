package events

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	subscribers prometheus.Gauge
	refused     prometheus.Counter
	slow        prometheus.Counter
	unreadable  prometheus.Counter
	histories   prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "framelog_egress_events_" + name, Help: help})
	}
	m := &metrics{
		subscribers: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "framelog_egress_events_subscribers", Help: "Streams that get events.",
		}),
		refused:    counter("subscribers_refused_total", "Readers of /v1/events that were refused at the limit."),
		slow:       counter("slow_subscribers_total", "Streams that ended since their reader was too slow."),
		unreadable: counter("unreadable_total", "Records of the topic of events, and samples of data renditions, that are no event and were left out."),
		histories:  counter("histories_total", "Reads of older events from Kafka, for readers that go on where they were."),
	}
	if r != nil {
		r.MustRegister(m.subscribers, m.refused, m.slow, m.unreadable, m.histories)
	}
	return m
}
