package live_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/framelog/framelog/egress/access"
	"github.com/framelog/framelog/egress/live"
	"github.com/framelog/framelog/egress/live/livetest"
	"github.com/framelog/framelog/egress/parts"
	"github.com/framelog/framelog/schemas"
)

// source has cameras whose footage tests add.
type source struct {
	mu      sync.Mutex
	tracks  map[schemas.Topic]*track
	viewers int
	after   *parts.Position // of the latest viewer
}

type track struct {
	steps   []parts.Step
	err     error         // after the steps
	slow    chan struct{} // not nil: a read of the log waits for it
	changed chan struct{}
}

func newSource() *source { return &source{tracks: map[schemas.Topic]*track{}} }

func (s *source) track(t schemas.Topic) *track {
	if s.tracks[t] == nil {
		s.tracks[t] = &track{changed: make(chan struct{})}
	}
	return s.tracks[t]
}

func (s *source) change(camera string, f func(*track)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	tr := s.track(schemas.Topic{Camera: camera})
	f(tr)
	close(tr.changed)
	tr.changed = make(chan struct{})
}

// add adds a part of a fragment with this decoder configuration.
func (s *source) add(camera string, seq uint64, part uint32, config string, size int) {
	s.change(camera, func(tr *track) {
		tr.steps = append(tr.steps, parts.Step{
			Fragment: parts.Fragment{Seq: seq, Epoch: 9, Session: 3, Config: config, Media: 90_000, Start: time.UnixMilli(1_700_000_000_000)},
			Part:     part, Data: bytes.Repeat([]byte{byte(part)}, size),
		})
	})
}

func (s *source) View(_ context.Context, t schemas.Topic, after *parts.Position) (parts.Viewer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.Camera == "full" {
		return nil, parts.ErrBusy
	}
	s.viewers++
	s.after = after
	return &viewer{s: s, topic: t}, nil
}

type viewer struct {
	s      *source
	topic  schemas.Topic
	next   int
	config string
}

func (v *viewer) Next(ctx context.Context) (parts.Step, <-chan struct{}, error) {
	v.s.mu.Lock()
	slow := v.s.track(v.topic).slow
	v.s.mu.Unlock()
	if slow != nil {
		select {
		case <-slow:
		case <-ctx.Done():
			return parts.Step{}, nil, ctx.Err()
		}
	}
	v.s.mu.Lock()
	defer v.s.mu.Unlock()
	tr := v.s.track(v.topic)
	if v.next == len(tr.steps) {
		if tr.err != nil {
			return parts.Step{}, nil, tr.err
		}
		return parts.Step{}, tr.changed, nil
	}
	v.next++
	v.config = tr.steps[v.next-1].Fragment.Config
	return tr.steps[v.next-1], nil, nil
}

func (v *viewer) Init(context.Context) (parts.Init, error) {
	return parts.Init{Codecs: "codec-" + v.config, Data: []byte("init " + v.config)}, nil
}

func (v *viewer) Close() {
	v.s.mu.Lock()
	defer v.s.mu.Unlock()
	v.s.viewers--
}

// env is a server in a bubble.
type env struct {
	*source
	reg     *prometheus.Registry
	handler http.Handler
	denied  atomic.Value // camera/rendition that nobody may watch
	told    []string     // what Policy.Allowed heard
	stop    context.CancelFunc
}

