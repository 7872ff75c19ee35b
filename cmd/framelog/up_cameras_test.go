package main

import (
	"context"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/framelog/framelog/internal/registry"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// On brokers that other hosts may use too, what this host's file lacks may be
// that of a file of the same name there.
func TestForeignCamerasStay(t *testing.T) {
	fake, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	defer fake.Close()
	dir := t.TempDir()
	file := filepath.Join(dir, "framelog.yaml")
	yaml := "brokers: [\"" + fake.ListenAddrs()[0] + "\"]\ncameras:\n  - {id: ours, url: 'rtsp://127.0.0.1:1/'}\n"
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := settings{Config: file, Data: &dir}.load(nil)
	if err != nil {
		t.Fatal(err)
	}
	log := &testenv.Log{}
	u := &up{cfg: cfg, log: slog.New(slog.NewTextHandler(log, nil))}
	reg, err := registry.Connect(kafkaConfig(cfg, "test"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer reg.Close()
	ctx, cancel := context.WithTimeout(t.Context(), testenv.Patience)
	defer cancel()
	if err := reg.Ensure(ctx); err != nil {
		t.Fatal(err)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	theirs := schemas.Camera{ID: "theirs", URL: "rtsp://127.0.0.1:2/", Source: schemas.SourceFile, Origin: cfg.Name + ":9", Place: host + ":" + file}
	if err := reg.Put(ctx, theirs); err != nil {
		t.Fatal(err)
	}
	if err := u.reconcile(ctx, reg); err != nil {
		t.Fatal(err)
	}
	s, err := reg.Load(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if got := slices.Sorted(maps.Keys(s.Cameras)); !slices.Equal(got, []string{"ours", "theirs"}) {
		t.Errorf("cameras %v", got)
	}
	if !strings.Contains(log.String(), "cameras=[theirs]") || !strings.Contains(log.String(), "cameras apply --prune") {
		t.Errorf("nobody is told of the one that stays: %s", log)
	}
}

// A configuration that is refused, since the API has a camera of one of its ids,
// leaves that camera's password as it was.
func TestRefusedFileTakesNoPassword(t *testing.T) {
	const head = "ingest: {disk_reserve: 0}\n"
	f := testenv.Up(t, testenv.UpOptions{Config: head})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, f.URL+"/v1/cameras/front",
		strings.NewReader(`{"url":"rtsp://viewer:`+canary+`@127.0.0.1:1/live"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode != http.StatusCreated {
		t.Fatalf("%v, %v", resp, err)
	}
	resp.Body.Close()
	kept := func() string {
		b, err := os.ReadFile(filepath.Join(f.Data, "secrets", "front"))
		if err != nil {
			t.Error(err)
		}
		return string(b)
	}
	before := kept()
	if code := f.Stop(); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	second := testenv.Up(t, testenv.UpOptions{
		Config: head + "cameras:\n  - {id: front, url: 'rtsp://viewer:another@127.0.0.1:2/live'}\n", Data: f.Data, NoWait: true,
	})
	if code := second.ExitCode(2 * testenv.Patience); code != exitConfig {
		t.Errorf("exit code %d", code)
	}
	if after := kept(); after != before || !strings.Contains(before, canary) {
		t.Errorf("the password's file was %q, is %q", before, after)
	}
}
