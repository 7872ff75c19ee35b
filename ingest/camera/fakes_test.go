package camera

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/framelog/framelog/ingest"
	"github.com/framelog/framelog/ingest/assemble"
	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// canary is a password: no status and no log line may hold it.
const canary = "c4n4ry"

// fakeLogs is the log of all cameras, for any number of processes: an opening
// fences the writer before.
type fakeLogs struct {
	lag  func() time.Duration // until an opening is in the log; nil: none
	keep bool                 // writers keep their chunks

	mu            sync.Mutex
	writers       map[string]*fakeWriter // the newest, by topic
	opened        []medialog.OpenOptions
	newestOptions map[string]medialog.OpenOptions // by topic
	topics        []string                        // of opened

	forgotten map[string]bool // cameras
	strangers map[string]bool // cameras that somebody else records
	ends      map[string]int64
}

// IndexEnd is the log's: each fragment and each opening moves it.
func (l *fakeLogs) IndexEnd(_ context.Context, t schemas.Topic) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.strangers[t.Camera] {
		l.ends[t.Camera]++
	}
	return l.ends[t.Camera], nil
}

// elsewhere sets whether another process records a camera.
func (l *fakeLogs) elsewhere(camera string, does bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.strangers[camera] = does
}

func (l *fakeLogs) forget(camera string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forgotten[camera] = true
}

func (l *fakeLogs) isForgotten(camera string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.forgotten[camera]
}

type fakeWriter struct {
	logs   *fakeLogs
	topic  string
	owner  string
	ready  chan struct{}
	fenced chan struct{}
	once   sync.Once

	err error // of Err; set before fenced is closed

	// Guarded by logs.mu.
	chunks   int
	kept     [][]byte // encoded
	sessions int
	absent   []string // why nothing was recorded before each
	closed   bool
	refuse   error
	last     time.Time
	longest  time.Duration // between two chunks
	until    time.Time     // the longest ended
}

func newFakeLogs() *fakeLogs {
	return &fakeLogs{writers: make(map[string]*fakeWriter), forgotten: make(map[string]bool), strangers: make(map[string]bool), ends: make(map[string]int64), newestOptions: make(map[string]medialog.OpenOptions)}
}

// options is with what a topic was opened last.
func (l *fakeLogs) options(topic string) medialog.OpenOptions {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.newestOptions[topic]
}

func (l *fakeLogs) Open(_ context.Context, t schemas.Topic, o medialog.OpenOptions) Writer {
	w := &fakeWriter{logs: l, topic: t.String(), owner: o.Writer, ready: make(chan struct{}), fenced: make(chan struct{})}
	lag := time.Duration(0)
	if l.lag != nil {
		lag = l.lag()
	}
	if lag == 0 {
		l.take(w, o)
	} else {
		time.AfterFunc(lag, func() { l.take(w, o) })
	}
	return w
}

// take has the log at an opening.
func (l *fakeLogs) take(w *fakeWriter, o medialog.OpenOptions) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if w.closed {
		return
	}
	if before := l.writers[w.topic]; before != nil {
		before.fence()
	}
	l.writers[w.topic] = w
	l.ends[w.topic]++
	l.opened = append(l.opened, o)
	l.newestOptions[w.topic] = o
	l.topics = append(l.topics, w.topic)
	close(w.ready)
}

// opens is the cameras of all openings in order, and why the last was.
func (l *fakeLogs) opens() (cameras, reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.opened); n > 0 {
		reason = l.opened[n-1].Reason
	}
	return strings.Join(l.topics, " "), reason
}

// of is the newest writer of a topic; nil: there was none.
func (l *fakeLogs) of(camera string) *fakeWriter {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.writers[camera]
}

// writerState is what became of a writer.
type writerState struct {
	chunks, sessions int
	closed           bool
	longest          time.Duration
	last             time.Time
}

