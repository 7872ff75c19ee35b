package live

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	connections   prometheus.Gauge
	subscriptions prometheus.Gauge
	inFlight      prometheus.Gauge
	bytes         prometheus.Counter
	leftOut       *prometheus.CounterVec
	refused       *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) *metrics {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "framelog_egress_live_" + name, Help: help})
	}
	counters := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "framelog_egress_live_" + name, Help: help}, []string{label})
	}
	m := &metrics{
		connections:   gauge("connections", "Open WebSockets."),
		subscriptions: gauge("subscriptions", "Cameras and renditions that the clients of WebSockets get."),
		inFlight:      gauge("in_flight_bytes", "Bytes of media that clients have not acknowledged yet."),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "framelog_egress_live_sent_bytes_total", Help: "Bytes of media sent over WebSockets.",
		}),
		leftOut: counters("left_out_total", "Times that footage was left out. reason: behind (the client was too slow, or away for too long, and got the newest keyframe), gap, hole, replaced or lost.", "reason"),
		refused: counters("refused_total", "Connections and subscriptions refused at a limit, and connections ended for a message that is not of the protocol.", "limit"),
	}
	if r != nil {
		r.MustRegister(m.connections, m.subscriptions, m.inFlight, m.bytes, m.leftOut, m.refused)
	}
	return m
}
