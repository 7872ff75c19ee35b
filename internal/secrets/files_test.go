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
	keep("a", "first")
	keep("b", "second")()
	is("for a:554, kept by Framelog\nfirst\n")
	undo := keep("b", "second")
	keep("c", "third")
	undo()
	is("for c:554, kept by Framelog\nthird\n")
	undo = keep("d", "fourth")
	if _, err := Forget(dir, "door"); err != nil {
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
		_, _, got, err := Resolver{Dir: dir}.Resolve(t.Context(), ofFile("rtsp://u:${file:door}@h/"))
		if err != nil || got != password {
			t.Errorf("got %q, %v, want %q", got, err, password)
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
		if got, err := Forget(dir, "door"); got != want || err != nil {
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
	for name, text := range map[string]string{"plain": canary + "\n", "bound": "for h:554\n" + canary, "empty": "", "almost": "for h, kept by Framelog\n" + canary, "folder": ""} {
		path := filepath.Join(dir, name)
		if name != "folder" {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := store(dir, name, "rtsp://h/", "new"); !errors.Is(err, ErrHandMade) {
			t.Errorf("%s: stored: %v", name, err)
		}
		if gone, err := Forget(dir, name); gone || err != nil {
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

// TestBound: a secret goes to the host and port that it was given for, unless
// the camera is one of a configuration file.
func TestBound(t *testing.T) {
	dir := t.TempDir()
	if err := store(dir, "kept", "rtsp://u:${file:kept}@Cam.example/1", canary); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"plain": canary + "\n", "made": "for cam.example:554\r\n" + canary + "\r\n", "v6": "for [2001:DB8::1]:554\n" + canary,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct{ id, url, fails string }{
		{"kept", "rtsp://u:${file:kept}@cam.example:554/2", ""},
		{"kept", "rtsp://cam.example/?pwd=${file:kept}", ""},
		{"made", "rtsp://u:${file:made}@CAM.example/", ""},
		{"v6", "rtsp://u:${file:v6}@[2001:db8::1]/", ""},
		{"kept", "rtsp://u:${file:kept}@evil.example/1", "not for evil.example:554"},
		{"kept", "rtsp://u:${file:kept}@cam.example:555/1", "not for cam.example:555"},
		{"kept", "rtsps://u:${file:kept}@cam.example/1", "not for cam.example:322"},
		{"kept", "rtsp://evil.example/${file:kept}?x", "not for evil.example:554"},
		{"kept", "rtsp://evil.example/?u=cam.example:554&p=${file:kept}", "not for evil.example:554"},
		{"made", "rtsp://u:${file:made}@evil.example/", "not for evil.example:554"},
		{"plain", "rtsp://u:${file:plain}@cam.example/", `write "for cam.example:554" in a line above`},
		{"other", "rtsp://u:${file:kept}@cam.example/", "may refer to ${file:other} only"},
		{"other", "rtsp://u:${FRAMELOG_SECRET_X}@cam.example/", "may refer to ${file:other} only"},
	} {
		r := Resolver{Dir: dir, LookupEnv: func(string) (string, bool) { return canary, true }}
		for _, source := range []string{schemas.SourceAPI, "", schemas.SourceFile} {
			cam := schemas.Camera{ID: tt.id, URL: tt.url, Source: source}
			fails := tt.fails
			if source == schemas.SourceFile {
				fails = ""
			}
			_, _, _, err := r.Resolve(t.Context(), cam)
			for _, err := range []error{err, r.CheckHost(cam)} {
				if (err != nil) != (fails != "") || err != nil && (!strings.Contains(err.Error(), fails) || strings.Contains(err.Error(), canary)) {
					t.Errorf("%s of %q: %s: %v, want %q", tt.id, source, tt.url, err, fails)
				}
			}
		}
	}
}

// TestBoundToTLS: a secret that was given for rtsps does not go out as rtsp, nor
// to any certificate where it was given for one that is checked.
func TestBoundToTLS(t *testing.T) {
	const plain, tls = "rtsp://u:${file:door}@h:322/", "RTSPS://u:${file:door}@h/"
	cams := []schemas.Camera{{ID: "door", URL: plain}, {ID: "door", URL: tls, InsecureTLS: true}, {ID: "door", URL: tls}}
	for level, line := range []string{"for h:322", "for insecure rtsps://h:322", "for rtsps://h:322"} {
		dir := t.TempDir()
		path := filepath.Join(dir, "door")
		if _, err := Store(dir, cams[level], canary); err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(path); string(b) != line+", kept by Framelog\n"+canary+"\n" {
			t.Errorf("kept %q, %v", b, err)
		}
		for _, text := range []string{line + ", kept by Framelog\n" + canary, line + "\n" + canary} {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			for i, cam := range cams {
				_, _, got, err := Resolver{Dir: dir}.Resolve(t.Context(), cam)
				if want := i >= level; (err == nil) != want || (got == canary) != want || !want && !strings.Contains(err.Error(), "anew") {
					t.Errorf("%q for %+v: %q, %v", line, cam, got, err)
				}
			}
			file := schemas.Camera{ID: "door", URL: plain, Source: schemas.SourceFile}
			if _, _, got, err := (Resolver{Dir: dir}).Resolve(t.Context(), file); got != canary || err != nil {
				t.Errorf("%q for a camera of a file: %q, %v", line, got, err)
			}
		}
		if _, _, _, err := (Resolver{Dir: dir}).Resolve(t.Context(), schemas.Camera{ID: "door", URL: "rtsps://u:${file:door}@i/"}); err == nil {
			t.Errorf("%q for another host", line)
		}
		if _, err := Store(dir, cams[0], "new"); !errors.Is(err, ErrHandMade) {
			t.Errorf("%q by hand: %v", line, err)
		}
	}
}

func TestForgetUnused(t *testing.T) {
	dir := t.TempDir()
	for _, id := range []string{"gone", "used", "shared", "others"} {
		if err := store(dir, id, "rtsp://h/", canary); err != nil {
			t.Fatal(err)
		}
	}
	cameras := map[string]schemas.Camera{"used": {URL: "rtsp://u:${file:used}@h/"}, "more": {URL: "rtsp://h/?pwd=${file:shared}"}, "gone": {URL: "rtsp://h/"}}
	if err := ForgetUnused(dir, []string{"gone", "used", "shared", "never"}, cameras); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]bool{"gone": false, "used": true, "shared": true, "others": true} {
		if _, err := os.Stat(filepath.Join(dir, id)); (err == nil) != want {
			t.Errorf("%s: %v, want there: %v", id, err, want)
		}
	}
}
