package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/framelog/framelog/egress"
	"github.com/framelog/framelog/egress/access"
	"github.com/framelog/framelog/internal/app/brokers"
	"github.com/framelog/framelog/internal/app/config"
	"github.com/framelog/framelog/internal/app/service"
)

// roleFlags are the flags that the subcommands of all roles have.
type roleFlags struct {
	settings
	Insecure bool   `help:"Let others than this machine reach it, without passwords and TLS."`
	Socket   string `hidden:"" help:"Unix socket instead: this is a child of framelog up."`
}

// supervised reports whether up has started this process.
func (r roleFlags) supervised() bool { return r.Socket != "" }

// httpFlag is the flag of roles that have no address in the configuration.
type httpFlag struct {
	HTTP string `name:"http" help:"Address of metrics, health and readiness. Default: none." placeholder:"HOST:PORT"`
}

// process is the process of a role: its configuration, log, metrics and HTTP
// server.
type process struct {
	flags roleFlags
	cfg   *config.Config
	log   *slog.Logger
	reg   *prometheus.Registry

	// policy decides who may see metrics at listen. Default: everybody, as at --http.
	policy  access.Policy
	brokers *brokers.Wait
	work    atomic.Pointer[func() error] // ready of started; nil before
	closers []func()                     // functions of atEnd
}

// start loads the configuration and makes the process of a role. listen is the
// flag of that name, nil if it is not given. http is the address of --http.
// Only up moves passwords out of URLs, so a role that runs alone refuses them.
func (r roleFlags) start(name string, listen *string, http string) (*process, error) {
	cfg, err := r.load(map[string]*string{"listen": listen, "insecure": flagValue(r.Insecure)}, roleEnv(name)...)
	if err != nil {
		return nil, err
	}
	if !r.supervised() {
		if err := cfg.TakePasswords(nil); err != nil {
			return nil, err
		}
	}
	return r.process(name, cfg, http)
}

// process makes the process of a role. name is the label role of its log.
func (r roleFlags) process(name string, cfg *config.Config, http string) (*process, error) {
	if !r.supervised() && http != "" {
		if err := cfg.CheckOpen("--http", http, "see what all cameras are called and do", "listen on 127.0.0.1"); err != nil {
			return nil, err
		}
	}
	log := service.NewLogger(os.Stderr, cfg.Log.Level, cfg.Log.Format, name)
	waitLog := log
	if r.supervised() {
		waitLog = slog.New(slog.DiscardHandler)
	}
	reg := service.NewRegistry()
	reg.MustRegister(buildInfo())
	return &process{
		flags: r, cfg: cfg, log: log, reg: reg, brokers: brokers.NewWait(cfg, waitLog),
		policy: access.Policy{Authorize: access.Everyone},
	}, nil
}

// withBrokers returns a function that runs work once the brokers are there.
// Before that no Kafka client exists that could log errors about them.
func (p *process) withBrokers(work func(ctx context.Context) error) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		if p.brokers.Run(ctx) != nil {
			return nil // ctx has ended
		}
		return work(ctx)
	}
}

// started marks the role as started. From now on ready decides /readyz: it
// returns why the role cannot do its work, nil if it can.
func (p *process) started(ready func() error) { p.work.Store(&ready) }

// atEnd registers f for close. The work of withBrokers calls it.
func (p *process) atEnd(f func()) { p.closers = append(p.closers, f) }

// close calls the functions of atEnd, the last first. It is called after the
// HTTP server has ended, since requests use what they close.
func (p *process) close() {
	for _, f := range slices.Backward(p.closers) {
		f()
	}
}

// ready reports why the role is not ready.
func (p *process) ready(context.Context) error {
	if work := p.work.Load(); work != nil {
		return (*work)()
	}
	if why := p.brokers.Why(); why != "" {
		return errors.New(why)
	}
	return errors.New("it is being started")
}

// serve answers over HTTP until ctx ends: a child on its socket, another role
// on addr, which is the value of key and was checked by start. If addr is
// empty, serve only waits. h answers everything except metrics, health and
// readiness; nil: 404.
func (p *process) serve(ctx context.Context, key, addr string, h http.Handler) error {
	child := p.flags.supervised()
	if child {
		addr = "unix:" + p.flags.Socket
	}
	if addr == "" {
		<-ctx.Done()
		return nil
	}
	ln, err := service.Listen(ctx, addr)
	if err != nil && child {
		return err // the socket is not in the configuration
	}
	if err != nil {
		return listenError(p.cfg, key, addr, err)
	}
	s := service.Server{Registry: p.reg, Log: p.log, Ready: p.ready, Handler: h}
	if !child {
		policy := access.Policy{Authorize: access.Everyone}
		if key == "listen" {
			policy = p.policy
			if ln, err = withTLS(p.cfg, ln, p.log); err != nil {
				return err
			}
		}
		s.Guard = guard(p.cfg, addr, policy).Metrics
		s.Log.Info("listening", "url", scheme(p.cfg, key)+"://"+ln.Addr().String()+"/")
	}
	return s.Serve(ctx, ln)
}

// scheme returns that of URLs of the server whose address is the value of key.
func scheme(cfg *config.Config, key string) string {
	if key == "listen" && cfg.TLS.Cert != "" {
		return "https"
	}
	return "http"
}

// guard returns the check in front of everything that shows cameras, for a
// server that listens on addr.
func guard(cfg *config.Config, addr string, policy access.Policy) egress.Guard {
	own := config.Get[egressConfig](cfg)
	return egress.Guard{Loopback: config.Loopback(addr), Hosts: own.Hosts, Origins: own.Origins, Policy: policy}
}
