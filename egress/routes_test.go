package egress

import (
	"context"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/framelog/framelog/egress/access"
	"github.com/framelog/framelog/egress/hls"
	"github.com/framelog/framelog/egress/live/livetest"
	"github.com/framelog/framelog/egress/parts"
	"github.com/framelog/framelog/egress/people"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/internal/registry"
	"github.com/framelog/framelog/schemas"
)

// oneCamera is a registry with the camera vault, and counts its changes.
type oneCamera struct {
	emptyRegistry
	changes int
}

func (o *oneCamera) Put(context.Context, schemas.Camera) error { o.changes++; return nil }
func (o *oneCamera) Delete(context.Context, string) error      { o.changes++; return nil }

func (o *oneCamera) Follow(ctx context.Context, f func(registry.Snapshot)) error {
	f(registry.Snapshot{
		Cameras: map[string]schemas.Camera{"vault": {ID: "vault", Label: "Secret-Label", URL: "rtsp://10.9.8.7/secret-path", Source: schemas.SourceAPI}},
		Status:  map[string]schemas.Status{"vault": {Camera: "vault", State: schemas.StateAway, Error: "secret-error", Owner: "secret-owner", Updated: time.Now()}},
	})
	<-ctx.Done()
	return ctx.Err()
}

// footage has one event of vault in the topic of events, and a rendition with footage.
func footage() *Footage {
	topic := schemas.Topic{Camera: "vault", Rendition: "secret-motion"}
	return &Footage{Log: emptyLog{}, Events: oneEvent{}, Renditions: func(_ context.Context, camera string) ([]hls.Rendition, error) {
		if camera != topic.Camera {
			return nil, nil
		}
		return []hls.Rendition{{Name: topic.Rendition, Role: schemas.RoleData, Newest: schemas.Entry{Kind: schemas.KindWhole}}}, nil
	}}
}

type emptyLog struct{}

func (emptyLog) Bounds(context.Context, schemas.Topic) (oldest, newest schemas.Entry, err error) {
	return oldest, newest, medialog.ErrNotFound
}

func (emptyLog) Entries(context.Context, schemas.Topic, medialog.Range) iter.Seq2[schemas.Entry, error] {
	return func(func(schemas.Entry, error) bool) {}
}

func (emptyLog) Chunks(context.Context, schemas.Topic, schemas.Entry) iter.Seq2[*schemas.Chunk, error] {
	return func(func(*schemas.Chunk, error) bool) {}
}

// oneEvent is the topic of events with one event, which comes at once.
type oneEvent struct{}

func (oneEvent) Bounds(context.Context) (begin, end []int64, err error) {
	return []int64{0}, []int64{0}, nil
}

func (oneEvent) Read(ctx context.Context, _ []int64) iter.Seq2[*kgo.Record, error] {
	return func(yield func(*kgo.Record, error) bool) {
		r := &kgo.Record{Value: []byte(`{"type":"secret-event"}`), Headers: []kgo.RecordHeader{
			{Key: "ce_id", Value: []byte("life.7.motion.0")}, {Key: "ce_source", Value: []byte("/cameras/vault/secret-motion")},
		}}
		select { // the reader has come by then
		case <-time.After(time.Second):
		case <-ctx.Done():
			return
		}
		if yield(r, nil) {
			<-ctx.Done()
		}
	}
}

// onePart is footage of any camera: one part.
type onePart struct{}

func (onePart) View(context.Context, schemas.Topic, *parts.Position) (parts.Viewer, error) {
	return &partViewer{}, nil
}

type partViewer struct{ sent bool }

func (v *partViewer) Next(ctx context.Context) (parts.Step, <-chan struct{}, error) {
	if v.sent {
		return parts.Step{}, ctx.Done(), nil
	}
	v.sent = true
	return parts.Step{Fragment: parts.Fragment{Config: "secret-config"}, Data: []byte("secret-part")}, nil, nil
}

