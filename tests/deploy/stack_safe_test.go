package deploy

import (
	"crypto/tls"
	"fmt"
	"image/jpeg"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/framelog/framelog/tests/system"
	"github.com/framelog/framelog/tests/testenv"
)

// hardened checks what the kernel says of the containers: their processes are no root, have no
// capability and cannot gain one, cannot write the root file system, and have a limit of memory.
func (s *stack) hardened(t *testing.T) {
	t.Helper()
	for _, c := range s.containers(t) {
		proc := fmt.Sprintf("/proc/%d/", c.State.Pid)
		status := readText(t, proc+"status")
		for _, want := range []string{`Uid:\t([1-9]\d*)\t`, `CapEff:\t0+\n`, `CapBnd:\t0+\n`, `NoNewPrivs:\t1\n`} {
			if !regexp.MustCompile(want).MatchString(status) {
				t.Errorf("%s: its process has not %q:\n%s", c.Name, want, status)
			}
		}
		if !regexp.MustCompile(`(?m)^\d+ \d+ \S+ \S+ / ro[, ]`).MatchString(readText(t, proc+"mountinfo")) {
			t.Errorf("%s can write its root file system", c.Name)
		}
		if got := memoryLimit(t, proc); got == 0 || got != c.HostConfig.Memory {
			t.Errorf("%s: the kernel limits its memory to %d, want %d", c.Name, got, c.HostConfig.Memory)
		}
	}
}

func readText(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// memoryLimit returns the limit of a process's control group, of version 1 or 2; 0 if there is none.
func memoryLimit(t *testing.T, proc string) int64 {
	t.Helper()
	for line := range strings.Lines(readText(t, proc+"cgroup")) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		var path string
		switch f[1] {
		case "memory":
			path = filepath.Join("/sys/fs/cgroup/memory", f[2], "memory.limit_in_bytes")
		case "":
			path = filepath.Join("/sys/fs/cgroup", f[2], "memory.max")
		default:
			continue
		}
		if b, err := os.ReadFile(path); err == nil {
			n, _ := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64) // "max" is none
			return n
		}
	}
	return 0
}

// onlyItsNames: a page of another site that points its own name at this host reads nothing.
func (s *stack) onlyItsNames(t *testing.T) {
	t.Helper()
	for host, want := range map[string]int{"localhost": 200, "rebound.example": 421, "127.0.0.1.rebound.example": 421} {
		for _, path := range []string{"/", "/v1/cameras", "/v1/lag"} {
			if code, body := s.ask(t, http.DefaultClient, "GET", path, "Host", host); code != want || want != 200 && strings.Contains(body, "demo") {
				t.Errorf("%s%s: %d %.100s, want %d", host, path, code, body, want)
			}
		}
	}
	// Nobody signs in, and everybody on this host may change cameras.
	if code, body := s.ask(t, http.DefaultClient, "DELETE", "/v1/cameras/none"); code != http.StatusNotFound || !strings.Contains(body, `"error"`) {
		t.Errorf("a change: %d %s", code, body)
	}
}

// ask sends a request to the page, and returns status and body.
func (s *stack) ask(t *testing.T, client *http.Client, method, path string, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.page+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for pair := range slices.Chunk(header, 2) {
		req.Header.Set(pair[0], pair[1])
	}
	req.Host = req.Header.Get("Host")
	resp, err := client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(body)
}

// pictures: egress has the process of another container decode an exact snapshot.
func (s *stack) pictures(t *testing.T, camera string) {
	t.Helper()
	code, body := 0, ""
	if !testenv.Poll(t, testenv.Patience, func() bool {
		code, body = s.ask(t, http.DefaultClient, "GET", "/snapshot/"+camera+".jpg")
		picture, err := jpeg.Decode(strings.NewReader(body))
		return err == nil && picture.Bounds().Dx() == 640 && picture.Bounds().Dy() == 360 // a thumbnail is smaller
	}) {
		t.Errorf("snapshot: %d %.100q, want a picture of 640x360", code, body)
	}
}

// opened opens the page to other machines. It takes TLS alone, and nobody gets anything without
// a token, also not what Nginx keeps. Prometheus reads the metrics all the same.
func (s *stack) opened(t *testing.T, camera string, scale []string) {
	t.Helper()
	ca, port := testenv.NewCA(t), testenv.FreePort(t)
	cert := ca.Sign(t, "cams", time.Hour)
	dir := filepath.Join(s.dir, "certificate")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, from := range map[string]string{"fullchain.pem": cert.Cert, "privkey.pem": cert.Key} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(readText(t, from)), 0o644); err != nil { // for user 101
			t.Fatal(err)
		}
	}
	local, began := s.page, time.Now()
	s.files = slices.Insert(s.files, 1, "deploy/compose/network.yml")
	s.env = append(s.env, fmt.Sprintf("FRAMELOG_ADDRESS=127.0.0.1:%d", port))
	s.page = fmt.Sprintf("https://127.0.0.1:%d", port)
	s.compose(t, starting, slices.Concat([]string{"up", "--detach"}, scale)...)
	if code, _, err := testenv.Get(t, local+"/"); err == nil {
		t.Errorf("the page without sign-in is still there: %d", code)
	}
	out := string(s.compose(t, starting, "run", "--rm", "--no-TTY", "cameras", "users", "add", "root", "--role", "admin", "--no-password"))
	out += string(s.compose(t, starting, "run", "--rm", "--no-TTY", "cameras", "users", "token", "root", "--label", "test"))
	token := regexp.MustCompile(`fl_\S+`).FindString(out)
	if token == "" {
		t.Fatalf("no token in: %s", out)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.Pool()}, ForceAttemptHTTP2: true}}
	authorized := []string{"Authorization", "Bearer " + token}
	var segment string
	if !testenv.Poll(t, starting, func() bool {
		_, playlist := s.ask(t, client, "GET", "/hls/"+camera+"/raw.m3u8", authorized...)
		segment = regexp.MustCompile(`(?m)^[^#\n]*\.m4s$`).FindString(playlist)
		return segment != ""
	}) {
		t.Fatal("no playlist with a token")
	}
	for _, path := range []string{
		system.Resolve(t, s.page+"/hls/"+camera+"/raw.m3u8", segment)[len(s.page):],
		"/hls/" + camera + "/index.m3u8", "/v1/cameras", "/v1/lag", "/snapshot/" + camera + ".jpg",
	} {
		if code, body := s.ask(t, client, "GET", path, authorized...); code != http.StatusOK { // into Nginx's cache
			t.Errorf("%s with a token: %d %.100s", path, code, body)
		}
		for _, who := range [][]string{nil, {"Authorization", "Bearer fl_forged"}} {
			if code, body := s.ask(t, client, "GET", path, who...); code != http.StatusUnauthorized {
				t.Errorf("%s without a token of somebody: %d %.100s", path, code, body)
			}
		}
	}
	if !testenv.Poll(t, starting, func() bool {
		up := s.instances(t, fmt.Sprintf(`up{job="egress"} == 1 and on (instance) process_start_time_seconds > %d`, began.Unix()))
		return len(up) == 2
	}) {
		t.Errorf("Prometheus reads egress: %v", s.instances(t, `up{job="egress"}`))
	}
}
