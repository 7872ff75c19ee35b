package processors

import (
	"cmp"
	"time"

	"github.com/framelog/framelog/internal/app/brokers"
	"github.com/framelog/framelog/internal/app/config"
)

// embeddedSegment is the segment size that suits the embedded broker with its default
// limit. The broker can only delete whole segments.
const embeddedSegment = 4 << 20

// runnerConfig returns the settings of a Runner that the configuration has.
func runnerConfig(cfg *config.Config) Config {
	t, k := cfg.Topics, brokers.Kafka(cfg, "")
	c := Config{
		Brokers: k.Brokers, TLS: k.TLS, SASL: SASL(k.SASL), TopicPrefix: k.Prefix,
		Topics: TopicSettings{
			Partitions: int32(t.Partitions), Replicas: t.Replicas, Retention: time.Duration(t.Retention), RetentionBytes: int64(t.RetentionBytes),
			SegmentBytes: int64(t.SegmentBytes), Budget: int64(t.Budget),
		},
	}
	if cfg.Embedded() {
		c.Topics.SegmentBytes = cmp.Or(c.Topics.SegmentBytes, embeddedSegment)
	}
	return c
}

// override sets what the configuration says of the processor.
func (p *Processor) override(e *config.Processor) {
	if len(e.Cameras) > 0 {
		p.Cameras = e.Cameras
	}
	p.Input = cmp.Or(e.Input, p.Input)
	p.Policy = cmp.Or(Policy(e.Policy), p.Policy)
	p.MaxLag = cmp.Or(time.Duration(e.MaxLag), p.MaxLag)
	p.Concurrency = cmp.Or(e.Concurrency, p.Concurrency)
	p.Attempts = cmp.Or(e.Attempts, p.Attempts)
	p.Deadline = cmp.Or(time.Duration(e.Deadline), p.Deadline)
}
