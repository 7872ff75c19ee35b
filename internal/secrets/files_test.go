package secrets

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/framelog/framelog/schemas"
)

// store is Store without its undo.
func store(dir, id, rawURL, password string) error {
	_, err := Store(dir, schemas.Camera{ID: id, URL: rawURL}, password)
	return err
}

// TestStoreUndo: what was there before is there again, unless somebody else has
// changed it.
func TestStoreUndo(t *testing.T) {
	dir := t.TempDir()
	is := func(want string) {
		t.Helper()
		got, err := os.ReadFile(filepath.Join(dir, "door"))
		if string(got) != want || (err != nil) != (want == "") {
			t.Errorf("there is %q, %v, want %q", got, err, want)
		}
	}
	keep := func(host, password string) (undo func()) {
		t.Helper()
		f, err := Store(dir, schemas.Camera{ID: "door", URL: "rtsp://" + host + "/"}, password)
		if err != nil {
			t.Fatal(err)
		}
		return func() {
			t.Helper()
			if err := f(); err != nil {
				t.Error(err)
			}
		}
	}
	keep("a", "first")()
	is("")
	const first = "for a:554, kept by Framelog\nfirst\n"
	keep("a", "first")
	keep("b", "second")()
	is(first)
	keep("a", "other")()
	is(first)
	undo := keep("b", "second")
	keep("c", "third")
	undo() // not any more
	is("for c:554, kept by Framelog\nthird\nfor b:554, kept by Framelog\nsecond\n" + first)
	undo = keep("d", "fourth")
	if _, err := Forget(dir, "door", nil); err != nil {
		t.Fatal(err)
	}
	undo()
	is("")
}

func TestStore(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "secrets")
	for _, password := range []string{"first", "second"} { // over an older one
		if err := store(dir, "door", "rtsp://h/", password); err != nil {
			t.Fatal(err)
		}
		u, err := Resolver{Dir: dir}.Resolve(t.Context(), ofFile(t, "rtsp://u:${file:door}@h/"))
		if err != nil || u.User.String() != "u:"+password {
			t.Errorf("got %v, %v, want %q", u, err, password)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Fatalf("directory holds %v, %v", entries, err)
	}
	for path, want := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, "door"): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, want mode %o", path, info.Mode(), err, want)
		}
	}
	for _, bad := range [][2]string{{"../x", "p"}, {"", "p"}, {"door", ""}, {"door", canary + "\n"}, {"door", strings.Repeat(canary, 1000)}} {
		if err := store(dir, bad[0], "rtsp://h/", bad[1]); err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("Store(%q): %v", bad[0], err)
		}
	}
	for _, want := range []bool{true, false} {
		if got, err := Forget(dir, "door", nil); got != want || err != nil {
			t.Errorf("forgotten: %v, %v, want %v", got, err, want)
		}
	}
}

