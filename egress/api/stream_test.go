package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/framelog/framelog/egress/access"
	"github.com/framelog/framelog/egress/answer"
	"github.com/framelog/framelog/internal/registry"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// handler serves the API's routes to those that may asks for.
func (a *API) handler(may access.Authorize) http.Handler {
	mux, err := access.NewMux(access.Policy{Authorize: may}, a.Routes(), func(_ access.Route, h http.Handler) http.Handler { return h })
	if err != nil {
		panic(err)
	}
	return mux
}

// ServeHTTP serves everyone, in tests.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.handler(access.Everyone).ServeHTTP(w, r)
}

// message is an event of the stream.
type message struct {
	kind     string
	Now      int64
	Cameras  []Camera
	Camera   Camera
	ID       string
	Measures map[string]Measures
}

// take gives what has come since the last call but for the clock, and its bytes.
func take(t *testing.T, v *testenv.Stream) (all []message, size int) {
	t.Helper()
	for _, x := range v.Messages() {
		m := message{kind: x.Event}
		if err := json.Unmarshal([]byte(x.Data), &m); err != nil || m.Now == 0 {
			t.Fatalf("%v: %+v", err, x)
		}
		if x.Event != "now" {
			size += len(x.Data)
			all = append(all, m)
		}
	}
	return all, size
}

// short is what a reader was told, in short, in the order of its texts.
func short(t *testing.T, v *testenv.Stream) string {
	t.Helper()
	all, _ := take(t, v)
	var out []string
	for _, m := range all {
		switch m.kind {
		case "cameras":
			s := "all"
			for _, c := range m.Cameras {
				s += " " + c.ID
			}
			out = append(out, s)
		case "camera":
			s := "camera " + m.Camera.ID + " " + m.Camera.Label
			if st := m.Camera.Status; st != nil && st.Absent > 0 {
				s += fmt.Sprintf(" absent %v %s", st.Absent, st.AbsentReason)
			}
			out = append(out, s)
		case "removed":
			out = append(out, "removed "+m.ID)
		case "measures":
			for id, x := range m.Measures {
				s := "measures " + id + " -"
				if x.DelayMS != nil {
					s = fmt.Sprintf("measures %s %d", id, *x.DelayMS)
				}
				out = append(out, fmt.Sprintf("%s %v %d", s, x.FPS, x.Bitrate))
			}
		}
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// scene is an API with its registry, in a bubble of testing/synctest.
type scene struct {
	*API
	reg    *fakeRegistry
	delays sync.Map // of cameras
	denied sync.Map // cameras that nobody may list
}

// inBubble runs f beside an API over n cameras, cam-0 and on, that are live.
func inBubble(t *testing.T, n int, f func(t *testing.T, s *scene)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &scene{reg: &fakeRegistry{snap: registry.Snapshot{Cameras: map[string]schemas.Camera{}, Status: map[string]schemas.Status{}}}}
		for i := range n {
			id := fmt.Sprint("cam-", i)
			s.reg.snap.Cameras[id] = camera(id)
			s.reg.snap.Status[id] = live(id)
		}
		s.API = New(Config{}, Deps{Registry: s.reg, Delay: func(c string) (time.Duration, bool) {
			d, ok := s.delays.Load(c)
			if !ok {
				return 0, false
			}
			return d.(time.Duration), true
		}})
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = s.Run(ctx) })
		synctest.Wait()
		f(t, s)
		cancel()
		running.Wait()
		synctest.Wait() // for the readers: they end with Run
	})
}

func live(id string) schemas.Status {
	return schemas.Status{Camera: id, State: schemas.StateLive, Updated: time.Now(), FPS: 30, Bitrate: 4_000_000, Owner: "in-1", Host: "h", Video: schemas.H264}
}

// view begins to read the stream.
func (s *scene) view() *testenv.Stream {
	h := s.handler(func(_ *http.Request, camera, _ string, _ access.Action) bool {
		_, no := s.denied.Load(camera)
		return !no
	})
	return testenv.ReadStream(h, httptest.NewRequest("GET", "/v1/cameras/events", nil))
}

