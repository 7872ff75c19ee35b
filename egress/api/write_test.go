package api

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/framelog/framelog/internal/registry"
	"github.com/framelog/framelog/internal/secrets"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

func TestLiteralPassword(t *testing.T) {
	body := `{"url":"rtsp://viewer:` + canary + `@10.0.0.9/a"}`
	t.Run("kept in a file", func(t *testing.T) {
		b := start(t, Config{})
		out, code := b.do(t, "PUT", "/v1/cameras/yard", body)
		if kept, err := os.ReadFile(filepath.Join(b.secrets, "yard")); code != 201 || string(kept) != "for 10.0.0.9:554, kept by Framelog\n"+canary+"\n" {
			t.Fatalf("%d %s, kept %q, %v", code, out, kept, err)
		}
		c, _ := b.reg.camera("yard")
		if c.URL != "rtsp://10.0.0.9/a" || c.User != "viewer" || c.Password != "${file:yard}" {
			t.Errorf("in the log: %+v", c)
		}
		list, _ := b.do(t, "GET", "/v1/cameras", "")
		if strings.Contains(out+list+b.logs.String(), canary) {
			t.Errorf("the password shows: %s %s %s", out, list, b.logs)
		}
		b.do(t, "DELETE", "/v1/cameras/yard", "")
		if _, err := os.Stat(filepath.Join(b.secrets, "yard")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("kept after its camera is gone: %v", err)
		}
	})
	t.Run("refused without a place for it", func(t *testing.T) {
		b := start(t, Config{}, func(b *bench) { b.secrets = "" })
		out, code := b.do(t, "PUT", "/v1/cameras/yard", body)
		if code != 400 || !strings.Contains(out, "${file:yard}") {
			t.Errorf("%d %s", code, out)
		}
		if _, there := b.reg.camera("yard"); there || strings.Contains(out+b.logs.String(), canary) {
			t.Errorf("written, or the password shows: %s %s", out, b.logs)
		}
	})
	t.Run("what GET gives can be given back", func(t *testing.T) {
		b := start(t, Config{})
		was, _ := b.reg.camera("front-door")
		out, code := b.do(t, "PUT", "/v1/cameras/front-door", `{"label":"New","url":"rtsp://***@10.0.0.5/front-door"}`)
		now, _ := b.reg.camera("front-door")
		if code != 200 || !now.Equal(was) || now.Label != "New" {
			t.Errorf("%d %s: %+v", code, out, now)
		}
	})
	t.Run("and changed, for the same host and port", func(t *testing.T) {
		b := start(t, Config{})
		for _, c := range []struct {
			url, want string // in the registry
			code      int
		}{
			{"rtsp://viewer:" + canary + "@10.0.0.5/front-door", "rtsp://viewer:${file:front-door}@10.0.0.5/front-door", 200},
			{"rtsp://***@10.0.0.5:554/other", "rtsp://viewer:${file:front-door}@10.0.0.5:554/other", 200},
			{"rtsp://***@10.0.0.6/other", "rtsp://viewer:${file:front-door}@10.0.0.5:554/other", 400},
			{"rtsp://viewer:***@10.0.0.5/other", "rtsp://viewer:${file:front-door}@10.0.0.5:554/other", 400},
		} {
			out, code := b.do(t, "PUT", "/v1/cameras/front-door", `{"url":"`+c.url+`"}`)
			if now, _ := b.reg.camera("front-door"); code != c.code || secrets.Join(now) != c.want {
				t.Errorf("%s: %d %s: %+v", c.url, code, out, now)
			}
			if code == 400 && !strings.Contains(out, "again") {
				t.Errorf("%s: %s", c.url, out)
			}
		}
		if out, code := b.do(t, "PUT", "/v1/cameras/yard", `{"url":"rtsp://***@10.0.0.5/"}`); code != 400 {
			t.Errorf("a new camera: %d %s", code, out)
		}
	})
}

