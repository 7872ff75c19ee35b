package secrets

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/framelog/framelog/schemas"
)

// canary is in every literal password here: no error may repeat it.
const canary = "c4n4ry"

// ofFile is a camera of a configuration file, which may refer to all secrets.
func ofFile(url string) schemas.Camera {
	return schemas.Camera{ID: "door", URL: url, Source: schemas.SourceFile}
}

var checks = []struct {
	url  string
	want error // nil: taken
}{
	{"rtsp://10.0.0.5/", nil},
	{"rtsp://10.0.0.5:554/stream1?channel=1&subtype=0", nil},
	{"rtsps://cam.example:322/live", nil},
	{"RTSP://cam.example/live", nil},
	{"rtsp://[2001:db8::1]:554/live", nil},
	{"rtsp://viewer:${FRAMELOG_SECRET_FRONT_DOOR}@10.0.0.5:554/stream1", nil},
	{"rtsp://${FRAMELOG_SECRET_USER}:${file:front-door}@10.0.0.5", nil},
	{"rtsp://${file:front-door}@10.0.0.5/", nil},
	{"rtsp://viewer@10.0.0.5/", nil},
	{"rtsp://viewer:@10.0.0.5/", nil},
	{"rtsp://a@b:${file:x}@10.0.0.5/", nil},
	{"rtsp://10.0.0.5:554/live@main", nil},
	{"rtsp://10.0.0.5/?x=a:b@c", nil},
	{"rtsp://10.0.0.5?x=a:b@c", nil},
	{"rtsp://camera/?x=a:b@c", nil},
	{"rtsp://[2001:db8::1]:554/live@main", nil},
	{"rtsp://localhost:8554/live@main", nil},
	{"rtsp://cam.example/#a:b@c", nil},
	{"rtsp://viewer:${file:x}@camera:554/live@main", nil},
	{"rtsp://viewer@10.0.0.5:554/live@main", nil},
	{"rtsp://cam.example/live@main", nil},
	{"rtsp://viewer@cam.example/live@main", nil},
	{"rtsp://viewer:${file:x}@cam.example:554/live@main", nil},
	{"rtsp://cam.example:554/live%40main", nil},

	{"", errScheme},
	{"http://10.0.0.5/", errScheme},
	{"10.0.0.5", errScheme},
	{"rtsp:/10.0.0.5/", errScheme},
	{"rtsp://", errHost},
	{"rtsp:///path", errHost},
	{"rtsp://viewer:${file:x}@/path", errHost},
	{"rtsp://host:0/", errHost},
	{"rtsp://host:65536/", errHost},
	{"rtsp://host:/", errHost},
	{"rtsp://host/%zz", errHost},
	{"rtsp://ho st/", errSpace},
	{"rtsp://host/\x00", errSpace},
	{"rtsp://viewer:" + canary + "@host/", errLiteral},
	{"rtsp://viewer:" + canary + "@" + canary + "@host/", errLiteral},
	{"rtsp://viewer:" + canary + "/x@host/", errAt},
	{"rtsp://viewer:12/" + canary + "@host/", errAt},
	{"rtsp://viewer:12#" + canary + "@host/", errAt},
	{"rtsp://viewer:12?" + canary + "@10.0.0.5:554/", errAt},
	{"rtsp://viewer:" + canary + "@" + canary + "/" + canary + "@10.0.0.5/", errAt},
	{"rtsp://viewer:${file:x}@:1/a@b", errAt},
	{"rtsp://john.doe:2024/" + canary + "@10.0.0.5/s", errAt},
	{"rtsp://john.doe:2024?" + canary + "@10.0.0.5/s", errAt},
	{"rtsp://john.doe:2024#" + canary + "@10.0.0.5/s", errAt},
	{"rtsp://ann@mail.example:2024/" + canary + "@10.0.0.5/s", errAt},
	{"rtsp://ann:" + canary + "@" + canary + ".x/" + canary + "@10.0.0.5/s", errAt},
	{"rtsp://ann:" + canary + "@1.2:34/" + canary + "@10.0.0.5/s", errAt},
	{"rtsp://viewer:" + canary + "@10.0.0.5/live@main", errLiteral},
	{"rtsp://viewer:" + canary + "/x", errHost},
	{"rtsp://viewer:" + canary + "${file:x}@host/", errMixed},
	{"rtsp://viewer:${file:x}" + canary + "@host/", errMixed},
	{"rtsp://viewer:${file:x}${file:y}@host/", errMixed},
	{"rtsp://viewer:${file:x@host/", errOpen},
	{"rtsp://viewer:${" + canary + "}@host/", errNoName},
	{"rtsp://viewer:${HOME}@host/", errNoName},
	{"rtsp://viewer:${FRAMELOG_SECRET_}@host/", errNoName},
	{"rtsp://viewer:${file:}@host/", errNoName},
	{"rtsp://viewer:${file:.}@host/", errNoName},
	{"rtsp://viewer:${file:..}@host/", errNoName},
	{"rtsp://viewer:${file:../etc/passwd}@host/", errNoName},
	{"rtsp://viewer:${file:a/b}@host/", errNoName},
	{"rtsp://${FRAMELOG_SECRET_HOST}/", errElsewhere},
	{"rtsp://u:${file:x}@${file:y}/", errElsewhere},
	{"rtsp://host/#${FRAMELOG_SECRET_X}", errElsewhere},
	{"rtsp://host:${file:x}/", errElsewhere},
	{"rtsp://host${file:x}/", errElsewhere},
	{"rtsp://${file:x}?a", errElsewhere},
	{"rtsp://host\\${file:x}/", errElsewhere},
}

