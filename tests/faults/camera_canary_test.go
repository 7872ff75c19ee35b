package faults

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/oracle/hlscheck"
	"github.com/framelog/framelog/tests/system"
	"github.com/framelog/framelog/tests/testenv"
)

// canary is in every password of this test. It holds no character that any
// encoding of text changes.
const canary = "c4n4ryPassw0rd"

// oddPassword has all characters that have a meaning in URLs, with the canary on
// both sides of each.
const oddPassword = canary + "@" + canary + ":" + canary + "/" + canary + "#" + canary + "?" + canary + "%" + canary

// oddBasic is the same for Basic authentication, without the colon: RFC 7617 allows
// it, but the simulated camera's library does not.
const oddBasic = canary + "@" + canary + "/" + canary + "#" + canary + "?" + canary + "%" + canary

// inURL encodes a password for a URL, as people must type it.
var inURL = strings.NewReplacer("%", "%25", "/", "%2F", "?", "%3F", "#", "%23", "@", "%40", ":", "%3A").Replace

// canaries are the forms in which the canary could leak: as it is, and within
// base64 (Basic authentication) at any of the three alignments.
var canaries = func() [][]byte {
	all := [][]byte{[]byte(canary)}
	for lead := range 3 {
		b := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", lead) + canary))
		// Characters at the ends depend on those beside them.
		all = append(all, []byte(b[(lead*8+5)/6:len(canary)*8/6]))
	}
	return all
}()

// leak reports where the canary is found. It is safe for concurrent use.
type leak struct {
	t  *testing.T
	mu sync.Mutex
	// found is where the canary was found; places counts what was searched, by
	// kind.
	found  map[string]bool
	places map[string]int
}

// count counts one more place of a kind.
func (l *leak) count(where string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.places[where]++
}

// search searches b for the canary. where is the kind of place, detail the place
// itself.
func (l *leak) search(where, detail string, b []byte) {
	l.count(where)
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range canaries {
		i := bytes.Index(b, c)
		if i < 0 || l.found[where+detail] {
			continue
		}
		l.found[where+detail] = true
		l.t.Errorf("a password is in %s %s: …%q…", where, detail, b[max(0, i-80):min(len(b), i+len(c)+40)])
	}
}

func TestCanaryOfCanaries(t *testing.T) {
	for _, user := range []string{"", "a", "ab", "abc"} {
		b := []byte(base64.StdEncoding.EncodeToString([]byte(user + ":" + canary + "@more")))
		found := 0
		for _, c := range canaries[1:] {
			if bytes.Contains(b, c) {
				found++
			}
		}
		if found != 1 {
			t.Errorf("%d forms are in %s", found, b)
		}
	}
}

// Passwords of cameras are only in the secrets directory and in the environment of
// ingest. No log, metric, error, record, answer, playlist, file or command line has
// one, whatever goes wrong.
func TestNoPasswordAnywhere(t *testing.T) { system.Engines(t, testNoPasswordAnywhere) }