// TestPutSubstream: a second stream is written, shown and given back as the first one is.
func TestPutSubstream(t *testing.T) {
	b := start(t, Config{})
	for _, c := range []struct {
		body, url, sub string // url and sub: as joined in the registry
		code           int
	}{
		{`{"url":"rtsp://v:` + canary + `@10.0.0.9/1","substream":" rtsp://***@10.0.0.9/2 "}`, "rtsp://v:${file:yard}@10.0.0.9/1", "rtsp://v:${file:yard}@10.0.0.9/2", 201},
		{`{"url":"rtsp://***@10.0.0.9/1","substream":"rtsp://***@10.0.0.9/3"}`, "rtsp://v:${file:yard}@10.0.0.9/1", "rtsp://v:${file:yard}@10.0.0.9/3", 200},
		{`{"url":"rtsp://***@10.0.0.9/1","substream":"rtsp://w:` + canary + `2@10.0.0.8/4"}`, "rtsp://v:${file:yard}@10.0.0.9/1", "rtsp://w:${file:yard}@10.0.0.8/4", 200},
		{`{"url":"rtsp://***@10.0.0.9/1","substream":"rtsp://***@10.0.0.7/4"}`, "rtsp://v:${file:yard}@10.0.0.9/1", "rtsp://w:${file:yard}@10.0.0.8/4", 400},
		{`{"url":"rtsp://***@10.0.0.9/1","substream":"rtsp://w:${file:yard}@10.0.0.7/4"}`, "rtsp://v:${file:yard}@10.0.0.9/1", "rtsp://w:${file:yard}@10.0.0.8/4", 400},
		{`{"url":"rtsp://v:` + canary + `@10.0.0.9/1","substream":"rtsp://v:` + canary + `3@10.0.0.9/2"}`, "rtsp://v:${file:yard}@10.0.0.9/1", "rtsp://w:${file:yard}@10.0.0.8/4", 400},
		{`{"url":"rtsp://***@10.0.0.9/1","substream":"framelog://front-door?from=2026-11-29T00:00:00Z&to=2026-11-29T01:00:00Z"}`, "rtsp://v:${file:yard}@10.0.0.9/1", "rtsp://w:${file:yard}@10.0.0.8/4", 400},
		{`{"url":"rtsp://***@10.0.0.9/1"}`, "rtsp://v:${file:yard}@10.0.0.9/1", "", 200},
	} {
		out, code := b.do(t, "PUT", "/v1/cameras/yard", c.body)
		now, _ := b.reg.camera("yard")
		stream, _ := now.Sub()
		if code != c.code || secrets.Join(now) != c.url || secrets.Join(stream) != c.sub {
			t.Errorf("%s: %d %s: %+v", c.body, code, out, now)
		}
		list, _ := b.do(t, "GET", "/v1/cameras", "")
		if c.sub != "" && !strings.Contains(list, `"substream":"rtsp://***@`+stream.URL[len("rtsp://"):]+`"`) {
			t.Errorf("%s: not in %s", c.sub, list)
		}
		if strings.Contains(out+list+b.logs.String(), canary) {
			t.Errorf("a password shows: %s %s %s", out, list, b.logs)
		}
	}
	kept, err := os.ReadFile(filepath.Join(b.secrets, "yard"))
	if err != nil || string(kept) != "for 10.0.0.9:554, kept by Framelog\n"+canary+"\n" {
		t.Errorf("kept %q, %v: the password of a second stream that is no more was not removed", kept, err)
	}
}

