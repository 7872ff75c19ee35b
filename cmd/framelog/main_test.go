package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/app/supervise"
	"github.com/framelog/framelog/internal/registry"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

const canary = "c4n4ry"

// busy is an address whose port is in use.
func busy(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln.Addr().String()
}

// TestWrongConfigurations runs the real binary. Each wrong configuration must end
// it within 10 s, with exit code 2 and one line that names place and remedy. The
// test allows three times as long, since a busy machine starts processes slowly.
func TestWrongConfigurations(t *testing.T) {
	binary := testenv.Binary(t)
	taken := busy(t)
	inUse := filepath.Join(t.TempDir(), "data")
	_, unlock := lockedData(t, inUse)
	defer unlock()
	free := testenv.Refusing(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cam := "cameras:\n  - id: front\n    url: rtsp://10.0.0.5/\n"
	for _, tt := range []struct {
		name, yaml string
		args       []string // default: up
		want       []string
	}{
		{name: "unknown key", yaml: "lisen: x\n", want: []string{"framelog.yaml:1: lisen: ", "did you mean listen?"}},
		{name: "bad id", yaml: "cameras:\n  - id: Front Door\n    url: rtsp://x/\n", want: []string{"framelog.yaml:2: ", `"Front Door"`, "a-z"}},
		{name: "duplicate id", yaml: cam + "  - id: front\n    url: rtsp://x/\n", want: []string{"framelog.yaml:4: ", "framelog.yaml:2"}},
		{name: "bad scheme", yaml: "cameras:\n  - id: a\n    url: http://u:" + canary + "@x/\n", want: []string{"framelog.yaml:3: ", "rtsp"}},
		{name: "wrong type", yaml: "topics: {partitions: many}\n", want: []string{"framelog.yaml:1: ", "whole number"}},
		{name: "not YAML", yaml: "a: [1\nb: }\n", want: []string{"framelog.yaml", "not YAML"}},
		{name: "no file", args: []string{"up", "--config", "none.yaml"}, want: []string{"none.yaml: ", "no such file"}},
		{name: "port in use", yaml: "listen: " + taken + "\n", want: []string{"framelog.yaml:1: listen: ", taken, "in use", "another port"}},
		{name: "broker's port in use", yaml: "listen: 127.0.0.1:0\nbroker_listen: " + taken + "\n", want: []string{"framelog: framelog.yaml:2: broker_listen: ", taken, "in use"}},
		{
			name: "demo's port in use", yaml: fmt.Sprintf("listen: 127.0.0.1:0\nbroker_listen: 127.0.0.1:%d\ndemo:\n  listen: %s\n", testenv.FreePort(t), taken),
			args: []string{"up", "--demo", "--config", "framelog.yaml"}, want: []string{"framelog.yaml:4: demo.listen: ", taken, "in use", "another port"},
		},
		{name: "demo alone, its port in use", yaml: "demo: {listen: \"" + taken + "\"}\n", args: []string{"camsim", "--config", "framelog.yaml"}, want: []string{"framelog.yaml:1: demo.listen: ", taken, "in use"}},
		{name: "data in use", yaml: "listen: 127.0.0.1:0\ndata: " + inUse + "\n", want: []string{"framelog.yaml:2: data: ", "another framelog"}},
		{name: "data is a file", yaml: "listen: 127.0.0.1:0\ndata: " + file + "\n", want: []string{"framelog.yaml:2: data: ", "not a directory"}},
		{name: "open to all", yaml: "listen: 0.0.0.0:0\n", want: []string{"framelog.yaml:1: ", "--insecure"}},
		{name: "egress open to all", yaml: "brokers: [\"" + free + "\"]\n", args: []string{"egress", "--config", "framelog.yaml", "--listen", "0.0.0.0:0"}, want: []string{"--listen: ", "see all cameras", "--insecure"}},
		{name: "metrics of egress open to all", args: []string{"egress", "--http", "0.0.0.0:0"}, want: []string{"framelog: --http: ", "--insecure"}},
		{name: "ingest open to all", yaml: "brokers: [\"" + free + "\"]\n", args: []string{"ingest", "--config", "framelog.yaml", "--http", "0.0.0.0:0"}, want: []string{"framelog: --http: ", "--insecure"}},
		{name: "broker's metrics open to all", args: []string{"broker", "--http", ":0"}, want: []string{"framelog: --http: ", "--insecure"}},
		{name: "broker open to all", yaml: "broker_listen: 0.0.0.0:9092\n", args: []string{"broker", "--config", "framelog.yaml"}, want: []string{"framelog.yaml:1: broker_listen: ", "--insecure"}},
		{name: "malformed address of a broker", yaml: "brokers: [kafka]\n", args: []string{"ingest", "--config", "framelog.yaml"}, want: []string{"framelog.yaml:1: brokers[0]: ", "host:port"}},
		{name: "cameras, broker that is none", yaml: "brokers: [\"" + taken + "\"]\n", args: []string{"cameras", "list", "--config", "framelog.yaml"}, want: []string{"framelog.yaml:1: brokers: ", taken, "does not answer as Kafka"}},
		{name: "cameras, unreachable broker", yaml: "brokers: [\"" + free + "\"]\n", args: []string{"cameras", "list", "--config", "framelog.yaml"}, want: []string{"framelog.yaml:1: brokers: ", free + " does not answer: connection refused", "embedded"}},
		{name: "kind of a processor", yaml: "processors:\n  - name: people\n", want: []string{"framelog.yaml:2: processors[0].name: ", `no kind "people"`, "transcode"}},
		{name: "key of a processor's settings", yaml: "processors:\n  - name: transcode\n    settings: {lader: []}\n", want: []string{"framelog.yaml:3: processors[0].settings.lader: unknown key", "did you mean ladder?"}},
		{name: "settings that a kind refuses", yaml: "processors:\n  - name: transcode\n    settings:\n      ladder:\n        - name: a\n        - name: a\n", want: []string{"framelog.yaml:6: processors[0].settings.ladder[1].name: ", `"a"`}},
		{name: "rendition that is reserved", yaml: "processors:\n  - name: transcode\n    settings: {ladder: [{name: raw}]}\n", want: []string{"framelog.yaml:2: processors[0]: outputs: ", "reserved"}},
		{name: "two that write the same", yaml: "processors:\n  - name: transcode\n  - name: night\n    kind: transcode\n", want: []string{"framelog.yaml:3: processors[1]: night writes the rendition \"720p\"", "framelog.yaml:2"}},
		{name: "one that reads what it makes", yaml: "processors:\n  - name: transcode\n    input: 720p\n", want: []string{"framelog.yaml:2: processors[0]", "720p"}},
		{name: "processor, unknown", args: []string{"process", "people"}, want: []string{`no processor "people"`, "--config", "transcode"}},
		{name: "processor, flag", args: []string{"process", "transcode", "--hight", "3"}, want: []string{"unknown flag --hight", "framelog process transcode --help"}},
		{name: "processor, argument", args: []string{"process", "transcode", "--", "x"}, want: []string{`"x" is not expected`}},
		{name: "processor, variable", args: []string{"process", "transcode", "--policy", "fast"}, want: []string{`framelog: --policy: "fast": no such value`}},
		{name: "processor, its entry", yaml: "processors:\n  - name: night\n    kind: transcode\n    settings:\n      ladder: [{height: 3}]\n", args: []string{"process", "night", "-c", "framelog.yaml"}, want: []string{"framelog.yaml:5: processors[0].settings.ladder[0].name: ", "missing"}},
		{name: "processor open to all", yaml: "brokers: [\"" + free + "\"]\n", args: []string{"process", "transcode", "-c", "framelog.yaml", "--http", "0.0.0.0:0"}, want: []string{"framelog: --http: ", "--insecure"}},
		{name: "processor, unreachable broker", args: []string{"process", "transcode", "--brokers", free, "--from", "-1h", "--dry-run"}, want: []string{"framelog: --brokers: " + free + " does not answer"}},
		{name: "dead letters, unreachable broker", args: []string{"dlq", "list", "--brokers", free}, want: []string{"framelog: --brokers: " + free + " does not answer"}},
		{name: "unknown flag", args: []string{"up", "--lisen", "x"}, want: []string{"--lisen", "--help"}},
		{name: "unknown command", args: []string{"upp"}, want: []string{"upp", "--help"}},
		{name: "password in a cluster", yaml: "brokers: [\"" + free + "\"]\ncameras:\n  - id: a\n    url: rtsp://u:" + canary + "@x/\n", args: []string{"ingest", "--config", "framelog.yaml"}, want: []string{"framelog.yaml:4: ", "FRAMELOG_SECRET_"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "framelog.yaml"), []byte(tt.yaml), 0o600); err != nil {
				t.Fatal(err)
			}
			if tt.args == nil {
				tt.args = []string{"up", "--config", "framelog.yaml"}
			}
			const limit = 3 * 10 * time.Second
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			began := time.Now()
			cmd := exec.CommandContext(ctx, binary, tt.args...)
			cmd.Dir = dir
			cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // so that its children end too
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			err := cmd.Run()
			if ctx.Err() != nil {
				t.Fatalf("it does not end within %v:\n%s", limit, stderr.String())
			}
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != exitConfig {
				t.Errorf("%v, want exit code %d", err, exitConfig)
			}
			lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
			last := lines[len(lines)-1]
			t.Logf("after %v: %s", time.Since(began).Round(10*time.Millisecond), last)
			if !strings.HasPrefix(last, "framelog: ") {
				t.Errorf("last line: %q", last)
			}
			for _, w := range tt.want {
				if !strings.Contains(last, w) {
					t.Errorf("%q lacks %q", last, w)
				}
			}
			if strings.Contains(stderr.String(), canary) {
				t.Error("a password is printed")
			}
		})
	}
}

