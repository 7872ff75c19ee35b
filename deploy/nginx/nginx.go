// Package nginx holds the Nginx configuration for a Framelog, and fills it in for
// programs that run an Nginx, such as tests.
package nginx

import (
	"embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

//go:embed framelog.conf framelog-locations.conf
var files embed.FS

// Settings are the lines of framelog.conf that a site changes.
type Settings struct {
	Listen    string   // "127.0.0.1:8081"
	Upstreams []string // "127.0.0.1:8080", each a Framelog's HTTP address
	Files     string   // absolute path of the directory of the egress's files
	// Certificate and Key are files in PEM, for TLS and HTTP/2; "": there is none.
	Certificate, Key string

	Origins []string // "https://portal.example", each a site whose pages may play cameras
}

// Write writes a complete configuration into dir. An ordinary user can run it:
// nginx -p DIR -e stderr -c DIR/nginx.conf -g 'daemon off;'. Nginx then writes only
// below dir.
func Write(dir string, s Settings) error {
	site, err := files.ReadFile("framelog.conf")
	if err != nil {
		return fmt.Errorf("nginx: read framelog.conf: %w", err)
	}
	conf := string(site)
	var upstreams strings.Builder
	for _, u := range s.Upstreams {
		fmt.Fprintf(&upstreams, "server %s;\n    ", u)
	}
	var origins strings.Builder
	for _, o := range s.Origins {
		fmt.Fprintf(&origins, "%q $http_origin;\n    ", o)
	}
	for _, line := range []struct{ old, new string }{
		{`# "https://portal.example" $http_origin;`, origins.String() + "#"},
		{"server 127.0.0.1:8080;", upstreams.String()},
		{"proxy_cache_path /var/cache/nginx/framelog", "proxy_cache_path " + filepath.Join(dir, "cache")},
		{"listen 80;", "listen " + s.Listen + ";"},
		{"/var/lib/framelog/hls;", s.Files + ";"},
		{"include snippets/framelog-locations.conf;", "include " + filepath.Join(dir, "framelog-locations.conf") + ";"},
	} {
		if strings.Count(conf, line.old) != 1 {
			return fmt.Errorf("nginx: framelog.conf has %q %d times, want once", line.old, strings.Count(conf, line.old))
		}
		conf = strings.Replace(conf, line.old, line.new, 1)
	}
	if s.Certificate != "" {
		listen := "listen " + s.Listen
		conf = strings.Replace(conf, listen+";", fmt.Sprintf("%s ssl http2;\n    ssl_certificate %s;\n    ssl_certificate_key %s;", listen, s.Certificate, s.Key), 1)
	}
	locations, err := files.ReadFile("framelog-locations.conf")
	if err != nil {
		return fmt.Errorf("nginx: read framelog-locations.conf: %w", err)
	}
	var main strings.Builder
	fmt.Fprintf(&main, "worker_processes 1;\npid %s;\nevents { worker_connections 1024; }\nhttp {\n    access_log off;\n", filepath.Join(dir, "nginx.pid"))
	for _, temp := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&main, "    %s_temp_path %s;\n", temp, filepath.Join(dir, "temp-"+temp))
	}
	fmt.Fprintf(&main, "    include %s;\n}\n", filepath.Join(dir, "framelog.conf"))
	for name, text := range map[string]string{
		"framelog.conf": conf, "framelog-locations.conf": string(locations), "nginx.conf": main.String(),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return fmt.Errorf("nginx: write configuration: %w", err)
		}
	}
	return nil
}