// TestPasswordStays: no caller can have a password sent to a host that nobody
// gave it for.
func TestPasswordStays(t *testing.T) {
	b := start(t, Config{})
	put := func(id, url string, want int) string {
		t.Helper()
		before, _ := b.reg.camera(id)
		out, code := b.do(t, "PUT", "/v1/cameras/"+id, `{"url":"`+url+`"}`)
		if after, _ := b.reg.camera(id); code != want || code >= 400 && after != before {
			t.Errorf("%s: %d %s, want %d; now %+v", url, code, out, want, after)
		}
		if strings.Contains(out+b.logs.String(), canary) {
			t.Errorf("the password shows: %s", out)
		}
		return out
	}
	there := func(id string) bool {
		_, err := os.Stat(filepath.Join(b.secrets, id))
		return err == nil
	}
	write := func(id, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(b.secrets, id), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("yard", "rtsp://u:"+canary+"@10.0.0.9/a", 201)
	put("yard", "rtsp://u:${file:yard}@10.0.0.9:554/b", 200)
	for _, host := range []string{"10.6.6.6", "10.0.0.9:8554", "10.0.0.9.evil.example"} {
		if out := put("yard", "rtsp://u:${file:yard}@"+host+"/a", 400); !strings.Contains(out, "again") {
			t.Error(out)
		}
		put("yard", "rtsp://"+host+"/${file:yard}", 400)
	}
	put("yard", "rtsp://u:"+canary+"@10.6.6.6/a", 200) // typed anew
	if kept, err := os.ReadFile(filepath.Join(b.secrets, "yard")); err != nil || strings.Contains(string(kept), "10.0.0.9") {
		t.Errorf("the password for the host before is kept: %v", err)
	}
	if put("yard", "rtsp://10.6.6.6/a", 200); there("yard") {
		t.Error("the password is kept without a reference to it")
	}

	// Left by a camera that is gone, of a configuration file for instance.
	write("vault", "for 10.0.0.7:554, kept by Framelog\n"+canary+"\n")
	put("vault", "rtsp://x:${file:vault}@127.0.0.1:18554/a", 400)
	put("vault", "rtsp://x:${file:nothing}@127.0.0.1:18554/a", 400)
	// Made by hand: for cameras of configuration files.
	write("made", canary+"\n")
	put("made", "rtsp://x:${file:made}@127.0.0.1:18554/a", 400)
	put("made", "rtsp://x:mine@127.0.0.1:18554/a", 409)
	// Made by hand for a camera of the API.
	write("bound", "for 10.0.0.8:554\n"+canary+"\n")
	put("bound", "rtsp://x:${file:bound}@127.0.0.1:18554/a", 400)
	put("bound", "rtsp://x:${file:bound}@10.0.0.8/a", 201)
	if out, code := b.do(t, "DELETE", "/v1/cameras/bound", ""); code != 204 || !there("bound") || !there("made") {
		t.Errorf("%d %s: made %v, bound %v", code, out, there("made"), there("bound"))
	}
}

// TestReplays: who may change a camera cannot have another one repeated as it.
func TestReplays(t *testing.T) {
	const url = "framelog://vault/raw?from=2026-01-31T08:00:00Z&to=2026-01-31T08:05:00Z"
	b := start(t, Config{})
	if out, code := b.do(t, "PUT", "/v1/cameras/yard", `{"url":"`+url+`"}`); code != 400 || !strings.Contains(out, "framelog replay") {
		t.Errorf("made: %d %s", code, out)
	}
	if _, ok := b.reg.camera("yard"); ok {
		t.Error("there is a replay")
	}
	if err := b.reg.Put(t.Context(), schemas.Camera{ID: "test", URL: url, Source: schemas.SourceAPI}); err != nil {
		t.Fatal(err)
	}
	if out, code := b.do(t, "PUT", "/v1/cameras/test", `{"url":"`+strings.Replace(url, "vault", "safe", 1)+`"}`); code != 400 {
		t.Errorf("changed: %d %s", code, out)
	}
	if out, code := b.do(t, "PUT", "/v1/cameras/test", `{"url":"`+url+`","label":"Test","disabled":true}`); code != 200 {
		t.Errorf("switched off: %d %s", code, out)
	}
	if cam, _ := b.reg.camera("test"); !cam.Disabled || cam.Label != "Test" || cam.URL != url {
		t.Errorf("switched off: %+v", cam)
	}
}

// TestPasswordStaysGuarded: no caller can have a password sent with less TLS than
// it was given for.
func TestPasswordStaysGuarded(t *testing.T) {
	b := start(t, Config{})
	for _, c := range []struct {
		body string
		want int
	}{
		{`{"url":"rtsps://u:` + canary + `@10.0.0.9/a"}`, 201},
		{`{"url":"rtsps://***@10.0.0.9/b"}`, 200},
		{`{"url":"rtsp://***@10.0.0.9:322/b"}`, 400},
		{`{"url":"rtsp://u:${file:yard}@10.0.0.9:322/b"}`, 400},
		{`{"url":"rtsps://***@10.0.0.9/b","insecure_tls":true}`, 400}, // the URL is the same
		{`{"url":"rtsps://u:` + canary + `@10.0.0.9/b","insecure_tls":true}`, 200},
		{`{"url":"rtsps://***@10.0.0.9/b","insecure_tls":true,"label":"Yard"}`, 200},
		{`{"url":"rtsp://***@10.0.0.9:322/b","insecure_tls":true}`, 400},
		{`{"url":"rtsps://***@10.0.0.9/b"}`, 200},
		{`{"url":"rtsp://u:` + canary + `@10.0.0.9:322/b"}`, 200},
		{`{"url":"rtsps://***@10.0.0.9/b"}`, 200},
	} {
		before, _ := b.reg.camera("yard")
		out, code := b.do(t, "PUT", "/v1/cameras/yard", c.body)
		if after, _ := b.reg.camera("yard"); code != c.want || code == 400 && (after != before || !strings.Contains(out, "again")) {
			t.Fatalf("%s: %d %s, want %d; now %+v", c.body, code, out, c.want, after)
		}
	}
}

// TestPasswordComesBack: a change that the registry did not take leaves the
// password as it was.
func TestPasswordComesBack(t *testing.T) {
	b := start(t, Config{})
	put := func(id, url string, want int) {
		t.Helper()
		if out, code := b.do(t, "PUT", "/v1/cameras/"+id, `{"url":"`+url+`"}`); code != want {
			t.Fatalf("%d %s, want %d", code, out, want)
		}
	}
	put("yard", "rtsp://u:"+canary+"@10.0.0.9/a", 201)
	b.reg.mu.Lock()
	b.reg.err = errors.New("no broker")
	b.reg.mu.Unlock()
	put("yard", "rtsp://u:other@10.0.0.10/a", 503)
	put("new", "rtsp://u:other@10.0.0.10/a", 503)
	if kept, err := os.ReadFile(filepath.Join(b.secrets, "yard")); string(kept) != "for 10.0.0.9:554, kept by Framelog\n"+canary+"\n" {
		t.Errorf("kept %q, %v", kept, err)
	}
	if _, err := os.Stat(filepath.Join(b.secrets, "new")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a password is kept of a camera that is none: %v", err)
	}
}

// lateRegistry acknowledges and shows nothing until it is released.
type lateRegistry struct {
	*fakeRegistry
	began   chan struct{}
	release chan struct{}
}

// Put is like that of a registry whose brokers do not answer: what has been sent
// may arrive after the caller has given up.
func (l *lateRegistry) Put(ctx context.Context, c schemas.Camera) error {
	close(l.began)
	select {
	case <-l.release:
		return l.fakeRegistry.Put(ctx, c)
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", registry.ErrUncertain, ctx.Err())
	}
}

// password is what a camera is given, "" if it is refused.
func (b *bench) password(t *testing.T, cam schemas.Camera) string {
	t.Helper()
	u, err := secrets.Resolver{Dir: b.secrets}.Resolve(t.Context(), cam)
	if err != nil {
		return ""
	}
	password, _ := u.User.Password()
	return password
}

// TestClientLeaves: a change goes on without its client: the record is written, and
// its password is there.
func TestClientLeaves(t *testing.T) {
	b := start(t, Config{})
	if out, code := b.do(t, "PUT", "/v1/cameras/yard", `{"url":"rtsp://u:first@10.0.0.9/"}`); code != 201 {
		t.Fatal(out)
	}
	late := &lateRegistry{b.reg, make(chan struct{}), make(chan struct{})}
	a := New(Config{SecretsDir: b.secrets}, Deps{Registry: late})
	a.setSnapshot(b.reg.snap)
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan struct{})
	go func() {
		defer close(left)
		r := httptest.NewRequestWithContext(ctx, "PUT", "/v1/cameras/yard", strings.NewReader(`{"url":"rtsp://u:second@10.0.0.10/"}`))
		r.Header.Set("Content-Type", "application/json")
		a.ServeHTTP(httptest.NewRecorder(), r)
	}()
	<-late.began
	leave()
	close(late.release)
	select {
	case <-left:
	case <-time.After(testenv.Patience):
		t.Fatal("the request goes on")
	}
	cam, _ := b.reg.camera("yard")
	if got := b.password(t, cam); cam.URL != "rtsp://10.0.0.10/" || got != "second" {
		t.Errorf("written is %+v, which gets %q", cam, got)
	}
	if kept, err := os.ReadFile(filepath.Join(b.secrets, "yard")); err != nil || strings.Contains(string(kept), "first") {
		t.Errorf("kept %q, %v", kept, err)
	}
}

