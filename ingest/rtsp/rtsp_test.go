package rtsp_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/framelog/framelog/ingest"
	"github.com/framelog/framelog/ingest/rtsp"
	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// sink keeps what a source delivers.
type sink struct {
	mu     sync.Mutex
	tracks [][]schemas.Track
	units  []ingest.Unit
	came   []time.Time // when each unit was delivered
	at     []int       // how many calls of Tracks came before each unit
	events []ingest.Event
	ticks  []time.Time
}

func (s *sink) Tracks(t []schemas.Track) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tracks = append(s.tracks, t)
	return nil
}

func (s *sink) Unit(u ingest.Unit) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.tracks) == 0 {
		return errors.New("a unit before Tracks")
	}
	s.units = append(s.units, u)
	s.came = append(s.came, time.Now())
	s.at = append(s.at, len(s.tracks))
	return nil
}

func (s *sink) Tick(now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ticks = append(s.ticks, now)
	return nil
}

func (s *sink) Observe(e ingest.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, e)
}

// observed is what was told so far: units come before the event that says so.
func (s *sink) observed() []ingest.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.events)
}

func (s *sink) states() (out []ingest.EventKind) {
	for _, e := range s.observed() {
		if e.Kind == ingest.EventFrameTime || e.Kind == ingest.EventSound {
			continue // no step
		}
		out = append(out, e.Kind)
	}
	return out
}

func (s *sink) of(track uint8) (out []ingest.Unit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range s.units {
		if u.Track == track {
			out = append(out, u)
		}
	}
	return out
}

func (s *sink) sessions() [][]schemas.Track {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.tracks)
}

func fixed(t testing.TB, raw string) func(context.Context) (*url.URL, error) {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return func(context.Context) (*url.URL, error) { return u, nil }
}

