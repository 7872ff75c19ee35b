package rtsp_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/framelog/framelog/ingest"
	"github.com/framelog/framelog/ingest/rtsp"
	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// noTCP is a proxy before a camera that makes interleaved RTP useless: it
// refuses it with 461, or where silent is set accepts it and sends nothing.
func noTCP(t *testing.T, target string, silent bool) (rawURL string, tries *atomic.Int32) {
	t.Helper()
	tries = &atomic.Int32{}
	return listen(t, func(client net.Conn) {
		camera, err := net.Dial("tcp", target)
		if err != nil {
			return
		}
		var mute atomic.Bool
		var wg sync.WaitGroup
		defer wg.Wait()
		wg.Go(func() {
			defer client.Close()
			defer camera.Close()
			b := make([]byte, 64<<10)
			for {
				n, err := camera.Read(b)
				if err != nil {
					return
				}
				out := b[:n]
				if mute.Load() {
					// Answers come alone before PLAY's, which media may follow.
					if !bytes.HasPrefix(out, []byte("RTSP/")) {
						continue
					}
					if end := bytes.Index(out, []byte("\r\n\r\n")); end >= 0 {
						out = out[:end+4]
					}
				}
				if _, err := client.Write(out); err != nil {
					return
				}
			}
		})
		defer client.Close()
		defer camera.Close()
		r := bufio.NewReader(client)
		for {
			request, cseq := "", ""
			for {
				line, err := r.ReadString('\n')
				if err != nil {
					return
				}
				request += line
				if strings.HasPrefix(line, "CSeq:") {
					cseq = line
				}
				if line == "\r\n" {
					break
				}
			}
			if strings.HasPrefix(request, "SETUP") && strings.Contains(request, "/TCP") {
				tries.Add(1)
				mute.Store(silent)
				if !silent {
					fmt.Fprintf(client, "RTSP/1.0 461 Unsupported transport\r\n%s\r\n", cseq)
					continue
				}
			}
			if _, err := io.WriteString(camera, request); err != nil {
				return
			}
		}
	}), tries
}

func TestUDPWhereTCPGivesNothing(t *testing.T) {
	testenv.SkipShort(t, "seconds of real time")
	engines(t, func(t *testing.T, engine string) {
		feed := clip(t, testenv.Clip{Seconds: 3}).With(true, 1)
		for name, silent := range map[string]bool{"refused": false, "silent": true} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				srv := server(t, camsim.Config{Cameras: []camsim.CameraConfig{{Path: "c", Feed: feed}}})
				proxy, tries := noTCP(t, srv.Addr(), silent)
				s := &sink{}
				there := fixed(t, proxy)
				away := fixed(t, fmt.Sprintf("rtsp://127.0.0.1:%d/c", testenv.FreePort(t)))
				at := there
				src := rtsp.New(rtsp.Config{
					Engine: engine, URL: func(ctx context.Context) (*url.URL, error) { return at(ctx) },
					ConnectTimeout: testenv.Patience / 2, StallTimeout: testenv.Patience / 2, NoDataTimeout: 4 * time.Second,
				})
				for i := range 2 {
					if i == 1 { // the camera is away meanwhile, which changes nothing
						at = away
						if err := src.Run(t.Context(), s); !errors.Is(err, rtsp.ErrAway) {
							t.Error(err)
						}
						at = there
					}
					ctx, cancel := context.WithCancel(context.Background())
					done := make(chan error, 1)
					go func() { done <- src.Run(ctx, s) }()
					n := len(s.of(1))
					eventually(t, "units", func() bool { return len(s.of(1)) > n+10 })
					cancel()
					<-done
				}
				want := "[connecting ended fallback connecting playing delivering ended connecting ended connecting playing delivering ended]"
				if silent {
					want = strings.Replace(want, "connecting", "connecting playing", 1)
				}
				if got := fmt.Sprint(s.states()); got != want {
					t.Error(got)
				}
				// The later connections know.
				if n := tries.Load(); n != 1 {
					t.Errorf("TCP was tried %d times", n)
				}
			})
		}
	})
}