func inBubble(t *testing.T, cfg live.Config, f func(t *testing.T, e *env)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		e := &env{source: newSource(), reg: prometheus.NewRegistry()}
		e.denied.Store("")
		s := live.New(cfg, live.Deps{Source: e, Known: func(c string) bool { return c != "ghost" }, Registerer: e.reg})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel() // also if f ends the test
		e.stop = cancel
		ran := make(chan struct{})
		go func() {
			defer close(ran)
			s.Run(ctx)
		}()
		policy := access.Policy{
			Authorize: func(_ *http.Request, camera, rendition string, a access.Action) bool {
				return a == access.Watch && camera+"/"+rendition != e.denied.Load()
			},
			Allowed: func(_ *http.Request, camera, rendition string, a access.Action) {
				e.mu.Lock()
				defer e.mu.Unlock()
				e.told = append(e.told, fmt.Sprint(camera, "/", rendition, " ", a))
			},
		}
		var err error
		if e.handler, err = access.NewMux(policy, s.Routes(), func(_ access.Route, h http.Handler) http.Handler { return h }); err != nil {
			t.Fatal(err)
		}
		f(t, e)
		cancel()
		<-ran
		if e.viewers != 0 {
			t.Errorf("%d viewers are open after the end", e.viewers)
		}
		for name, want := range map[string]float64{"connections": 0, "subscriptions": 0, "in_flight_bytes": 0} {
			e.metric(t, name, want)
		}
	})
}

// metric checks a metric without labels.
func (e *env) metric(t *testing.T, name string, want float64) {
	t.Helper()
	all, err := e.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if f.GetName() == "framelog_egress_live_"+name {
			if got := f.Metric[0].GetGauge().GetValue() + f.Metric[0].GetCounter().GetValue(); got != want {
				t.Errorf("%s is %v, want %v", name, got, want)
			}
			return
		}
	}
	t.Errorf("there is no metric %s", name)
}

func (e *env) dial(t *testing.T) *livetest.Client {
	t.Helper()
	c, refused := livetest.Dial(t, e.handler, "/live", nil)
	if refused != nil {
		t.Fatalf("refused: %s", refused.Status)
	}
	return c
}

