package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/system"
	"github.com/framelog/framelog/tests/testenv"
)

var clientPort = regexp.MustCompile(`client_port=\d+-\d+`)

// withoutUDP is a router in front of a camera that lets no UDP through: it has the
// camera send to ports on which nobody listens.
func withoutUDP(t *testing.T, camera string) string {
	t.Helper()
	port := testenv.FreePort(t) &^ 1
	nowhere := fmt.Appendf(nil, "client_port=%d-%d", port, port+1)
	return testenv.ServeTCP(t, func(client net.Conn) {
		server, err := net.Dial("tcp", camera)
		if err != nil {
			return
		}
		defer server.Close()
		var wg sync.WaitGroup
		defer wg.Wait()
		wg.Go(func() {
			defer client.Close()
			_, _ = io.Copy(client, server)
		})
		defer server.Close()
		b := make([]byte, 64<<10)
		for {
			n, err := client.Read(b)
			if err != nil {
				return
			}
			if _, err := server.Write(clientPort.ReplaceAll(b[:n], nowhere)); err != nil {
				return
			}
		}
	})
}

// The status, the command line's list and the page say in the same words what is
// wrong with a camera and what to do. The log says it once.
func TestWrongPeersAreNamed(t *testing.T) { system.Engines(t, testWrongPeersAreNamed) }

func testWrongPeersAreNamed(t *testing.T, engine string) {
	b := testenv.Chromium(t)
	web := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(web.Close)
	secureWeb := httptest.NewUnstartedServer(http.NotFoundHandler())
	secureWeb.Config.ErrorLog = log.New(io.Discard, "", 0)
	secureWeb.StartTLS()
	t.Cleanup(secureWeb.Close)
	feed, err := camsim.NewLive(t.Context(), camsim.LiveConfig{Width: 320, Height: 180, KeyInterval: 25})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(feed.Close)
	_, plain := system.Camera(t, camsim.CameraConfig{Feed: feed})
	secure := system.Serve(t, camsim.Config{TLS: true, Cameras: []camsim.CameraConfig{{Path: "cam", Feed: feed}}})
	foreign := testenv.StartGstRTSPServer(t, testenv.GstRTSPOptions{})
	ssh := testenv.ServeTCP(t, func(c net.Conn) {
		fmt.Fprint(c, "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u7\r\n")
		_, _ = io.Copy(io.Discard, c)
	})
	silent := testenv.ServeTCP(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })

	type want struct{ url, more, text string }
	host := func(raw string) string {
		_, rest, _ := strings.Cut(raw, "://")
		host, _, _ := strings.Cut(rest, "/")
		return host
	}
	wants := map[string]want{
		"udp":       {"rtsp://" + withoutUDP(t, fmt.Sprintf("127.0.0.1:%d", foreign.Port)) + "/cam", "transport: udp", "connected, but no video arrives over UDP (set the transport to tcp"},
		"web":       {"rtsp://" + host(web.URL) + "/cam", "", "a web server answers at ADDR, not RTSP (write the camera's port for RTSP into its URL"},
		"https":     {"rtsp://" + host(secureWeb.URL) + "/cam", "", "a web server answers at ADDR, not RTSP ("},
		"ssh":       {"rtsp://" + ssh + "/cam", "", "an SSH server answers at ADDR, not a camera (check host and port"},
		"no-tls":    {"rtsps://" + host(plain) + "/cam", "insecure_tls: true", "ADDR answers with RTSP, but without TLS (write rtsp:// for rtsps://"},
		"tls-alone": {"rtsp://" + host(secure.URL("cam")) + "/cam", "", "ADDR answers with TLS alone (write rtsps:// for rtsp://"},
		"silent":    {"rtsp://" + silent + "/cam", "", "ADDR takes the connection and does not answer (check host and port"},
	}
	var config strings.Builder
	config.WriteString("cameras:\n")
	for _, id := range slices.Sorted(maps.Keys(wants)) {
		w := wants[id]
		w.text = strings.ReplaceAll(w.text, "ADDR", host(w.url))
		wants[id] = w
		fmt.Fprintf(&config, "  - id: %s\n    url: %s\n", id, w.url)
		if w.more != "" {
			fmt.Fprintf(&config, "    %s\n", w.more)
		}
	}
	f := system.Up(t, engine, testenv.UpOptions{Config: config.String()})

	var said map[string]string
	list := func() bool {
		all, err := system.Statuses(t, f.URL)
		if err != nil {
			t.Fatal(err)
		}
		said = map[string]string{}
		for id, x := range all {
			if x.State == schemas.StateAway {
				said[id] = x.Error
			}
		}
		return len(said) == len(wants)
	}
	f.Wait(t, 2*testenv.Patience, "the error of each camera", list)
	for id, w := range wants {
		if !strings.Contains(said[id], w.text) {
			t.Errorf("/v1/cameras says of %s %q, want %q", id, said[id], w.text)
		}
	}

	ctx, cancel := context.WithTimeout(t.Context(), testenv.Patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, testenv.Binary(t), "cameras", "list", "--brokers", f.Broker).CombinedOutput()
	if err != nil {
		t.Errorf("framelog cameras list: %v\n%s", err, out)
	}
	t.Logf("framelog cameras list:\n%s", out)
	for id, w := range wants {
		if !bytes.Contains(out, []byte(id+": "+w.text)) {
			t.Errorf("framelog cameras list does not say of %s %q", id, w.text)
		}
	}

	p := b.Open(t, f.URL)
	tellFailure(t, p)
	for id, w := range wants {
		text, err := json.Marshal(w.text)
		if err != nil {
			t.Fatal(err)
		}
		p.Wait(testenv.Patience, fmt.Sprintf("document.querySelector('#camera-%s .veil .detail')?.innerText.includes(%s)", id, text))
		var shown bool
		p.Eval(fmt.Sprintf("(() => { const d = document.querySelector('#camera-%s .veil .detail'); return d.scrollHeight <= d.clientHeight + 1 && d.getBoundingClientRect().height > 0; })()", id), &shown)
		if !shown {
			t.Errorf("the tile of %s has no room for its text", id)
		}
	}

	// Each camera is told once, at first, however often it is tried again.
	for id := range wants {
		testenv.Wait(t, 2*testenv.Patience, "more attempts to connect "+id, func() bool {
			return system.Metric(t, f.URL, "framelog_ingest_reconnects_total", `camera="`+id+`"`) >= 2
		})
	}
	if !list() {
		t.Errorf("not all are away any more: %v", said)
	}
	for id, w := range wants {
		if !strings.Contains(said[id], w.text) {
			t.Errorf("later /v1/cameras says of %s %q, want %q", id, said[id], w.text)
		}
		if n := len(regexp.MustCompile(`(?m)^.*camera has no connection.* camera=`+id+` .*$`).FindAllString(f.Log.String(), -1)); n != 1 {
			t.Errorf("%d lines of the log say that %s has no connection, want one", n, id)
		}
	}
}
