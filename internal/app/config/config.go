// Package config loads Framelog's configuration: a YAML file, FRAMELOG_*
// variables and flags, in rising precedence. [Config] holds the settings that
// roles share. A role declares its own keys as a [Section]. The tags of a field
// give the key's name, its names in earlier versions (was), default, bounds and
// meaning; the loader and the reference in docs/configuration.md are made from them.
package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Config is the whole configuration after a load: a field that nothing sets
// holds its default.
type Config struct {
	Listen       string   `yaml:"listen" default:"127.0.0.1:8080" doc:"Address of the page, HLS, API and metrics. An address that other machines can reach needs access.enabled: true, or insecure: true."`
	Insecure     bool     `yaml:"insecure" default:"false" doc:"Allow addresses that other machines can reach, without passwords and without TLS: of listen, broker_listen, demo.listen and --http of single roles. Everybody on these machines can then read and change the log; unless access.enabled is true, they can also see, add and remove all cameras."`
	Data         string   `yaml:"data" default:"./data" doc:"Directory of the embedded broker, secrets and HLS files. Two running Framelogs cannot share it."`
	Brokers      []string `yaml:"brokers" default:"" doc:"Kafka or Redpanda brokers, host:port each. Empty: the embedded broker."`
	BrokerListen string   `yaml:"broker_listen" default:"127.0.0.1:9092" doc:"Address of the embedded broker. An address that other machines can reach needs insecure: true, since the broker asks for no password."`
	TopicPrefix  string   `yaml:"topic_prefix" default:"" doc:"Prefix of every topic name, so that several Framelogs can share a cluster."`
	SecretsDir   string   `yaml:"secrets_dir" default:"" doc:"Directory of secrets: ${file:NAME} in a camera's URL is the file NAME there. Empty: the directory secrets in data."`

	Kafka  Kafka     `yaml:"kafka"`
	Access Access    `yaml:"access"`
	TLS    ServerTLS `yaml:"tls"`

	Log    Log    `yaml:"log"`
	Topics Topics `yaml:"topics"`

	// Sections are the sections of the Loader. Their keys are at the same level as
	// the others.
	Sections Sections `yaml:"-"`

	Name    string   `yaml:"name" default:"" doc:"Name of this file in the registry. A file with a name may move to another host. Empty: the name of the file without its ending. Then a file with the same name in another place is another file."`
	Cameras []Camera `yaml:"cameras" doc:"The cameras of this file. Cameras of the page and the API exist beside them."`

	Processors []Processor `yaml:"processors" doc:"The processors that framelog up runs on this machine, and that framelog process NAME finds here. If the file has no such key, framelog up --demo runs motion and thumbnail on the cameras of the demo."`

	// Path is the file that was read; empty if there was none. origin maps a key
	// to the place that set its value.
	Path   string `yaml:"-"`
	origin map[string]string
	named  bool
}

// Kafka is how the brokers and the clients of Framelog know each other.
type Kafka struct {
	SASL SASL `yaml:"sasl"`
	TLS  TLS  `yaml:"tls"`
}

// SASL is the user of this process.
type SASL struct {
	Mechanism string `yaml:"mechanism" default:"" oneof:",plain,scram-sha-256,scram-sha-512" doc:"How this process proves its user to the brokers. Empty: it has none. plain sends the password itself, so use it with TLS."`
	User      string `yaml:"user" default:"" doc:"User of this process in the brokers. Each role may have its own: see docs/kafka-security.md."`
	Password  string `yaml:"password" default:"" doc:"${FRAMELOG_SECRET_X} (an environment variable), ${file:NAME} (a file in secrets_dir, with the password in its only line), or the password itself. It is read for each connection, so a new one needs no restart."`
}

// TLS is the encryption of connections to the brokers. The files are in PEM.
type TLS struct {
	Enabled    bool   `yaml:"enabled" default:"false" doc:"Connect to the brokers with TLS. The files below are read for each connection, so new ones need no restart."`
	CA         string `yaml:"ca" default:"" doc:"File with the certificates of authorities (PEM) that the brokers' certificates may be signed by. Empty: those that the system trusts."`
	Cert       string `yaml:"cert" default:"" doc:"File with the certificate of this process (PEM), for brokers that ask for one."`
	Key        string `yaml:"key" default:"" doc:"File with the key of that certificate (PEM, without a password)."`
	ServerName string `yaml:"server_name" default:"" doc:"Name in the brokers' certificates. Empty: the host by which each broker is reached."`
}

