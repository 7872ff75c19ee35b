package share

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// Times of the fake role. They are ingest's.
const (
	openWait      = 5 * time.Second // without a connection, until the log is opened all the same
	desertedAfter = 2 * time.Minute
	sessionTime   = 8 * time.Second
)

// errEnded ends a run whose log was deleted.
var errEnded = errors.New("the log has ended")

// fakeLogs is the log of all cameras, for any number of processes: an opening
// fences the writer before. Nothing of it is written; it notes from when to when
// somebody could.
type fakeLogs struct {
	mu      sync.Mutex
	cameras map[string]*fakeLog
	opened  []string // "camera process reason", in order
}

type fakeLog struct {
	newest *fakeWriter
	active time.Time     // when the newest writer last wrote, if it does not any more; else zero
	hole   time.Duration // the longest in which nobody wrote, before the newest writer
}

type fakeWriter struct {
	logs            *fakeLogs
	camera, process string
	record          schemas.Camera // of its run
	fenced          chan struct{}  // closed by the next opening
	deleted         chan struct{}  // closed when the topic is deleted
	began           bool           // pictures have come; guarded by logs.mu
	over            bool           // its run has ended, or its process has died; guarded by logs.mu
	taken           time.Time      // when fenced was closed; guarded by logs.mu
}

func newFakeLogs() *fakeLogs { return &fakeLogs{cameras: make(map[string]*fakeLog)} }

func (l *fakeLogs) of(camera string) *fakeLog {
	c := l.cameras[camera]
	if c == nil {
		c = &fakeLog{}
		l.cameras[camera] = c
	}
	return c
}

// open opens a log after lag.
func (l *fakeLogs) open(w *fakeWriter, reason string, lag time.Duration) {
	w.logs, w.fenced, w.deleted = l, make(chan struct{}), make(chan struct{})
	if lag == 0 {
		l.land(w, reason)
		return
	}
	time.AfterFunc(lag, func() { l.land(w, reason) })
}

// land has the log take an opening, even if its writer has ended meanwhile:
// nobody can call back what is on its way.
func (l *fakeLogs) land(w *fakeWriter, reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.of(w.camera)
	if c.newest != nil {
		close(c.newest.fenced)
		c.newest.taken = time.Now()
		if c.newest.writes() && !w.writes() {
			c.active = time.Now()
		}
	}
	c.newest = w
	l.opened = append(l.opened, w.camera+" "+w.process+" "+reason)
	if w.writes() {
		c.resume()
	}
}

func (w *fakeWriter) writes() bool { return w.began && !w.over }

func (c *fakeLog) resume() {
	if !c.active.IsZero() {
		c.hole = max(c.hole, time.Since(c.active))
	}
	c.active = time.Time{}
}

// fencedAt is when another process opened the log.
func (w *fakeWriter) fencedAt() time.Time {
	w.logs.mu.Lock()
	defer w.logs.mu.Unlock()
	return w.taken
}

// begin is the first picture of a writer; end its last.
func (w *fakeWriter) begin() {
	w.logs.mu.Lock()
	defer w.logs.mu.Unlock()
	w.began = true
	if c := w.logs.of(w.camera); c.newest == w && !w.over {
		c.resume()
	}
}

func (w *fakeWriter) end() {
	w.logs.mu.Lock()
	defer w.logs.mu.Unlock()
	if c := w.logs.of(w.camera); c.newest == w && w.writes() {
		c.active = time.Now()
	}
	w.over = true
}

// recordedBy is the process that records a camera; "": none.
func (l *fakeLogs) recordedBy(camera string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if w := l.of(camera).newest; w != nil && w.writes() {
		return w.process
	}
	return ""
}

func (l *fakeLogs) newest(camera string) *fakeWriter {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.of(camera).newest
}

// longestHole is the longest time in which nobody recorded a camera, from its
// first picture to its last.
func (l *fakeLogs) longestHole(camera string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.of(camera).hole
}

// idle is for how long nobody has written a camera's log.
func (l *fakeLogs) idle(camera string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch c := l.of(camera); {
	case c.active.IsZero() && c.newest != nil && c.newest.writes():
		return 0
	case c.active.IsZero():
		return time.Hour // nobody ever has
	default:
		return time.Since(c.active)
	}
}

// opens is all openings in order.
func (l *fakeLogs) opens() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.opened)
}

// fakeRole records to fakeLogs.
type fakeRole struct {
	t       testing.TB
	process string
	logs    *fakeLogs
	// connect waits until a camera sends pictures, or ctx ends. leave is called
	// when the connection ends. Default: at once.
	connect func(ctx context.Context, cam schemas.Camera) (leave func())
	// lag is how long something of no importance takes, up to d. Default: no time.
	lag func(d time.Duration) time.Duration
	// slow is how long a run takes to end, besides lag.
	slow time.Duration
	// again reports whether a run opens its log anew now, as after a failed
	// attempt. Default: never.
	again func() bool
	// fails reports whether a run without a connection fails. Default: never.
	fails func() bool

	mu      sync.Mutex
	dead    bool // as killed
	works   map[string]*fakeWork
	running map[string]int
	runs    int
	forgot  []string // cameras, with " removed"
}

