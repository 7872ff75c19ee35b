package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/framelog/framelog/egress/answer"
	"github.com/framelog/framelog/internal/registry"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

var _ Registry = (*registry.Client)(nil)

const canary = "cAnArY-77"

// fakeRegistry keeps the registry in memory and tells followers at once.
type fakeRegistry struct {
	mu     sync.Mutex
	snap   registry.Snapshot
	follow func(registry.Snapshot)
	err    error
	n      int64         // changes
	lag    time.Duration // until followers are told
	asked  int           // calls of End
}

// End is that of a topic with one partition.
func (f *fakeRegistry) End(context.Context) (map[int32]int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	return map[int32]int64{0: f.n}, f.err
}

func (f *fakeRegistry) change(fn func(s *registry.Snapshot)) error {
	f.mu.Lock()
	if f.err != nil {
		defer f.mu.Unlock()
		return f.err
	}
	next := registry.Snapshot{Cameras: map[string]schemas.Camera{}, Status: map[string]schemas.Status{}}
	for k, v := range f.snap.Cameras {
		next.Cameras[k] = v
	}
	for k, v := range f.snap.Status {
		next.Status[k] = v
	}
	fn(&next)
	f.n++
	next.Read = map[int32]int64{0: f.n}
	f.snap = next
	follow, lag := f.follow, f.lag
	f.mu.Unlock()
	switch {
	case follow == nil:
	case lag > 0:
		time.AfterFunc(lag, func() { follow(next) })
	default:
		follow(next)
	}
	return nil
}

func (f *fakeRegistry) Put(_ context.Context, c schemas.Camera) error {
	return f.change(func(s *registry.Snapshot) { s.Cameras[c.ID] = c })
}

func (f *fakeRegistry) Delete(_ context.Context, id string) error {
	return f.change(func(s *registry.Snapshot) { delete(s.Cameras, id) })
}

func (f *fakeRegistry) Follow(ctx context.Context, changed func(registry.Snapshot)) error {
	f.mu.Lock()
	f.follow = changed
	s := f.snap
	f.mu.Unlock()
	changed(s)
	<-ctx.Done()
	return ctx.Err()
}

func (f *fakeRegistry) camera(id string) (schemas.Camera, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c, ok := f.snap.Cameras[id]
	return c, ok
}

type bench struct {
	reg     *fakeRegistry
	secrets string // directory
	logs    *bytes.Buffer
	metrics *prometheus.Registry
	url     string
}

func camera(id string) schemas.Camera {
	return schemas.Camera{ID: id, URL: "rtsp://10.0.0.5/" + id, User: "viewer", Password: "${file:" + id + "}", Source: schemas.SourceAPI}
}

// start serves an API over front-door (of the API) and garage (of a file).
func start(t *testing.T, cfg Config, set ...func(*bench)) *bench {
	t.Helper()
	garage := camera("garage")
	garage.Source, garage.Origin = schemas.SourceFile, "office:12"
	b := &bench{
		reg: &fakeRegistry{snap: registry.Snapshot{
			Cameras: map[string]schemas.Camera{"front-door": camera("front-door"), "garage": garage},
			Status:  map[string]schemas.Status{"front-door": {Camera: "front-door", State: schemas.StateLive, Updated: time.Now()}},
		}},
		secrets: filepath.Join(t.TempDir(), "secrets"),
		logs:    &bytes.Buffer{},
		metrics: prometheus.NewRegistry(),
	}
	for _, f := range set {
		f(b)
	}
	cfg.SecretsDir = b.secrets
	a := New(cfg, Deps{
		Registry: b.reg, Registerer: b.metrics,
		Log:   slog.New(slog.NewTextHandler(b.logs, nil)),
		Delay: func(c string) (time.Duration, bool) { return 340 * time.Millisecond, c == "front-door" },
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	srv := httptest.NewServer(a)
	b.url = srv.URL
	t.Cleanup(func() { cancel(); <-done; srv.Close() })
	waitFor(t, func() bool { _, code := b.do(t, "GET", "/v1/cameras", ""); return code == 200 })
	return b
}

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	testenv.Wait(t, testenv.Patience, "what was asked for", ok)
}

func (b *bench) do(t *testing.T, method, path, body string, header ...string) (string, int) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, b.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	out, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(out), res.StatusCode
}

