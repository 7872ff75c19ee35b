package main

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/framelog/framelog/archiver"
	"github.com/framelog/framelog/internal/app/config"
	"github.com/framelog/framelog/internal/app/service"
	"github.com/framelog/framelog/internal/broker"
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
	Limit config.Size `yaml:"limit" default:"1GiB" min:"32MiB" doc:"Most disk space of the embedded broker's log, all cameras together. The oldest footage is deleted first, and what is not in the archive yet last. The start after a crash takes as much memory."`
}

type brokerCmd struct {
	roleFlags
	httpFlag
}

// Run runs the embedded broker.
func (c brokerCmd) Run(ctx context.Context) error {
	p, err := c.start("broker", nil, c.HTTP)
	if err != nil {
		return err
	}
	return service.All(ctx,
		func(ctx context.Context) error {
			err := broker.Run(ctx, broker.Config{
				Listen: p.cfg.BrokerListen, Data: filepath.Join(p.cfg.Data, "broker"),
				Limit: int64(config.Get[brokerConfig](p.cfg).Limit), Prefix: p.cfg.TopicPrefix,
				Archived: archivedTopics(p.cfg), Archivers: archiver.Group,
			}, p.log, p.reg, func(string) { p.started(func() error { return nil }) })
			if errors.Is(err, broker.ErrLocked) {
				return p.cfg.Errorf("data", "stop the other framelog, or choose another directory with --data", "%q is in use by another broker", p.cfg.Data)
			}
			return listenError(p.cfg, "broker_listen", p.cfg.BrokerListen, err)
		},
		func(ctx context.Context) error { return p.serve(ctx, "--http", c.HTTP, nil) })
}
