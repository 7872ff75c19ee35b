package testenv

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/framelog/framelog/deploy/nginx"
)

// Nginx runs Debian's Nginx with the configuration of deploy/nginx in front of
// a Framelog, and returns its URL. files is where that keeps its HLS files
// (mode `always`), "" where it keeps none.
func Nginx(t testing.TB, files string, upstreams ...string) string {
	t.Helper()
	return NginxWith(t, nginx.Settings{Files: files}, upstreams...)
}

// NginxWith is Nginx with more of a site's settings. Listen and Upstreams are its own.
func NginxWith(t testing.TB, s nginx.Settings, upstreams ...string) string {
	t.Helper()
	bin := Tool(t, "nginx", "nginx-light")
	s.Files = cmp.Or(s.Files, "/nonexistent")
	dir, port := t.TempDir(), FreePort(t)
	s.Listen, s.Upstreams = fmt.Sprintf("127.0.0.1:%d", port), nil
	for _, up := range upstreams {
		u, err := url.Parse(up)
		if err != nil {
			t.Fatalf("testenv: nginx: upstream: %v", err)
		}
		s.Upstreams = append(s.Upstreams, u.Host)
	}
	if err := nginx.Write(dir, s); err != nil {
		t.Fatalf("testenv: %v", err)
	}
	directives := "daemon off;"
	if os.Getuid() == 0 {
		directives += " user root;" // else its workers could not read the test's folders
	}
	cmd := exec.CommandContext(context.Background(), bin, "-p", dir, "-e", "stderr", "-c", filepath.Join(dir, "nginx.conf"), "-g", directives)
	p := Start(t, "nginx", cmd)
	p.Wait(t, Patience, "listening", func() bool { return dials(port) })
	if s.Certificate != "" {
		return "https://" + s.Listen
	}
	return "http://" + s.Listen
}
