package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/framelog/framelog/egress"
	"github.com/framelog/framelog/egress/api"
	"github.com/framelog/framelog/egress/hls"
	"github.com/framelog/framelog/ingest"
	"github.com/framelog/framelog/ingest/assemble"
	"github.com/framelog/framelog/ingest/rtsp"
	"github.com/framelog/framelog/internal/broker"
	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/internal/config"
	"github.com/framelog/framelog/internal/gstreamer"
	"github.com/framelog/framelog/internal/kafka"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/internal/registry"
	"github.com/framelog/framelog/internal/secrets"
	"github.com/framelog/framelog/internal/service"
	"github.com/framelog/framelog/schemas"
)

// role is what the subcommands of single roles share.
type role struct {
	settings
	Insecure bool   `help:"Let others than this machine reach it, without a password."`
	Socket   string `hidden:"" help:"Unix socket instead: this is a child of framelog up."`
}

// httpFlag is of roles that have no address of their own in the configuration.
type httpFlag struct {
	HTTP string `name:"http" help:"Address of metrics, health and readiness. Default: none." placeholder:"HOST:PORT"`
}

// start loads the configuration, with listen where that flag is given, and
// makes what every role has. http is the address that --http asks for. Alone, a
// role takes no passwords and wants its brokers to be there; a child of `up`,
// which has looked, does not: it may be started again while they are away.
func (r role) start(ctx context.Context, name string, listen *string, http string) (*config.Config, *slog.Logger, *prometheus.Registry, error) {
	cfg, err := r.load(map[string]*string{"listen": listen, "insecure": yes(r.Insecure)})
	if err != nil {
		return nil, nil, nil, err
	}
	if r.Socket == "" {
		if http != "" {
			if err := cfg.CheckOpen("--http", http, "see what all cameras are called and do", "listen on 127.0.0.1"); err != nil {
				return nil, nil, nil, err
			}
		}
		if err := cfg.TakePasswords(nil); err != nil {
			return nil, nil, nil, err
		}
		if name == "ingest" || name == "egress" {
			if err := checkBrokers(ctx, cfg); err != nil {
				return nil, nil, nil, err
			}
		}
	}
	return cfg, service.NewLogger(os.Stderr, cfg.Log.Level, cfg.Log.Format, name), service.NewRegistry(), nil
}

// yes is the value of a flag that was given.
func yes(given bool) *string {
	if !given {
		return nil
	}
	s := "true"
	return &s
}

// serve serves the role over HTTP: on its socket, or else on addr, which key
// has set and start has checked; nowhere where that is empty.
func (r role) serve(ctx context.Context, cfg *config.Config, key, addr string, s service.Server) error {
	if r.Socket != "" {
		addr = "unix:" + r.Socket
	}
	if addr == "" {
		<-ctx.Done()
		return nil
	}
	ln, err := service.Listen(ctx, addr)
	if err != nil && r.Socket != "" {
		return err // nobody has configured it
	}
	if err != nil {
		return listenError(cfg, key, addr, err)
	}
	if r.Socket == "" {
		s.Guard = guard(cfg, addr).Wrap
		s.Log.Info("listening", "url", "http://"+ln.Addr().String()+"/")
	}
	return s.Serve(ctx, ln)
}

// guard is what stands before all that tells of cameras, at an address that is
// listened on.
func guard(cfg *config.Config, addr string) egress.Guard {
	return egress.Guard{Loopback: config.Loopback(addr), Hosts: cfg.Egress.Hosts}
}

// kafkaConfig is how a role connects.
func kafkaConfig(cfg *config.Config, client string) kafka.Config {
	brokers := cfg.Brokers
	if cfg.Embedded() {
		brokers = []string{cfg.BrokerListen}
	}
	return kafka.Config{Brokers: brokers, Prefix: cfg.TopicPrefix, ClientID: client}
}

