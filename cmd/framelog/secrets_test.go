package main

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/internal/registry"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// TestPasswordOfFileCamera: what up keeps of a camera's password goes with the
// camera, files made by hand stay, and neither is ever sent to a host that a
// caller of the API names.
func TestPasswordOfFileCamera(t *testing.T) {
	t.Parallel()
	const user = "  - {id: user, url: 'rtsp://u:${file:shared}@127.0.0.1:2/d'}\n"
	before := fmt.Sprintf(`
  - {id: vault, url: 'rtsp://u:%[1]s@127.0.0.1:1/a'}
  - {id: shared, url: 'rtsp://u:%[1]s@127.0.0.1:1/b'}
  - {id: plain, url: 'rtsp://u:%[1]s@127.0.0.1:1/c'}
`, canary)
	const after = "\n  - {id: plain, url: 'rtsp://127.0.0.1:1/c'}\n"
	f := testenv.Up(t, testenv.UpOptions{
		Config: "ingest: {disk_reserve: 0, reconnect_max: 1s}\ncameras:" + before + user, Env: []string{"FRAMELOG_SECRET_X=" + canary},
	})
	file := func(id string) string { return filepath.Join(f.Data, "secrets", id) }
	f.Wait(t, testenv.Patience, "the cameras", func() bool {
		code, _, err := f.Get(t, "/v1/cameras/user")
		return err == nil && code == http.StatusOK
	})
	for _, id := range []string{"vault", "shared", "plain"} {
		if b, err := os.ReadFile(file(id)); string(b) != "for 127.0.0.1:1, kept by Framelog\n"+canary+"\n" || err != nil {
			t.Errorf("%s: %q, %v", id, b, err)
		}
	}
	if err := os.WriteFile(file("made"), []byte(canary+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadFile(file("vault"))
	if err != nil {
		t.Fatal(err)
	}
	line := testenv.CommandLine(f.PID())
	config := line[len(line)-1] // up --config FILE
	if code := f.Stop(); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config, []byte(strings.Replace(string(text), before, after, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	f.Start(t)
	f.WaitReady(t)
	exists := func(id string) bool {
		_, err := os.Stat(file(id))
		return err == nil
	}
	f.Wait(t, testenv.Patience, "that the passwords are gone", func() bool { return !exists("vault") && !exists("plain") })
	f.Wait(t, testenv.Patience, "that egress has heard of it", func() bool {
		code, _, err := f.Get(t, "/v1/cameras/vault")
		return err == nil && code == http.StatusNotFound
	})
	if !exists("made") || !exists("shared") {
		t.Errorf("the file made by hand is there: %v; the password that another camera has too: %v", exists("made"), exists("shared"))
	}

	// Whoever names a host of theirs, by the API or by the registry itself,
	// hears nothing. A file may be left by a crash.
	if err := os.WriteFile(file("vault"), left, 0o600); err != nil {
		t.Fatal(err)
	}
	var lc net.ListenConfig
	evil, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer evil.Close()
	called := make(chan struct{}, 1)
	go func() {
		for {
			c, err := evil.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
			select {
			case called <- struct{}{}:
			default:
			}
		}
	}()
	for id, want := range map[string]string{"vault": "not for " + evil.Addr().String(), "made": "nothing on this machine says that it is for " + evil.Addr().String()} {
		url := fmt.Sprintf("rtsp://x:${file:%s}@%s/a", id, evil.Addr())
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, f.URL+"/v1/cameras/"+id, strings.NewReader(`{"url":"`+url+`"}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("PUT %s: %d", url, resp.StatusCode)
		}
		out, err := exec.CommandContext(t.Context(), testenv.Binary(t), "cameras", "--brokers", f.Broker, "--data", f.Data, "add", id, url).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v", out, err)
		}
		f.Wait(t, 2*testenv.Patience, "a word of "+id, func() bool {
			_, body, err := f.Get(t, "/v1/cameras/"+id) // it may not be there yet
			return err == nil && strings.Contains(string(body), want)
		})
	}
	// Nor does a record help that says it is of a configuration file: anybody who can
	// write the topic can write that.
	reg, err := registry.Connect(kafka.Config{Brokers: []string{f.Broker}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer reg.Close()
	for i, ref := range []string{"${file:shared}", "${file:made}", "${FRAMELOG_SECRET_X}"} {
		cam := schemas.Camera{
			ID: fmt.Sprintf("thief-%d", i), URL: "rtsp://" + evil.Addr().String() + "/a", User: "u", Password: ref,
			Source: schemas.SourceFile, Origin: "framelog:9",
		}
		if err := reg.Put(t.Context(), cam); err != nil {
			t.Fatal(err)
		}
		f.Wait(t, 2*testenv.Patience, "a word of "+cam.ID, func() bool {
			_, body, err := f.Get(t, "/v1/cameras/"+cam.ID)
			return err == nil && strings.Contains(string(body), `"error":"secret `+ref) && strings.Contains(string(body), evil.Addr().String())
		})
	}
	select {
	case <-called:
		t.Error("ingest connected to the caller's host")
	default:
	}
}