func TestList(t *testing.T) {
	b := start(t, Config{})
	out, _ := b.do(t, "GET", "/v1/cameras", "")
	var list List
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		t.Fatal(err)
	}
	if len(list.Cameras) != 2 || list.Cameras[0].ID != "front-door" || list.Cameras[1].ID != "garage" {
		t.Fatalf("cameras %s", out)
	}
	front, garage := list.Cameras[0], list.Cameras[1]
	if front.URL != "rtsp://***@10.0.0.5/front-door" || front.Playlist != "/hls/front-door/index.m3u8" {
		t.Errorf("url %q, playlist %q", front.URL, front.Playlist)
	}
	if front.DelayMS == nil || *front.DelayMS != 340 || front.Status == nil || front.Status.State != schemas.StateLive || front.Status.Stale {
		t.Errorf("status of a live camera: %s", out)
	}
	if garage.DelayMS != nil || garage.Status != nil || !strings.Contains(out, `"delay_ms":null`) {
		t.Errorf("a camera of which nothing is known: %s", out)
	}
	if d := time.Since(time.UnixMilli(list.Now)); d.Abs() > time.Minute {
		t.Errorf("now is %v off", d)
	}
	if _, code := b.do(t, "GET", "/v1/cameras/garage", ""); code != 200 {
		t.Errorf("one camera: %d", code)
	}
}

// What another process has written is in every answer that is asked for after it.
func TestListHoldsWhatOthersWrote(t *testing.T) {
	b := start(t, Config{Visible: testenv.Patience}, func(b *bench) { b.reg.lag = 300 * time.Millisecond })
	for _, id := range []string{"yard", "lane"} { // framelog cameras add
		if err := b.reg.Put(t.Context(), camera(id)); err != nil {
			t.Fatal(err)
		}
		if out, _ := b.do(t, "GET", "/v1/cameras", ""); !strings.Contains(out, `"id":"`+id+`"`) {
			t.Errorf("%s is not in %s", id, out)
		}
	}
	if err := b.reg.Put(t.Context(), camera("gate")); err != nil {
		t.Fatal(err)
	}
	if out, code := b.do(t, "PUT", "/v1/cameras/gate", `{"url":"rtsp://10.0.0.9/a"}`, "If-None-Match", "*"); code != http.StatusPreconditionFailed {
		t.Errorf("%d %s", code, out)
	}
	if err := b.reg.Delete(t.Context(), "gate"); err != nil {
		t.Fatal(err)
	}
	if out, code := b.do(t, "GET", "/v1/cameras/gate", ""); code != http.StatusNotFound {
		t.Errorf("%d %s", code, out)
	}
}

// With the brokers away what is known is served, and they are not asked each time.
func TestListWithoutBrokers(t *testing.T) {
	b := start(t, Config{Visible: testenv.Patience})
	b.reg.mu.Lock()
	b.reg.err, b.reg.asked = errors.New("no broker"), 0
	b.reg.mu.Unlock()
	for range 20 {
		if out, code := b.do(t, "GET", "/v1/cameras", ""); code != http.StatusOK || !strings.Contains(out, "front-door") {
			t.Errorf("%d %s", code, out)
		}
	}
	b.reg.mu.Lock()
	defer b.reg.mu.Unlock()
	if b.reg.asked > 2 {
		t.Errorf("the brokers were asked %d times for 20 lists", b.reg.asked)
	}
}

func TestStale(t *testing.T) {
	b := start(t, Config{}, func(b *bench) {
		b.reg.snap.Status["front-door"] = schemas.Status{State: schemas.StateLive, Updated: time.Now().Add(-31 * time.Second)}
	})
	if out, _ := b.do(t, "GET", "/v1/cameras/front-door", ""); !strings.Contains(out, `"stale":true`) {
		t.Errorf("not stale: %s", out)
	}
}

