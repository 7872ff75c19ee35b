package main

import (
	"context"
	"path"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/framelog/framelog/archiver"
	"github.com/framelog/framelog/internal/app/config"
	"github.com/framelog/framelog/internal/app/service"
	"github.com/framelog/framelog/internal/archive"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/schemas"
)

func archiveRole() role {
	return role{
		name: "archive", help: "Run the archiver alone: it writes footage into files. Or show and verify these.", command: new(archiveCmd),
		section: config.Section{Key: "archive", Into: new(archiveConfig)},

		inUp: func(u *up) bool { return config.Get[archiveConfig](u.cfg).Enabled },
	}
}

// archiveConfig is the settings of the archive.
type archiveConfig struct {
	Enabled     bool      `yaml:"enabled" default:"true" doc:"framelog up writes footage into the archive."`
	Dir         string    `yaml:"dir" default:"" doc:"Directory of the archive. Archivers on several hosts need one that they share, such as a network file system. Empty: archive below data. With archive.s3 only files that are being uploaded are there, and each host has its own."`
	Cameras     []string  `yaml:"cameras" default:"*" doc:"Patterns of the cameras whose footage is archived, such as yard or gate-*."`
	Renditions  []string  `yaml:"renditions" default:"raw, role:data" doc:"Patterns of the renditions that are archived; * is all. role:data stands for all that have timed metadata, such as what moved. The default leaves out pictures that a processor can make again, and sub, the second stream of a camera."`
	Concurrency int       `yaml:"concurrency" default:"2" min:"1" max:"64" doc:"How many files are written at the same time."`
	S3          archiveS3 `yaml:"s3"`
	ArchiveKeep
}

// Check is [config.Checker].
func (a *archiveConfig) Check(c *config.Config) error {
	for key, patterns := range map[string][]string{"archive.cameras": a.Cameras, "archive.renditions": a.Renditions} {
		for i, p := range patterns {
			if _, err := path.Match(p, ""); err != nil {
				return c.Errorf(c.Element(key, i), "* stands for any characters, ? for one", "%q is no pattern", p)
			}
			if strings.Contains(p, ":") && (key != "archive.renditions" || p != archiver.PatternData) {
				return c.Errorf(c.Element(key, i), "the only role is "+archiver.PatternData+", among archive.renditions", "%q: no name has a colon", p)
			}
		}
	}
	if a.Dir == "" {
		a.Dir = filepath.Join(c.Data, "archive")
	}
	if err := a.S3.Check(c); err != nil {
		return err
	}
	return a.ArchiveKeep.Check(c)
}

// diskSize returns the size of the disk on which a directory is, or will be; 0 if that is not
// known.
func diskSize(dir string) int64 {
	for {
		var s unix.Statfs_t
		err := unix.Statfs(dir, &s)
		parent := filepath.Dir(dir)
		switch {
		case err == nil:
			return int64(s.Blocks) * s.Bsize
		case parent == dir:
			return 0
		}
		dir = parent
	}
}

// archiveCmd is "framelog archive". Without a verb it is the role.
type archiveCmd struct {
	Role archiveRoleCmd `cmd:"" name:"run" default:"withargs" help:"Write footage into files, and delete what need not be kept. The default."`
	archiveVerbs
}

func (c *archiveCmd) supervised() bool { return c.Role.supervised() }

type archiveRoleCmd struct {
	roleFlags
	httpFlag
}

// Run archives footage.
func (c archiveRoleCmd) Run(ctx context.Context) error {
	p, err := c.start("archive", nil, c.HTTP)
	if err != nil {
		return err
	}
	where, err := archiveOf(p.cfg, p.reg)
	if err != nil {
		return err
	}
	return service.All(ctx,
		p.withBrokers(func(ctx context.Context) error {
			// A record that cannot be decoded must not stop its camera for ever.
			mlog, err := medialog.Connect(readerConfig(p.cfg, "framelog-archive"), p.log, p.reg)
			if err != nil {
				return err
			}
			defer mlog.Close()
			a, err := archiver.New(archiverConfig(p.cfg, where), mlog, p.log, p.reg)
			if err != nil {
				return err
			}
			p.started(a.Ready)
			return a.Run(ctx)
		}),
		archive.NewKeeper(keepOf(p.cfg).config(where, time.Duration(p.cfg.Topics.Retention)), p.log, p.reg).Run,
		archive.NewSummariser(where, p.log).Run,
		func(ctx context.Context) error { return p.serve(ctx, "--http", c.HTTP, nil) })
}

// archivedTopics returns which topics are archived (broker.Config.Archived), nil if none is.
func archivedTopics(cfg *config.Config) func(t schemas.Topic, begun bool) bool {
	if !config.Get[archiveConfig](cfg).Enabled {
		return nil
	}
	return archiverConfig(cfg, archive.Dir{}).Archives // wherever the archive is
}

// archiverConfig returns the settings of an archiver.
func archiverConfig(cfg *config.Config, where archive.Dir) archiver.Config {
	own := config.Get[archiveConfig](cfg)
	return archiver.Config{
		Kafka: kafkaConfig(cfg, "framelog-archive"), Archive: where, Cameras: own.Cameras, Renditions: own.Renditions,
		Concurrency: own.Concurrency, Reserve: int64(own.DiskReserve),
	}
}