// pathChecks are passwords in path and query, and references there.
var pathChecks = []struct {
	url  string
	want error
}{
	{"rtsp://host/?key=${FRAMELOG_SECRET_X}", nil},
	{"rtsps://host:7441/${file:door}?enableSrtp", nil},
	{"rtsp://host/user=admin&password=${file:door}&channel=1&stream=0.sdp?real_stream", nil},
	{"rtsp://host/user=admin_password=${file:door}_channel=1_stream=0.sdp?real_stream", nil},
	{"rtsp://host/user=admin&password=&channel=1", nil},
	{"rtsp://host/11?user=${FRAMELOG_SECRET_U}&pwd=${FRAMELOG_SECRET_P}", nil},
	{"rtsp://host?pwd=${file:door}", nil},
	{"rtsp://u:${file:door}@host/?pwd=${file:door}", nil},
	{"rtsp://host/compass=1&bypass=2&pw1=3", nil},

	{"rtsp://host/user=admin&password=" + canary + "&channel=1", errInPath},
	{"rtsp://host/user=admin_password=" + canary + "_channel=1_stream=0.sdp", errInPath},
	{"rtsp://host/user%3Dadmin%26password%3D" + canary + "%26channel%3D1", errInPath},
	{"rtsp://host/11?user=admin&pwd=" + canary, errInPath},
	{"rtsp://host/11?loginuse=admin&loginpas=" + canary, errInPath},
	{"rtsp://host/11?PASS=" + canary, errInPath},
	{"rtsp://host/a/passwd=" + canary + "/b", errInPath},
	{"rtsp://host/?pw=" + canary, errInPath},
	{"rtsp://host/?token=" + canary, errInPath},
	{"rtsp://host/?userPassword=" + canary, errInPath},
	{"rtsp://host/?pwd=${file:door}" + canary, errInPath},
	{"rtsp://host/?pwd=${file:door}&pass=" + canary, errInPath},
	{"rtsp://host/?pwd=${file:door", errOpen},
	{"rtsp://host/?pwd=${" + canary + "}", errNoName},
	{"rtsp://host/${file:../x}", errNoName},
	{"rtsp://host/?a#b${file:door}", errElsewhere},
}

