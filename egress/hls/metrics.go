package hls

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	requests    *prometheus.CounterVec
	waiters     prometheus.Gauge
	refused     *prometheus.CounterVec
	rebuilt     prometheus.Counter
	liveMisses  prometheus.Counter
	tails       prometheus.Gauge
	retails     prometheus.Counter
	partDelay   prometheus.Histogram
	listDelay   prometheus.Histogram
	evicted     prometheus.Counter
	unranged    prometheus.Counter
	forgotten   prometheus.Counter
	lookups     prometheus.Counter
	slow        prometheus.Counter
	dropped     prometheus.Counter
	files       *prometheus.CounterVec
	cameraDelay *prometheus.GaugeVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "framelog_egress_hls_" + name, Help: help})
	}
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "framelog_egress_hls_" + name, Help: help}, labels)
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "framelog_egress_hls_" + name, Help: help})
	}
	delay := func(name, help string) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "framelog_egress_hls_" + name, Help: help,
			Buckets: []float64{.1, .15, .2, .25, .3, .35, .4, .5, .6, .7, .85, 1, 1.5, 2, 3, 5, 10, 30},
		})
	}
	m := &metrics{
		requests:   counters("requests_total", "Requests by what they were for and how they ended.", "kind", "result"),
		waiters:    gauge("waiters", "Requests that wait for footage that is to come."),
		refused:    counters("refused_total", "Requests refused at a limit.", "limit"),
		rebuilt:    counter("rebuilt_segments_total", "Segments made from the log, since they were neither in memory nor a file."),
		liveMisses: counter("live_misses_total", "Segments of a followed camera's window that somebody asked for, and that were neither in memory nor a file."),
		tails:      gauge("tails", "Cameras and renditions that are followed."),
		retails:    counter("tail_restarts_total", "Tails that ended and began again."),
		partDelay:  delay("capture_to_part_seconds", "From a chunk's capture to its part being listed."),
		listDelay:  delay("end_to_segment_seconds", "From the end of a fragment's footage to its segment being listed."),
		evicted:    counter("cache_evictions_total", "Segments that left the cache for others."),
		unranged:   counter("range_cache_evictions_total", "Playlists of ranges that left memory for others."),
		forgotten:  counter("miss_evictions_total", "Answers of indexes that were forgotten early, at max_misses."),
		lookups:    counter("index_reads_total", "Reads of indexes for segments, parts and inits that no tail knows, and for the roles of renditions."),
		slow:       counter("slow_clients_total", "Clients that were cut off because they took longer than write_timeout for 1 MiB."),
		dropped:    counter("provisional_dropped_total", "Fragments whose parts were dropped for the limit or could not be made."),
		files:      counters("files_total", "Files of complete segments and inits.", "result"),
		cameraDelay: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "framelog_egress_hls_delay_seconds", Help: "The latest delay from a camera's capture to its playlist.",
		}, []string{"camera"}),
	}
	if reg != nil {
		reg.MustRegister(m.requests, m.waiters, m.refused, m.rebuilt, m.liveMisses, m.tails, m.retails, m.partDelay, m.listDelay,
			m.evicted, m.unranged, m.forgotten, m.lookups, m.slow, m.dropped, m.files, m.cameraDelay)
	}
	return m
}
