package archive

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// keepMetrics is what Prometheus reads of retention.
type keepMetrics struct {
	bytes, held, over, unreadable prometheus.Gauge
	oldest                        *prometheus.GaugeVec
	files, deleted                *prometheus.CounterVec
	cameras                       map[string]bool // that oldest has
}

func newKeepMetrics(reg prometheus.Registerer) *keepMetrics {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	m := &keepMetrics{
		bytes:      gauge("framelog_archive_stored_bytes", "Bytes of the files of the archive."),
		held:       gauge("framelog_archive_held_bytes", "Bytes of the files of the archive that a hold keeps."),
		over:       gauge("framelog_archive_over_limit_bytes", "Bytes by which the archive is larger than its limits, because of holds."),
		unreadable: gauge("framelog_archive_unreadable_holds", "Holds that cannot be read. While there is one, nothing is deleted."),
		oldest: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "framelog_archive_oldest_timestamp_seconds", Help: "Public time of the oldest footage of a camera in the archive, in Unix seconds.",
		}, []string{"camera"}),
		files: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "framelog_archive_deleted_files_total", Help: "Files of the archive that retention has deleted.",
		}, []string{"reason"}),
		deleted: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "framelog_archive_deleted_bytes_total", Help: "Bytes of the files of the archive that retention has deleted.",
		}, []string{"reason"}),
	}
	if reg != nil {
		reg.MustRegister(m.bytes, m.held, m.over, m.unreadable, m.oldest, m.files, m.deleted)
	}
	for _, reason := range []string{reasonAge, reasonLimit, reasonSpace} {
		m.files.WithLabelValues(reason)
		m.deleted.WithLabelValues(reason)
	}
	return m
}

// count counts a deleted file.
func (m *keepMetrics) count(f *deletion) {
	m.files.WithLabelValues(f.reason).Inc()
	m.deleted.WithLabelValues(f.reason).Add(float64(f.Size))
}

// set sets the gauges after a look at the archive.
func (m *keepMetrics) set(ctx context.Context, k *Keeper, all []scanned, holds *Holds, d *decision) {
	gone := map[string]bool{}
	for i := range d.deleted {
		gone[d.deleted[i].Path()] = true
	}
	var bytes, held int64
	oldest := map[string]time.Time{}
	for _, s := range all {
		first := true
		for _, f := range s.files {
			if !f.hidden.IsZero() || gone[f.Path()] {
				continue
			}
			bytes += f.Size
			if f.held || f.unsure {
				held += f.Size
			}
			if !first {
				continue
			}
			_ = k.spans.read(ctx, s.Series, []stored{f}) // else the next file tells it
			if t, ok := k.spans.of(&f); ok {
				first = false
				if before, ok := oldest[s.Topic.Camera]; !ok || t.from.Before(before) {
					oldest[s.Topic.Camera] = t.from
				}
			}
		}
	}
	m.bytes.Set(float64(bytes))
	m.held.Set(float64(held))
	m.over.Set(float64(d.over))
	m.unreadable.Set(float64(len(holds.Unreadable)))
	for camera := range m.cameras {
		if _, ok := oldest[camera]; !ok {
			m.oldest.DeleteLabelValues(camera)
		}
	}
	m.cameras = map[string]bool{}
	for camera, at := range oldest {
		m.oldest.WithLabelValues(camera).Set(float64(at.UnixMilli()) / 1e3)
		m.cameras[camera] = true
	}
}
