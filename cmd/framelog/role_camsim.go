package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"

	"github.com/framelog/framelog/internal/app/config"
	"github.com/framelog/framelog/internal/app/service"
	"github.com/framelog/framelog/internal/camsim"
	"github.com/framelog/framelog/internal/gstreamer"
)

func camsimRole() role {
	return role{
		name: "camsim", command: new(camsimCmd),
		section: config.Section{Key: "demo", Into: new(demoConfig)},

		inUp:      func(u *up) bool { return u.withDemo },
		prepare:   findDemoAddress,
		waitReady: true,
	}
}

// demoConfig is the settings of the cameras of --demo.
type demoConfig struct {
	Listen string `yaml:"listen" default:"127.0.0.1:8554" doc:"Address of the RTSP server of framelog up --demo. If nothing sets it and its port is in use, the demo takes a free port."`
}

// Check is [config.Checker].
func (d *demoConfig) Check(c *config.Config) error {
	return c.CheckOpen("demo.listen", d.Listen, "watch the demo's cameras", "listen on 127.0.0.1")
}

type camsimCmd struct {
	roleFlags
	httpFlag
}

// Run serves the demo's cameras.
func (c camsimCmd) Run(ctx context.Context) error {
	p, err := c.start("camsim", nil, c.HTTP)
	if err != nil {
		return err
	}
	if err := gstreamer.Init(); err != nil {
		return &config.Error{What: strings.TrimPrefix(err.Error(), "gstreamer: ")}
	}
	listen := config.Get[demoConfig](p.cfg).Listen
	return service.All(ctx,
		func(ctx context.Context) error {
			err := camsim.RunDemo(ctx, listen, p.log, func() { p.started(func() error { return nil }) })
			if missing, ok := errors.AsType[*gstreamer.MissingError](err); ok {
				return &config.Error{What: "demo cameras: " + missing.Error()}
			}
			if errors.Is(err, syscall.EADDRINUSE) && !c.supervised() { // a child is started again
				return listenError(p.cfg, "demo.listen", listen, fmt.Errorf("%w: %w", service.ErrListen, err))
			}
			if err != nil {
				return fmt.Errorf("demo cameras: %w", err)
			}
			return nil
		},
		func(ctx context.Context) error { return p.serve(ctx, "--http", c.HTTP, nil) })
}

// findDemoAddress sets demo.listen to an address with a free port, and logs it.
// If nothing set demo.listen and its port is in use, it takes any port. Errors:
// a *config.Error if a port that was set is in use.
func findDemoAddress(ctx context.Context, u *up) error {
	own := config.Get[demoConfig](u.cfg)
	ln, err := service.Listen(ctx, own.Listen)
	if err != nil && u.cfg.Where("demo.listen") != "" {
		return listenError(u.cfg, "demo.listen", own.Listen, err)
	}
	if err != nil {
		host, _, _ := net.SplitHostPort(own.Listen) // Check has checked it
		if ln, err = service.Listen(ctx, net.JoinHostPort(host, "0")); err != nil {
			return listenError(u.cfg, "demo.listen", own.Listen, err)
		}
		u.log.Warn("the demo's port is in use; the demo takes another one", "in_use", own.Listen, "listen", ln.Addr().String(), "remedy", "set demo.listen to choose a fixed port")
	} else {
		u.log.Info("the demo's cameras listen here (RTSP)", "listen", ln.Addr().String())
	}
	defer ln.Close()
	own.Listen = ln.Addr().String()
	u.demo = own.Listen
	return nil
}
