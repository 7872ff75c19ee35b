package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/framelog/framelog/internal/app/config"
)

var update = flag.Bool("update", false, "write docs/configuration.md anew")

// loadText reads a file of this text, and variables.
func loadText(t *testing.T, text string, env ...string) (*config.Config, error) {
	t.Helper()
	t.Chdir(t.TempDir())
	if err := os.WriteFile("framelog.yaml", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return loadConfig("framelog.yaml", env, nil)
}

// TestSections: the checks and defaults of roles' own keys, and those that
// concern several sections.
func TestSections(t *testing.T) {
	egress, archive := config.Get[egressConfig], config.Get[archiveConfig]
	for _, tt := range []struct {
		name, yaml, env string
		want            []string // of the error; empty: none
		get             func(c *config.Config) any
		value           any
	}{
		{name: "caches longer than the log", yaml: "topics: {retention: 1h}\negress:\n  max_age: 1h\n", want: []string{"framelog.yaml:3: egress.max_age: 1h ", "topics.retention, 1h"}},
		{
			name: "a short retention lowers the default of max_age", yaml: "topics: {retention: 10m}\n",
			get: func(c *config.Config) any { return egress(c).MaxAge.String() }, value: "5m",
		},
		{
			name: "HLS files make room before recording stops", yaml: "ingest: {disk_reserve: 5GiB}\n",
			get: func(c *config.Config) any { return egress(c).DiskReserve.String() }, value: "6GiB",
		},
		{
			name: "unless egress.disk_reserve is set", yaml: "ingest: {disk_reserve: 5GiB}\negress: {disk_reserve: 1GiB}\n",
			get: func(c *config.Config) any { return egress(c).DiskReserve.String() }, value: "1GiB",
		},
		{
			name: "the archive makes room before HLS files are deleted", yaml: "egress: {disk_reserve: 900000GiB}\n",
			get: func(c *config.Config) any { return archive(c).DiskReserve.String() }, value: "900001GiB",
		},
		{
			name: "unless archive.disk_reserve is set", yaml: "archive: {disk_reserve: 1GiB}\n",
			get: func(c *config.Config) any { return archive(c).DiskReserve.String() }, value: "1GiB",
		},
		{
			name: "the archive is below data", yaml: "data: /d\n",
			get: func(c *config.Config) any { return archive(c).Dir }, value: "/d/archive",
		},
		{name: "a pattern of cameras", yaml: "archive:\n  cameras: [yard, \"[\"]\n", want: []string{"framelog.yaml:2: archive.cameras[1]: ", `"[" is no pattern`}},
		{
			name: "the archive in S3", yaml: "archive: {s3: {endpoint: \"s3.example:9000\", bucket: footage, prefix: a/b, access_key: a, secret_key: \"${file:s3}\"}}\n",
			get: func(c *config.Config) any { dir, err := archiveOf(c, nil); return fmt.Sprint(dir, err) }, value: "s3://footage/a/b <nil>",
		},
		{name: "S3 with a URL", yaml: "archive:\n  s3:\n    endpoint: https://me:pass@s3.example\n", want: []string{"framelog.yaml:3: archive.s3.endpoint: it is no host"}},
		{name: "S3 without a bucket", yaml: "archive: {s3: {endpoint: s3.example}}\n", want: []string{"archive.s3.bucket: ", "name a bucket"}},
		{name: "S3 with a prefix that leaves", yaml: "archive: {s3: {endpoint: s3.example, bucket: footage, prefix: a/../b}}\n", want: []string{"archive.s3.prefix: ", "no prefix"}},
		{name: "S3 without a key", yaml: "archive: {s3: {endpoint: s3.example, bucket: footage, access_key: a}}\n", want: []string{"archive.s3.secret_key: ", "${FRAMELOG_SECRET_X}"}},
		{name: "S3 with half a reference", yaml: "archive: {s3: {endpoint: s3.example, bucket: footage, access_key: a, secret_key: \"${file:x}y\"}}\n", want: []string{"archive.s3.secret_key: ", "reference"}},
		{name: "S3 without an endpoint", yaml: "archive: {s3: {bucket: footage}}\n", want: []string{"archive.s3.endpoint: ", "no effect"}},
		{
			name: "HLS files are below data", yaml: "data: /d\n",
			get: func(c *config.Config) any { return egress(c).HLSDir }, value: "/d/hls",
		},
		{
			name: "hosts in lower case", yaml: "egress: {hosts: [Cams.Example, \"fd00::1\"]}\n",
			get: func(c *config.Config) any { return egress(c).Hosts }, value: []string{"cams.example", "fd00::1"},
		},
		{name: "host with a port", yaml: "egress:\n  hosts: [cams.example, \"cams.example:443\"]\n", want: []string{"framelog.yaml:2: egress.hosts[1]: ", "no host", "cams.example"}},
		{name: "host as a URL", env: "FRAMELOG_EGRESS_HOSTS=https://cams.example", want: []string{"FRAMELOG_EGRESS_HOSTS: ", "no host"}},
		{
			name: "origins as browsers write them", yaml: "egress: {origins: [\"HTTPS://Portal.Example:443\", \"http://[fd00::2]:3000\", \"http://a.example:443\"]}\n",
			get: func(c *config.Config) any { return egress(c).Origins }, value: []string{"https://portal.example", "http://[fd00::2]:3000", "http://a.example:443"},
		},
		{name: "any origin", yaml: "egress:\n  origins: [https://a.example, \"*\"]\n", want: []string{"framelog.yaml:2: egress.origins[1]: ", `"*": no origin`, "https://portal.example"}},
		{name: "thumbnail without a scheme", yaml: "egress: {thumbnail: 10.0.0.7:9200}\n", want: []string{"egress.thumbnail", "is no address of a process", "http://10.0.0.7:9200"}},
		{name: "any host of an origin", yaml: "egress: {origins: [\"https://*.a.example\"]}\n", want: []string{"egress.origins[0]", "no origin"}},
		{name: "origin without a scheme", env: "FRAMELOG_EGRESS_ORIGINS=cams.example", want: []string{"FRAMELOG_EGRESS_ORIGINS: ", "no origin"}},
		{name: "origin of another scheme", yaml: "egress: {origins: [\"file://x\"]}\n", want: []string{"neither http nor https"}},
		{name: "origin with a path", yaml: "egress: {origins: [https://a.example/]}\n", want: []string{"more than scheme, host and port"}},
		{name: "origin with a user", yaml: "egress: {origins: [\"https://u@a.example\"]}\n", want: []string{"more than scheme, host and port"}},
		{name: "origin with an empty port", yaml: "egress: {origins: [\"https://a.example:\"]}\n", want: []string{"no port"}},
		{name: "demo open to all", env: "FRAMELOG_DEMO_LISTEN=0.0.0.0:8554", want: []string{"FRAMELOG_DEMO_LISTEN: ", "demo's cameras", "--insecure"}},
		{name: "a processor's variable", env: "FRAMELOG_PROCESSOR_MODEL=x", want: []string{"FRAMELOG_PROCESSOR_MODEL: unknown"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg, err := loadText(t, tt.yaml, tt.env)
			if len(tt.want) == 0 {
				if err != nil {
					t.Fatal(err)
				}
				if got := tt.get(cfg); !reflect.DeepEqual(got, tt.value) {
					t.Errorf("%v, want %v", got, tt.value)
				}
				return
			}
			if !config.IsError(err) {
				t.Fatalf("%v is no error of the configuration", err)
			}
			for _, w := range tt.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q lacks %q", err, w)
				}
			}
		})
	}
}

