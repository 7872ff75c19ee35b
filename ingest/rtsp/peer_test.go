package rtsp_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/framelog/framelog/ingest/rtsp"
	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/tests/testenv"
)

// Each peer that is no camera, or no camera as its URL says, is named, with what
// to do.
func TestWrongPeers(t *testing.T) {
	testenv.SkipShort(t, "seconds of real time")
	engines(t, func(t *testing.T, engine string) {
		feed := clip(t, testenv.Clip{Seconds: 3}).With(true, 1)
		camera := server(t, camsim.Config{Cameras: []camsim.CameraConfig{{Path: "c", Feed: feed}}})
		tlsCamera := server(t, camsim.Config{TLS: true, Cameras: []camsim.CameraConfig{{Path: "c", Feed: feed}}})

		web := httptest.NewServer(http.NotFoundHandler())
		t.Cleanup(web.Close)
		secureWeb := httptest.NewUnstartedServer(http.NotFoundHandler())
		secureWeb.Config.ErrorLog = log.New(io.Discard, "", 0)
		secureWeb.StartTLS()
		t.Cleanup(secureWeb.Close)
		certificate := secureWeb.TLS.Certificates

		ssh := listen(t, func(c net.Conn) {
			fmt.Fprint(c, "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u7\r\n")
			_, _ = io.Copy(io.Discard, c)
		})
		ftp := listen(t, func(c net.Conn) {
			fmt.Fprint(c, "220 canary FTP server ready.\r\n")
			_, _ = io.Copy(io.Discard, c)
		})
		silent := listen(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
		closes := listen(t, func(c net.Conn) {
			_, _ = c.Read(make([]byte, 4096))
			_ = c.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, c)
		})
		secret := listen(t, func(c net.Conn) { // TLS, and inside it nothing that is known
			s := tls.Server(c, &tls.Config{Certificates: certificate})
			_, _ = io.Copy(io.Discard, s)
		})

		deaf := listen(t, func(c net.Conn) { // answers OPTIONS, and no DESCRIBE
			r := bufio.NewReader(c)
			for n := 1; ; n++ {
				line, err := r.ReadString('\n')
				if err != nil {
					return
				}
				if strings.HasPrefix(line, "OPTIONS") {
					fmt.Fprintf(c, "RTSP/1.0 200 OK\r\nCSeq: 1\r\nPublic: DESCRIBE, SETUP, PLAY\r\n\r\n")
				}
			}
		})
		addr := func(raw string) string {
			u, err := url.Parse(raw)
			if err != nil {
				t.Fatal(err)
			}
			return u.Host
		}
		for name, c := range map[string]struct{ scheme, at, text string }{
			"web":               {"rtsp", web.URL, "a web server answers at ADDR, not RTSP ("},
			"web, rtsps":        {"rtsps", web.URL, "a web server answers at ADDR, not RTSP ("},
			"secure web":        {"rtsp", secureWeb.URL, "a web server answers at ADDR, not RTSP ("},
			"secure web, rtsps": {"rtsps", secureWeb.URL, "a web server answers at ADDR, not RTSP ("},
			"ssh":               {"rtsp", ssh, "an SSH server answers at ADDR, not a camera ("},
			"ssh, rtsps":        {"rtsps", ssh, "an SSH server answers at ADDR, not a camera ("},
			"ftp":               {"rtsp", ftp, "ADDR answers, but not with RTSP ("},
			"silent":            {"rtsp", silent, "ADDR takes the connection and does not answer ("},
			"silent, rtsps":     {"rtsps", silent, "ADDR takes the connection and does not answer ("},
			"closes":            {"rtsp", closes, "ADDR ends the connection without an answer ("},
			"closes, rtsps":     {"rtsps", closes, "ADDR ends the connection without an answer ("},
			"deaf camera":       {"rtsp", deaf, "the camera did not begin its stream in time (close other connections"},
			"TLS":               {"rtsp", secret, "a TLS server answers at ADDR, but not with RTSP ("},
			"camera has TLS":    {"rtsp", tlsCamera.URL("c"), "ADDR answers with TLS alone (write rtsps:// for rtsp://"},
			"camera has no TLS": {"rtsps", camera.URL("c"), "ADDR answers with RTSP, but without TLS (write rtsp:// for rtsps://"},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				began := time.Now()
				at := addr(c.at)
				cfg := rtsp.Config{Engine: engine, URL: fixed(t, withUser(t, c.scheme+"://"+at+"/c", "viewer", canary)), InsecureTLS: true, ConnectTimeout: 3 * time.Second}
				s, _, wait := start(t, cfg)
				err := wait()
				t.Logf("%v after %v: %v", s.states(), time.Since(began).Round(time.Millisecond), err)
				var e *rtsp.Error
				if want := strings.ReplaceAll(c.text, "ADDR", at); !errors.Is(err, rtsp.ErrAway) || !errors.As(err, &e) || !strings.Contains(err.Error(), want) {
					t.Errorf("want %q", want)
				}
				noCanary(t, err, e, s.observed())
			})
		}
	})
}

// Who answered is believed for a while: a real camera is not disturbed at each
// attempt. What is sent to it names no user and no path.
func TestPeersAreAskedSeldom(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		var conns, options atomic.Int32
		url := listen(t, func(c net.Conn) {
			conns.Add(1)
			b := make([]byte, 4096)
			n, _ := c.Read(b)
			if strings.HasPrefix(string(b[:n]), "OPTIONS * RTSP/1.0\r\n") {
				options.Add(1)
				if got := string(b[:n]); strings.Contains(got, "/c") || strings.Contains(got, "Authorization") {
					t.Errorf("the probe sent %q", got)
				}
			}
			fmt.Fprint(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
		})
		src := rtsp.New(rtsp.Config{Engine: engine, URL: fixed(t, withUser(t, url, "viewer", canary)), Transport: rtsp.TransportTCP, ConnectTimeout: testenv.Patience / 2})
		for range 4 {
			if err := src.Run(t.Context(), &sink{}); !strings.Contains(fmt.Sprint(err), "a web server answers") {
				t.Error(err)
			}
		}
		if n := options.Load(); n != 1 {
			t.Errorf("%d probes in %d connections", n, conns.Load())
		}
	})
}

// A probe ends with its context.
func TestProbeEnds(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		ctx, cancel := context.WithCancel(t.Context())
		var conns atomic.Int32
		url := listen(t, func(c net.Conn) {
			if conns.Add(1) == 1 {
				return // which GStreamer takes for a broken connection
			}
			cancel()
			_, _ = io.Copy(io.Discard, c)
		})
		src := rtsp.New(rtsp.Config{Engine: engine, URL: fixed(t, url), Transport: rtsp.TransportTCP, ConnectTimeout: testenv.Patience})
		pauses, began := testenv.WatchPauses(t), time.Now()
		_ = src.Run(ctx, &sink{})
		// Its limit for one answer is 2 s, and there would be two.
		if took := time.Since(began) - pauses.Sum(began, time.Now()); conns.Load() != 2 || took > 1900*time.Millisecond {
			t.Errorf("%d connections, ended after %v", conns.Load(), took)
		}
	})
}