func (v *partViewer) Init(context.Context) (parts.Init, error) {
	return parts.Init{Codecs: "secret-codec", Data: []byte("secret-init")}, nil
}

func (v *partViewer) Close() {}

// socket gives the answer to a request for /live, with all that comes after the client has
// subscribed to some of vault. While it is open, f runs.
func (s *surface) socket(t *testing.T, header []string, f func(), renditions ...string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	c, refused := livetest.Dial(t, s, "/live", request("GET", "/live", header...).Header)
	if refused != nil {
		w.WriteHeader(refused.StatusCode)
		_, _ = io.Copy(w, refused.Body)
		return w
	}
	for i, rendition := range renditions {
		c.Subscribe(i+1, "vault", rendition, nil)
	}
	synctest.Wait()
	f()
	c.Close()
	synctest.Wait() // what the server asks is read after it has ended
	_, _ = io.WriteString(w, strings.Join(c.Heard(), "\n"))
	return w
}

// examples are paths below the patterns that end with a slash and are about a
// camera, CAMERA.
var examples = map[string][]string{"/hls/": {
	"/hls/CAMERA/index.m3u8", "/hls/CAMERA/raw.m3u8", "/hls/CAMERA/raw.m3u8?_HLS_msn=8", "/hls/CAMERA/raw/m1/7.m4s", "/hls/CAMERA/raw/m1/7.9.0.m4s",
	"/hls/CAMERA/raw/m1/init-0123456789abcdef.mp4", "/hls/CAMERA/720p.m3u8", "/hls/CAMERA/720p/index.m3u8", "/hls/CAMERA/720p/m1/7.m4s",
	"/hls/CAMERA/index.m3u8?start=-5m", "/hls/CAMERA/raw.m3u8?start=-5m", "/hls/CAMERA/raw/keyframes.m3u8?start=-5m", "/hls/CAMERA/720p/keyframes.m3u8?start=-5m", "/hls/CAMERA/raw/m1/7.key.m4s", "/hls/CAMERA/720p/m1/7.key.m4s",
}, "/snapshot/{file}": {"/snapshot/CAMERA.jpg"}, "/clip/{file}": {"/clip/CAMERA.mp4?start=-5m"}, "/clip/{camera}/{file}": {"/clip/CAMERA/secret-motion.mp4?start=-5m"}, "/v1/timeline/{camera}": {"/v1/timeline/CAMERA", "/v1/timeline/CAMERA?rendition=secret-motion"}, "/v1/events/{camera}": {"/v1/events/CAMERA", "/v1/events/CAMERA?rendition=secret-motion"}}

// asked is a question to an Authorize.
type asked struct {
	camera, rendition string
	action            access.Action
}

// surface is a server with its routes, and what it asked.
type surface struct {
	*Server
	reg     *oneCamera
	asked   []asked
	reached []string // paths that came to HLS
}

// inBubble runs f beside a server that asks allow.
func inBubble(t *testing.T, allow bool, f func(t *testing.T, s *surface)) {
	t.Helper()
	inBubbleWith(t, func(s *surface) (access.Policy, *people.Server) {
		return access.Policy{Authorize: func(_ *http.Request, camera, rendition string, a access.Action) bool {
			s.asked = append(s.asked, asked{camera, rendition, a})
			return allow
		}}, nil
	}, f)
}

// inBubbleWith runs f beside a server whose requests are decided by what decide returns.
func inBubbleWith(t *testing.T, decide func(s *surface) (access.Policy, *people.Server), f func(t *testing.T, s *surface)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &surface{reg: &oneCamera{}}
		policy, folk := decide(s)
		files, err := hls.New(hls.Config{Known: func(c string) bool { return c == "vault" }}, nil, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		s.Server, err = New(Config{Guard: Guard{Policy: policy}}, Deps{
			Registry: s.reg, People: folk, Footage: footage(), Live: onePart{},
			Delay: func(string) (time.Duration, bool) { return 1234567 * time.Millisecond, true },
			HLS: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				s.reached = append(s.reached, r.URL.Path)
				if !strings.HasPrefix(r.URL.Path, "/hls/vault/") { // else there would have to be a log
					files.ServeHTTP(w, r)
				}
			}),
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _ = s.Run(ctx) }()
		synctest.Wait()
		f(t, s)
		cancel()
		synctest.Wait()
	})
}

