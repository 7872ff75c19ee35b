package secrets

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/framelog/framelog/schemas"
)

func TestResolve(t *testing.T) {
	dir := t.TempDir()
	special := `p@ss/w:o#r?d%20 ${file:x} "ü`
	if err := store(dir, "door", "rtsp://h/", special); err != nil {
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
	env := func(k string) (string, bool) {
		v, ok := map[string]string{"FRAMELOG_SECRET_X": special, "FRAMELOG_SECRET_NONE": ""}[k]
		return v, ok
	}
	for _, tt := range []struct{ url, bare, user, password, fails string }{
		{url: "rtsp://h/p?q#f", bare: "rtsp://h/p?q#f"},
		{url: "rtsp://10.0.0.5:554/live@main?x=a:b@c", bare: "rtsp://10.0.0.5:554/live@main?x=a:b@c"},
		{url: "rtsp://u:${file:door}@h/a@b", bare: "rtsp://h/a@b", user: "u", password: special},
		{url: "RTSPS://h:322/p", bare: "rtsps://h:322/p"},
		{url: "rtsp://u:${file:door}@h:554/p", bare: "rtsp://h:554/p", user: "u", password: special},
		{url: "rtsp://u:${FRAMELOG_SECRET_X}@h/p", bare: "rtsp://h/p", user: "u", password: special},
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
		{url: "rtsp://u:${file:nothing}@h/p", fails: "secret ${file:nothing}: no such file"},
		{url: "rtsp://u:${file:empty}@h/p", fails: "secret ${file:empty}: it is empty"},
		{url: "rtsp://u:${file:lines}@h/p", fails: "secret ${file:lines}: it has more than one line"},
		{url: "rtsp://u:${file:long}@h/p", fails: "secret ${file:long}: it is longer"},
		{url: "rtsp://u:${file:escape}@h/p", fails: "secret ${file:escape}: "},
		{url: "rtsp://u:${file:folder}@h/p", fails: "secret ${file:folder}: not a regular file"},
		{url: "rtsp://u:${file:pipe}@h/p", fails: "secret ${file:pipe}: not a regular file"},
		{url: "rtsp://u:${FRAMELOG_SECRET_Y}@h/p", fails: "secret ${FRAMELOG_SECRET_Y}: this environment variable is not set"},
		{url: "rtsp://u:${FRAMELOG_SECRET_NONE}@h/p", fails: "secret ${FRAMELOG_SECRET_NONE}: it is empty"},
	} {
		cam := ofFile(t, tt.url)
		u, err := Resolver{Dir: dir, LookupEnv: env, Cameras: []schemas.Camera{cam}}.Resolve(t.Context(), cam)
		if tt.fails != "" {
			if err == nil || !strings.Contains(err.Error(), tt.fails) || strings.Contains(err.Error(), canary) {
				t.Errorf("Resolve(%q): error %v, want one with %q", tt.url, err, tt.fails)
			}
			continue
		}
		if err != nil {
			t.Errorf("Resolve(%q): %v", tt.url, err)
			continue
		}
		user := u.User
		if password, _ := user.Password(); user.Username() != tt.user || password != tt.password {
			t.Errorf("Resolve(%q): user %q, password %q", tt.url, user.Username(), password)
		}
		if u.User = nil; u.String() != tt.bare {
			t.Errorf("Resolve(%q) = %q, want %q", tt.url, u, tt.bare)
		}
	}
	if _, err := (Resolver{}).Resolve(t.Context(), ofFile(t, "rtsp://u:${file:door}@h/")); err == nil {
		t.Error("a file was found without a directory")
	}
	if _, err := (Resolver{}).Resolve(t.Context(), schemas.Camera{ID: "door", URL: "rtsp://u:" + canary + "@h/", Source: schemas.SourceFile}); err == nil {
		t.Error("a record was taken that may not stand in the registry")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (Resolver{}).Resolve(ctx, ofFile(t, "rtsp://h/")); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of its context: %v", err)
	}
}

// What is taken out of a URL is sent to the camera as it was typed.
func TestSplitAndResolve(t *testing.T) {
	dir := t.TempDir()
	for _, url := range []string{
		"rtsp://h/user=admin&password=a!b$c'(d)*e,f-g.h_i~j=k+l&channel=1", "rtsp://h/user=a_password=p_w_channel=1",
		"rtsp://h/11?pwd=p%26w%40%2B%2F%3F%25%20&b=c", "rtsp://h/x?auth=YWI6Yw==",
	} {
		cam := schemas.Camera{ID: "door", URL: url}
		typed, err := Split(&cam, schemas.Camera{})
		if err != nil || strings.Contains(cam.URL, password(typed)) {
			t.Fatalf("%q: %+v, %v", url, cam, err)
		}
		if _, err := Store(dir, cam, password(typed)); err != nil {
			t.Fatal(err)
		}
		if u, err := (Resolver{Dir: dir}).Resolve(t.Context(), cam); err != nil || u.String() != url {
			t.Errorf("%q becomes %q, %v", url, u, err)
		}
	}
}
