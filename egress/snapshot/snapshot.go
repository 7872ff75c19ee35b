// Package snapshot serves still pictures of cameras as JPEG. Egress decodes nothing: a
// [Decoder] makes the exact picture of the footage that it gets. Without one the answer is
// the nearest JPEG of a rendition.
package snapshot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
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
	// MaxReads bounds the pictures that are made at a time, of up to 32 MiB of footage
	// each. The others wait for ReadTimeout, and then get 503. Default 8.
	MaxReads int
	// ReadTimeout is how long a picture may take, an exact one half of it. Default 5 s.
	ReadTimeout time.Duration
	// MaxAge is how long caches may keep a picture: less than the log's retention.
	// Default 1 h.
	MaxAge time.Duration
}

// Decoder makes pictures of footage, as JPEG.
type Decoder interface {
	// Picture makes the picture that is shown at a media time, in ticks of
	// schemas.MediaTimescale. footage is a track of pictures, and its samples from a sync
	// sample to that picture. width is in pixels; 0: as the footage is. shown is the media
	// time of the picture.
	Picture(ctx context.Context, footage *schemas.Chunk, media int64, width int) (jpeg []byte, shown int64, err error)
}

// Log is the part of the log that this package uses; *medialog.Log implements it.
type Log interface {
	Entries(ctx context.Context, t schemas.Topic, r medialog.Range) iter.Seq2[schemas.Entry, error]
	Chunks(ctx context.Context, t schemas.Topic, e schemas.Entry) iter.Seq2[*schemas.Chunk, error]
}

// Deps is what the server works with.
type Deps struct {
	Log Log
	// Newest returns the newest entry of each rendition of a camera that has one, raw
	// included, by name.
	Newest func(ctx context.Context, camera string) (map[string]schemas.Entry, error)
	// Known reports whether a camera exists.
	Known func(camera string) bool
	// Decoder makes exact pictures. nil: none does.
	Decoder    Decoder
	Logger     *slog.Logger          // nil: silent
	Registerer prometheus.Registerer // nil: no metrics
}

// Server serves snapshots.
type Server struct {
	cfg     Config
	deps    Deps
	reads   *semaphore.Weighted
	results *prometheus.CounterVec
}

// New makes the server.
func New(cfg Config, deps Deps) *Server {
	cfg.MaxReads = cmp.Or(cfg.MaxReads, 8)
	cfg.ReadTimeout = cmp.Or(cfg.ReadTimeout, 5*time.Second)
	cfg.MaxAge = cmp.Or(cfg.MaxAge, time.Hour)
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{
		cfg: cfg, deps: deps, reads: semaphore.NewWeighted(int64(cfg.MaxReads)),
		results: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "framelog_egress_snapshots_total",
			Help: "Snapshots. result: exact, nearest (of a rendition), instead (the same, since the exact one could not be decoded), none (there is no picture), busy or failed.",
		}, []string{"result"}),
	}
	for _, result := range []string{"exact", "nearest", "instead", "none", "busy", "failed"} {
		s.results.WithLabelValues(result) // 0 from the start, so that an increase shows
	}
	if deps.Registerer != nil {
		deps.Registerer.MustRegister(s.results)
	}
	return s
}

// Routes are the paths under /snapshot/.
func (s *Server) Routes() []access.Route {
	return answer.Plain([]access.Route{
		{Pattern: "GET /snapshot/{file}", Action: access.Watch, Label: "snapshot", Subject: subject, Denied: answer.Denied, Handler: s.get},
	})
}

// subject: a snapshot shows what the camera itself sent.
func subject(r *http.Request) (camera, rendition string) {
	camera, ok := strings.CutSuffix(r.PathValue("file"), ".jpg")
	if !ok {
		return "", ""
	}
	return camera, schemas.Raw
}

// picture is a JPEG.
type picture struct {
	jpeg  []byte
	taken time.Time // public time
	// settled: the same request gives the same picture, until it expires.
	settled bool
	result  string // for the counter
}

// get answers GET /snapshot/<camera>.jpg with the picture at a time:
//
//	at      RFC 3339; default: the newest picture
//	width   in pixels, of exact pictures
//
// The header Framelog-Time is the public time of the picture.
func (s *Server) get(w http.ResponseWriter, r *http.Request) {
	camera, _ := subject(r)
	at, width, err := parse(r)
	switch {
	case camera == "":
		answer.Fail(w, http.StatusNotFound, "there is nothing at "+r.URL.Path, "the path of a picture is /snapshot/<camera>.jpg")
		return
	case !s.deps.Known(camera):
		answer.NoCamera(w, camera)
		return
	case err != nil:
		answer.Fail(w, http.StatusBadRequest, err.Error(), "")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.cfg.ReadTimeout)
	defer cancel()
	if s.reads.Acquire(ctx, 1) != nil {
		s.results.WithLabelValues("busy").Inc()
		answer.Fail(w, http.StatusServiceUnavailable, "too many pictures are being made", "try again")
		return
	}
	defer s.reads.Release(1)
	p, err := s.find(ctx, camera, at, width)
	var f *failure
	switch {
	case errors.As(err, &f):
		s.results.WithLabelValues(f.result()).Inc()
		answer.Fail(w, f.code, f.what, f.remedy)
	case err != nil:
		s.results.WithLabelValues("failed").Inc()
		if r.Context().Err() == nil {
			s.deps.Logger.Warn("cannot make a snapshot", "camera", camera, "err", err)
		}
		answer.Away(w, err)
	default:
		s.results.WithLabelValues(p.result).Inc()
		s.write(w, r, p)
	}
}

func parse(r *http.Request) (at time.Time, width int, err error) {
	q := r.URL.Query()
	if v := q.Get("at"); v != "" {
		if at, err = time.Parse(time.RFC3339Nano, v); err != nil {
			return at, 0, errors.New("at: want a time as 2030-01-02T03:04:05Z")
		}
	}
	if v := q.Get("width"); v != "" {
		if width, err = strconv.Atoi(v); err != nil || width < 16 || width > 8192 {
			return at, 0, errors.New("width: want 16 to 8192")
		}
	}
	return at, width, nil
}

// writeTimeout is how long a client may take to read a picture.
const writeTimeout = 10 * time.Second

func (s *Server) write(w http.ResponseWriter, r *http.Request, p *picture) {
	// Not every writer has deadlines.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout))
	h := w.Header()
	h.Set("Content-Type", "image/jpeg")
	h.Set("Framelog-Time", p.taken.UTC().Format(time.RFC3339Nano))
	h.Set("Content-Length", strconv.Itoa(len(p.jpeg)))
	if p.settled {
		h.Set("Cache-Control", fmt.Sprintf("public, max-age=%d", int(s.cfg.MaxAge.Seconds())))
	}
	if r.Method != http.MethodHead {
		_, _ = w.Write(p.jpeg) // it fails when the client has gone
	}
}
