// Package events serves what processors have found: motion, detections and the like. A
// range is read from the data renditions of a camera, where each event stands exactly
// once. Live events come from the Kafka topic of events, which holds each at least once.
package events

import (
	"cmp"
	"context"
	"iter"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"

	"github.com/framelog/framelog/egress/access"
	"github.com/framelog/framelog/egress/answer"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
)

// Config is the settings. The zero value of a field means its default.
type Config struct {
	// MaxSubscribers bounds the readers of /v1/events. Default 128; further ones get 503
	// and are counted.
	MaxSubscribers int
	// Queue is how many events wait for a reader that does not read. Then its stream ends;
	// it can go on where it was. Default 256.
	Queue int
	// Keep is how many of the newest events are in memory, for readers that go on where
	// they were. Older ones are read from Kafka. Default 4096. KeepBytes bounds their
	// bytes. Default 16 MiB.
	Keep      int
	KeepBytes int
	// MaxHistories bounds the readers that read older events from Kafka at a time. The
	// others wait. Default 4.
	MaxHistories int
	// Linger is how long the topic is followed after its last reader. Default 1 min.
	Linger time.Duration
	// WriteTimeout bounds one write to a reader. Default 10 s.
	WriteTimeout time.Duration

	// MaxReads bounds the ranges that are read at a time. The others wait for
	// ReadTimeout, and then get 503. Default 8.
	MaxReads int
	// ReadTimeout is how long a range is read. Then the answer has what was read, and
	// where to go on. Default 5 s.
	ReadTimeout time.Duration
}

func (c *Config) setDefaults() {
	c.MaxSubscribers = cmp.Or(c.MaxSubscribers, 128)
	c.Queue = cmp.Or(c.Queue, 256)
	c.Keep = cmp.Or(c.Keep, 4096)
	c.KeepBytes = cmp.Or(c.KeepBytes, 16<<20)
	c.MaxHistories = cmp.Or(c.MaxHistories, 4)
	c.Linger = cmp.Or(c.Linger, time.Minute)
	c.WriteTimeout = cmp.Or(c.WriteTimeout, 10*time.Second)
	c.MaxReads = cmp.Or(c.MaxReads, 8)
	c.ReadTimeout = cmp.Or(c.ReadTimeout, 5*time.Second)
}

// Log is the part of the log that ranges are read from; *medialog.Log implements it.
type Log interface {
	Entries(ctx context.Context, t schemas.Topic, r medialog.Range) iter.Seq2[schemas.Entry, error]
	Chunks(ctx context.Context, t schemas.Topic, e schemas.Entry) iter.Seq2[*schemas.Chunk, error]
}

// Deps is what the server works with.
type Deps struct {
	Log    Log
	Source Source
	// Renditions returns the renditions of a camera that have an entry, with their roles.
	Renditions func(ctx context.Context, camera string) (map[string]schemas.Role, error)
	// Known reports whether a camera exists.
	Known      func(camera string) bool
	Logger     *slog.Logger          // nil: silent
	Registerer prometheus.Registerer // nil: no metrics
}

// Server serves events. Run must run.
type Server struct {
	cfg   Config
	deps  Deps
	m     *metrics
	hub   *hub
	ended chan struct{} // closed when Run ends

	readers   *semaphore.Weighted // places of readers of /v1/events
	reads     *semaphore.Weighted // places of reads of a range
	histories *semaphore.Weighted // places of reads of older events
}

// New makes the server.
func New(cfg Config, deps Deps) *Server {
	cfg.setDefaults()
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	m := newMetrics(deps.Registerer)
	return &Server{
		cfg: cfg, deps: deps, m: m, hub: newHub(cfg, deps.Source, deps.Logger, m), ended: make(chan struct{}),
		readers: semaphore.NewWeighted(int64(cfg.MaxSubscribers)), reads: semaphore.NewWeighted(int64(cfg.MaxReads)),
		histories: semaphore.NewWeighted(int64(cfg.MaxHistories)),
	}
}

// Routes are the paths under /v1/events.
func (s *Server) Routes() []access.Route {
	return answer.Plain([]access.Route{
		{Pattern: "GET /v1/events", Action: access.Watch, Label: "events", Handler: s.stream},
		{Pattern: "GET /v1/events/{camera}", Action: access.Watch, Label: "api", Subject: subject, Denied: answer.Denied, Handler: s.getRange},
	})
}

// subject: who names a rendition needs the right for it alone, else that for the camera
// with all its renditions.
func subject(r *http.Request) (camera, rendition string) {
	return r.PathValue("camera"), r.URL.Query().Get("rendition")
}

// Run follows the topic of events while somebody reads, until ctx ends. Then it ends all
// streams. It is called once.
func (s *Server) Run(ctx context.Context) {
	defer close(s.ended)
	s.hub.run(ctx)
}

// Event is an event as the API shows it.
type Event struct {
	ID        string `json:"id,omitempty"` // in a stream: the same each time that the event comes
	Type      string `json:"type"`
	Camera    string `json:"camera"`
	Rendition string `json:"rendition"` // in which it stands
	Processor string `json:"processor,omitempty"`
	Seq       uint64 `json:"seq"`                // of its fragment
	LastSeq   uint64 `json:"last_seq,omitempty"` // of a joined event: its last fragment
	// Start and End are public time.
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
	// Value is its peak, by the processor's own measure. Boxes is where, and Data more of
	// it; of a joined event they are those of the fragment with the peak.
	Value float64       `json:"value,omitempty"`
	Boxes []schemas.Box `json:"boxes,omitempty"`
	Data  any           `json:"data,omitempty"`
}

// of takes the values of an event of the log.
func (e *Event) of(x *schemas.Event) {
	e.Type, e.Start, e.End, e.Value, e.Boxes = x.Type, x.Start, x.End, x.Value, x.Boxes
	if len(x.Data) > 0 {
		e.Data = x.Data
	}
}
