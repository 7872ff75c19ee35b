package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/framelog/framelog/internal/config"
	"github.com/framelog/framelog/internal/secrets"
	"github.com/framelog/framelog/internal/service"
	"github.com/framelog/framelog/internal/supervise"
	"github.com/framelog/framelog/schemas"
)

// upCmd runs all roles, each in a process of its own.
type upCmd struct {
	settings
	Listen   *string `help:"Address of the page, HLS, the API and metrics." placeholder:"HOST:PORT"`
	Insecure bool    `help:"Let others than this machine reach it, without a password."`
	Demo     bool    `help:"Add two cameras that are made up."`
}

// up is a running `framelog up`.
type up struct {
	cfg    *config.Config
	log    *slog.Logger
	reg    *prometheus.Registry
	runDir string
	demo   string // address of the demo's cameras, "" without
	exe    string
	stored []func() error // take back the passwords of the file's cameras

	brokerReady chan struct{}
	onceReady   sync.Once
	allReady    atomic.Bool
}

// Run is `framelog up`.
func (c upCmd) Run(ctx context.Context) error {
	cfg, err := c.load(map[string]*string{"listen": c.Listen, "insecure": yes(c.Insecure)})
	if err != nil {
		return err
	}
	unlock, err := lockData(cfg)
	if err != nil {
		return err
	}
	defer unlock()
	if err := os.MkdirAll(cfg.SecretsDir, 0o700); err != nil {
		return cfg.Errorf("secrets_dir", "name a directory that you may write to", "%q cannot be made: %s", cfg.SecretsDir, pathCause(err))
	}
	var stored []func() error
	if err := cfg.TakePasswords(func(id, url, password string) error {
		undo, err := secrets.Store(cfg.SecretsDir, schemas.Camera{ID: id, URL: url}, password)
		if err == nil {
			stored = append(stored, undo)
		}
		return err
	}); err != nil {
		return err
	}
	ln, err := service.Listen(ctx, cfg.Listen)
	if err != nil {
		return listenError(cfg, "listen", cfg.Listen, err)
	}
	defer ln.Close()
	if cfg.Embedded() {
		if err := checkBrokerPort(ctx, cfg); err != nil {
			return err
		}
	} else {
		if err := checkBrokers(ctx, cfg); err != nil {
			return err
		}
	}
	u := &up{
		cfg: cfg, log: service.NewLogger(os.Stderr, cfg.Log.Level, cfg.Log.Format, "up"), reg: service.NewRegistry(),
		brokerReady: make(chan struct{}), stored: stored,
	}
	if u.exe, err = os.Executable(); err != nil {
		return fmt.Errorf("find own program: %w", err)
	}
	if c.Demo {
		if u.demo, err = demoAddress(ctx); err != nil {
			return err
		}
	}
	remove, err := u.makeRunDir()
	if err != nil {
		return err
	}
	defer remove()
	return u.run(ctx, ln)
}

// checkBrokerPort says that the embedded broker could not listen before the
// broker has to: here the error can name the user's own file. The broker of an
// up that was just killed may hold the port for a moment.
func checkBrokerPort(ctx context.Context, cfg *config.Config) error {
	told := ctx
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		ln, err := service.Listen(ctx, cfg.BrokerListen)
		if err == nil {
			return ln.Close()
		}
		select {
		case <-ctx.Done():
			if told.Err() != nil {
				return told.Err()
			}
			return listenError(cfg, "broker_listen", cfg.BrokerListen, err)
		case <-tick.C:
		}
	}
}

// lockData takes the data directory for this process. Others may pass through
// it and read nothing in it, but for hls, whose files a web server gives out: it
// is somebody else.
func lockData(cfg *config.Config) (unlock func(), err error) {
	if err := os.MkdirAll(cfg.Data, 0o711); err != nil {
		return nil, cfg.Errorf("data", "name a directory that you may write to", "%q cannot be made: %s", cfg.Data, pathCause(err))
	}
	f, err := os.OpenFile(filepath.Join(cfg.Data, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, cfg.Errorf("data", "name a directory that you may write to", "%q cannot be written to: %s", cfg.Data, pathCause(err))
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, cfg.Errorf("data", "stop it, or choose another directory with --data", "%q is in use by another framelog", cfg.Data)
		}
		return nil, fmt.Errorf("lock %s: %w", cfg.Data, err)
	}
	return func() { _ = f.Close() }, nil
}

func pathCause(err error) string {
	var pe *os.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	return err.Error()
}

// maxSocketPath is the longest path of a Unix socket on Linux, its final zero
// not counted.
const maxSocketPath = 107

