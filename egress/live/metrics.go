package live

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/framelog/framelog/egress/parts"
)

type metrics struct {
	connections   prometheus.Gauge
	subscriptions prometheus.Gauge
	inFlight      prometheus.Gauge
	bytes         prometheus.Counter
	leftOut       *prometheus.CounterVec
	refused       *prometheus.CounterVec
	ended         *prometheus.CounterVec
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
		refused: counters("refused_total", "Connections and subscriptions refused at a limit.", "limit"),
		ended:   counters("ended_total", "Connections that the server ended. reason: ping (the client did not answer), write_timeout (it took nothing for egress.write_timeout), message (it sent what is not of the protocol), unread (it does not read answers) or closing (the server ends).", "reason"),
	}
	for _, reason := range []string{endPing, endWrite, endMessage, endUnread, endClosing} {
		m.ended.WithLabelValues(reason) // 0 from the start, so that an increase shows
	}
	for _, reason := range []parts.Reason{parts.Behind, parts.Gap, parts.Hole, parts.Replaced, parts.Lost} {
		m.leftOut.WithLabelValues(string(reason))
	}
	if r != nil {
		r.MustRegister(m.connections, m.subscriptions, m.inFlight, m.bytes, m.leftOut, m.refused, m.ended)
	}
	return m
}
