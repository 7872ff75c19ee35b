package main

import (
	"context"
	"log/slog"
	"os"

	"github.com/alecthomas/kong"

	"github.com/framelog/framelog/internal/app/brokers"
	"github.com/framelog/framelog/internal/app/cli"
	"github.com/framelog/framelog/internal/users"
)

// usersCmd is cli.UsersCmd with the flags that locate the topic of users.
type usersCmd struct {
	settings
	cli.UsersCmd
}

// AfterApply gives the subcommands their users.
func (c *usersCmd) AfterApply(k *kong.Context) error {
	k.Bind(&c.UsersCmd)
	k.Bind(&cli.UsersEnv{
		In: os.Stdin, Out: k.Stdout,
		Connect: func(ctx context.Context) (cli.UserStore, error) {
			cfg, err := c.load(nil)
			if err != nil {
				return nil, err
			}
			if err := brokers.Check(ctx, cfg); err != nil {
				return nil, err
			}
			return users.Connect(kafkaConfig(cfg, "framelog-users"), slog.New(slog.DiscardHandler))
		},
	})
	return nil
}
