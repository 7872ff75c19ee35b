// Package archiver writes the footage of cameras and renditions into the files of an archive
// (package archive), so that it is kept when Kafka has removed it. Processes share the cameras
// out among themselves. Each reads the indexes of its cameras, and writes a file when its minute
// is complete: no footage waits in memory.
//
// What is in the archive is the only checkpoint. The work begins behind the newest file, else
// with the oldest entry of the log. Two processes that work on one camera make the same files,
// so no harm is done if one of them stood still for a while. The offsets that the consumer group
// commits only show the lag.
//
// The metrics, of which those with labels are removed with the camera:
//
//	framelog_archive_unsafe_seconds{camera,rendition}         Footage that is in Kafka and not in the archive yet.
//	framelog_archive_expired_seconds_total{camera,rendition}  Footage that Kafka has removed or lost before it was archived.
//	framelog_archive_files_total                              Files that were written, or that another process has just written.
//	framelog_archive_bytes_total                              Bytes of footage in these files.
//	framelog_archive_errors_total{reason}                     Failures. reason is that of the table below.
//	framelog_archive_store_up                                 1: the newest write has worked. 0: the store is full or away.
//
// The reasons of failures:
//
//	store    the store is full or away; it is tried again, and nothing is left out
//	differs  a file of the same name holds something else; it stays as it is
//	footage  a fragment could not be read from Kafka, or is damaged there
//	damaged  a file is cut off or changed; it was renamed, and is written again
package archiver

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"path"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/framelog/framelog/internal/archive"
	"github.com/framelog/framelog/internal/clip"
	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/internal/share"
	"github.com/framelog/framelog/schemas"
)

// Group is the consumer group of the archivers, without the prefix of Framelog's names.
const Group = "framelog-archive"

// Config is the settings of a [Service]. Kafka and Archive are needed. In the other fields zero
// means the default.
type Config struct {
	Kafka kafka.Config
	// Archive is where the files go. All processes of the group must have the same one.
	Archive archive.Dir
	// Cameras and Renditions are patterns of what is archived (path.Match), or PatternData. Default:
	// all cameras; "raw" and timed metadata, since a processor can make pictures again.
	Cameras, Renditions []string
	// Concurrency is how many files are written at once. Default 2.
	Concurrency int
	// Reserve is the free space in bytes below which nothing is written. Default 0: none.
	Reserve int64
	// Idle is after what time without new footage the last file of a camera is written although
	// its minute is not complete. Default 2 min.
	Idle time.Duration
	// SessionTimeout is how long after the death of a process the others take its cameras.
	// Default 8 s.
	SessionTimeout time.Duration
}

func (c Config) withDefaults() Config {
	if len(c.Cameras) == 0 {
		c.Cameras = []string{"*"}
	}
	if len(c.Renditions) == 0 {
		c.Renditions = []string{schemas.Raw, PatternData}
	}
	c.Concurrency = cmp.Or(c.Concurrency, 2)
	c.Idle = cmp.Or(c.Idle, 2*time.Minute)
	return c
}

// PatternData stands among Config.Renditions for all renditions of timed metadata, whatever their
// names are: they are small, and tell what happened in the footage.
const PatternData = "role:data"

// Archives reports whether a topic is archived: because of its name or, if archivers have begun with
// it, because of its role.
func (c Config) Archives(t schemas.Topic, begun bool) bool {
	return c.byName(t) || begun && c.byRole(t)
}

// byName reports whether a topic is archived because of its name.
func (c Config) byName(t schemas.Topic) bool {
	c = c.withDefaults()
	return matches(c.Cameras, t.Camera) && matches(c.Renditions, t.Name())
}

// byRole reports whether a topic is archived if it has timed metadata.
func (c Config) byRole(t schemas.Topic) bool {
	c = c.withDefaults()
	return matches(c.Cameras, t.Camera) && slices.Contains(c.Renditions, PatternData)
}

// matches reports whether one of the patterns matches a name.
func matches(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		ok, err := path.Match(pattern, name)
		return ok && err == nil
	})
}