func TestCheck(t *testing.T) {
	checks := append(checks, pathChecks...)
	for _, tt := range checks {
		err := Check(tt.url)
		if !errors.Is(err, tt.want) {
			t.Errorf("Check(%q) = %v, want %v", tt.url, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), canary) {
			t.Errorf("Check(%q): the error holds the password: %v", tt.url, err)
		}
		if err != nil && !strings.HasPrefix(err.Error(), "url: ") {
			t.Errorf("Check(%q): the error does not begin with what is wrong: %v", tt.url, err)
		}
	}
}

func TestCheckAPI(t *testing.T) {
	for url, ok := range map[string]bool{
		"rtsp://host/":                            true,
		"rtsp://u:${file:door}@host/":             true,
		"rtsp://${file:door}@host/":               true,
		"rtsp://u:${file:gate}@host/":             false,
		"rtsp://u:${FRAMELOG_SECRET_DOOR}@host/":  false,
		"rtsp://${file:gate}:${file:door}@host/":  false,
		"rtsp://u:" + canary + "@host/":           false,
		"rtsp://${FRAMELOG_SECRET_DOOR}:@host/":   false,
		"rtsp://${file:door}:${file:door}@host/x": true,
		"rtsp://host/?pwd=${file:door}":           true,
		"rtsp://host/?pwd=${file:gate}":           false,
		"rtsp://host/${FRAMELOG_SECRET_DOOR}":     false,
		"rtsp://u:${file:door}@host/${file:gate}": false,
		"rtsp://host/?pwd=" + canary:              false,
	} {
		if err := CheckAPI("door", url); (err == nil) != ok {
			t.Errorf("CheckAPI(%q) = %v, want taken: %v", url, err, ok)
		}
	}
}