func TestChanges(t *testing.T) {
	const good = `{"url":"rtsp://10.0.0.9/a"}`
	for _, c := range []struct {
		name, method, path, body string
		header                   []string
		code                     int
		want                     string // in the answer
	}{
		{"add", "PUT", "/v1/cameras/yard", good, nil, 201, `"id":"yard"`},
		{"an @ in the path", "PUT", "/v1/cameras/yard", `{"url":"rtsp://10.0.0.9:554/live@main"}`, nil, 201, `rtsp://10.0.0.9:554/live@main`},
		{"a slash in the password", "PUT", "/v1/cameras/yard", `{"url":"rtsp://u:a/` + canary + `@10.0.0.9/"}`, nil, 400, `%2F for /`},
		{"change", "PUT", "/v1/cameras/front-door", good, nil, 200, `rtsp://10.0.0.9/a`},
		{"add only, free", "PUT", "/v1/cameras/yard", good, []string{"If-None-Match", "*"}, 201, ""},
		{"add only, taken", "PUT", "/v1/cameras/front-door", good, []string{"If-None-Match", "*"}, 412, "already"},
		{"of a file", "PUT", "/v1/cameras/garage", good, nil, 409, `the configuration file \"office\" (line 12)`},
		{"bad id", "PUT", "/v1/cameras/Front_Door", good, nil, 400, "front-door"},
		{"id of the stream", "PUT", "/v1/cameras/events", good, nil, 400, "reserved"},
		{"id with a slash", "PUT", "/v1/cameras/a%2Fb", good, nil, 400, "camera id"},
		{"unknown field", "PUT", "/v1/cameras/yard", `{"url":"rtsp://h/","uri":"x"}`, nil, 400, `unknown field \"uri\"`},
		{"source is not theirs", "PUT", "/v1/cameras/yard", `{"url":"rtsp://h/","source":"file"}`, nil, 400, "source"},
		{"wrong type", "PUT", "/v1/cameras/yard", `{"url":"rtsp://h/","no_audio":"` + canary + `"}`, nil, 400, "no_audio: want bool"},
		{"a number for a word", "PUT", "/v1/cameras/yard", `{"url":7777777}`, nil, 400, "url: want string, not number"},
		{"no json", "PUT", "/v1/cameras/yard", `url: x`, nil, 400, "no JSON"},
		{"cut short", "PUT", "/v1/cameras/yard", `{"url":`, nil, 400, "too early"},
		{"two values", "PUT", "/v1/cameras/yard", good + good, nil, 400, "more than one"},
		{"an array", "PUT", "/v1/cameras/yard", `[]`, nil, 400, "no JSON object"},
		{"too large", "PUT", "/v1/cameras/yard", `{"url":"` + strings.Repeat("x", maxBody) + `"}`, nil, 400, "larger than"},
		{"no url", "PUT", "/v1/cameras/yard", `{"label":"Yard"}`, nil, 400, "url is missing"},
		{"bad scheme", "PUT", "/v1/cameras/yard", `{"url":"http://h/"}`, nil, 400, "rtsp://"},
		{"bad chunk_ms", "PUT", "/v1/cameras/yard", `{"url":"rtsp://h/","chunk_ms":2001}`, nil, 400, "chunk_ms"},
		{"bad engine", "PUT", "/v1/cameras/yard", `{"url":"rtsp://h/","engine":"ffmpeg"}`, nil, 400, "engine"},
		{"bad transport", "PUT", "/v1/cameras/yard", `{"url":"rtsp://h/","transport":"sctp"}`, nil, 400, "transport"},
		{"long label", "PUT", "/v1/cameras/yard", `{"url":"rtsp://h/","label":"` + strings.Repeat("é", 101) + `"}`, nil, 400, "label"},
		{"a form", "PUT", "/v1/cameras/yard", good, []string{"Content-Type", "text/plain"}, 400, "Content-Type"},
		{"remove", "DELETE", "/v1/cameras/front-door", "", nil, 204, ""},
		{"remove a file's", "DELETE", "/v1/cameras/garage", "", nil, 409, `the configuration file \"office\" (line 12)`},
		{"remove nothing", "DELETE", "/v1/cameras/yard", "", nil, 404, "yard"},
		{"get nothing", "GET", "/v1/cameras/yard", "", nil, 404, "yard"},
		{"method", "POST", "/v1/cameras", good, nil, 405, "GET"},
		{"method of one camera", "POST", "/v1/cameras/yard", good, nil, 405, "PUT, DELETE"},
		{"below a camera", "GET", "/v1/cameras/yard/x", "", nil, 404, "nothing at"},
		{"elsewhere", "GET", "/v1/nothing", "", nil, 404, "/v1/cameras"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := start(t, Config{})
			out, code := b.do(t, c.method, c.path, c.body, c.header...)
			if code != c.code || !strings.Contains(out, c.want) {
				t.Fatalf("%d %s, want %d with %q", code, out, c.code, c.want)
			}
			if code >= 400 {
				var e answer.Error
				if err := json.Unmarshal([]byte(out), &e); err != nil || e.Error == "" {
					t.Errorf("no JSON error: %q", out)
				}
				if strings.Contains(out+b.logs.String(), canary) {
					t.Errorf("a value is repeated: %s", out)
				}
			}
			// Whoever wrote reads what was written.
			id := c.path[strings.LastIndexByte(c.path, '/')+1:]
			if code >= 400 {
				return
			}
			if _, after := b.do(t, "GET", "/v1/cameras/"+id, ""); (code == 201 && after != 200) || (code == 204 && after != 404) {
				t.Errorf("%d, and then GET gives %d", code, after)
			}
		})
	}
}

