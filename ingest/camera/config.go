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
	"github.com/framelog/framelog/internal/share"
	"github.com/framelog/framelog/schemas"
)

// Config is an ingest process's settings. The zero value of each field but
// Kafka means its default.
type Config struct {
	Kafka kafka.Config

	// Instance names this process in statuses, in the log and in the consumer
	// group. A process that is started again with the same name within
	// SessionTimeout gets its cameras back at once. It must differ between
	// processes. Default: host, process id and a random number, and no name in the
	// group; then a restarted process is a new member.
	Instance string
	// Host is where it runs. Default: the host's name.
	Host string

	// SessionTimeout is how long after the death of an ingest process the
	// others take its cameras. 6s to 10s, which Kafka's brokers allow by
	// default; default 8s.
	SessionTimeout time.Duration
	// ReconnectMin and ReconnectMax bound the wait before a camera is connected
	// again. The wait doubles each time, and its actual length is random between
	// half and all of it. Default 500ms and 15s.
	ReconnectMin, ReconnectMax time.Duration
	// OpenWait is how long a camera may accept no connection before its log is
	// opened without one, which ends the connection of a former owner. Default 5s.
	OpenWait time.Duration
	// ReleaseWait is how long this process goes on recording a camera that went to
	// another process, if that one does not begin. Default 30s.
	ReleaseWait time.Duration
	// CloseWait is how long the end of a recording waits until Kafka has taken
	// everything. Default 5s.
	CloseWait time.Duration
	// StatusEvery is the most time between two statuses of a camera. Default
	// 10s; readers take a status to be stale after 30s.
	StatusEvery time.Duration

	// Assembler is the settings of assemblers. This package sets its Camera and
	// Problem, and its FrameTime at each connection.
	Assembler assemble.Config

	// ReservePath and ReserveBytes: recording stops, with gaps of reason
	// "storage", while fewer bytes are free on the path's file system. Default: no
	// reserve, for a broker on another machine.
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

// Registry is the part of *registry.Client that a Service uses.
type Registry interface {
	Ensure(ctx context.Context) error
	PutStatus(s schemas.Status)
	DeleteStatus(id string)
	// LastStatus returns the newest status that any process wrote, also of a
	// removed camera (registry.Client.LastStatus).
	LastStatus(ctx context.Context, id string) (schemas.Status, error)
	// Live reports whether the registry has the camera now (registry.Client.Live).
	Live(ctx context.Context, id string) (bool, error)
}

// Deps is what a Service works with.
type Deps struct {
	Registry Registry
	// NewSource makes the source of a camera. It is used for all connections until
	// the camera's record changes, so that it can remember what works with the
	// camera.
	NewSource func(cam schemas.Camera) ingest.Source
	// Open opens a camera's log and returns at once (medialog.Log.Open). ctx does
	// not end while the writer is in use.
	Open func(ctx context.Context, t schemas.Topic, o medialog.OpenOptions) Writer
	// IndexEnd is the offset at which a camera's index ends
	// (medialog.Log.IndexEnd).
	IndexEnd func(ctx context.Context, t schemas.Topic) (int64, error)
	// Life is the life of a camera's footage (medialog.Log.Life).
	Life func(ctx context.Context, t schemas.Topic) (string, error)
	// PurgeLate deletes the footage of cameras for which purged returns true
	// (medialog.Log.PurgeLate).
	PurgeLate func(ctx context.Context, purged func(camera string) (bool, error)) ([]string, error)
	// Forget is called for a camera that is no longer recorded here
	// (medialog.Log.Forget). It may be nil.
	Forget func(id string)

	purges       func() map[string]share.Purge                      // tests replace it
	newAssembler func(assemble.Config, assemble.Recorder) assembler // tests replace it
}

// assembler is the part of an [assemble.Assembler] that a camera uses.
type assembler interface {
	ingest.Sink
	Flush()
	Stats() assemble.Stats
	FrameTime(d time.Duration)
}
