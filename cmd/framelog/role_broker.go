package main

import (
	"context"
	"errors"
	"path/filepath"
	"sync/atomic"

	"github.com/framelog/framelog/internal/broker"
	"github.com/framelog/framelog/internal/config"
	"github.com/framelog/framelog/internal/service"
)

func brokerRole() role {
	return role{
		name: "broker", help: "Run the embedded broker alone.", command: new(brokerCmd),
		section: config.Section{Key: "broker", Into: new(brokerConfig)},

		inUp:      func(u *up) bool { return u.cfg.Embedded() },
		prepare:   func(ctx context.Context, u *up) error { return checkBrokerPort(ctx, u.cfg) },
		waitReady: true,
		ready:     func(u *up) { u.brokerIsReady() },
	}
}

// brokerConfig is the section of the embedded broker.
type brokerConfig struct {
	Limit config.Size `yaml:"limit" default:"1GiB" min:"32MiB" doc:"Most disk that the embedded broker's log takes, all cameras together: the oldest footage goes first. Its next start after a crash takes as much memory."`
}

type brokerCmd struct {
	roleFlags
	httpFlag
}

// Run runs the embedded broker.
func (c brokerCmd) Run(ctx context.Context) error {
	cfg, log, reg, err := c.start(ctx, "broker", nil, c.HTTP)
	if err != nil {
		return err
	}
	own := config.Get[brokerConfig](cfg)
	var ready atomic.Bool
	return service.All(ctx,
		func(ctx context.Context) error {
			err := broker.Run(ctx, broker.Config{
				Listen: cfg.BrokerListen, Data: filepath.Join(cfg.Data, "broker"), Limit: int64(own.Limit), Prefix: cfg.TopicPrefix,
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