func TestResolve(t *testing.T) {
	dir := t.TempDir()
	odd := `p@ss/w:o#r?d%20 ${file:x} "ü`
	if err := store(dir, "door", "rtsp://h/", odd); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("both", "ann:s:3\n")
	write("dos", "abc\r\n")
	write("signs", "a+b=c!$'()*,-._~&;%\n")
	write("empty", "\n")
	write("lines", canary+"\n"+canary)
	write("long", strings.Repeat("x", maxSecret+1))
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte(canary), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "escape")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("dos", filepath.Join(dir, "link")); err != nil { // as Kubernetes does
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := Resolver{Dir: dir, LookupEnv: func(k string) (string, bool) {
		v, ok := map[string]string{"FRAMELOG_SECRET_X": odd, "FRAMELOG_SECRET_NONE": ""}[k]
		return v, ok
	}}
	for _, tt := range []struct{ url, bare, user, password, fails string }{
		{url: "rtsp://h/p?q#f", bare: "rtsp://h/p?q#f"},
		{url: "rtsp://10.0.0.5:554/live@main?x=a:b@c", bare: "rtsp://10.0.0.5:554/live@main?x=a:b@c"},
		{url: "rtsp://u:${file:door}@h/a@b", bare: "rtsp://h/a@b", user: "u", password: odd},
		{url: "RTSPS://h:322/p", bare: "rtsps://h:322/p"},
		{url: "rtsp://u:${file:door}@h:554/p", bare: "rtsp://h:554/p", user: "u", password: odd},
		{url: "rtsp://u:${FRAMELOG_SECRET_X}@h/p", bare: "rtsp://h/p", user: "u", password: odd},
		{url: "rtsp://${file:both}@h/p", bare: "rtsp://h/p", user: "ann", password: "s:3"},
		{url: "rtsp://${file:both}:${file:dos}@h/p", bare: "rtsp://h/p", user: "ann:s:3", password: "abc"},
		{url: "rtsp://u:${file:link}@h/p", bare: "rtsp://h/p", user: "u", password: "abc"},
		{url: "rtsp://a%40b:${file:dos}@h/p", bare: "rtsp://h/p", user: "a@b", password: "abc"},
		{url: "rtsp://100%:${file:dos}@h/p", bare: "rtsp://h/p", user: "100%", password: "abc"},
		{url: "rtsp://h/user=a&password=${file:dos}&x=1?y", bare: "rtsp://h/user=a&password=abc&x=1?y"},
		{url: "rtsp://u:${file:dos}@h/${file:link}?pwd=${file:dos}#f", bare: "rtsp://h/abc?pwd=abc#f", user: "u", password: "abc"},
		{url: "rtsp://h/${file:door}/x", bare: "rtsp://h/p%40ss%2Fw%3Ao%23r%3Fd%2520%20$%7Bfile%3Ax%7D%20%22%C3%BC/x"},
		{url: "rtsp://h/${file:signs}", bare: "rtsp://h/a+b=c!$'()*,-._~%26%3B%25"},
		{url: "rtsp://h/?pwd=${file:signs}", bare: "rtsp://h/?pwd=a%2Bb=c!$'()*,-._~%26%3B%25"},
		{url: "rtsp://h/${file:nothing}", fails: "secret ${file:nothing}: no such file"},
		{url: "rtsp://h/?pwd=" + canary, fails: "password in the clear"},
		{url: "rtsp://u:${file:nothing}@h/p", fails: "secret ${file:nothing}: no such file"},
		{url: "rtsp://u:${file:empty}@h/p", fails: "secret ${file:empty} is empty"},
		{url: "rtsp://u:${file:lines}@h/p", fails: "secret ${file:lines} has more than one line"},
		{url: "rtsp://u:${file:long}@h/p", fails: "secret ${file:long} is longer"},
		{url: "rtsp://u:${file:escape}@h/p", fails: "secret ${file:escape}: "},
		{url: "rtsp://u:${file:folder}@h/p", fails: "secret ${file:folder}: not a regular file"},
		{url: "rtsp://u:${file:pipe}@h/p", fails: "secret ${file:pipe}: not a regular file"},
		{url: "rtsp://u:${FRAMELOG_SECRET_Y}@h/p", fails: "secret ${FRAMELOG_SECRET_Y}: this environment variable is not set"},
		{url: "rtsp://u:${FRAMELOG_SECRET_NONE}@h/p", fails: "secret ${FRAMELOG_SECRET_NONE} is empty"},
		{url: "rtsp://u:" + canary + "@h/p", fails: "password in the clear"},
	} {
		bare, user, password, err := r.Resolve(t.Context(), ofFile(tt.url))
		if tt.fails != "" {
			if err == nil || !strings.Contains(err.Error(), tt.fails) || strings.Contains(err.Error(), canary) {
				t.Errorf("Resolve(%q): error %v, want one with %q", tt.url, err, tt.fails)
			}
			continue
		}
		if err != nil || bare != tt.bare || user != tt.user || password != tt.password {
			t.Errorf("Resolve(%q) = %q, %q, %q, %v", tt.url, bare, user, password, err)
		}
	}
	if _, _, _, err := (Resolver{}).Resolve(t.Context(), ofFile("rtsp://u:${file:door}@h/")); err == nil {
		t.Error("a file was found without a directory")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, _, err := r.Resolve(ctx, ofFile("rtsp://h/")); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of its context: %v", err)
	}
}

