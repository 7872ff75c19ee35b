package egress

import (
	"io"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/framelog/framelog/egress/access"
)

type metrics struct {
	requests *prometheus.CounterVec
	inFlight *prometheus.GaugeVec
	seconds  *prometheus.HistogramVec
	bytes    *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) *metrics {
	route := []string{"route"} // page, api, events, snapshot, clip, hls or live
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "framelog_egress_http_requests_total",
			Help: "Requests answered. result: ok (below 400), refused (below 500) or failed.",
		}, []string{"route", "result"}),
		inFlight: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "framelog_egress_http_requests_in_flight",
			Help: "Requests that are being answered.",
		}, route),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "framelog_egress_http_request_duration_seconds",
			Help:    "Time to answer, with the waiting of blocking playlist requests. Event streams, clips and sockets are not in it.",
			Buckets: []float64{.001, .005, .02, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, route),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "framelog_egress_http_response_bytes_total",
			Help: "Bytes of bodies sent. Those of sockets are in framelog_egress_live_sent_bytes_total.",
		}, route),
	}
	if r != nil {
		r.MustRegister(m.requests, m.inFlight, m.seconds, m.bytes)
	}
	return m
}

// wrap counts what a route answers, under its label.
func (m *metrics) wrap(rt access.Route, next http.Handler) http.Handler {
	route := rt.Label
	inFlight := m.inFlight.WithLabelValues(route)
	bytes := m.bytes.WithLabelValues(route)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun := time.Now()
		inFlight.Inc()
		rec := &recorder{ResponseWriter: w, code: http.StatusOK}
		defer func() {
			inFlight.Dec()
			bytes.Add(float64(rec.bytes))
			m.requests.WithLabelValues(route, result(rec.code)).Inc()
			if route != "events" && route != "clip" && route != "live" {
				m.seconds.WithLabelValues(route).Observe(time.Since(begun).Seconds())
			}
		}()
		next.ServeHTTP(rec, r)
	})
}

func result(code int) string {
	switch {
	case code < 400:
		return "ok"
	case code < 500:
		return "refused"
	}
	return "failed"
}

// recorder remembers the status and the size of an answer. http.ResponseController
// finds the writer's other methods by Unwrap.
type recorder struct {
	http.ResponseWriter
	code  int
	bytes int64
	wrote bool
}

func (r *recorder) WriteHeader(code int) {
	if !r.wrote {
		r.code, r.wrote = code, true
	}
	r.ResponseWriter.WriteHeader(code)
}

func (r *recorder) Write(b []byte) (int, error) {
	r.wrote = true
	n, err := r.ResponseWriter.Write(b)
	r.bytes += int64(n)
	return n, err
}

// ReadFrom implements io.ReaderFrom, so that the system can copy files.
func (r *recorder) ReadFrom(from io.Reader) (int64, error) {
	r.wrote = true
	n, err := io.Copy(r.ResponseWriter, from)
	r.bytes += n
	return n, err
}

// Flush serves handlers that need an http.Flusher.
func (r *recorder) Flush() { _ = http.NewResponseController(r.ResponseWriter).Flush() }

func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
