package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sys/unix"

	"github.com/framelog/framelog/internal/app/config"
	"github.com/framelog/framelog/schemas"
	"github.com/framelog/framelog/tests/testenv"
)

// TestPurge: a camera that is recorded and watched is removed with its footage,
// which does not come back, not even with a restart; the others go on, and a
// camera of the same name begins anew.
func TestPurge(t *testing.T) {
	t.Run("on_demand", func(t *testing.T) { purgeIn(t, "on_demand", "") })
	t.Run("always", func(t *testing.T) { purgeIn(t, "always", "") })
	t.Run("kafka", func(t *testing.T) { purgeIn(t, "on_demand", testenv.OwnKafka(t).Brokers[0]) })
}

func purgeIn(t *testing.T, mode, brokers string) {
	t.Parallel() // most of it is waiting
	f := testenv.Up(t, testenv.UpOptions{Args: []string{"--demo"}, Config: fmt.Sprintf("brokers: [%s]\ningest: {disk_reserve: 0}\negress: {disk_reserve: 1, mode: %s}\n", brokers, mode)})
	if brokers == "" {
		brokers = f.Broker
	}
	framelog := func(code int, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), testenv.Binary(t), append([]string{"cameras", "--brokers", brokers, "--data", f.Data}, args...)...)
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if got := cmd.ProcessState.ExitCode(); got != code || err != nil && !errors.As(err, &exit) {
			t.Fatalf("framelog %v: exit code %d, want %d\n%s", args, got, code, out)
		}
		return string(out)
	}
	topics := func() (of []string) {
		t.Helper()
		client, err := kgo.NewClient(kgo.SeedBrokers(brokers)) // which remembers what it has listed
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		all, err := kadm.NewClient(client).ListTopics(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range all.Names() {
			if strings.HasPrefix(name, "cam.yard") {
				of = append(of, name)
			}
		}
		return of
	}
	plays := func(id string) bool {
		code, _, err := f.Get(t, "/hls/"+id+"/index.m3u8")
		return err == nil && code == http.StatusOK
	}

	// The demo's cameras may come into the registry after everything is ready,
	// and may have another port than before.
	demo := func() (url string) {
		t.Helper()
		f.Wait(t, testenv.Patience, "the demo's camera", func() bool {
			cfg, err := loadConfig(filepath.Join(f.Data, "run", "config.yaml"), nil, nil) // as the children read it
			if err != nil {
				return false
			}
			code, body, err := f.Get(t, "/v1/cameras/demo-harbour")
			var cam struct{ URL string }
			if err != nil || code != http.StatusOK || json.Unmarshal(body, &cam) != nil {
				return false
			}
			url = cam.URL
			return strings.HasPrefix(url, "rtsp://"+config.Get[demoConfig](cfg).Listen+"/")
		})
		return url
	}
	url := demo()
	secret := filepath.Join(f.Data, "secrets", "yard")
	host, _, _ := strings.Cut(strings.TrimPrefix(url, "rtsp://"), "/")
	if err := os.WriteFile(secret, []byte("for "+host+"\n"+canary+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	yard := strings.Replace(url, "rtsp://", "rtsp://viewer:${file:yard}@", 1)
	framelog(0, "add", "yard", yard)
	f.Wait(t, 2*testenv.Patience, "footage of the camera", func() bool { return plays("yard") })
	if len(topics()) != 2 {
		t.Fatalf("topics %v", topics())
	}

	if out := framelog(2, "remove", "demo-harbour", "--purge"); !strings.Contains(out, "without --demo") {
		t.Error(out)
	}
	out := framelog(0, "remove", "yard", "--purge")
	t.Log(out)
	if !strings.Contains(out, "the topics cam.yard, cam.yard.index.") || !strings.Contains(out, "password stays") {
		t.Error(out)
	}
	gone := func(when string) {
		t.Helper()
		if got := topics(); len(got) != 0 {
			t.Errorf("%s: topics %v", when, got)
		}
		err := filepath.WalkDir(filepath.Join(f.Data, "broker"), func(path string, _ fs.DirEntry, err error) error {
			if strings.Contains(path, "cam.yard") {
				t.Errorf("%s: %s", when, path)
			}
			if errors.Is(err, fs.ErrNotExist) {
				return nil // removed meanwhile
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
		if code, body, err := f.Get(t, "/hls/yard/index.m3u8"); err != nil || code != http.StatusNotFound {
			t.Errorf("%s: playlist %d %s %v", when, code, body, err)
		}
	}
	f.Wait(t, testenv.Patience, "that egress has heard of it", func() bool {
		code, _, err := f.Get(t, "/hls/yard/index.m3u8")
		return err == nil && code == http.StatusNotFound
	})
	gone("at once")
	if _, err := os.Stat(secret); err != nil {
		t.Errorf("the file of its password, which was made by hand: %v", err)
	}
	if out := framelog(2, "remove", "yard", "--purge"); !strings.Contains(out, "no footage") {
		t.Error(out)
	}
	for _, id := range []string{"demo-harbour", "demo-garden"} {
		f.Wait(t, testenv.Patience, "another camera to play on: "+id, func() bool { return plays(id) })
	}
	if mode == "on_demand" { // added again, while its topics are still known everywhere
		framelog(0, "add", "yard", yard)
		f.Wait(t, 2*testenv.Patience, "footage of the camera that was added again", func() bool { return plays("yard") })
		framelog(0, "remove", "yard", "--purge")
		purgeIsQuiet(t, f)
	}
	if code := f.Stop(); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	f.Start(t)
	f.WaitReady(t)
	gone("after a restart")

	framelog(0, "add", "yard", demo())
	f.Wait(t, 2*testenv.Patience, "footage of the new camera", func() bool { return plays("yard") })
	if out := framelog(0, "remove", "yard"); !strings.Contains(out, "until it expires") || len(topics()) != 2 {
		t.Errorf("%s: topics %v", out, topics())
	}
	// No status is left by which the next command could tell that it has stopped.
	f.Wait(t, testenv.Patience, "that ingest has heard of it", func() bool {
		_, body, err := f.Get(t, "/metrics")
		return err == nil && strings.Contains(string(body), `go_goroutines{role="ingest"}`) && !strings.Contains(string(body), `framelog_log_entries_total{camera="yard",`)
	})
	if out := framelog(0, "remove", "yard", "--purge"); !strings.Contains(out, "the topics cam.yard, cam.yard.index.") || len(topics()) != 0 {
		t.Errorf("%s: topics %v", out, topics())
	}
	purgeIsQuiet(t, f)
}

// purgeIsQuiet: that topics are gone which were to be deleted is no warning. A slow Kafka may
// not know topics yet that were just made.
func purgeIsQuiet(t *testing.T, f *testenv.Framelog) {
	t.Helper()
	for line := range strings.Lines(f.Log.String()) {
		if strings.Contains(line, "UNKNOWN_TOPIC") && !strings.Contains(line, "topics of the registry do not exist yet") && !strings.Contains(line, "waiting for Kafka to create") {
			t.Errorf("logged: %s", line)
		}
	}
}

// TestForget: a password file is removed where it is known to be of the camera
// that was.
func TestForget(t *testing.T) {
	const kept = "for 10.0.0.5:554, kept by Framelog\n" + canary + "\n"
	for _, c := range []struct {
		name, yaml, text, lock string // lock: what a running Framelog has
		want                   bool
	}{
		{"embedded broker", "", kept, "data/lock", true},
		{"embedded broker alone", "", kept, "data/broker/lock", true},
		{"embedded broker elsewhere", "", kept, "", false},
		{"embedded broker elsewhere, data named", "data: ./data\n", kept, "", true},
		{"brokers elsewhere", "brokers: [kafka:9092]\n", kept, "data/lock", false},
		{"brokers elsewhere, data named", "brokers: [kafka:9092]\ndata: ./data\n", kept, "", true},
		{"brokers elsewhere, secrets named", "brokers: [kafka:9092]\nsecrets_dir: ./data/secrets\n", kept, "", true},
		{"another directory", "secrets_dir: ./elsewhere\n", kept, "data/lock", false},
		{"made by hand", "", canary + "\n", "data/lock", false},
		{"made by hand for a host", "", "for 10.0.0.5:554\n" + canary + "\n", "data/lock", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			for _, dir := range []string{"data/secrets", "data/broker"} {
				if err := os.MkdirAll(dir, 0o700); err != nil {
					t.Fatal(err)
				}
			}
			for _, name := range []string{"data/lock", "data/broker/lock"} { // they stay when nothing runs
				f, err := os.Create(name)
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				if name == c.lock {
					if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
						t.Fatal(err)
					}
				}
			}
			for name, text := range map[string]string{"data/secrets/yard": c.text, "framelog.yaml": c.yaml} {
				if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			cfg, err := loadConfig("framelog.yaml", nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			got, err := forget(cfg, "yard", nil)
			_, there := os.Stat("data/secrets/yard")
			if err != nil || got != c.want || (there == nil) == c.want {
				t.Errorf("forgotten %v, %v; the file: %v", got, err, there)
			}
			if got, err := forget(cfg, "never", nil); got || err != nil {
				t.Errorf("a camera without: %v %v", got, err)
			}
		})
	}
}

// TestKeep: a password that is typed beside a running Framelog is kept where it
// looks for it, and in another folder nowhere.
func TestKeep(t *testing.T) {
	t.Chdir(t.TempDir())
	load := func(flags map[string]string) *config.Config {
		cfg, err := loadConfig("", nil, flags)
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	kept := func(cfg *config.Config, want bool) {
		t.Helper()
		undo, err := keep(cfg, schemas.Camera{ID: "yard", URL: "rtsp://10.0.0.5/", User: "u", Password: "${file:yard}"}, canary)
		if _, there := os.Stat(filepath.Join(cfg.SecretsDir, "yard")); (undo != nil) != want || err != nil || (there == nil) != want {
			t.Errorf("kept %v, %v, want %v; the file: %v", undo != nil, err, want, there)
		}
	}
	kept(load(nil), false)
	if _, err := os.Stat("data"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a data directory is made: %v", err)
	}
	kept(load(map[string]string{"data": "./named"}), true)
	_, unlock := lockedData(t, "data")
	kept(load(nil), true)
	unlock()
	if err := os.RemoveAll("data/secrets"); err != nil {
		t.Fatal(err)
	}
	kept(load(nil), false)
}