// Log is the settings of log messages.
type Log struct {
	Level  string `yaml:"level" default:"info" oneof:"debug,info,warn,error" doc:"Lowest level of the messages that are written."`
	Format string `yaml:"format" default:"text" oneof:"text,json" doc:"Format of a line."`
}

// Topics is the settings of the topics of cameras.
type Topics struct {
	Partitions     int      `yaml:"partitions" default:"2" min:"1" max:"64" doc:"Partitions of a camera's topic: as many processes can work on one camera at the same time. You can raise it later, but not lower it."`
	Replicas       int      `yaml:"replicas" default:"0" min:"0" max:"15" doc:"Copies of a new topic, each on another broker. 0: 3 in a cluster of 3 brokers or more, else 1. Set it if a broker may be away at the very first start (docs/operating.md#kafka-and-redpanda)."`
	Retention      Duration `yaml:"retention" default:"24h" min:"1m" doc:"How long Kafka keeps footage. The embedded broker keeps less if it reaches its limit before."`
	RetentionBytes Size     `yaml:"retention_bytes" default:"0" doc:"Most bytes of footage of one camera, and of each of its renditions, all partitions together. 0: only retention limits it."`
	SegmentBytes   Size     `yaml:"segment_bytes" default:"0" doc:"Segment size of footage. Kafka deletes whole segments. 0: 64MiB; with the embedded broker a size that suits its limit."`
	Budget         Size     `yaml:"budget" default:"16MiB" min:"1MiB" doc:"Most bytes of one camera that wait in memory for Kafka. Beyond it whole fragments are refused and become gaps."`
}

// Camera is one entry of cameras.
type Camera struct {
	ID          string   `yaml:"id" doc:"Name of the camera in topics and URLs, which never changes: 1 to 63 of a-z, 0-9 and -, not beginning with -. Needed."`
	Label       string   `yaml:"label" default:"" doc:"Name of the camera for people."`
	URL         string   `yaml:"url" doc:"rtsp:// or rtsps://, or framelog:// for a replay (docs/operating.md#replay). User and password, and values in its path and query, may be ${FRAMELOG_SECRET_X} (an environment variable) or ${file:NAME} (a file in secrets_dir); framelog up puts a plain password into such a file. A secret goes to the host and port of the cameras here that use it, and to no other. Needed."`
	Substream   string   `yaml:"substream" default:"" doc:"URL of the camera's second stream, as rtsp://10.0.0.5/stream2: a smaller picture, which is recorded as rendition sub, and which walls show. User and password are as in url; the other settings are for both streams. Empty: none."`
	Transport   string   `yaml:"transport" default:"" oneof:",tcp,udp" doc:"Empty: TCP first, then UDP."`
	InsecureTLS bool     `yaml:"insecure_tls" default:"false" doc:"Accept any certificate of an rtsps camera."`
	NoAudio     bool     `yaml:"no_audio" default:"false" doc:"Leave the sound out."`
	Disabled    bool     `yaml:"disabled" default:"false" doc:"Do not connect to it."`
	Engine      string   `yaml:"engine" default:"" oneof:",gstreamer,native" doc:"What speaks RTSP with it. Empty: ingest.rtsp.engine."`
	Chunk       Duration `yaml:"chunk_duration" default:"0s" max:"2s" doc:"Length of its chunks. A chunk has at least one picture, so 1ms makes a chunk of each: the least delay, at the price of more work (docs/benchmarks.md#chunks-of-one-picture). 0s: ingest.chunk_duration."`

	Origin string `yaml:"-"` // file:line
}

// Error is an error of the configuration. Its text is one line for people.
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

// IsError reports whether err is an [Error]. Such errors end the program with
// exit code 2.
func IsError(err error) bool {
	var e *Error
	return errors.As(err, &e)
}

// Errorf returns an [Error] about a key. The error names the place that set the
// key's value.
func (c *Config) Errorf(key, remedy, format string, args ...any) error {
	return &Error{Where: c.origin[key], Key: key, What: fmt.Sprintf(format, args...), Remedy: remedy}
}

// Where is the place that set a key's value: file:line, a variable or a flag;
// empty if the value is the default.
func (c *Config) Where(key string) string { return c.origin[key] }

// Embedded reports whether the embedded broker is used.
func (c *Config) Embedded() bool { return len(c.Brokers) == 0 }

// Addresses are the addresses of the brokers, also of the embedded one.
func (c *Config) Addresses() []string {
	if c.Embedded() {
		return []string{c.BrokerListen}
	}
	return c.Brokers
}

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
