package nginx_test

import (
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write deploy/compose/nginx.conf")

// The Nginx of docker-compose.yml has the configuration of all others, in one file that an
// ordinary user can run on a read-only file system.
const (
	composeFile = "../compose/nginx.conf"
	composeHead = `# Made of deploy/nginx/*.conf, by: go test ./deploy/nginx -run TestCompose -update

worker_processes auto;
pid /tmp/nginx.pid;
error_log stderr warn;
events { worker_connections 8192; }
http {
access_log off;
server_tokens off;
client_body_temp_path /tmp/client_body;
proxy_temp_path /tmp/proxy;
fastcgi_temp_path /tmp/fastcgi;
uwsgi_temp_path /tmp/uwsgi;
scgi_temp_path /tmp/scgi;

# Docker's DNS has an address for each container of a service. A name in a variable is looked
# up again and again.
resolver 127.0.0.11 valid=2s ipv6=off;
map "" $framelog_egress { default egress:8080; }
map "" $framelog_monitor { default monitor:9100; }
# A container that is gone does not refuse connections.
proxy_connect_timeout 2s;

# For the health check of the container.
server {
    listen 127.0.0.1:8081;
    location / { return 204; }
}

# Requests for other names than those of site.conf.
server {
    listen 8080 default_server;
    default_type application/json;
    return 421 '{"error":"this server answers on this host alone, and not as the host that the request names","remedy":"open http://localhost, or open the page to other machines: docs/deploy.md"}\n';
}

`
	composeLag = `# How far every camera is behind. Who may read metrics may read this.
location = /v1/lag {
    set $framelog_asked /metrics;
    auth_request /framelog-authorize;
    error_page 401 = @framelog_unknown;
    error_page 403 = @framelog_operators;
    error_page 500 = @framelog_undecided;
    proxy_pass http://$framelog_monitor;
}
location @framelog_operators {
    types { }
    default_type application/json;
    add_header Cache-Control no-store always;
    add_header Vary Origin always;
    add_header Cross-Origin-Resource-Policy same-origin always;
    return 403 '{"error":"this is for those who operate the server","remedy":"sign in as an administrator, or as an operator of all cameras"}\n';
}
`
)

// edits are what the Nginx of docker-compose.yml has otherwise. Each occurs once.
var edits = []struct{ old, new string }{
	// Docker's DNS is in the place of the group of servers.
	{`(?m)^upstream framelog \{\n(?:    .*\n)+\}\n\n`, ""},
	// Port, TLS and the names of this server.
	{`(?m)^    listen 80; .*\n    server_name cams\.example; .*\n`, "    include /etc/framelog/site.conf; # nginx-local.conf or nginx-network.conf\n"},
	// Framelog asks for passwords, and egress keeps no files here.
	{`(?m)^    # SITE: passwords for viewers(?:.*\n)(?:    #.*\n)+\n`, ""},
	{`(?m)^    # The directory of the files (?:.*\n)(?:    #.*\n)+    set \$framelog_files .*\n`, "    set $framelog_files /nonexistent; # egress keeps no files\n"},
	{`(?m)^    set \$framelog_scope public; .*\n`, "    set $framelog_scope private;\n"},
	{`(?m)^    include snippets/framelog-locations\.conf; .*\n`, ""}, // see compose
	// Framelog knows who may change cameras.
	{`(?m)^    # SITE: nobody adds and removes cameras (?:.*\n)+?    error_page 403 @framelog_read_only;\n`, ""},
	{`(?m)^location @framelog_read_only \{\n(?:    .*\n)+\}\n`, ""},
	{`(?m)^location /v1/ \{\n`, composeLag + "location /v1/ {\n"},
}

// compose makes the file.
func compose(t *testing.T) string {
	t.Helper()
	read := func(name string) string {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	const include = "    include snippets/framelog-locations.conf;    # SITE\n"
	conf := strings.Replace(read("framelog.conf"), include, include+read("framelog-locations.conf"), 1)
	conf = conf[strings.Index(conf, "upstream framelog {"):] // without the introduction
	for _, e := range edits {
		at := regexp.MustCompile(e.old).FindAllStringIndex(conf, -1)
		if len(at) != 1 {
			t.Fatalf("the configuration has %s %d times, want once", e.old, len(at))
		}
		conf = conf[:at[0][0]] + e.new + conf[at[0][1]:]
	}
	for old, new := range map[string]string{
		"proxy_pass http://framelog":  "proxy_pass http://$framelog_egress",
		"$proxy_add_x_forwarded_for;": "$remote_addr;", // no proxy stands in front
	} {
		if !strings.Contains(conf, old) {
			t.Fatalf("the configuration does not have %s", old)
		}
		conf = strings.ReplaceAll(conf, old, new)
	}
	return composeHead + conf + "}\n"
}

func TestCompose(t *testing.T) {
	want := compose(t)
	if *update {
		if err := os.WriteFile(composeFile, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(composeFile)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not made of the other files; run: go test ./deploy/nginx -run TestCompose -update", composeFile)
	}
}
