package s3

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Kinds of requests, in the metrics.
const (
	kindRead   = "read"
	kindWrite  = "write"
	kindList   = "list"
	kindDelete = "delete"
)

type metrics struct {
	requests      *prometheus.CounterVec
	read, written prometheus.Counter
	hits, misses  prometheus.Counter
	cached        prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	counter := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Name: "framelog_archive_s3_" + name, Help: help}
	}
	m := &metrics{
		requests: f.NewCounterVec(counter("requests_total", "Requests to the S3 store of the archive; several attempts count once."), []string{"kind", "result"}),
		read:     f.NewCounter(counter("read_bytes_total", "Bytes that were read from the S3 store of the archive.")),
		written:  f.NewCounter(counter("written_bytes_total", "Bytes that were written to the S3 store of the archive.")),
		hits:     f.NewCounter(counter("cache_hits_total", "Blocks of archive files that were in memory when they were read.")),
		misses:   f.NewCounter(counter("cache_misses_total", "Blocks of archive files that were read from the S3 store.")),
		cached:   f.NewGauge(prometheus.GaugeOpts{Name: "framelog_archive_s3_cache_bytes", Help: "Bytes of archive files in memory."}),
	}
	for _, kind := range []string{kindRead, kindWrite, kindList, kindDelete} {
		m.requests.WithLabelValues(kind, "ok")
		m.requests.WithLabelValues(kind, "failed")
	}
	return m
}

// request counts a request. It returns err.
func (m *metrics) request(kind string, err error) error {
	result := "ok"
	if err != nil {
		result = "failed"
	}
	m.requests.WithLabelValues(kind, result).Inc()
	return err
}