func (w *fakeWriter) state() writerState {
	w.logs.mu.Lock()
	defer w.logs.mu.Unlock()
	return writerState{w.chunks, w.sessions, w.closed, w.longest, w.last}
}

func (w *fakeWriter) isClosed() bool { return w.state().closed }

func (w *fakeWriter) fence()                  { w.end(medialog.ErrFenced) }
func (w *fakeWriter) end(err error)           { w.once.Do(func() { w.err = err; close(w.fenced) }) }
func (w *fakeWriter) Ready() <-chan struct{}  { return w.ready }
func (w *fakeWriter) Fenced() <-chan struct{} { return w.fenced }

func (w *fakeWriter) Err() error { <-w.fenced; return w.err }

func (w *fakeWriter) Close(ctx context.Context) error {
	select {
	case <-w.ready:
	case <-ctx.Done():
	}
	w.logs.mu.Lock()
	defer w.logs.mu.Unlock()
	w.closed = true
	w.end(nil)
	return nil
}

func (w *fakeWriter) NewSession(absent string) {
	w.logs.mu.Lock()
	defer w.logs.mu.Unlock()
	w.sessions++
	w.absent = append(w.absent, absent)
}

func (w *fakeWriter) Write(c *schemas.Chunk) error {
	w.logs.mu.Lock()
	defer w.logs.mu.Unlock()
	if w.logs.keep {
		x := *c
		x.Captured = x.Start // which the sources compared do not have in common
		b, err := schemas.EncodeChunk(&x)
		if err != nil {
			return err
		}
		w.kept = append(w.kept, b)
	}
	if w.refuse != nil {
		return w.refuse
	}
	w.chunks++
	w.logs.ends[w.topic]++
	now := time.Now()
	if d := now.Sub(w.last); !w.last.IsZero() && d > w.longest {
		w.longest, w.until = d, now
	}
	w.last = now
	return nil
}

func (w *fakeWriter) Room(context.Context, int, bool) error { return nil }
func (w *fakeWriter) Written(context.Context) error         { return nil }

func (w *fakeWriter) Truncate(string)                     {}
func (w *fakeWriter) Gap(time.Time, int64, int64, string) {}
func (w *fakeWriter) Lost(schemas.Lost)                   {}

// fakeRegistry keeps the statuses.
type fakeRegistry struct {
	mu      sync.Mutex
	all     []schemas.Status
	status  map[string]schemas.Status
	deleted []string
	reading error           // of LastStatus
	absent  map[string]bool // cameras that Live does not find
}

func newFakeRegistry() *fakeRegistry {
	return &fakeRegistry{status: make(map[string]schemas.Status)}
}

func (r *fakeRegistry) Ensure(context.Context) error { return nil }

func (r *fakeRegistry) PutStatus(s schemas.Status) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, s)
	r.status[s.Camera] = s
}

// away has LastStatus fail with err; nil: it works again.
func (r *fakeRegistry) away(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reading = err
}

func (r *fakeRegistry) LastStatus(_ context.Context, id string) (schemas.Status, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.status[id], r.reading
}

func (r *fakeRegistry) Live(_ context.Context, id string) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.absent[id], nil
}

func (r *fakeRegistry) DeleteStatus(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.deleted = append(r.deleted, id)
	delete(r.status, id)
}

// removed is the cameras whose status was deleted, and text all statuses.
func (r *fakeRegistry) removed() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.deleted, " ")
}

func (r *fakeRegistry) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return fmt.Sprint(r.all)
}

func (r *fakeRegistry) of(id string) schemas.Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.status[id]
}

// sourceFunc is a Source.
type sourceFunc func(ctx context.Context, s ingest.Sink) error

func (f sourceFunc) Run(ctx context.Context, s ingest.Sink) error { return f(ctx, s) }
func (f sourceFunc) Live() bool                                   { return true }

