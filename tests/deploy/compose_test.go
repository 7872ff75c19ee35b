package deploy

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/framelog/framelog/tests/testenv"
)

// service is what a test asks of a service of docker-compose.yml.
type service struct {
	Image         string
	ContainerName string `yaml:"container_name"`
	ReadOnly      bool   `yaml:"read_only"`
	Restart       string
	CapDrop       []string `yaml:"cap_drop"`
	SecurityOpt   []string `yaml:"security_opt"`
	Ports         []string
	Environment   map[string]string
	Healthcheck   struct{ Test []string }
	Deploy        struct {
		Resources struct{ Limits map[string]string }
	}
}

// TestComposeIsClosed: each service has an image of one version, a health check and a limit,
// and can neither write its root file system nor gain rights. None has a name or a port that
// a second container could not have, but for those that people open.
func TestComposeIsClosed(t *testing.T) {
	var file struct{ Services map[string]service }
	decode(t, "docker-compose.yml", &file)
	if len(file.Services) < 15 {
		t.Fatalf("only %d services", len(file.Services))
	}
	once := []string{"cameras", "demo-cameras"} // these end by themselves
	pinned := regexp.MustCompile(`:(v?\d+\.\d+\.\d+[-a-z0-9.]*|\$\{FRAMELOG_TAG:-local\})$`)
	for name, s := range file.Services {
		if !pinned.MatchString(s.Image) {
			t.Errorf("%s: image %s has no version", name, s.Image)
		}
		if !s.ReadOnly && name != "redpanda" {
			t.Errorf("%s can write its root file system", name)
		}
		if !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Equal(s.SecurityOpt, []string{"no-new-privileges:true"}) {
			t.Errorf("%s keeps rights: %v %v", name, s.CapDrop, s.SecurityOpt)
		}
		if s.ContainerName != "" || len(s.Ports) > 0 && name != "nginx" && name != "grafana" {
			t.Errorf("%s cannot be scaled: name %q, ports %v", name, s.ContainerName, s.Ports)
		}
		if slices.Contains(once, name) {
			if s.Restart != "on-failure:10" {
				t.Errorf("%s would be started again and again, or never", name)
			}
			continue
		}
		if len(s.Healthcheck.Test) == 0 || s.Deploy.Resources.Limits["memory"] == "" || s.Restart != "unless-stopped" {
			t.Errorf("%s has no health check, no limit of memory, or is not started again", name)
		}
	}
}

// TestComposeIsLocal: whatever stands in .env, docker-compose.yml publishes ports on this host
// alone. In network.yml, which opens one, people have to sign in, over TLS.
func TestComposeIsLocal(t *testing.T) {
	var file, network struct{ Services map[string]service }
	decode(t, "docker-compose.yml", &file)
	for name, s := range file.Services {
		for _, port := range s.Ports {
			if !strings.HasPrefix(port, "127.0.0.1:") {
				t.Errorf("%s can be reached from other machines: %s", name, port)
			}
		}
	}
	decode(t, "deploy/compose/network.yml", &network)
	for name, s := range network.Services {
		if len(s.Ports) > 0 && name != "nginx" {
			t.Errorf("network.yml opens %s: %v", name, s.Ports)
		}
	}
	if got := network.Services["egress"].Environment["FRAMELOG_ACCESS_ENABLED"]; got != "true" {
		t.Errorf("network.yml: people need not sign in: FRAMELOG_ACCESS_ENABLED is %q", got)
	}
	site := read(t, "deploy/compose/nginx-network.conf")
	for listen := range strings.Lines(site) {
		if strings.HasPrefix(listen, "listen ") && !strings.Contains(listen, " ssl ") {
			t.Errorf("nginx-network.conf: without TLS: %s", listen)
		}
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(testenv.Root(t), name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestEnvExample: .env.example has each variable of docker-compose.yml, with its default, and
// no other. It has those of network.yml too.
func TestEnvExample(t *testing.T) {
	used := map[string]string{"COMPOSE_PROFILES": "demo,motion", "COMPOSE_FILE": "docker-compose.yml:deploy/compose/network.yml"}
	for _, file := range []string{"docker-compose.yml", "deploy/compose/network.yml"} {
		for _, m := range regexp.MustCompile(`\$\{([A-Z_]+):-([^}]*)\}`).FindAllStringSubmatch(read(t, file), -1) {
			used[m[1]] = m[2]
		}
	}
	told := map[string]string{}
	for line := range strings.Lines(read(t, ".env.example")) {
		if m := regexp.MustCompile(`^#([A-Z_]+)=(.*)\n$`).FindStringSubmatch(line); m != nil {
			told[m[1]] = m[2]
		}
	}
	for name, value := range used {
		if got, ok := told[name]; !ok || got != value {
			t.Errorf(".env.example: %s=%s, want %s", name, got, value)
		}
	}
	for name := range told {
		if _, ok := used[name]; !ok {
			t.Errorf(".env.example: %s is not used", name)
		}
	}
}
