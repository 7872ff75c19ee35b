package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/framelog/framelog/internal/secrets"
	"github.com/framelog/framelog/schemas"
)

const canary = "c4n4ry"

func load(t *testing.T, text string, env []string, flags map[string]string) (*Config, error) {
	t.Helper()
	t.Chdir(t.TempDir())
	if err := os.WriteFile("framelog.yaml", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return testLoader().Load("framelog.yaml", env, flags)
}

// Sections as roles declare them.
type (
	egressKeys struct {
		Mode   string   `yaml:"mode" default:"on_demand" oneof:"on_demand,always"`
		Window Duration `yaml:"window" default:"60s" min:"6s" max:"1h"`
		Hosts  []string `yaml:"hosts" default:""`
	}
	brokerKeys struct {
		Limit Size `yaml:"limit" default:"1GiB" min:"32MiB"`
		Shared
	}
	Shared struct { // its keys are those of broker
		Rate int `yaml:"rate" default:"7"`
	}
	motionKeys struct {
		Threshold int `yaml:"threshold" default:"3"`
	}
)

// Check refuses the host "none", and gives an empty list one that depends on
// the shared settings.
func (e *egressKeys) Check(c *Config) error {
	if len(e.Hosts) == 0 {
		e.Hosts = []string{"of." + c.Data}
	}
	for i, h := range e.Hosts {
		if h == "none" {
			return c.Errorf(c.Element("egress.hosts", i), "name one", "%q is no host", h)
		}
	}
	return nil
}

func testLoader() Loader {
	return Loader{
		Sections: Sections{
			{Key: "egress", Into: new(egressKeys)},
			{Key: "broker", Into: new(brokerKeys)},
			{Key: "processors", Into: &Sections{{Key: "motion", Into: new(motionKeys)}}},
		},
		OwnEnv: []string{"FRAMELOG_PROCESSOR_"},
	}
}

func TestPrecedence(t *testing.T) {
	c, err := load(t, `
data: /file
listen: 127.0.0.1:1
egress: {mode: always, window: 90s}
broker:
  limit: 2GiB
brokers: [a:1, "b:2"]
cameras:
  - id: front-door
    url: rtsp://viewer:${FRAMELOG_SECRET_X}@10.0.0.5:554/stream1
  - {id: yard, url: "rtsp://10.0.0.6/", transport: udp, no_audio: true, engine: native, label: Yard & gate}
`, []string{"FRAMELOG_DATA=/env", "FRAMELOG_LISTEN=127.0.0.1:2", "FRAMELOG_SECRET_X=y", "FRAMELOG_TEST_Z=z", "HOME=/", "FRAMELOG_BROKERS=c:3, d:4", "FRAMELOG_TOPICS_PARTITIONS=1", "FRAMELOG_BROKER_RATE=9", "FRAMELOG_PROCESSORS_MOTION_THRESHOLD=5", "FRAMELOG_PROCESSOR_MODEL=x"},
		map[string]string{"listen": "127.0.0.1:3"})
	if err != nil {
		t.Fatal(err)
	}
	if c.Data != "/env" || c.Listen != "127.0.0.1:3" || strings.Join(c.Brokers, " ") != "c:3 d:4" || c.Topics.Partitions != 1 {
		t.Errorf("%+v", c)
	}
	egress, broker, motion := Get[egressKeys](c), Get[brokerKeys](c), Get[motionKeys](c)
	if egress.Mode != "always" || time.Duration(egress.Window) != 90*time.Second || strings.Join(egress.Hosts, " ") != "of./env" || broker.Limit != 2<<30 || broker.Rate != 9 || motion.Threshold != 5 {
		t.Errorf("sections: %+v %+v %+v", egress, broker, motion)
	}
	if c.Topics.Retention.String() != "24h" || c.SecretsDir != "/env/secrets" || c.Log.Level != "info" {
		t.Errorf("defaults: %+v", c)
	}
	want := []Camera{
		{ID: "front-door", URL: "rtsp://viewer:${FRAMELOG_SECRET_X}@10.0.0.5:554/stream1", Origin: "framelog.yaml:9"},
		{ID: "yard", URL: "rtsp://10.0.0.6/", Transport: "udp", NoAudio: true, Engine: "native", Label: "Yard & gate", Origin: "framelog.yaml:11"},
	}
	if len(c.Cameras) != 2 || c.Cameras[0] != want[0] || c.Cameras[1] != want[1] {
		t.Errorf("cameras %+v, want %+v", c.Cameras, want)
	}
	// The file that up writes for its children gives the same configuration.
	b, err := yaml.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	again, err := load(t, string(b), nil, nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	if x, y := show2(t, again), show2(t, c); x != y {
		t.Errorf("marshalled and read again:\n%s\nwant\n%s", x, y)
	}
}

func show2(t *testing.T, c *Config) string {
	t.Helper()
	b, err := yaml.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestErrors(t *testing.T) {
	for _, tt := range []struct {
		name, yaml, env, flag string
		want                  []string // all in the one line
	}{
		{"unknown key", "listen: 127.0.0.1:1\nlsten: x\n", "", "", []string{"framelog.yaml:2: ", "lsten", "unknown key", "listen"}},
		{"unknown key below", "egress:\n  mode: always\n  modes: x\n", "", "", []string{"framelog.yaml:3: ", "egress.modes", "unknown key", "did you mean mode?"}},
		{"unknown key of a camera", "cameras:\n  - id: a\n    uri: rtsp://x/\n", "", "", []string{"framelog.yaml:3: ", "cameras[0].uri", "did you mean url?"}},
		{"wrong type, list", "brokers: a:1\n", "", "", []string{"framelog.yaml:1: ", "brokers", "a list is wanted"}},
		{"wrong type, text", "data: [x]\n", "", "", []string{"framelog.yaml:1: ", "data", "wrong type", "text"}},
		{"wrong type, number", "topics:\n  partitions: two\n", "", "", []string{"framelog.yaml:2: ", `"two"`, "wrong type", "whole number"}},
		{"wrong type, section", "egress: always\n", "", "", []string{"framelog.yaml:1: ", "egress", "keys are wanted"}},
		{"more copies than brokers", "topics: {replicas: 3}\n", "", "", []string{"framelog.yaml:1: topics.replicas: 3: the embedded broker keeps one copy", "set brokers"}},
		{"bad value", "egress:\n  mode: sometimes\n", "", "", []string{"framelog.yaml:2: ", `"sometimes"`, "on_demand or always"}},
		{"bad size", "broker: {limit: 12 apples}\n", "", "", []string{"framelog.yaml:1: ", "broker.limit", "size", "512MiB"}},
		{"too small", "broker: {limit: 1MiB}\n", "", "", []string{"too small", "at least 32MiB"}},
		{"bad duration", "egress: {window: 60}\n", "", "", []string{"egress.window", "duration", "30s"}},
		{"bad id", "cameras:\n  - id: a\n    url: rtsp://x/\n  - id: Front\n    url: rtsp://y/\n", "", "", []string{"framelog.yaml:4: ", `cameras[1].id: "Front"`, "a-z"}},
		{"no id", "cameras:\n  - url: rtsp://x/\n", "", "", []string{"framelog.yaml:2: ", "needs an id"}},
		{"duplicate id", "cameras:\n  - id: a\n    url: rtsp://x/\n  - id: a\n    url: rtsp://y/\n", "", "", []string{"framelog.yaml:4: ", `"a"`, "framelog.yaml:2"}},
		{"bad scheme", "cameras:\n  - id: a\n    url: http://viewer:" + canary + "@x/\n", "", "", []string{"framelog.yaml:3: ", "cameras[0].url", "rtsp"}},
		{"url of a wrong type", "cameras:\n  - id: a\n    url: [\"rtsp://u:" + canary + "@x/\"]\n", "", "", []string{"framelog.yaml:3: ", "wrong type"}},
		{"no url", "cameras:\n  - id: a\n", "", "", []string{"framelog.yaml:2: ", "needs a url"}},
		{"not YAML", "listen: [1,\ncameras: {\n", "", "", []string{"framelog.yaml", "not YAML"}},
		{"a page of HTML", "<!doctype html>\n<p>hello: [", "", "", []string{"framelog.yaml"}},
		{"a word", "hello\n", "", "", []string{"framelog.yaml:1: ", "keys are wanted"}},
		{"twice", "data: a\ndata: b\n", "", "", []string{"framelog.yaml:2", "data"}},
		{"address", "listen: 8080\n", "", "", []string{"framelog.yaml:1: ", "listen", "host:port"}},
		{"open to all", "listen: 0.0.0.0:8080\n", "", "", []string{"framelog.yaml:1: ", "--insecure"}},
		{"open to all, remedy", "listen: 0.0.0.0:8080\n", "", "", []string{"see all cameras", "access.enabled: true"}},
		{"certificate without its key", "tls: {cert: a.pem}\n", "", "", []string{"framelog.yaml:1: tls: ", "both files"}},
		{"proxy", "access: {proxies: [10.0.0.0/8, nginx]}\n", "", "", []string{"framelog.yaml:1: access.proxies[1]: ", `"nginx"`, "10.0.0.0/8"}},
		{"provider without grants", "access: {oidc: {issuer: 'https://a', url: 'https://b', client_id: c}}\n", "", "", []string{"access.oidc.grants: ", "nobody could sign in"}},
		{"provider at no URL", "access: {oidc: {issuer: login, url: 'https://b', client_id: c}}\n", "", "", []string{"framelog.yaml:1: access.oidc.issuer: ", `"login"`}},
		{"provider without the page's URL", "access: {oidc: {issuer: 'https://a', client_id: c}}\n", "", "", []string{"access.oidc.url: ", "https://login.example"}},
		{"provider without a client", "access: {oidc: {issuer: 'https://a', url: 'https://b'}}\n", "", "", []string{"access.oidc.client_id: ", "empty"}},
		{"provider without openid", "access: {oidc: {issuer: 'https://a', url: 'https://b', client_id: c, scopes: [email]}}\n", "", "", []string{"access.oidc.scopes: ", "add openid"}},
		{"grant of no role", "access: {oidc: {issuer: 'https://a', url: 'https://b', client_id: c, grants: [{group: g}]}}\n", "", "", []string{"access.oidc.grants[0]: ", "viewer, operator or admin"}},
		{"grant to nobody", "access: {oidc: {issuer: 'https://a', url: 'https://b', client_id: c, grants: [{role: admin}]}}\n", "", "", []string{"access.oidc.grants[0]: ", "no group"}},
		{"grant of nothing", "access: {oidc: {issuer: 'https://a', url: 'https://b', client_id: c, grants: [{group: g, role: viewer}]}}\n", "", "", []string{"access.oidc.grants[0]: ", "patterns of cameras"}},
		{"broker open to all", "broker_listen: 0.0.0.0:9092\n", "", "", []string{"framelog.yaml:1: broker_listen: ", "everything in the log", "--insecure"}},
		{"broker open to all by no host", "broker_listen: :9092\n", "", "", []string{"framelog.yaml:1: broker_listen: ", "--insecure"}},
		{"broker open to all, environment", "", "FRAMELOG_BROKER_LISTEN=10.0.0.5:9092", "", []string{"FRAMELOG_BROKER_LISTEN: ", "--insecure"}},
		{"broker on any port", "broker_listen: 127.0.0.1:0\n", "", "", []string{"framelog.yaml:1: broker_listen: ", "port 0", "127.0.0.1:9092"}},
		{"brokers on any port", "brokers: [a:9092, \"b:00\"]\n", "", "", []string{"framelog.yaml:1: brokers[1]: ", "port 0", "kafka:9092"}},
		{"unknown key of a nested section", "processors:\n  motion:\n    treshold: 1\n", "", "", []string{"framelog.yaml:3: ", "processors.motion.treshold", "did you mean threshold?"}},
		{"a section's check", "egress:\n  hosts: [a, none]\n", "", "", []string{"framelog.yaml:2: egress.hosts[1]: ", "no host", "name one"}},
		{"a section's check, environment", "", "FRAMELOG_EGRESS_HOSTS=none", "", []string{"FRAMELOG_EGRESS_HOSTS: ", "no host"}},
		{"broker address", "brokers: [kafka]\n", "", "", []string{"framelog.yaml:1: ", "brokers[0]", "host:port"}},
		{"environment like the program's own", "", "FRAMELOG_PROCESSORS_X=x", "", []string{"FRAMELOG_PROCESSORS_X: ", "unknown"}},
		{"environment", "", "FRAMELOG_LISTN=x", "", []string{"FRAMELOG_LISTN: ", "unknown", "FRAMELOG_LISTEN"}},
		{"value in the environment", "", "FRAMELOG_EGRESS_MODE=x", "", []string{"FRAMELOG_EGRESS_MODE: ", "on_demand or always"}},
		{"flag", "", "", "nope", []string{"--listen: ", `"nope"`, "host:port"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			flags := map[string]string{}
			if tt.flag != "" {
				flags["listen"] = tt.flag
			}
			_, err := load(t, tt.yaml, []string{tt.env}, flags)
			if err == nil {
				t.Fatal("no error")
			}
			t.Log(err)
			if !IsError(err) {
				t.Errorf("%T is no *Error", err)
			}
			if strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), canary) {
				t.Errorf("more than one line, or a password: %q", err)
			}
			for _, w := range tt.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q lacks %q", err, w)
				}
			}
		})
	}
}

