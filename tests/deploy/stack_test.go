// Package deploy tests what is shipped for deployment: docker-compose.yml, the rules and
// dashboards. The Helm chart and the dashboards' schema are in the module manifests.
package deploy

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/framelog/framelog/tests/oracle/hlscheck"
	"github.com/framelog/framelog/tests/system"
	"github.com/framelog/framelog/tests/testenv"
)

// buildTime is how long the images may take to build on a machine that has none of their
// layers, starting how long a container may take until it is healthy.
const (
	buildTime = 40 * time.Minute
	starting  = 5 * time.Minute
)

// version is what the programs in the images tell of themselves.
const version = "v0.0.0-stack"

// stack is docker-compose.yml of a clean clone, as it runs.
type stack struct {
	dir, project string
	files        []string // of Compose
	env          []string
	page, prom   string // URLs
}

// newStack clones the repository as it is committed. cameras is the configuration; "" is the
// one that is shipped. profiles run beside the rest.
func newStack(t *testing.T, cameras, profiles string) *stack {
	t.Helper()
	testenv.Long(t)
	engine(t)
	page, prom := testenv.FreePort(t), testenv.FreePort(t)
	s := &stack{
		dir: filepath.Join(t.TempDir(), "framelog"), project: fmt.Sprintf("framelog-test-%d", os.Getpid()),
		page: fmt.Sprintf("http://127.0.0.1:%d", page), prom: fmt.Sprintf("http://127.0.0.1:%d", prom),
		files: []string{"docker-compose.yml", "tests/deploy/testdata/compose.standins.yml"},
	}
	run(t, exec.CommandContext(t.Context(), "git", "clone", "-q", testenv.Root(t), s.dir))
	s.env = append(os.Environ(), fmt.Sprintf("FRAMELOG_PORT=%d", page), "FRAMELOG_TAG=test", "FRAMELOG_VERSION="+version, "COMPOSE_PROFILES="+profiles,
		fmt.Sprintf("PROMETHEUS_PORT=%d", prom), "STANDINS="+filepath.Join(s.dir, "tests/deploy/testdata/standins"), "KAFKA_JARS="+testenv.KafkaJars(t))
	if cameras != "" {
		if err := os.WriteFile(filepath.Join(s.dir, "framelog.yaml"), []byte(cameras), 0o644); err != nil {
			t.Fatal(err)
		}
		s.env = append(s.env, "FRAMELOG_FILE=./framelog.yaml")
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), starting)
		defer cancel()
		if t.Failed() {
			out, _ := s.command(ctx, "logs", "--tail", "30").CombinedOutput()
			t.Logf("last lines of the containers:\n%s", out)
		}
		if out, err := s.command(ctx, "down", "--volumes", "--remove-orphans").CombinedOutput(); err != nil {
			t.Errorf("docker compose down: %v\n%s", err, out)
		}
	})
	return s
}

// engine skips a test where no Docker engine with Compose answers.
func engine(t *testing.T) {
	t.Helper()
	for _, args := range [][]string{{"info"}, {"compose", "version"}} {
		ctx, cancel := context.WithTimeout(t.Context(), testenv.Patience)
		defer cancel()
		if out, err := exec.CommandContext(ctx, "docker", args...).CombinedOutput(); err != nil {
			t.Skipf("no Docker engine with Compose (docker %s: %v, DOCKER_HOST=%q) %s", args[0], err, os.Getenv("DOCKER_HOST"), bytes.TrimSpace(out))
		}
	}
}

func run(t *testing.T, cmd *exec.Cmd) []byte {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return out
}

func (s *stack) command(ctx context.Context, args ...string) *exec.Cmd {
	all := []string{"compose", "--project-name", s.project}
	for _, f := range s.files {
		all = append(all, "--file", f)
	}
	cmd := exec.CommandContext(ctx, "docker", append(all, args...)...)
	cmd.Dir, cmd.Env = s.dir, s.env
	return cmd
}

// compose runs docker compose and returns what it prints.
func (s *stack) compose(t *testing.T, limit time.Duration, args ...string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	return run(t, s.command(ctx, args...))
}

// container is what Docker tells of a container.
type container struct {
	ID    string `json:"Id"`
	Name  string
	State struct {
		Status    string
		Pid       int
		StartedAt time.Time
		Health    *struct{ Status string }
	}
	HostConfig struct{ Memory int64 }
}

func (c container) healthy() bool {
	return c.State.Status == "running" && (c.State.Health == nil || c.State.Health.Status == "healthy")
}

