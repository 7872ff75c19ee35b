// Package clip serves ranges of footage as MP4 files.
package clip

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"

	"github.com/framelog/framelog/egress/access"
	"github.com/framelog/framelog/egress/answer"
	"github.com/framelog/framelog/internal/clip"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/internal/when"
	"github.com/framelog/framelog/schemas"
)

// Config is the settings. The zero value of a field means its default.
type Config struct {
	// MaxClips bounds the clips whose tables are made at a time: their footage is read for it as
	// fast as it comes. Others get 503. A clip that is sent holds no such place, however slow its
	// client is. It also bounds the requests whose fragments are looked for at a time: the others
	// wait for ReadTimeout, and then get 503. Default 4.
	MaxClips int
	// MaxTables bounds the memory of the tables of clips that are sent, and of those that were
	// asked for last: about 4 MB an hour of footage. Default 256 MiB.
	MaxTables int64
	// ReadTimeout is how long it may take to look for the fragments of a clip. Default 10 s.
	ReadTimeout  time.Duration
	MaxRange     time.Duration // the longest range of time; default 24 h
	WriteTimeout time.Duration // a client that takes longer for 1 MiB is cut off; default 30 s
}

// Deps is what the server works with.
type Deps struct {
	Log clip.Log
	// Known reports whether a camera exists.
	Known      func(camera string) bool
	Logger     *slog.Logger          // nil: silent
	Registerer prometheus.Registerer // nil: no metrics
}

// Server serves clips.
type Server struct {
	cfg     Config
	deps    Deps
	plans   *semaphore.Weighted // one for each request whose fragments are looked for
	places  *semaphore.Weighted // one for each clip that is made
	files   *files
	results *prometheus.CounterVec
}

// New makes the server.
func New(cfg Config, deps Deps) *Server {
	cfg.MaxClips = cmp.Or(cfg.MaxClips, 4)
	cfg.MaxTables = cmp.Or(cfg.MaxTables, 256<<20)
	cfg.ReadTimeout = cmp.Or(cfg.ReadTimeout, 10*time.Second)
	cfg.MaxRange = cmp.Or(cfg.MaxRange, 24*time.Hour)
	cfg.WriteTimeout = cmp.Or(cfg.WriteTimeout, 30*time.Second)
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{
		cfg: cfg, deps: deps, plans: semaphore.NewWeighted(int64(cfg.MaxClips)), places: semaphore.NewWeighted(int64(cfg.MaxClips)),
		files: newFiles(cfg.MaxTables),
		results: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "framelog_egress_clips_total",
			Help: "Clips. result: ok, none (there is no footage), several (the range needs several files), busy, gone (the client went away, or was too slow), denied (its right was taken away) or failed.",
		}, []string{"result"}),
	}
	for _, result := range []string{"ok", "none", "several", "busy", "gone", "denied", "failed"} {
		s.results.WithLabelValues(result) // 0 from the start, so that an increase shows
	}
	if deps.Registerer != nil {
		deps.Registerer.MustRegister(s.results)
	}
	return s
}

// Routes are the paths under /clip/.
func (s *Server) Routes() []access.Route {
	var routes []access.Route
	for _, pattern := range []string{"GET /clip/{file}", "GET /clip/{camera}/{file}"} {
		routes = append(routes, access.Route{Pattern: pattern, Action: access.Export, Label: "clip", Subject: subject, Denied: answer.Denied, Handler: s.get})
	}
	return answer.Plain(routes)
}

func subject(r *http.Request) (camera, rendition string) {
	name, ok := strings.CutSuffix(r.PathValue("file"), ".mp4")
	if !ok || name == "" {
		return "", ""
	}
	if camera = r.PathValue("camera"); camera != "" {
		return camera, name
	}
	return name, schemas.Raw
}

// several is the answer if a range needs more than one file.
type several struct {
	answer.Error
	Clips []span `json:"clips"`
}

