// Package timeline tells what there is of a camera over time: how much footage, what is missing
// and why, how many bytes, how many notes of processors. It reads the index alone.
package timeline

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"

	"github.com/framelog/framelog/egress/access"
	"github.com/framelog/framelog/egress/answer"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/internal/summary"
	"github.com/framelog/framelog/internal/when"
	"github.com/framelog/framelog/schemas"
)

// Config is the settings. The zero value of a field means its default.
type Config struct {
	// MaxReads bounds the timelines that are read at a time. The others wait for
	// ReadTimeout, and then get 503. Default 8.
	MaxReads int
	// ReadTimeout is how long a timeline may take. Then the answer is 503; what was read is
	// kept, so that the next request gets further. Default 5 s.
	ReadTimeout time.Duration
	// Keep is how many hours of cameras are in memory that no summary has. An hour takes 2 to
	// 9 kB. Default 8192.
	Keep int
}

// Log is the part of the log that this package uses; *medialog.Log implements it.
type Log interface {
	Entries(ctx context.Context, t schemas.Topic, r medialog.Range) iter.Seq2[schemas.Entry, error]
	Bounds(ctx context.Context, t schemas.Topic) (oldest, newest schemas.Entry, err error)
}

// summaries is a Log that has summaries of hours which do not change any more.
type summaries interface {
	// Summaries returns those of the hours in [from, to), by when they begin in Unix seconds, with
	// amounts of minutes unless step is whole hours.
	Summaries(ctx context.Context, t schemas.Topic, from, to time.Time, step time.Duration) (map[int64]*summary.Hour, error)
}

// Deps is what the server works with.
type Deps struct {
	Log Log
	// Known reports whether a camera exists.
	Known      func(camera string) bool
	Logger     *slog.Logger          // nil: silent
	Registerer prometheus.Registerer // nil: no metrics
}

// Server serves timelines.
type Server struct {
	cfg   Config
	deps  Deps
	reads *semaphore.Weighted
	hours *hours
}

// New makes the server.
func New(cfg Config, deps Deps) *Server {
	cfg.MaxReads = cmp.Or(cfg.MaxReads, 8)
	cfg.ReadTimeout = cmp.Or(cfg.ReadTimeout, 5*time.Second)
	cfg.Keep = cmp.Or(cfg.Keep, 8192)
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	return &Server{
		cfg: cfg, deps: deps, reads: semaphore.NewWeighted(int64(cfg.MaxReads)), hours: newHours(cfg.Keep, deps.Registerer),
	}
}

// Routes are the paths under /v1/timeline/.
func (s *Server) Routes() []access.Route {
	return answer.Plain([]access.Route{
		{Pattern: "GET /v1/timeline/{camera}", Action: access.Watch, Label: "timeline", Subject: subject, Denied: answer.Denied, Handler: s.get},
	})
}

func subject(r *http.Request) (camera, rendition string) {
	return r.PathValue("camera"), cmp.Or(r.URL.Query().Get("rendition"), schemas.Raw)
}

// Timeline is the answer of GET /v1/timeline/<camera>. Times are public times.
type Timeline struct {
	Camera    string    `json:"camera"`
	Rendition string    `json:"rendition"`
	Start     time.Time `json:"start"`
	End       time.Time `json:"end"`
	Step      float64   `json:"step"` // seconds
	// Oldest and Newest are from when to when there is footage at all; nil: there is none.
	Oldest *time.Time `json:"oldest,omitempty"`
	Newest *time.Time `json:"newest,omitempty"`
	// Steps are the steps of which the log knows something, in order.
	Steps []Step `json:"steps"`
	// Missing are the times without footage that are at least a step long, in order of
	// their start. The steps count the shorter ones too. At most MaxMissing; the rest is
	// left out.
	Missing []Missing `json:"missing"`
}

// Step is a part of a timeline.
type Step struct {
	Start time.Time `json:"start"`
	// Footage and Missing are seconds. If public time stepped back, both may be longer than
	// the step.
	Footage float64 `json:"footage"`
	Missing float64 `json:"missing,omitempty"`
	Bytes   int64   `json:"bytes"`
	Notes   int     `json:"notes,omitempty"` // fragments with a note of a processor
}

