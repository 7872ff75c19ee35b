package monitor

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/framelog/framelog/monitor/lag"
)

// collector shows the newest report as metrics. What a report does not have has no series.
type collector struct{ m *Monitor }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("framelog_monitor_"+name, help, labels, nil)
}

var (
	descUp         = desc("up", "1 if the brokers answered the newest reading of the log, else 0.")
	descAge        = desc("scrape_age_seconds", "Age of the newest complete reading of the log.")
	descRetention  = desc("retention_seconds", "topics.retention of the monitor's configuration. Missing if it has none.")
	descBroker     = desc("broker_up", "1 if a broker is in the cluster, 0 if it is not, and was, or holds replicas.", "broker")
	descLeader     = desc("partitions_without_leader", "Partitions that cannot be read or written. kind: media, index, registry or events.", "kind")
	descState      = desc("camera_state", "1 for the state that a camera is in: that of its status, stale or unowned.", "camera", "state")
	descHop        = desc("hop_behind_seconds", "How far a camera is behind at a hop. log: age of its newest entry. A rendition: footage that it does not have yet. playlist: footage that no playlist shows yet.", "camera", "hop")
	descGaps       = desc("gap_seconds_total", "Footage that gaps stand for, of entries that came since this process began.", "camera", "rendition", "reason")
	descLetters    = desc("dead_letters", "Dead letters that are in the log now.", "camera", "processor")
	descRecords    = desc("group_lag_records", "Records of an index that a consumer group has not done.", "group", "camera", "rendition")
	descSeconds    = desc("group_lag_seconds", "Footage from the oldest fragment that a consumer group has not done to the end of the newest.", "group", "camera", "rendition")
	descLeft       = desc("retention_left_seconds", "Time until retention removes the oldest fragment that a consumer group has not done. Missing if it has done all.", "group", "camera", "rendition")
	descTopicBytes = desc("topic_bytes", "Size on disk of one copy of a media topic.", "camera", "rendition")
	descTopicSpan  = desc("topic_span_seconds", "Footage from the oldest fragment that can be read to the newest.", "camera", "rendition")
)

// Describe implements prometheus.Collector.
func (c *collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descUp, descAge, descRetention, descBroker, descLeader, descState, descHop, descGaps, descLetters,
		descRecords, descSeconds, descLeft, descTopicBytes, descTopicSpan,
	} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(to chan<- prometheus.Metric) {
	s := series{to}
	report, err := c.m.Report()
	s.gauge(descUp, oneIf(report.Up))
	if err != nil {
		return // there is no report yet
	}
	s.gauge(descAge, time.Since(report.At).Seconds())
	if c.m.cfg.Retention > 0 {
		s.gauge(descRetention, c.m.cfg.Retention.Seconds())
	}
	for broker, up := range report.Brokers {
		s.gauge(descBroker, oneIf(up), broker)
	}
	for kind, n := range report.Leaderless {
		s.gauge(descLeader, float64(n), kind)
	}
	for i := range report.Cameras {
		s.camera(&report.Cameras[i])
	}
}

// series sends metrics.
type series struct{ to chan<- prometheus.Metric }

func (s series) gauge(d *prometheus.Desc, v float64, labels ...string) {
	s.to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func (s series) camera(c *lag.Camera) {
	if c.State != lag.StateRemoved {
		s.gauge(descState, 1, c.ID, c.State)
	}
	for _, h := range c.Hops {
		s.gauge(descHop, seconds(h.Behind), c.ID, h.Name)
	}
	for _, g := range c.Gaps {
		s.to <- prometheus.MustNewConstMetric(descGaps, prometheus.CounterValue, seconds(g.Seconds), c.ID, g.Rendition, g.Reason)
	}
	for _, l := range c.Letters {
		s.gauge(descLetters, float64(l.Count), c.ID, l.Processor)
	}
	for _, g := range c.Groups {
		s.gauge(descRecords, float64(g.Records), g.Group, c.ID, g.Rendition)
		s.gauge(descSeconds, seconds(g.Seconds), g.Group, c.ID, g.Rendition)
		if g.Left != nil {
			s.gauge(descLeft, seconds(*g.Left), g.Group, c.ID, g.Rendition)
		}
	}
	for _, t := range c.Topics {
		if t.Bytes != nil {
			s.gauge(descTopicBytes, float64(*t.Bytes), c.ID, t.Rendition)
		}
		if t.Span != nil {
			s.gauge(descTopicSpan, seconds(*t.Span), c.ID, t.Rendition)
		}
	}
}

func seconds(s lag.Seconds) float64 { return time.Duration(s).Seconds() }

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