var extracts = []struct{ url, clean, password string }{
	{"rtsp://h/p", "rtsp://h/p", ""},
	{"rtsp://u@h/p", "rtsp://u@h/p", ""},
	{"rtsp://u:@h/p", "rtsp://u:@h/p", ""},
	{"rtsp://u:pw@h:554/p?a=b", "rtsp://u:${file:door}@h:554/p?a=b", "pw"},
	{"rtsp://u:p@s:w%d@h/p", "rtsp://u:${file:door}@h/p", "p@s:w%d"},
	{"rtsp://u:p%40s%2Fs%3Aw%3Fo%23r%25d@h/p", "rtsp://u:${file:door}@h/p", "p@s/s:w?o#r%d"},
	{"rtsp://10.0.0.5:554/live@main", "rtsp://10.0.0.5:554/live@main", ""},
	{"rtsp://10.0.0.5:554?x=a:b@c", "rtsp://10.0.0.5:554?x=a:b@c", ""},
	{"rtsp://u:pw@10.0.0.5:554/live@main?a:b@c", "rtsp://u:${file:door}@10.0.0.5:554/live@main?a:b@c", "pw"},
	{"rtsp://u:p@w@10.0.0.5/a@b", "rtsp://u:${file:door}@10.0.0.5/a@b", "p@w"},
	{"rtsp://u:p%40ss@h/p", "rtsp://u:${file:door}@h/p", "p@ss"},
	{"rtsp://u:100%@h/p", "rtsp://u:${file:door}@h/p", "100%"},
	{"rtsp://:pw@h/p", "rtsp://:${file:door}@h/p", "pw"},
	{"rtsp://u:${file:door}@h/p", "rtsp://u:${file:door}@h/p", ""},
	{"rtsp://u:${FRAMELOG_SECRET_X}@h/p", "rtsp://u:${FRAMELOG_SECRET_X}@h/p", ""},
}

// pathExtracts are those of passwords in path and query.
var pathExtracts = []struct{ url, clean, password string }{
	{"rtsp://h/user=admin&password=pw&channel=1&stream=0.sdp?real_stream", "rtsp://h/user=admin&password=${file:door}&channel=1&stream=0.sdp?real_stream", "pw"},
	{"rtsp://h/user=admin_password=p_w_channel=1_stream=0.sdp?x", "rtsp://h/user=admin_password=${file:door}_channel=1_stream=0.sdp?x", "p_w"},
	{"rtsp://h/user%3Da%26password%3Dpw%26channel%3D1", "rtsp://h/user%3Da%26password%3D${file:door}%26channel%3D1", "pw"},
	{"rtsp://h/11?user=a&pwd=p%26w%40+/?&b=c", "rtsp://h/11?user=a&pwd=${file:door}&b=c", "p&w@+/?"},
	{"rtsp://h/user=a&password=p@w&c=1", "rtsp://h/user=a&password=${file:door}&c=1", "p@w"},
	{"rtsp://h/11?auth=YWI6Yw==#x", "rtsp://h/11?auth=${file:door}#x", "YWI6Yw=="},
	{"rtsp://h/11?pwd=100%&b", "rtsp://h/11?pwd=${file:door}&b", "100%"},
	{"rtsp://u:pw@h/?pwd=pw", "rtsp://u:${file:door}@h/?pwd=${file:door}", "pw"},
	{"rtsp://u:${file:gate}@h/?pwd=pw", "rtsp://u:${file:gate}@h/?pwd=${file:door}", "pw"},
	{"rtsp://h/?user=a&pwd=&b", "rtsp://h/?user=a&pwd=&b", ""},
	{"rtsp://h/?pwd=${file:door}", "rtsp://h/?pwd=${file:door}", ""},
}

// What is extracted is sent to the camera as it was typed.
func TestExtractAndResolve(t *testing.T) {
	dir := t.TempDir()
	for _, url := range []string{
		"rtsp://h/user=admin&password=a!b$c'(d)*e,f-g.h_i~j=k+l&channel=1", "rtsp://h/user=a_password=p_w_channel=1",
		"rtsp://h/11?pwd=p%26w%40%2B%2F%3F%25%20&b=c", "rtsp://h/x?auth=YWI6Yw==",
	} {
		clean, password, err := Extract(url, "door")
		if err != nil || strings.Contains(clean, password) {
			t.Fatalf("%q: %q, %v", url, clean, err)
		}
		if err := store(dir, "door", "rtsp://h/", password); err != nil {
			t.Fatal(err)
		}
		if bare, _, _, err := (Resolver{Dir: dir}).Resolve(t.Context(), ofFile(clean)); err != nil || bare != url {
			t.Errorf("%q becomes %q, %v", url, bare, err)
		}
	}
}

