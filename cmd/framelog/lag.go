package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/alecthomas/kong"
	"golang.org/x/sys/unix"

	"github.com/framelog/framelog/internal/app/brokers"
	"github.com/framelog/framelog/internal/app/cli"
	"github.com/framelog/framelog/monitor"
	"github.com/framelog/framelog/monitor/lag"
)

// lagCmd is cli.LagCmd with the flags that locate the log.
type lagCmd struct {
	settings
	cli.LagCmd
}

// AfterApply gives the command its monitor.
func (c *lagCmd) AfterApply(ctx context.Context, k *kong.Context) error {
	cfg, err := c.load(nil)
	if err != nil {
		return err
	}
	if err := brokers.Check(ctx, cfg); err != nil {
		return err
	}
	height := terminalHeight(k.Stdout)
	k.Bind(&cli.LagEnv{
		Out: k.Stdout, Height: height,
		Color: height > 0 && os.Getenv("NO_COLOR") == "", // https://no-color.org
		Watch: func(ctx context.Context, interval time.Duration, report func(lag.Report) bool) error {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			mc := monitorSettings(cfg)
			mc.Kafka.ClientID, mc.Interval = "framelog-lag", interval
			mc.Reported = func(r lag.Report) {
				if !report(r) {
					cancel()
				}
			}
			return monitor.New(mc, slog.New(slog.DiscardHandler), nil).Run(ctx)
		},
	})
	return nil
}

// terminalHeight returns how many lines a terminal has; 0 if w is none.
func terminalHeight(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok {
		return 0
	}
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0
	}
	return max(int(size.Row), 10)
}