// TestReference holds docs/configuration.md to the code; -update writes it.
func TestReference(t *testing.T) {
	path := filepath.Join("..", "..", "docs", "configuration.md")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := loadConfig("", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	var ofKinds strings.Builder
	for _, k := range kinds() {
		fmt.Fprintf(&ofKinds, "\n### %s\n\n%s\n\n%s", k.Name, k.Help, config.KindReference(k.Kind))
	}
	is := string(b)
	want := between(t, is, "keys", cfg.Reference())
	want = between(t, want, "kinds", ofKinds.String()+"\n")
	if is == want {
		return
	}
	if !*update {
		t.Fatalf("%s is not what the code says: go test ./cmd/framelog -run TestReference -update", path)
	}
	if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

// between returns the page with this text between its marks of a name.
func between(t *testing.T, page, name, text string) string {
	t.Helper()
	from, to := "<!-- "+name+" -->\n", "<!-- end of "+name+" -->\n"
	head, rest, ok := strings.Cut(page, from)
	_, tail, ok2 := strings.Cut(rest, to)
	if !ok || !ok2 {
		t.Fatalf("the page has lost its marks %q and %q", from, to)
	}
	return head + from + text + to + tail
}

// TestExample: the example is right, and each key that it comments out exists.
func TestExample(t *testing.T) {
	path, err := filepath.Abs(filepath.Join("..", "..", "framelog.example.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := loadConfig(path, nil, nil); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "#~ "); ok { // a key as it would stand
			line = rest
		}
		all = append(all, line)
	}
	if _, err := loadText(t, strings.Join(all, "")); err != nil {
		t.Errorf("with its commented keys: %v", err)
	}
}