func TestExtractRefuses(t *testing.T) {
	for url, want := range map[string]error{
		"rtsp://u:" + canary + "@h/?pwd=other":              errTwo,
		"rtsp://h/?pwd=" + canary + "&token=other":          errTwo,
		"rtsp://u:${file:door}@h/?pwd=" + canary:            errTwo,
		"rtsp://u:" + canary + "@h/?pwd=${file:door}":       errTwo,
		"rtsp://h:554/?pwd=" + canary + "@" + canary:        errAt,
		"rtsp://u:" + canary + "/" + canary + "@10.0.0.5/p": errAt,
		"rtsp://u:" + canary + "?" + canary + "@h/p":        errAt,
		"rtsp://u:1#" + canary + "@h/p":                     errAt,
		"rtsp://john.doe:2024/" + canary + "@10.0.0.5/s":    errAt,
		"rtsp://h/?pwd=" + canary + "${file:gate}":          errMixed,
		"rtsp://h/?pwd=***":                                 errMasked,
		"rtsp://***@h/":                                     errMasked,
	} {
		_, _, err := Extract(url, "door")
		if !errors.Is(err, want) || strings.Contains(err.Error(), canary) {
			t.Errorf("Extract(%q): %v, want %v", url, err, want)
		}
	}
}

func TestPublic(t *testing.T) {
	for url, want := range map[string]string{
		"rtsp://u:${file:x}@10.0.0.5:554/a?b=c#e":    "rtsp://***@10.0.0.5:554/a?b=c#e",
		"rtsp://u:${file:x}@10.0.0.5/live@main":      "rtsp://***@10.0.0.5/live@main",
		"rtsp://10.0.0.5:554/live@main?x=a:b@c":      "rtsp://10.0.0.5:554/live@main?x=a:b@c",
		"rtsps://h/user=a&password=${file:x}&c=1":    "rtsps://h/user=a&password=${file:x}&c=1",
		"rtsp://u:" + canary + "@h/p":                "rtsp://***@h/p",
		"rtsp://u:" + canary + "/@10.0.0.5/p":        "rtsp://***@10.0.0.5/p",
		"rtsp://10.0.0.5/?pwd=" + canary:             "rtsp://10.0.0.5/?pwd=***",
		"rtsp://u:1/" + canary + "@camera/live@main": "rtsp://***@main",
		"rtsp://john.doe:1/" + canary + "@10.0.0.5/": "rtsp://***@10.0.0.5/",
	} {
		if got := Public(url); got != want {
			t.Errorf("Public(%q) = %q, want %q", url, got, want)
		}
	}
}

func TestRestore(t *testing.T) {
	const old = "rtsp://u:${file:x}@Cam.example/live?a=b"
	for _, tt := range []struct {
		shown, old, want string
		fails            error
	}{
		{shown: Public(old), old: old, want: old},
		{shown: "rtsp://***@cam.example:554/other@x?c", old: old, want: "rtsp://u:${file:x}@cam.example:554/other@x?c"},
		{shown: "rtsp://***@cam.example:555/live", old: old, fails: errMoved},
		{shown: "rtsps://***@cam.example/live", old: old, fails: errMoved}, // port 322
		{shown: "rtsp://***@evil.example/live", old: old, fails: errMoved},
		{shown: "rtsp://***@cam.example:x/live", old: old, fails: errHost},
		{shown: "rtsp://***@cam.example/", old: "rtsp://cam.example/", want: "rtsp://***@cam.example/"},
		{shown: "rtsp://u:***@cam.example/", old: old, want: "rtsp://u:***@cam.example/"},
		{shown: "rtsp://v:new@evil.example/", old: old, want: "rtsp://v:new@evil.example/"},
		{shown: "rtsp://cam.example/", old: old, want: "rtsp://cam.example/"},
		{shown: "http://***@cam.example/", old: old, want: "http://***@cam.example/"},
	} {
		if got, err := Restore(tt.shown, tt.old); got != tt.want || !errors.Is(err, tt.fails) {
			t.Errorf("Restore(%q) = %q, %v, want %q, %v", tt.shown, got, err, tt.want, tt.fails)
		}
	}
}

