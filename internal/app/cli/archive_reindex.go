package cli

import (
	"context"
	"fmt"
	"log/slog"
)

// ArchiveReindexCmd is "framelog archive reindex".
type ArchiveReindexCmd struct{ seriesFlags }

// Run makes again what stands beside the files of the archive, and prints what it has written. It
// fails if a file cannot be read.
func (c *ArchiveReindexCmd) Run(ctx context.Context, env *ArchiveEnv) error {
	wanted, err := c.wanted()
	if err != nil {
		return err
	}
	series, left := 0, 0
	for r, err := range env.Dir.Reindex(ctx, wanted, slog.New(slog.DiscardHandler)) {
		if err != nil {
			return err
		}
		series++
		env.progress("")
		for _, at := range r.Written {
			if _, err := fmt.Fprintln(env.Out, "written: "+at); err != nil {
				return err
			}
		}
		left += len(r.LeftOut)
		for _, f := range r.LeftOut {
			if _, err := fmt.Fprintf(env.Out, "left out: %s: %v\n", f.Path, f.Cause); err != nil {
				return err
			}
		}
		env.progress("%s", r.Path())
	}
	env.progress("")
	if left > 0 {
		return fmt.Errorf("%s of the archive cannot be read, so their hours have no summaries; see framelog archive verify", count(left, "file"))
	}
	_, err = fmt.Fprintf(env.Out, "Init segments and summaries are complete. Cameras and renditions: %d.\n", series)
	return err
}