// heard checks all that a client has heard.
func heard(t *testing.T, c *livetest.Client, want ...string) {
	t.Helper()
	synctest.Wait()
	if got := c.Heard(); !slices.Equal(got, want) {
		t.Errorf("heard\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestStream: a client gets the init segment first, then each part once as it comes, and
// hears of each fragment, of new configurations and of what is left out.
func TestStream(t *testing.T) {
	inBubble(t, live.Config{}, func(t *testing.T, e *env) {
		e.add("yard", 7, 0, "a", 10)
		c := e.dial(t)
		c.Subscribe(1, "yard", "", nil)
		all := []string{`config 1 a video/mp4; codecs="codec-a"`, "init 1", "fragment 1 7.9 of session 3", "part 1 7.9.0"}
		heard(t, c, all...)
		e.add("yard", 7, 1, "a", 10)
		all = append(all, "part 1 7.9.1")
		heard(t, c, all...)
		e.change("yard", func(tr *track) {
			tr.steps = append(tr.steps, parts.Step{LeftOut: &parts.LeftOut{Reason: parts.Gap, From: parts.Position{Seq: 8}, To: 9, Cause: "network"}})
		})
		e.add("yard", 9, 0, "b", 10)
		all = append(all, "left out 1 from 8.0 to 9: gap network", `config 1 b video/mp4; codecs="codec-b"`, "init 1", "fragment 1 9.9 of session 3", "part 1 9.9.0")
		heard(t, c, all...)
		c.Subscribe(2, "shed", "720p", &parts.Position{Seq: 4, Epoch: 5, Part: 6})
		c.Send(live.Message{Type: live.Unsubscribe, Channel: 1})
		heard(t, c, all...)
		if e.after == nil || *e.after != (parts.Position{Seq: 4, Epoch: 5, Part: 6}) {
			t.Errorf("the second viewer begins after %v", e.after)
		}
		e.add("yard", 9, 1, "b", 10) // nobody gets it
		e.change("shed", func(*track) {})
		heard(t, c, all...)
		e.metric(t, "subscriptions", 1)
		e.metric(t, "connections", 1)
		if m := c.Media()[1]; !bytes.Equal(m.Data, make([]byte, 10)) || m.Init || m.Channel != 1 || m.Position != (parts.Position{Seq: 7, Epoch: 9}) {
			t.Errorf("the first part is %+v", m)
		}
		if got := strings.Join(e.told, ", "); got != "yard/raw watch, shed/720p watch" {
			t.Errorf("the audit heard of %s", got)
		}
	})
}

// TestKeyframes: a client that wants no more gets the first part of each fragment.
func TestKeyframes(t *testing.T) {
	inBubble(t, live.Config{}, func(t *testing.T, e *env) {
		e.add("yard", 7, 0, "a", 10)
		e.add("yard", 7, 1, "a", 10)
		c := e.dial(t)
		c.Send(live.Message{Type: live.Subscribe, Channel: 1, Camera: "yard", Keyframes: true})
		all := []string{`config 1 a video/mp4; codecs="codec-a"`, "init 1", "fragment 1 7.9 of session 3", "part 1 7.9.0"}
		heard(t, c, all...)
		e.add("yard", 7, 2, "a", 10)
		e.add("yard", 8, 0, "b", 10)
		e.add("yard", 8, 1, "b", 10)
		heard(t, c, append(all, `config 1 b video/mp4; codecs="codec-b"`, "init 1", "fragment 1 8.9 of session 3", "part 1 8.9.0")...)
	})
}

// TestSlow: the bytes that a client has not acknowledged are bounded, for all its cameras
// together, and more come as soon as it acknowledges.
func TestSlow(t *testing.T) {
	inBubble(t, live.Config{MaxInFlight: 1000}, func(t *testing.T, e *env) {
		c := e.dial(t)
		c.Acknowledge(false)
		for i, camera := range []string{"yard", "shed", "gate"} {
			for part := range uint32(20) {
				e.add(camera, 1, part, "a", 200)
			}
			c.Subscribe(i+1, camera, "", nil)
		}
		synctest.Wait()
		const message = 200 + 24
		got := 0
		for _, m := range c.Media() {
			got += len(m.Data)
		}
		if got < 1000-message || got > 1000+message {
			t.Errorf("%d bytes came before the first acknowledgement, want about 1000", got)
		}
		c.Acknowledge(true)
		synctest.Wait()
		if n := len(c.Media()); n != 3*21 {
			t.Errorf("%d messages of media came in the end, want %d", n, 3*21)
		}
	})
}

// TestSlowLog: a camera whose footage must be read, and whose brokers take their time, holds up no
// other camera of the connection.
func TestSlowLog(t *testing.T) {
	inBubble(t, live.Config{}, func(t *testing.T, e *env) {
		slow := make(chan struct{})
		e.change("yard", func(tr *track) { tr.slow = slow })
		e.add("yard", 1, 0, "a", 10)
		e.add("shed", 1, 0, "a", 10)
		c := e.dial(t)
		c.Subscribe(1, "yard", "", nil)
		c.Subscribe(2, "shed", "", nil)
		time.Sleep(100 * time.Millisecond)
		all := []string{`config 2 a video/mp4; codecs="codec-a"`, "init 2", "fragment 2 1.9 of session 3", "part 2 1.9.0"}
		heard(t, c, all...)
		e.add("shed", 1, 1, "a", 10)
		all = append(all, "part 2 1.9.1")
		heard(t, c, all...)
		close(slow)
		heard(t, c, append(all, `config 1 a video/mp4; codecs="codec-a"`, "init 1", "fragment 1 1.9 of session 3", "part 1 1.9.0")...)
	})
}

// TestRights: a subscription ends with the right to watch, before the next part, and soon if
// none comes. It is told the same of a camera that does not exist.
func TestRights(t *testing.T) {
	inBubble(t, live.Config{}, func(t *testing.T, e *env) {
		e.denied.Store("vault/raw")
		c := e.dial(t)
		c.Subscribe(1, "vault", "", nil)
		c.Subscribe(2, "ghost", "", nil)
		synctest.Wait()
		if got := c.Heard(); !slices.Contains(got, "end 1 not_found") || !slices.Contains(got, "end 2 not_found") || len(got) != 2 {
			t.Errorf("heard %q", got)
		}
		c = e.dial(t)
		e.add("yard", 1, 0, "a", 1)
		c.Subscribe(3, "yard", "raw", nil)
		first := []string{`config 3 a video/mp4; codecs="codec-a"`, "init 3", "fragment 3 1.9 of session 3", "part 3 1.9.0"}
		heard(t, c, first...)
		e.denied.Store("yard/raw")
		e.add("yard", 1, 1, "a", 1)
		heard(t, c, append(first, "end 3 not_found")...)

		e.denied.Store("")
		c = e.dial(t)
		c.Subscribe(1, "shed", "raw", nil) // has no footage
		heard(t, c)
		e.denied.Store("shed/raw")
		time.Sleep(6 * time.Second)
		heard(t, c, "end 1 not_found")
	})
}

// TestRightsWhileFull: the right to watch is asked for while the client acknowledges nothing, and
// nothing may be sent.
func TestRightsWhileFull(t *testing.T) {
	inBubble(t, live.Config{MaxInFlight: 1000}, func(t *testing.T, e *env) {
		c := e.dial(t)
		c.Acknowledge(false)
		e.add("yard", 1, 0, "a", 2000)
		e.add("shed", 1, 0, "a", 1)
		c.Subscribe(1, "yard", "", nil)
		all := []string{`config 1 a video/mp4; codecs="codec-a"`, "init 1", "fragment 1 1.9 of session 3", "part 1 1.9.0"}
		heard(t, c, all...) // now its window is full, and it waits with the turn
		c.Subscribe(2, "shed", "", nil)
		synctest.Wait()
		for _, camera := range []string{"shed", "yard"} { // who waits for the turn, and who has it
			e.denied.Store(camera + "/raw")
			all = append(all, map[string]string{"shed": "end 2 not_found", "yard": "end 1 not_found"}[camera])
			time.Sleep(6 * time.Second)
			heard(t, c, all...)
		}
		c.Acknowledge(true)
		c.Subscribe(3, "shed", "", nil) // the turn is free
		heard(t, c, append(all, `config 3 a video/mp4; codecs="codec-a"`, "init 3", "fragment 3 1.9 of session 3", "part 3 1.9.0")...)
	})
}

// TestEnds: the client hears why a subscription ends, and may use the channel again.
func TestEnds(t *testing.T) {
	inBubble(t, live.Config{MaxSubscriptions: 2}, func(t *testing.T, e *env) {
		e.change("jpegs", func(tr *track) { tr.err = parts.ErrUnplayable })
		c := e.dial(t)
		c.Subscribe(1, "full", "", nil)
		heard(t, c, "end 1 busy")
		c.Subscribe(1, "jpegs", "", nil)
		heard(t, c, "end 1 busy", "end 1 unplayable")
		c.Subscribe(1, "yard", "", nil)
		c.Subscribe(2, "shed", "", nil)
		c.Subscribe(3, "gate", "", nil)
		heard(t, c, "end 1 busy", "end 1 unplayable", "end 3 too_many")
		c.Send(live.Message{Type: live.Unsubscribe, Channel: 1})
		c.Subscribe(3, "gate", "", nil)
		heard(t, c, "end 1 busy", "end 1 unplayable", "end 3 too_many")
		e.metric(t, "subscriptions", 2)
		e.metric(t, "refused_total", 1)
	})
}

// TestConnections: beyond the limit, and without an upgrade, the answer says what to do.
func TestConnections(t *testing.T) {
	inBubble(t, live.Config{MaxConnections: 1}, func(t *testing.T, e *env) {
		c := e.dial(t)
		if _, refused := livetest.Dial(t, e.handler, "/live", nil); refused == nil || refused.StatusCode != http.StatusServiceUnavailable || refused.Header.Get("Retry-After") == "" {
			t.Errorf("the second connection: %+v", refused)
		}
		c.Close()
		synctest.Wait()
		c = e.dial(t)
		synctest.Wait()
		e.stop()
		synctest.Wait()
		if c.Ended() == nil {
			t.Error("the connection is open after the end of the server")
		}
		e.ended(t, "closing 1")
		if _, refused := livetest.Dial(t, e.handler, "/live", nil); refused == nil || refused.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("after the end: %+v", refused)
		}
	})
}

// TestBadMessages: whoever does not keep to the protocol is cut off, and told why.
func TestBadMessages(t *testing.T) {
	inBubble(t, live.Config{}, func(t *testing.T, e *env) {
		for name, text := range map[string]string{
			"garbage": "\x00{", "no type": `{}`, "other type": `{"type":"hello"}`, "ack of too much": `{"type":"ack","bytes":1}`,
			"channel in use": `{"type":"subscribe","channel":1,"camera":"yard"}`, "too long": `{"type":"ack",` + strings.Repeat(" ", 5000) + `"bytes":0}`,
		} {
			c := e.dial(t)
			c.Subscribe(1, "yard", "", nil)
			c.SendText(text)
			synctest.Wait()
			want := websocket.StatusPolicyViolation
			if name == "too long" {
				want = websocket.StatusMessageTooBig
			}
			if got := websocket.CloseStatus(c.Ended()); got != want {
				t.Errorf("%s: ended with %v (%v)", name, got, c.Ended())
			}
		}
		e.ended(t, "message 6")
	})
}

func TestParseMessage(t *testing.T) {
	for text, want := range map[string]string{
		`{"type":"subscribe","channel":1,"camera":"yard"}`:                                                                   "yard/raw",
		`{"type":"subscribe","channel":65535,"camera":"yard","rendition":"720p","after":{"seq":1,"epoch":0,"part":0},"x":1}`: "yard/720p",
		`{"type":"ack","bytes":12}`:                                                  "/",
		`{"type":"unsubscribe","channel":3}`:                                         "/",
		`{"type":"ack","bytes":-1}`:                                                  "below 0",
		`{"type":"ack","bytes":"1"}`:                                                 "no JSON",
		`{"type":"unsubscribe"}`:                                                     "a channel is",
		`{"type":"subscribe","channel":65536,"camera":"yard"}`:                       "a channel is",
		`{"type":"subscribe","channel":1}`:                                           "no id",
		`{"type":"subscribe","channel":1,"camera":"../x"}`:                           "no id",
		`{"type":"subscribe","channel":1,"camera":"yard","rendition":"index"}`:       "no id",
		`{"type":"subscribe","channel":1,"camera":"yard","after":{"epoch":-1}}`:      "after names",
		`{"type":"subscribe","channel":1,"camera":"yard","after":{"part":16777216}}`: "after names",
		`[]`: "no JSON",
	} {
		m, err := live.ParseMessage([]byte(text))
		got := m.Camera + "/" + m.Rendition
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

// FuzzMessage: no message of a client does harm, and one that is taken has what the server
// relies on.
func FuzzMessage(f *testing.F) {
	for _, text := range []string{`{"type":"subscribe","channel":1,"camera":"yard","after":{"seq":1,"epoch":2,"part":3}}`, `{"type":"ack","bytes":5}`, `{"type":"unsubscribe","channel":2}`, `{`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := live.ParseMessage(b)
		if err != nil || m.Type != live.Subscribe {
			return
		}
		if schemas.ValidateCameraID(m.Camera) != nil || schemas.ValidateRendition(m.Rendition) != nil || m.Channel < 1 || m.Channel > 65535 || m.After != nil && m.After.Part+1 == 0 {
			t.Errorf("taken: %+v", m)
		}
	})
}

// TestMetricsAreNamed: promlint finds nothing.
func TestMetricsAreNamed(t *testing.T) {
	reg := prometheus.NewRegistry()
	live.New(live.Config{}, live.Deps{Registerer: reg})
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}