// TestUncertainChange: if the brokers do not answer in time, both the camera as it
// was and as it may be have their passwords, until a later change has an end.
func TestUncertainChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bench{reg: &fakeRegistry{}, secrets: t.TempDir()}
		put := func(reg Registry, body string) (cam schemas.Camera, code int) {
			t.Helper()
			a := New(Config{SecretsDir: b.secrets}, Deps{Registry: reg})
			a.setSnapshot(b.reg.snap)
			b.reg.follow = a.setSnapshot
			r := httptest.NewRequestWithContext(t.Context(), "PUT", "/v1/cameras/yard", strings.NewReader(body))
			r.Header.Set("Content-Type", "application/json")
			w := httptest.NewRecorder()
			a.ServeHTTP(w, r)
			cam, _ = b.reg.camera("yard")
			return cam, w.Code
		}
		before, code := put(b.reg, `{"url":"rtsp://u:first@10.0.0.9/"}`)
		if code != http.StatusCreated {
			t.Fatal(code)
		}
		late := &lateRegistry{b.reg, make(chan struct{}), make(chan struct{})}
		began := time.Now()
		if cam, code := put(late, `{"url":"rtsp://u:second@10.0.0.10/"}`); code != http.StatusServiceUnavailable || cam != before {
			t.Fatalf("%d, %+v", code, cam)
		}
		if d := time.Since(began); d > writeLimit+2*time.Second {
			t.Errorf("answered after %v", d)
		}
		after := before
		after.URL = "rtsp://10.0.0.10/"
		for cam, want := range map[schemas.Camera]string{before: "first", after: "second"} {
			if got := b.password(t, cam); got != want {
				t.Errorf("%s gets %q, want %q", cam.URL, got, want)
			}
		}
		if err := b.reg.Put(t.Context(), after); err != nil { // it arrives
			t.Fatal(err)
		}
		if _, code := put(b.reg, `{"url":"rtsp://***@10.0.0.10/","label":"Yard"}`); code != http.StatusOK {
			t.Fatal(code)
		}
		if b.password(t, after) != "second" || b.password(t, before) != "" {
			t.Errorf("passwords %q and %q", b.password(t, before), b.password(t, after))
		}
	})
}