// TestHandMade: what Store has not written it neither replaces nor removes.
func TestHandMade(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"plain": canary + "\n", "bound": "for h:554\n" + canary, "empty": "", "almost": "for h, kept by Framelog\n" + canary, "more": "for h:554, kept by Framelog\n" + canary + "\nmine\n", "folder": ""} {
		path := filepath.Join(dir, name)
		if name != "folder" {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := store(dir, name, "rtsp://h/", "new"); !errors.Is(err, ErrHandMade) {
			t.Errorf("%s: stored: %v", name, err)
		}
		if gone, err := Forget(dir, name, nil); gone || err != nil {
			t.Errorf("%s: forgotten: %v, %v", name, gone, err)
		}
		if name == "folder" {
			continue
		}
		if b, err := os.ReadFile(path); err != nil || string(b) != text {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
}

// apiCamera is a camera of the API.
func apiCamera(t *testing.T, id, url string, insecure bool) schemas.Camera {
	t.Helper()
	cam := schemas.Camera{ID: id, URL: url, InsecureTLS: insecure, Source: schemas.SourceAPI}
	if _, err := Split(&cam, schemas.Camera{}); err != nil {
		t.Fatalf("%s: %v", url, err)
	}
	return cam
}

// TestBound: a secret goes to the host and port that its file or this machine's
// configuration names, whatever a record says, and of whatever source.
func TestBound(t *testing.T) {
	dir := t.TempDir()
	if err := store(dir, "kept", "rtsp://Cam.example/1", canary); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"plain": canary + "\n", "made": "for cam.example:554\r\n" + canary + "\r\n", "v6": "for [2001:DB8::1]:554\n" + canary,
		"two": "for a:1\n" + canary + "\nfor cam.example:554\n" + canary + "\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	local := []string{
		"rtsp://u:${file:plain}@local.example/", "rtsp://local.example:8554/?pwd=${FRAMELOG_SECRET_X}",
		"rtsp://u:${file:kept}@local.example/", "rtsps://u:${FRAMELOG_SECRET_TLS}@local.example/",
	}
	r := Resolver{Dir: dir, LookupEnv: func(string) (string, bool) { return canary, true }}
	for _, url := range local {
		r.Cameras = append(r.Cameras, ofFile(t, url))
	}
	const api, file = "api", "file"
	for _, tt := range []struct{ sources, id, url, fails string }{
		{api + file, "kept", "rtsp://u:${file:kept}@cam.example:554/2", ""},
		{api + file, "kept", "rtsp://cam.example/?pwd=${file:kept}", ""},
		{api + file, "made", "rtsp://u:${file:made}@CAM.example/", ""},
		{api + file, "two", "rtsp://u:${file:two}@CAM.example/", ""},
		{api + file, "v6", "rtsp://u:${file:v6}@[2001:db8::1]/", ""},
		{api + file, "kept", "rtsp://u:${file:kept}@evil.example/1", "not for evil.example:554"},
		{api + file, "kept", "rtsp://u:${file:kept}@cam.example:555/1", "not for cam.example:555"},
		{api + file, "kept", "rtsps://u:${file:kept}@cam.example/1", "not for rtsps://cam.example:322"},
		{api + file, "kept", "rtsp://evil.example/${file:kept}?x", "not for evil.example:554"},
		{api + file, "kept", "rtsp://evil.example/?u=cam.example:554&p=${file:kept}", "not for evil.example:554"},
		{api + file, "made", "rtsp://u:${file:made}@evil.example/", "not for evil.example:554"},
		{api + file, "two", "rtsp://u:${file:two}@evil.example/", "not for evil.example:554"},
		{api + file, "plain", "rtsp://u:${file:plain}@cam.example/", `write "for cam.example:554" in a line above`},
		{api, "other", "rtsp://u:${file:kept}@cam.example/", "may refer to ${file:other} only"},
		{api, "other", "rtsp://u:${FRAMELOG_SECRET_X}@local.example:8554/", "may refer to ${file:other} only"},

		// What the local configuration names.
		{api + file, "plain", "rtsp://u:${file:plain}@Local.example:554/other", ""},
		{api + file, "plain", "rtsp://local.example/${file:plain}", ""},
		{file, "other", "rtsp://u:${file:kept}@cam.example/", ""},
		{file, "other", "rtsp://u:${file:kept}@local.example/", ""},
		{file, "other", "rtsp://u:${FRAMELOG_SECRET_X}@local.example:8554/", ""},
		{file, "other", "rtsps://u:${FRAMELOG_SECRET_TLS}@local.example/", ""},
		{file, "other", "rtsp://u:${FRAMELOG_SECRET_TLS}@local.example:322/", `no camera in the configuration file of this ingest process has it for local.example:322`},
		{file, "other", "rtsp://u:${FRAMELOG_SECRET_X}@local.example/", `no camera in the configuration file of this ingest process has it for local.example:554`},
		{file, "other", "rtsp://u:${FRAMELOG_SECRET_X}@evil.example:8554/", `"for evil.example:8554"`},
		{file, "other", "rtsp://u:${FRAMELOG_SECRET_Y}@local.example:8554/", "no camera in the configuration file"},
		{file, "other", "rtsp://u:${file:plain}@evil.example/", `write "for evil.example:554" in a line above`},
		{file, "other", "rtsp://${file:plain}@local.example/?pwd=${FRAMELOG_SECRET_X}", "${FRAMELOG_SECRET_X}"},
	} {
		for _, source := range []string{schemas.SourceAPI, schemas.SourceFile} {
			if !strings.Contains(tt.sources, source) {
				continue
			}
			cam := apiCamera(t, tt.id, tt.url, false)
			cam.Source = source
			_, err := r.Resolve(t.Context(), cam)
			if (err != nil) != (tt.fails != "") || err != nil && (!strings.Contains(err.Error(), tt.fails) || strings.Contains(err.Error(), canary)) {
				t.Errorf("%s of %q: %s: %v, want %q", tt.id, source, tt.url, err, tt.fails)
			}
		}
	}
}

// TestBoundToTLS: a secret that is for rtsps does not go out as rtsp, nor to any
// certificate if it is for one that is checked; in its file or in this machine's
// configuration.
func TestBoundToTLS(t *testing.T) {
	const plain, tls = "rtsp://u:${file:door}@h:322/", "RTSPS://u:${file:door}@h/"
	cams := []schemas.Camera{apiCamera(t, "door", plain, false), apiCamera(t, "door", tls, true), apiCamera(t, "door", tls, false)}
	resolve := func(r Resolver, cam schemas.Camera) (string, error) {
		u, err := r.Resolve(t.Context(), cam)
		if err != nil {
			return "", err
		}
		password, _ := u.User.Password()
		return password, nil
	}
	for level, line := range []string{"for h:322", "for insecure rtsps://h:322", "for rtsps://h:322"} {
		dir := t.TempDir()
		path := filepath.Join(dir, "door")
		if _, err := Store(dir, cams[level], canary); err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(path); string(b) != line+", kept by Framelog\n"+canary+"\n" {
			t.Errorf("kept %q, %v", b, err)
		}
		for text, r := range map[string]Resolver{
			line + ", kept by Framelog\n" + canary: {Dir: dir}, line + "\n" + canary: {Dir: dir}, canary: {Dir: dir, Cameras: cams[level : level+1]},
		} {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			for i, cam := range cams {
				got, err := resolve(r, cam)
				if want := i >= level; (err == nil) != want || (got == canary) != want || !want && !strings.Contains(err.Error(), "again") {
					t.Errorf("%q for %+v: %q, %v", line, cam, got, err)
				}
			}
			if got, err := resolve(r, apiCamera(t, "door", "rtsps://u:${file:door}@i/", false)); err == nil {
				t.Errorf("%q for another host: %q", line, got)
			}
		}
		if err := os.WriteFile(path, []byte(line+"\n"+canary), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Store(dir, cams[0], "new"); !errors.Is(err, ErrHandMade) {
			t.Errorf("%q by hand: %v", line, err)
		}
	}
}

// TestBothHosts: while it is not known whether the record with the new host is
// written, each of both records has its password. Forget then leaves the one that
// is used.
func TestBothHosts(t *testing.T) {
	for _, urls := range [][2]string{
		{"rtsp://u:${file:door}@a/", "rtsp://u:${file:door}@b/"}, {"rtsp://u:${file:door}@a:322/", "rtsps://u:${file:door}@a/"},
	} {
		dir := t.TempDir()
		cams := []schemas.Camera{apiCamera(t, "door", urls[0], false), apiCamera(t, "door", urls[1], false)}
		for i, cam := range cams {
			if _, err := Store(dir, cam, []string{"first", "second"}[i]); err != nil {
				t.Fatal(err)
			}
		}
		check := func(want ...string) {
			t.Helper()
			for i, cam := range cams {
				u, err := Resolver{Dir: dir}.Resolve(t.Context(), cam)
				if (err == nil) != (want[i] != "") || err == nil && u.User.String() != "u:"+want[i] {
					t.Errorf("%s: %v, %v, want %q", cam.URL, u, err, want[i])
				}
			}
		}
		check("first", "second")
		if gone, err := Forget(dir, "door", map[string]schemas.Camera{"door": cams[0]}); !gone || err != nil {
			t.Errorf("forgotten: %v, %v", gone, err)
		}
		if b, err := os.ReadFile(filepath.Join(dir, "door")); err != nil || strings.Contains(string(b), "second") || !strings.Contains(string(b), "first") {
			t.Errorf("left is %q, %v", b, err)
		}
	}
}

// TestForget: a password stays while a camera of any id refers to it.
func TestForget(t *testing.T) {
	dir := t.TempDir()
	for _, id := range []string{"gone", "used", "shared", "others"} {
		if err := store(dir, id, "rtsp://h/", canary); err != nil {
			t.Fatal(err)
		}
	}
	cameras := map[string]schemas.Camera{
		"used": ofFile(t, "rtsp://u:${file:used}@h/"), "more": ofFile(t, "rtsp://elsewhere/?pwd=${file:shared}"), "gone": ofFile(t, "rtsp://h/"),
	}
	for _, id := range []string{"gone", "used", "shared", "never"} {
		if gone, err := Forget(dir, id, cameras); err != nil || gone != (id == "gone") {
			t.Errorf("%s: %v, %v", id, gone, err)
		}
	}
	for id, want := range map[string]bool{"gone": false, "used": true, "shared": true, "others": true} {
		if _, err := os.Stat(filepath.Join(dir, id)); (err == nil) != want {
			t.Errorf("%s: %v, want there: %v", id, err, want)
		}
	}
}
