// Package faults has things go wrong, with processes and with cameras, and checks
// what the log, the API, HLS and the page make of it.
package faults

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/tests/system"
	"github.com/framelog/framelog/tests/testenv"
)

// camera is one camera of a scene, on an RTSP server of its own.
type camera struct {
	id      string
	clip    testenv.Clip                    // sent without end; default small
	feed    func(t *testing.T) *camsim.Clip // if set, it is sent instead of clip
	config  camsim.CameraConfig
	options string               // another line of its configuration
	engine  string               // of RTSP; "": see serve
	before  func(*camsim.Server) // if set, it runs before Framelog connects
}

// The clips are small: many cameras run at once.
var (
	small     = testenv.Clip{Size: "320x240", FPS: 15, Seconds: 6, KBits: 300}
	large     = testenv.Clip{Size: "480x360", FPS: 15, Seconds: 6, KBits: 300}
	withSound = testenv.Clip{Size: "320x240", FPS: 15, Seconds: 6, KBits: 300, Audio: "aac"}
)

// simple returns n cameras with nothing special: cam-0 has B-frames and sound,
// the others have neither.
func simple(n, kbits int) (all []camera) {
	for i := range n {
		c := camera{id: fmt.Sprintf("cam-%d", i), clip: small}
		if i == 0 {
			c.clip = withSound
			c.clip.BFrames = 2
		}
		c.clip.KBits = kbits
		all = append(all, c)
	}
	return all
}

// withEngine gives all cameras one engine; "": every second one has the native engine.
func withEngine(engine string, all []camera) []camera {
	for i := range all {
		all[i].engine = engine
	}
	return all
}

// servers are the RTSP servers of cameras, by camera.
type servers map[string]*camsim.Server

func (s servers) camera(id string) *camsim.Camera { return s[id].Camera("cam") }

// serve starts the cameras. It returns their servers, and the YAML that configures
// the cameras. Of those without an engine every second one has the native engine.
func serve(t *testing.T, all []camera) (servers, string) {
	t.Helper()
	started := servers{}
	var yaml strings.Builder
	yaml.WriteString("cameras:\n")
	for i, c := range all {
		c.config.Path = "cam"
		switch {
		case c.feed != nil:
			c.config.Feed = c.feed(t)
		case c.clip == (testenv.Clip{}):
			c.config.Feed = system.Loop(t, small)
		default:
			c.config.Feed = system.Loop(t, c.clip)
		}
		// A reserved port: no other process gets it while the camera is down.
		listen := fmt.Sprintf("127.0.0.1:%d", testenv.FreePort(t))
		s := system.Serve(t, camsim.Config{Listen: listen, Cameras: []camsim.CameraConfig{c.config}})
		started[c.id] = s
		if c.before != nil {
			c.before(s)
		}
		if c.engine == "" {
			c.engine = system.RTSPEngines[i%len(system.RTSPEngines)]
		}
		fmt.Fprintf(&yaml, "  - id: %s\n    url: %s\n    engine: %s\n", c.id, s.URL("cam"), c.engine)
		if c.options != "" {
			fmt.Fprintf(&yaml, "    %s\n", c.options)
		}
	}
	return started, yaml.String()
}

// scene is a running `framelog up`, its cameras, its log, and what its API has
// said.
type scene struct {
	*testenv.Framelog
	reader
	history
	ids     []string
	servers servers
}

// start starts the cameras, and a Framelog that records them into the embedded
// broker or into brokers. config is the rest of its configuration.
func start(t *testing.T, cameras []camera, config string, brokers ...string) *scene {
	t.Helper()
	s := &scene{}
	var yaml string
	s.servers, yaml = serve(t, cameras)
	for _, c := range cameras {
		s.ids = append(s.ids, c.id)
	}
	if len(brokers) > 0 {
		yaml += fmt.Sprintf("brokers: [%s]\n", strings.Join(brokers, ", "))
	}
	s.Framelog = testenv.Up(t, testenv.UpOptions{Config: yaml + config})
	if len(brokers) == 0 {
		brokers = []string{s.Broker}
	}
	s.reader = openLog(t, brokers...)
	return s
}

// role is one role of Framelog as a process of its own.
type role struct {
	*testenv.Process
	url string
}

// startRole starts `framelog NAME` with a configuration, and waits until it is
// ready.
func startRole(t *testing.T, name, config string) *role {
	t.Helper()
	path := filepath.Join(t.TempDir(), name+".yaml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	addr, flag := fmt.Sprintf("127.0.0.1:%d", testenv.FreePort(t)), "--http"
	if name == "egress" {
		flag = "--listen"
	}
	cmd := exec.Command(testenv.Binary(t), name, "--config", path, flag, addr)
	r := &role{testenv.Start(t, "framelog "+name, cmd), "http://" + addr}
	r.Wait(t, 2*testenv.Patience, "ready", func() bool { return r.ready(t) })
	return r
}

// ready reports whether /readyz answers 200.
func (r *role) ready(t *testing.T) bool {
	t.Helper()
	status, _, err := testenv.Get(t, r.url+"/readyz")
	return err == nil && status == http.StatusOK
}

// lasts waits for d to pass, because a fault must last so long to be one. It
// synchronises nothing.
func lasts(t *testing.T, d time.Duration) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
	}
}
