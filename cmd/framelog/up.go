package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/framelog/framelog/egress/access"
	"github.com/framelog/framelog/internal/app/brokers"
	"github.com/framelog/framelog/internal/app/config"
	"github.com/framelog/framelog/internal/app/service"
	"github.com/framelog/framelog/internal/app/supervise"
	"github.com/framelog/framelog/internal/secrets"
	"github.com/framelog/framelog/schemas"
)

// upCmd runs all roles, each in a process of its own.
type upCmd struct {
	settings
	Listen   *string `help:"Address of the page, HLS, the API and metrics." placeholder:"HOST:PORT"`
	Insecure bool    `help:"Let others than this machine reach it, without passwords and TLS."`
	Demo     bool    `help:"Add two cameras that are made up. They listen on 127.0.0.1:8554 (RTSP), or where demo.listen says."`
}

// up is a running `framelog up`.
type up struct {
	cfg      *config.Config
	log      *slog.Logger
	reg      *prometheus.Registry
	children []child // in the order of their start
	runDir   string
	withDemo bool
	demo     string // address of the demo's cameras; "" if they do not run
	exe      string
	stored   []func() error // undo the storing of passwords of the file's cameras

	brokerReady   chan struct{} // closed when brokers are there
	brokerIsReady func()        // closes it
	rolesReady    chan struct{} // closed when every role has been ready
	camerasStored chan struct{} // closed when the registry has the cameras of the configuration
}

// Run runs `framelog up`.
func (c upCmd) Run(ctx context.Context) error {
	var ownEnv []string
	for _, r := range roles() {
		ownEnv = append(ownEnv, r.env...)
	}
	cfg, err := c.load(map[string]*string{"listen": c.Listen, "insecure": flagValue(c.Insecure)}, ownEnv...)
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
	if err := cfg.TakePasswords(func(cam schemas.Camera, password string) error {
		undo, err := secrets.Store(cfg.SecretsDir, cam, password)
		if err == nil {
			stored = append(stored, undo)
		}
		return err
	}); err != nil {
		return err
	}
	if err := makeCertificate(cfg); err != nil {
		return err
	}
	log := service.NewLogger(os.Stderr, cfg.Log.Level, cfg.Log.Format, "up")
	ln, err := service.Listen(ctx, cfg.Listen)
	if err != nil {
		return listenError(cfg, "listen", cfg.Listen, err)
	}
	defer ln.Close()
	ln = service.WithProgress(ln, untaken(cfg))
	if ln, err = withTLS(cfg, ln, log); err != nil {
		return err
	}
	u := &up{
		cfg: cfg, log: log, reg: service.NewRegistry(),
		withDemo: c.Demo, stored: stored,
		brokerReady: make(chan struct{}), rolesReady: make(chan struct{}), camerasStored: make(chan struct{}),
	}
	u.brokerIsReady = sync.OnceFunc(func() { close(u.brokerReady) })
	if u.exe, err = os.Executable(); err != nil {
		return fmt.Errorf("find own program: %w", err)
	}
	for _, r := range roles() {
		if r.inUp != nil && !r.inUp(u) {
			continue
		}
		if r.prepare != nil {
			if err := r.prepare(ctx, u); err != nil {
				return err
			}
		}
		u.children = append(u.children, u.processes(r)...)
	}
	remove, err := u.makeRunDir()
	if err != nil {
		return err
	}
	defer remove()
	return u.run(ctx, ln)
}

// processes returns the processes of a role.
func (u *up) processes(r role) []child {
	if r.processes == nil {
		return []child{{role: r, name: r.name}}
	}
	all := r.processes(u)
	for i := range all {
		all[i].role = r
	}
	return all
}

// checkBrokerPort checks that the embedded broker will be able to listen. The check
// is here, and not in the broker, so that the error can name the user's own file.
// It waits for 3 s, since the broker of an up that was just killed may hold the
// port for a moment.
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

// lockData takes the data directory for this process. Other users may enter it, but
// can read nothing in it except hls, from which a web server of another user serves
// files.
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

// pathCause returns the cause of an error without its path.
func pathCause(err error) string {
	var pe *os.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	return err.Error()
}

// maxSocketPath is the longest path of a Unix socket on Linux, in bytes, without
// the zero at its end.
const maxSocketPath = 107

// makeRunDir makes the directory of the sockets: data/run, or one in the temporary
// directory if that path is too long for a socket. It writes the configuration
// that all children read into it, with the environment and flags applied.
func (u *up) makeRunDir() (remove func(), err error) {
	dir, err := filepath.Abs(filepath.Join(u.cfg.Data, "run"))
	if err != nil {
		return nil, fmt.Errorf("find data directory: %w", err)
	}
	remove = func() {}
	tooLong := func(c child) bool { return len(filepath.Join(dir, c.name+".sock")) > maxSocketPath }
	if slices.ContainsFunc(u.children, tooLong) {
		if dir, err = os.MkdirTemp("", "framelog-"); err != nil { // 0700
			return nil, fmt.Errorf("make directory of sockets: %w", err)
		}
		remove = func() { _ = os.RemoveAll(dir) }
	} else if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make directory of sockets: %w", err)
	}
	u.runDir = dir
	// It includes the cameras: from them ingest learns where their secrets may go.
	cfg := *u.cfg
	cfg.Kafka.SASL.Password = "" // command passes it on, so that it is not on the disk
	b, err := yaml.Marshal(&cfg)
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

// socket is the path of a child's socket.
func (u *up) socket(child string) string { return u.file(child + ".sock") }

