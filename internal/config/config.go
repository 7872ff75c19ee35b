// Package config loads Framelog's configuration: a YAML file, FRAMELOG_*
// variables and flags, in rising precedence. [Config] is all of it: each key's
// name, default and meaning stand in its field's tags, from which the loader
// and the reference in docs/configuration.md are made.
package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Config is the whole configuration. A value of a field is never the zero
// "means its default": Load has put the default there.
type Config struct {
	Listen       string   `yaml:"listen" default:"127.0.0.1:8080" doc:"Address of the page, HLS, API and metrics. Another one than the loopback needs insecure: true, since nobody is asked for a password."`
	Insecure     bool     `yaml:"insecure" default:"false" doc:"Let listen, broker_listen and --http of single roles be addresses that others can reach: everybody there sees all cameras, adds and removes them."`
	Data         string   `yaml:"data" default:"./data" doc:"Directory of the embedded broker, secrets and HLS files. One running Framelog has it for itself."`
	Brokers      []string `yaml:"brokers" default:"" doc:"Kafka or Redpanda brokers, host:port each. Empty: the embedded broker."`
	BrokerListen string   `yaml:"broker_listen" default:"127.0.0.1:9092" doc:"Address of the embedded broker. Another one than the loopback needs insecure: true, since it asks nobody for a password."`
	TopicPrefix  string   `yaml:"topic_prefix" default:"" doc:"What stands before every topic name, so that several Framelogs can share a cluster."`
	SecretsDir   string   `yaml:"secrets_dir" default:"" doc:"Directory of the files that ${file:NAME} in a camera's URL means. Empty: secrets below data."`

	Log    Log    `yaml:"log"`
	Broker Broker `yaml:"broker"`
	Topics Topics `yaml:"topics"`
	Ingest Ingest `yaml:"ingest"`
	Egress Egress `yaml:"egress"`

	Cameras []Camera `yaml:"cameras" doc:"The cameras that this file keeps. Those added on the page or over the API are beside them."`

	// Path is the file that was read, empty where there was none; origin says
	// where each key's value is from.
	Path   string `yaml:"-"`
	origin map[string]string
}

// Log is how messages are written.
type Log struct {
	Level  string `yaml:"level" default:"info" oneof:"debug,info,warn,error" doc:"Least important messages that are written."`
	Format string `yaml:"format" default:"text" oneof:"text,json" doc:"Form of a line."`
}

// Broker is the embedded broker.
type Broker struct {
	Limit Size `yaml:"limit" default:"1GiB" min:"32MiB" doc:"Most disk that the embedded broker's log takes, all cameras together: the oldest footage goes first. Its next start after a crash takes as much memory."`
}

// Topics is how cameras' topics are made.
type Topics struct {
	Partitions     int      `yaml:"partitions" default:"2" min:"1" max:"64" doc:"Partitions of a camera's topic: as many processes can work on one camera at a time. It may grow, not shrink."`
	Retention      Duration `yaml:"retention" default:"24h" min:"1m" doc:"How long Kafka keeps footage. The embedded broker keeps less where its limit is reached before."`
	RetentionBytes Size     `yaml:"retention_bytes" default:"0" doc:"Most bytes of footage a camera. 0: no limit but retention."`
	SegmentBytes   Size     `yaml:"segment_bytes" default:"0" doc:"Segment size of footage: Kafka removes whole segments. 0: 64MiB, and with the embedded broker what suits its limit."`
	Budget         Size     `yaml:"budget" default:"16MiB" min:"1MiB" doc:"Bytes a camera that wait in memory for Kafka; beyond it whole fragments are refused and become gaps."`
}

// Ingest is how cameras are recorded.
type Ingest struct {
	Instance       string   `yaml:"instance" default:"" doc:"Name of this ingest process among all: it must differ from the others' and stay when the process is started again, which then has its cameras back at once. Empty: a process that died gets cameras again after session_timeout; framelog up gives a name."`
	MinFragment    Duration `yaml:"min_fragment" default:"1s" min:"1s" max:"30s" doc:"Shortest fragment, which is an HLS segment: one begins at the first keyframe that comes so long after the last one's start."`
	ChunkDuration  Duration `yaml:"chunk_duration" default:"200ms" min:"40ms" max:"2s" doc:"Length of a chunk, which is a record in Kafka and a part of low-latency HLS: shorter is less delay and more work."`
	SessionTimeout Duration `yaml:"session_timeout" default:"8s" min:"6s" max:"10s" doc:"How long after the death of an ingest process the others take its cameras."`
	ReconnectMax   Duration `yaml:"reconnect_max" default:"15s" min:"1s" max:"10m" doc:"Longest wait before a camera that is away is tried again."`
	ConnectTimeout Duration `yaml:"connect_timeout" default:"5s" min:"1s" max:"1m" doc:"How long a camera may take to accept a connection."`
	StallTimeout   Duration `yaml:"stall_timeout" default:"10s" min:"1s" max:"5m" doc:"How long a camera may send no picture before it is connected anew."`
	DiskReserve    Size     `yaml:"disk_reserve" default:"2GiB" doc:"Free disk below which recording stops, with gaps, where the embedded broker is on this machine. 0: none."`
}