// severalError: a range needs more than one file.
type severalError struct{ several }

func (e *severalError) Error() string { return e.several.Error.Error }

type span struct {
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
	Seq   uint64    `json:"seq"` // of its first fragment
}

// get answers GET /clip/<camera>.mp4 and GET /clip/<camera>/<rendition>.mp4 with the range of
// the parameters start and end (see when.Range) as one file. Parts of the file (RFC 9110
// section 14) can be asked for if both are absolute times. A range over several sessions or
// configurations is 409: the answer lists them. Their times may overlap, where public time has
// stepped back. So the parameter seq, with one of their seqs, asks for one of them. HEAD reads no
// footage: it tells the length if the file was asked for lately.
func (s *Server) get(w http.ResponseWriter, r *http.Request) {
	result, err := s.answer(w, r)
	if err != nil && r.Context().Err() != nil {
		result = "gone"
	}
	if result != "" && r.Method != http.MethodHead { // the page asks before it downloads
		s.results.WithLabelValues(result).Inc()
	}
	if err == nil {
		return
	}
	if result == "failed" {
		camera, rendition := subject(r)
		s.deps.Logger.Warn("cannot make a clip", "camera", camera, "rendition", rendition, "err", err)
	}
	var cut *cutError
	if errors.As(err, &cut) {
		panic(http.ErrAbortHandler) // so that the client sees that the file is cut off
	}
}

// answer answers a request. result is for the counter, "" if it is not counted. An error was
// not answered if it is a cutError.
func (s *Server) answer(w http.ResponseWriter, r *http.Request) (result string, err error) {
	camera, rendition := subject(r)
	from, to, err := when.Range(r.URL.Query(), time.Now(), s.cfg.MaxRange)
	if err == nil && camera != "" {
		err = schemas.ValidateRendition(rendition)
	}
	seq := uint64(0) // of a fragment of the only session that is asked for; 0: of any
	if v := r.URL.Query().Get("seq"); err == nil && v != "" {
		if seq, err = strconv.ParseUint(v, 10, 64); err != nil || seq == 0 {
			err = errors.New("seq: want one of the answer to the same range")
		}
	}
	switch {
	case camera == "":
		answer.Fail(w, http.StatusNotFound, "there is nothing at "+r.URL.Path, "the path of a clip is /clip/<camera>.mp4 or /clip/<camera>/<rendition>.mp4")
		return "", nil
	case !s.deps.Known(camera):
		answer.NoCamera(w, camera)
		return "", nil
	case err != nil:
		answer.Fail(w, http.StatusBadRequest, err.Error(), "ask for a range, such as ?start=-10m&end=-5m")
		return "", nil
	}
	topic := schemas.Topic{Camera: camera, Rendition: rendition}
	if topic.IsRaw() {
		topic = topic.Source()
	}
	f, release, err := s.file(r, topic, from, to, seq)
	for errors.Is(err, errGone) && r.Context().Err() == nil {
		f, release, err = s.file(r, topic, from, to, seq)
	}
	var more *severalError
	switch {
	case errors.As(err, &more):
		answer.JSON(w, http.StatusConflict, more.several)
		return "several", nil
	case err != nil:
		return s.refuse(w, err)
	case f == nil:
		w.Header().Set("Content-Type", "video/mp4")
		w.WriteHeader(http.StatusOK) // to know more, the footage would have to be read
		return "ok", nil
	}
	defer release()
	return s.send(w, r, f, to)
}