func (s *scene) put(t *testing.T, c schemas.Camera) {
	t.Helper()
	if err := s.reg.Put(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

func (s *scene) status(id string, change func(*schemas.Status)) {
	_ = s.reg.change(func(r *registry.Snapshot) {
		st := r.Status[id]
		st.Updated = time.Now()
		change(&st)
		r.Status[id] = st
	})
	synctest.Wait()
}

func labelled(id, label string) schemas.Camera {
	c := camera(id)
	c.Label = label
	return c
}

// TestStream: what a reader is told of each change, and of none.
func TestStream(t *testing.T) {
	inBubble(t, 2, func(t *testing.T, s *scene) {
		v := s.view()
		if got := short(t, v); got != "all cam-0 cam-1" {
			t.Fatalf("at first: %s", got)
		}
		for _, c := range []struct {
			name string
			do   func()
			want string
		}{
			{"nothing", func() {}, ""},
			{"added", func() { s.put(t, labelled("yard", "Yard")) }, "camera yard Yard"},
			{"changed", func() { s.put(t, labelled("yard", "The yard")) }, "camera yard The yard"},
			{"state", func() { s.status("cam-0", func(st *schemas.Status) { st.State = schemas.StateAway }) }, "camera cam-0 "},
			{"session after an absence", func() {
				s.status("cam-0", func(st *schemas.Status) { st.Absent, st.AbsentReason = 15.3, schemas.AbsentRestart })
			}, "camera cam-0  absent 15.3 restart"},
			{"numbers of the log", func() { s.status("cam-0", func(st *schemas.Status) { st.Stands.Seq = 7 }) }, ""},
			{"substream", func() {
				s.status("cam-0", func(st *schemas.Status) { st.Substream = &schemas.StreamStatus{State: schemas.StateLive, Bitrate: 1} })
			}, "camera cam-0  absent 15.3 restart"},
			{"numbers and measures of the substream", func() {
				s.status("cam-0", func(st *schemas.Status) {
					st.Substream = &schemas.StreamStatus{State: schemas.StateLive, Bitrate: 2, Stands: schemas.Standing{Seq: 3}}
				})
			}, ""},
			{"substream away", func() {
				s.status("cam-0", func(st *schemas.Status) { st.Substream = &schemas.StreamStatus{State: schemas.StateAway} })
			}, "camera cam-0  absent 15.3 restart"},
			{"word of its owner", func() { s.status("cam-1", func(*schemas.Status) {}) }, ""},
			{"a little less", func() { s.status("cam-1", func(st *schemas.Status) { st.FPS, st.Bitrate = 29.6, 3_500_000 }) }, ""},
			{"much less", func() { s.status("cam-1", func(st *schemas.Status) { st.FPS, st.Bitrate = 15, 2_000_000 }) }, "measures cam-1 - 15 2000000"},
			{"followed", func() { s.delays.Store("cam-1", 340*time.Millisecond) }, "measures cam-1 340 15 2000000"},
			{"later", func() { s.delays.Store("cam-1", 500*time.Millisecond) }, ""},
			{"much later", func() { s.delays.Store("cam-1", 600*time.Millisecond) }, "measures cam-1 600 15 2000000"},
			{"not followed", func() { s.delays.Delete("cam-1") }, "measures cam-1 - 15 2000000"},
			{"removed", func() { _ = s.reg.Delete(t.Context(), "yard") }, "removed yard"},
			{"silent", func() { time.Sleep(schemas.StaleAfter) }, "camera cam-0  absent 15.3 restart, camera cam-1 "},
		} {
			c.do()
			time.Sleep(2 * time.Second) // until delays have been looked at
			if got := short(t, v); got != c.want {
				t.Errorf("%s: %q, want %q", c.name, got, c.want)
			}
		}
		s.status("cam-1", func(st *schemas.Status) { st.Bitrate = 4_000_000 })
		short(t, v)
		s.status("cam-1", func(st *schemas.Status) { st.Bitrate = 4_500_000 }) // an eighth more
		if got := short(t, v); got != "" {
			t.Errorf("at once: %s", got)
		}
		time.Sleep(remeasure)
		s.status("cam-1", func(*schemas.Status) {})
		if got := short(t, v); !strings.Contains(got, "cam-1") {
			t.Errorf("a small difference that lasts: %q", got)
		}
	})
}

// TestStreamBytes: of 1000 cameras one changes, and each reader gets one camera. While
// nothing happens but what always does, readers get next to nothing.
func TestStreamBytes(t *testing.T) {
	const n = 1000
	inBubble(t, n, func(t *testing.T, s *scene) {
		jitter := func(round int) {
			for i := range n {
				id := fmt.Sprint("cam-", i)
				s.delays.Store(id, time.Duration(900+40*((i+round)%3))*time.Millisecond)
			}
		}
		jitter(0)
		time.Sleep(3 * time.Second)
		viewers := []*testenv.Stream{s.view(), s.view(), s.view()}
		whole := 0
		for _, v := range viewers {
			all, size := take(t, v)
			if len(all) != 1 || len(all[0].Cameras) != n {
				t.Fatalf("%d events at first", len(all))
			}
			whole = size
		}
		one := whole / n
		s.put(t, labelled("cam-7", "Seven"))
		for _, v := range viewers {
			if all, size := take(t, v); len(all) != 1 || all[0].Camera.Label != "Seven" || size > one+100 {
				t.Errorf("%d events of %d bytes for one camera of %d", len(all), size, one)
			}
		}
		for round := range 30 { // a minute, in which each owner writes each status anew every 10 s
			jitter(round)
			_ = s.reg.change(func(r *registry.Snapshot) {
				for id, st := range r.Status {
					if (len(id)+round)%5 == 0 {
						st.Updated, st.FPS, st.Bitrate = time.Now(), 30+0.1*float64(round%3), 4_000_000+uint64(round%4)*100_000
						r.Status[id] = st
					}
				}
			})
			time.Sleep(2 * time.Second)
		}
		for _, v := range viewers {
			if all, size := take(t, v); size > whole/20 {
				t.Errorf("%d bytes in %d events of nothing, all cameras are %d", size, len(all), whole)
			}
		}
	})
}

// TestSlowReader: a reader that has not read for long gets the newest state of each
// camera once.
func TestSlowReader(t *testing.T) {
	inBubble(t, 2, func(t *testing.T, s *scene) {
		v := s.view()
		short(t, v)
		release := v.Hold()
		s.put(t, labelled("cam-0", "blocked")) // is being written
		for i := range 50 {
			s.put(t, labelled("cam-1", fmt.Sprint(i)))
			s.put(t, labelled("brief", fmt.Sprint(i)))
			if err := s.reg.Delete(t.Context(), "brief"); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.reg.Delete(t.Context(), "cam-0"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		release()
		if got, want := short(t, v), "camera cam-0 blocked, camera cam-1 49, removed cam-0"; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

// TestStreamDenied: a reader is told nothing of cameras that it may not list, and
// nothing more of one that it may not list any more.
func TestStreamDenied(t *testing.T) {
	inBubble(t, 2, func(t *testing.T, s *scene) {
		s.denied.Store("cam-1", true)
		s.denied.Store("vault", true)
		v := s.view()
		for _, c := range []struct {
			name string
			do   func()
			want string
		}{
			{"at first", func() {}, "all cam-0"},
			{"added", func() { s.put(t, labelled("vault", "Vault")) }, ""},
			{"changed", func() { s.put(t, labelled("cam-1", "One")) }, ""},
			{"measured", func() { s.delays.Store("cam-1", time.Second) }, ""},
			{"removed", func() { _ = s.reg.Delete(t.Context(), "vault") }, ""},
			{"right taken", func() { s.denied.Store("cam-0", true); s.put(t, labelled("cam-0", "Nil")) }, "removed cam-0"},
			{"changed without", func() { s.put(t, labelled("cam-0", "Zero")) }, ""},
			{"right given", func() { s.denied.Delete("cam-1"); s.put(t, labelled("cam-1", "Uno")) }, "camera cam-1 Uno"},
		} {
			c.do()
			time.Sleep(2 * time.Second)
			if got := short(t, v); got != c.want {
				t.Errorf("%s: %q, want %q", c.name, got, c.want)
			}
		}
	})
}

// TestStreamClock: a reader is told the clock, also while nothing changes.
func TestStreamClock(t *testing.T) {
	inBubble(t, 0, func(t *testing.T, s *scene) {
		v := s.view()
		time.Sleep(4*answer.Beat + time.Second)
		if got := v.Text(); strings.Count(got, "event: now\n") != 5 || !strings.HasPrefix(got, "retry: 2000\n\nevent: now\n") {
			t.Errorf("%q", got)
		}
	})
}

// TestStreamLimit: readers beyond the limit are refused and counted. The end of Run
// ends streams, so that they do not hold up the end of the server.
func TestStreamLimit(t *testing.T) {
	reg := prometheus.NewRegistry()
	a := New(Config{MaxSubscribers: 2}, Deps{Registry: &fakeRegistry{}, Registerer: reg})
	ctx, cancel := context.WithCancel(t.Context())
	var ended sync.WaitGroup
	ended.Go(func() { _ = a.Run(ctx) })
	var full atomic.Int32
	for range 3 {
		ended.Go(func() {
			w := httptest.NewRecorder()
			if a.ServeHTTP(w, httptest.NewRequest("GET", "/v1/cameras/events", nil)); w.Code == http.StatusServiceUnavailable && w.Header().Get("Retry-After") != "" {
				full.Add(1)
			}
		})
	}
	waitFor(t, func() bool { return full.Load() == 1 })
	if families, err := reg.Gather(); err != nil || len(families) != 2 ||
		families[0].Metric[0].Gauge.GetValue() != 2 || families[1].Metric[0].Counter.GetValue() != 1 {
		t.Errorf("metrics %v, %v", families, err)
	}
	cancel()
	ended.Wait() // or the test times out
}

// TestStreamHead: HEAD gets the header and ends, so that the connection can take the
// next request.
func TestStreamHead(t *testing.T) {
	b := start(t, Config{})
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{MaxConnsPerHost: 1}}
	for _, x := range []struct{ method, path, is string }{
		{"HEAD", "/v1/cameras/events", "text/event-stream"},
		{"GET", "/v1/cameras", "application/json"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), x.method, b.url+x.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if got := res.Header.Get("Content-Type"); res.StatusCode != http.StatusOK || got != x.is {
			t.Errorf("%s %s: %d, %q", x.method, x.path, res.StatusCode, got)
		}
	}
}
