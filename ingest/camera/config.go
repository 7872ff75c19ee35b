package camera

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/framelog/framelog/ingest"
	"github.com/framelog/framelog/ingest/assemble"
	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
)

// Config is an ingest process's settings. The zero value of each field but
// Kafka means its default.
type Config struct {
	Kafka kafka.Config

	// Instance names this process in statuses, in the log and in the consumer
	// group: one that is started again under it within SessionTimeout has its
	// cameras back at once. It must differ between processes. Default: host,
	// process id and a random number, and no name in the group, so that a
	// process that died comes back as another.
	Instance string
	// Host is where it runs. Default: the host's name.
	Host string

	// SessionTimeout is how long after the death of an ingest process the
	// others take its cameras. 6s to 10s, which Kafka's brokers allow by
	// default; default 8s.
	SessionTimeout time.Duration
	// ReconnectMin and ReconnectMax bound the wait before a camera is
	// connected again, which doubles each time and is taken at random between
	// its half and its whole. Default 500ms and 15s.
	ReconnectMin, ReconnectMax time.Duration
	// OpenWait is how long a camera may give no connection before its log is
	// opened all the same, which ends the connection of an owner before.
	// Default 5s.
	OpenWait time.Duration
	// ReleaseWait is how long a camera that went to another process is
	// recorded here if that one does not begin. Default 30s.
	ReleaseWait time.Duration
	// CloseWait is how long the end of a camera waits for Kafka to take what
	// was recorded. Default 5s.
	CloseWait time.Duration
	// StatusEvery is the most time between two statuses of a camera. Default
	// 10s; readers take a status to be stale after 30s.
	StatusEvery time.Duration

	// Assembler is how chunks and fragments are made; its Camera and Problem
	// are set here, its FrameTime at each connection.
	Assembler assemble.Config

	// ReservePath and ReserveBytes: recording stops, with gaps of reason
	// "storage", while fewer bytes are free on the path's file system.
	// Default: no reserve, for a broker that is elsewhere.
	ReservePath  string
	ReserveBytes int64

	member string // Instance as it was configured
}

func (c Config) withDefaults() (Config, error) {
	if c.Host == "" {
		host, err := os.Hostname()
		if err != nil {
			return c, fmt.Errorf("find host name: %w", err)
		}
		c.Host = host
	}
	c.member = c.Instance
	if c.Instance == "" {
		c.Instance = fmt.Sprintf("%s-%d-%04x", c.Host, os.Getpid(), rand.N(1<<16))
	}
	c.SessionTimeout = cmp.Or(c.SessionTimeout, 8*time.Second)
	c.ReconnectMin = cmp.Or(c.ReconnectMin, 500*time.Millisecond)
	c.ReconnectMax = cmp.Or(c.ReconnectMax, 15*time.Second)
	c.OpenWait = cmp.Or(c.OpenWait, 5*time.Second)
	c.ReleaseWait = cmp.Or(c.ReleaseWait, 30*time.Second)
	c.CloseWait = cmp.Or(c.CloseWait, 5*time.Second)
	c.StatusEvery = cmp.Or(c.StatusEvery, 10*time.Second)
	switch {
	case c.SessionTimeout < 6*time.Second || c.SessionTimeout > 10*time.Second:
		return c, fmt.Errorf("session timeout %v: want 6s to 10s", c.SessionTimeout)
	case c.ReconnectMin < 0 || c.ReconnectMax < c.ReconnectMin:
		return c, fmt.Errorf("reconnect wait %v to %v: want a range", c.ReconnectMin, c.ReconnectMax)
	case c.OpenWait < 0 || c.ReleaseWait < 0 || c.CloseWait < 0 || c.StatusEvery < 0:
		return c, errors.New("a wait is negative")
	case c.ReserveBytes > 0 && c.ReservePath == "":
		return c, errors.New("a disk reserve needs a path")
	}
	return c, c.Kafka.Validate()
}

// Registry is what a Service needs of *registry.Client.
type Registry interface {
	Ensure(ctx context.Context) error
	PutStatus(s schemas.Status)
	DeleteStatus(id string)
}

// Deps is what a Service works with.
type Deps struct {
	Registry Registry
	// NewSource makes the source of a camera: one for all connections until the
	// camera's record changes, so that it can remember what it learns of the camera.
	NewSource func(cam schemas.Camera) ingest.Source
	// Open opens a camera's log; it returns at once (medialog.Log.Open). ctx
	// does not end while the writer is in use.
	Open func(ctx context.Context, t schemas.Topic, o medialog.OpenOptions) Writer
	// IndexEnd is the offset at which a camera's index ends
	// (medialog.Log.IndexEnd).
	IndexEnd func(ctx context.Context, t schemas.Topic) (int64, error)
	// Forget is told of a camera that is no longer recorded here
	// (medialog.Log.Forget). It may be nil.
	Forget func(id string)

	newAssembler func(assemble.Config, assemble.Recorder) assembler // tests have their own
}

// assembler is what a camera needs of an [assemble.Assembler].
type assembler interface {
	ingest.Sink
	Flush()
	Stats() assemble.Stats
	FrameTime(d time.Duration)
}