func TestSite(t *testing.T) {
	for url, want := range map[string]string{
		"rtsp://u:${file:x}@Cam.example/a": "cam.example:554", "rtsps://cam.example?b": "cam.example:322",
		"rtsp://cam.example:8554": "cam.example:8554", "rtsp://[2001:DB8::1]/a@b": "[2001:db8::1]:554",
	} {
		if got, err := Site(url); got != want || err != nil {
			t.Errorf("Site(%q) = %q, %v, want %q", url, got, err, want)
		}
	}
}

func TestShown(t *testing.T) {
	for url, want := range map[string]string{
		"rtsp://u:${file:x}@10.0.0.5:554/a/b?c=d#e":          "10.0.0.5:554/a/b",
		"rtsps://h/user=a&password=${file:x}&c=1?y${file:z}": "h/user=a&password=${file:x}&c=1",
		"rtsp://h":                        "h",
		"rtsp://10.0.0.5:554/live@main":   "10.0.0.5:554/live@main",
		"rtsp://h/?pwd=" + canary:         "",
		"rtsp://u:" + canary + "@h/p":     "",
		"rtsp://h?a=${FRAMELOG_SECRET_X}": "h",
	} {
		if got := Shown(url); got != want {
			t.Errorf("Shown(%q) = %q, want %q", url, got, want)
		}
	}
}

func TestExtract(t *testing.T) {
	extracts := append(extracts, pathExtracts...)
	for _, tt := range extracts {
		clean, password, err := Extract(tt.url, "door")
		if err != nil || clean != tt.clean || password != tt.password {
			t.Errorf("Extract(%q) = %q, %q, %v", tt.url, clean, password, err)
		}
	}
	for _, bad := range []string{"", "http://u:" + canary + "@h/", "rtsp://u:" + canary + "@", "rtsp://u:" + canary + "@h:x/", "rtsp://u s:" + canary + "@h/"} {
		if _, _, err := Extract(bad, "door"); err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("Extract(%q): %v", bad, err)
		}
	}
	if _, _, err := Extract("rtsp://u:p@h/", "No Id"); err == nil {
		t.Error("a bad id was taken")
	}
}

func TestRedact(t *testing.T) {
	for in, want := range map[string]string{
		"nothing here":                          "nothing here",
		"rtsp://host/p":                         "rtsp://host/p",
		"dial rtsp://u:c4n4ry@host/p: refused":  "dial rtsp://***@host/p: refused",
		"RTSPS://u:c4n@4ry/x@host/p and a@b":    "RTSPS://***@host/p and a@b",
		`{"url":"rtsp://u:c4n4ry@host/p"}`:      `{"url":"rtsp://***@host/p"}`,
		"rtsp://host/user=a&password=c4n4ry&x=": "rtsp://host/user=a&password=***&x=",
		"rtsp://a:c4n4ry@h rtsp://b:c4n4ry@i":   "rtsp://***@h rtsp://***@i",
		"rtsp://h/user=a_password=c4n4ry_c=1 x": "rtsp://h/user=a_password=*** x",
		"rtsp://h/u%3Da%26passwd%3Dc4n4ry%26":   "rtsp://h/u%3Da%26passwd%3D***",
		"GET /?loginpas=c4n4ry&token=c4n4ry ok": "GET /?loginpas=***&token=*** ok",
		"rtsp://h/user=a&password=c4n@4ry&x":    "rtsp://***&x",
		"rtsp://u:p@h/?pwd=c4n4ry":              "rtsp://***@h/?pwd=***",
		"rtsp://h/?pwd=${file:door}&a":          "rtsp://h/?pwd=${file:door}&a",
		"pwd=":                                  "pwd=",
		"pwd=c4n4ry":                            "pwd=***",
	} {
		if got := Redact(in); got != want {
			t.Errorf("Redact(%q) = %q, want %q", in, got, want)
		}
	}
}

