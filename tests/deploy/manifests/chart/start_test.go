package chart

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
)

// Framelog takes the command line, the variables and the configuration of each pod, and answers
// the probes while the brokers are away.
func TestPodsStart(t *testing.T) {
	binary := os.Getenv("FRAMELOG_TEST_BINARY")
	if binary == "" {
		t.Skip("FRAMELOG_TEST_BINARY names no framelog binary")
	}
	for name, text := range map[string]string{"most": most, "documented": documented(t)} {
		o := decode(t, text)
		config := ""
		for _, c := range o.configs {
			config += c.Data["framelog.yaml"]
		}
		for _, d := range o.deployments {
			t.Run(name+" "+d.Name, func(t *testing.T) { starts(t, binary, config, d) })
		}
	}
}

// address is that of a container's HTTP server, in its arguments.
var address = regexp.MustCompile(`^0\.0\.0\.0:(\d+)$`)

func freePort(t *testing.T) int {
	t.Helper()
	ln, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}

// starts runs what a container of d runs, on a free port.
func starts(t *testing.T, binary, config string, d *apps.Deployment) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "framelog.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	c := d.Spec.Template.Spec.Containers[0]
	var args []string
	ports := map[string]int{} // free ones, by the names of the container's
	for _, a := range c.Args {
		if m := address.FindStringSubmatch(a); m != nil {
			i := slices.IndexFunc(c.Ports, func(p core.ContainerPort) bool { return strconv.Itoa(int(p.ContainerPort)) == m[1] })
			if i < 0 {
				t.Fatalf("it listens on %s, and the container has no such port", a)
			}
			ports[c.Ports[i].Name] = freePort(t)
			a = fmt.Sprintf("0.0.0.0:%d", ports[c.Ports[i].Name])
		}
		args = append(args, strings.ReplaceAll(a, "$(POD_NAME)", "pod-1"))
	}
	probe := fmt.Sprintf("http://127.0.0.1:%d%s", ports[c.LivenessProbe.HTTPGet.Port.String()], c.LivenessProbe.HTTPGet.Path)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	var out bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &out
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}
	for _, e := range c.Env {
		v := strings.NewReplacer("$(POD_NAME)", "pod-1", "/etc/framelog", dir, "/run/secrets/framelog", dir).Replace(e.Value)
		if e.Name == "FRAMELOG_BROKERS" {
			v = "127.0.0.1:1" // nobody is there
		}
		cmd.Env = append(cmd.Env, e.Name+"="+v)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for tick := time.Tick(50 * time.Millisecond); ; {
		select {
		case err := <-ended:
			t.Fatalf("framelog %s: %v\n%s", strings.Join(args, " "), err, out.String())
		case <-tick:
		}
		resp, err := http.Get(probe)
		if err != nil {
			continue
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", probe, resp.Status)
		}
		cancel()
		<-ended
		return
	}
}
