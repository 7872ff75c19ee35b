// Package sizing computes what a Framelog of many cameras needs: from costs that were measured
// for one camera (BenchmarkSizing in tests/bench) and from limits of brokers that their vendors
// publish. docs/sizing.md has its output.
package sizing

import (
	"math"
	"time"
)

// Names of what costs something, in the order of the tables.
const (
	Ingest  = "ingest"
	Broker  = "embedded broker"
	Always  = "egress, always"
	Watched = "egress, on_demand, a low-latency viewer"
)

// Processors are the names of the built-in processors that are measured.
var Processors = []string{"thumbnail", "motion", "redact", "transcode"}

// Measured are the costs of one camera on one kind of machine.
type Measured struct {
	Cores   int     `json:"cores"` // of the machine
	Input   string  `json:"input"`
	Seconds float64 `json:"seconds"` // of each measurement
	Rates   []Rate  `json:"rates"`
}

// Rate is what a camera with one bit rate costs.
type Rate struct {
	Mbit  float64         `json:"mbit"`
	Costs map[string]Cost `json:"costs"` // of one camera, by name; none: CPU and memory were not measured at this rate
	// Overhead is how many bytes of records stand in the log for a byte of footage, the index
	// included.
	Overhead float64 `json:"overhead"`
}

// Cost is of one camera.
type Cost struct {
	Cores float64 `json:"cores"`
	MB    float64 `json:"mb"` // memory, in 10^6 bytes
}

// Rate returns the costs at a bit rate.
func (m *Measured) Rate(mbit float64) (Rate, bool) {
	for _, r := range m.Rates {
		if r.Mbit == mbit {
			return r, true
		}
	}
	return Rate{}, false
}

// Setting is what the operator decides.
type Setting struct {
	Cameras    int
	Mbit       float64       // of a camera
	Partitions int           // topics.partitions
	Replicas   int           // copies of each partition
	Retention  time.Duration // topics.retention
	Renditions int           // of each camera, beside its own footage
	Readers    int           // how many processors read all footage of each camera
	Watched    float64       // part of the cameras that somebody watches
}

// Default is what the tables of docs/sizing.md are for.
func Default(cameras int, mbit float64) Setting {
	return Setting{Cameras: cameras, Mbit: mbit, Partitions: 2, Replicas: 3, Retention: 24 * time.Hour, Readers: 1, Watched: 0.1}
}

// Load is what a setting means for the brokers.
type Load struct {
	Topics     int
	Partitions int     // of all topics of footage, without copies
	Replicas   int     // with copies
	In         float64 // MB/s from ingest
	Written    float64 // MB/s to all disks
	Out        float64 // MB/s to other brokers and to readers
	Kept       float64 // TB on all disks
	Segments   int     // files of records on all disks; Apache Kafka has two more files and two memory maps for each
}

// What decides how many segments there are (internal/medialog): a segment of footage has at
// most this size, and at most 10 min; one of an index has an hour.
const (
	segmentBytes    = 64 << 20
	segmentsPerHour = 6.0
)

// Load computes it. r is the cost at the setting's bit rate. Renditions are counted as
// partitions; their bytes are not, since they differ from 1 KB/s (motion) to as much as the
// camera's own.
func (s Setting) Load(r Rate) Load {
	of := s.Cameras * (1 + s.Renditions)
	l := Load{Topics: 2 * of, Partitions: of * (s.Partitions + 1)} // the index has one partition
	l.Replicas = l.Partitions * s.Replicas
	l.In = float64(s.Cameras) * r.PerSecond() / 1e6
	l.Written = l.In * float64(s.Replicas)
	l.Out = l.In * (float64(s.Replicas-1) + float64(s.Readers) + s.Watched)
	l.Kept = l.Written * s.Retention.Seconds() / 1e6
	l.Segments = s.segments(r)
	return l
}

// segments returns how many segments there are, with copies. The one that is written counts too.
func (s Setting) segments(r Rate) int {
	hours, copies := s.Retention.Hours(), float64(s.Replicas)
	own := max(r.PerSecond()*3600/float64(s.Partitions)/segmentBytes, segmentsPerHour)
	media := float64(s.Cameras*s.Partitions) * (own*hours + 1 + float64(s.Renditions)*(segmentsPerHour*hours+1))
	index := float64(s.Cameras*(1+s.Renditions)) * (hours + 1)
	return int(copies*(media+index) + 0.5)
}

// PerSecond returns the bytes a second that a camera adds to the log, in one copy.
func (r Rate) PerSecond() float64 { return r.Mbit * 1e6 / 8 * max(r.Overhead, 1) }

// Total returns what n cameras cost.
func (r Rate) Total(name string, n float64) Cost {
	c := r.Costs[name]
	return Cost{Cores: c.Cores * n, MB: c.MB * n}
}

// Host is a broker's machine.
type Host struct {
	Cores    int
	MemoryGB float64
	DiskTB   float64
	NetGbit  float64 // in each direction
}

// DefaultHost is a usual server for a broker.
var DefaultHost = Host{Cores: 16, MemoryGB: 64, DiskTB: 20, NetGbit: 10}

// How much of a host is planned for: the rest is for what comes after a failure, and for peaks.
const (
	diskFull = 0.8
	netFull  = 0.5
)

// Limit is one of a kind of brokers.
type Limit struct {
	Name    string
	Brokers int // that the load needs because of it
}

// least is the fewest brokers with three copies.
const least = 3

// common are the limits that any broker has.
func common(l Load, h Host) []Limit {
	return []Limit{
		{"disk", brokers(l.Kept, h.DiskTB*diskFull)},
		{"network", brokers(max(l.Written, l.Out)*8/1000, h.NetGbit*netFull)},
	}
}

// Limits that vendors publish; docs/sizing.md names the sources. All count copies.
const (
	// Apache Kafka: partitions of a broker. On small machines Amazon MSK recommends fewer.
	KafkaPerBroker = 4000

	// Redpanda: MB of memory for each partition, and partitions of each core.
	RedpandaMBPerReplica = 2
	RedpandaPerCore      = 5000
)

// Kafka returns how many brokers of Apache Kafka a load needs, by what limits them.
func Kafka(l Load, h Host) []Limit {
	per := KafkaPerBroker
	switch {
	case h.Cores <= 4:
		per = 1000
	case h.Cores <= 8:
		per = 2000
	}
	return append(common(l, h), Limit{"partitions", brokers(float64(l.Replicas), float64(per))})
}

// Redpanda returns the same for Redpanda.
func Redpanda(l Load, h Host) []Limit {
	memory := float64(l.Replicas) * RedpandaMBPerReplica / 1000
	return append(common(l, h),
		Limit{"memory", brokers(memory, h.MemoryGB)},
		Limit{"partitions", brokers(float64(l.Replicas), float64(h.Cores*RedpandaPerCore))})
}

// brokers returns how many are needed if each does so much.
func brokers(all, each float64) int { return max(int(math.Ceil(all/each-1e-9)), least) }

// Binding returns the limit that needs the most brokers; the first of several.
func Binding(all []Limit) (most Limit) {
	for _, l := range all {
		if l.Brokers > most.Brokers {
			most = l
		}
	}
	return most
}