// run runs the children and the HTTP port until ctx ends.
func (u *up) run(ctx context.Context, ln net.Listener) error {
	clients := make(map[string]*http.Client)
	sc := supervise.Config{Output: os.Stderr, AllReady: func() { close(u.rolesReady) }}
	for _, c := range u.children {
		client := service.Client(u.socket(c.name))
		clients[c.name] = client
		sc.Children = append(sc.Children, supervise.Child{
			Role: c.name, Command: func() *exec.Cmd { return u.command(c) },
			WaitReady: c.waitReady,
			// Ingest needs less time, also if it hands its cameras over, or if a
			// connection hangs and Kafka is away.
			StopTimeout: 25 * time.Second,
			Ready: func(ctx context.Context) error {
				err := service.AskReady(ctx, client)
				if err == nil && c.ready != nil {
					c.ready(u)
				}
				return err
			},
		})
	}
	policy := access.Policy{Authorize: access.Everyone}
	if u.cfg.Access.Enabled {
		policy = asking(askClient(clients["egress"]))
	}
	front := guard(u.cfg, u.cfg.Listen, policy)
	mux := http.NewServeMux()
	for _, c := range u.children {
		to := proxy(u.socket(c.name), front.Wrap, u.log)
		if c.operators {
			to = front.Wrap(policy.Operator(to))
		}
		c.mount(mux, to, passing(service.PassedSocket(u.socket(c.name)), to, u.log))
	}
	mux.Handle("GET /metrics", front.Metrics(service.JoinedMetrics(u.reg, "up", clients)))
	mux.Handle("GET /readyz", u.readiness(clients))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "ok\n") // the client has gone
	})
	return service.All(ctx,
		func(ctx context.Context) error {
			err := supervise.Run(ctx, sc, u.log, u.reg)
			if child, ok := errors.AsType[*supervise.ConfigError](err); ok {
				child.Said = u.childError(child.Said)
			}
			return err
		},
		func(ctx context.Context) error { return service.ServeHTTP(ctx, ln, mux, u.log, time.Second) },
		u.awaitBrokers,
		u.cameras,
		func(ctx context.Context) error { return u.tellReady(ctx, ln.Addr().String()) })
}

// starting returns what is not ready yet; "" when all is.
func (u *up) starting() string {
	select {
	case <-u.rolesReady:
	default:
		return "not every role has started yet"
	}
	select {
	case <-u.camerasStored:
	default:
		return "the cameras of the configuration are not in the registry yet"
	}
	return ""
}

// tellReady waits until all is ready, and prints where the page is. Then it waits for the end
// of ctx. People compare the fingerprint of a certificate that Framelog has made with what
// their browser shows.
func (u *up) tellReady(ctx context.Context, addr string) error {
	for _, ready := range []chan struct{}{u.rolesReady, u.camerasStored} {
		select {
		case <-ready:
		case <-ctx.Done():
			return nil
		}
	}
	fmt.Fprintf(os.Stdout, "Framelog is ready: %s://%s/\n", scheme(u.cfg, "listen"), readable(addr))
	if u.cfg.TLS.Cert != "" && u.cfg.Where("tls.cert") == "" {
		if text, err := fingerprint(u.cfg.TLS.Cert); err == nil {
			fmt.Fprintf(os.Stdout, "Browsers do not know its certificate. Its SHA-256 fingerprint is %s\n", text)
		}
	}
	<-ctx.Done()
	return nil
}

// awaitBrokers waits for brokers that up does not run itself. The children wait
// too, but only up logs it.
func (u *up) awaitBrokers(ctx context.Context) error {
	if !u.cfg.Embedded() && brokers.NewWait(u.cfg, u.log).Run(ctx) == nil {
		u.brokerIsReady()
	}
	<-ctx.Done()
	return nil
}

// childError returns a child's configuration error for people. It names the place where
// the user set the value, instead of the file that up made for the children.
func (u *up) childError(line string) string {
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

// command returns the command of a child. The child's configuration file
// already holds the values of the environment, so the child gets no FRAMELOG_*
// variables except its own, and the password of the brokers.
func (u *up) command(c child) *exec.Cmd {
	args := slices.Concat([]string{c.role.name}, c.args, []string{"--config", u.file("config.yaml"), "--socket", u.socket(c.name)})
	cmd := exec.Command(u.exe, args...) //nolint:noctx // the supervisor ends it, gently
	own := append([]string{"FRAMELOG_TEST_"}, c.env...)
	password := u.cfg.Kafka.SASL.Password
	secret := secretNames(password)
	if s := config.Get[archiveConfig](u.cfg).S3; slices.Contains([]string{"archive", "egress", "ingest"}, c.role.name) {
		secret = slices.Concat(secret, secretNames(s.AccessKey), secretNames(s.SecretKey))
	}
	if password != "" {
		cmd.Env = append(cmd.Env, config.EnvName("kafka.sasl.password")+"="+password)
	}
	for _, e := range os.Environ() {
		name, _, _ := strings.Cut(e, "=")
		if !strings.HasPrefix(e, "FRAMELOG_") || slices.Contains(c.secrets, name) || slices.Contains(secret, name) || slices.ContainsFunc(own, func(prefix string) bool { return strings.HasPrefix(e, prefix) }) {
			cmd.Env = append(cmd.Env, e)
		}
	}
	return cmd
}

// readable returns addr in the form that a browser on this machine can open.
func readable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); err == nil && ip != nil && ip.IsUnspecified() {
		return net.JoinHostPort("localhost", port)
	}
	return addr
}
