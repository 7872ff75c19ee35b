package main

import (
	"context"
	"log/slog"
	"os"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/framelog/framelog/egress"
	"github.com/framelog/framelog/internal/config"
	"github.com/framelog/framelog/internal/service"
)

// roleFlags are the flags that the subcommands of all roles have.
type roleFlags struct {
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
func (r roleFlags) start(ctx context.Context, name string, listen *string, http string) (*config.Config, *slog.Logger, *prometheus.Registry, error) {
	cfg, err := r.load(map[string]*string{"listen": listen, "insecure": yes(r.Insecure)}, roleEnv(name)...)
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

// serve serves the role over HTTP: on its socket, or else on addr, which key
// has set and start has checked; nowhere where that is empty.
func (r roleFlags) serve(ctx context.Context, cfg *config.Config, key, addr string, s service.Server) error {
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
	return egress.Guard{Loopback: config.Loopback(addr), Hosts: config.Get[egressConfig](cfg).Hosts}
}

// supervised reports whether up has started this process.
func (r roleFlags) supervised() bool { return r.Socket != "" }
