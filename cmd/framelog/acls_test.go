package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/framelog/framelog/internal/app/acls"
	"github.com/framelog/framelog/internal/app/config"
)

// TestACLs: whose rights are printed, by the configuration.
func TestACLs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "framelog.yaml")
	if err := os.WriteFile(path, []byte(`
topic_prefix: site.
processors:
  - name: night
    kind: transcode
    settings: {ladder: [{name: dark, height: 360, bitrate: 600k}]}
  - name: motion
`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		cmd  aclsCmd
		have string // names of resources, a star behind a prefix
		err  string
	}{
		{name: "ingest", cmd: aclsCmd{Role: "ingest"}, have: "site.framelog-ingest site.cameras site.cameras.status site.cam.*"},
		{name: "an entry without events", cmd: aclsCmd{Role: "process", Name: "night", Cameras: []string{"a"}}, have: "site.cameras site.framelog-process-night " +
			"site.cam.a site.cam.a.index site.cam.a.dlq-night site.cam.a.dlq-night.index site.cam.a.dark site.cam.a.dark.index"},
		{name: "a kind", cmd: aclsCmd{Role: "process", Name: "motion"}, have: "site.cameras site.framelog-process-motion site.events site.cam.*"},
		{name: "a program of its own", cmd: aclsCmd{Role: "process", Name: "people", Cameras: []string{"a"}, Input: "dark", Renditions: []string{"x"}}, have: "site.cameras site.framelog-process-people " +
			"site.events site.cam.a.dark site.cam.a.dark.index site.cam.a.dlq-people site.cam.a.dlq-people.index site.cam.a.x site.cam.a.x.index"},
		{name: "up", cmd: aclsCmd{Role: "up"}, have: "site.framelog-ingest site.cameras site.cameras.status site.cam.* site.framelog-process-night site.framelog-process-motion site.events site.framelog-archive site.users site.framelog-* kafka-cluster"},
		{name: "no role", cmd: aclsCmd{Role: "viewer"}, err: `--role: there is no role "viewer"; it is one of ingest, process`},
		{name: "no name", cmd: aclsCmd{Role: "process"}, err: "--name: "},
		{name: "no camera", cmd: aclsCmd{Role: "ingest", Cameras: []string{"A"}}, err: "--cameras: "},
		{name: "no principal", cmd: aclsCmd{Role: "ingest", User: "ingest"}, err: `--user: "ingest" names nobody; write it as User:NAME`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.cmd.User == "" {
				tt.cmd.User = "User:x"
			}
			tt.cmd.Config = path
			rights, err := tt.cmd.rights()
			if tt.err != "" {
				if !config.IsError(err) || !strings.HasPrefix(err.Error(), tt.err) {
					t.Errorf("%v, want %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var have []string
			for _, r := range rights {
				name := r.Name
				if r.Prefix {
					name += "*"
				}
				have = append(have, name)
			}
			if got := strings.Join(have, " "); got != tt.have {
				t.Errorf("%s\nwant\n%s", got, tt.have)
			}
		})
	}
}

// TestACLReference holds docs/kafka-security.md to the table of rights; -update writes it.
func TestACLReference(t *testing.T) {
	path := filepath.Join("..", "..", "docs", "kafka-security.md")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := between(t, string(b), "rights", acls.Reference())
	switch {
	case want == string(b):
	case !*update:
		t.Fatalf("%s is not what the code says: go test ./cmd/framelog -run TestACLReference -update", path)
	default:
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