// ask gives the answer to a request, of a stream what comes at once. header are names and
// values.
func (s *surface) ask(t *testing.T, method, path string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	if method+path == "GET/live" {
		return s.socket(t, header, func() {}, "raw")
	}
	ctx, cancel := context.WithCancel(t.Context())
	r := request(method, path, header...).WithContext(ctx)
	w := httptest.NewRecorder()
	go s.ServeHTTP(w, r)
	synctest.Wait()
	time.Sleep(2 * time.Second) // an event comes
	synctest.Wait()
	cancel()
	time.Sleep(time.Minute) // a change waits to be seen
	synctest.Wait()
	return w
}

// request makes a request with the body that it needs.
func request(method, path string, header ...string) *http.Request {
	body := `{"url":"rtsp://10.0.0.1/"}`
	if strings.Contains(path, "/v1/share/") {
		body = `{"for":"1h"}`
	}
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return r
}

// requests are those to walk a route: method and path, with CAMERA for a camera.
func requests(t *testing.T, rt access.Route) (all [][2]string) {
	t.Helper()
	methods := []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
	method, path, ok := strings.Cut(rt.Pattern, " ")
	if ok {
		methods = []string{method}
	} else {
		path = method
	}
	paths := examples[path]
	if paths == nil {
		if rt.Subject != nil {
			t.Fatalf("route %s: examples has no path of it", rt.Pattern)
		}
		paths = []string{strings.NewReplacer("{camera}", "CAMERA", "{rendition}", "raw").Replace(path)}
	}
	for _, m := range methods {
		for _, p := range paths {
			all = append(all, [2]string{m, p})
		}
	}
	return all
}

// TestDenied walks all routes of all protocols. Whoever may do nothing is told
// nothing of a camera, not even that there is one; and each route asks.
func TestDenied(t *testing.T) {
	inBubble(t, false, func(t *testing.T, s *surface) {
		for _, rt := range s.routes {
			for _, rq := range requests(t, rt) {
				s.asked = nil
				vault := s.ask(t, rq[0], strings.ReplaceAll(rq[1], "CAMERA", "vault"))
				if rt.Action != access.Public && !slices.ContainsFunc(s.asked, func(a asked) bool { return a.camera == "vault" && a.action == rt.Action }) {
					t.Errorf("%s %s: Authorize was asked %v, and not whether one may %s it", rq[0], rq[1], s.asked, rt.Action)
				}
				ghost := s.ask(t, rq[0], strings.ReplaceAll(rq[1], "CAMERA", "ghost"))
				told := func(w *httptest.ResponseRecorder) string {
					var b strings.Builder
					_ = w.Header().Write(&b)
					b.WriteString(w.Body.String())
					return b.String()
				}
				a := told(vault)
				if strings.Contains(rq[1], "CAMERA") {
					if b := strings.ReplaceAll(told(ghost), "ghost", "vault"); vault.Code != ghost.Code || a != b {
						t.Errorf("%s %s: a camera that one may not see gives\n%d %s\none that does not exist\n%d %s", rq[0], rq[1], vault.Code, a, ghost.Code, b)
					}
					if vault.Code < 400 {
						t.Errorf("%s %s: %d", rq[0], rq[1], vault.Code)
					}
				} else if strings.Contains(a, "vault") {
					t.Errorf("%s %s tells of a camera:\n%s", rq[0], rq[1], a)
				}
				if low := strings.ToLower(a); strings.Contains(low, "secret") || strings.Contains(a, "10.9.8.7") || strings.Contains(a, "1234567") {
					t.Errorf("%s %s tells of a camera:\n%s", rq[0], rq[1], a)
				}
			}
		}
		if s.reg.changes > 0 || len(s.reached) > 0 {
			t.Errorf("%d changes; HLS was asked for %v", s.reg.changes, s.reached)
		}
	})
}