// FuzzCheck holds Check, Resolve and Extract to each other: what Check takes
// resolves, and what Extract gives passes Check and resolves to the password.
func FuzzCheck(f *testing.F) {
	for _, tt := range checks {
		f.Add(tt.url)
	}
	for _, tt := range append(extracts, pathExtracts...) {
		f.Add(tt.url)
	}
	for _, tt := range pathChecks {
		f.Add(tt.url)
	}
	const secret = `s/3@c:r#3?t%&;\ [x]+${file:x}`
	r := Resolver{LookupEnv: func(string) (string, bool) { return secret, true }}
	plainly := Resolver{LookupEnv: func(string) (string, bool) { return "x", true }}
	f.Fuzz(func(t *testing.T, raw string) {
		err := Check(raw)
		bare, _, password, rerr := r.Resolve(t.Context(), ofFile(raw))
		if err == nil && rerr != nil && !strings.Contains(rerr.Error(), "${file:") {
			t.Errorf("taken, and then: %v", rerr)
		}
		if err != nil && rerr == nil {
			t.Errorf("refused (%v), and yet resolved", err)
		}
		if rerr == nil {
			if strings.Contains(bare, "${") {
				t.Errorf("a reference is left in %q", bare)
			}
			if !strings.HasSuffix(secret, password) {
				t.Errorf("password %q came from nowhere", password)
			}
			// What a secret holds changes neither the host nor how many values
			// there are.
			same, _, _, err := plainly.Resolve(t.Context(), ofFile(raw))
			if err != nil {
				t.Fatal(err)
			}
			a, errA := parse(bare)
			b, errB := parse(same)
			if errA != nil || errB != nil || a != b {
				t.Errorf("%q and %q: %+v and %+v (%v, %v)", bare, same, a, b, errA, errB)
			}
			if strings.Contains(Shown(raw), secret) || Shown(raw) == "" {
				t.Errorf("shown as %q", Shown(raw))
			}
		}
		clean, password, err := Extract(raw, "door")
		if err != nil {
			return
		}
		if err := Check(clean); err != nil {
			t.Errorf("extracted %q: %v", clean, err)
		}
		if again, p, err := Extract(clean, "door"); err != nil || p != "" || again != clean {
			t.Errorf("extracted again: %q, %q, %v", again, p, err)
		}
		_ = password
	})
}

// shape is what a URL is made of.
type shape struct {
	scheme, host                         string
	slashes, ands, semicolons, questions int
	fragment                             string
}

func parse(raw string) (shape, error) {
	u, err := url.Parse(raw)
	if err != nil || u.User != nil {
		return shape{}, fmt.Errorf("user %v: %w", u.User != nil, err)
	}
	n := func(sep string) int { return strings.Count(raw, sep) }
	return shape{u.Scheme, u.Host, n("/"), n("&"), n(";"), n("?"), u.Fragment}, nil
}

// FuzzRedact: nothing between :// and the last @ of a word is left.
func FuzzRedact(f *testing.F) {
	f.Add("u", "c4n4ry", "host/path")
	f.Add("u", "p@s/s", "h")
	f.Fuzz(func(t *testing.T, user, password, rest string) {
		if strings.ContainsFunc(user+password, func(r rune) bool { return strings.ContainsRune(" \t\n\v\f\r", r) }) {
			return
		}
		secret := "⟦" + password + "⟧"
		if got := Redact("error of rtsp://" + user + ":" + secret + "@" + rest); strings.Contains(got, secret) && !strings.Contains(rest, secret) {
			t.Errorf("left in %q", got)
		}
	})
}
