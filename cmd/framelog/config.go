package main

import (
	"os"
	"time"

	"github.com/framelog/framelog/internal/app/brokers"
	"github.com/framelog/framelog/internal/app/config"
	"github.com/framelog/framelog/internal/broker"
	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/internal/medialog"
)

// settings are the flags of all commands. They override the environment, which
// overrides the file.
type settings struct {
	Config    string  `help:"Configuration file (YAML)." short:"c" env:"FRAMELOG_CONFIG" placeholder:"FILE" group:"Of all commands:"`
	Data      *string `help:"Directory of the broker's log, secrets and HLS files. Default: ./data." placeholder:"DIR" group:"Of all commands:"`
	Brokers   *string `help:"Kafka brokers, separated by commas. Default: the embedded broker, at 127.0.0.1:9092 or where broker_listen says." placeholder:"HOST:PORT" group:"Of all commands:"`
	LogLevel  *string `help:"debug, info, warn or error." placeholder:"LEVEL" group:"Of all commands:"`
	LogFormat *string `help:"text or json." placeholder:"FORMAT" group:"Of all commands:"`
}

// load reads the whole configuration. more are further flags by key. ownEnv are
// prefixes of variables that the caller reads by itself.
func (s settings) load(more map[string]*string, ownEnv ...string) (*config.Config, error) {
	return loadConfig(s.Config, os.Environ(), s.flags(more), ownEnv...)
}

// flags returns the flags that are given, by key.
func (s settings) flags(more map[string]*string) map[string]string {
	flags := make(map[string]string)
	for k, v := range map[string]*string{"data": s.Data, "brokers": s.Brokers, "log.level": s.LogLevel, "log.format": s.LogFormat} {
		if v != nil {
			flags[k] = *v
		}
	}
	for k, v := range more {
		if v != nil {
			flags[k] = *v
		}
	}
	return flags
}

// loadConfig reads a configuration with the sections of all roles.
func loadConfig(path string, environ []string, flags map[string]string, ownEnv ...string) (*config.Config, error) {
	l := newLoader()
	l.OwnEnv = ownEnv
	cfg, err := l.Load(path, environ, flags)
	if err != nil {
		return nil, err
	}
	return cfg, checkTogether(cfg)
}

// newLoader makes a loader with the sections of all roles and all kinds of processors.
func newLoader() (l config.Loader) {
	for _, r := range roles() {
		if r.section.Key != "" {
			l.Sections = append(l.Sections, r.section)
		}
	}
	for _, k := range kinds() {
		l.Kinds = append(l.Kinds, k.Kind)
	}
	return l
}

// checkTogether does the checks and sets the defaults that concern several
// sections.
func checkTogether(cfg *config.Config) error {
	ingest, egress := config.Get[ingestConfig](cfg), config.Get[egressConfig](cfg)
	if cfg.Where("egress.disk_reserve") == "" { // HLS files make room before recording stops
		egress.DiskReserve = max(egress.DiskReserve, ingest.DiskReserve+1<<30)
	}
	if archive := config.Get[archiveConfig](cfg); cfg.Where("archive.disk_reserve") == "" { // the archive makes room before both
		archive.DiskReserve = max(archive.DiskReserve, egress.DiskReserve+1<<30, config.Size(diskSize(archive.Dir)/20))
	}
	if egress.MaxAge >= cfg.Topics.Retention {
		if cfg.Where("egress.max_age") != "" {
			return cfg.Errorf("egress.max_age", "lower it, or keep footage longer", "%s is not less than topics.retention, %s: caches would hold what Kafka has removed",
				egress.MaxAge, cfg.Topics.Retention)
		}
		egress.MaxAge = cfg.Topics.Retention / 2
	}
	return nil
}

// flagValue returns the value of a boolean flag; nil if the flag was not given.
func flagValue(given bool) *string {
	if !given {
		return nil
	}
	s := "true"
	return &s
}

// kafkaConfig returns the settings of a Kafka client. client is the name that
// it gives to the brokers.
func kafkaConfig(cfg *config.Config, client string) kafka.Config {
	return brokers.Kafka(cfg, client)
}

// logConfig is kafkaConfig with the settings of the log.
func logConfig(cfg *config.Config, client string) medialog.Config {
	segment := int64(cfg.Topics.SegmentBytes)
	if segment == 0 && cfg.Embedded() {
		segment = broker.SegmentBytes(int64(config.Get[brokerConfig](cfg).Limit))
	}
	retention := int64(cfg.Topics.RetentionBytes)
	if retention == 0 {
		retention = -1
	}
	return medialog.Config{
		Kafka: kafkaConfig(cfg, client), Partitions: int32(cfg.Topics.Partitions),
		Retention: time.Duration(cfg.Topics.Retention), RetentionBytes: retention,
		SegmentBytes: segment, Budget: int64(cfg.Topics.Budget),
	}
}

// readerConfig is logConfig for those that read footage and must not wait for a record that cannot
// be decoded: the archiver, and commands for which a person waits.
func readerConfig(cfg *config.Config, client string) medialog.Config {
	c := logConfig(cfg, client)
	c.EndAtDamage = true
	return c
}