// TestAccess: with access the page may be at any address, and nothing else may.
func TestAccess(t *testing.T) {
	c, err := load(t, "listen: :8080\naccess:\n  enabled: true\n  oidc: {issuer: 'https://a', url: 'https://b', client_id: c, grants: [{group: g, role: viewer, cameras: [yard]}]}\n", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if g := c.Access.OIDC.Grants[0]; len(g.Renditions) != 1 || g.Renditions[0] != "*" || time.Duration(c.Access.Session) != 12*time.Hour {
		t.Errorf("%+v", c.Access)
	}
	if c.CheckOpen("--http", ":9090", "", "") == nil {
		t.Error("metrics of a role are open to all")
	}
}

// TestOpen: insecure lets all addresses be any.
func TestOpen(t *testing.T) {
	c, err := load(t, "listen: :8080\nbroker_listen: 0.0.0.0:9092\ninsecure: true\n", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for addr, ok := range map[string]bool{"127.0.0.1:0": true, "[::1]:80": true, "localhost:80": true, "[::]:80": true, "x": false} {
		if err := c.CheckOpen("http", addr, "", ""); (err == nil) != ok {
			t.Errorf("%s: %v", addr, err)
		}
	}
}

func TestNoFile(t *testing.T) {
	if _, err := testLoader().Load(filepath.Join(t.TempDir(), "none.yaml"), nil, nil); !IsError(err) || !strings.Contains(err.Error(), "none.yaml") {
		t.Error(err)
	}
	if c, err := testLoader().Load("", nil, nil); err != nil || c.Listen != "127.0.0.1:8080" {
		t.Error(c, err)
	}
	for _, empty := range []string{"", "# nothing\n", "---\n", "cameras:\n"} {
		if _, err := load(t, empty, nil, nil); err != nil {
			t.Errorf("%q: %v", empty, err)
		}
	}
}

func TestTakePasswords(t *testing.T) {
	text := "cameras:\n  - id: a\n    url: rtsps://u%40v:" + canary + "@x/\n    insecure_tls: true\n  - id: b\n    url: rtsp://u:${file:z}@x/\n"
	c, err := load(t, text, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.TakePasswords(nil); err == nil || !strings.Contains(err.Error(), "framelog.yaml:3") || strings.Contains(err.Error(), canary) {
		t.Errorf("refusal: %v", err)
	}
	err = c.TakePasswords(func(schemas.Camera, string) error { return fmt.Errorf("store: %w", secrets.ErrHandMade) })
	if !IsError(err) || !strings.Contains(err.Error(), "framelog.yaml:3") || !strings.Contains(err.Error(), "write ${file:a}") {
		t.Errorf("a file is there already: %v", err)
	}
	want := []schemas.Camera{
		{ID: "a", URL: "rtsps://x/", User: "u@v", Password: "${file:a}", InsecureTLS: true, Source: schemas.SourceFile},
		{ID: "b", URL: "rtsp://x/", User: "u", Password: "${file:z}", Source: schemas.SourceFile},
	}
	taken := 0
	if err := c.TakePasswords(func(cam schemas.Camera, password string) error {
		taken++
		if cam != want[0] || password != canary {
			t.Errorf("%+v, %q", cam, password)
		}
		return nil
	}); err != nil || taken != 1 {
		t.Fatal(taken, err)
	}
	// What the children of up read has the same cameras, and no password.
	b, err := yaml.Marshal(c)
	if err != nil || strings.Contains(string(b), canary) {
		t.Fatalf("%s, %v", b, err)
	}
	child, err := load(t, string(b), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, cam := range c.Records() {
		if want[i].Origin = []string{"framelog:2", "framelog:5"}[i]; cam != want[i] {
			t.Errorf("record %+v, want %+v", cam, want[i])
		}
		if got := child.Records()[i]; !got.Equal(cam) {
			t.Errorf("read again %+v, want %+v", got, cam)
		}
	}
}

// TestTakePasswordsOfSubstreams: those of both streams are taken, each for its host.
func TestTakePasswordsOfSubstreams(t *testing.T) {
	text := "cameras:\n  - id: a\n    url: rtsp://u:one@x/1\n    substream: rtsp://v:" + canary + "@y/2\n"
	c, err := load(t, text, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	var took []string
	store := func(cam schemas.Camera, password string) error {
		took = append(took, secrets.Join(cam)+" "+password)
		if cam.Substream != "" {
			t.Errorf("%+v has two streams", cam)
		}
		return nil
	}
	if err := c.TakePasswords(store); err != nil || strings.Join(took, ", ") != "rtsp://u:${file:a}@x/1 one, rtsp://v:${file:a}@y/2 "+canary {
		t.Errorf("took %q, %v", took, err)
	}
	if got := c.Records()[0]; secrets.Join(got) != "rtsp://u:${file:a}@x/1" || got.Substream != "rtsp://y/2" || got.SubstreamUser != "v" || got.SubstreamPassword != "${file:a}" {
		t.Errorf("record %+v", got)
	}
	c, err = load(t, strings.Replace(text, ":one@", ":${file:a}@", 1), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.TakePasswords(nil); err == nil || !strings.Contains(err.Error(), "framelog.yaml:4: cameras[0].substream") || strings.Contains(err.Error(), canary) {
		t.Errorf("refusal: %v", err)
	}
	if _, err := load(t, "cameras:\n  - id: a\n    url: rtsp://x/1\n    substream: http://y/2\n", nil, nil); err == nil || !strings.Contains(err.Error(), "framelog.yaml:4: cameras[0].substream: want a URL") {
		t.Errorf("another scheme: %v", err)
	}
}

// TestName: a file has the name that it gives itself, or that of its path.
func TestName(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct {
		file, yaml, want string
		named            bool
	}{
		{"framelog.yaml", "", "framelog", false},
		{"my cams.v2.yml", "", "my cams.v2", false},
		{"Küche", "", "Küche", false},
		{"--demo.yaml", "", "demo", false},
		{"a:b.yaml", "", "a-b", false},
		{"(.yaml", "", "framelog", false},
		{strings.Repeat("ü", 80) + ".yaml", "", strings.Repeat("ü", 63), false},
		{"framelog.yaml", "name: Site 2_north\n", "Site 2_north", true},
		{"framelog.yaml", "name: ''\n", "framelog", false},
		{"framelog.yaml", "name: --demo\n", "", false},
		{"framelog.yaml", "name: a:b\n", "", false},
		{"framelog.yaml", "name: " + strings.Repeat("x", 64) + "\n", "", false},
	} {
		path := filepath.Join(dir, tt.file)
		if err := os.WriteFile(path, []byte(tt.yaml), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := testLoader().Load(path, nil, nil)
		if tt.want == "" {
			if !IsError(err) || !strings.Contains(err.Error(), ":1: name: ") {
				t.Errorf("%s: %v", tt.yaml, err)
			}
			continue
		}
		if err != nil || c.Name != tt.want || c.Named() != tt.named {
			t.Errorf("%s, %q: %+v, %v", tt.file, tt.yaml, c, err)
		}
	}
}

func TestSize(t *testing.T) {
	for s, want := range map[string]Size{"0": 0, "1": 1, "1KiB": 1024, "1.5GiB": 3 << 29, "20 MB": 20e6, "7B": 7, "": -1, "-1": -1, "x": -1, "1e300TiB": -1, "NaN": -1, "MiB": -1} {
		got, err := ParseSize(s)
		if want < 0 != (err != nil) || err == nil && got != want {
			t.Errorf("%q: %d, %v", s, got, err)
		}
		if err == nil {
			if again, err := ParseSize(got.String()); err != nil || again != got {
				t.Errorf("%q as %q: %d, %v", s, got, again, err)
			}
		}
	}
}

func FuzzLoad(f *testing.F) {
	f.Add("listen: 127.0.0.1:1\ncameras:\n  - id: a\n    url: rtsp://u:p@x/\n")
	f.Add("{a: [b, {c: &d e}], f: *d}")
	f.Add("? [x]\n: y\n")
	f.Add("<<: {data: x}\n")
	f.Fuzz(func(t *testing.T, text string) {
		path := filepath.Join(t.TempDir(), "f.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := testLoader().Load(path, nil, nil); err != nil && (!IsError(err) || strings.Contains(err.Error(), "\n")) {
			t.Errorf("%q: %v", text, err)
		}
	})
}