// If no video comes, the error names the transport and what helps.
func TestNoVideoNamesTheTransport(t *testing.T) {
	testenv.SkipShort(t, "seconds of real time")
	engines(t, func(t *testing.T, engine string) {
		feed := clip(t, testenv.Clip{Seconds: 3}).With(true, 1)
		for name, c := range map[string]struct {
			transport  string
			noTCP      bool // the camera refuses it
			cause, not string
		}{
			"udp":      {rtsp.TransportUDP, false, "no video arrives over UDP (set the transport to tcp", ""},
			"tcp":      {rtsp.TransportTCP, false, "connected over TCP, but no video comes (", "UDP"},
			"both":     {rtsp.TransportAuto, false, "neither over TCP nor over UDP (", "set the transport"},
			"udp only": {rtsp.TransportAuto, true, "offers video over UDP alone, and none arrives (", "set the transport"},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				srv := server(t, camsim.Config{Cameras: []camsim.CameraConfig{{Path: "c", Feed: feed}}})
				srv.Camera("c").Stall(true)
				at := srv.URL("c")
				if c.noTCP {
					at, _ = noTCP(t, srv.Addr(), false)
				}
				_, _, wait := start(t, rtsp.Config{Engine: engine, URL: fixed(t, at), Transport: c.transport, StallTimeout: 2 * time.Second, NoDataTimeout: 2 * time.Second})
				err := wait()
				t.Log(err)
				if !errors.Is(err, rtsp.ErrStalled) || !strings.Contains(err.Error(), c.cause) || c.not != "" && strings.Contains(err.Error(), c.not) {
					t.Errorf("%v, want %q and not %q", err, c.cause, c.not)
				}
			})
		}
	})
}

// The camera is not our own: GStreamer's RTSP server, which serves a file.
func TestGStreamerServer(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		for name, c := range map[string]testenv.Clip{
			"h264": {Seconds: 3, BFrames: 2, Audio: "aac"},
			"h265": {Codec: "h265", Seconds: 3, BFrames: 2},
		} {
			for _, transport := range []string{rtsp.TransportTCP, rtsp.TransportUDP} {
				t.Run(name+"/"+transport, func(t *testing.T) {
					want, err := camsim.LoadMP4(c.File(t))
					if err != nil {
						t.Fatal(err)
					}
					lossless(t, transport == rtsp.TransportUDP, func(dropped func() bool) func() {
						for try := 1; ; try++ {
							srv := testenv.StartGstRTSPServer(t, testenv.GstRTSPOptions{File: c.File(t), Video: c.Codec, Audio: c.Audio, User: "viewer", Pass: "canary"})
							s, stop, wait := start(t, rtsp.Config{Engine: engine, URL: fixed(t, withUser(t, srv.URL, "viewer", "canary")), Transport: transport})
							whole, over := false, false
							eventually(t, "the file", func() bool {
								over = slices.Contains(s.states(), ingest.EventEnded)
								whole = len(s.of(1)) >= len(want.Of(1))
								return whole || over || dropped()
							})
							stop()
							_ = wait()
							// Over UDP the server's goodbye comes to another port than its
							// last packets: where the machine paused it may be read first.
							if whole || !over || transport == rtsp.TransportTCP || try == 5 {
								return func() { asServed(t, want, s) }
							}
							t.Logf("try %d: the goodbye has overtaken the last packets", try)
						}
					})
				})
			}
		}
	})
}