// Missing is a time without footage.
type Missing = summary.Missing

// Limits of an answer.
const (
	MaxSteps   = 3000
	MaxMissing = 1000
	maxSpan    = 10 * 366 * 24 * time.Hour
)

// ladder is what a step may be if the request names none.
var ladder = []time.Duration{
	time.Second, 5 * time.Second, 15 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Minute,
	time.Hour, 6 * time.Hour, 24 * time.Hour, 7 * 24 * time.Hour,
}

// query is what a request asks for.
type query struct {
	topic            schemas.Topic
	start, end       time.Time
	step             time.Duration
	first, last, now time.Time // the bounds of all steps; the time of the request
}

// get answers GET /v1/timeline/<camera>:
//
//	start, end   as package when reads them; default: the last 24 hours
//	step         a duration ("1m"): whole seconds below a minute, else whole minutes.
//	             Default: as long as needed for at most 1000 steps
//	rendition    default: what the camera sent
//
// Steps begin at whole multiples of the step in UTC, weeks on Monday.
func (s *Server) get(w http.ResponseWriter, r *http.Request) {
	q, err := parse(r, time.Now())
	switch {
	case err != nil:
		answer.Fail(w, http.StatusBadRequest, err.Error(), "see docs/operating.md, Timeline")
		return
	case !s.deps.Known(q.topic.Camera):
		answer.NoCamera(w, q.topic.Camera)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.cfg.ReadTimeout)
	defer cancel()
	if s.reads.Acquire(ctx, 1) != nil {
		answer.Fail(w, http.StatusServiceUnavailable, "too many timelines are being read", "try again")
		return
	}
	defer s.reads.Release(1)
	a, err := s.read(ctx, q)
	if err != nil {
		if r.Context().Err() == nil {
			s.deps.Logger.Warn("cannot read a timeline", "topic", q.topic, "err", err)
		}
		answer.Away(w, err)
		return
	}
	answer.JSON(w, http.StatusOK, a)
}

func parse(r *http.Request, now time.Time) (q query, err error) {
	v := r.URL.Query()
	camera, rendition := subject(r)
	if err := schemas.ValidateRendition(rendition); err != nil {
		return q, err
	}
	q = query{topic: schemas.Topic{Camera: camera, Rendition: rendition}, start: now.Add(-24 * time.Hour), end: now, now: now}
	for name, at := range map[string]*time.Time{"start": &q.start, "end": &q.end} {
		if s := v.Get(name); s != "" {
			var ok bool
			if *at, ok = when.Parse(s, now); !ok {
				return q, errors.New(name + ": want " + when.Forms)
			}
		}
	}
	span := q.end.Sub(q.start)
	switch {
	case span <= 0:
		return q, errors.New("start: it is not before end")
	case span > maxSpan:
		return q, errors.New("start: it is more than ten years before end")
	}
	if s := v.Get("step"); s == "" {
		q.step = ladder[len(ladder)-1]
		for i := len(ladder) - 1; i >= 0 && span <= 1000*ladder[i]; i-- {
			q.step = ladder[i]
		}
	} else if q.step, err = time.ParseDuration(s); err != nil || q.step < time.Second ||
		q.step%time.Second != 0 || q.step > time.Minute && q.step%time.Minute != 0 {
		return q, errors.New(`step: want whole seconds up to a minute, or whole minutes ("15s", "1h")`)
	}
	q.start, q.end = q.start.UTC(), q.end.UTC()
	q.first = q.start.Truncate(q.step)
	q.last = q.end.Add(q.step - 1).Truncate(q.step)
	if n := int(q.last.Sub(q.first) / q.step); n > MaxSteps {
		return q, errors.New("step: these would be " + strconv.Itoa(n) + " steps; the most are " + strconv.Itoa(MaxSteps))
	}
	return q, nil
}