// lockedData holds a data directory as a running framelog does.
func lockedData(t *testing.T, dir string) (string, func()) {
	t.Helper()
	c, err := settings{Data: &dir}.load(nil)
	if err != nil {
		t.Fatal(err)
	}
	unlock, err := lockData(c)
	if err != nil {
		t.Fatal(err)
	}
	return dir, unlock
}

// A role that gets SIGTERM while it looks for its brokers ends with exit code 0.
func TestEndsWhileItStarts(t *testing.T) {
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int32 // and not answered
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := dead.Accept()
			if err != nil {
				return
			}
			defer conn.Close() // each stays open to the end
			asked.Add(1)
		}
	})
	defer wg.Wait()
	defer dead.Close()
	binary := testenv.Binary(t)
	// ends sends SIGTERM to a role that looks for its brokers. It gives the exit code
	// and the output.
	ends := func(t *testing.T, role string) (int, string) {
		before := asked.Load()
		p := testenv.Start(t, role, exec.Command(binary, role, "--brokers", dead.Addr().String(), "--data", t.TempDir(), "--log-level", "error"))
		defer p.KillTree()
		p.Wait(t, testenv.Patience, "the look whether anybody listens, and Kafka's client", func() bool { return asked.Load() >= before+2 })
		p.Signal(syscall.SIGTERM)
		return p.ExitCode(testenv.Patience), p.Log.String()
	}
	for _, role := range []string{"up", "ingest", "egress"} {
		t.Run(role, func(t *testing.T) {
			// On a very slow machine the look may end before the signal comes.
			for try := 1; ; try++ {
				code, said := ends(t, role)
				if code == 0 && !strings.Contains(said, "framelog: ") {
					return
				}
				if try == 3 {
					t.Fatalf("exit code %d: %s", code, said)
				}
			}
		})
	}
}