// steady sends a keyframe every 100 ms for d, or for ever with 0.
func steady(d time.Duration) sourceFunc {
	return func(ctx context.Context, s ingest.Sink) error {
		if err := s.Tracks([]schemas.Track{{ID: schemas.VideoTrack, Codec: schemas.H264, Width: 640, Height: 360}}); err != nil {
			return err
		}
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		began := time.Now()
		for {
			select {
			case now := <-tick.C:
				if err := s.Unit(ingest.Unit{Track: schemas.VideoTrack, Captured: now, Data: make([]byte, 1000)}); err != nil {
					return err
				}
				if d > 0 && now.Sub(began) >= d {
					return nil
				}
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}

// slow waits before it does what f does.
func slow(wait time.Duration, f sourceFunc) sourceFunc {
	return func(ctx context.Context, s ingest.Sink) error {
		time.Sleep(wait)
		return f(ctx, s)
	}
}

// mute connects and sends nothing.
func mute(ctx context.Context, s ingest.Sink) error {
	if err := s.Tracks([]schemas.Track{{ID: schemas.VideoTrack, Codec: schemas.H264}}); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

// passAssembler makes a chunk of each unit; a unit without data panics.
type passAssembler struct {
	rec       assemble.Recorder
	fresh     bool
	frameTime time.Duration
}

func (a *passAssembler) Tracks([]schemas.Track) error { a.fresh = true; return nil }

func (a *passAssembler) Unit(u ingest.Unit) error {
	if len(u.Data) == 0 {
		panic("rtsp://viewer:" + canary + "@host/ broke the assembler")
	}
	if a.fresh {
		a.rec.NewSession("")
		a.fresh = false
	}
	_ = a.rec.Write(&schemas.Chunk{Start: u.Captured, Runs: []schemas.Run{{Track: schemas.VideoTrack, Samples: []schemas.Sample{{Duration: 9000, Sync: true, Data: u.Data}}}}})
	return nil
}

func (a *passAssembler) Tick(time.Time) error      { return nil }
func (a *passAssembler) FrameTime(d time.Duration) { a.frameTime = d }
func (a *passAssembler) Flush()                    {}
func (a *passAssembler) Stats() assemble.Stats     { return assemble.Stats{} }

// world is what services of a test share.
type world struct {
	logs     *fakeLogs
	registry *fakeRegistry
	log      *testenv.Log
	// source makes the connections; default: steady(0).
	source func(instance string, cam schemas.Camera) ingest.Source
}

func newWorld(t *testing.T) *world {
	w := &world{
		logs: newFakeLogs(), registry: newFakeRegistry(), log: &testenv.Log{},
		source: func(string, schemas.Camera) ingest.Source { return steady(0) },
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log:\n%s", w.log)
		}
	})
	return w
}

func (w *world) service(t *testing.T, cfg Config) *Service {
	t.Helper()
	if cfg.Kafka.Brokers == nil {
		cfg.Kafka = kafka.Config{Brokers: []string{"127.0.0.1:1"}}
	}
	if cfg.Instance == "" {
		cfg.Instance = "one"
	}
	instance := cfg.Instance
	s, err := New(cfg, Deps{
		Registry:     w.registry,
		NewSource:    func(cam schemas.Camera) ingest.Source { return w.source(instance, cam) },
		Open:         w.logs.Open,
		IndexEnd:     w.logs.IndexEnd,
		newAssembler: func(_ assemble.Config, rec assemble.Recorder) assembler { return &passAssembler{rec: rec} },
	}, slog.New(slog.NewTextHandler(w.log, nil)).With("instance", cfg.Instance), nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func testCamera(id string) schemas.Camera {
	return schemas.Camera{ID: id, URL: "rtsp://h/" + id, Source: schemas.SourceAPI}
}

func cameraMap(cams ...schemas.Camera) map[string]schemas.Camera {
	m := make(map[string]schemas.Camera)
	for _, c := range cams {
		m[c.ID] = c
	}
	return m
}