// asServed holds what a sink has of a clip against the clip, which another
// camera than ours has sent.
func asServed(t *testing.T, want *camsim.Clip, s *sink) {
	t.Helper()
	tracks := s.sessions()
	if len(tracks) == 0 {
		t.Fatal("no tracks")
	}
	for _, tr := range tracks[0] {
		got, sent := s.of(tr.ID), want.Of(tr.ID)
		if len(got) == 0 {
			t.Fatalf("track %d: no units", tr.ID)
		}
		// GStreamer sends the edit list's start away with AAC.
		for len(sent) > 0 && !slices.EqualFunc(essence(t, tr.Codec, sent[0].Data), essence(t, tr.Codec, got[0].Data), bytes.Equal) {
			sent = sent[1:]
		}
		if tr.ID == schemas.VideoTrack && len(got) != len(sent) || len(sent) == 0 || len(want.Of(tr.ID))-len(sent) > 2 {
			t.Fatalf("track %d: %d units of %d", tr.ID, len(got), len(sent))
		}
		for i, u := range got[:min(len(got), len(sent))] {
			if !slices.EqualFunc(essence(t, tr.Codec, sent[i].Data), essence(t, tr.Codec, u.Data), bytes.Equal) {
				t.Fatalf("track %d: unit %d differs", tr.ID, i)
			}
			// Its own clock is in nanoseconds: a tick this way or that.
			if d := u.PTS - got[0].PTS - (sent[i].PTS - sent[0].PTS); d < -1 || d > 1 {
				t.Fatalf("track %d: unit %d is %d ticks off", tr.ID, i, d)
			}
			if sent[i].Sync {
				parameterSets(t, tr, u)
			}
		}
	}
	if len(tracks[0]) != len(want.Tracks()) {
		t.Errorf("%d tracks", len(tracks[0]))
	}
}

// used is what a process has of what connections take.
func used(t *testing.T) (goroutines, threads, files int) {
	t.Helper()
	// Twice: what the finalizers of one collection release is garbage for the next.
	runtime.GC()
	runtime.GC()
	count := func(dir string) int {
		e, err := os.ReadDir(dir)
		if err != nil {
			t.Skipf("no %s", dir)
		}
		return len(e)
	}
	return runtime.NumGoroutine(), count("/proc/self/task"), count("/proc/self/fd")
}

func TestNothingIsLeftOfConnections(t *testing.T) {
	// One after the other: what the process has is counted.
	for _, engine := range []string{rtsp.EngineGStreamer, rtsp.EngineNative} {
		t.Run(engine, func(t *testing.T) {
			feed := clip(t, testenv.Clip{Seconds: 3, Audio: "aac"}).With(true, 1)
			srv := server(t, camsim.Config{Cameras: []camsim.CameraConfig{{Path: "c", Feed: feed}}})
			once := func(i int) {
				s := &sink{}
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				done := make(chan error, 1)
				cfg := rtsp.Config{
					Engine: engine, URL: fixed(t, srv.URL("c")), Transport: []string{rtsp.TransportTCP, rtsp.TransportUDP}[i%2],
					ConnectTimeout: testenv.Patience / 2, StallTimeout: testenv.Patience / 2,
				}
				switch i % 5 {
				case 3: // ended while it connects
					cancel()
				case 4: // refused
					cfg.URL = fixed(t, srv.URL("other"))
				}
				go func() { done <- rtsp.New(cfg).Run(ctx, s) }()
				if i%5 < 3 {
					eventually(t, "units", func() bool { return len(s.of(1)) > 2 })
					cancel()
				}
				<-done
			}
			cam := srv.Camera("c")
			round := func(n int) (grown bool) {
				g, th, f := used(t)
				for i := range n {
					once(i)
				}
				eventually(t, "the clients to be gone", func() bool { return cam.Clients() == 0 })
				// What leaks is left of each connection of a kind, of which there are n/5.
				var g2, th2, f2 int
				settled := func() bool {
					g2, th2, f2 = used(t)
					return g2 < g+n/5 && th2 < th+n/5 && f2 < f+n/5
				}
				for end := time.Now().Add(5 * time.Second); !settled() && time.Now().Before(end); {
					runtime.Gosched()
				}
				t.Logf("%d connections: goroutines %d to %d, threads %d to %d, files %d to %d", n, g, g2, th, th2, f, f2)
				return !settled()
			}
			round(10) // pools and caches fill
			// Go's runtime makes threads on a busy machine and keeps them: what is
			// left of one round need not be a leak, what is left of each is.
			for range 5 {
				if !round(20) {
					return
				}
			}
			t.Error("something is left of every round")
		})
	}
}