// Egress is how cameras are served.
type Egress struct {
	Mode        string   `yaml:"mode" default:"on_demand" oneof:"on_demand,always" doc:"on_demand follows a camera while somebody watches it; always keeps every camera's HLS files on disk, for a web server to serve."`
	Window      Duration `yaml:"window" default:"60s" min:"6s" max:"1h" doc:"Footage in a live playlist."`
	Linger      Duration `yaml:"linger" default:"30s" min:"1s" doc:"How long a camera is followed after its last request, on_demand."`
	HLSDir      string   `yaml:"hls_dir" default:"" doc:"Directory of the files of mode always, for one egress process alone: it removes what it finds there. Empty: hls below data."`
	CacheBytes  Size     `yaml:"cache_bytes" default:"256MiB" min:"1MiB" doc:"Memory for segments at hand."`
	LiveBytes   Size     `yaml:"live_bytes" default:"4MiB" min:"1MiB" doc:"The most of cache_bytes that the complete segments of one followed camera take at the live edge: the newest is always there, older ones within this. Segments that are files are not in memory."`
	MaxTails    int      `yaml:"max_tails" default:"256" min:"1" doc:"Cameras that are followed at a time."`
	MaxWaiters  int      `yaml:"max_waiters" default:"4096" min:"1" doc:"Requests that wait for something that is to come."`
	MaxRebuilds int      `yaml:"max_rebuilds" default:"4" min:"1" doc:"Segments that are made from the log at a time."`
	DiskReserve Size     `yaml:"disk_reserve" default:"3GiB" doc:"Free disk below which mode always has no files: they make room for recording. The default is at least 1GiB more than ingest.disk_reserve."`
	MaxAge      Duration `yaml:"max_age" default:"1h" min:"1s" doc:"How long caches may keep segments: less than topics.retention. Where that is an hour or less the default is half of it."`
	Hosts       []string `yaml:"hosts" default:"" doc:"Names or addresses, beside the loopback's, that requests may go to when listen is the loopback: those of a reverse proxy in front, as cams.example or 10.0.0.5. Any other gets 421, since a page elsewhere could point its own name here."`
}

// Camera is one entry of cameras.
type Camera struct {
	ID          string `yaml:"id" doc:"What the camera is called in topics and URLs, for ever: 1 to 63 of a-z, 0-9 and -, not beginning with -. Needed."`
	Label       string `yaml:"label" default:"" doc:"What people read."`
	URL         string `yaml:"url" doc:"rtsp:// or rtsps://. User and password, and values in its path and query, may be ${FRAMELOG_SECRET_X} (an environment variable) or ${file:NAME} (a file in secrets_dir); framelog up puts a plain password into such a file. Needed."`
	Transport   string `yaml:"transport" default:"" oneof:",tcp,udp" doc:"Empty: TCP, and UDP where that gives nothing."`
	InsecureTLS bool   `yaml:"insecure_tls" default:"false" doc:"Take any certificate of an rtsps camera."`
	NoAudio     bool   `yaml:"no_audio" default:"false" doc:"Leave the sound out."`
	Disabled    bool   `yaml:"disabled" default:"false" doc:"Do not connect to it."`

	Origin string `yaml:"-"` // file:line
}

// Error is a wrong configuration: the one line that a person reads.
type Error struct {
	Where  string // "framelog.yaml:12", "FRAMELOG_LISTEN", "--listen"; may be empty
	Key    string // "cameras[1].id"; may be empty
	What   string
	Remedy string // may be empty
}

func (e *Error) Error() string {
	var b strings.Builder
	for _, s := range []string{e.Where, e.Key} {
		if s != "" && (s != e.Key || e.Where != "--"+e.Key) {
			b.WriteString(s + ": ")
		}
	}
	b.WriteString(e.What)
	if e.Remedy != "" {
		b.WriteString("; " + e.Remedy)
	}
	return b.String()
}

// IsError says whether err is about the configuration, and so for the exit
// code 2.
func IsError(err error) bool {
	var e *Error
	return errors.As(err, &e)
}

// Errorf makes an error of a key, with where its value is from.
func (c *Config) Errorf(key, remedy, format string, args ...any) error {
	return &Error{Where: c.origin[key], Key: key, What: fmt.Sprintf(format, args...), Remedy: remedy}
}

// Where says where a key's value is from: file:line, a variable or a flag;
// empty where it is the default.
func (c *Config) Where(key string) string { return c.origin[key] }

// Embedded says whether the embedded broker is used.
func (c *Config) Embedded() bool { return len(c.Brokers) == 0 }

// Size is a number of bytes: "512MiB", "1GiB", "0".
type Size int64

var units = []struct {
	name string
	n    Size
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3}, {"B", 1}}

// ParseSize reads a Size.
func ParseSize(s string) (Size, error) {
	t, n := strings.TrimSpace(s), Size(1)
	for _, u := range units {
		if rest, ok := strings.CutSuffix(t, u.name); ok {
			t, n = strings.TrimSpace(rest), u.n
			break
		}
	}
	v, err := strconv.ParseFloat(t, 64)
	if err != nil || !(v >= 0 && v*float64(n) <= 1<<60) { // NaN is neither
		return 0, fmt.Errorf("%q is no size", s)
	}
	return Size(v * float64(n)), nil
}

func (s Size) String() string {
	for _, u := range units[:4] {
		if s >= u.n && s%u.n == 0 {
			return strconv.FormatInt(int64(s/u.n), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// MarshalYAML writes a size as it is read.
func (s Size) MarshalYAML() (any, error) { return s.String(), nil }

// Duration is a span of time: "200ms", "30s", "24h".
type Duration time.Duration

func (d Duration) String() string {
	s := time.Duration(d).String()
	if rest, ok := strings.CutSuffix(s, "m0s"); ok {
		s = rest + "m"
	}
	if rest, ok := strings.CutSuffix(s, "h0m"); ok {
		s = rest + "h"
	}
	return s
}

// MarshalYAML writes a duration as it is read.
func (d Duration) MarshalYAML() (any, error) { return d.String(), nil }