// Log is the part of the log that a [Service] uses; *medialog.Log implements it.
type Log interface {
	clip.Log
	Topics(ctx context.Context) ([]schemas.Topic, error)
	IndexEnd(ctx context.Context, t schemas.Topic) (int64, error)
	Newest(ctx context.Context, t schemas.Topic) (schemas.Entry, error)
	Life(ctx context.Context, t schemas.Topic) (string, error)
}

// Service archives the cameras that the consumer group gives to this process.
type Service struct {
	cfg     Config
	mlog    Log
	log     *slog.Logger
	metrics *metrics
	store   *store
	offsets *share.Offsets
	shared  *share.Cameras
	names   schemas.Names

	mu     sync.Mutex
	topics map[string][]schemas.Topic // of each camera that are archived, as of the newest sweep
	rests  map[string]*rest

	// Of the sweep's goroutine.
	roles  map[schemas.Topic]schemas.Role // of renditions that have footage
	purged map[string]time.Time           // when the purges were of which older lives were deleted
	held   map[string]bool                // cameras of which it was logged that a hold keeps purged footage
}

// New makes a Service. It connects to nothing. Its metrics go to reg (nil: nowhere), messages to
// log.
func New(cfg Config, mlog Log, log *slog.Logger, reg prometheus.Registerer) (*Service, error) {
	cfg = cfg.withDefaults()
	if err := cfg.Kafka.Validate(); err != nil {
		return nil, fmt.Errorf("archiver: %w", err)
	}
	m := newMetrics(reg)
	s := &Service{
		cfg: cfg, mlog: mlog, log: log, metrics: m, store: newStore(&cfg, mlog, log, m), offsets: share.NewOffsets(),
		names: cfg.Kafka.Names(), rests: map[string]*rest{}, purged: map[string]time.Time{}, held: map[string]bool{},
	}
	s.shared = share.New(share.Config{
		Kafka: cfg.Kafka, Group: Group, Doing: "archived", SessionTimeout: cfg.SessionTimeout,
	}, role{s}, log)
	return s, nil
}

// Run archives until ctx ends. It waits for brokers that are away, and for a store that is full
// or away.
func (s *Service) Run(ctx context.Context) error {
	s.log.Info("archiving", "archive", s.cfg.Archive, "renditions", s.cfg.Renditions, "reserve_bytes", s.cfg.Reserve)
	_ = s.store.dir.Make(ctx) // what fails is told when a file is written
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { s.offsets.Run(ctx, s.shared.Commit, s.log) })
	wg.Go(func() { s.sweep(ctx) })
	if err := s.shared.Run(ctx); err != nil {
		return fmt.Errorf("archiver: %w", err)
	}
	return nil
}

// Ready returns an error until this process has read its cameras. If brokers or the store go
// away later, it stays ready: the work goes on when they are back.
func (s *Service) Ready() error {
	if err := s.shared.Ready(); err != nil {
		return fmt.Errorf("archiver: %w", err)
	}
	return nil
}

// role implements share.Role.
type role struct{ s *Service }

// NewWork implements share.Role.
func (r role) NewWork(cam schemas.Camera) share.Work { return work{r.s, cam.ID} }

// Forget implements share.Role. The rest of a removed camera is archived by a sweep.
func (r role) Forget(string, bool) {}

// work implements share.Work. It opens no log, so another process may take the camera at any
// time.
type work struct {
	s      *Service
	camera string
}

// Run implements share.Work.
func (w work) Run(ctx context.Context, _ string, _ func() bool) error {
	w.s.endRest(w.camera)
	if !matches(w.s.cfg.Cameras, w.camera) {
		<-ctx.Done()
		return nil
	}
	w.s.archive(ctx, w.camera)
	return nil
}

// WaitReclaim implements share.Work.
func (w work) WaitReclaim(context.Context) error { return nil }

// Mute implements share.Work.
func (w work) Mute(bool) {}