func logConfig(cfg *config.Config, client string) medialog.Config {
	segment := int64(cfg.Topics.SegmentBytes)
	if segment == 0 && cfg.Embedded() {
		segment = broker.SegmentBytes(int64(cfg.Broker.Limit))
	}
	retention := int64(cfg.Topics.RetentionBytes)
	if retention == 0 {
		retention = -1
	}
	return medialog.Config{
		Kafka: kafkaConfig(cfg, client), Partitions: int32(cfg.Topics.Partitions),
		Retention: time.Duration(cfg.Topics.Retention), RetentionBytes: retention,
		SegmentBytes: segment, Budget: int64(cfg.Topics.Budget),
	}
}

// checkBrokers says within seconds whether any of the brokers answers.
func checkBrokers(ctx context.Context, cfg *config.Config) error {
	kc := kafkaConfig(cfg, "framelog-check")
	told := ctx
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	why := make([]string, len(kc.Brokers))
	ok := make(chan bool, len(kc.Brokers))
	for i, addr := range kc.Brokers {
		go func() {
			var d net.Dialer
			conn, err := d.DialContext(ctx, "tcp", addr)
			if err != nil {
				why[i] = cause(err)
				ok <- false
				return
			}
			ok <- conn.Close() == nil
		}()
	}
	found := false
	for range kc.Brokers {
		if <-ok {
			found = true
			break
		}
	}
	key, remedy := "brokers", "start it, or empty the list for the embedded broker of framelog up"
	if cfg.Embedded() {
		key, remedy = "broker_listen", "start framelog up or framelog broker, or name your own with --brokers"
	}
	if told.Err() != nil {
		return told.Err()
	}
	if !found {
		return cfg.Errorf(key, remedy, "%s does not answer: %s", strings.Join(kc.Brokers, ", "), strings.Join(why, "; "))
	}
	client, err := kgo.NewClient(append(kc.Options(slog.New(slog.DiscardHandler)),
		kgo.RequestTimeoutOverhead(2*time.Second), kgo.RetryTimeout(3*time.Second), kgo.RequestRetries(0))...)
	if err != nil {
		return cfg.Errorf(key, "", "%v", err)
	}
	defer client.Close()
	if err := client.Ping(ctx); err != nil {
		if told.Err() != nil {
			return told.Err()
		}
		return cfg.Errorf(key, remedy, "%s takes connections and does not answer as Kafka does", strings.Join(kc.Brokers, ", "))
	}
	return nil
}

// cause is why a connection failed, without the addresses that stand beside.
func cause(err error) string {
	var op *net.OpError
	if errors.As(err, &op) {
		if op.Timeout() {
			return "no answer in time"
		}
		err = op.Err
		var sys *os.SyscallError
		if errors.As(err, &sys) {
			err = sys.Err
		}
	}
	return err.Error()
}

type brokerCmd struct {
	role
	httpFlag
}

// Run runs the embedded broker.
func (c brokerCmd) Run(ctx context.Context) error {
	cfg, log, reg, err := c.start(ctx, "broker", nil, c.HTTP)
	if err != nil {
		return err
	}
	var ready atomic.Bool
	return service.All(ctx,
		func(ctx context.Context) error {
			err := broker.Run(ctx, broker.Config{
				Listen: cfg.BrokerListen, Data: filepath.Join(cfg.Data, "broker"), Limit: int64(cfg.Broker.Limit), Prefix: cfg.TopicPrefix,
			}, log, reg, func(string) { ready.Store(true) })
			if errors.Is(err, broker.ErrLocked) {
				return cfg.Errorf("data", "stop the other framelog, or choose another directory with --data", "%q is in use by another broker", cfg.Data)
			}
			return listenError(cfg, "broker_listen", cfg.BrokerListen, err)
		},
		func(ctx context.Context) error {
			return c.serve(ctx, cfg, "--http", c.HTTP, service.Server{Registry: reg, Log: log, Ready: func(context.Context) error {
				if !ready.Load() {
					return errors.New("the log is being loaded")
				}
				return nil
			}})
		})
}

type ingestCmd struct {
	role
	httpFlag
}

