package cli

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/framelog/framelog/internal/archive"
	"github.com/framelog/framelog/schemas"
)

// HoldCmd is "framelog hold".
type HoldCmd struct {
	Output string `help:"How to print: table or json." enum:"table,json" default:"table" short:"o" placeholder:"FORM" group:"Of all commands:"`

	Add     HoldAddCmd     `cmd:"" help:"Hold a range of a camera's footage in the archive: nothing deletes it."`
	List    HoldListCmd    `cmd:"" help:"List the holds."`
	Release HoldReleaseCmd `cmd:"" help:"Release a hold."`
}

func (c *HoldCmd) json() bool { return c.Output == "json" }

// lockTimeout is how long a change of holds waits for a process that deletes files.
const lockTimeout = 2 * time.Minute

// HoldAddCmd is "framelog hold add".
type HoldAddCmd struct {
	Camera    string `arg:"" help:"The camera."`
	From      Time   `help:"Begin here: 2026-01-31T08:00:00Z, seconds since 1970, or -30m." placeholder:"TIME" required:""`
	To        Time   `help:"End here. It may be in the future. Default: now." placeholder:"TIME"`
	Rendition string `help:"Only this rendition of the camera. Default: all." placeholder:"NAME"`
	Reason    string `help:"Why: people who list the holds read it." placeholder:"TEXT" required:""`
}

// Run adds a hold.
func (c *HoldAddCmd) Run(ctx context.Context, env *ArchiveEnv, parent *HoldCmd) error {
	h, err := c.asked(env)
	if err != nil {
		return err
	}
	if exists, err := env.Dir.Exists(ctx); err != nil {
		return err
	} else if !exists {
		return &UsageError{What: fmt.Sprintf("there is no archive in %s", env.Dir), Remedy: "give --config or --data of the Framelog that archives, on its machine"}
	}
	ctx, cancel := context.WithTimeout(ctx, lockTimeout)
	defer cancel()
	if h, err = env.Dir.AddHold(ctx, h); err != nil {
		return err
	}
	found, err := env.Dir.Footage(ctx, func(s archive.Series) bool {
		return s.Topic.Camera == c.Camera && (c.Rendition == "" || s.Topic.Name() == c.Rendition)
	})
	switch {
	case err != nil:
		return err
	case parent.json():
		return printJSON(env.Out, h)
	}
	if _, err := fmt.Fprintf(env.Out, "Hold %s: %s, %s. Nothing deletes this footage from the archive until \"framelog hold release %s\".\n", h.ID, c.Camera, rangeText(h.From, h.To), h.ID); err != nil {
		return err
	}
	if len(found) == 0 {
		_, err = fmt.Fprintln(env.Out, "The archive has nothing of it yet.")
	}
	for _, f := range found {
		if err == nil && !f.From.IsZero() {
			_, err = fmt.Fprintf(env.Out, "The archive has %s of %s.\n", rangeText(f.From, f.To), f.Topic)
		}
	}
	return err
}

func (c *HoldAddCmd) asked(env *ArchiveEnv) (h archive.Hold, err error) {
	if err := schemas.ValidateCameraID(c.Camera); err != nil {
		return h, &UsageError{What: err.Error()}
	}
	if c.Rendition != "" {
		if err := schemas.ValidateRendition(c.Rendition); err != nil {
			return h, &UsageError{What: err.Error()}
		}
	}
	if c.Reason == "" {
		return h, &UsageError{What: "--reason is empty", Remedy: "say why the footage must stay"}
	}
	now := env.now().UTC().Truncate(time.Second)
	h = archive.Hold{Camera: c.Camera, Rendition: c.Rendition, To: now, Reason: c.Reason, By: env.By, At: now}
	if h.From, err = c.From.Parse("--from", now); err != nil {
		return h, err
	}
	if c.To != "" {
		if h.To, err = c.To.Parse("--to", now); err != nil {
			return h, err
		}
	}
	h.From, h.To = h.From.UTC(), h.To.UTC()
	if !h.From.Before(h.To) {
		return h, &UsageError{What: "--from is not before --to"}
	}
	return h, nil
}

// HoldListCmd is "framelog hold list".
type HoldListCmd struct{}

// listedHolds is the JSON of list.
type listedHolds struct {
	Holds      []archive.Hold `json:"holds"`
	Unreadable []verifiedFile `json:"unreadable"` // each holds the whole archive
}

// Run prints the holds, those that cannot be read first.
func (c *HoldListCmd) Run(ctx context.Context, env *ArchiveEnv, parent *HoldCmd) error {
	found, err := env.Dir.Holds(ctx)
	if err != nil {
		return err
	}
	if parent.json() {
		all := listedHolds{append([]archive.Hold{}, found.All...), []verifiedFile{}}
		for _, u := range found.Unreadable {
			all.Unreadable = append(all.Unreadable, verifiedFile{u.Path, u.Cause.Error()})
		}
		return printJSON(env.Out, all)
	}
	for _, u := range found.Unreadable {
		if _, err := fmt.Fprintf(env.Out, "%s cannot be read, so the whole archive is held: %v\n", u.Path, u.Cause); err != nil {
			return err
		}
	}
	if len(found.All) == 0 {
		_, err := fmt.Fprintf(env.Out, "The archive %s has no holds that can be read.\n", env.Dir)
		return err
	}
	w := tabwriter.NewWriter(&trimmer{out: env.Out}, 0, 0, 2, ' ', 0)
	// w reports errors only at Flush.
	fmt.Fprintln(w, "ID\tCAMERA\tRENDITION\tFROM\tTO\tBY\tREASON")
	for _, h := range found.All {
		rendition := h.Rendition
		if rendition == "" {
			rendition = "all"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", h.ID, h.Camera, rendition, shownTime(h.From), shownTime(h.To), oneLine(h.By), oneLine(h.Reason))
	}
	return w.Flush()
}

// HoldReleaseCmd is "framelog hold release".
type HoldReleaseCmd struct {
	ID string `arg:"" help:"The hold, as \"framelog hold list\" names it: its file's name without .json."`
}

// Run releases a hold.
func (c *HoldReleaseCmd) Run(ctx context.Context, env *ArchiveEnv, parent *HoldCmd) error {
	ctx, cancel := context.WithTimeout(ctx, lockTimeout)
	defer cancel()
	err := env.Dir.ReleaseHold(ctx, c.ID, env.By, env.now().UTC().Truncate(time.Second))
	switch {
	case errors.Is(err, archive.ErrNoHold):
		return &UsageError{What: fmt.Sprintf("there is no hold %q in %s", c.ID, env.Dir), Remedy: "\"framelog hold list\" shows those that there are"}
	case err != nil:
		return err
	case parent.json():
		return printJSON(env.Out, map[string]string{"released": c.ID})
	}
	_, err = fmt.Fprintf(env.Out, "%s is released. The file holds/released.log in the archive keeps its record.\n", c.ID)
	return err
}