// containers are those that run, of all services or of one.
func (s *stack) containers(t *testing.T, service ...string) (all []container) {
	t.Helper()
	ids := strings.Fields(string(s.compose(t, testenv.Patience, slices.Concat([]string{"ps", "--quiet"}, service)...)))
	if len(ids) == 0 {
		return nil
	}
	out := run(t, exec.CommandContext(t.Context(), "docker", append([]string{"inspect"}, ids...)...))
	if err := json.Unmarshal(out, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// waitHealthy waits until n containers run, and all of them are healthy.
func (s *stack) waitHealthy(t *testing.T, n int) {
	t.Helper()
	var all []container
	if !testenv.Poll(t, starting, func() bool {
		all = s.containers(t)
		return len(all) == n && !slices.ContainsFunc(all, func(c container) bool { return !c.healthy() })
	}) {
		for _, c := range all {
			t.Logf("%s: %+v", c.Name, c.State)
		}
		t.Fatalf("%d containers after %v, want %d that are healthy", len(all), starting, n)
	}
}

// waitFresh waits until the page is there and all cameras are live.
func (s *stack) waitFresh(t *testing.T, cameras int) {
	t.Helper()
	var states map[string]int
	if !testenv.Poll(t, starting, func() bool {
		status, body, err := testenv.Get(t, s.page+"/")
		if err != nil || status != http.StatusOK || !strings.Contains(string(body), "<html") {
			return false
		}
		all, err := system.Statuses(t, s.page)
		states = map[string]int{}
		for _, c := range all {
			if !c.Stale {
				states[string(c.State)]++
			}
		}
		return err == nil && states["live"] == cameras
	}) {
		t.Fatalf("cameras by state after %v: %v, want %d that are live", starting, states, cameras)
	}
}

// instances returns a value for each container, by a query of Prometheus.
func (s *stack) instances(t *testing.T, query string) map[string]float64 {
	t.Helper()
	out := map[string]float64{}
	for _, v := range instant(t, s.prom, query) {
		out[v.labels["instance"]] = v.value
	}
	return out
}

// spread reports whether n containers share all of what a query counts.
func spread(by map[string]float64, n, all int) bool {
	sum := 0.0
	for _, v := range by {
		if v < 1 {
			return false
		}
		sum += v
	}
	return len(by) == n && int(sum) == all
}

// manyCameras is the configuration of 32 cameras, which are all the demo's. Few fragments and
// few records: a test machine may have two cores.
func manyCameras() string {
	var b strings.Builder
	b.WriteString("name: stack\ningest: {min_fragment: 4s, chunk_duration: 500ms}\negress: {thumbnail: http://thumbnail:9100}\nprocessors:\n  - name: thumbnail\ncameras:\n")
	for i := range 32 {
		fmt.Fprintf(&b, "  - id: cam-%02d\n    url: rtsp://camsim:8554/demo-garden\n", i+1)
	}
	return b.String()
}

// TestStack: a clean clone is built and started, with no more rights than it needs. A client
// plays a demo camera through Nginx. Work spreads over the containers of a scaled service. A
// player goes on while any egress or ingest is away. Each container is killed once, and comes
// back by itself. What was recorded is there after down and up. Opened to other machines, it
// serves only those who sign in.
func TestStack(t *testing.T) {
	s := newStack(t, manyCameras(), "demo,thumbnail")
	const cameras, services = 34, 10 // two of the demo; without what ends by itself, and Grafana
	began := time.Now()
	s.compose(t, buildTime, "up", "--detach", "--build")
	s.waitHealthy(t, services)
	s.waitFresh(t, cameras)
	t.Logf("built, started and live after %v", time.Since(began).Round(time.Second))
	var tell map[string]float64
	if !testenv.Poll(t, starting, func() bool {
		tell = s.instances(t, fmt.Sprintf("framelog_build_info{version=%q}", version))
		return len(tell) == 5
	}) {
		t.Errorf("these containers tell their version: %v, want ingest, thumbnail, archive, egress and monitor", tell)
	}
	s.hardened(t)
	s.onlyItsNames(t)

	s.plays(t, "demo-harbour")
	s.pictures(t, "demo-harbour")
	scale := []string{"--scale", "ingest=3", "--scale", "thumbnail=4", "--scale", "egress=2"}
	s.compose(t, starting, slices.Concat([]string{"up", "--detach", "--no-recreate"}, scale)...)
	s.waitHealthy(t, services+6)
	for what, w := range map[string]struct {
		query string
		n     int
	}{
		"ingest":    {`sum by (instance) (framelog_ingest_cameras{job="ingest"})`, 3},
		"thumbnail": {`count by (instance) (framelog_processor_lag_seconds{processor="thumbnail"})`, 4},
	} {
		var by map[string]float64
		if !testenv.Poll(t, starting, func() bool { by = s.instances(t, w.query); return spread(by, w.n, cameras) }) {
			t.Errorf("%s: cameras of each container %v, want %d shared by %d", what, by, cameras, w.n)
		}
	}
	s.survives(t, "demo-harbour", "egress", "ingest")
	s.killEach(t)
	s.waitFresh(t, cameras)
	s.plays(t, "demo-garden")
	s.downAndUp(t, "demo-harbour", cameras)
	s.opened(t, "demo-harbour", scale)
}

// TestStackProcessors: each processor does its work in its container, with the configuration
// that is shipped.
func TestStackProcessors(t *testing.T) {
	processors := []string{"motion", "redact", "thumbnail", "transcode", "forward", "exec"}
	s := newStack(t, "", "demo,"+strings.Join(processors, ","))
	s.compose(t, buildTime, "up", "--detach", "--build")
	s.waitHealthy(t, 9+len(processors))
	for _, name := range processors {
		if name == "forward" {
			continue // to a server that is not there
		}
		var done []sample
		if !testenv.Poll(t, starting, func() bool {
			done = instant(t, s.prom, fmt.Sprintf(`sum by (camera) (framelog_processor_fragments_total{processor=%q, result=~"processed|filtered"}) >= 5`, name))
			return len(done) == 2
		}) {
			t.Errorf("%s: cameras with five fragments that are done: %v, want two", name, done)
		}
	}
}

// plays runs a strict client of low-latency HLS for some segments.
func (s *stack) plays(t *testing.T, camera string) {
	t.Helper()
	c := system.Watch(t, hlscheck.Config{URL: system.Multivariant(s.page, camera), LowLatency: true, Strict: true, MaxStall: -1})
	testenv.Poll(t, starting, func() bool { return c.Stats().SegmentsFetched >= 10 })
	if got := c.End(t, camera); got.SegmentsFetched < 10 {
		t.Errorf("%s: only %d segments were played", camera, got.SegmentsFetched)
	}
}

// survives takes each container of some services away while somebody watches a camera: the
// player goes on with the others.
func (s *stack) survives(t *testing.T, camera string, services ...string) {
	t.Helper()
	c := system.Watch(t, hlscheck.Config{URL: system.Multivariant(s.page, camera), Strict: true, Interruptions: true, MaxStall: -1})
	newest := func() uint64 { // fragment that is recorded
		p := system.MediaPlaylist(t, system.Multivariant(s.page, camera))
		if p == nil || len(p.Segments) == 0 {
			t.Fatalf("%s has no segments", camera)
		}
		return p.Segments[len(p.Segments)-1].Seq
	}
	goesOn := func(what string, recorded uint64) {
		began := time.Now()
		if !testenv.Poll(t, 2*time.Minute, func() bool { return c.Stats().Last >= recorded+3 }) {
			t.Errorf("%s: the player stands still: %+v, fragment %d was recorded before", what, c.Stats(), recorded)
			return
		}
		t.Logf("%s: 3 new segments in %v", what, time.Since(began).Round(100*time.Millisecond))
	}
	testenv.Poll(t, starting, func() bool { return c.Stats().SegmentsFetched >= 3 })
	for _, service := range services {
		for _, gone := range s.containers(t, service) {
			recorded := newest()
			run(t, exec.CommandContext(t.Context(), "docker", "kill", gone.ID)) // it stays away
			goesOn(gone.Name+" is away", recorded)
			run(t, exec.CommandContext(t.Context(), "docker", "start", gone.ID))
			if !testenv.Poll(t, starting, func() bool {
				return !slices.ContainsFunc(s.containers(t, service), func(c container) bool { return !c.healthy() })
			}) {
				t.Errorf("%s is not healthy again", gone.Name)
			}
		}
	}
	got := c.End(t, camera)
	t.Logf("the player: %d segments, %d requests failed", got.SegmentsFetched, got.Interruptions)
}

// killEach kills the process of each container as a crash would. Docker starts it again.
func (s *stack) killEach(t *testing.T) {
	t.Helper()
	for _, c := range s.containers(t) {
		if err := syscall.Kill(c.State.Pid, syscall.SIGKILL); err != nil {
			t.Errorf("kill %s: %v", c.Name, err)
			continue
		}
		began, last := time.Now(), container{}
		back := testenv.Poll(t, starting, func() bool {
			for _, now := range s.containers(t) {
				if now.ID == c.ID {
					last = now
					return now.State.StartedAt.After(c.State.StartedAt) && now.healthy()
				}
			}
			return false
		})
		if !back {
			t.Errorf("%s did not come back: %+v", c.Name, last.State)
			continue
		}
		t.Logf("%s was back after %v", c.Name, time.Since(began).Round(time.Second))
	}
}

// downAndUp stops everything and starts it again: a segment that was recorded before has the
// same bytes. Nginx's cache is removed, which would have it too.
func (s *stack) downAndUp(t *testing.T, camera string, cameras int) {
	t.Helper()
	p := system.MediaPlaylist(t, system.Multivariant(s.page, camera))
	if p == nil || len(p.Segments) == 0 {
		t.Fatalf("%s has no segments", camera)
	}
	u := system.Resolve(t, p.URL, p.Segments[0].URI)
	get := func() []byte {
		status, body, err := testenv.Get(t, u)
		if err != nil || status != http.StatusOK {
			t.Fatalf("%s: %d %v %s", u, status, err, body)
		}
		return body
	}
	before := get()
	s.compose(t, starting, "down")
	run(t, exec.CommandContext(t.Context(), "docker", "volume", "rm", s.project+"_nginx"))
	s.compose(t, starting, "up", "--detach")
	s.waitFresh(t, cameras)
	if after := get(); !bytes.Equal(before, after) {
		t.Errorf("%s: %d bytes before down and up, %d other bytes after", u, len(before), len(after))
	}
}
