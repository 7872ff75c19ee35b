package sizing

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Counts are the numbers of cameras of the tables.
var Counts = []int{100, 1000, 10_000}

// Tables returns the tables of docs/sizing.md in Markdown, by the name of their place.
func Tables(m *Measured, f []Failover, counts []int) map[string]string {
	return map[string]string{
		"costs":    costs(m),
		"log":      logTable(m),
		"roles":    roles(m, counts),
		"brokers":  brokerTable(m, counts),
		"failover": failoverTable(f),
	}
}

// table is one in Markdown.
type table struct{ b strings.Builder }

func newTable(head ...string) *table {
	t := &table{}
	t.row(head...)
	t.b.WriteString("|" + strings.Repeat("---|", len(head)) + "\n")
	return t
}

func (t *table) row(cells ...string) { t.b.WriteString("| " + strings.Join(cells, " | ") + " |\n") }

func (t *table) String() string { return t.b.String() }

// number writes x with two significant digits, or whole from 10 on: 0.0093, 0.12, 4.1, 1,234.
// 0 is what was not measured.
func number(x float64) string {
	switch {
	case x == 0:
		return "–"
	case x < 0.01:
		return fmt.Sprintf("%.4f", x)
	case x < 0.1:
		return fmt.Sprintf("%.3f", x)
	case x < 1:
		return fmt.Sprintf("%.2f", x)
	case x < 9.95:
		return fmt.Sprintf("%.1f", x)
	}
	return thousands(int(x + 0.5))
}

// thousands writes n with commas.
func thousands(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// names are what costs something and was measured.
func names(m *Measured) (all []string) {
	for _, name := range slices.Concat([]string{Ingest, Broker, Always, Watched}, Processors) {
		if slices.ContainsFunc(m.Rates, func(r Rate) bool { _, ok := r.Costs[name]; return ok }) {
			all = append(all, name)
		}
	}
	return all
}

func costs(m *Measured) string {
	head := []string{"one camera"}
	measured := slices.DeleteFunc(slices.Clone(m.Rates), func(r Rate) bool { return len(r.Costs) == 0 })
	for _, r := range measured {
		head = append(head, fmt.Sprintf("%g Mbit/s: cores", r.Mbit), "MB")
	}
	t := newTable(head...)
	for _, name := range names(m) {
		row := []string{name}
		for _, r := range measured {
			c := r.Costs[name]
			row = append(row, number(c.Cores), number(c.MB))
		}
		t.row(row...)
	}
	return fmt.Sprintf("%d cores, Linux; %s; %.0f s each.\n\n", m.Cores, m.Input, m.Seconds) + t.String()
}

func logTable(m *Measured) string {
	t := newTable("one camera", "bytes in the log for a byte of footage", "KB/s in one copy", "GB a day in one copy", "GB a day in three")
	for _, r := range m.Rates {
		day := r.PerSecond() * 86400 / 1e9
		t.row(fmt.Sprintf("%g Mbit/s", r.Mbit), fmt.Sprintf("%.3f", r.Overhead), number(r.PerSecond()/1000), number(day), number(3*day))
	}
	return t.String()
}

func roles(m *Measured, counts []int) string {
	t := newTable("cameras", "Mbit/s each", "ingest: cores", "GB", "egress, a tenth watched: cores", "GB", "egress, always: cores", "GB", "motion: cores", "transcode: cores")
	for _, n := range counts {
		for _, r := range m.Rates {
			if len(r.Costs) == 0 {
				continue
			}
			s := Default(n, r.Mbit)
			all, watched := float64(n), float64(n)*s.Watched
			ingest, always, some := r.Total(Ingest, all), r.Total(Always, all), r.Total(Watched, watched)
			t.row(thousands(n), fmt.Sprintf("%g", r.Mbit), number(ingest.Cores), number(ingest.MB/1000), number(some.Cores), number(some.MB/1000),
				number(always.Cores), number(always.MB/1000), number(r.Total("motion", all).Cores), number(r.Total("transcode", all).Cores))
		}
	}
	return t.String()
}

// retentions are those of the table of brokers.
var retentions = []time.Duration{time.Hour, 24 * time.Hour}

func brokerTable(m *Measured, counts []int) string {
	t := newTable("cameras", "Mbit/s each", "retention", "MB/s in", "MB/s to disks", "MB/s out", "TB kept", "partitions, with copies", "segments", "Apache Kafka: brokers", "Redpanda: brokers")
	for _, n := range counts {
		for _, r := range m.Rates {
			for _, keep := range retentions {
				s := Default(n, r.Mbit)
				s.Retention = keep
				l := s.Load(r)
				t.row(thousands(n), fmt.Sprintf("%g", r.Mbit), fmt.Sprintf("%g h", keep.Hours()), number(l.In), number(l.Written), number(l.Out), number(l.Kept),
					thousands(l.Partitions)+", "+thousands(l.Replicas), thousands(l.Segments), limits(Kafka(l, DefaultHost)), limits(Redpanda(l, DefaultHost)))
			}
		}
	}
	return t.String()
}

// limits writes the number of brokers, and what binds if it is not the number of copies.
func limits(all []Limit) string {
	most := Binding(all)
	if most.Brokers == least {
		return fmt.Sprint(least)
	}
	return fmt.Sprintf("%d (%s)", most.Brokers, most.Name)
}

// Failover is what the simulation of a failover has counted: an ingest process of many is
// gone, and the others take its cameras.
type Failover struct {
	Cameras   int     `json:"cameras"`
	Processes int     `json:"processes"`
	Moved     int     `json:"moved"`      // cameras that were opened again
	Detected  float64 `json:"detected_s"` // until the first was opened again, in seconds from the death
	Half      float64 `json:"half_s"`     // until half of them were
	All       float64 `json:"all_s"`
	Requests  int     `json:"requests"` // to all brokers, until all were opened
	// Peak is the most requests in one second of virtual time, to all brokers and to the
	// controller. Controller counts those that only the controller answers.
	Peak           int `json:"peak"`
	Controller     int `json:"controller"`
	ControllerPeak int `json:"controller_peak"`
	// Start… are of the start of all processes at the same time, with cameras whose topics do
	// not exist yet.
	StartAll            float64 `json:"start_all_s"`
	StartController     int     `json:"start_controller"`
	StartControllerPeak int     `json:"start_controller_peak"`
}

func failoverTable(all []Failover) string {
	t := newTable("cameras, ingest processes", "cameras of the dead process", "first, half, all recorded again after", "requests to all brokers; most in 1 s",
		"requests for the controller; most in 1 s", "first start of everything, topics included: all recorded after; requests for the controller, most in 1 s")
	for _, f := range all {
		t.row(thousands(f.Cameras)+", "+fmt.Sprint(f.Processes), thousands(f.Moved), fmt.Sprintf("%.1f, %.1f, %.1f s", f.Detected, f.Half, f.All),
			thousands(f.Requests)+"; "+thousands(f.Peak), thousands(f.Controller)+"; "+thousands(f.ControllerPeak),
			fmt.Sprintf("%.1f s; %s, %s", f.StartAll, thousands(f.StartController), thousands(f.StartControllerPeak)))
	}
	return t.String()
}
