// Package snapshot serves still pictures of cameras as JPEG. Egress decodes nothing: it
// asks a [Decoder] for the exact picture, or takes the nearest JPEG of a rendition.
package snapshot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/framelog/framelog/egress/access"
	"github.com/framelog/framelog/egress/answer"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
)

// Config is the settings. The zero value of a field means its default.
type Config struct {
	// MaxReads bounds the pictures that are looked up at a time. The others wait for
	// ReadTimeout, and then get 503. Default 8.
	MaxReads int
	// ReadTimeout is how long the log may take. Default 5 s.
	ReadTimeout time.Duration
	// MaxAge is how long caches may keep a picture: less than the log's retention.
	// Default 1 h.
	MaxAge time.Duration
}

// Decoder makes the exact picture of a camera at a time, as JPEG. Errors: ErrNoPicture if
// there is no footage at that time.
type Decoder interface {
	// Picture: at zero is the newest picture. width 0 is that of the footage. taken is the
	// public time of the picture.
	Picture(ctx context.Context, camera string, at time.Time, width int) (jpeg []byte, taken time.Time, err error)
}

// ErrNoPicture is returned by a [Decoder] if there is no footage at the time.
var ErrNoPicture = errors.New("snapshot: no footage at this time")

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
	Decoder Decoder
	Logger  *slog.Logger // nil: silent
}

// Server serves snapshots.
type Server struct {
	cfg   Config
	deps  Deps
	reads *semaphore.Weighted
}