// file returns the file that holds a range; with a seq, what that has of the session of this fragment.
// It makes it unless it is there, for HEAD it does not: then file is nil. release must be called.
// Errors: severalError; errBusy; errGone; those of Plan and Prepare.
func (s *Server) file(r *http.Request, t schemas.Topic, from, to time.Time, seq uint64) (file *clip.File, release func(), err error) {
	clips, err := s.plan(r.Context(), t, from, to)
	if err != nil {
		return nil, nil, err
	}
	if seq != 0 {
		if clips = slices.DeleteFunc(clips, func(c *clip.Clip) bool { return !c.Has(seq) }); len(clips) == 0 {
			return nil, nil, clip.ErrNone
		}
	}
	if len(clips) > 1 {
		return nil, nil, &severalError{tooMany(clips)}
	}
	key := clips[0].Key()
	if r.Method == http.MethodHead && s.files.has(key) == nil {
		return nil, nil, nil
	}
	return s.files.get(r.Context(), key, func() (*clip.File, error) { return s.make(r.Context(), clips[0]) })
}

// plan looks for the fragments of a range. Errors: errBusy; those of Plan.
func (s *Server) plan(ctx context.Context, t schemas.Topic, from, to time.Time) ([]*clip.Clip, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.ReadTimeout)
	defer cancel()
	if s.plans.Acquire(ctx, 1) != nil {
		return nil, errBusy
	}
	defer s.plans.Release(1)
	return clip.Plan(ctx, s.deps.Log, t, from, to)
}

// make makes a clip's file. Errors: errBusy; those of Prepare.
func (s *Server) make(ctx context.Context, c *clip.Clip) (*clip.File, error) {
	if !s.places.TryAcquire(1) {
		return nil, errBusy
	}
	defer s.places.Release(1)
	return c.Prepare(ctx, s.deps.Log, func(int64) {})
}

// refuse answers that there is no file.
func (s *Server) refuse(w http.ResponseWriter, err error) (result string, failed error) {
	switch {
	case errors.Is(err, clip.ErrNone):
		answer.Fail(w, http.StatusNotFound, "there is no footage in this range", "ask for another range; /v1/timeline/<camera> tells what there is")
		return "none", nil
	case errors.Is(err, medialog.ErrExpired):
		answer.Fail(w, http.StatusGone, "this footage has expired", "ask for a later range")
		return "none", nil
	case errors.Is(err, medialog.ErrDamaged):
		answer.Fail(w, http.StatusInternalServerError, "a record of this footage is damaged in the log, and no archive has it", "ask for a range before or behind it; the server's log names the record")
		return "failed", err
	case errors.Is(err, errBusy):
		answer.Fail(w, http.StatusServiceUnavailable, "too many clips are being made or sent", "try again later, or raise egress.max_clips or egress.clip_tables")
		return "busy", nil
	}
	if bad, ok := errors.AsType[*clip.MuxError](err); ok {
		answer.Fail(w, http.StatusInternalServerError, "the footage cannot stand in an MP4 file: "+bad.Error(), "ask for a range before or behind it, and report this")
		return "failed", err
	}
	answer.Away(w, err)
	return "failed", err
}

func tooMany(clips []*clip.Clip) several {
	all := several{Error: answer.Error{
		Error:  fmt.Sprintf("the range holds %d sessions or configurations, and each needs a file of its own", len(clips)),
		Remedy: "ask for the same range again, with the seq of each of clips (&seq=…), or use framelog clip --split",
	}}
	for _, c := range clips {
		all.Clips = append(all.Clips, span{c.From.UTC(), c.To.UTC(), c.Seq()})
	}
	return all
}

// cutError: the answer has begun, and cannot be completed.
type cutError struct{ error }

func (e *cutError) Unwrap() error { return e.error }

