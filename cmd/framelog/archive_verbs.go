package main

import (
	"context"
	"os"
	"os/user"

	"github.com/alecthomas/kong"

	"github.com/framelog/framelog/internal/app/cli"
)

// archiveVerbs are the subcommands of "framelog archive" for people.
type archiveVerbs struct {
	List    archiveListCmd    `cmd:"" help:"Show what the archive has of each camera and rendition, or its files."`
	Verify  archiveVerifyCmd  `cmd:"" help:"Read the files of the archive, and name those that are damaged."`
	Reindex archiveReindexCmd `cmd:"" help:"Make again what stands beside the files of the archive, where it is missing or wrong."`
}

// archiveListCmd is cli.ArchiveListCmd with the flags that locate the archive.
type archiveListCmd struct {
	settings
	cli.ArchiveListCmd
}

// Run lists the archive.
func (c *archiveListCmd) Run(ctx context.Context, k *kong.Context) error {
	env, err := archiveEnv(c.settings, k)
	if err != nil {
		return err
	}
	return c.ArchiveListCmd.Run(ctx, env)
}

// archiveVerifyCmd is cli.ArchiveVerifyCmd with the flags that locate the archive.
type archiveVerifyCmd struct {
	settings
	cli.ArchiveVerifyCmd
}

// Run verifies the archive.
func (c *archiveVerifyCmd) Run(ctx context.Context, k *kong.Context) error {
	env, err := archiveEnv(c.settings, k)
	if err != nil {
		return err
	}
	return c.ArchiveVerifyCmd.Run(ctx, env)
}

// archiveReindexCmd is cli.ArchiveReindexCmd with the flags that locate the archive.
type archiveReindexCmd struct {
	settings
	cli.ArchiveReindexCmd
}

// Run makes again what stands beside the files.
func (c *archiveReindexCmd) Run(ctx context.Context, k *kong.Context) error {
	env, err := archiveEnv(c.settings, k)
	if err != nil {
		return err
	}
	return c.ArchiveReindexCmd.Run(ctx, env)
}

// holdCmd is cli.HoldCmd with the flags that locate the archive.
type holdCmd struct {
	settings
	cli.HoldCmd
}

// AfterApply gives the subcommands their archive.
func (c *holdCmd) AfterApply(k *kong.Context) error {
	env, err := archiveEnv(c.settings, k)
	if err != nil {
		return err
	}
	k.Bind(&c.HoldCmd)
	k.Bind(env)
	return nil
}

// archiveEnv returns what the subcommands for the archive need.
func archiveEnv(s settings, k *kong.Context) (*cli.ArchiveEnv, error) {
	cfg, err := s.load(nil)
	if err != nil {
		return nil, err
	}
	where, err := archiveOf(cfg, nil)
	if err != nil {
		return nil, err
	}
	env := &cli.ArchiveEnv{Dir: where, Out: k.Stdout, By: caller()}
	if terminalHeight(k.Stderr) > 0 {
		env.Progress = k.Stderr
	}
	return env, nil
}

// caller is who runs this process: user@host.
func caller() string {
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if host, err := os.Hostname(); err == nil {
		name += "@" + host
	}
	return name
}
