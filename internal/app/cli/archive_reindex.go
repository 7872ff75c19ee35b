package cli

import (
	"context"
	"fmt"
	"log/slog"
	"path"
)

// ArchiveReindexCmd is "framelog archive reindex".
type ArchiveReindexCmd struct{ seriesFlags }

// Run makes again what stands beside the files of the archive, and prints what it has written.
func (c *ArchiveReindexCmd) Run(ctx context.Context, env *ArchiveEnv) error {
	wanted, err := c.wanted()
	if err != nil {
		return err
	}
	series := 0
	for at, err := range env.Dir.Reindex(ctx, wanted, slog.New(slog.NewTextHandler(env.Out, nil))) {
		if err != nil {
			return err
		}
		if path.Ext(at) == "" {
			series++
			env.progress("%s", at)
			continue
		}
		env.progress("")
		if _, err := fmt.Fprintln(env.Out, "written: "+at); err != nil {
			return err
		}
	}
	env.progress("")
	_, err = fmt.Fprintf(env.Out, "Init segments and summaries are complete. Cameras and renditions: %d.\n", series)
	return err
}