// TestLeavesBeforeTheWrite: a client leaves while the API waits for the changes of
// others. The API does not decide on what it knew before them: a file has the camera
// by now.
func TestLeavesBeforeTheWrite(t *testing.T) {
	for _, method := range []string{"PUT", "DELETE"} {
		t.Run(method, func(t *testing.T) {
			b := start(t, Config{})
			b.reg.mu.Lock()
			b.reg.lag = 500 * time.Millisecond
			b.reg.mu.Unlock()
			if err := b.reg.change(func(s *registry.Snapshot) {
				c := camera("front-door")
				c.Source, c.Origin = schemas.SourceFile, "office:13"
				s.Cameras[c.ID] = c
			}); err != nil {
				t.Fatal(err)
			}
			ctx, leave := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer leave()
			req, err := http.NewRequestWithContext(ctx, method, b.url+"/v1/cameras/front-door", strings.NewReader(`{"url":"rtsp://10.0.0.9/x"}`))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/json")
			if res, err := http.DefaultClient.Do(req); err == nil {
				res.Body.Close()
				t.Fatalf("an answer before the client left: %d", res.StatusCode)
			}
			b.do(t, "GET", "/v1/cameras/front-door", "") // waits for the change
			if c, ok := b.reg.camera("front-door"); !ok || c.Source != schemas.SourceFile {
				t.Errorf("the file's camera is %+v now", c)
			}
		})
	}
}
