package main

import (
	"context"
	"log/slog"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/framelog/framelog/internal/app/brokers"
	"github.com/framelog/framelog/internal/app/cli"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/internal/registry"
)

// replayCmd is cli.ReplayCmd with the flags that locate the log.
type replayCmd struct {
	settings
	cli.ReplayCmd
}

// AfterApply gives the command the registry and the log.
func (c *replayCmd) AfterApply(k *kong.Context) error {
	quiet := slog.New(slog.DiscardHandler)
	k.Bind(&cli.ReplayEnv{
		Out: k.Stdout, Terminal: terminalHeight(k.Stdout) > 0,
		RTSP: serveReplay,
		Connect: func(ctx context.Context) (cli.Registry, string, error) {
			cfg, err := c.load(nil)
			if err != nil {
				return nil, "", err
			}
			if err := brokers.Check(ctx, cfg); err != nil {
				return nil, "", err
			}
			kc := kafkaConfig(cfg, "framelog-replay")
			r, err := registry.Connect(kc, quiet)
			return r, strings.Join(kc.Brokers, ", "), err
		},
		Store: c.store,
	})
	return nil
}

// store makes a client of the log and the archive.
func (c *replayCmd) store() (medialog.Store, func(), error) {
	quiet := slog.New(slog.DiscardHandler)
	cfg, err := c.load(nil)
	if err != nil {
		return nil, nil, err
	}
	l, err := medialog.Connect(readerConfig(cfg, "framelog-replay"), quiet, nil)
	if err != nil {
		return nil, nil, err
	}
	all, err := withArchive(cfg, l, quiet, nil)
	if err != nil {
		l.Close()
		return nil, nil, err
	}
	return all, l.Close, nil
}