// Run records cameras.
func (c ingestCmd) Run(ctx context.Context) error {
	cfg, log, reg, err := c.start(ctx, "ingest", nil, c.HTTP)
	if err != nil {
		return err
	}
	// What ingest keeps is small and what goes through it is much, so the
	// collector would run several times a second for nothing. This is never
	// touched, and so takes no memory; the heap may grow by as much between two
	// runs, whatever the number of cameras.
	ballast := make([]byte, 32<<20)
	defer runtime.KeepAlive(ballast)
	if err := gstreamer.Init(); err != nil {
		return &config.Error{What: strings.TrimPrefix(err.Error(), "gstreamer: ")}
	}
	cams, err := registry.Connect(kafkaConfig(cfg, "framelog-ingest"), log)
	if err != nil {
		return err
	}
	defer cams.Close()
	mlog, err := medialog.Connect(logConfig(cfg, "framelog-ingest"), log, reg)
	if err != nil {
		return err
	}
	defer mlog.Close()
	ic := ingest.Config{
		Kafka:          kafkaConfig(cfg, "framelog-ingest"),
		Static:         cfg.Ingest.Instance,
		SessionTimeout: time.Duration(cfg.Ingest.SessionTimeout), ReconnectMax: time.Duration(cfg.Ingest.ReconnectMax),
		Assembler: assemble.Config{MinFragment: time.Duration(cfg.Ingest.MinFragment), ChunkDuration: time.Duration(cfg.Ingest.ChunkDuration)},
	}
	if cfg.Embedded() {
		ic.ReservePath, ic.ReserveBytes = cfg.Data, int64(cfg.Ingest.DiskReserve)
	}
	resolver := secrets.Resolver{Dir: cfg.SecretsDir}
	svc, err := ingest.New(ic, ingest.Deps{
		Registry: cams,
		NewSource: func(cam schemas.Camera) ingest.Source {
			return rtsp.New(rtsp.Config{
				URL:       func(ctx context.Context) (*url.URL, error) { return cameraURL(ctx, resolver, cam) },
				Shown:     secrets.Shown(cam.URL),
				Transport: cam.Transport, InsecureTLS: cam.InsecureTLS,
				ConnectTimeout: time.Duration(cfg.Ingest.ConnectTimeout), StallTimeout: time.Duration(cfg.Ingest.StallTimeout),
			})
		},
		Open: func(ctx context.Context, t schemas.Topic, o medialog.OpenOptions) ingest.CameraWriter {
			return mlog.Open(ctx, t, o)
		},
		IndexEnd: mlog.IndexEnd,
		Forget:   mlog.Forget,
	}, log, reg)
	if err != nil {
		return err
	}
	return service.All(ctx, svc.Run, func(ctx context.Context) error {
		return c.serve(ctx, cfg, "--http", c.HTTP, service.Server{Registry: reg, Log: log, Ready: func(context.Context) error { return svc.Ready() }})
	})
}

// cameraURL puts the secrets in. Its errors hold none.
func cameraURL(ctx context.Context, r secrets.Resolver, cam schemas.Camera) (*url.URL, error) {
	bare, user, password, err := r.Resolve(ctx, cam)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(bare)
	if err != nil {
		return nil, errors.New("url is malformed")
	}
	switch {
	case password != "":
		u.User = url.UserPassword(user, password)
	case user != "":
		u.User = url.User(user)
	}
	return u, nil
}

type egressCmd struct {
	role
	Listen *string `help:"Address of the page, the API, HLS and metrics." placeholder:"HOST:PORT"`
}