// TestAllowed: the same requests tell and change a camera for those who may, HLS is
// asked with camera and rendition, and a camera that may not be watched looks like
// one that does not exist.
func TestAllowed(t *testing.T) {
	inBubble(t, true, func(t *testing.T, s *surface) {
		for _, c := range []struct {
			method, path, want string
			asked              asked
		}{
			{"GET", "/v1/cameras", "Secret-Label", asked{"vault", "", access.List}},
			{"GET", "/v1/cameras/events", "Secret-Label", asked{"vault", "", access.List}},
			{"GET", "/v1/cameras/events?events=true", "secret-event", asked{"vault", "secret-motion", access.Watch}},
			{"GET", "/v1/events", "secret-event", asked{"vault", "secret-motion", access.Watch}},
			{"GET", "/live", "secret-codec", asked{"vault", "raw", access.Watch}},
			{"GET", "/v1/events/vault", `"events":[]`, asked{"vault", "", access.Watch}},
			{"GET", "/v1/events/vault?rendition=secret-motion", `"events":[]`, asked{"vault", "secret-motion", access.Watch}},
			{"GET", "/snapshot/vault.jpg", "thumbnail", asked{"vault", "raw", access.Watch}},
			{"GET", "/clip/vault.mp4?start=-5m", "no footage", asked{"vault", "raw", access.Export}},
			{"GET", "/clip/vault/secret-motion.mp4?start=-5m", "no footage", asked{"vault", "secret-motion", access.Export}},
			{"GET", "/v1/cameras/vault", "secret-error", asked{"vault", "", access.List}},
			{"GET", "/v1/cameras/vault", "secret-motion", asked{"vault", "", access.List}},
			{"PUT", "/v1/cameras/vault", "10.0.0.1", asked{"vault", "", access.Change}},
			{"DELETE", "/v1/cameras/vault", "", asked{"vault", "", access.Change}},
			{"GET", "/hls/vault/index.m3u8", "", asked{"vault", "raw", access.Watch}},
			{"GET", "/hls/vault/720p/m1/7.m4s", "", asked{"vault", "720p", access.Watch}},
			{"GET", "/hls/vault/720p/keyframes.m3u8?start=-5m", "", asked{"vault", "720p", access.Watch}},
			{"GET", "/hls/vault/raw/m1/7.key.m4s", "", asked{"vault", "raw", access.Watch}},
			{"GET", "/hls/vault/nothing", "", asked{"", "", access.Watch}},
		} {
			s.asked = nil
			w := s.ask(t, c.method, c.path)
			if !strings.Contains(w.Body.String(), c.want) || !slices.Contains(s.asked, c.asked) {
				t.Errorf("%s %s: %d %s, asked %v", c.method, c.path, w.Code, w.Body, s.asked)
			}
		}
		if s.reg.changes != 2 || len(s.reached) != 5 {
			t.Errorf("%d changes; HLS was asked for %v", s.reg.changes, s.reached)
		}
		unknown, denied := s.ask(t, "GET", "/hls/ghost/raw.m3u8"), httptest.NewRecorder()
		hls.Denied(denied, nil, "ghost")
		if unknown.Code != denied.Code || unknown.Body.String() != denied.Body.String() {
			t.Errorf("unknown: %d %q, denied: %d %q", unknown.Code, unknown.Body, denied.Code, denied.Body)
		}
		for name := range denied.Header() {
			if a, b := unknown.Header().Get(name), denied.Header().Get(name); a != b {
				t.Errorf("%s: unknown %q, denied %q", name, a, b)
			}
		}
	})
}
