package hls

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/framelog/framelog/schemas"
)

// shownMetric tells up to which public time the playlists of followed cameras show footage. It
// is computed when it is read, so no camera has it that is not followed any more.
type shownMetric struct{ s *Server }

var shownDesc = prometheus.NewDesc("framelog_egress_hls_shown_timestamp_seconds",
	"Public time up to which the playlist of a followed camera shows footage.", []string{"camera"}, nil)

// Describe implements prometheus.Collector.
func (m shownMetric) Describe(to chan<- *prometheus.Desc) { to <- shownDesc }

// Collect implements prometheus.Collector.
func (m shownMetric) Collect(to chan<- prometheus.Metric) {
	m.s.mu.Lock()
	var all []*stream
	for t, st := range m.s.streams {
		if t.IsRaw() {
			all = append(all, st)
		}
	}
	m.s.mu.Unlock()
	for _, st := range all {
		if at, ok := st.shown(); ok {
			to <- prometheus.MustNewConstMetric(shownDesc, prometheus.GaugeValue, float64(at.UnixMicro())/1e6, st.topic.Camera)
		}
	}
}

// shown returns the public time up to which the playlist shows footage. ok is false if it
// has none yet.
func (st *stream) shown() (at time.Time, ok bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	n := st.model.newest()
	if n == nil || !st.live {
		return time.Time{}, false
	}
	return n.Start.Add(schemas.FromTicks(st.model.edge() - n.Media)), true
}