// Run serves viewers.
func (c egressCmd) Run(ctx context.Context) error {
	cfg, log, reg, err := c.start(ctx, "egress", c.Listen, "")
	if err != nil {
		return err
	}
	cams, err := registry.Connect(kafkaConfig(cfg, "framelog-egress"), log)
	if err != nil {
		return err
	}
	defer cams.Close()
	mlog, err := medialog.Connect(logConfig(cfg, "framelog-egress"), log, reg)
	if err != nil {
		return err
	}
	defer mlog.Close()

	var web *egress.Server // is there before the first request
	h := hls.Config{
		Mode: cfg.Egress.Mode, Window: time.Duration(cfg.Egress.Window), Linger: time.Duration(cfg.Egress.Linger),
		Dir: cfg.Egress.HLSDir, Reserve: int64(cfg.Egress.DiskReserve), CacheBytes: int64(cfg.Egress.CacheBytes), LiveBytes: int64(cfg.Egress.LiveBytes),
		MaxTails: cfg.Egress.MaxTails, MaxWaiters: cfg.Egress.MaxWaiters, MaxRebuilds: cfg.Egress.MaxRebuilds,
		MaxAge: time.Duration(cfg.Egress.MaxAge),
		Known:  func(camera string) bool { return web.Known(camera) },
	}
	stream, err := hls.New(h, mlog, log, reg)
	if err != nil {
		return err
	}
	if dir := closed(cfg.Egress.HLSDir); cfg.Egress.Mode == hls.Always && dir != "" {
		log.Warn("a web server that runs as another user cannot read the HLS files, and asks for each", "closed_to_others", dir, "remedy", "chmod o+x "+dir)
	}
	web, err = egress.New(egress.Config{
		API:   api.Config{SecretsDir: secretsDir(c.Socket, cfg)},
		Guard: guard(cfg, cfg.Listen),
	}, egress.Deps{
		Registry: cams, HLS: stream, Log: log, Registerer: reg,
		Delay: func(camera string) (time.Duration, bool) {
			d := stream.Delay(camera)
			return d, d > 0
		},
	})
	if err != nil {
		return err
	}
	return service.All(ctx, stream.Run, web.Run,
		func(ctx context.Context) error {
			return c.serve(ctx, cfg, "listen", cfg.Listen, service.Server{
				Registry: reg, Log: log, Handler: web, Ready: func(context.Context) error { return web.Ready() },
			})
		})
}

// closed is the directory on the way to dir, itself included, that other users
// may not pass; "" where there is none.
func closed(dir string) string {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return ""
	}
	for {
		info, err := os.Stat(dir)
		switch {
		case err != nil:
			return ""
		case info.Mode().Perm()&0o001 == 0:
			return dir
		case dir == filepath.Dir(dir):
			return ""
		}
		dir = filepath.Dir(dir)
	}
}

// secretsDir is where the API keeps passwords: in `up` alone, where ingest
// reads them on the same machine.
func secretsDir(socket string, cfg *config.Config) string {
	if socket == "" {
		return ""
	}
	return cfg.SecretsDir
}

type camsimCmd struct {
	Listen    string `default:"127.0.0.1:8554" help:"Address of the RTSP server."`
	LogLevel  string `default:"info"`
	LogFormat string `default:"text"`
	Socket    string `hidden:""`
}

// Run serves the demo's cameras.
func (c camsimCmd) Run(ctx context.Context) error {
	log := service.NewLogger(os.Stderr, c.LogLevel, c.LogFormat, "camsim")
	if err := gstreamer.Init(); err != nil {
		return &config.Error{What: strings.TrimPrefix(err.Error(), "gstreamer: ")}
	}
	var ready atomic.Bool
	return service.All(ctx,
		func(ctx context.Context) error {
			err := camsim.RunDemo(ctx, c.Listen, log, func() { ready.Store(true) })
			if missing, ok := errors.AsType[*gstreamer.MissingError](err); ok {
				return &config.Error{What: "demo cameras: " + missing.Error()}
			}
			if err != nil {
				return fmt.Errorf("demo cameras: %w", err)
			}
			return nil
		},
		func(ctx context.Context) error {
			return role{Socket: c.Socket}.serve(ctx, &config.Config{}, "", "", service.Server{Registry: service.NewRegistry(), Log: log, Ready: func(context.Context) error {
				if !ready.Load() {
					return errors.New("the cameras start")
				}
				return nil
			}})
		})
}