func TestBrokerAway(t *testing.T) {
	b := start(t, Config{})
	b.reg.mu.Lock()
	b.reg.err = errors.New("no broker at rtsp://u:" + canary + "@h")
	b.reg.mu.Unlock()
	for _, m := range []string{"PUT", "DELETE"} {
		out, code := b.do(t, m, "/v1/cameras/front-door", `{"url":"rtsp://h/"}`)
		if code != 503 || strings.Contains(out, canary) {
			t.Errorf("%s: %d %s", m, code, out)
		}
	}
}

func TestNotReady(t *testing.T) {
	a := New(Config{}, Deps{Registry: &fakeRegistry{}})
	for _, c := range [][2]string{{"GET", "/v1/cameras"}, {"GET", "/v1/cameras/a"}, {"PUT", "/v1/cameras/a"}, {"DELETE", "/v1/cameras/a"}} {
		w := httptest.NewRecorder()
		a.ServeHTTP(w, httptest.NewRequest(c[0], c[1], nil))
		if w.Code != 503 || w.Header().Get("Retry-After") == "" {
			t.Errorf("%v: %d", c, w.Code)
		}
	}
}

func FuzzPut(f *testing.F) {
	for _, s := range []string{`{"url":"rtsp://h/"}`, `{"url":7}`, `[`, `{"label":"\u0000"}`, `{"url":"rtsp://u:p@h/"}`} {
		f.Add(s)
	}
	reg := &fakeRegistry{}
	a := New(Config{Visible: time.Millisecond}, Deps{Registry: reg})
	a.setSnapshot(registry.Snapshot{})
	f.Fuzz(func(t *testing.T, body string) {
		r := httptest.NewRequest("PUT", "/v1/cameras/x", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		a.ServeHTTP(w, r)
		if w.Code != 201 && w.Code != 400 {
			t.Fatal(fmt.Sprint(w.Code, w.Body))
		}
		if !json.Valid(w.Body.Bytes()) {
			t.Fatalf("no JSON: %q", w.Body)
		}
	})
}