// New makes the server.
func New(cfg Config, deps Deps) *Server {
	cfg.MaxReads = cmp.Or(cfg.MaxReads, 8)
	cfg.ReadTimeout = cmp.Or(cfg.ReadTimeout, 5*time.Second)
	cfg.MaxAge = cmp.Or(cfg.MaxAge, time.Hour)
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	return &Server{cfg: cfg, deps: deps, reads: semaphore.NewWeighted(int64(cfg.MaxReads))}
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

// picture is a JPEG, or where to find one.
type picture struct {
	jpeg  []byte
	taken time.Time
	// settled: the same request gives the same picture, until it expires.
	settled bool
}

// get answers GET /snapshot/<camera>.jpg with the picture at a time:
//
//	at      RFC 3339; default: the newest picture
//	width   in pixels, of exact pictures
//
// The header Framelog-Time is the public time of the picture, which without a decoder is
// that of the nearest thumbnail.
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
		answer.Fail(w, http.StatusServiceUnavailable, "too many pictures are being looked up", "try again")
		return
	}
	defer s.reads.Release(1)
	p, err := s.find(ctx, camera, at, width)
	var f *failure
	switch {
	case errors.As(err, &f):
		answer.Fail(w, f.code, f.what, f.remedy)
	case err != nil:
		if r.Context().Err() == nil {
			s.deps.Logger.Warn("cannot make a snapshot", "camera", camera, "err", err)
		}
		answer.Fail(w, http.StatusServiceUnavailable, "the log does not answer", "try again; if it goes on, look at the brokers")
	default:
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

func (s *Server) write(w http.ResponseWriter, r *http.Request, p *picture) {
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

// failure is an answer without a picture.
type failure struct {
	code         int
	what, remedy string
}

func (f *failure) Error() string { return f.what }

// find returns the picture at a time: that of the decoder, else the nearest thumbnail.
func (s *Server) find(ctx context.Context, camera string, at time.Time, width int) (*picture, error) {
	if s.deps.Decoder != nil {
		b, taken, err := s.deps.Decoder.Picture(ctx, camera, at, width)
		if err == nil {
			return &picture{jpeg: b, taken: taken, settled: !at.IsZero()}, nil
		}
		if !errors.Is(err, ErrNoPicture) && ctx.Err() == nil {
			s.deps.Logger.Warn("no exact snapshot: the nearest thumbnail is taken", "camera", camera, "err", err)
		}
	}
	newest, err := s.deps.Newest(ctx, camera)
	if err != nil {
		return nil, err
	}
	name, ok := choose(newest)
	if !ok {
		return nil, &failure{
			http.StatusNotImplemented, "there is no picture to show: egress decodes no video, and no rendition of this camera is MJPEG",
			"run the processor thumbnail for this camera",
		}
	}
	topic := schemas.Topic{Camera: camera, Rendition: name}
	if name == schemas.Raw {
		topic = topic.Source()
	}
	e, sure, err := s.nearest(ctx, topic, newest[name], at)
	if err != nil {
		return nil, err
	}
	p, err := s.sample(ctx, topic, e, at)
	if err == nil {
		p.settled = sure && !at.IsZero()
	}
	return p, err
}

// choose returns the rendition to take pictures from: what the camera itself sent if it is
// MJPEG, else the rendition thumbnail, else any other of MJPEG.
func choose(newest map[string]schemas.Entry) (name string, ok bool) {
	var all []string
	for n, e := range newest {
		if e.Layout.Video == schemas.MJPEG && (n == schemas.Raw || e.Role == schemas.RoleVariant || e.Role == schemas.RoleAlternative) {
			all = append(all, n)
		}
	}
	if len(all) == 0 {
		return "", false
	}
	rank := func(n string) int { return slices.Index([]string{"thumbnail", schemas.Raw}, n) }
	return slices.MaxFunc(all, func(a, b string) int { return cmp.Or(cmp.Compare(rank(a), rank(b)), strings.Compare(b, a)) }), true
}

// far is how far the nearest thumbnail may be from the time that was asked for. lookBack is
// how many fragments before the newest are searched for the newest thumbnail.
const (
	far      = 30 * time.Second
	lookBack = 32
)

// nearest returns the fragment with a picture nearest to a time. sure: none that is nearer
// can come later.
func (s *Server) nearest(ctx context.Context, t schemas.Topic, last schemas.Entry, at time.Time) (best schemas.Entry, sure bool, err error) {
	r := medialog.Range{FromSeq: last.Seq - min(last.Seq, lookBack)}
	if at.IsZero() {
		at = last.End()
	} else {
		r = medialog.Range{From: at.Add(-far), To: at.Add(far)}
	}
	found := false
	var end time.Time // of the newest fragment
	for e, err := range s.deps.Log.Entries(ctx, t, r) {
		if errors.Is(err, medialog.ErrNoTopic) {
			break
		}
		if err != nil {
			return best, false, err
		}
		end = e.End()
		if e.Playable() && (!found || distance(&e, at) <= distance(&best, at)) {
			best, found = e, true
		}
	}
	if !found {
		return best, false, &failure{http.StatusNotFound, "there is no picture near this time", "ask for another time; /v1/events/<camera> lists gaps"}
	}
	return best, end.After(at.Add(distance(&best, at))), nil
}

// distance is how far a fragment is from a time.
func distance(e *schemas.Entry, at time.Time) time.Duration {
	return max(0, e.Start.Sub(at), at.Sub(e.End()))
}

// sample returns the JPEG of a fragment that is nearest to a time.
func (s *Server) sample(ctx context.Context, t schemas.Topic, e schemas.Entry, at time.Time) (*picture, error) {
	var best *picture
	for c, err := range s.deps.Log.Chunks(ctx, t, e) {
		switch {
		case errors.Is(err, medialog.ErrExpired):
			return nil, &failure{http.StatusGone, "this footage has expired", ""}
		case err != nil:
			return nil, err
		}
		for _, x := range c.Video() {
			taken := e.Start.Add(schemas.FromTicks(x.DTS + int64(x.PTSOffset) - e.Media))
			if best == nil || at.IsZero() || taken.Sub(at).Abs() < best.taken.Sub(at).Abs() {
				best = &picture{jpeg: x.Data, taken: taken}
			}
		}
	}
	if best == nil {
		return nil, &failure{http.StatusNotFound, "there is no picture near this time", ""}
	}
	return best, nil
}