func (s *Server) send(w http.ResponseWriter, r *http.Request, f *clip.File, to time.Time) (result string, err error) {
	h := w.Header()
	h.Set("Content-Type", "video/mp4")
	h.Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", f.Name()))
	h.Set("ETag", `"`+f.Tag()+`"`)
	h.Set("Framelog-Start", f.From.UTC().Format(time.RFC3339Nano))
	h.Set("Framelog-End", f.To.UTC().Format(time.RFC3339Nano))
	switch {
	case !absolute(r) || time.Since(to) < settled:
		r.Header.Del("Range") // the next request is about another file
	case strings.Contains(r.Header.Get("Range"), ","):
		r.Header.Del("Range") // RFC 9110 section 14.2 allows it: each part would read a fragment
	}
	camera, rendition := subject(r)
	body := &watched{Reader: f.Reader(r.Context()), asked: time.Now(), may: func() bool {
		return s.deps.Known(camera) && access.MayStill(r, camera, rendition)
	}}
	defer body.Close()
	out := &writer{ResponseWriter: w, timeout: s.cfg.WriteTimeout}
	if r.Header.Get("Range") == "" && r.Method == http.MethodGet && r.Header.Get("If-None-Match") == "" && r.Header.Get("If-Match") == "" {
		h.Set("Accept-Ranges", "bytes")
		h.Set("Content-Length", strconv.FormatInt(f.Size(), 10))
		_, _ = body.WriteTo(out) // out and body keep the error
	} else {
		http.ServeContent(out, r, "", time.Time{}, body)
	}
	switch {
	case out.err != nil:
		return "gone", &cutError{out.err}
	case errors.Is(body.err, errRight):
		return "denied", &cutError{body.err}
	case body.err != nil:
		return "failed", &cutError{body.err}
	}
	return "ok", nil
}

// settled is how long ago a range must have ended so that it is the same file each time: no
// fragment lasts longer than 60 s.
const settled = 2 * time.Minute

// absolute reports whether a request means the same range later.
func absolute(r *http.Request) bool {
	for _, name := range []string{"start", "end"} {
		if v := r.URL.Query().Get(name); v == "" || strings.HasPrefix(v, "-") {
			return false
		}
	}
	return true
}

// errRight: the client may not have this clip any more.
var errRight = errors.New("clip: the right to this camera was taken away")

// watched keeps the error of a reader: http.ServeContent does not return it. It asks from time
// to time whether the client may still have the clip.
type watched struct {
	*clip.Reader
	may   func() bool
	asked time.Time
	err   error
}

// check returns an error if the client may not have the clip any more.
func (w *watched) check() error {
	if now := time.Now(); now.Sub(w.asked) >= answer.Beat {
		if w.asked = now; !w.may() {
			w.err = errRight
			return w.err
		}
	}
	return nil
}

// WriteTo implements io.WriterTo.
func (w *watched) WriteTo(to io.Writer) (n int64, err error) {
	for {
		if err := w.check(); err != nil {
			return n, err
		}
		m, err := w.Next(to)
		n += m
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			w.err = err
			return n, err
		}
	}
}

func (w *watched) Read(p []byte) (int, error) {
	if err := w.check(); err != nil {
		return 0, err
	}
	n, err := w.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		w.err = err
	}
	return n, err
}

// writer gives the client a time-out for each MiB, and keeps the error.
type writer struct {
	http.ResponseWriter
	timeout time.Duration
	left    int // bytes until the next time-out begins
	err     error
}

// wait begins the next time-out when it is time.
func (w *writer) wait() {
	if w.left <= 0 {
		// Not every writer has deadlines; without one the server's own time-outs are the bound.
		_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(time.Now().Add(w.timeout))
		w.left = 1 << 20
	}
}

// ReadFrom implements io.ReaderFrom, so that the system can copy files.
func (w *writer) ReadFrom(from io.Reader) (n int64, err error) {
	for {
		w.wait()
		m, end, err := answer.CopyPiece(w.ResponseWriter, from, int64(w.left))
		n, w.left = n+m, w.left-int(m)
		if err != nil {
			w.err = err
		}
		if end || err != nil {
			return n, err
		}
	}
}

func (w *writer) Write(b []byte) (int, error) {
	w.wait()
	n, err := w.ResponseWriter.Write(b)
	w.left -= n
	if err != nil {
		w.err = err
	}
	return n, err
}