// start runs a source in the background. wait gives Run's error. Where a test
// does not say how long something may take, it may take long.
func start(t *testing.T, cfg rtsp.Config) (s *sink, stop func(), wait func() error) {
	t.Helper()
	s = &sink{}
	for _, d := range []*time.Duration{&cfg.ConnectTimeout, &cfg.StallTimeout, &cfg.AudioWait} {
		if *d == 0 {
			*d = testenv.Patience / 2
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- rtsp.New(cfg).Run(ctx, s) }()
	wait = sync.OnceValue(func() error {
		select {
		case err := <-done:
			return err
		case <-time.After(2 * testenv.Patience):
			return errors.New("Run does not return")
		}
	})
	t.Cleanup(func() {
		cancel()
		wait()
	})
	return s, cancel, wait
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	testenv.Wait(t, testenv.Patience, what, ok)
}

// listen calls serve for each connection, until the test ends. It returns the URL of
// a camera there.
func listen(t *testing.T, serve func(c net.Conn)) string {
	t.Helper()
	return "rtsp://" + testenv.ServeTCP(t, serve) + "/c"
}

func server(t *testing.T, cfg camsim.Config) *camsim.Server {
	t.Helper()
	srv, err := camsim.Start(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Close)
	return srv
}

func clip(t *testing.T, c testenv.Clip) *camsim.Clip {
	t.Helper()
	out, err := camsim.LoadMP4(c.File(t))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func joined(t *testing.T, clips ...*camsim.Clip) *camsim.Clip {
	t.Helper()
	c, err := camsim.Join(clips...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func u32(v uint32) *uint32 { return &v }

// compare holds the units of a track against what the camera sent, from the
// first that came on: none missing, none twice, every byte, every tick.
func compare(t *testing.T, track schemas.Track, sent []camsim.Sent, got []ingest.Unit, skip int) {
	t.Helper()
	sent = slices.DeleteFunc(slices.Clone(sent), func(s camsim.Sent) bool { return s.Track != track.ID })
	if len(got) == 0 {
		t.Fatalf("track %d: no units", track.ID)
	}
	if len(sent)-skip != len(got) {
		t.Errorf("track %d: %d units of %d", track.ID, len(got), len(sent)-skip)
	}
	base := got[0].PTS - sent[skip].PTS
	var delays []time.Duration // from the camera to its capture here
	for i, u := range got {
		if skip+i >= len(sent) {
			break
		}
		s := sent[skip+i]
		if u.PTS-base != s.PTS {
			t.Fatalf("track %d: unit %d: PTS %d, sent %d", track.ID, i, u.PTS-base, s.PTS)
		}
		if track.ID == schemas.VideoTrack && uint32(u.PTS) != s.RTP {
			t.Fatalf("unit %d: PTS %d is RTP time %d, sent %d", i, u.PTS, uint32(u.PTS), s.RTP)
		}
		want, have := essence(t, track.Codec, s.Data), essence(t, track.Codec, u.Data)
		if !slices.EqualFunc(want, have, bytes.Equal) {
			t.Fatalf("track %d: unit %d differs: %d bytes, sent %d", track.ID, i, len(u.Data), len(s.Data))
		}
		if s.Sync {
			parameterSets(t, track, u)
		}
		if u.Lost != 0 || u.Broken {
			t.Errorf("track %d: unit %d: lost %d, broken %v", track.ID, i, u.Lost, u.Broken)
		}
		d := u.Captured.Sub(s.At)
		if d < -time.Millisecond || u.Captured.After(time.Now()) {
			t.Errorf("track %d: unit %d captured %v after it was sent", track.ID, i, d)
		}
		delays = append(delays, d)
	}
	// Most come at once, whatever a busy machine does to some.
	slices.Sort(delays)
	if d := delays[len(delays)/2]; d > 2*time.Second {
		t.Errorf("track %d: half of the units were captured more than %v after they were sent", track.ID, d)
	}
}

// lossless runs a test over UDP, on which a busy machine may drop packets
// by itself: then again. f collects, ending early where dropped says so, and
// what it returns judges.
func lossless(t *testing.T, udp bool, f func(dropped func() bool) (judge func())) {
	t.Helper()
	for try := 1; ; try++ {
		before := testenv.UDPDrops(t)
		// The drops may be those of others: the last try waits for everything.
		dropped := func() bool { return udp && try < 5 && testenv.UDPDrops(t) > before }
		judge := f(dropped)
		if !dropped() {
			judge()
			return
		}
		t.Logf("try %d: the machine has thrown UDP packets away", try)
	}
}

// essence is what must pass unchanged: slice data, the scan of a JPEG image
// (RFC 2435 sends tables and sizes in a form of its own, and a receiver writes
// headers anew), the whole of anything else.
func essence(t *testing.T, codec schemas.Codec, data []byte) [][]byte {
	t.Helper()
	if codec == schemas.MJPEG {
		i := bytes.Index(data, []byte{0xff, 0xda})
		if i < 0 || len(data) < i+4 {
			t.Fatalf("no scan in an image of %d bytes", len(data))
		}
		return [][]byte{bytes.TrimSuffix(data[i+2+int(data[i+2])<<8+int(data[i+3]):], []byte{0xff, 0xd9})}
	}
	out, err := camsim.Slices(codec, data)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// parameterSets wants those of the configuration before the slices of a sync
// unit, each once.
func parameterSets(t *testing.T, track schemas.Track, u ingest.Unit) {
	t.Helper()
	sets, err := camsim.ParameterSets(track)
	if err != nil {
		t.Fatal(err)
	}
	if len(sets) == 0 {
		return
	}
	nalus, err := camsim.NALUnits(u.Data)
	if err != nil {
		t.Fatal(err)
	}
	slice, err := camsim.Slices(track.Codec, u.Data)
	if err != nil {
		t.Fatal(err)
	}
	before := nalus[:slices.IndexFunc(nalus, func(n []byte) bool { return bytes.Equal(n, slice[0]) })]
	for _, p := range sets {
		n := 0
		for _, b := range before {
			if bytes.Equal(p, b) {
				n++
			}
		}
		if n != 1 {
			t.Errorf("sync unit at %d has parameter set %x %d times", u.PTS, p[:min(len(p), 4)], n)
		}
	}
}

// Every codec comes over every transport as it was sent.
func TestUnitsEqualThoseSent(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		const seconds = 3
		type media struct {
			clip  *camsim.Clip
			codec schemas.Codec
			sound schemas.Codec
		}
		cases := map[string]media{
			"h264":        {clip(t, testenv.Clip{Seconds: seconds}), schemas.H264, ""},
			"h264 b aac":  {clip(t, testenv.Clip{Seconds: seconds, BFrames: 2, Audio: "aac"}), schemas.H264, schemas.AAC},
			"h265 opus":   {clip(t, testenv.Clip{Codec: "h265", Seconds: seconds, Audio: "opus"}), schemas.H265, schemas.Opus},
			"h265 b open": {clip(t, testenv.Clip{Codec: "h265", Seconds: seconds, BFrames: 2, OpenGOP: true}), schemas.H265, ""},
			"mjpeg":       {clip(t, testenv.Clip{Codec: "mjpeg", Seconds: seconds, FPS: 10}), schemas.MJPEG, ""},
		}
		for name, c := range cases {
			for _, transport := range []string{"tcp", "udp", "tls"} {
				t.Run(name+"/"+transport, func(t *testing.T) {
					t.Parallel()
					lossless(t, transport == "udp", func(dropped func() bool) func() {
						srv := server(t, camsim.Config{
							TLS:     transport == "tls",
							Cameras: []camsim.CameraConfig{{Path: "c", Feed: c.clip}},
						})
						cfg := rtsp.Config{Engine: engine, URL: fixed(t, srv.URL("c")), InsecureTLS: true}
						if transport == "udp" {
							cfg.Transport = rtsp.TransportUDP
						}
						s, stop, wait := start(t, cfg)
						cam := srv.Camera("c")
						n := len(c.clip.Units)
						eventually(t, "the clip's end", func() bool { return len(cam.Sent()) >= n })
						eventually(t, "all units", func() bool { return len(s.of(1))+len(s.of(2)) >= n || dropped() })
						stop()
						_ = wait()
						return func() { asSent(t, c.clip, cam.Sent(), s) }
					})
				})
			}
		}
	})
}

// asSent holds what a sink has of a whole clip against what was sent.
func asSent(t *testing.T, clip *camsim.Clip, sent []camsim.Sent, s *sink) {
	t.Helper()
	tracks := s.sessions()
	if len(tracks) != 1 {
		t.Fatalf("Tracks was called %d times: %+v", len(tracks), tracks)
	}
	for i, tr := range tracks[0] {
		want := clip.Tracks()[i]
		if tr.ID != want.ID || tr.Codec != want.Codec || tr.Timescale != want.Timescale ||
			tr.Width != want.Width || tr.Height != want.Height || tr.SampleRate != want.SampleRate {
			t.Errorf("track is %+v, want %+v", tr, want)
		}
		if tr.Codec == schemas.AAC && tr.Channels != tr.Config[1]>>3&15 {
			t.Errorf("%d channels with configuration %x", tr.Channels, tr.Config)
		}
		compare(t, tr, sent, s.of(tr.ID), 0)
	}
	if len(tracks[0]) != len(clip.Tracks()) {
		t.Errorf("%d tracks", len(tracks[0]))
	}
}

func TestStates(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		srv := server(t, camsim.Config{Cameras: []camsim.CameraConfig{{Path: "c", Feed: clip(t, testenv.Clip{Seconds: 3}).With(true, 1)}}})
		s, stop, wait := start(t, rtsp.Config{Engine: engine, URL: fixed(t, srv.URL("c"))})
		eventually(t, "live", func() bool { return slices.Contains(s.states(), ingest.EventDelivering) })
		stop()
		if err := wait(); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if got := fmt.Sprint(s.states()); got != "[connecting playing delivering ended]" {
			t.Error(got)
		}
	})
}

// The sink is told the wall clock about every second, also while the camera
// sends nothing.
func TestTimeIsTold(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, engine string) {
		s, _, _ := start(t, rtsp.Config{Engine: engine, URL: fixed(t, listen(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }))})
		began := time.Now()
		eventually(t, "three ticks", func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return len(s.ticks) >= 3
		})
		s.mu.Lock()
		defer s.mu.Unlock()
		for i, now := range s.ticks[1:3] {
			if d := now.Sub(s.ticks[i]); d < time.Second {
				t.Errorf("tick %d came after %v", i+1, d)
			}
		}
		if d := s.ticks[0].Sub(began); d.Abs() > testenv.Patience {
			t.Errorf("the first tick is %v from the wall clock", d)
		}
	})
}