// makeRunDir makes the directory of the sockets, data/run, or one in the
// temporary directory where the path is too long for a socket; and puts the
// configuration there that all children read, as it is after all overrides.
func (u *up) makeRunDir() (remove func(), err error) {
	dir, err := filepath.Abs(filepath.Join(u.cfg.Data, "run"))
	if err != nil {
		return nil, fmt.Errorf("find data directory: %w", err)
	}
	remove = func() {}
	if len(filepath.Join(dir, "ingest.sock")) > maxSocketPath {
		if dir, err = os.MkdirTemp("", "framelog-"); err != nil { // 0700
			return nil, fmt.Errorf("make directory of sockets: %w", err)
		}
		remove = func() { _ = os.RemoveAll(dir) }
	} else if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make directory of sockets: %w", err)
	}
	u.runDir = dir
	own := *u.cfg
	own.Cameras = nil // the parent puts them into the registry
	if own.Ingest.Instance == "" {
		// The same for each process that this parent starts, and no other's.
		own.Ingest.Instance = fmt.Sprintf("up-%016x", rand.Uint64())
	}
	b, err := yaml.Marshal(own)
	if err == nil {
		err = os.WriteFile(u.file("config.yaml"), b, 0o600)
	}
	if err != nil {
		remove()
		return nil, fmt.Errorf("write configuration of children: %w", err)
	}
	return remove, nil
}

func (u *up) file(name string) string { return filepath.Join(u.runDir, name) }

// socket is where a role answers.
func (u *up) socket(role string) string { return u.file(role + ".sock") }

// roles are the children in the order of their start.
func (u *up) roles() []string {
	var out []string
	if u.cfg.Embedded() {
		out = append(out, "broker")
	}
	if u.demo != "" {
		out = append(out, "camsim")
	}
	return append(out, "egress", "ingest")
}

// run runs the children and the HTTP port until ctx ends.
func (u *up) run(ctx context.Context, ln net.Listener) error {
	if !u.cfg.Embedded() {
		close(u.brokerReady)
	}
	clients := make(map[string]*http.Client)
	sc := supervise.Config{Output: os.Stderr, AllReady: func() {
		u.allReady.Store(true)
		fmt.Fprintf(os.Stdout, "Framelog is ready: http://%s/\n", readable(ln.Addr().String()))
	}}
	for _, role := range u.roles() {
		clients[role] = service.Client(u.socket(role))
		sc.Children = append(sc.Children, supervise.Child{
			Role: role, Command: func() *exec.Cmd { return u.command(role) },
			// A camera is recorded whether or not viewers are served.
			First: role == "broker" || role == "camsim",
			// More than ingest takes where a connection hangs and Kafka is away.
			StopTimeout: 15 * time.Second,
			Ready: func(ctx context.Context) error {
				err := service.AskReady(ctx, clients[role])
				if err == nil && role == "broker" {
					u.onceReady.Do(func() { close(u.brokerReady) })
				}
				return err
			},
		})
	}
	mux := http.NewServeMux()
	mux.Handle("/", proxy(u.socket("egress"), u.log))
	mux.Handle("GET /metrics", guard(u.cfg, u.cfg.Listen).Wrap(service.JoinedMetrics(u.reg, "up", clients)))
	mux.Handle("GET /readyz", readiness(u.allReady.Load, clients["egress"]))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "ok\n") // the client has gone
	})
	return service.All(ctx,
		func(ctx context.Context) error {
			err := supervise.Run(ctx, sc, u.log, u.reg)
			if child, ok := errors.AsType[*supervise.ConfigError](err); ok {
				child.Said = u.said(child.Said)
			}
			return err
		},
		func(ctx context.Context) error { return service.ServeHTTP(ctx, ln, mux, u.log, time.Second) },
		u.cameras)
}

// said is what a child says of its configuration, with the places where its
// values were set instead of the file that was made for it.
func (u *up) said(line string) string {
	rest, ok := strings.CutPrefix(line, "framelog: "+u.file("config.yaml")+":")
	if !ok {
		return line
	}
	_, rest, _ = strings.Cut(rest, ": ") // the line's number
	key, _, _ := strings.Cut(rest, ":")
	if where := u.cfg.Where(key); where != "" {
		rest = where + ": " + rest
	}
	return rest
}

// command is a child's. What the environment says is in its configuration
// already; secrets are for ingest alone.
func (u *up) command(role string) *exec.Cmd {
	args := []string{role, "--config", u.file("config.yaml"), "--socket", u.socket(role)}
	if role == "camsim" {
		args = []string{role, "--listen", u.demo, "--socket", u.socket(role), "--log-level", u.cfg.Log.Level, "--log-format", u.cfg.Log.Format}
	}
	cmd := exec.Command(u.exe, args...) //nolint:noctx // the supervisor ends it, gently
	for _, e := range os.Environ() {
		ours := strings.HasPrefix(e, "FRAMELOG_")
		secret := strings.HasPrefix(e, "FRAMELOG_SECRET_") && role == "ingest"
		if !ours || secret || strings.HasPrefix(e, "FRAMELOG_TEST_") {
			cmd.Env = append(cmd.Env, e)
		}
	}
	return cmd
}

// demoAddress is where the demo's cameras answer: port 8554, or any where that
// is in use.
func demoAddress(ctx context.Context) (string, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", "127.0.0.1:8554")
	if err != nil {
		if ln, err = lc.Listen(ctx, "tcp", "127.0.0.1:0"); err != nil {
			return "", fmt.Errorf("find a port for the demo: %w", err)
		}
	}
	defer ln.Close()
	return ln.Addr().String(), nil
}

// readable is an address for a browser on this machine.
func readable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); err == nil && ip != nil && ip.IsUnspecified() {
		return net.JoinHostPort("localhost", port)
	}
	return addr
}
