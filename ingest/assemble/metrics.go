package assemble

import "github.com/prometheus/client_golang/prometheus"

// Reasons why a unit is in no chunk: labels of the metric.
const (
	dropBeforeKeyframe = "before-keyframe" // before a connection's first keyframe, or leading pictures at a session's start
	dropBroken         = "broken"          // the source marked it as damaged
	dropInvalid        = "invalid"         // no picture, wrong lengths, no frame of sound
	dropGap            = "gap"             // after a cap, up to the next keyframe
	dropQueue          = "queue"           // sound beyond AudioQueue, or after a set clock
	dropAudio          = "audio-end"       // sound behind a hole, at a session's end
	dropNoTrack        = "no-track"        // of a track that Tracks did not name
)

// Metrics is the metrics of all assemblers of a process.
type Metrics struct {
	units, bytes, chunks, fragments, sessions, dropped, packets, gap *prometheus.CounterVec
}

// NewMetrics makes the metrics and registers them with reg (nil:
// with none).
func NewMetrics(reg prometheus.Registerer) *Metrics {
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "framelog", Subsystem: "ingest", Name: name, Help: help},
			append([]string{"camera"}, labels...))
		if reg != nil {
			reg.MustRegister(c)
		}
		return c
	}
	return &Metrics{
		units:     vec("units_total", "Access units of video and frames of audio that came from a camera.", "track"),
		bytes:     vec("received_bytes_total", "Bytes of access units and audio frames that came from a camera."),
		chunks:    vec("chunks_total", "Chunks given to the log, and refused by it.", "result"),
		fragments: vec("fragments_total", "Fragments that were closed, whole or truncated at their cap.", "result"),
		sessions:  vec("sessions_total", "Sessions that began, by why.", "reason"),
		dropped:   vec("dropped_units_total", "Access units and audio frames that got into no chunk, by why.", "reason"),
		packets:   vec("lost_packets_total", "RTP packets known to be missing."),
		gap:       vec("keyframe_gap_seconds_total", "Footage between a fragment's cap and the next keyframe."),
	}
}

// Forget removes a camera's metrics.
func (m *Metrics) Forget(camera string) {
	l := prometheus.Labels{"camera": camera}
	for _, v := range []*prometheus.CounterVec{m.units, m.bytes, m.chunks, m.fragments, m.sessions, m.dropped, m.packets, m.gap} {
		v.DeletePartialMatch(l)
	}
}

// cameraMetrics is one camera's.
type cameraMetrics struct {
	video, audio, bytes, written, refused, whole, truncated, packets, gap prometheus.Counter

	sessions, dropped *prometheus.CounterVec
	name              string
}

func (m *Metrics) camera(name string) *cameraMetrics {
	if m == nil {
		m = NewMetrics(nil)
	}
	return &cameraMetrics{
		video: m.units.WithLabelValues(name, "video"), audio: m.units.WithLabelValues(name, "audio"),
		bytes:   m.bytes.WithLabelValues(name),
		written: m.chunks.WithLabelValues(name, "written"), refused: m.chunks.WithLabelValues(name, "refused"),
		whole: m.fragments.WithLabelValues(name, "whole"), truncated: m.fragments.WithLabelValues(name, "truncated"),
		packets: m.packets.WithLabelValues(name), gap: m.gap.WithLabelValues(name),
		sessions: m.sessions, dropped: m.dropped, name: name,
	}
}

func (m *cameraMetrics) session(reason string) { m.sessions.WithLabelValues(m.name, reason).Inc() }

func (m *cameraMetrics) drop(reason string, n int) {
	if n > 0 {
		m.dropped.WithLabelValues(m.name, reason).Add(float64(n))
	}
}
