package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/alecthomas/kong"

	"github.com/framelog/framelog/internal/app/brokers"
	"github.com/framelog/framelog/internal/app/cli"
	"github.com/framelog/framelog/internal/app/service"
	"github.com/framelog/framelog/internal/cmaf"
	"github.com/framelog/framelog/internal/medialog"
	"github.com/framelog/framelog/processors"
	"github.com/framelog/framelog/schemas"
)

// dlqCmd is cli.DLQCmd with the flags that locate the log.
type dlqCmd struct {
	settings
	cli.DLQCmd
}

// AfterApply gives the subcommands their log.
func (c *dlqCmd) AfterApply(ctx context.Context, k *kong.Context) error {
	cfg, err := c.load(nil)
	if err != nil {
		return err
	}
	if err := brokers.Check(ctx, cfg); err != nil {
		return err
	}
	quiet := slog.New(slog.DiscardHandler)
	k.Bind(&c.DLQCmd)
	k.Bind(&cli.DLQEnv{
		Out: k.Stdout,
		Letters: func(ctx context.Context, processor, camera string) ([]processors.DeadLetter, error) {
			rc := runnerConfig(cfg)
			rc.Log = quiet
			return processors.DeadLetters(ctx, rc, processor, camera)
		},
		WriteMP4: func(ctx context.Context, letter processors.DeadLetter, to io.Writer) error {
			l, err := medialog.Connect(readerConfig(cfg, "framelog-dlq"), quiet, nil)
			if err != nil {
				return err
			}
			defer l.Close()
			return writeMP4(ctx, l, schemas.Topic{Camera: letter.Camera, Rendition: letter.Rendition}, letter.Seq, to)
		},
		Redrive: c.redrive,
	})
	return nil
}

// writeMP4 writes a fragment as a fragmented MP4.
func writeMP4(ctx context.Context, l *medialog.Log, t schemas.Topic, seq uint64, to io.Writer) error {
	e, err := l.Entry(ctx, t, seq)
	if err != nil {
		return err
	}
	var tracks []schemas.Track
	segment, err := cmaf.Segment(e, func(yield func(*schemas.Chunk, error) bool) {
		for c, err := range l.Chunks(ctx, t, e) {
			if err == nil && c.Index == 0 {
				tracks = c.Tracks
			}
			if !yield(c, err) {
				return
			}
		}
	})
	if err != nil {
		return err
	}
	header, err := cmaf.Init(tracks)
	if err != nil {
		return err
	}
	if _, err := to.Write(header); err != nil {
		return err
	}
	_, err = segment.WriteTo(to)
	return err
}

// redrive processes dead letters again, with a processor of the configuration or a kind. It
// returns those that were not redriven before.
func (c *dlqCmd) redrive(ctx context.Context, name string, letters []processors.DeadLetter) ([]processors.DeadLetter, error) {
	l, _, err := oneProcessor(c.Config, name, "")
	if err != nil {
		return nil, fmt.Errorf("%w; a program of your own processes its dead letters again with its flag --redrive", err)
	}
	cfg, err := l.Load(c.Config, os.Environ(), c.flags(nil))
	if err != nil {
		return nil, err
	}
	log := service.NewLogger(os.Stderr, cfg.Log.Level, cfg.Log.Format, "dlq")
	p, err := newProcessor(cfg, &cfg.Processors[0], telemetry{log: log})
	if err != nil {
		return nil, err
	}
	rc := runnerConfig(cfg)
	rc.Log = log
	r, err := processors.NewRunner(p, rc)
	if err != nil {
		return nil, err
	}
	return r.Redrive(ctx, letters...)
}