func testNoPasswordAnywhere(t *testing.T, engine string) {
	clip := system.Loop(t, small)
	login := func(path, password string) camsim.CameraConfig {
		return camsim.CameraConfig{Path: path, Feed: clip, User: "viewer", Password: password}
	}
	serve := func(auth camsim.Auth, tls bool) *camsim.Server {
		return system.Serve(t, camsim.Config{Auth: auth, TLS: tls, Cameras: []camsim.CameraConfig{
			login("plain", canary), login("odd", map[camsim.Auth]string{camsim.AuthDigest: oddPassword, camsim.AuthBasic: oddBasic}[auth]),
			login("at", canary+"@"+canary),
		}})
	}
	// Cheap cameras want their password in the path.
	inPath := system.Serve(t, camsim.Config{Cameras: []camsim.CameraConfig{
		{Path: "user=viewer&password=" + canary + "&channel=1", Feed: clip},
		{Path: "user=viewer_password=" + canary + "_channel=1", Feed: clip},
	}})
	digest, basic, secure := serve(camsim.AuthDigest, false), serve(camsim.AuthBasic, false), serve(camsim.AuthBasic, true)
	gone := fmt.Sprintf("127.0.0.1:%d", testenv.FreePort(t))

	// want is the state that each camera must come to.
	want := map[string]schemas.State{}
	var config strings.Builder
	config.WriteString("log:\n  level: debug\ningest:\n  reconnect_max: 1s\n  disk_reserve: 0\ncameras:\n")
	add := func(id string, state schemas.State, url string, more ...string) {
		want[id] = state
		fmt.Fprintf(&config, "  - id: %s\n    url: '%s'\n", id, url)
		for _, m := range more {
			fmt.Fprintf(&config, "    %s\n", m)
		}
	}
	live, refused, away := schemas.StateLive, schemas.StateRefused, schemas.StateAway
	add("digest-env", live, "rtsp://viewer:${FRAMELOG_SECRET_RIGHT}@"+digest.Addr()+"/plain")
	add("basic-env", live, "rtsp://viewer:${FRAMELOG_SECRET_ODD}@"+basic.Addr()+"/odd")
	add("digest-file", live, "rtsp://viewer:${file:shared}@"+digest.Addr()+"/odd")
	add("both-env", live, "rtsp://${FRAMELOG_SECRET_BOTH}@"+basic.Addr()+"/plain")
	add("basic-literal", live, "rtsp://viewer:"+inURL(oddBasic)+"@"+basic.Addr()+"/odd")
	add("digest-literal", live, "rtsp://viewer:"+inURL(oddPassword)+"@"+digest.Addr()+"/odd", "transport: udp")
	add("escaped", live, "rtsp://viewer:"+canary+"%40"+canary+"@"+digest.Addr()+"/at")
	add("secure", live, "rtsps://viewer:"+canary+"@"+secure.Addr()+"/plain", "insecure_tls: true")
	add("untrusted", refused, "rtsps://viewer:"+canary+"@"+secure.Addr()+"/plain")
	add("digest-wrong", refused, "rtsp://viewer:${FRAMELOG_SECRET_WRONG}@"+digest.Addr()+"/plain")
	add("basic-wrong", refused, "rtsp://viewer:"+inURL(oddPassword)+"wrong@"+basic.Addr()+"/plain")
	add("no-path", refused, "rtsp://viewer:"+canary+"@"+digest.Addr()+"/nothing")
	add("gone", away, "rtsp://viewer:"+canary+"@"+gone+"/plain")
	add("no-host", away, "rtsp://viewer:"+canary+"@camera.invalid/plain")
	add("unset", away, "rtsp://viewer:${FRAMELOG_SECRET_UNSET}@"+digest.Addr()+"/plain")

	add("path-literal", live, "rtsp://"+inPath.Addr()+"/user=viewer&password="+canary+"&channel=1?pwd="+canary)
	add("path-env", live, "rtsp://"+inPath.Addr()+"/user=viewer_password=${FRAMELOG_SECRET_RIGHT}_channel=1")
	add("path-wrong", refused, "rtsp://"+inPath.Addr()+"/user=viewer&password=${FRAMELOG_SECRET_WRONG}&channel=1")
	add("path-gone", away, "rtsp://"+gone+"/user=viewer&password="+canary+"&channel=1?token="+canary)

	data := filepath.Join(t.TempDir(), "data")
	if err := os.MkdirAll(filepath.Join(data, "secrets"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(data, "secrets", "shared"), []byte(oddPassword+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l := &leak{t: t, found: map[string]bool{}, places: map[string]int{}}
	s := &scene{}
	s.Framelog = system.Up(t, engine, testenv.UpOptions{Data: data, Config: config.String(), NoWait: true, Env: []string{
		"FRAMELOG_SECRET_RIGHT=" + canary, "FRAMELOG_SECRET_WRONG=" + canary + "-wrong",
		"FRAMELOG_SECRET_ODD=" + oddBasic, "FRAMELOG_SECRET_BOTH=viewer:" + canary,
	}})
	s.follow(t, s.URL)
	ctx, cancel := context.WithCancel(t.Context())
	var beside sync.WaitGroup
	defer beside.Wait()
	defer cancel()
	beside.Go(func() { l.commandLines(ctx, s.PID()) })
	s.WaitReady(t)

	l.typed(s, digest, basic, inPath, want)
	for id, state := range want {
		s.waitSaid(t, id, time.Time{}, string(state), func(x status) bool { return x.State == state })
	}
	if t.Failed() {
		return // a camera that has not run cannot leak
	}
	s.reader = openLog(t, s.Broker)
	l.playlists(s, want)
	l.answers(s, want)
	l.commands(s)
	l.environments(s)
	l.records(s)
	killed := s.Children()["ingest"]
	s.Kill(t, "ingest") // so that the supervisor logs its end
	s.Wait(t, 2*testenv.Patience, "a new ingest", func() bool {
		now := s.Children()["ingest"]
		return len(now) > 0 && !slices.Equal(now, killed)
	})
	l.answers(s, want)
	cancel()
	beside.Wait()
	if code := s.Stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	text := s.Log.String()
	l.search("the log", "", []byte(text))
	for _, role := range []string{"up", "broker", "ingest", "egress"} {
		if !strings.Contains(text, "level=DEBUG") || !strings.Contains(text, "role="+role) {
			t.Errorf("the log has nothing of %s, or no debugging", role)
		}
	}
	l.files(data)
	t.Logf("searched: %v", l.places)
	for _, p := range []string{"command line", "answer", "record", "file", "playlist", "segment", "environment"} {
		if l.places[p] < 3 {
			t.Errorf("only %d of %s were searched", l.places[p], p)
		}
	}
}

// commandLines searches the command lines of all processes, again and again, until
// ctx ends.
func (l *leak) commandLines(ctx context.Context, parent int) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		for _, pid := range append(testenv.Descendants(parent), parent) {
			l.search("command line", fmt.Sprint(pid), []byte(strings.Join(testenv.CommandLine(pid), " ")))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// ask sends a request and searches the answer with its headers. It returns the
// status.
func (l *leak) ask(s *scene, method, path, contentType, body string) int {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), testenv.Patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, s.URL+path, strings.NewReader(body))
	if err != nil {
		l.t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		l.t.Errorf("%s %s: %v", method, path, err)
		return 0
	}
	defer resp.Body.Close()
	// Of /v1/cameras/events, which does not end, what comes first.
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil && ctx.Err() == nil {
		l.t.Errorf("%s %s: %v", method, path, err)
	}
	l.search("answer", fmt.Sprintf("%s %s (%d)", method, path, resp.StatusCode), append(fmt.Appendf(nil, "%v\n", resp.Header), b...))
	return resp.StatusCode
}

// typed sends what people type into the page, right and wrong. It adds the cameras
// that are accepted to want.
func (l *leak) typed(s *scene, digest, basic, inPath *camsim.Server, want map[string]schemas.State) {
	const kind = "application/json"
	url := func(u string) string { return fmt.Sprintf(`{"url":%q,"label":"typed"}`, u) }
	seen := func(id string) {
		l.t.Helper()
		testenv.Wait(l.t, 2*testenv.Patience, "camera "+id, func() bool {
			status, _, err := s.Get(l.t, "/v1/cameras/"+id)
			return err == nil && status == http.StatusOK
		})
	}
	seen("digest-env") // cameras of the file may come after all roles are ready
	for _, c := range []struct {
		id, kind, body string
		code           int
		state          schemas.State
	}{
		{"typed-raw", kind, url("rtsp://viewer:" + oddPassword + "@" + digest.Addr() + "/odd"), 400, ""},
		{"typed-odd", kind, url("rtsp://viewer:" + inURL(oddPassword) + "@" + digest.Addr() + "/odd"), 201, schemas.StateLive},
		{"typed-plain", kind, url("rtsp://viewer:" + canary + "@" + basic.Addr() + "/plain"), 201, schemas.StateLive},
		{"typed-wrong", kind, url("rtsp://viewer:" + inURL(oddPassword) + "@" + basic.Addr() + "/plain"), 201, schemas.StateRefused},
		{"typed-gone", kind, url("rtsp://viewer:" + canary + "@127.0.0.1:1/plain"), 201, schemas.StateAway},
		{"typed-path", kind, url("rtsp://" + inPath.Addr() + "/user=viewer_password=" + canary + "_channel=1"), 201, schemas.StateLive},
		{"typed-query", kind, url("rtsp://127.0.0.1:1/11?usr=viewer&pwd=" + canary), 201, schemas.StateAway},
		{"typed-two", kind, url("rtsp://viewer:" + canary + "@127.0.0.1:1/?pwd=" + canary + "2"), 400, ""},
		{"typed-at", kind, url("rtsp://127.0.0.1:1/user=viewer&password=" + canary + "@" + canary + "&x"), 201, schemas.StateAway},
		{"typed-at-query", kind, url("rtsp://camera:1/?pwd=" + canary + "@" + canary + "&x"), 400, ""},
		{"typed-steal", kind, url("rtsp://127.0.0.1/?pwd=${file:shared}&x=" + canary), 400, ""},
		{"typed-scheme", kind, url("http://viewer:" + canary + "@127.0.0.1/"), 400, ""},
		{"typed-host", kind, url("rtsp://viewer:" + canary + "@:99999999/"), 400, ""},
		{"typed-space", kind, url("rtsp://viewer:" + canary + " " + canary + "@127.0.0.1:1/"), 201, schemas.StateAway},
		{"typed-mixed", kind, url("rtsp://viewer:" + canary + "${file:x}@127.0.0.1/"), 400, ""},
		{"typed-other", kind, url("rtsp://viewer:${file:shared}@127.0.0.1/" + canary), 400, ""},
		{"typed-bare", kind, url(canary), 400, ""},
		{"typed-key", kind, fmt.Sprintf(`{"url":"rtsp://h/","password":%q}`, canary), 400, ""},
		{"typed-type", kind, fmt.Sprintf(`{"url":["rtsp://viewer:%s@h/"]}`, canary), 400, ""},
		{"typed-cut", kind, fmt.Sprintf(`{"url":"rtsp://viewer:%s@h/`, canary), 400, ""},
		{"typed-syntax", kind, fmt.Sprintf(`{"url": rtsp://viewer:%s@h/}`, canary), 400, ""},
		{"typed-transport", kind, fmt.Sprintf(`{"url":"rtsp://viewer:%s@h/","transport":"carrier"}`, canary), 400, ""},
		{"typed-form", "application/x-www-form-urlencoded", "url=rtsp://viewer:" + canary + "@h/", 400, ""},
		{"digest-env", kind, url("rtsp://viewer:" + canary + "@127.0.0.1/"), 409, ""},
		{"Typed_Id", kind, url("rtsp://viewer:" + canary + "@127.0.0.1/"), 400, ""},
	} {
		if code := l.ask(s, http.MethodPut, "/v1/cameras/"+c.id, c.kind, c.body); code != c.code {
			l.t.Errorf("PUT %s: status %d, want %d", c.id, code, c.code)
		}
		if c.state != "" {
			want[c.id] = c.state
		}
	}
	// A camera is changed, and removed with its password.
	for _, password := range []string{canary, oddPassword} {
		l.ask(s, http.MethodPut, "/v1/cameras/typed-brief", kind, url("rtsp://viewer:"+inURL(password)+"@"+digest.Addr()+"/odd"))
	}
	seen("typed-brief") // PUT may answer before the camera is there
	if code := l.ask(s, http.MethodDelete, "/v1/cameras/typed-brief", kind, ""); code != http.StatusNoContent {
		l.t.Errorf("DELETE: status %d", code)
	}
	if _, err := os.Stat(filepath.Join(s.Data, "secrets", "typed-brief")); !os.IsNotExist(err) {
		l.t.Errorf("the password of a removed camera is still there (%v)", err)
	}
}

// answers searches the answers to all requests that read.
func (l *leak) answers(s *scene, want map[string]schemas.State) {
	paths := []string{"/", "/metrics", "/healthz", "/readyz", "/v1/cameras", "/v1/nothing", "/v1/cameras/nobody", "/hls/nobody/index.m3u8"}
	for id := range want {
		paths = append(paths, "/v1/cameras/"+id)
	}
	for _, p := range paths {
		l.ask(s, http.MethodGet, p, "", "")
	}
	ctx, cancel := context.WithTimeout(l.t.Context(), testenv.Patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/v1/cameras/events", nil)
	if err != nil {
		l.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		l.t.Errorf("events: %v", err)
		return
	}
	defer resp.Body.Close()
	var b []byte
	buf := make([]byte, 64<<10)
	for !bytes.Contains(b, []byte("]}\n\n")) { // the end of the list
		n, err := resp.Body.Read(buf)
		b = append(b, buf[:n]...)
		if err != nil {
			break
		}
	}
	if !bytes.Contains(b, []byte("digest-env")) {
		l.t.Errorf("events: %q", b)
	}
	l.search("answer", "GET /v1/cameras/events", b)
}

// playlists searches the playlists and segments of the cameras that are live.
func (l *leak) playlists(s *scene, want map[string]schemas.State) {
	for id, state := range want {
		if state != schemas.StateLive {
			continue
		}
		s.grown(l.t, id, time.Time{}, 2)
		base := "/hls/" + id + "/"
		text := l.fetched(s, base+"index.m3u8")
		l.search("playlist", id, text)
		m, err := hlscheck.ParseMultivariant(string(text))
		if err != nil {
			l.t.Errorf("%s: %v: %s", id, err, text)
			continue
		}
		text = l.fetched(s, base+m.Variants[0].URI)
		l.search("playlist", id, text)
		p, err := hlscheck.ParseMedia(string(text))
		if err != nil || len(p.Segments) == 0 {
			l.t.Errorf("%s: %v: %s", id, err, text)
			continue
		}
		for _, u := range []string{p.Segments[0].Map, p.Segments[0].URI} {
			l.search("segment", id+"/"+u, l.fetched(s, base+u))
		}
	}
}

// fetched fetches a path, waiting until it is there: the first request for a camera
// may have to wait for longer than egress allows.
func (l *leak) fetched(s *scene, path string) (body []byte) {
	l.t.Helper()
	status := 0
	var err error
	if !testenv.Poll(l.t, 2*testenv.Patience, func() bool {
		status, body, err = s.Get(l.t, path)
		return err == nil && status == http.StatusOK && len(body) > 0
	}) {
		l.t.Errorf("%s: status %d, %v: %q", path, status, err, body)
	}
	return body
}