// A child's exit code tells the supervisor whether its configuration is wrong. A
// panic and a socket that cannot be made have other codes.
func TestExitCodesOfChildren(t *testing.T) {
	binary, dir := testenv.Binary(t), t.TempDir()
	config := filepath.Join(dir, "framelog.yaml")
	if err := os.WriteFile(config, []byte("lisen: x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		args []string
		want int
	}{
		"configuration": {[]string{"egress", "--config", config, "--socket", filepath.Join(dir, "sock")}, supervise.ExitConfig},
		"socket":        {[]string{"egress", "--brokers", "127.0.0.1:1", "--data", dir, "--socket", filepath.Join(dir, "none", "sock")}, exitFailed},
	} {
		p := testenv.Start(t, name, exec.Command(binary, tt.args...))
		if code := p.ExitCode(testenv.Patience); code != tt.want {
			t.Errorf("%s: exit code %d, want %d: %s", name, code, tt.want, p.Log.String())
		}
	}
}

// TestUp: up becomes ready, answers for its roles, answers 503 for one that is
// away, and ends.
func TestUp(t *testing.T) {
	t.Parallel()
	f := testenv.Up(t, testenv.UpOptions{Config: "ingest: {disk_reserve: 0}\ncameras:\n  - id: front\n    url: rtsp://127.0.0.1:1/live\n"})
	get := func(path string) (int, string) {
		code, body, err := f.Get(t, path)
		if err != nil {
			t.Fatal(err)
		}
		return code, string(body)
	}
	f.Wait(t, testenv.Patience, "the camera on the API", func() bool {
		_, body := get("/v1/cameras")
		return strings.Contains(body, `"front"`) && strings.Contains(body, `"status"`)
	})
	for _, role := range []string{"broker", "egress", "monitor", "archive", "ingest", "up"} {
		f.Wait(t, testenv.Patience, "the metrics of "+role, func() bool {
			_, metrics := get("/metrics")
			return strings.Contains(metrics, `go_goroutines{role="`+role+`"}`)
		})
	}
	f.Wait(t, testenv.Patience, "the camera in the monitor", func() bool {
		_, body := get("/v1/lag")
		return strings.Contains(body, `"id":"front"`) && strings.Contains(body, `"hop":"log"`)
	})
	lag, err := exec.CommandContext(t.Context(), testenv.Binary(t), "lag", "--brokers", f.Broker).CombinedOutput()
	if err != nil || !regexp.MustCompile(`(?m)^front +\w+ +log +\d`).Match(lag) {
		t.Errorf("framelog lag: %v\n%s", err, lag)
	}
	if code, _ := get("/healthz"); code != http.StatusOK {
		t.Errorf("/healthz: %d", code)
	}
	for path, want := range map[string]int{"/metrics": http.StatusMisdirectedRequest, "/v1/cameras": http.StatusMisdirectedRequest, "/v1/lag": http.StatusMisdirectedRequest, "/healthz": http.StatusOK, "/readyz": http.StatusOK} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, f.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = "rebound.example"
		if resp, err := http.DefaultClient.Do(req); err != nil || resp.StatusCode != want {
			t.Errorf("%s as another host: %v %v, want %d", path, resp, err, want)
		} else {
			resp.Body.Close()
		}
	}
	// While egress is away, the answer is 503 with Retry-After; then egress is there
	// again. A test that was too slow to see this kills it again.
	f.Wait(t, testenv.Patience, "egress away", func() bool {
		if n := f.Kill(t, "egress"); n > 1 {
			t.Fatalf("there are %d egress", n)
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, f.URL+"/v1/cameras", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusServiceUnavailable && resp.Header.Get("Retry-After") == "1"
	})
	f.WaitReady(t)
	if _, body := get("/metrics"); !regexp.MustCompile(`(?m)^framelog_up_restarts_total\{role="egress"\} [1-9]\d*$`).MatchString(body) {
		t.Error("the restart is not counted")
	}
	if code := f.Stop(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}

// TestLongPath: if the path of data is too long for sockets, they are elsewhere.
func TestLongPath(t *testing.T) {
	t.Parallel()
	f := testenv.Up(t, testenv.UpOptions{Data: filepath.Join(t.TempDir(), strings.Repeat("long/", 20), "data"), Config: "ingest: {disk_reserve: 0}"})
	if code := f.Stop(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}

func TestWindow(t *testing.T) {
	s := registry.Snapshot{
		Cameras: map[string]schemas.Camera{"a": {}, "b": {}, "off": {Disabled: true}},
		Status:  map[string]schemas.Status{"a": {Bitrate: 6_000_000}},
	}
	w := windowOf(s, 16<<30)
	if w.cameras != 2 || w.assumed != 1 || w.length.Round(time.Second) != 12885*time.Second {
		t.Errorf("%+v", w)
	}
	if w.differs(w) || !w.differs(window{}) || !w.differs(window{cameras: 2, assumed: 1, length: w.length / 2}) {
		t.Error("differs")
	}
}

// TestParentKilled: kill -9 of the parent ends its children too. The next start
// works at once, with all that the broker had.
func TestParentKilled(t *testing.T) {
	t.Parallel()
	f := testenv.Up(t, testenv.UpOptions{Config: "ingest: {disk_reserve: 0, instance: north-1}\ncameras:\n  - id: front\n    url: rtsp://127.0.0.1:1/live\n"})
	front := func() bool { // as the configured instance tells it
		_, body, err := f.Get(t, "/v1/cameras")
		return err == nil && strings.Contains(string(body), `"front"`) && strings.Contains(string(body), `"owner":"north-1"`)
	}
	f.Wait(t, testenv.Patience, "the camera", front)
	f.Signal(syscall.SIGKILL)
	<-f.Done()
	f.Start(t)
	f.WaitReady(t)
	f.Wait(t, testenv.Patience, "the camera again", front)
	if n := len(f.Children()["broker"]); n != 1 {
		t.Errorf("%d brokers", n)
	}
}

// TestCamerasCommand runs the subcommands against a running framelog.
func TestCamerasCommand(t *testing.T) {
	t.Parallel()
	f := testenv.Up(t, testenv.UpOptions{Config: "ingest: {disk_reserve: 0}\n"})
	framelog := func(code int, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), testenv.Binary(t), args...)
		cmd.Env = append(os.Environ(), "FRAMELOG_BROKERS="+f.Broker)
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if got := cmd.ProcessState.ExitCode(); got != code || err != nil && !errors.As(err, &exit) {
			t.Fatalf("framelog %v: exit code %d, want %d\n%s", args, got, code, out)
		}
		return string(out)
	}
	framelog(0, "cameras", "add", "yard", "rtsp://127.0.0.1:1/yard", "--label", "The yard")
	if out := framelog(0, "cameras", "list"); !strings.Contains(out, "yard") || !strings.Contains(out, "The yard") {
		t.Errorf("list: %s", out)
	}
	file := filepath.Join(t.TempDir(), "more.yaml")
	if err := os.WriteFile(file, []byte("cameras:\n  - id: gate\n    url: rtsp://127.0.0.1:1/gate\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	framelog(0, "cameras", "apply", "-f", file)
	if out := framelog(0, "cameras", "list", "--output", "json"); !strings.Contains(out, `"gate"`) {
		t.Errorf("list: %s", out)
	}
	if out := framelog(2, "cameras", "add", "door", "rtsp://u:"+canary+"@127.0.0.1/"); !strings.HasPrefix(out, "framelog: ") || strings.Contains(out, canary) {
		t.Errorf("a password: %s", out)
	}
	framelog(0, "cameras", "remove", "yard")
	if out := framelog(0, "cameras", "list"); strings.Contains(out, "yard") || !strings.Contains(out, "gate") {
		t.Errorf("list: %s", out)
	}
}