func newFakeRole(t testing.TB, process string, logs *fakeLogs) *fakeRole {
	return &fakeRole{
		t: t, process: process, logs: logs, works: make(map[string]*fakeWork), running: make(map[string]int),
		connect: func(context.Context, schemas.Camera) func() { return func() {} },
		lag:     func(time.Duration) time.Duration { return 0 },
	}
}

type fakeWork struct {
	role   *fakeRole
	record schemas.Camera

	muted  bool // guarded by role.mu
	writer *fakeWriter
}

func (r *fakeRole) NewWork(cam schemas.Camera) Work {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := &fakeWork{role: r, record: cam}
	r.works[cam.ID] = w
	return w
}

func (r *fakeRole) Forget(camera string, removed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running[camera] != 0 {
		r.t.Errorf("%s: %s is forgotten and runs", r.process, camera)
	}
	delete(r.works, camera)
	if removed {
		camera += " removed"
	}
	r.forgot = append(r.forgot, camera)
}

// kill has nothing come of what runs any more.
func (r *fakeRole) kill() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dead = true
	for _, w := range r.works {
		if w.writer != nil {
			w.writer.end()
		}
	}
}

func (w *fakeWork) Mute(on bool) {
	w.role.mu.Lock()
	defer w.role.mu.Unlock()
	w.muted = on
}

func (w *fakeWork) isMuted() bool {
	w.role.mu.Lock()
	defer w.role.mu.Unlock()
	return w.muted
}

func (w *fakeWork) WaitReclaim(ctx context.Context) error {
	wait := 2 * sessionTime
	for {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
		if w.role.logs.idle(w.record.ID) >= desertedAfter {
			return nil
		}
		wait = desertedAfter / 8
	}
}

// open opens the log, if it may.
func (w *fakeWork) open(reason string, pictures bool, mayOpen func() bool) {
	r := w.role
	if !mayOpen() {
		return
	}
	wr := &fakeWriter{camera: w.record.ID, process: r.process, record: w.record, began: pictures}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.dead {
		return
	}
	if w.writer != nil {
		w.writer.end()
	}
	w.writer = wr
	r.logs.open(wr, reason, r.lag(2*time.Second))
}

// Run records from the first picture on; after openWait it opens the log without
// one.
func (w *fakeWork) Run(ctx context.Context, reason string, mayOpen func() bool) error {
	r := w.role
	r.count(w.record.ID, 1)
	defer r.count(w.record.ID, -1)
	r.mu.Lock()
	w.writer = nil
	r.mu.Unlock()

	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	connected := make(chan struct{})
	wg.Go(func() {
		leave := r.connect(ctx, w.record)
		if leave == nil {
			return
		}
		close(connected)
		<-ctx.Done()
		leave()
	})
	defer func() {
		if w.writer != nil {
			w.writer.end()
		}
	}()
	force := time.After(openWait)
	var again <-chan time.Time
	var fenced, deleted <-chan struct{}
	var noticed <-chan time.Time // the writer learns of it a little later
	begin := func(pictures bool) {
		w.open(reason, pictures, mayOpen)
		if w.writer != nil {
			fenced, deleted = w.writer.fenced, w.writer.deleted
		}
	}
	pictures := connected
	for {
		select {
		case <-pictures:
			pictures, force = nil, nil
			if w.writer == nil {
				begin(true)
			} else {
				w.writer.begin()
			}
			if r.again != nil {
				again = time.After(r.lag(20 * time.Second))
			}
		case <-force:
			force = nil
			if r.fails != nil && r.fails() {
				return errEnded
			}
			if reason != ReasonDeserted {
				begin(false) // which ends an owner before that has the only place
			}
		case <-again:
			again = time.After(r.lag(20 * time.Second))
			if noticed == nil && r.again() {
				begin(true)
			}
		case <-fenced:
			fenced = nil
			noticed = time.After(r.lag(2 * time.Second))
		case <-noticed:
			return ErrFenced
		case <-deleted:
			return errEnded
		case <-ctx.Done():
			if w.writer != nil {
				w.writer.end()
			}
			time.Sleep(r.lag(2 * time.Second))
			if r.lag(3) > 1 { // a picture crosses the end
				if mayOpen() {
					r.t.Errorf("%s: %s: may open after it was told to stop", r.process, w.record.ID)
				}
			}
			time.Sleep(r.slow + r.lag(2*time.Second)) // until the log has everything
			return nil
		}
	}
}

// count counts the runs of a camera, of which there is one at a time.
func (r *fakeRole) count(camera string, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running[camera] += n
	if n > 0 {
		r.runs++
	}
	if r.running[camera] > 1 {
		r.t.Errorf("%s: %s runs twice", r.process, camera)
	}
}

func (r *fakeRole) forgotten() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.forgot, ", ")
}

func textLog(b *testenv.Log) *slog.Logger { return slog.New(slog.NewTextHandler(b, nil)) }

// after lets d pass, and everything settle that happens meanwhile.
func after(d time.Duration) {
	time.Sleep(d) // of the bubble's clock
	synctest.Wait()
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
