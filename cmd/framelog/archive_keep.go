package main

import (
	"fmt"
	"path"
	"time"

	"github.com/framelog/framelog/internal/app/config"
	"github.com/framelog/framelog/internal/archive"
)

// ArchiveKeep is the settings of retention in the archive. It is exported for the loader.
type ArchiveKeep struct {
	Limit       config.Size     `yaml:"limit" default:"0" doc:"Most bytes of the archive. The file that was archived first is deleted first. 0: 80 % of what the archive has and what is free on its disk, together; with archive.s3 no limit."`
	MaxAge      config.Duration `yaml:"max_age" default:"0s" min:"0s" doc:"How long a file of the archive is kept, from when it was archived. 0s: until it is too much."`
	DiskReserve config.Size     `yaml:"disk_reserve" default:"4GiB" doc:"Free disk space below which files of the archive are deleted, whatever the limit is, and nothing is written into it. With archive.s3 it does nothing. The default is at least 1GiB more than egress.disk_reserve, and at least 5% of the disk. 0: none."`
	DeleteDelay config.Duration `yaml:"delete_delay" default:"1m" min:"1s" max:"24h" doc:"How long a deleted file stays on disk under a hidden name. A hold that comes in this time brings it back."`
	Keep        []ArchiveRule   `yaml:"keep" doc:"What is kept of single cameras and renditions. The first entry that fits counts."`
}

// ArchiveRule is an entry of archive.keep.
type ArchiveRule struct {
	Cameras    []string        `yaml:"cameras" default:"" doc:"Patterns of cameras: * stands for any characters, ? for one. Empty: all."`
	Renditions []string        `yaml:"renditions" default:"" doc:"Patterns of renditions; raw is what the camera sent. Empty: all."`
	MaxAge     config.Duration `yaml:"max_age" default:"0s" min:"0s" doc:"In place of archive.max_age. 0s: as that one."`
	Limit      config.Size     `yaml:"limit" default:"0" doc:"Most bytes of each camera and rendition that the entry fits. 0: only archive.limit."`
}

// Check implements config.Checker.
func (a *ArchiveKeep) Check(c *config.Config) error {
	for i, r := range a.Keep {
		for name, patterns := range map[string][]string{"cameras": r.Cameras, "renditions": r.Renditions} {
			for j, p := range patterns {
				if _, err := path.Match(p, ""); err != nil {
					return c.Errorf(c.Element(fmt.Sprintf("archive.keep[%d].%s", i, name), j), "write ids, * for any characters and ? for one", "%q is no pattern", p)
				}
			}
		}
	}
	return nil
}

// config returns the settings of a Keeper. retention is how long Kafka keeps footage.
func (a *ArchiveKeep) config(dir archive.Dir, retention time.Duration) archive.KeepConfig {
	c := archive.KeepConfig{
		Dir: dir, Limit: int64(a.Limit), Reserve: int64(a.DiskReserve), MaxAge: time.Duration(a.MaxAge), Delay: time.Duration(a.DeleteDelay),
		Newest: retention + time.Hour, // Kafka deletes whole segments
	}
	for _, r := range a.Keep {
		c.Rules = append(c.Rules, archive.KeepRule{Cameras: r.Cameras, Renditions: r.Renditions, MaxAge: time.Duration(r.MaxAge), Limit: int64(r.Limit)})
	}
	return c
}

// keepOf returns the settings of retention.
func keepOf(cfg *config.Config) *ArchiveKeep { return &config.Get[archiveConfig](cfg).ArchiveKeep }
