package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/alecthomas/kong"

	"github.com/framelog/framelog/internal/app/brokers"
	"github.com/framelog/framelog/internal/app/cli"
	"github.com/framelog/framelog/internal/clip"
	"github.com/framelog/framelog/internal/evidence"
	"github.com/framelog/framelog/internal/medialog"
)

// exportCmd is "framelog export".
type exportCmd struct {
	settings
	Camera    string   `arg:"" help:"The camera."`
	From      cli.Time `help:"Begin here: 2026-01-31T08:00:00Z, seconds since 1970, or -30m." placeholder:"TIME" required:""`
	To        cli.Time `help:"End here. Default: now." placeholder:"TIME"`
	Rendition string   `help:"A rendition of the camera." placeholder:"NAME" default:"raw"`
	Out       string   `help:"The directory to write. It must not exist." placeholder:"DIR" required:""`
	Sign      string   `help:"Sign with this Ed25519 key, in PEM as \"openssl genpkey -algorithm ed25519\" writes it." placeholder:"KEYFILE"`
}

// Run writes the export.
func (c *exportCmd) Run(ctx context.Context, k *kong.Context) error {
	now := time.Now()
	t, from, to, err := (&clipCmd{Camera: c.Camera, From: c.From, To: c.To, Rendition: c.Rendition}).asked(now)
	if err != nil {
		return err
	}
	cfg, err := c.load(nil)
	if err != nil {
		return err
	}
	of, _ := versionOf()
	host, _ := os.Hostname()
	r := evidence.Request{
		Topic: t, Names: kafkaConfig(cfg, "").Names(), From: from, To: to, Dir: c.Out,
		Made: evidence.Made{At: now, By: caller(), Host: host, Software: "framelog " + of},
	}
	if c.Sign != "" {
		if r.Key, err = evidence.ReadPrivateKey(c.Sign); err != nil {
			return &cli.UsageError{What: "--sign: " + err.Error()}
		}
	}
	show := onTerminal(k)
	r.Progress = func(what string, total int64) func(int64) { return progress(show, what, total) }
	if err := brokers.Check(ctx, cfg); err != nil {
		return err
	}
	l, err := medialog.Connect(readerConfig(cfg, "framelog-export"), slog.New(slog.DiscardHandler), nil)
	if err != nil {
		return err
	}
	defer l.Close()
	all, err := withArchive(cfg, l, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		return err
	}
	m, err := evidence.Export(ctx, all, r)
	clearLine(show)
	switch {
	case errors.Is(err, evidence.ErrExists):
		return &cli.UsageError{What: err.Error(), Remedy: "choose another --out, or remove it"}
	case errors.Is(err, clip.ErrNone):
		return fmt.Errorf("%s of %s: %w", c.Rendition, c.Camera, err)
	case err != nil:
		return err
	}
	_, err = fmt.Fprintf(k.Stdout, "%s: %s\n", c.Out, whatOf(m))
	return err
}

// onTerminal returns where to show progress.
func onTerminal(k *kong.Context) io.Writer {
	if terminalHeight(k.Stderr) > 0 {
		return k.Stderr
	}
	return io.Discard
}

// whatOf tells people what an export has.
func whatOf(m *evidence.Manifest) string {
	segments, bytes := 0, int64(0)
	for i := range m.Clips {
		segments += len(m.Clips[i].Segments)
		bytes += m.Clips[i].Bytes
	}
	return fmt.Sprintf("%s of %s, %s to %s, exported %s by %s: %d clips, %d segments, %.1f MB, %d times without footage",
		m.Rendition, m.Camera, shown(m.From), shown(m.To), shown(m.Made.At), m.Made.By, len(m.Clips), segments, float64(bytes)/1e6, len(m.Missing))
}
